"""``harmonia bench``: ours and a peer, alternately, in one run.

A method's ``benchmarks/<slug>.py`` lists its races::

    def ours(degree):
        basis, points = ...            # set-up, not timed
        return lambda: basis(points).numpy()

    RACES = [
        Race("sphericart-torch", "10k points, degree 40", ours, theirs, {"degree": 40}, tolerance=1e-9),
    ]

Each side runs in a process of its own (a peer may live in an environment of its own, made on first use), with the
same number of threads. Outputs are compared before timing; the sides then take turns, so that a drift of the machine
hits both; the ratio is the median over turns.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harmonia.app.console import err, out
from harmonia.core.errors import InputError
from harmonia.core.registry import Method, find, methods
from harmonia.core.results import RaceResult, record

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("bench_worker.py")
Contestant = Callable[..., Callable[[], Any]]


@dataclass(frozen=True)
class Race:
    """Ours beside one peer on one workload.

    Arguments:
        peer: Distribution name of the peer, for its version and for people.
        workload: What is computed, with sizes.
        ours, theirs: Module-level functions of the benchmark file; each sets up and returns the step to time. The
            step returns an array (compared between the sides) or None.
        arguments: Keyword arguments of both functions; plain JSON values.
        tolerance: Largest difference of the outputs, relative to the largest of theirs, that counts as agreement.
        requirements: Packages of the peer's own environment; empty when it lives in ours.
        repeats: Timed turns, when the command line's number is too many for this workload.
        scores: The outputs are scores, higher ones better: ours agree where they are no lower, up to the tolerance.
    """

    peer: str
    workload: str
    ours: Contestant
    theirs: Contestant
    arguments: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5
    threads: int = 2
    requirements: tuple[str, ...] = ()
    repeats: int | None = None
    note: str = ""
    scores: bool = False


def bench(slugs: Sequence[str], repeats: int, only: str, keep: bool) -> None:
    """Run the races of the given methods (of all that have a benchmark, when none is named)."""
    chosen = [find(slug) for slug in slugs] or [m for m in methods() if m.built and _file(m).is_file()]
    for method in chosen:
        races = races_of(method)
        workloads = {race.workload for race in races}
        for race in races:
            if only not in race.peer and only not in race.workload:
                continue
            err.print(f"{method.slug}: {race.workload}, beside {race.peer} ...", style="dim")
            result = run_race(race, _file(method), repeats)
            memory = "" if result.memory_ratio is None else f", {result.memory_ratio:.2f} of its memory"
            agree = "outputs agree" if result.outputs_agree else "[red]outputs differ[/]"
            out.print(f"{method.slug} [bold]{result.ratio:.2f}x[/] {race.peer} on {race.workload}{memory}, {agree}")
            if keep:
                record(method.slug, method.code, races=[result], workloads=workloads)


def races_of(method: Method) -> list[Race]:
    """The races that a method's benchmark file lists."""
    path = _file(method)
    if not path.is_file():
        raise InputError(f"'{method.slug}' has no benchmark", path.name, "Benchmarks live in a checkout's benchmarks/.")
    spec = importlib.util.spec_from_file_location(f"benchmark_{method.card.module}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.RACES)


def _file(method: Method) -> Path:
    return ROOT / "benchmarks" / f"{method.card.module}.py"


def run_race(race: Race, file: Path, repeats: int) -> RaceResult:
    """Compare the outputs, then time both sides in turns."""
    python = _environment(race) if race.requirements else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        ours = _Side(sys.executable, file, race.ours, race, Path(folder) / "ours.npy")
        theirs = _Side(python, file, race.theirs, race, Path(folder) / "theirs.npy")
        try:
            difference, compared = _compared(race, ours.output(), theirs.output())
            turns = [(ours.turn(), theirs.turn()) for _ in range(race.repeats or repeats)]
        finally:
            ours.close()
            theirs.close()
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in turns)
    memory = max(a["peak_kib"] for a, _ in turns) / max(b["peak_kib"] for _, b in turns)
    seconds = [statistics.median(side["seconds"] for side in sides) for sides in zip(*turns)]
    notes = [
        f"{seconds[0]:.3g} s beside {seconds[1]:.3g} s, median of {len(turns)} turns",
        compared,
        race.note,
    ]
    return RaceResult(
        peer=race.peer,
        peer_version=_version(race.peer, python),
        workload=race.workload,
        ratio=round(ratio, 3),
        memory_ratio=round(memory, 3),
        threads=race.threads,
        device="cpu",
        outputs_agree=difference is None or difference <= race.tolerance,
        note="; ".join(filter(None, notes)),
    )


class _Side:
    """A worker process that answers with one timing a line."""

    def __init__(self, python: str, file: Path, function: Contestant, race: Race, output: Path) -> None:
        command = [python, str(WORKER), str(file), function.__name__, str(race.threads), json.dumps(race.arguments)]
        self._output = output
        self._process = subprocess.Popen(
            [*command, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InputError("a side of the race stopped", self._process.args, "See its error above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def output(self) -> np.ndarray | None:
        return np.load(self._output) if self._output.is_file() else None

    def turn(self) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def _compared(race: Race, ours: np.ndarray | None, theirs: np.ndarray | None) -> tuple[float | None, str]:
    """How far the outputs are apart, relative to the largest of theirs, and the words for it."""
    if ours is None or theirs is None:
        return None, ""
    if ours.shape != theirs.shape:
        return float("inf"), f"outputs of shapes {ours.shape} and {theirs.shape}"
    scale = float(np.max(np.abs(theirs))) or 1.0
    if race.scores:
        pairs = (", ".join(f"{score:.4g}" for score in side.flat) for side in (ours, theirs))
        return float(np.max(theirs - ours, initial=0.0)) / scale, "scores {} beside {}".format(*pairs)
    difference = float(np.max(np.abs(ours - theirs))) / scale
    return difference, f"largest difference {difference:.1e}"


def _environment(race: Race) -> str:
    """The interpreter of the peer's own environment, made on first use under ``.bench/``."""
    folder = ROOT / ".bench" / race.peer
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = "\n".join(race.requirements)
    if not done.is_file() or done.read_text() != wanted:
        err.print(f"Making an environment for {race.peer} ...", style="dim")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *race.requirements], check=True)
        done.write_text(wanted)
    return str(python)


def _version(package: str, python: str) -> str:
    if python == sys.executable:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
