"""Jobs of MERT: features of songs, frame by frame or pooled, and pre-training on music of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
import torch

from harmonia.audio.mert import report
from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.features import MERTFeatures
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.pretrainer import MERTPretrainer, TeacherName
from harmonia.audio.mert.summary import Summary
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data import demo_song
from harmonia.media import Figure, Table
from harmonia.parts.sound_stream import SoundSource
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

Weights = Annotated[
    str, Field("embedded (tiny), a local file or folder, or hub:m-a-p/MERT-v1-95M; licences are on the method's page")
]
Layers = Annotated[str, Field("all, or numbers of layers separated by commas; 0 is what enters the first")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Heard(TypedDict):
    features: Annotated[Table, Field("one row for each song and layer")]
    report: Annotated[Figure, Field("self-similarity, changes, lengths and path of the song in the layers")]


class Frames(TypedDict):
    frames: Annotated[Checkpoint, Field("tensor 'frames' [layers, frames, dim] and 'times' in seconds")]
    report: Annotated[Figure, Field("self-similarity, changes, lengths and path of the song in the layers")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("averaged weights with their configuration")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


def listen(
    songs: Annotated[
        list[SoundSource], Field("one song, or several to compare", example=lambda: [SoundSource(demo_song())])
    ],
    *,
    weights: Weights = "embedded",
    layers: Layers = "all",
    pool: Annotated[Literal["mean", "stats"], Field("mean over time, or mean and deviation")] = "mean",
    chunk: Annotated[float, Field("length of the pieces that the network hears at once", unit="s", ge=1)] = 30.0,
    precision: Annotated[Literal["float32", "bfloat16"], Field("bfloat16 is faster on recent processors")] = "float32",
    device: Device = "auto",
) -> Heard:
    """Turn songs into features, to put in front of any classifier, and show how the layers hear them.

    The embedded weights are tiny and were pre-trained on rendered music; for real recordings give a released model
    (for non-commercial use only). Which layer serves best depends on the task: low layers hear sound, higher ones
    harmony and structure.
    """
    features = _features(weights, layers, chunk, precision, device)
    rate = features.model_.config.sample_rate
    sounds = [song.mono(rate) for song in songs]
    if len(sounds) == 1:
        heard = features.summary(sounds[0])
        pooled = np.concatenate([heard.mean, heard.deviation], -1)[None] if pool == "stats" else heard.mean[None]
        picture = report.song(sounds[0], heard, features.layers_)
    else:
        pooled = features.set_params(pool=pool).transform(sounds)
        picture = report.songs([f"song {n + 1}" for n in range(len(songs))], pooled, features.layers_)
    names = features.set_params(pool=pool).get_feature_names_out()
    say(f"{len(songs)} songs, {len(features.layers_)} layers, {pooled.shape[-1]} features each.")
    return {"features": _table(pooled, features.layers_, list(names[: pooled.shape[-1]])), "report": picture}


def frames(
    song: Annotated[SoundSource, Field("the song", example=lambda: SoundSource(demo_song()))],
    *,
    weights: Weights = "embedded",
    layers: Layers = "all",
    chunk: Annotated[float, Field("length of the pieces that the network hears at once", unit="s", ge=1)] = 30.0,
    overlap: Annotated[float, Field("overlap of neighbouring pieces", unit="fraction", ge=0, lt=1)] = 0.25,
    precision: Annotated[Literal["float32", "bfloat16"], Field("bfloat16 is faster on recent processors")] = "float32",
    device: Device = "auto",
) -> Frames:
    """Give every frame of a song, 75 a second, of the layers wanted: for transcription, beats, or structure.

    Pieces overlap and are faded into each other, so that there are no seams.
    """
    features = _features(weights, layers, chunk, precision, device, hop=chunk * (1 - overlap)).set_params(pool="frames")
    config = features.model_.config
    sound = song.mono(config.sample_rate)
    (found,) = features.transform([sound])
    times = (np.arange(found.shape[1]) * config.stride + config.receptive / 2) / config.sample_rate
    tensors = {"frames": torch.from_numpy(np.ascontiguousarray(found)), "times": torch.from_numpy(times)}
    told = {"layers": ",".join(map(str, features.layers_)), "weights": weights}
    summary = Summary.of([(0, tensors["frames"])], found.shape[1], sound.seconds)
    return {"frames": Checkpoint(tensors, told), "report": report.song(sound, summary, features.layers_)}


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
    precision: Annotated[
        Literal["no", "bf16", "fp16"], Field("mixed precision; bf16 is faster on recent processors and devices")
    ] = "no",
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
        precision=precision,
        seed=seed,
    )
    source = None if start == "none" else start
    pretrainer = MERTPretrainer(SIZES[size](), teachers=TEACHERS[teachers], crop_seconds=seconds, continue_from=source)
    folder = Path(keep).expanduser() if keep else None
    pretrainer.fit(music, plan, batch=batch, held_out=held_out, keep=folder, device=device)
    return {"weights": pretrainer.checkpoint(), "report": report.run(pretrainer.history_)}


JOBS = (listen, frames, pretrain)


def _features(
    weights: str, layers: str, chunk: float, precision: Any, device: Any, hop: float | None = None
) -> MERTFeatures:
    """Fitted features of the wanted layers."""
    model = MERTModel.from_pretrained(weights)
    wanted: Any = "all"
    if layers != "all":
        try:
            wanted = [int(number) for number in layers.split(",")]
        except ValueError:
            mend = f"Write numbers from 0 to {model.config.layers}, such as 3,4, or all."
            raise InputError("these are no layers", layers, mend) from None
    return MERTFeatures(
        model, layers=wanted, chunk_seconds=chunk, hop_seconds=hop, dtype=precision, device=device
    ).fit()


def _table(pooled: np.ndarray, layers: list[int], names: list[str]) -> Table:
    """A row for each song and layer."""
    songs, count, width = pooled.shape
    places = {"song": np.repeat(np.arange(songs) + 1, count), "layer": np.tile(layers, songs)}
    kinds = [name.split("_", 1)[1] for name in names]
    values = pooled.reshape(-1, width)
    columns = {f"feature{kind}" if kind.isdigit() else kind: values[:, i] for i, kind in enumerate(kinds)}
    return Table(polars.DataFrame({**places, **columns}))
