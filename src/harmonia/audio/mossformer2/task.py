"""Jobs of MossFormer2: separate the speakers of a recording, train on speakers of your own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import torch

from harmonia.audio.mossformer2 import report
from harmonia.audio.mossformer2.activity import Activity, residual_db, speakers_heard
from harmonia.audio.mossformer2.checkpoint import load_checkpoint
from harmonia.audio.mossformer2.mixing import (
    DynamicMix,
    Mixed,
    fixed_draw,
    fixed_mixtures,
    has_mixtures,
    read_mixtures,
    read_speakers,
)
from harmonia.audio.mossformer2.network import MossFormer2, MossFormer2Config
from harmonia.audio.mossformer2.separator import EMBEDDED, Separation, SpeechSeparator
from harmonia.audio.mossformer2.training import Draw, train_separator
from harmonia.core.card import Card
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint, locate
from harmonia.data import demo_talk
from harmonia.media import Audio, Figure, Table
from harmonia.parts.sound_stream import SoundSource
from harmonia.parts.training import Plan, Trained

HERE = Path(__file__).parent
SIZES: dict[str, dict[str, Any]] = {
    "small": {"n_filters": 128, "kernel": 32, "depth": 4, "group": 64, "qk_dim": 32, "fsmn_dim": 64, "dropout": 0.0},
    "medium": {"n_filters": 256, "depth": 12, "fsmn_dim": 128},
    "large": {},
}


def demo_mixture() -> Audio:
    """The embedded conversation."""
    return demo_talk().mixture


Recording = Annotated[
    SoundSource, Field("people who talk over each other", example=lambda: SoundSource(demo_mixture()))
]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Separated(TypedDict):
    speaker1: Annotated[Audio, Field("the first speaker")]
    speaker2: Annotated[Audio, Field("the second speaker")]
    speaker3: Annotated[Audio | None, Field("the third speaker, of models for three")]
    turns: Annotated[Table | None, Field("who talks from when to when, in seconds")]
    report: Annotated[Figure, Field("spectrograms, activity, confidence at joints, levels")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("averaged weights with their configuration")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


def separate(
    recording: Recording,
    *,
    weights: Annotated[
        str, Field("embedded (small), a file or folder of a release, or hub:<repo>/<file>")
    ] = "embedded",
    sample_rate: Annotated[
        int, Field("rate the weights were trained at; 0 for what their file or layout says", unit="Hz", ge=0)
    ] = 0,
    chunk: Annotated[float, Field("length of the pieces of a long recording; 0 takes it whole", unit="s", ge=0)] = 8.0,
    overlap: Annotated[
        float, Field("overlap of neighbouring pieces; tells who is who", unit="fraction", ge=0, lt=1)
    ] = 0.5,
    gate: Annotated[float, Field("mute a speaker this far below the loudest one; 0 never does", unit="dB", ge=0)] = 0.0,
    compat: Annotated[
        Literal["none", "clearvoice"], Field("clearvoice: long recordings exactly as the official code")
    ] = ("none"),
    precision: Annotated[Literal["float32", "bfloat16"], Field("bfloat16 is faster on recent processors")] = "float32",
    device: Device = "auto",
) -> Separated:
    """Split a recording into one file per speaker.

    The embedded weights are small and were trained on synthetic voices at 8 kHz; for real recordings give a released
    checkpoint. The speakers come at the sample rate of the model and at the level they have in the recording.
    """
    model = load_separator(weights, sample_rate or None)
    separator = SpeechSeparator(
        model,
        chunk_seconds=chunk or None,
        overlap=overlap,
        gate_db=gate or None,
        compat=None if compat == "none" else "clearvoice",
        dtype=precision,
        device=device,
    )
    if recording.channels > 1:
        say(f"The recording has {recording.channels} channels: they are mixed down to one.")
    if recording.rate != separator.sample_rate:
        say(f"Resampled from {recording.rate} to {separator.sample_rate} Hz; the speakers stay at that rate.")
    mixture = recording.mono(separator.sample_rate)
    result = separator.separate(mixture.samples, mixture.rate)
    _notice(result)
    activity = Activity.of(result.speakers, result.rate)
    sounds = [Audio(samples, result.rate) for samples in result.speakers]
    return {
        "speaker1": sounds[0],
        "speaker2": sounds[1],
        "speaker3": sounds[2] if len(sounds) > 2 else None,
        "turns": activity.to_table(),
        "report": report.separation(result, activity),
    }


def train(
    folder: Annotated[Path, Field("a folder for each speaker; or WSJ0-mix, LibriMix, an .scp or .csv of mixtures")],
    *,
    start: Annotated[str, Field("weights to begin with: none, embedded, a local file, or hub:<repo>/<file>")] = "none",
    size: Annotated[Literal["small", "medium", "large"], Field("network, where nothing is continued")] = "small",
    rate: Annotated[int, Field("sampling rate, where nothing is continued", unit="Hz", ge=1000)] = 8000,
    speakers: Annotated[int, Field("speakers of a mixture, where nothing is continued", ge=2, le=3)] = 2,
    causal: Annotated[bool, Field("never look ahead, for `LiveSeparation`, where nothing is continued")] = False,
    held_out: Annotated[str, Field("more speakers or mixtures, to measure on: a folder; empty for none")] = "",
    steps: Annotated[int, Field("optimizer steps of the whole run", ge=1)] = 2000,
    batch: Annotated[int, Field("mixtures a step", ge=1)] = 4,
    seconds: Annotated[float, Field("length of a mixture", unit="s", gt=0.2)] = 2.0,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 4e-3,
    precision: Annotated[Literal["no", "bf16"], Field("bf16 for GPUs")] = "no",
    evaluate_every: Annotated[int, Field("steps between two measurements", ge=1)] = 200,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Train a separator on recordings of single speakers, mixed anew in every step.

    Levels, speed, pauses, rooms and noise are random. With `keep`, a run that was stopped or killed continues where it
    was and ends with the same weights.
    """
    model = _network(start, {**SIZES[size], "sample_rate": rate, "n_speakers": speakers, "causal": causal}, seed)
    plan = Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=min(50, steps),
        clip_norm=5.0,
        ema_decay=0.995,
        precision=precision,
        evaluate_every=evaluate_every,
        checkpoint_every=min(evaluate_every, 100),
        seed=seed,
    )
    draw, names = _draw(folder, model.config, seconds, batch)
    tests = _tests(held_out, model.config) if held_out else []
    trained = train_separator(
        model, draw, plan, held_out=tests, folder=Path(keep).expanduser() if keep else None, device=device
    )
    return {"weights": _checkpoint(trained, plan, names), "report": report.run(trained.history)}


