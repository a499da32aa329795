"""Jobs of Chimera: forecast tables of series, classify sequences, read electrocardiograms, watch for anomalies."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
from numpy import ndarray
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint, read_metadata
from harmonia.data.electrocardiograms import Statements, ptb_xl
from harmonia.data.traces import synthetic_trace
from harmonia.media import Figure, Series, Table
from harmonia.parts.forecasting import LinearWindow, usual_season
from harmonia.parts.ranking import auc
from harmonia.sequences.chimera import figures
from harmonia.sequences.chimera.classifier import ChimeraClassifier
from harmonia.sequences.chimera.comparison import compare
from harmonia.sequences.chimera.detection_scores import anomaly_scores
from harmonia.sequences.chimera.detector import ChimeraAnomalyDetector
from harmonia.sequences.chimera.examples import Examples, unlabelled
from harmonia.sequences.chimera.forecaster import ChimeraForecaster, whole_patches

HELD_OUT = 0.2
"""Share of a series, at its end, that forecasters are judged on."""

ORIGINS = 24
"""Moments of the held-out end that are forecast from."""

LEVELS = (0.05, 0.5, 0.95)
"""Quantiles of a forecast that tables and figures hold."""

Width = Annotated[int, Field("channels of the network", ge=2, le=512)]
State = Annotated[int, Field("size of each of the two states", ge=1, le=128)]
Layers = Annotated[int, Field("blocks of the network", ge=1, le=16)]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]
Seed = Annotated[int, Field("random seed")]


class Forecasted(TypedDict):
    forecast: Annotated[Table, Field("5%, 50% and 95% of every variable at each coming time")]
    scores: Annotated[Table, Field("errors on the held-out end, beside simple rules on the same split")]
    parts: Annotated[Table, Field("the forecast as a sum: linear part, trend heads, seasonal heads")]
    drivers: Annotated[Table, Field("how far each variable's forecast moves with each variable's past")]
    model: Annotated[Checkpoint, Field("the trained forecaster")]
    report: Annotated[Figure, Field("past and forecast, what the heads add, and the errors")]
    influence: Annotated[Figure, Field("whose past moves whose forecast")]


class Extended(TypedDict):
    forecast: Annotated[Table, Field("5%, 50% and 95% of every variable at each coming time")]


class Classified(TypedDict):
    predictions: Annotated[Table, Field("held-out sequences: class, probabilities, and the truth")]
    accuracy: Annotated[float, Field("share of the held-out sequences that are right")]
    model: Annotated[Checkpoint, Field("the trained classifier")]
    report: Annotated[Figure, Field("loss over the run, and held-out mistakes")]


class Predicted(TypedDict):
    predictions: Annotated[Table, Field("one row a sequence: class, and probabilities")]


class Diagnosed(TypedDict):
    predictions: Annotated[Table, Field("records of the test fold: every statement's probability, and the truth")]
    scores: Annotated[Table, Field("area under the ROC curve of every statement, in the validation and the test fold")]
    auroc: Annotated[float, Field("mean area under the ROC curve in the test fold")]
    model: Annotated[Checkpoint, Field("the trained classifier")]
    report: Annotated[Figure, Field("loss over the run, and the area under the ROC curve of every statement")]


class Detected(TypedDict):
    anomalies: Annotated[Table, Field("every moment: score, whether it is unusual, and the variable most to blame")]
    model: Annotated[Checkpoint, Field("the trained detector")]
    report: Annotated[Figure, Field("the series with its unusual moments, and the score over time")]


def forecast(
    series: Annotated[Series, Field("one row a time, one column a variable", example=synthetic_trace)],
    *,
    horizon: Annotated[int, Field("steps to predict", ge=1)] = 24,
    lookback: Annotated[
        int, Field("rows the model sees; 0: four horizons, a season and one horizon, or 48, the most", ge=0)
    ] = 0,
    season: Annotated[int, Field("steps of a season, for the simple rules; 0: by the calendar", ge=0)] = 0,
    mode: Annotated[Literal["direct", "closed_loop"], Field("all steps at once, or fed back one by one")] = "direct",
    order: Annotated[
        Literal["given", "correlation"], Field("how the recurrence runs over the variables, there and back")
    ] = "given",
    width: Width = 16,
    state: State = 8,
    layers: Layers = 2,
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 200,
    device: Device = "auto",
    seed: Seed = 0,
) -> Forecasted:
    """Forecast many series together, and say how that compares with simple rules on the last fifth.

    The forecaster is fitted twice: to the first four fifths, to be judged beside the rules on the rest, and to
    everything, for the forecast. Where a simple rule is better, the report and the table say so.
    """
    ahead = series.ahead(horizon)
    cut = len(series) - max(round(HELD_OUT * len(series)), horizon)
    season = season or usual_season(series)
    wanted = lookback or max(48, 4 * horizon, horizon + min(season, 10 * horizon))
    room = cut - horizon - 8
    if room < max(4, 2 * lookback):
        mend = "Give a longer series, or a shorter horizon."
        raise InputError(f"{len(series)} rows are too few to predict {horizon} steps and judge it", f"{cut} rows", mend)
    if wanted > room // 4 and not lookback:
        wanted = max(min(8, room // 2), room // 4)
        say(f"The series is short: the model sees about {wanted} rows.")
    # Rows that the user chose are kept, or refused where they are no whole number of patches.
    patch, wanted = (None, lookback) if lookback else whole_patches(wanted)
    past = Series(series.values[:cut], series.names, series.times[:cut])
    season = min(season, max(1, cut // 6))
    network: dict[str, Any] = {
        "mode": mode, "variable_order": order, "d_model": width, "d_state": state, "n_layers": layers,
        "steps": steps, "device": device, "random_state": seed, "patch": patch,
    }  # fmt: skip
    judged = ChimeraForecaster(horizon, wanted, **network).fit(past)
    classical = find_spec("statsmodels") is not None
    if not classical:
        say("ETS and Theta are left out: pip install 'harmonia[forecasting]'.")
    rivals = {figures.OURS: judged, "DLinear (closed form)": LinearWindow(horizon, judged.lookback).fit([past])}
    scores = compare(rivals, past, series, season, ORIGINS, classical=classical)
    errors = {str(row["forecaster"]): float(row["MSE"]) for row in scores.to_dicts()}
    ours, (name, best) = errors[figures.OURS], min(errors.items(), key=lambda item: item[1])
    if name == figures.OURS:
        rest = min(value for other, value in errors.items() if other != name)
        say(f"On the held-out end Chimera is best: mean squared error {ours:.3g}, the best simple rule {rest:.3g}.")
    else:
        say(f"On the held-out end {name} is better: mean squared error {best:.3g}, Chimera {ours:.3g}. Use the rule.")
    final = ChimeraForecaster(horizon, wanted, **network).fit(series)
    quantiles = _quantiles(final, series)
    parts = final.decompose(series) if mode == "direct" else None
    driven = final.variate_influence(series)
    names = [str(each) for each in series.names]
    return {
        "forecast": _forecast_table(ahead, names, quantiles),
        "scores": Table(scores),
        "parts": _table(ahead, names, {} if parts is None else parts._asdict()),
        "drivers": Table(polars.DataFrame({"predicted": names} | {n: driven[:, i] for i, n in enumerate(names)})),
        "model": final.checkpoint(),
        "report": figures.forecasts(series, quantiles, ahead, parts, errors),
        "influence": figures.influence(names, driven),
    }


def extend(
    series: Annotated[Series, Field("the past of the same variables; its last rows are looked at")],
    model: Annotated[Path, Field("a file made by the job forecast")],
) -> Extended:
    """Forecast what follows a series by a model that was trained before."""
    fitted = ChimeraForecaster.load(model)
    ahead = series.ahead(fitted.horizon)
    return {"forecast": _forecast_table(ahead, list(fitted.names_), _quantiles(fitted, series))}


def classify(
    examples: Annotated[Path, Field("a .ts file of the UCR and UEA archives, or a table with one sequence a row")],
    *,
    test: Annotated[str, Field("a second file to be judged on; otherwise a quarter is held out")] = "",
    target: Annotated[str, Field("column of the labels of a table; the last unless given")] = "",
    width: Width = 32,
    state: State = 8,
    layers: Layers = 2,
    epochs: Annotated[int, Field("passes over the examples", ge=1)] = 40,
    learning_rate: Annotated[float, Field("peak", gt=0)] = 0.004,
    device: Device = "auto",
    seed: Seed = 0,
) -> Classified:
    """Learn classes of sequences, of one channel or many, and judge them on held-out ones."""
    data = Examples.read(examples, target)
    values, labels = data.values, data.labels
    if len(values) < 8:
        raise InputError("there are too few examples", f"{len(values)} with a label", "Give eight or more.")
    if test:
        other = data.like(Path(test).expanduser())
        learn_values, learn_labels, test_values, test_labels = values, labels, other.values, other.labels
    else:
        counts = np.unique(labels, return_counts=True)[1]
        stratify = labels if counts.min() > 1 and len(counts) <= len(labels) // 4 else None
        learn, held = train_test_split(np.arange(len(values)), test_size=0.25, random_state=seed, stratify=stratify)
        learn_values, learn_labels = [values[i] for i in learn], labels[learn]
        test_values, test_labels = [values[i] for i in held], labels[held]
        if not np.isin(test_labels, learn_labels).any():
            mend = "Give more examples of each class, or name the column of the labels."
            raise InputError("no class can be both learnt and judged", f"{len(counts)} classes of {len(labels)}", mend)
    model = ChimeraClassifier(
        d_model=width, d_state=state, n_layers=layers, epochs=epochs, learning_rate=learning_rate,
        device=device, random_state=seed,
    ).fit(learn_values, learn_labels)  # fmt: skip
    chances = model.predict_proba(test_values)
    found = model.classes_[chances.argmax(1)]
    accuracy = float((found == test_labels).mean())
    say(f"{accuracy:.1%} of {len(test_labels)} held-out sequences are right.")
    names = [str(each) for each in model.classes_]
    columns = {"sequence": np.arange(1, len(found) + 1), "class": found.tolist(), "truth": test_labels.tolist()}
    columns |= {f"P({name})": chances[:, i] for i, name in enumerate(names)}
    confusion = confusion_matrix(test_labels, found, labels=model.classes_).astype(np.float64)
    fitted = model.checkpoint()
    return {
        "predictions": Table(polars.DataFrame(columns, strict=False)),
        "accuracy": accuracy,
        "model": Checkpoint(fitted.tensors, fitted.metadata | {"columns": json.dumps(data.columns)}),
        "report": figures.classes(model.history_, confusion, names),
    }


def predict(
    examples: Annotated[Path, Field("as for the job classify; labels are not needed in a table")],
    model: Annotated[Path, Field("a file made by the job classify or diagnose")],
    *,
    target: Annotated[str, Field("column of a table to leave out, such as its labels")] = "",
) -> Predicted:
    """Predict the class of every sequence in a file by a model that was trained before."""
    fitted = ChimeraClassifier.load(model)
    described = read_metadata(model)
    values = unlabelled(examples, json.loads(described.get("columns", "[]")), target)
    chances = fitted.predict_proba(values)
    columns: dict[str, Any] = {"sequence": np.arange(1, len(values) + 1)}
    if not fitted.several_:
        columns["class"] = fitted.classes_[chances.argmax(1)]
    names = json.loads(described.get("statements", "[]")) or fitted.classes_
    columns |= {f"P({name})": chances[:, i] for i, name in enumerate(names)}
    return {"predictions": Table(polars.DataFrame(columns))}


def diagnose(
    records: Annotated[Path, Field("folder of PTB-XL: records100, ptbxl_database.csv, scp_statements.csv")],
    *,
    statements: Annotated[Statements, Field("what to predict: the benchmark's six tasks")] = "super-diag",
    width: Width = 32,
    state: State = 8,
    layers: Layers = 2,
    epochs: Annotated[int, Field("passes over the records", ge=1)] = 10,
    learning_rate: Annotated[float, Field("peak", gt=0)] = 0.004,
    device: Device = "auto",
    seed: Seed = 0,
) -> Diagnosed:
    """Learn what cardiologists state on electrocardiograms from PTB-XL's folds 1 to 8, judged on 9 and 10.

    Any number of statements holds for a record. Those without a record of both kinds in a fold have no score there.
    """
    learn, validation, test = (ptb_xl(records, statements, split) for split in ("train", "validation", "test"))
    if len(learn.statements) < 2:
        raise InputError("there is one statement only", ", ".join(learn.statements), "Pass the whole of PTB-XL.")
    model = ChimeraClassifier(
        d_model=width, d_state=state, n_layers=layers, epochs=epochs, batch_size=64, learning_rate=learning_rate,
        device=device, random_state=seed,
    ).fit(learn.values, learn.labels.astype(np.int64))  # fmt: skip
    chances = model.predict_proba(test.values)
    names = list(test.statements)
    areas = np.array([_areas(validation.labels, model.predict_proba(validation.values)), _areas(test.labels, chances)])
    if np.isnan(areas[1]).all():
        raise InputError("the test fold cannot be scored", "no statement that some records have", "Pass all of PTB-XL.")
    auroc = float(np.nanmean(areas[1]))
    say(f"Mean area under the ROC curve of {len(names)} statements: {auroc:.3f} in the test fold.")
    scores = {"statement": names, "records to learn from": learn.labels.sum(0)}
    scores |= {f"AUROC ({part})": each for part, each in zip(("validation", "test"), areas)}
    columns = {"record": list(test.names)} | {f"P({name})": chances[:, i] for i, name in enumerate(names)}
    columns |= {f"{name} stated": test.labels[:, i] for i, name in enumerate(names)}
    fitted = model.checkpoint()
    return {
        "predictions": Table(polars.DataFrame(columns)),
        "scores": Table(polars.DataFrame(scores).fill_nan(None)),
        "auroc": auroc,
        "model": Checkpoint(fitted.tensors, fitted.metadata | {"statements": json.dumps(names)}),
        "report": figures.statements(model.history_, names, areas[1], learn.labels.mean(0)),
    }


def _areas(labels: ndarray, chances: ndarray) -> list[float]:
    """Area under the ROC curve of each column; NaN where all or no records have the label."""
    return [
        auc(truth.astype(np.float64), found) if 0 < truth.mean() < 1 else np.nan
        for truth, found in zip(labels.T, chances.T)
    ]


def detect(
    series: Annotated[Series, Field("one row a time, one column a variable", example=synthetic_trace)],
    *,
    learn: Annotated[float, Field("share, from the first row, that is normal and learnt from", gt=0, lt=1)] = 0.6,
    quantile: Annotated[float, Field("share of the learnt rows below the threshold", gt=0, lt=1)] = 0.995,
    lookback: Annotated[int, Field("rows of a window in training", ge=2)] = 48,
    labels: Annotated[str, Field("column of the series with 1 at known anomalies, 0 elsewhere, to judge by")] = "",
    width: Width = 16,
    state: State = 8,
    layers: Layers = 1,
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 200,
    device: Device = "auto",
    seed: Seed = 0,
) -> Detected:
    """Learn what is normal from the first part of a series, and find what is unusual in all of it."""
    count = round(learn * len(series))
    truth = None
    if labels:
        series, truth = _labelled(series, labels, count)
    if count <= lookback:
        mend = "Give a longer series, a larger share, or a shorter window."
        raise InputError(f"windows of {lookback} rows do not fit into what is learnt from", f"{count} rows", mend)
    model = ChimeraAnomalyDetector(
        lookback=lookback, quantile=quantile, d_model=width, d_state=state, n_layers=layers, steps=steps,
        device=device, random_state=seed,
    ).fit(Series(series.values[:count], series.names, series.times[:count]))  # fmt: skip
    by_variable = model.variable_scores(series)
    scores = by_variable.mean(1)
    flags = scores > model.threshold_
    new = flags[count:]
    say(f"{int(new.sum())} of {len(new)} new moments are unusual; {flags[:count].mean():.2%} of those learnt from.")
    names = np.array([str(each) for each in series.names])
    columns = {
        "time": series.times,
        "score": scores,
        "unusual": flags,
        "variable": names[by_variable.argmax(1)],
        "learnt from": np.arange(len(scores)) < count,
    }
    if truth is not None:
        columns["labelled"] = truth
        judged = anomaly_scores(truth[count:], scores[count:], model.threshold_)
        measures = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in judged._asdict().items())
        say(f"By the labels, of the new moments: {measures}.")
    return {
        "anomalies": Table(polars.DataFrame(columns)),
        "model": model.checkpoint(),
        "report": figures.anomalies(series, scores, model.threshold_, by_variable, flags, count),
    }


def _table(times: ndarray, names: list[str], values: dict[str, ndarray]) -> Table:
    """Times, and for every variable one column of each kind of value."""
    columns = {f"{name} {kind}": each[:, i] for i, name in enumerate(names) for kind, each in values.items()}
    return Table(polars.DataFrame({"time": times} | columns))


def _quantiles(fitted: ChimeraForecaster, series: Series) -> ndarray:
    """What follows a series: levels, steps, variables."""
    return fitted.forecast(fitted.window(series)[None]).quantile(np.array(LEVELS))[:, 0]


def _forecast_table(ahead: ndarray, names: list[str], quantiles: ndarray) -> Table:
    return _table(ahead, names, {f"{level:.0%}": each for level, each in zip(LEVELS, quantiles)})


def _labelled(series: Series, name: str, count: int) -> tuple[Series, ndarray]:
    """The series without its column of labels, and the labels, of which rows after the first `count` have both."""
    names = list(series.names)
    if name not in names or len(names) < 2:
        raise InputError(f"the series has no column '{name}' beside others", ", ".join(names), "Choose one of these.")
    column = names.index(name)
    truth = series.values[:, column]
    if not np.isin(truth, (0, 1)).all() or len(np.unique(truth[count:])) < 2:
        got = f"{', '.join(f'{each:g}' for each in np.unique(truth[count:])[:5])} in the rows that are judged"
        raise InputError("labels are 0 and 1, and both occur after the rows learnt from", got, "Change `learn`.")
    rest = Series(np.delete(series.values, column, 1), tuple(np.delete(names, column).tolist()), series.times)
    return rest, truth > 0


JOBS = (forecast, extend, classify, predict, diagnose, detect)
