"""Jobs of MERT: features of songs, frame by frame or pooled, and pre-training on music of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypedDict

from harmonia.audio.mert import report
from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.pretrainer import MERTPretrainer, TeacherName
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure
from harmonia.parts.training import Plan

SIZES = {"tiny": MERTConfig.tiny, "base": MERTConfig.base, "large": MERTConfig.large}
TEACHERS: dict[str, tuple[TeacherName, ...]] = {
    "rvq+cqt": ("rvq", "cqt"),
    "rvq": ("rvq",),
    "kmeans": ("kmeans",),
    "cqt": ("cqt",),
    "encodec+cqt": ("encodec", "cqt"),
    "labels+cqt": ("labels", "cqt"),
}

Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("averaged weights with their configuration")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


def pretrain(
    music: Annotated[Path, Field("folder of sound files, or a manifest (.tsv)")],
    *,
    teachers: Annotated[
        Literal["rvq+cqt", "rvq", "kmeans", "cqt", "encodec+cqt", "labels+cqt"],
        Field("what is learnt: codes of your own music or EnCodec's, and the constant-Q spectrum"),
    ] = "rvq+cqt",
    start: Annotated[str, Field("weights to begin with: none, embedded, a local file, or hub:<repo>/<file>")] = "none",
    size: Annotated[Literal["tiny", "base", "large"], Field("network, where nothing is continued")] = "tiny",
    steps: Annotated[int, Field("optimizer steps of the whole run", ge=1)] = 2000,
    batch: Annotated[int, Field("clips a step", ge=1)] = 8,
    seconds: Annotated[float, Field("length of a clip", unit="s", gt=0.2)] = 5.0,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 1e-3,
    held_out: Annotated[int, Field("files that are only measured on: the last ones", ge=0)] = 8,
    evaluate_every: Annotated[int, Field("steps between two measurements", ge=1)] = 100,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Pre-train a model on music of your own, or continue a released one; no labels are needed.

    The network guesses masked stretches of its input: discrete codes of the sound, and its constant-Q spectrum. With
    `keep`, a run that was stopped or killed continues where it was and ends with the same weights.
    """
    plan = Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=min(32_000, 1 + steps // 12),
        betas=(0.9, 0.98),
        ema_decay=0.995,
        evaluate_every=evaluate_every,
        checkpoint_every=evaluate_every,
        seed=seed,
    )
    source = None if start == "none" else start
    pretrainer = MERTPretrainer(SIZES[size](), teachers=TEACHERS[teachers], crop_seconds=seconds, continue_from=source)
    folder = Path(keep).expanduser() if keep else None
    pretrainer.fit(music, plan, batch=batch, held_out=held_out, keep=folder, device=device)
    return {"weights": pretrainer.checkpoint(), "report": report.run(pretrainer.history_)}


JOBS = (pretrain,)
