"""``harmonia demo``: every method whose card has a stop of the tour, run on its embedded example."""

from __future__ import annotations

import html
import time
from pathlib import Path

from harmonia.app.console import err, out, progress_bars, values_table
from harmonia.app.document import document, inputs_html, outputs_html
from harmonia.core.card import Tour
from harmonia.core.media import Media, whole_file
from harmonia.core.registry import Method, methods
from harmonia.core.task import find_job, jobs_in


def tour(folder: Path) -> Path:
    """Run the stops in order, write ``index.html`` and the media beside it, and say where."""
    stops = sorted(
        ((method.card.tour, method) for method in methods() if method.built and method.card.tour is not None),
        key=lambda stop: stop[0].order,
    )
    start = time.perf_counter()
    sections = [_stop(place, stop, method, folder) for place, (stop, method) in enumerate(stops, start=1)]
    heading = "<h1>Harmonia</h1><p>Published research methods that run. Everything below was made on this machine, "
    heading += f"without a network, in {time.perf_counter() - start:.0f} seconds.</p>"
    page = folder / "index.html"
    with whole_file(page) as temporary:
        temporary.write_text(document("Harmonia: a tour", [heading, *sections]), encoding="utf-8")
    out.print(f"\nThe tour is in [bold]{page.resolve()}[/]: open it in a browser.")
    return page


def _stop(place: int, stop: Tour, method: Method, folder: Path) -> str:
    err.print(f"[bold]{place}. {stop.title}[/] ({method.slug})")
    start = time.perf_counter()
    job = find_job(jobs_in(method.module("task")), stop.job or None)
    with progress_bars():
        outputs = job.run(stop.options)
        job.save(outputs, folder, method.slug)
    seconds = time.perf_counter() - start
    scalars = {name: value for name, value in outputs.items() if not isinstance(value, Media)}
    if scalars:
        out.print(values_table(scalars))
    command = " ".join(["harmonia run", method.slug, stop.job]).strip()
    return (
        f"<section><h2>{place}. {html.escape(stop.title)}</h2><p>{html.escape(stop.text)}</p>"
        f"{inputs_html(job)}{outputs_html(job, outputs)}"
        f'<p class="muted"><code>{command}</code>, {seconds:.0f} s. {html.escape(method.card.title)} '
        f'(<a href="{method.card.url}">arXiv {method.card.arxiv}</a>).</p></section>'
    )
