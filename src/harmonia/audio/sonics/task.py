"""Jobs of SONICS: judge a song, train, calibrate and evaluate a detector, make songs again, time the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars

from harmonia.audio.sonics import report
from harmonia.audio.sonics.attribution import integrated_gradients
from harmonia.audio.sonics.collection import held_out as part
from harmonia.audio.sonics.collection import is_collection, read_collection, real_songs, targets
from harmonia.audio.sonics.detector import SMALL, SyntheticSongDetector
from harmonia.audio.sonics.efficiency import NAMES, measure
from harmonia.audio.sonics.evaluation import scores
from harmonia.audio.sonics.front_end import RATE
from harmonia.audio.sonics.network import SpecTTTraConfig
from harmonia.audio.sonics.resynthesis import resynthesise as make_again
from harmonia.audio.sonics.verdict import Verdict
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data import demo_song
from harmonia.media import Audio, Figure, Table
from harmonia.parts.sound_stream import SoundSource

SPLICE_S = (7.0, 14.0)
"""Where the embedded example was made again."""


def spliced_song() -> SoundSource:
    """The embedded song, from 7 to 14 s made again by a small neural codec: what the detector should point at."""
    song = demo_song().mono().resampled(RATE)
    first, last = (round(edge * RATE) for edge in SPLICE_S)
    samples = song.samples.copy()
    samples[:, first:last] = make_again(song, "codec-64").samples[:, first:last]
    say(f"The embedded song is rendered; {SPLICE_S[0]:g} to {SPLICE_S[1]:g} s of it were made again by a neural codec.")
    return SoundSource(Audio(samples, RATE))


MOST_WINDOWS = 200
"""Windows of a long song, as long as they overlap by half."""

Song = Annotated[SoundSource, Field("the song; any length, rate and number of channels", example=spliced_song)]
Weights = Annotated[
    str,
    Field(
        "embedded (small, knows re-synthesised renderings only), a file or folder of released weights, or "
        "hub:awsaf49/sonics-spectttra-alpha-120s"
    ),
]
Folder = Annotated[Path, Field("labelled songs: real/ and fake/, a CSV with path and target, or the SONICS data set")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Detected(TypedDict):
    verdict: Annotated[Verdict, Field("probability of the song and of every window, with what it rests on")]
    windows: Annotated[Table, Field("start and end in seconds, probability")]
    report: Annotated[Figure, Field("the song, the score along it, the evidence in its most suspicious window")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("the detector with its configuration and calibration")]
    scores: Annotated[Table, Field("what it achieves on held-out songs")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


class Evaluated(TypedDict):
    scores: Annotated[Table, Field("F1, sensitivity, specificity, AUC, equal error rate; by partition where known")]
    songs: Annotated[Table, Field("every song with its label and probability")]
    report: Annotated[Figure, Field("scores of both kinds, calibration")]


class Calibrated(TypedDict):
    weights: Annotated[Checkpoint, Field("the same detector with another threshold and probabilities")]
    songs: Annotated[Table, Field("every song with its label and new probability")]


class MadeAgain(TypedDict):
    again: Annotated[Audio, Field("the song as the machine gives it back, mono at 16 kHz")]
    report: Annotated[Figure, Field("both spectrograms")]


class Timed(TypedDict):
    costs: Annotated[Table, Field("tokens, parameters, seconds and megabytes of each network and length")]
    report: Annotated[Figure, Field("time and memory over the length of a window")]


def detect(
    song: Song,
    *,
    weights: Weights = "embedded",
    hop: Annotated[
        float, Field("time between windows; 0 for a tenth of one, more in long songs", unit="s", ge=0)
    ] = 0.0,
    compat: Annotated[Literal["none", "sonics"], Field("sonics: one window, placed as in the official evaluation")] = (
        "none"
    ),
    precision: Annotated[Literal["float32", "bfloat16"], Field("bfloat16 is faster on recent processors")] = "float32",
    device: Device = "auto",
) -> Detected:
    """Estimate whether a song was made by a machine, and show where it sounds so.

    The embedded weights are small and tell rendered songs from the same songs after a codec or vocoder of ours; they
    know neither Suno nor Udio, nor real recordings. For those give released weights. A score is no proof.
    """
    detector = SyntheticSongDetector.from_pretrained(weights, compat=compat, dtype=precision, device=device)
    window = detector.model_.config.seconds
    detector.hop = hop or min(window / 2, max(window / 10, song.seconds / MOST_WINDOWS))
    verdict = detector.explain(song)
    evidence, start = None, 0.0
    if verdict.synthetic is not None:
        start = float(verdict.starts[np.nanargmax(verdict.logits)])
        spectrogram = detector.spectrogram(song, start)
        model = detector.model_.cpu().float()
        evidence = integrated_gradients(model, spectrogram).numpy()
    windows = polars.DataFrame(
        {
            "start_s": verdict.starts.round(3),
            "end_s": (verdict.starts + verdict.window).round(3),
            "probability": verdict.probabilities.round(6),
        }
    )
    say(verdict.sentence)
    picture = report.detection(song, verdict, evidence, start)
    return {"verdict": verdict, "windows": Table(windows.fill_nan(None)), "report": picture}


def train(
    folder: Folder,
    *,
    size: Annotated[Literal["small", "alpha", "beta", "gamma"], Field("small, or the shape of a released model")] = (
        "small"
    ),
    seconds: Annotated[Literal[5, 120], Field("length of a window; small knows 5 s only", unit="s")] = 5,
    steps: Annotated[int, Field("optimizer steps of the whole run", ge=1)] = 900,
    batch: Annotated[int, Field("windows a step", ge=2)] = 32,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 1e-3,
    test_share: Annotated[float, Field("share of the groups kept for the scores", gt=0, lt=1)] = 0.2,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Train a detector on labelled songs of your own.

    Songs that belong together (of an artist, or made from one another) stay on one side of the test; a fifth of the
    others calibrates the probabilities.
    """
    if size == "small" and seconds != 5:
        raise InputError("the small network listens to 5 s", f"{seconds} s", "Give size=alpha, beta or gamma.")
    songs, tests = part(read_collection(folder), test_share, seed)
    detector = SyntheticSongDetector(
        SMALL if size == "small" else SpecTTTraConfig.released(size, seconds),
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        device=device,
        random_state=seed,
    )
    groups = [song.group for song in songs]
    keeping = Path(keep).expanduser() if keep else None
    detector.fit([song.path for song in songs], targets(songs), groups, folder=keeping)
    detector.trained_on_ = f"{len(songs)} songs in {folder.name}, {int(targets(songs).sum())} of them synthetic"
    probabilities = detector.predict_proba([song.path for song in tests])[:, 1]
    return {
        "weights": detector.checkpoint(),
        "scores": scores(tests, probabilities),
        "report": report.run(detector.history_),
    }


