"""Jobs of S4D: hear words in raw sound, train on sequences of your own, predict, forecast, follow a stream."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray
from sklearn.metrics import confusion_matrix, r2_score
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint, locate, read_metadata
from harmonia.data.spoken import demo_digits
from harmonia.data.traces import synthetic_trace
from harmonia.media import Audio, Figure, Series, Table
from harmonia.parts.forecasting import baselines, evaluate
from harmonia.sequences.s4d import figures
from harmonia.sequences.s4d.estimator import S4DClassifier, S4DRegressor
from harmonia.sequences.s4d.examples import Examples, table_rows
from harmonia.sequences.s4d.forecaster import S4DForecaster, usual_lookback
from harmonia.sequences.s4d.raw_samples import raw_clips

EMBEDDED = Path(__file__).parent / "weights" / "digits.safetensors"
HELD_OUT = 0.25
LEARNT = 8
"""Fewest windows that a forecaster learns from, and fewest rows of one that is chosen here."""


Weights = Annotated[str, Field("embedded (spoken digits), or a file made by the job train")]
Init = Annotated[
    Literal["lin", "inv", "legs", "quad", "inv2", "rand", "real"], Field("where the eigenvalues start; see the page")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]
Seed = Annotated[int, Field("random seed")]


class Heard(TypedDict):
    words: Annotated[Table, Field("start and end in seconds, class, probability")]
    report: Annotated[Figure, Field("the sound, and how sure the model was after every sample")]


class Learnt(TypedDict):
    model: Annotated[Checkpoint, Field("the trained model")]
    score: Annotated[float, Field("held-out accuracy, or R^2 for numbers")]
    report: Annotated[Figure, Field("loss over the run, and held-out mistakes")]


class Predicted(TypedDict):
    predictions: Annotated[Table, Field("one row a sequence: class and probabilities, or numbers")]


class Forecasted(TypedDict):
    forecast: Annotated[Table, Field("5%, 50% and 95% of every variable at each coming time")]
    scores: Annotated[Table, Field("scores on the held-out end, beside simple rules")]
    model: Annotated[Checkpoint, Field("the trained forecaster")]
    report: Annotated[Figure, Field("the past, what comes next, and the scores")]


class Kernels(TypedDict):
    eigenvalues: Annotated[Table, Field("memory and frequency of every mode of every head")]
    report: Annotated[Figure, Field("kernels, eigenvalues and step responses of every layer")]


class Followed(TypedDict):
    words: Annotated[Table, Field("start and end in seconds, class, probability")]


def listen(
    sound: Annotated[Audio, Field("speech, or whatever the model was trained on", example=demo_digits)],
    *,
    weights: Weights = "embedded",
    rate: Annotated[
        int, Field("sampling rate to listen at; 0: that of training. Another rate needs no training", unit="Hz", ge=0)
    ] = 0,
) -> Heard:
    """Hear classes in raw samples: second by second, or whatever the length of the clips was in training.

    The embedded model knows the ten English digits as formant voices speak them. At a lower `rate` the sound is
    resampled and one number of the model is changed: the step of its state space models.
    """
    model, clock, seconds = _sound_model(weights)
    rate = rate or clock
    heard = sound.mono().resampled(rate)
    model.set_sampling_rate(clock / rate)
    samples = heard.samples[0].astype(np.float64)
    pieces = list(_windows(len(samples), round(seconds * rate)))
    running = np.concatenate([_running(model, samples[start:end]) for start, end in pieces])
    words = [(start / rate, end / rate, *_surest(model, running[end - 1])) for start, end in pieces]
    say(f"Heard: {' '.join(word for _, _, word, _ in words[:20])}.")
    return {
        "words": _word_table(words),
        "report": figures.listening(heard.cut(0, pieces[-1][1] / rate), running, list(map(str, model.classes_)), words),
    }


def train(
    examples: Annotated[Path, Field("<class>/*.wav, a .ts file, or a table with one sequence a row")],
    *,
    target: Annotated[str, Field("column of the labels of a table; the last unless given")] = "",
    rate: Annotated[int, Field("sampling rate that sounds are brought to; 0 keeps theirs", unit="Hz", ge=0)] = 0,
    width: Annotated[int, Field("heads of the network", ge=2, le=1024)] = 32,
    layers: Annotated[int, Field("layers of the network", ge=1, le=32)] = 3,
    state: Annotated[int, Field("state size of a head; even", ge=2, le=1024)] = 32,
    init: Init = "lin",
    bidirectional: Annotated[
        bool, Field("look ahead too: better for whole recordings, impossible for streams")
    ] = False,
    epochs: Annotated[int, Field("passes over the examples", ge=1)] = 20,
    batch: Annotated[int, Field("examples a step", ge=1)] = 16,
    learning_rate: Annotated[float, Field("peak; A, B and dt learn at most at 0.001", gt=0)] = 0.01,
    dropout: Annotated[float, Field("probability", ge=0, lt=1)] = 0.1,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Seed = 0,
) -> Learnt:
    """Train a classifier, or a regressor where labels are numbers, on sequences of your own.

    A quarter of the examples is held out to measure on. Models of sound keep half of the band silent (bandlimit 0.5),
    so that they may later listen at half the rate.
    """
    data = Examples.read(examples, target, rate)
    known = [i for i, label in enumerate(data.labels) if label is not None]
    values, labels = [data.values[i] for i in known], np.array([data.labels[i] for i in known])
    if len(values) < 8:
        raise InputError("there are too few examples", f"{len(values)} with a label", "Give eight or more.")
    learn, test = _split(labels, data.is_class, seed)
    options: dict[str, Any] = {
        "d_model": width,
        "n_layers": layers,
        "d_state": state,
        "init": init,
        "bidirectional": bidirectional,
        "bandlimit": 0.5 if data.rate else None,
        "epochs": epochs,
        "batch_size": batch,
        "learning_rate": learning_rate,
        "dropout": dropout,
        "checkpoints": keep or None,
        "device": device,
        "random_state": seed,
    }
    model: S4DClassifier | S4DRegressor = S4DClassifier(**options) if data.is_class else S4DRegressor(**options)
    model.fit([values[i] for i in learn], labels[learn])
    found = model.predict([values[i] for i in test])
    model.description_ = {
        "rate": data.rate, "seconds": data.seconds, "examples": len(learn), "columns": data.columns,
        "target": data.target,
    }  # fmt: skip
    if isinstance(model, S4DClassifier):
        score = float((found == labels[test]).mean())
        confusion = confusion_matrix(labels[test], found, labels=model.classes_).astype(np.float64)
        names = [str(name) for name in model.classes_]
        say(f"{score:.1%} of {len(test)} held-out sequences are right.")
    else:
        score, confusion, names = float(r2_score(labels[test], found)), None, []
        say(f"R^2 of {len(test)} held-out sequences: {score:.3f}.")
    report = figures.training(model.history_, confusion, names)
    return {"model": model.checkpoint(), "score": score, "report": report}


def predict(
    examples: Annotated[Path, Field("as for the job train; labels are not needed in a table")],
    model: Annotated[Path, Field("a file made by the job train")],
    *,
    target: Annotated[str, Field("column of a table to leave out; that of the labels in training unless given")] = "",
) -> Predicted:
    """Predict the class, or the number, of every sequence in a file or folder."""
    fitted = _load(model)
    about = fitted.description_
    rate = int(about.get("rate", 0))
    if examples.is_dir() or examples.suffix.lower() == ".ts":
        values = Examples.read(examples, rate=rate).values
    else:
        table = Table.read(examples)
        learnt = about.get("target", "")
        values = table_rows(table, target or (learnt if learnt in table.names else ""), about.get("columns", ()))
    columns: dict[str, Any] = {"sequence": np.arange(1, len(values) + 1)}
    if isinstance(fitted, S4DClassifier):
        probabilities = fitted.predict_proba(values)
        columns["class"] = fitted.classes_[probabilities.argmax(1)]
        columns |= {f"P({name})": probabilities[:, i] for i, name in enumerate(fitted.classes_)}
    else:
        columns["value"] = fitted.predict(values)
    return {"predictions": Table(polars.DataFrame(columns))}


def forecast(
    series: Annotated[Series, Field("one row a time, one column a variable", example=synthetic_trace)],
    *,
    horizon: Annotated[int, Field("steps to predict", ge=1)] = 24,
    season: Annotated[int, Field("steps of a season, for the simple rules and the score", ge=1)] = 144,
    lookback: Annotated[
        int, Field("steps the model sees; 0: eight horizons, at least 64, fewer where the series is short", ge=0)
    ] = 0,
    width: Annotated[int, Field("heads of the network", ge=2, le=1024)] = 32,
    init: Init = "lin",
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 300,
    device: Device = "auto",
    seed: Seed = 0,
) -> Forecasted:
    """Forecast a series, and say how much better that was than simple rules on its last fifth."""
    ahead = series.ahead(horizon)
    cut = min(round(0.8 * len(series)), len(series) - horizon)
    lookback = _room(cut, horizon, lookback)
    season = max(1, min(season, cut // 4, cut - horizon - 3))
    past = Series(series.values[:cut], series.names, series.times[:cut])
    network: dict[str, Any] = {"d_model": width, "init": init, "steps": steps, "device": device, "random_state": seed}
    judged = S4DForecaster(horizon, lookback, **network)
    rules = {name: each.fit([past]) for name, each in baselines(season, horizon, classical=False).items()}
    found = evaluate(
        {"S4D": judged.fit([past]), **rules}, past, series, season=season, stride=max(1, (len(series) - cut) // 40)
    )
    say(f"CRPS on the held-out end: S4D {found['S4D'].crps:.3g}, best rule {min(found[n].crps for n in rules):.3g}.")
    final = S4DForecaster(horizon, lookback, **network).fit([series])
    coming = final.forecast(series.values[None, -final.lookback :])
    levels = (0.05, 0.5, 0.95)
    quantiles = coming.quantile(np.array(levels))[:, 0]
    columns = {"time": ahead} | {
        f"{name} {level:.0%}": quantiles[q, :, i]
        for i, name in enumerate(series.names)
        for q, level in enumerate(levels)
    }
    scores = {"forecaster": list(found)} | {
        name: [getattr(each, name) for each in found.values()] for name in ("crps", "mase", "coverage", "width")
    }
    return {
        "forecast": Table(polars.DataFrame(columns)),
        "scores": Table(polars.DataFrame(scores).fill_nan(None)),
        "model": final.checkpoint(),
        "report": figures.forecasts(series, quantiles, ahead, {name: each.crps for name, each in found.items()}),
    }


def stream(
    source: Annotated[str, Field("- for standard input, or a file: raw 16-bit samples, one channel, little-endian")],
    *,
    weights: Weights = "embedded",
    rate: Annotated[int, Field("sampling rate of the samples; 0: that of training", unit="Hz", ge=0)] = 0,
) -> Followed:
    """Follow raw sound as it comes, in constant memory, and say what was heard after every clip.

    For instance: ``ffmpeg -i talk.mp3 -f s16le -ac 1 -ar 2000 - | harmonia run s4d stream -``
    """
    model, clock, seconds = _sound_model(weights)
    rate = rate or clock
    model.set_sampling_rate(clock / rate)
    follower, size, words = model.stream(), round(seconds * rate), []
    for number, samples in enumerate(raw_clips(source, size)):
        follower.reset()
        word, sure = _surest(model, follower.push(samples)[-1])
        words.append((number * seconds, number * seconds + len(samples) / rate, word, sure))
        say(f"{words[-1][0]:8.2f} s  {word}  ({sure:.0%})")
    if not words:
        raise InputError("the stream was empty", source, f"Send raw 16-bit samples at {rate} Hz.")
    return {"words": _word_table(words)}


def kernels(*, weights: Weights = "embedded") -> Kernels:
    """Show what every layer of a model remembers: kernels, eigenvalues, answers to a step."""
    model = _load(locate(weights, embedded=EMBEDDED))
    rate = int(model.description_.get("rate", 0))
    rows: list[dict[str, float]] = []
    for number, layer in enumerate(model.model_.layers, 1):
        kernel: Any = layer.kernel
        poles = (kernel.step_size() * kernel.pole()).detach().numpy()
        rows += [
            {
                "layer": number,
                "head": head + 1,
                "mode": mode + 1,
                f"memory ({'s' if rate else 'samples'})": float(-1 / pole.real / (rate or 1)),
                f"frequency ({'Hz' if rate else 'cycles a sample'})": float(abs(pole.imag) / (2 * np.pi) * (rate or 1)),
            }
            for head, heads in enumerate(poles)
            for mode, pole in enumerate(heads)
        ]
    return {"eigenvalues": Table(polars.DataFrame(rows)), "report": figures.model_kernels(model.model_, float(rate))}


def _room(cut: int, horizon: int, lookback: int) -> int:
    """The window for a forecaster that learns from `cut` rows: `lookback`, or at 0 the usual one if it fits.

    Raises:
        InputError: rows that leave fewer than eight windows to learn from.
    """
    most = cut - horizon - LEARNT + 1
    if most < max(LEARNT, lookback):
        got = f"{max(0, cut)} rows to learn from, for the last fifth, or the horizon, is held out to judge by"
        shorter = f"a lookback of at most {most}, " if most >= LEARNT else ""
        raise InputError("the series is too short", got, f"Give {shorter}a shorter horizon, or a longer series.")
    usual = usual_lookback(horizon)
    if lookback or usual <= most:
        return lookback or usual
    fits = max(LEARNT, most // 4)
    say(f"The series is short: the model sees {fits} rows.")
    return fits


def _split(labels: ndarray, is_class: bool, seed: int) -> tuple[ndarray, ndarray]:
    """Which examples to learn from, and a quarter to judge by; where that is enough, with every class in it.

    Raises:
        InputError: a class with one example, which cannot be both learnt and judged.
    """
    rows, held_out = np.arange(len(labels)), math.ceil(HELD_OUT * len(labels))
    if not is_class:
        return tuple(train_test_split(rows, test_size=held_out, random_state=seed))
    names, counts = np.unique(labels, return_counts=True)
    single = names[counts == 1]
    if len(single):
        got = f"one of '{single[0]}', {len(single)} of {len(names)} classes with one in all"
        mend = "Leave such classes out, or name another column as the target."
        raise InputError("a class needs two examples, to learn from and to judge by", got, mend)
    return tuple(train_test_split(rows, test_size=max(held_out, len(names)), random_state=seed, stratify=labels))


def _load(path: Path) -> S4DClassifier | S4DRegressor:
    try:
        regressor = '"S4DRegressor"' in read_metadata(path).get("s4d", "")
    except Exception as error:
        raise WeightsError(f"{path.name} is no model", type(error).__name__, "Give a file of the job train.") from error
    return S4DRegressor.load(path) if regressor else S4DClassifier.load(path)


def _sound_model(weights: str) -> tuple[S4DClassifier, int, float]:
    """A classifier of sound, its sampling rate in hertz, and the length of its clips in seconds."""
    model = _load(locate(weights, embedded=EMBEDDED))
    rate, seconds = model.description_.get("rate", 0), model.description_.get("seconds", 0)
    if not isinstance(model, S4DClassifier) or not rate or not seconds:
        raise WeightsError("this is no model of sound", weights, "Train one on <class>/*.wav, or use the job predict.")
    return model, int(rate), float(seconds)


def _windows(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Clips one after another; what is left, if it is short, belongs to the last."""
    count = max(1, round(length / size))
    for i in range(count):
        yield i * size, min(length, (i + 1) * size) if i + 1 < count else length


def _running(model: S4DClassifier, samples: Float64[ndarray, " time"]) -> Float64[ndarray, "time classes"]:
    if model.model_.config.kernel.bidirectional:
        return np.repeat(model.predict_proba([samples]), len(samples), axis=0)
    return model.stream().push(samples)


def _surest(model: S4DClassifier, probabilities: Float64[ndarray, " classes"]) -> tuple[str, float]:
    best = int(probabilities.argmax())
    return str(model.classes_[best]), float(probabilities[best])


def _word_table(words: list[tuple[float, float, str, float]]) -> Table:
    names = ("start (s)", "end (s)", "class", "probability")
    return Table(polars.DataFrame({name: list(column) for name, column in zip(names, zip(*words))}))


JOBS = (listen, train, predict, forecast, stream, kernels)
