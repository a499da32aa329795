"""Self-contained HTML: one file with its sounds, pictures and numbers inside, that opens anywhere."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harmonia.app.console import number
from harmonia.core.media import Media
from harmonia.core.task import Job, Output

_STYLE = """
body {font: 16px/1.55 system-ui, sans-serif; color: #1f2430; background: #fafbfc; margin: 0}
main {max-width: 1020px; margin: auto; padding: 32px 20px 80px}
h1 {font-size: 2em; margin: 0 0 .2em} h2 {margin: 2.2em 0 .3em; font-size: 1.45em} h3 {margin: 1.4em 0 .4em}
section {background: #fff; border: 1px solid #e6e8ee; border-radius: 12px; padding: 4px 24px 20px; margin: 24px 0}
section h2 {margin-top: .8em} img {max-width: 100%; height: auto; display: block} audio {width: 100%}
figure {margin: 1.2em 0} figcaption {color: #5b6472; font-size: .92em; margin-bottom: .3em}
table {border-collapse: collapse; font-size: .93em; width: 100%} td, th {padding: 6px 10px; text-align: left;
border-bottom: 1px solid #e6e8ee; vertical-align: top}
td.n, th.n {text-align: right; font-variant-numeric: tabular-nums}
.good {color: #00785a} .part {color: #a86400} .bad {color: #c0392b} .muted {color: #8a91a0}
code {background: #f0f2f5; padding: 1px 5px; border-radius: 4px} a {color: #0072b2}
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}<title>{html.escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def table(header: Iterable[str], rows: Iterable[Iterable[str]], numeric: Iterable[int] = ()) -> str:
    """An HTML table of cells that are already HTML; columns in `numeric` are set flush right."""
    right = set(numeric)

    def line(tag: str, cells: Iterable[str]) -> str:
        return "".join(f"<{tag}{' class=n' if i in right else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', header)}</tr></thead><tbody>{body}</tbody></table>"


def outputs_html(job: Job, outputs: Mapping[str, Any]) -> str:
    """What a job gave: values in a table, then every medium with a caption."""
    values = [output for output in job.outputs if not output.is_media]
    rows = ([_caption(output), number_or_text(outputs[output.name])] for output in values)
    parts = [table(["", ""], rows, numeric=[1])] if values else []
    parts += [
        f"<figure><figcaption>{_caption(output)}</figcaption>{medium_html(outputs[output.name], output.name)}</figure>"
        for output in job.outputs
        if isinstance(outputs[output.name], Media)
    ]
    return "".join(parts)


def inputs_html(job: Job) -> str:
    """The embedded inputs that can be heard or looked at beside what comes of them."""
    examples = [(p, p.field.example()) for p in job.inputs if p.is_media and p.field.example is not None]
    return "".join(
        f"<figure><figcaption><b>{html.escape(parameter.name)}</b>: {html.escape(parameter.field.help)}</figcaption>"
        f"{medium_html(example, parameter.name)}</figure>"
        for parameter, example in examples
        if example.kind in ("audio", "image")
    )


def number_or_text(value: Any) -> str:
    """A value as escaped text."""
    return html.escape(number(value) if isinstance(value, float) else str(value))


def _caption(output: Output) -> str:
    name = f"<b>{html.escape(output.name.replace('_', ' '))}</b>"
    return f"{name}: {html.escape(output.field.text)}" if output.field.text else name


def medium_html(medium: Media, name: str) -> str:
    """A player for sound, a picture for everything else; what is neither can be downloaded too."""
    if medium.kind == "audio":
        return _player(medium)
    picture = _picture(medium)
    if medium.kind in ("figure", "image"):
        return picture
    with tempfile.TemporaryDirectory() as folder:
        path = medium.write(Path(folder) / f"{name}{medium.suffixes[0]}")
        link = (
            f'<a download="{path.name}" href="{_data(path.read_bytes(), "application/octet-stream")}">{path.name}</a>'
        )
    return f"{picture}{link}"


def _player(audio: Any) -> str:
    """MP3, which every browser plays and which keeps the page small."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples.T.clip(-1, 1), audio.rate, format="MP3")
    return f'<audio controls preload="metadata" src="{_data(buffer.getvalue(), "audio/mpeg")}"></audio>'


def _picture(medium: Media) -> str:
    buffer = io.BytesIO()
    medium.show().savefig(buffer, format="png")
    return f'<img alt="{html.escape(medium.kind)}" src="{_data(buffer.getvalue(), "image/png")}">'


def _data(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