def evaluate(folder: Folder, *, weights: Weights = "embedded", device: Device = "auto") -> Evaluated:
    """Measure a detector on labelled songs, by generator, kind of fake, singer and length where these are known."""
    songs = read_collection(folder)
    tests = [song for song in songs if song.split == "test"] or songs
    detector = SyntheticSongDetector.from_pretrained(weights, device=device)
    probabilities = detector.predict_proba([song.path for song in tests])[:, 1]
    threshold = float(detector.calibration_.probability(np.array(detector.calibration_.threshold)))
    heard = np.isfinite(probabilities)
    return {
        "scores": scores(tests, probabilities, threshold),
        "songs": _listed([song.path for song in tests], targets(tests), probabilities),
        "report": report.evaluation(targets(tests)[heard], probabilities[heard]),
    }


def calibrate(
    folder: Annotated[Path, Field("real songs of your own, or labelled songs as for train")],
    *,
    weights: Weights = "embedded",
    false_alarms: Annotated[float, Field("share of real songs that may be flagged", gt=0, lt=1)] = 0.05,
    device: Device = "auto",
) -> Calibrated:
    """Set the threshold by real songs of your own, or the probabilities by labelled ones.

    With real songs alone the threshold lets at most the given share of songs like them pass; with both kinds Platt's
    scaling makes the scores probabilities. Use songs that the weights were not trained on.
    """
    detector = SyntheticSongDetector.from_pretrained(weights, device=device)
    songs = read_collection(folder) if is_collection(folder) else real_songs(folder)
    paths, labels = [song.path for song in songs], targets(songs)
    detector.calibrate(paths, labels if labels.any() else None, false_alarms=false_alarms)
    say(f"Calibrated: {detector.calibration_.note}.")
    probabilities = detector.predict_proba(paths)[:, 1]
    return {"weights": detector.checkpoint(), "songs": _listed(paths, labels, probabilities)}


def resynthesise(
    song: Song,
    *,
    kind: Annotated[
        Literal["codec-64", "codec-60", "codec-80", "griffin-lim", "world", "mp3", "vorbis"],
        Field("small neural codecs, vocoders, or lossy compression"),
    ] = "codec-64",
    seed: Annotated[int, Field("random seed")] = 0,
) -> MadeAgain:
    """Pass a song through a codec or vocoder: negatives for a detector of your own."""
    before = song.audio().mono().resampled(RATE)
    again = make_again(before, kind, seed=seed)
    return {"again": again, "report": report.made_again(before, again, kind)}


def efficiency(
    *,
    longest: Annotated[float, Field("longest window", unit="s", ge=5)] = 120.0,
    repeats: Annotated[int, Field("timed passes, of which the fastest counts", ge=1)] = 3,
) -> Timed:
    """Measure what SpecTTTra, a ViT and ConvNeXt cost here, from 5 s on, and from where on fewer tokens pay."""
    windows = [window for window in (5.0, 10.0, 30.0, 60.0, 120.0) if window <= longest]
    costs = measure(NAMES, windows, repeats)
    rows = [
        (cost.name, cost.window, cost.tokens, cost.parameters, round(cost.seconds, 5), round(cost.memory / 1e6, 2))
        for cost in costs
    ]
    names = ["network", "window_s", "tokens", "parameters", "seconds", "kept_mb"]
    return {"costs": Table(polars.DataFrame(rows, schema=names, orient="row")), "report": report.efficiency(costs)}


def _listed(paths: list[Path], labels: np.ndarray, probabilities: np.ndarray) -> Table:
    frame = polars.DataFrame(
        {"song": [str(path) for path in paths], "target": labels, "probability": probabilities.round(6)}
    )
    return Table(frame.fill_nan(None))


JOBS = (detect, train, evaluate, calibrate, resynthesise, efficiency)
