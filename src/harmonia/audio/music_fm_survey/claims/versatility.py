"""That no representation is best at everything, and how many models read scores at all: computed, not quoted.

Probing tasks are rendered (`harmonia.data.render.labelled`), so scores are not comparable with those on GTZAN or
GiantSteps; orders are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from harmonia.audio.music_fm_survey.benchmark import ProbingBenchmark, Report
from harmonia.audio.music_fm_survey.catalogue import load
from harmonia.audio.music_fm_survey.encoders import Encoder, load_encoders
from harmonia.audio.music_fm_survey.tasks import Size, offline_tasks
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.core.weights import WeightsError

QUICK_ENCODERS = ("log-mel", "mfcc", "chroma", "cqt", "mert-random")
ALL_ENCODERS = (*QUICK_ENCODERS, "mert", "specttra", "mel-roformer")
QUICK_TASKS = ("key", "instrument", "pitch", "tempo", "style")


@claim(
    "No representation wins everywhere: tasks rank representations differently",
    place="abstract: lack of versatility",
    unit="mean Kendall tau between the rankings of two tasks",
    better="lower",
    tier="quick",
    gate=0.6,
)
def versatility_quick(seed: int) -> Measured | None:
    """Five representations that need no training, five rendered tasks."""
    return _versatility("small", QUICK_ENCODERS, QUICK_TASKS, seed)


@claim(
    "No representation wins everywhere, trained networks among them",
    place="abstract: lack of versatility",
    unit="mean Kendall tau between the rankings of two tasks",
    better="lower",
    tier="full",
    gate=0.6,
)
def versatility_full(seed: int) -> Measured | None:
    """All encoders whose weights are there, seven tasks of 1,440 excerpts."""
    return _versatility("full", ALL_ENCODERS, None, seed)


@claim(
    "Chroma or constant-Q features read keys best",
    place="abstract: lack of versatility",
    unit="weighted key score",
    better="higher",
    tier="full",
)
def pitch_spectra_read_keys(seed: int) -> Measured | None:
    """The baseline is the best of all other encoders."""
    return _best_of("key", ("chroma", "cqt"), seed)


@claim(
    "Cepstral coefficients (MFCC) read instruments best",
    place="abstract: lack of versatility",
    unit="accuracy",
    better="higher",
    tier="full",
)
def cepstra_read_instruments(seed: int) -> Measured | None:
    """The baseline is the best of all other encoders; instruments are General MIDI programs no probe was fitted on."""
    return _best_of("instrument", ("mfcc",), seed)


@claim(
    "Fewer foundation models read scores than hear audio",
    place="abstract: representations underexplored",
    unit="models in the catalogue",
    better="lower",
    tier="quick",
)
def symbolic_gap(seed: int) -> Measured:
    """Counted over the 74 models of the companion list; the baseline counts those that hear audio."""
    symbolic = [model for model in load().models if "symbolic" in model.modality]
    understanding = sum("understanding" in model.purpose for model in symbolic)
    note = f"of them {understanding} for understanding; unverified records included"
    return Measured(float(len(symbolic)), float(len(load().models) - len(symbolic)), note)


@cache
def _report(size: Size, names: Sequence[str], tasks: Sequence[str] | None, seed: int) -> Report | None:
    """The benchmark over the encoders whose weights are there; None where excerpts cannot be rendered."""
    benchmark = ProbingBenchmark(control=False, seed=seed)
    try:
        for task in offline_tasks(size, seed=seed, only=tasks):
            benchmark.add_task(task)
    except MissingDependency:
        return None
    chosen: dict[str, Encoder] = {}
    for name in names:
        try:
            chosen |= load_encoders([name])
        except WeightsError:
            continue
    return benchmark.run(chosen)


def _versatility(size: Size, names: Sequence[str], tasks: Sequence[str] | None, seed: int) -> Measured | None:
    report = _report(size, names, tasks, seed)
    if report is None:
        return None
    best = {task: report.encoders[int(np.argmax(report.scores()[:, i]))] for i, task in enumerate(report.tasks)}
    wins = ", ".join(f"{task} {encoder}" for task, encoder in best.items())
    means = ", ".join(f"{each.encoder} {each.mean:.2f}" for each in report.versatility())
    return Measured(report.agreement(), note=f"best: {wins}; mean above chance: {means}")


def _best_of(task: str, favoured: Sequence[str], seed: int) -> Measured | None:
    report = _report("full", ALL_ENCODERS, None, seed)
    if report is None:
        return None
    scores = dict(zip(report.encoders, report.scores()[:, report.tasks.index(task)]))
    others = {name: score for name, score in scores.items() if name not in favoured}
    best, rival = max(favoured, key=scores.__getitem__), max(others, key=others.__getitem__)
    note = "; ".join(f"{name} {score:.3f}" for name, score in sorted(scores.items(), key=lambda each: -each[1]))
    return Measured(float(scores[best]), float(others[rival]), note)
