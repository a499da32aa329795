"""A method's page as Markdown: from its card, its jobs and its results. The command line, web page and docs show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harmonia.app.console import number
from harmonia.core.card import Card
from harmonia.core.registry import Method
from harmonia.core.results import RaceResult, Results
from harmonia.core.task import Job, jobs_in


def page_of(method: Method) -> str:
    """The whole page."""
    jobs = jobs_markdown(method) if method.built else ""
    return "\n\n".join(part for part in (introduction(method), jobs, evidence(method)) if part) + "\n"


def introduction(method: Method) -> str:
    """What the method does for a user, and which paper it is."""
    card = method.card
    state = method.status + (", results older than the code" if method.outdated else "")
    lines = [
        f"# {card.slug}\n\n**{card.summary}**\n\n{card.gives}",
        f"*{card.title}* ([arXiv {card.arxiv}]({card.url}), {card.year}). "
        f"Field: `harmonia.{card.field}`. Status: {state}.",
        "" if method.built else "Planned: there is no code yet.",
    ]
    return "\n\n".join(filter(None, lines))


def evidence(method: Method) -> str:
    """Claims beside measurements, races, weights with licences, errata, data and peers."""
    card, results = method.card, method.results
    parts = [
        findings_markdown(results),
        _paper_claims(card),
        races_markdown(results),
        _section("Released weights", _weights(card)),
        _section("Errata of the official release", _errata(card)),
        _section(
            "Data sets",
            (f"**{d.name}**{_note(d.license and f'licence: {d.license}', d.note)}" for d in card.datasets),
        ),
        _section(
            "Other software for this",
            (" ".join(filter(None, [f"**{p.name}**", p.version])) + _note(p.note) for p in card.peers),
        ),
    ]
    return "\n\n".join(filter(None, parts))


def _note(*texts: str) -> str:
    text = "; ".join(filter(None, texts))
    return f" ({text})" if text else ""


def _section(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{body}" if body else ""


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells may not break it.

    Example:
        >>> print(markdown_table(["a", "b"], [["1", "x|y"]]))
        | a | b |
        |---|---|
        | 1 | x\\|y |
    """

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def jobs_markdown(method: Method) -> str:
    """Every job: its command, parameters and outputs."""
    jobs = jobs_in(method.module("task"))
    return "## Use it\n\n" + "\n\n".join(job_markdown(method.slug, job, default=job is jobs[0]) for job in jobs)


def job_markdown(slug: str, job: Job, default: bool) -> str:
    """A job: its command, what it takes and gives."""
    command = " ".join(["harmonia run", slug, *([] if default else [job.name]), *(p.name.upper() for p in job.inputs)])
    kinds = {p: p.type.kind if p.is_media else p.type.__name__ for p in job.parameters}  # type: ignore[attr-defined]
    rows = [
        [
            p.name if p.is_input else f"`--{p.name.replace('_', '-')}`",
            " | ".join(map(str, p.choices)) or kinds[p] + (" ..." if p.many else ""),
            "" if p.is_input or p.default in (None, "") else f"`{p.default}`",
            p.field.text,
        ]
        for p in job.parameters
    ]
    gives = [
        f"**{o.name.replace('_', ' ')}** ({o.type.kind if o.is_media else 'value'})"  # type: ignore[attr-defined]
        + (f": {o.field.text}" if o.field.text else "")
        for o in job.outputs
    ]
    return "\n\n".join(
        filter(
            None,
            [
                f"### {job.name}{' (the default job)' if default else ''}\n\n{job.summary}",
                f"```sh\n{command}\n```",
                job.description,
                markdown_table(["parameter", "type", "default", "meaning"], rows),
                "Gives: " + "; ".join(gives) + ".",
            ],
        )
    )


def findings_markdown(results: Results | None) -> str:
    """The paper's claims beside our measurements."""
    if results is None or not results.findings:
        return ""
    rows = [
        [
            finding.name + (f" ({finding.note})" if finding.note else ""),
            finding.paper_place,
            number(finding.paper) if finding.better != "zero" else "0",
            number(finding.measured),
            number(finding.baseline),
            finding.unit,
            f"**{finding.verdict}**",
        ]
        for finding in results.findings
    ]
    head = ["claim", "place", "paper", "ours", "baseline", "unit", "verdict"]
    where = f"Measured at commit `{results.commit}` on {results.machine}."
    return f"## Claims, measured here\n\n{markdown_table(head, rows)}\n\n{where}"


def races_markdown(results: Results | None) -> str:
    """Speed and memory beside peers."""
    if results is None or not results.races:
        return ""
    return "## Races\n\n" + markdown_table(
        ["peer", "workload", "ours is faster by", "memory, ours / theirs", "outputs agree", "note"],
        [_race_row(race) for race in results.races],
    )


def _race_row(race: RaceResult) -> list[str]:
    threads = f"{race.threads} thread{'s' * (race.threads != 1)}, {race.device}"
    return [
        f"{race.peer} {race.peer_version}",
        f"{race.workload} ({threads})",
        f"{race.ratio:.2f}x",
        number(race.memory_ratio),
        "yes" if race.outputs_agree else "**no**",
        race.note,
    ]


def _paper_claims(card: Card) -> str:
    lines = (
        claim.name
        + (f": {number(claim.value)} {claim.unit}".rstrip() if claim.value is not None else "")
        + f" ({'; '.join(filter(None, [claim.place, claim.note]))})"
        for claim in card.claims
    )
    return _section("What the paper reports", lines)


def _weights(card: Card) -> Iterable[str]:
    for entry in card.weights:
        where = f"`hub:{entry.repo}/{entry.file}`" if entry.repo and entry.file else entry.repo or "not on the hub"
        size = f", {entry.bytes / 1e6:.1f} MB" if entry.bytes else ""
        licence = " / ".join(entry.license)
        several = " - **more than one licence is stated; read them all**" if len(entry.license) > 1 else ""
        yield f"**{entry.name}**: {where}{size}. Licence: {licence}{several}.{_note(entry.note)}"


def _errata(card: Card) -> Iterable[str]:
    for erratum in card.errata:
        flag = erratum.compat if "=" in erratum.compat else f'compat="{erratum.compat}"'
        kept = f" The official behaviour is kept behind `{flag}`." if erratum.compat else ""
        yield f"{erratum.defect.rstrip('.')}. Ours: {erratum.ours.rstrip('.')}.{kept}"
