"""The paper's ablations: which teacher teaches what, and whether disturbed clips make features robust.

Four trainings serve all of them, on the same pieces; the network has no constant-Q spectrum at its input, which would
tell what a teacher of it is to teach.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import torch

from harmonia.audio.mert.claims.features import measure
from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.pretrainer import MERTPretrainer, TeacherName
from harmonia.audio.mert.probes import ProbeTask, all_tasks, mert
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data.cache import cache_folder
from harmonia.data.render import render_excerpt, write_excerpts
from harmonia.parts.training import Plan

ARMS: dict[str, tuple[TeacherName, ...]] = {"rvq+cqt": ("rvq", "cqt"), "rvq": ("rvq",), "kmeans": ("kmeans",)}
SCALE = "2 layers of width 128, 1,200 steps of 8 clips of 5 s, 250 rendered pieces of 15 s, one seed"
SMALL = dataclasses.replace(MERTConfig.tiny(), layers=2, cqt_bins=0)


@cache
def pretrained(
    seed: int,
    teachers: tuple[TeacherName, ...],
    mixture: float = 0.5,
    config: MERTConfig = SMALL,
    steps: int = 1200,
    batch: int = 8,
    pieces: int = 250,
    device: str = "cpu",
) -> MERTModel:
    """A model after pre-training on rendered pieces of 15 s; about six minutes a core at the defaults.

    Arguments:
        seed: Of weights and batches.
        teachers: What is learnt.
        mixture: Probability that a clip is disturbed.
        config: The network.
        steps: Of the run.
        batch: Clips of 5 s a step.
        pieces: Rendered pieces to learn from, which stay in the cache.
        device: Where to train.

    Raises:
        MissingDependency: music cannot be rendered.
    """
    music = cache_folder("excerpts") / f"{pieces} of 15 s"
    write_excerpts(music, "train", pieces, seconds=15.0)
    plan = Plan(steps, 1e-3, warmup=1 + steps // 12, betas=(0.9, 0.98), precision="bf16", seed=seed)
    learner = MERTPretrainer(config, teachers=teachers, mixture=mixture)
    return learner.fit(music, plan, batch=batch, held_out=0, device=device).model_.cpu()


@cache
def compare_teachers(seed: int, **scale: Any) -> dict[str, dict[str, float]] | None:
    """Percent on the four tasks after the same pre-training with each teacher; `scale` as for `pretrained`."""
    try:
        tasks = all_tasks(seed)
        models = {arm: pretrained(seed, teachers, **scale) for arm, teachers in ARMS.items()}
    except MissingDependency:
        return None
    return {arm: measure(mert(model), tasks, seed) for arm, model in models.items()}


def _between(seed: int, task: str, other: str) -> Measured | None:
    found = compare_teachers(seed)
    if found is None:
        return None
    note = "; ".join(
        f"{arm}: " + ", ".join(f"{name} {value:.1f}" for name, value in values.items()) for arm, values in found.items()
    )
    return Measured(found["rvq+cqt"][task], found[other][task], f"{note}; {SCALE}")


@claim(
    "The constant-Q teacher teaches keys: codes and constant-Q beat codes alone",
    place="ablation of teachers",
    unit="weighted key score, percent",
    better="higher",
    tier="full",
    tolerance=3.0,
)
def cqt_over_rvq(seed: int) -> Measured | None:
    return _between(seed, "key", "rvq")


@claim(
    "Codes and constant-Q beat HuBERT's classes of MFCCs at keys",
    place="ablation of teachers",
    unit="weighted key score, percent",
    better="higher",
    tier="full",
    tolerance=3.0,
)
def cqt_over_kmeans(seed: int) -> Measured | None:
    return _between(seed, "key", "kmeans")


@claim(
    "The constant-Q teacher costs no knowledge of instruments",
    place="ablation of teachers",
    unit="points between the two, either way",
    better="lower",
    tier="full",
    gate=2.0,
)
def cqt_keeps_instruments(seed: int) -> Measured | None:
    found = compare_teachers(seed)
    if found is None:
        return None
    family = {arm: values["family"] for arm, values in found.items()}
    note = ", ".join(f"{arm} {value:.1f}" for arm, value in family.items())
    return Measured(abs(family["rvq+cqt"] - family["rvq"]), note=f"{note}; {SCALE}")


@claim(
    "Disturbed clips make features robust to other music as loud as the clip",
    place="Sec. 3.3: in-batch noise mixture",
    unit="percent, mean of 4 tasks with other music at 0 dB",
    better="higher",
    tier="full",
    tolerance=2.0,
)
def mixture_helps(seed: int, noises: int = 60, **scale: Any) -> Measured | None:
    """The run of `cqt_over_rvq` beside one without disturbed clips."""
    try:
        tasks = disturbed(all_tasks(seed), seed, noises)
        models = [pretrained(seed, ARMS["rvq+cqt"], **mixture, **scale) for mixture in ({}, {"mixture": 0.0})]
    except MissingDependency:
        return None
    found = [measure(mert(model), tasks, seed) for model in models]
    note = "; ".join(f"{task} {found[0][task]:.1f} beside {found[1][task]:.1f}" for task in found[0])
    with_, without = (float(np.mean(list(values.values()))) for values in found)
    return Measured(with_, without, f"{note}; {SCALE}")


def disturbed(tasks: tuple[ProbeTask, ...], seed: int, count: int = 60) -> tuple[ProbeTask, ...]:
    """Tasks with pieces of music added to every clip, as loud as the clip."""
    noise = np.concatenate(
        [render_excerpt(70_000 + 100 * seed + n, "test", seconds=5).audio.samples for n in range(count)]
    )
    mixed: dict[int, ProbeTask] = {}
    result = []
    for task in tasks:
        sounds = mixed.setdefault(id(task.clips), task.mixed(noise)).clips
        result.append(dataclasses.replace(task, clips=sounds))
    return tuple(result)


@claim(
    "The teachers' order holds for a larger network",
    place="ablation of teachers",
    unit="weighted key score, percent",
    better="higher",
    tier="gpu",
    tolerance=3.0,
)
def larger(seed: int) -> Measured | None:
    """Four layers of width 192, 6,000 steps of 64 clips: about 20 min on a data-centre GPU."""
    if not torch.cuda.is_available():
        return None
    config = dataclasses.replace(SMALL, layers=4, dim=192, heads=6, feed_forward=768, conv_dim=(256,) * 7)
    found = compare_teachers(seed, config=config, steps=6000, batch=64, pieces=2000, device="cuda")
    if found is None:
        return None
    return Measured(found["rvq+cqt"]["key"], found["rvq"]["key"], f"MFCC classes: {found['kmeans']['key']:.1f}")
