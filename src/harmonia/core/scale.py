"""The same map over many blocks: in this process, over local processes, or on a Ray cluster.

Kernel-matrix tiles and bulk file runs are the same thing: a pure function over independent blocks. What differs is
where it runs, so that is the only choice here; results come back in order and are identical bit for bit.

An interrupted run continues: pass a `Ledger`, and blocks whose names it holds are not computed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeVar

from harmonia.core.errors import InputError, require
from harmonia.core.progress import track

Block = TypeVar("Block")
Result = TypeVar("Result")
Engine = Literal["serial", "threads", "processes", "ray"]


def map_blocks(
    function: Callable[[Block], Result],
    blocks: Sequence[Block],
    *,
    engine: Engine = "serial",
    workers: int | None = None,
    label: str = "Working",
) -> Iterator[Result]:
    """Yield ``function(block)`` for each block, in order.

    Arguments:
        function: Pure function of one block; for ``processes`` one that can be imported by name.
        engine: ``serial``, ``threads`` (NumPy and torch release the interpreter lock), ``processes``, or ``ray``
            (extra ``scale``; connects to the running cluster, or starts a local one).
        workers: How many blocks at once; by default the number of cores.
        label: What the progress bar calls the work.

    Raises:
        InputError: an unknown engine, or fewer than one worker.
        MissingDependency: ``ray`` is not installed.

    Example:
        >>> list(map_blocks(abs, [-1, 2, -3], engine="threads"))
        [1, 2, 3]
    """
    workers = workers if workers is not None else os.cpu_count() or 1
    if workers < 1:
        raise InputError("the number of workers is at least 1", workers, "Leave it out to use every core.")
    runners: dict[str, Callable[[], Iterable[Result]]] = {
        "serial": lambda: map(function, blocks),
        "threads": lambda: _pooled(ThreadPoolExecutor(workers), function, blocks),
        # Spawned, not forked: a fork of a process whose torch threads have run can hang.
        "processes": lambda: _pooled(ProcessPoolExecutor(workers, get_context("spawn")), function, blocks),
        "ray": lambda: _on_ray(function, blocks, workers),
    }
    if engine not in runners:
        raise InputError("there is no such engine", f"'{engine}'", f"Use one of: {', '.join(runners)}.")
    return track(runners[engine](), label, total=len(blocks))


def _pooled(
    pool: ThreadPoolExecutor | ProcessPoolExecutor, function: Callable[[Block], Result], blocks: Sequence[Block]
) -> Iterator[Result]:
    with pool:
        try:
            yield from pool.map(function, blocks)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_ray(function: Callable[[Block], Result], blocks: Sequence[Block], workers: int) -> Iterator[Result]:
    """Keep `workers` blocks in flight; results are handed on in order."""
    ray: Any = require("ray", extra="scale")
    if not ray.is_initialized():
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    remote = ray.remote(function)
    waiting = [remote.remote(block) for block in blocks[:workers]]
    for ahead in range(workers, workers + len(blocks)):
        result = ray.get(waiting.pop(0))
        if ahead < len(blocks):
            waiting.append(remote.remote(blocks[ahead]))
        yield result


class Ledger:
    """Names of finished blocks, in a text file that survives a kill.

    One name a line, appended and flushed to disk as soon as a block's result is safe. A line that was cut off in the
    middle of a crash is not a finished block.

    Example:
        >>> import tempfile
        >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "done.txt")
        >>> ledger.add("tile 0 0")
        >>> "tile 0 0" in ledger, "tile 0 1" in ledger
        (True, False)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole, _, cut = text.rpartition("\n")
        if cut:
            self.path.write_text(whole + "\n" if whole else "", encoding="utf-8")
        self._names = set(whole.splitlines())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str) -> None:
        """Record a block as finished; returns when that is on disk."""
        if "\n" in name or not name:
            raise InputError("a block's name is one line", repr(name), "Leave out line breaks.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._names.add(name)
