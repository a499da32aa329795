"""Jobs of Mel-RoFormer: take a song apart, write down its vocal melody, train on songs of your own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import torch

from harmonia.audio.mel_roformer import report
from harmonia.audio.mel_roformer.checkpoint import load_checkpoint
from harmonia.audio.mel_roformer.decoding import Decoding
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.separator import ChunkedSeparator
from harmonia.audio.mel_roformer.stems import Stems, read_stems
from harmonia.audio.mel_roformer.training import FAST_LOSS, SeparationLoss, train_separator, train_transcriber
from harmonia.audio.mel_roformer.transcriber import VocalMelodyTranscriber
from harmonia.audio.mel_roformer.transcription import MelodyNetwork
from harmonia.core.card import Card
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint, locate, read_state_dict
from harmonia.data import demo_song
from harmonia.media import Audio, Figure, Score, Table
from harmonia.parts.training import Plan, Trained

HERE = Path(__file__).parent
SEPARATION = HERE / "weights" / "separation.safetensors"
SIZES = {
    "small": MelBandRoformerConfig(
        hop_length=882, dim=48, depth=2, heads=2, head_dim=32, mask_depth=1, mask_expansion=1
    ),
    "medium": MelBandRoformerConfig(dim=128, depth=4, heads=4, head_dim=32, mask_depth=1, mask_expansion=2),
    "large": MelBandRoformerConfig(),
}

Song = Annotated[Audio, Field("the song, mono or stereo", example=demo_song)]
Weights = Annotated[
    str, Field("separation weights: embedded (small), a local file such as MelBandRoformer.ckpt, or hub:<repo>/<file>")
]
MelodyWeights = Annotated[str, Field("transcription weights: embedded, or a local file made by the job train")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Separated(TypedDict):
    vocals: Annotated[Audio, Field("the singing voice")]
    instrumental: Annotated[Audio, Field("the mixture minus the voice, sample by sample")]
    melody: Annotated[Score, Field("the notes of the lead voice")]
    report: Annotated[Figure, Field("spectrograms, share of the voice, notes, loudness")]


class Transcribed(TypedDict):
    melody: Annotated[Score, Field("the notes of the lead voice")]
    notes: Annotated[Table, Field("onset and offset in seconds, MIDI pitch, confidence")]
    report: Annotated[Figure, Field("probabilities and decoded notes")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("averaged weights with their configuration")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


def separate(
    song: Song,
    *,
    weights: Weights = "embedded",
    config: Annotated[Path | None, Field("YAML or JSON that came with the weights; else their shapes tell")] = None,
    melody_weights: MelodyWeights = "embedded",
    chunk: Annotated[float, Field("length of the pieces the song is taken apart in", unit="s", ge=0.5)] = 8.0,
    overlap: Annotated[
        float, Field("overlap of neighbouring pieces; 0.5 takes twice the time of 0", unit="fraction", ge=0, lt=1)
    ] = 0.25,
    compat: Annotated[Literal["none", "msst"], Field("msst: pieces exactly as Music-Source-Separation-Training")] = (
        "none"
    ),
    precision: Annotated[Literal["float32", "bfloat16"], Field("bfloat16 is faster on recent processors")] = "float32",
    device: Device = "auto",
) -> Separated:
    """Take a song apart into vocals and instrumental, and write down the vocal melody.

    The embedded weights are small and were trained on rendered songs; for real recordings give a released checkpoint
    (see its licence on the method's page). The level of the song does not matter. Vocals and instrumental add up to
    the song, at the sample rate of the model.
    """
    separator = ChunkedSeparator(
        load_separator(weights, config),
        chunk_seconds=chunk,
        overlap=overlap,
        compat=None if compat == "none" else "msst",
        dtype=torch.bfloat16 if precision == "bfloat16" else None,
        device=device,
    )
    rate = separator.model.config.sample_rate
    stems = separator.separate(song.samples, song.rate)
    if not {"vocals", "instrumental"} <= set(stems):
        raise InputError("these weights do not separate vocals", ", ".join(stems), "Give those of a vocal model.")
    vocals, instrumental = Audio(stems["vocals"], rate), Audio(stems["instrumental"], rate)
    mixture = Audio(vocals.samples + instrumental.samples, rate)
    notes = VocalMelodyTranscriber.from_pretrained(melody_weights, device=device).predict(mixture.samples, rate)
    say(f"Found {len(notes)} notes of the lead voice.")
    return {
        "vocals": vocals,
        "instrumental": instrumental,
        "melody": notes.to_score(),
        "report": report.separation(mixture, vocals, instrumental, notes),
    }


def transcribe(
    song: Song,
    *,
    weights: MelodyWeights = "embedded",
    change: Annotated[float, Field("cost of a new pitch; more gives fewer notes", ge=0)] = 4.0,
    silence: Annotated[float, Field("cost of falling silent; more carries notes over breaths", ge=0)] = 1.0,
    repeat: Annotated[float, Field("onset probability that strikes the same pitch anew", gt=0, le=1)] = 0.5,
    device: Device = "auto",
) -> Transcribed:
    """Write down the notes that the lead voice of a song sings.

    Works on the full mixture. Notes never overlap; their onsets lie between frames of 20 ms. The embedded weights are
    small: pitches are mostly right, but a note that repeats the pitch before it is sometimes taken for one with it.
    """
    decoding = Decoding(change=change, silence=silence, repeat=repeat)
    transcriber = VocalMelodyTranscriber.from_pretrained(weights, decoding=decoding, device=device)
    probabilities = transcriber.probabilities(song.samples, song.rate)
    notes = decoding(*probabilities)
    if not len(notes):
        mend = "Give a song in which somebody sings, or lower `change`."
        raise InputError("no notes were found", f"{song.seconds:.1f} s without a melody", mend)
    return {
        "melody": notes.to_score(),
        "notes": notes.to_table(),
        "report": report.transcription(song, notes, probabilities),
    }


def train(
    folder: Annotated[Path, Field("songs with stems: <song>/vocals + instrumental or mixture, or MUSDB's layouts")],
    *,
    goal: Annotated[Literal["separation", "transcription"], Field("transcription needs a notes.json per song")] = (
        "separation"
    ),
    start: Annotated[str, Field("weights to begin with: none, embedded, a local file, or hub:<repo>/<file>")] = "none",
    size: Annotated[Literal["small", "medium", "large"], Field("network, where nothing is continued")] = "small",
    steps: Annotated[int, Field("optimizer steps of the whole run", ge=1)] = 2000,
    batch: Annotated[int, Field("examples a step", ge=1)] = 4,
    seconds: Annotated[float, Field("length of an example", unit="s", gt=0.2)] = 2.0,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 2e-3,
    loss: Annotated[Literal["full", "fast"], Field("five spectrogram resolutions, or two coarse ones")] = "full",
    held_out: Annotated[int, Field("songs to measure on: a folder named test, or the last ones", ge=0)] = 8,
    evaluate_every: Annotated[int, Field("steps between two measurements", ge=1)] = 100,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")] = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Train a separator, or a melody transcriber from a separator, on a folder of songs.

    Voices are mixed with the backings of other songs, at random gain, balance and speed. With `keep`, a run that was
    stopped or killed continues where it was and ends with the same weights.
    """
    plan = Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=min(100, 1 + steps // 10),
        ema_decay=0.995,
        evaluate_every=evaluate_every,
        checkpoint_every=evaluate_every,
        seed=seed,
    )
    network = _network(goal, start, size, seed)
    shape = network.config if isinstance(network, MelBandRoformer) else network.config.backbone
    songs, tests = _songs(folder, shape, held_out)
    common: dict[str, Any] = {"seconds": seconds, "batch": batch, "held_out": tests, "device": device}
    common["folder"] = Path(keep).expanduser() if keep else None
    trained: Trained[Any]
    if isinstance(network, MelBandRoformer):
        distance = SeparationLoss() if loss == "full" else FAST_LOSS
        trained = train_separator(network, songs, plan, loss=distance, **common)
    else:
        trained = train_transcriber(network, songs, plan, **common)
    return {"weights": _checkpoint(trained, goal, plan, len(songs)), "report": report.run(trained.history)}


def load_separator(weights: str, config: Path | None = None) -> MelBandRoformer:
    """A separator from the embedded weights, a local file or the hub.

    Raises:
        WeightsError: weights that cannot be found, read, or loaded strictly.
    """
    path = locate(weights, embedded=SEPARATION, released=Card.load(HERE / "card.toml").weights)
    return load_checkpoint(path, config)


def _network(goal: str, start: str, size: str, seed: int) -> MelBandRoformer | MelodyNetwork:
    """The network to train: fresh, or from weights that may be a separator's or a melody network's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if goal == "separation":
            return MelBandRoformer(SIZES[size]) if start == "none" else load_separator(start)
        if start == "none":
            return MelodyNetwork.continuing(MelBandRoformer(SIZES[size]))
        path = SEPARATION if start == "embedded" else locate(start)
        if "onset.weight" in read_state_dict(path):
            return MelodyNetwork.load(path)
        return MelodyNetwork.continuing(load_checkpoint(path))


def _songs(folder: Path, shape: MelBandRoformerConfig, held_out: int) -> tuple[list[Stems], list[Stems]]:
    """Songs to learn from and songs to measure on."""
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        songs = read_stems(folder / "train", shape.sample_rate, shape.channels)
        return songs, read_stems(folder / "test", shape.sample_rate, shape.channels, limit=held_out) if held_out else []
    songs = read_stems(folder, shape.sample_rate, shape.channels)
    if len(songs) <= held_out:
        raise InputError("too few songs to hold any out", f"{len(songs)} songs", "Lower held_out or add songs.")
    return songs[: len(songs) - held_out], songs[len(songs) - held_out :]


def _checkpoint(trained: Trained[Any], goal: str, plan: Plan, songs: int) -> Checkpoint:
    """The averaged weights, matrices in half precision, with their configuration and how they came about."""
    state = {key: value.detach().cpu() for key, value in trained.model.state_dict().items()}
    tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    scores = trained.history[-1] if trained.history else {}
    made = {"goal": goal, "songs": songs, "plan": dataclasses.asdict(plan), "scores": scores}
    config = dataclasses.asdict(trained.model.config)
    return Checkpoint(tensors, {"config": json.dumps(config), "made": json.dumps(made)})


JOBS = (separate, transcribe, train)
