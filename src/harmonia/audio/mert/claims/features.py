"""The embedded weights beside spectra and beside random weights, in linear probes of unseen sounds.

The network has 1.1 million parameters and heard 400 minutes of rendered music; the released ones have hundreds of
millions and heard 160,000 hours. These claims say what the small one is worth, whatever it is. The constant-Q spectrum
at its input tells notes and chords to random weights too, and training adds little that can be measured.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.probes import FrontEnd, ProbeTask, all_tasks, constant_q, log_mel, mert, note_tasks
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data.render import render_snippets
from harmonia.parts.probing import Gain

TASKS = ("key", "pitch class", "family", "chord")
RENDERED = "rendered music, percent on unseen pieces or instruments"


def random_model(seed: int, config: MERTConfig | None = None) -> MERTModel:
    """The embedded network's shape with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MERTModel(config or MERTConfig.tiny()).eval()


@cache
def scores(seed: int) -> dict[str, dict[str, float]] | None:
    """Percent of each front-end on each task; None where sounds cannot be rendered."""
    try:
        tasks = all_tasks(seed)
    except MissingDependency:
        return None
    fronts: dict[str, FrontEnd] = {
        "embedded": mert(MERTModel.from_pretrained()),
        "random": mert(random_model(seed)),
        "log-mel": log_mel,
        "constant-Q": constant_q,
    }
    return {name: measure(front, tasks, seed) for name, front in fronts.items()}


def measure(front: FrontEnd, tasks: tuple[ProbeTask, ...], seed: int) -> dict[str, float]:
    """Percent of one front-end on tasks; tasks on the same sounds share the features."""
    found, heard, features = {}, None, np.zeros(0)
    for task in tasks:
        if task.clips is not heard:
            heard, features = task.clips, front(task.clips)
        found[task.name] = 100 * task.score(features, seed).score
    return found


def _beside(seed: int, baseline: str) -> Measured | None:
    """Mean over the four tasks, with each of them in the note."""
    found = scores(seed)
    if found is None:
        return None
    note = "; ".join(f"{task} {found['embedded'][task]:.1f} beside {found[baseline][task]:.1f}" for task in TASKS)
    ours, theirs = (float(np.mean([found[name][task] for task in TASKS])) for name in ("embedded", baseline))
    return Measured(ours, theirs, f"{note}; {RENDERED}")


@claim(
    "The embedded weights beat random ones at note, key, instrument and chord",
    place="abstract: generalises to 14 music understanding tasks",
    unit="percent, mean of 4 tasks",
    better="higher",
    tier="full",
    tolerance=3.0,
)
def embedded_against_random(seed: int) -> Measured | None:
    return _beside(seed, "random")


@claim(
    "The embedded weights beat log-mel spectra",
    place="abstract: generalises to 14 music understanding tasks",
    unit="percent, mean of 4 tasks",
    better="higher",
    tier="full",
)
def embedded_against_log_mel(seed: int) -> Measured | None:
    return _beside(seed, "log-mel")


@claim(
    "The embedded weights beat constant-Q spectra",
    place="abstract: generalises to 14 music understanding tasks",
    unit="percent, mean of 4 tasks",
    better="higher",
    tier="full",
)
def embedded_against_constant_q(seed: int) -> Measured | None:
    return _beside(seed, "constant-Q")


@claim(
    "The embedded weights know the pitch class of notes of unseen instruments better than random ones",
    place="Sec. 4: NSynth pitch",
    unit="accuracy, percent",
    better="higher",
    tier="quick",
    tolerance=3.0,
)
def embedded_notes(seed: int) -> Measured | None:
    """Random weights know nearly all of it, from the constant-Q spectrum at the input: no room for 3 points more."""
    return _small(seed, "pitch class")


@claim(
    "The embedded weights know the family of unseen instruments better than random ones",
    place="Sec. 4: NSynth instrument",
    unit="accuracy, percent",
    better="higher",
    tier="quick",
    tolerance=3.0,
)
def embedded_families(seed: int) -> Measured | None:
    """Of 66 notes in the test set, within whose standard error of 6 points the two lie."""
    return _small(seed, "family")


@claim(
    "The embedded weights tell major from minor triads of unseen roots better than random ones",
    place="Sec. 3.2: harmonic information through the constant-Q teacher",
    unit="accuracy, percent",
    better="higher",
    tier="full",
    tolerance=3.0,
)
def embedded_chords(seed: int) -> Measured | None:
    """Two classes only, and no root of the test set in the training set: chance is 50."""
    try:
        task = unseen_roots(seed)
    except MissingDependency:
        return None
    ours, theirs = (mert(model)(task.clips) for model in (MERTModel.from_pretrained(), random_model(seed)))
    note = f"chance 50; constant-Q spectra {100 * task.score(constant_q(task.clips), seed).score:.1f}"
    return Measured(100 * task.score(ours, seed).score, 100 * task.score(theirs, seed).score, note)


def unseen_roots(seed: int, programs: int = 24) -> ProbeTask:
    """Major and minor triads; those on four of the twelve roots are the test set."""
    rng = np.random.default_rng([seed, 0x3007])
    held_out = rng.permutation(12)[:4]
    played = rng.permutation(80)[:programs].repeat(24)
    root, minor = np.tile(np.arange(24) % 12, programs), np.tile(np.arange(24) // 12, programs)
    chords = [[48 + low, 52 + low - flat, 55 + low] for low, flat in zip(root.tolist(), minor.tolist(), strict=True)]
    clips = render_snippets(played.tolist(), chords)
    return ProbeTask("major or minor", clips, minor, np.isin(root, held_out), Gain())


@cache
def _small_scores(seed: int) -> tuple[dict[str, float], dict[str, float]] | None:
    try:
        tasks = note_tasks(3, seed)
    except MissingDependency:
        return None
    ours, theirs = (measure(mert(model), tasks, seed) for model in (MERTModel.from_pretrained(), random_model(seed)))
    return ours, theirs


def _small(seed: int, task: str) -> Measured | None:
    found = _small_scores(seed)
    if found is None:
        return None
    return Measured(found[0][task], found[1][task], f"264 notes of 88 instruments, 22 of them unseen; {RENDERED}")
