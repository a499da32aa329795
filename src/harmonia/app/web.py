"""The web page: a catalogue, and for every built method a form made from its jobs.

It listens on loopback by default. Uploads and outputs of a visitor stay in a folder of that visit, which is removed
when the visit ends; a bad upload shows the same sentence as the command line.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonia.app.console import number
from harmonia.app.page import evidence, introduction
from harmonia.core.card import FIELDS
from harmonia.core.errors import Cancelled, HarmoniaError, require
from harmonia.core.progress import watched
from harmonia.core.registry import Method, methods, search
from harmonia.core.task import Job, Output, Parameter, jobs_in

if TYPE_CHECKING:
    import gradio as gr

MAX_UPLOAD = "512mb"
ROWS_SHOWN = 200
TEXT_SHOWN = 20_000
_STYLE = """
.gradio-container {max-width: 1080px !important; margin: auto}
.cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 12px}
.cards a {display: block; text-align: left; padding: 14px 16px; border-radius: 10px;
  border: 1px solid var(--border-color-primary);
  text-decoration: none; color: var(--body-text-color); background: var(--block-background-fill)}
.cards a:hover {border-color: var(--color-accent)}
.cards b {font-size: 1.05em} .cards small {opacity: .65} .cards p {margin: 6px 0 0 0}
.prose td, .prose th {overflow-wrap: normal !important; word-break: normal !important}
.cards .built, .cards .measured {float: right; color: #009e73} .cards .planned {float: right; opacity: .5}
"""


def serve(host: str, port: int) -> None:
    """Open the page and stay until interrupted."""
    with page() as blocks:
        blocks.launch(server_name=host, server_port=port, **launch_options())


def launch_options() -> dict[str, Any]:
    """What `gradio.Blocks.launch` needs to be private and bounded."""
    return {"max_file_size": MAX_UPLOAD, "ssr_mode": False, "quiet": True, "css": _STYLE, "theme": _theme()}


def _theme() -> Any:
    """Fonts of the system: nothing is fetched."""
    import gradio as gr

    return gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


@contextmanager
def page() -> Iterator[gr.Blocks]:
    """The page, with the folder its visits use; the folder goes when the context ends."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    folder = Path(tempfile.mkdtemp(prefix="harmonia-web-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    require("gradio", extra="web")
    try:
        yield _build(Visits(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Visits:
    """A folder and a stop signal for every visitor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stops: dict[str, threading.Event] = {}

    def folder(self, visit: str) -> Path:
        """A fresh folder for the outputs of one run."""
        home = self._folder / "visits" / visit
        home.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=home))

    def started(self, visit: str) -> threading.Event:
        """A stop signal for the run that starts now."""
        self._stops[visit] = threading.Event()
        return self._stops[visit]

    def stop(self, visit: str) -> None:
        """Ask the visitor's run to stop."""
        if visit in self._stops:
            self._stops[visit].set()

    def end(self, visit: str) -> None:
        """Stop the visitor's run and forget the visit."""
        self.stop(visit)
        self._stops.pop(visit, None)
        shutil.rmtree(self._folder / "visits" / visit, ignore_errors=True)


class _Watcher:
    """Shows progress on the page and stops the work when asked to."""

    def __init__(self, progress: Callable[..., Any], stop: threading.Event) -> None:
        self._progress, self._stop = progress, stop

    def step(self, label: str, done: int, total: int | None) -> None:
        if self._stop.is_set():
            raise Cancelled("stopped")
        self._progress((done, total), desc=label)

    def say(self, message: str) -> None:
        import gradio as gr

        gr.Info(message)


def _build(visits: Visits) -> gr.Blocks:
    import gradio as gr

    with gr.Blocks(title="Harmonia", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
        gr.Markdown("# Harmonia\nPublished research methods that run, with each paper's claim measured.")
        with gr.Row():
            words = gr.Textbox(label="What do you want to do?", placeholder="separate vocals", scale=3)
            field = gr.Dropdown(["all", *FIELDS], value="all", label="Field")
            status = gr.Dropdown(["all", "measured", "built", "planned"], value="all", label="Status")
        cards = gr.HTML(_cards("", "all", "all"))
        for control in (words, field, status):
            control.change(_cards, [words, field, status], cards, show_progress="hidden", api_visibility="private")
        blocks.unload(_with_visit(visits.end))
    for method in methods():
        with blocks.route(method.slug, f"/{method.slug}", show_in_navbar=False):
            gr.Markdown("[All methods](/)")
            gr.Markdown(introduction(method))
            if method.built:
                with gr.Tabs():
                    for job in jobs_in(method.module("task")):
                        with gr.Tab(job.name):
                            _form(method, job, visits)
            gr.Markdown(evidence(method))
    return blocks


def _cards(words: str, field: str, status: str) -> str:
    found = search(words) if words.strip() else sorted(methods(), key=lambda m: (m.status == "planned", m.slug))
    chosen = [m for m in found if field in ("all", m.card.field) and status in ("all", m.status)]
    if not chosen:
        return "<p>No method fits.</p>"
    return f'<div class="cards">{"".join(map(_card, chosen))}</div>'


def _card(method: Method) -> str:
    card = method.card
    return (
        f'<a href="/{card.slug}"><span class="{method.status}">{method.status}</span><b>{card.slug}</b> '
        f"<small>{card.field}, {card.year}</small><p>{html.escape(card.summary)}</p></a>"
    )


def _form(method: Method, job: Job, visits: Visits) -> None:
    """Controls for a job's parameters, a run and a stop button, and a place for each output."""
    import gradio as gr

    gr.Markdown("\n\n".join(filter(None, [job.summary, job.description])))
    controls = [_control(parameter) for parameter in job.inputs]
    if job.options:
        with gr.Accordion("Options", open=not job.inputs):
            controls += [_control(parameter) for parameter in job.options]
    with gr.Row():
        start = gr.Button("Run", variant="primary")
        stop = gr.Button("Stop")
    state = gr.Markdown(min_height=48)
    outputs = _in_order(job.outputs)
    with gr.Column(visible=False) as results:
        places = [place for output in outputs for place in _place(output)]
        files = gr.Files(label="all files", interactive=False)

    # Gradio fills in a request by its annotation and progress by its default, at their places among the arguments.
    def run(request: gr.Request, progress: gr.Progress = gr.Progress(), *values: Any) -> list[Any]:  # noqa: B008
        visit = str(request.session_hash)
        given = {parameter.name: value for parameter, value in zip(job.parameters, values) if value not in (None, "")}
        start_time = time.perf_counter()
        try:
            with watched(_Watcher(progress, visits.started(visit))):
                found = job.run(given)
                folder = visits.folder(visit)
                written = job.save(found, folder, _stem(given, job, method.slug))
        except Cancelled:
            raise gr.Error("Stopped.", print_exception=False) from None
        except HarmoniaError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error
        done = f"Done in {time.perf_counter() - start_time:.1f} s."
        shown = [place for output in outputs for place in _shown(output, found[output.name], folder)]
        return [done, gr.Column(visible=True), *shown, [str(path) for path in written]]

    run.__annotations__ = {"request": gr.Request, "progress": gr.Progress}
    start.click(
        run,
        controls,
        [state, results, *places, files],
        show_progress_on=state,
        api_visibility="private",
        concurrency_limit=1,
    )
    stop.click(_with_visit(visits.stop), None, None, api_visibility="private", queue=False)


def _with_visit(act: Callable[[str], None]) -> Callable[..., None]:
    """An event handler that acts on the visit it comes from."""
    import gradio as gr

    def handler(request: gr.Request) -> None:
        act(str(request.session_hash))

    handler.__annotations__ = {"request": gr.Request}
    return handler


def _stem(given: Mapping[str, Any], job: Job, slug: str) -> str:
    for parameter in job.inputs:
        value = given.get(parameter.name)
        if parameter.is_media and isinstance(value, str):
            return Path(value).stem
    return slug


def _control(parameter: Parameter) -> gr.components.Component:
    """One form field."""
    import gradio as gr

    label, info = parameter.name.replace("_", " "), parameter.field.text
    default = parameter.default if isinstance(parameter.default, (bool, int, float, str)) else None
    if parameter.is_media or parameter.type is Path:
        if parameter.field.example is not None:
            label += " (left empty: the embedded example)"
        if parameter.many:
            return gr.Files(label=f"{label}: {info}")
        kind = getattr(parameter.type, "kind", "path")
        if kind == "audio":
            return gr.Audio(label=f"{label}: {info}", type="filepath")
        return gr.File(label=f"{label}: {info}", type="filepath")
    if parameter.choices:
        return gr.Dropdown(list(parameter.choices), value=default, label=label, info=info)
    if parameter.type is bool:
        return gr.Checkbox(value=bool(default), label=f"{label}: {info}")
    if parameter.type in (int, float) and not parameter.many and default is not None:  # it would show none as 0
        return gr.Number(value=default, label=label, info=info, precision=0 if parameter.type is int else None)  # type: ignore[arg-type]
    return gr.Textbox(value=default, label=label, info=info)  # type: ignore[arg-type]


def _place(output: Output) -> list[gr.components.Component]:
    """Where an output is shown, the surrounding column first: it is hidden where there is nothing to show."""
    import gradio as gr

    label = output.name.replace("_", " ")
    kind = _kind(output)
    with gr.Column() as column:
        if kind == "value":
            return [column, gr.Textbox(label=": ".join(filter(None, [label, output.field.text])), interactive=False)]
        gr.Markdown(f"#### {label}\n{output.field.text}")
        places: list[gr.components.Component] = []
        if kind == "audio":
            places.append(gr.Audio(show_label=False, interactive=False))
        if kind == "table":
            places.append(gr.Dataframe(show_label=False, interactive=False, max_height=400))
        elif kind == "text":
            places.append(gr.Textbox(show_label=False, interactive=False, max_lines=20))
        else:
            places.append(gr.Image(show_label=False, interactive=False, buttons=["download", "fullscreen"]))
    return [column, *places]


def _shown(output: Output, value: Any, folder: Path) -> list[Any]:
    """Values for the components of `_place`, in the same order."""
    import gradio as gr

    kind = _kind(output)
    if value is None:
        return [gr.Column(visible=False)] + [None] * (2 if kind == "audio" else 1)
    places: list[Any] = [gr.Column(visible=True)]
    if kind == "value":
        return [*places, number(value) if isinstance(value, float) else str(value)]
    if kind == "table":
        return [*places, _first_rows(value)]
    if kind == "text":
        return [*places, value.text[:TEXT_SHOWN]]
    if kind == "audio":
        sound = next(iter(folder.glob(f"*_{output.name}.wav")), None)
        places.append(str(sound) if sound else None)
    picture = folder / f"{output.name}.shown.png"
    value.show().savefig(picture)
    return [*places, str(picture)]


def _first_rows(table: Any) -> Any:
    """What fits on a page of a `Table`; the files hold all of it."""
    import polars
    import polars.selectors as columns

    return table.frame.head(ROWS_SHOWN).with_columns(columns.float().cast(polars.Float64).round_sig_figs(5))


def _kind(output: Output) -> str:
    return output.type.kind if output.is_media else "value"  # type: ignore[attr-defined]


def _in_order(outputs: Iterable[Output]) -> list[Output]:
    """Numbers, sounds and words first, then pictures, then tables."""
    order = {"value": 0, "audio": 1, "text": 1, "figure": 2}
    return sorted(outputs, key=lambda output: order.get(_kind(output), 3))
