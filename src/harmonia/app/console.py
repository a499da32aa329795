"""What the command line prints: tables, progress bars, errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from harmonia.core.claim import Finding
from harmonia.core.errors import HarmoniaError, InputError
from harmonia.core.progress import watched

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

VERDICT_STYLES = {
    "reproduced": "green",
    "exact": "green",
    "direction holds": "yellow",
    "not reproduced": "red",
    "broken": "bold red",
    "beyond this machine": "dim",
}


class RichWatcher:
    """Shows progress as bars on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def step(self, label: str, done: int, total: int | None) -> None:
        if label not in self._bars:
            self._bars[label] = self._progress.add_task(label, total=total)
        self._progress.update(self._bars[label], completed=done, total=total)
        if total is not None and done >= total:
            self._progress.remove_task(self._bars.pop(label))

    def say(self, message: str) -> None:
        self._progress.console.print(message, style="dim")


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show the progress of the work inside."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress, watched(RichWatcher(progress)):
        yield


@contextmanager
def timed(label: str) -> Iterator[None]:
    """Print how long the work inside took."""
    start = time.perf_counter()
    yield
    err.print(f"{label} took {time.perf_counter() - start:.1f} s.", style="dim")


def print_error(error: HarmoniaError) -> None:
    """What, got, mend."""
    if isinstance(error, InputError):
        err.print(f"[bold red]{_sentence(error.what)}[/]")
        err.print(f"  got:  {error.got}", markup=False)
        err.print(f"  mend: {error.mend}", markup=False)
    else:
        err.print(f"[bold red]{_sentence(str(error))}[/]")


def _sentence(text: str) -> str:
    from rich.markup import escape

    return escape(text[:1].upper() + text[1:])


def number(value: float | None) -> str:
    """A number as a person writes it.

    Example:
        >>> number(0.000123456), number(12.0), number(71215.0), number(None)
        ('0.0001235', '12', '71,215', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Paper beside measured, one row a claim."""
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for column in ("claim", "paper", "ours", "baseline", "unit", "verdict"):
        table.add_column(column, justify="right" if column in ("paper", "ours", "baseline") else "left")
    for finding in findings:
        style = VERDICT_STYLES[finding.verdict]
        paper = number(finding.paper) if finding.better != "zero" else "0"
        table.add_row(
            f"{finding.name}\n[dim]{finding.paper_place}[/]",
            paper,
            number(finding.measured),
            number(finding.baseline),
            finding.unit,
            f"[{style}]{finding.verdict}[/]",
        )
    return table


def values_table(values: Mapping[str, Any]) -> Table:
    """The numbers and words among a job's outputs."""
    table = Table(show_header=False, box=None)
    for name, value in values.items():
        table.add_row(name.replace("_", " "), number(value) if isinstance(value, float) else str(value))
    return table
