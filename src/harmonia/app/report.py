"""``harmonia report``: one page over all results, and the README's table from the same source."""

from __future__ import annotations

import html
import statistics
from pathlib import Path

from harmonia.app.console import number
from harmonia.app.document import document, table
from harmonia.app.page import markdown_table
from harmonia.core.claim import HOLDS, Finding
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.registry import Method, methods
from harmonia.core.results import RaceResult

README = Path(__file__).resolve().parents[3] / "README.md"
BEGIN, END = "<!-- results: made by `make report` -->", "<!-- end of results -->"
_CLASSES = {
    "reproduced": "good",
    "exact": "good",
    "direction holds": "part",
    "not reproduced": "bad",
    "broken": "bad",
    "beyond this machine": "muted",
}


def write_report(path: Path) -> Path:
    """Write the page; every method is on it, the planned ones as a list."""
    if path.suffix.lower() != ".html":
        raise InputError("the report is an HTML file", path.name, "Use a name that ends in .html.")
    everything = methods()
    measured = [method for method in everything if method.status == "measured"]
    waiting = [method for method in everything if method.status != "measured"]
    findings = [finding for method in measured for finding in (method.results.findings if method.results else [])]
    holding = sum(finding.verdict in HOLDS for finding in findings)
    body = [
        "<h1>Harmonia: results</h1>",
        f"<p>{len(everything)} methods, {len(measured)} measured. "
        f"{holding} of {len(findings)} claims and identities hold.</p>",
        *map(_section, measured),
        "<h2>Not measured yet</h2>",
        table(
            ["method", "status", "what it does"],
            ([_link(method), method.status, html.escape(method.card.summary)] for method in waiting),
        ),
    ]
    with whole_file(path) as temporary:
        temporary.write_text(document("Harmonia: results", body), encoding="utf-8")
    return path


def _link(method: Method) -> str:
    return f'<a href="{method.card.url}">{method.slug}</a>'


def _section(method: Method) -> str:
    results = method.results
    assert results is not None
    outdated = ' <span class="bad">(older than the code)</span>' if method.outdated else ""
    races = (
        "<h3>Races</h3>"
        + table(
            ["peer", "workload", "ours is faster by", "memory, ours / theirs", "outputs agree", ""],
            map(_race_row, results.races),
            numeric=[2, 3],
        )
        if results.races
        else ""
    )
    return (
        f"<section><h2>{_link(method)}{outdated}</h2><p>{html.escape(method.card.title)}</p>"
        + table(
            ["claim", "paper", "ours", "baseline", "unit", "verdict"],
            map(_finding_row, results.findings),
            numeric=[1, 2, 3],
        )
        + races
        + f'<p class="muted">Commit {results.commit}; {html.escape(results.machine)}.</p></section>'
    )


def _finding_row(finding: Finding) -> list[str]:
    note = f'<br><span class="muted">{html.escape(finding.note)}</span>' if finding.note else ""
    return [
        f'{html.escape(finding.name)} <span class="muted">({html.escape(finding.paper_place)})</span>{note}',
        number(finding.paper) if finding.better != "zero" else "0",
        number(finding.measured),
        number(finding.baseline),
        html.escape(finding.unit),
        f'<b class="{_CLASSES[finding.verdict]}">{finding.verdict}</b>',
    ]


def _race_row(race: RaceResult) -> list[str]:
    agree = "yes" if race.outputs_agree else '<b class="bad">no</b>'
    return [
        f"{html.escape(race.peer)} {race.peer_version}",
        f"{html.escape(race.workload)} ({race.threads} threads, {race.device})",
        f'<b class="{"good" if race.ratio > 1 else "bad"}">{race.ratio:.2f}x</b>',
        number(race.memory_ratio),
        agree,
        html.escape(race.note),
    ]


def readme_table() -> str:
    """The table of measured methods for the README, in Markdown."""
    rows = []
    for method in methods():
        results = method.results
        if method.status != "measured" or results is None:
            continue
        holding = sum(finding.verdict in HOLDS for finding in results.findings)
        ratios = [race.ratio for race in results.races]
        rows.append(
            [
                f"{method.slug} ([{method.card.arxiv}]({method.card.url}))",
                method.card.summary,
                f"{holding} of {len(results.findings)}",
                f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})" if ratios else "-",
            ]
        )
    return markdown_table(["method", "what it does", "claims and identities that hold", "speed beside peers"], rows)


def write_readme_table(path: Path = README) -> Path:
    """Replace the table between the two marks of the README."""
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InputError("the README has no place for the table", path, f"Put '{BEGIN}' and '{END}' where it belongs.")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    with whole_file(path) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{readme_table()}\n{END}{after}", encoding="utf-8")
    return path
