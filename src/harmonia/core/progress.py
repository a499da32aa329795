"""Progress of long work, shown by whoever is watching.

A method only says ``for x in track(xs, "Separating"):`` or ``say("About 40 s on this machine.")``. The command line
shows a bar, the web page another, a library call nothing. The watcher may also stop the work: `track` then raises
`Cancelled` at the next step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watcher(Protocol):
    """Shows progress. May raise `harmonia.core.errors.Cancelled` from `step` to stop the work."""

    def step(self, label: str, done: int, total: int | None) -> None:
        """`done` of `total` steps of the work called `label` are finished."""

    def say(self, message: str) -> None:
        """One sentence for the user."""


class Silent:
    """Shows nothing."""

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None: ...


_SILENT = Silent()
_watcher: ContextVar[Watcher] = ContextVar("watcher", default=_SILENT)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` show the progress of all work done inside."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate and report each finished step.

    Example:
        >>> sum(track([1, 2, 3], "Adding"))
        6
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    watcher = _watcher.get()
    watcher.step(label, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        watcher.step(label, done, total)


def say(message: str) -> None:
    """Tell the user one sentence: what was assumed, converted, or what the work will cost."""
    _watcher.get().say(message)