def load_separator(weights: str, sample_rate: int | None = None) -> MossFormer2:
    """A model from the embedded weights, a local file or folder, or the hub.

    Raises:
        WeightsError: weights that cannot be found, read, or loaded strictly.
    """
    if Path(weights).expanduser().is_dir():
        return load_checkpoint(weights, sample_rate=sample_rate)
    path = locate(weights, embedded=EMBEDDED, released=Card.load(HERE / "card.toml").weights)
    return load_checkpoint(path, sample_rate=sample_rate, mapping="whamr" in weights.lower() or None)


def _notice(result: Separation) -> None:
    """Say what a listener should know before trusting the files."""
    heard = speakers_heard(result.speakers, result.rate)
    if heard < len(result.speakers):
        people = {0: "nobody", 1: "one person"}.get(heard, f"{heard} people")
        say(f"It sounds as if {people} talks; what the other outputs hold is noise or an echo.")
    left = residual_db(result.mixture, result.speakers)
    if heard and left > -10:
        say(
            f"{100 * 10 ** (left / 10):.0f} % of the power is in no output: noise, or more people than the model knows."
        )
    doubtful = [joint.seconds for joint in result.joints if joint.confidence < report.UNSURE]
    if doubtful:
        places = ", ".join(f"{seconds:.0f} s" for seconds in doubtful[:6])
        say(f"Who is who is in doubt from {places}{' and later' if len(doubtful) > 6 else ''} on: listen there.")


def _network(start: str, shape: dict[str, Any], seed: int) -> MossFormer2:
    if start != "none":
        return load_separator(start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MossFormer2(MossFormer2Config.of(shape))


def _draw(folder: Path, config: MossFormer2Config, seconds: float, batch: int) -> tuple[Draw, list[str]]:
    """Where batches come from, and the names of the speakers (none for published mixtures)."""
    if has_mixtures(folder):
        mixtures = _fitting(read_mixtures(folder, config.sample_rate), config)
        return fixed_draw(mixtures, round(seconds * config.sample_rate), batch), []
    found = read_speakers(folder, config.sample_rate)
    mix = DynamicMix(found, config.sample_rate, seconds, config.n_speakers)
    return lambda generator: mix.draw(generator, batch), [speaker.name for speaker in found]


def _tests(place: str, config: MossFormer2Config, count: int = 16) -> list[Mixed]:
    """Mixtures to measure on: read, or made without rooms, noise or change of speed."""
    folder = Path(place).expanduser()
    if has_mixtures(folder):
        return _fitting(read_mixtures(folder, config.sample_rate, limit=count), config)
    found = read_speakers(folder, config.sample_rate)
    plain = DynamicMix(found, config.sample_rate, 4.0, config.n_speakers, speed=0.0, reverb=0.0, noise=0.0)
    return fixed_mixtures(plain, count, seed=1)


def _fitting(mixtures: list[Mixed], config: MossFormer2Config) -> list[Mixed]:
    counts = {len(mixed.sources) for mixed in mixtures}
    if counts != {config.n_speakers}:
        raise InputError(
            f"the model separates {config.n_speakers} speakers", f"mixtures of {sorted(counts)}", "Give such mixtures."
        )
    return mixtures


def _checkpoint(trained: Trained[MossFormer2], plan: Plan, names: list[str]) -> Checkpoint:
    """The averaged weights, matrices in half precision, with their configuration and how they came about."""
    state = {key: value.detach().cpu() for key, value in trained.model.state_dict().items()}
    tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    made = {"speakers": names, "plan": dataclasses.asdict(plan), "scores": dict(trained.history[-1])}
    config = dataclasses.asdict(trained.model.config)
    return Checkpoint(tensors, {"config": json.dumps(config), "made": json.dumps(made)})


JOBS = (separate, train)
