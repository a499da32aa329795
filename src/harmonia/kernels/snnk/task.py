"""Jobs: predict a table without backpropagation, see a function's features, make a trained network smaller."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
import torch
from numpy import ndarray
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import digits
from harmonia.kernels.snnk import figures
from harmonia.kernels.snnk.comparison import ONE, TWO, WIDTHS, HeldOut, Trial, trials
from harmonia.kernels.snnk.compression import compress as compressed
from harmonia.kernels.snnk.estimators import BundledSNNKClassifier, BundledSNNKRegressor
from harmonia.kernels.snnk.fourier_series import FUNCTIONS, FourierSeries
from harmonia.kernels.snnk.universal import UniversalRandomFeatures
from harmonia.media import Figure, Table
from harmonia.parts.features import Features, Target

Goal = Literal["auto", "regression", "classification"]
Name = Literal["gelu", "tanh", "sin", "cos", "exp", "sigmoid", "silu", "softplus", "relu"]

_MOST = 1 << 26
"""Numbers (rows times features) that a job keeps in memory."""


def digit_table() -> Table:
    """1,797 handwritten digits, 64 grey values each, and the ``digit`` as a word."""
    found = digits()
    pixels = {f"row{i}_column{j}": found.images[:, i, j] for i in range(8) for j in range(8)}
    return Table(polars.DataFrame(pixels | {"digit": [f"{label}" for label in found.labels]}))


class Fitted(TypedDict):
    predictions: Annotated[Table, Field("every row: target, left-out or new prediction, probabilities of classes")]
    score: Annotated[float, Field("accuracy, or R squared, of every row predicted by all others")]
    parameters: Annotated[float, Field("trainable numbers of the model that was taken")]
    models: Annotated[Table, Field("every model: parameters, score on rows left out, seconds")]
    params_vs_accuracy: Annotated[Figure, Field("the same as a picture")]
    widths: Annotated[Figure, Field("error of rows left out by width and depth")]
    quality: Annotated[Figure, Field("left-out predictions beside targets, or classes")]


def fit(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=digit_table)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Goal, Field("auto: words are classes")] = "auto",
    features: Annotated[int, Field("features of each layer; 0: chosen by leaving rows out", ge=0, le=8192)] = 0,
    depth: Annotated[int, Field("layers; 0: one or two, chosen by leaving rows out", ge=0, le=8)] = 0,
    compare: Annotated[bool, Field("fit networks by backpropagation and other models beside it")] = True,
    seed: Annotated[int, Field("random seed", ge=0, le=2**31 - 1)] = 0,
) -> Fitted:
    """Predict a table by a network without backpropagation, and see what narrower trained networks reach.

    Layers of random features are bundled into one linear model that is solved for. Every row that has a target is
    predicted by a model that did not see it (exactly, from one solve). Models are compared on 30% of the rows.
    """
    data = _Data.of(table, target, goal)
    say(f"{len(data.y)} rows to learn from, {data.x.shape[1]} inputs, {(~data.known).sum()} rows to predict.")
    largest = features or max(WIDTHS)
    if len(data.y) * largest > _MOST:
        mend = f"Give features={_MOST // len(data.y)} or fewer, or use partial_fit of the estimator in Python."
        raise InputError("rows times features are too many for this job", len(data.y) * largest, mend)
    rows = data.x[data.known]
    choices = {
        (name, width): data.model(width, layers, seed)
        for name, layers in ((ONE, 1), (TWO, 2))
        for width in ([features] if features else WIDTHS)
        if depth in (0, layers)
    } or {(f"bundled, {depth} layers", features or 512): data.model(features or 512, depth, seed)}
    errors: dict[str, dict[int, float]] = {}
    for (name, width), one in track(choices.items(), "Widths and depths"):
        errors.setdefault(name, {})[width] = one.fit(rows, data.y).solved_.relative_error
    chosen = min(choices, key=lambda key: errors[key[0]][key[1]])
    model = choices[chosen]
    score, left_out, columns = data.judged(model)
    say(f"Taken: {chosen[0]}, {chosen[1]} features each, {model.n_parameters_:,} trainable numbers; score {score:.3f}.")
    split = data.split(seed)
    found = trials(split, seed) if compare else []
    return {
        "predictions": Table(polars.DataFrame(columns)),
        "score": score,
        "parameters": float(model.n_parameters_),
        "models": _models(found) if found else _taken(chosen, model.n_parameters_, score),
        "params_vs_accuracy": figures.tradeoff_figure(found, data.score)
        if found
        else figures.widths_figure(errors, chosen),
        "widths": figures.widths_figure(errors, chosen),
        "quality": data.quality(left_out),
    }


def _models(found: list[Trial]) -> Table:
    names = ("model", "width", "parameters", "score", "seconds")
    return Table(polars.DataFrame({name: [getattr(one, name) for one in found] for name in names}))


def _taken(chosen: tuple[str, int], parameters: int, score: float) -> Table:
    row = {"model": chosen[0], "width": chosen[1], "parameters": parameters, "score, rows left out": score}
    return Table(polars.DataFrame([row]))


class _Data:
    """A table as inputs, standardised, and targets."""

    def __init__(self, x: ndarray, y: ndarray, known: ndarray, name: str) -> None:
        self.x, self.y, self.known, self.name = x, y, known, name

    @classmethod
    def of(cls, table: Table, target: str, goal: Goal) -> _Data:
        wanted = Target.of(table, target, goal)
        known = wanted.known
        if known.sum() < 10:
            raise InputError("there are too few rows to learn from", int(known.sum()), "Give ten with a target.")
        x = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name).inputs(table)
        values = [value for value in wanted.values if value is not None]
        y = np.array([str(value) for value in values]) if wanted.is_class else np.array(values, dtype=np.float64)
        if wanted.is_class:
            classes, counts = np.unique(y, return_counts=True)
            if counts.min() < 2:
                rare = classes[counts.argmin()]
                raise InputError("every class needs at least two rows", f"1 of '{rare}'", "Merge or drop it.")
        return cls(x, y, known, wanted.name)

    @property
    def is_class(self) -> bool:
        return self.y.dtype.kind == "U"

    @property
    def score(self) -> str:
        return "accuracy" if self.is_class else "R squared"

    def model(self, width: int, depth: int, seed: int) -> BundledSNNKClassifier | BundledSNNKRegressor:
        made = BundledSNNKClassifier if self.is_class else BundledSNNKRegressor
        return made(width, depth=depth, standardize=False, random_state=seed)

    def split(self, seed: int) -> HeldOut:
        """Rows with a target; of each class some to learn from, and its share to judge by.

        Targets that are numbers are standardised, which backpropagation needs.
        """
        held = math.ceil(0.3 * len(self.y))
        if self.is_class:
            held = max(held, len(np.unique(self.y)))  # a stratified draw has room for every class
        parts = train_test_split(
            self.x[self.known], self.y, test_size=held, random_state=seed, stratify=self.y if self.is_class else None
        )
        x, test_x, y, test_y = parts
        if not self.is_class:
            mean, scale = y.mean(), y.std() or 1.0
            y, test_y = (y - mean) / scale, (test_y - mean) / scale
        return HeldOut(x, y, test_x, test_y)

    def judged(
        self, model: BundledSNNKClassifier | BundledSNNKRegressor
    ) -> tuple[float, ndarray, dict[str, polars.Series]]:
        """Score of rows left out, their predictions, and all columns of the answer."""
        new = self.x[~self.known]
        role = polars.Series(np.where(self.known, "left out", "new").tolist())
        columns = {"row": polars.Series(np.arange(1, len(self.x) + 1)), self.name: self._column(self.y), "role": role}
        if isinstance(model, BundledSNNKRegressor):
            left_out = model.left_out_predictions_
            predicted = np.empty(len(self.x))
            predicted[self.known] = left_out
            if len(new):
                predicted[~self.known] = model.predict(new)
            return float(r2_score(self.y, left_out)), left_out, columns | {"prediction": polars.Series(predicted)}
        shares = np.empty((len(self.x), len(model.classes_)))
        shares[self.known] = model.left_out_probabilities_
        if len(new):
            shares[~self.known] = model.predict_proba(new)
        labels = model.classes_[shares.argmax(1)]
        columns["prediction"] = polars.Series(labels.tolist())
        columns |= {f"probability of {one}": polars.Series(shares[:, k]) for k, one in enumerate(model.classes_)}
        return float((labels[self.known] == self.y).mean()), labels[self.known], columns

    def _column(self, y: ndarray) -> polars.Series:
        values: list[object] = [None] * len(self.x)
        for row, value in zip(np.flatnonzero(self.known), y.tolist()):
            values[row] = value
        return polars.Series(values, dtype=polars.String if self.is_class else polars.Float64)

    def quality(self, left_out: ndarray) -> Figure:
        if not self.is_class:
            return figures.prediction_figure(self.y, left_out, self.name)
        classes, index = np.unique(self.y, return_inverse=True)
        confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(confusion, (index, np.searchsorted(classes, left_out)), 1)
        return figures.confusion_figure(confusion, [str(one) for one in classes], self.name)


class Estimated(TypedDict):
    estimates: Annotated[Table, Field("z, the function, mean and deviation of the estimate")]
    error: Annotated[float, Field("root mean square error of one estimate, in the best way")]
    kernel: Annotated[Figure, Field("the function with its estimate, and error by features")]


def kernel(
    *,
    function: Annotated[Name, Field("f of f(w . x)")] = "gelu",
    features: Annotated[int, Field("random features, an even number", ge=2, le=65_536)] = 256,
    inputs: Annotated[int, Field("numbers a row", ge=2, le=4096)] = 32,
    length: Annotated[float, Field("|x| |w|, and so the largest |w . x|", gt=0, le=4)] = 1.0,
    draws: Annotated[int, Field("draws of the features", ge=2, le=1000)] = 40,
    seed: Annotated[int, Field("random seed", ge=0, le=2**31 - 1)] = 0,
) -> Estimated:
    """Show a function of w . x estimated by random features of x and of w, with the error known before."""
    z = np.linspace(-1, 1, 41)
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.standard_normal((inputs, 2)))[0].T * length**0.5
    w, x = basis[:1], z[:, None] * basis[0] + np.sqrt(1 - z**2)[:, None] * basis[1]
    z = length * z
    exact = FUNCTIONS[function](torch.from_numpy(z)).numpy()

    ways: dict[str, dict[str, Any]] = {
        "powers": {"method": "maclaurin", "tolerance": 0.05},
        "waves, adaptive split": {"split": "adaptive", "tolerance": None},
        "waves, symmetric split": {"split": "symmetric", "tolerance": None},
        "waves, one-sided split": {"split": "one-sided", "tolerance": None},
    }

    def estimates(way: str, count: int) -> tuple[ndarray, float]:
        found, bound = [], 0.0
        for draw in range(draws):
            phi = UniversalRandomFeatures(function, count, radius=1.05 * length, random_state=seed + draw, **ways[way])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the picture shows the error
                phi.fit(x, weights=w)
            found.append(phi.transform(x) @ phi.transform_weights(w)[0])
            cut = phi.series_.error if isinstance(phi.series_, FourierSeries) else 0.0
            bound = float(np.sqrt((phi.predicted_std(x, w) ** 2).mean() + cut**2))
        return np.array(found), bound

    counts = [count for count in (32, 128, 512, 2048) if count != features] + [features]
    counts.sort()
    errors, mine = {}, {}
    for way in track(tuple(ways), "Ways"):
        pairs = [estimates(way, count) for count in counts]
        measured = [float(np.sqrt(((found - exact) ** 2).mean())) for found, _ in pairs]
        errors[way] = (counts, measured, [bound for _, bound in pairs])
        mine[way] = pairs[counts.index(features)][0]
    error, best = min((errors[way][1][counts.index(features)], way) for way in ways)
    mean, std = mine[best].mean(0), mine[best].std(0)
    say(f"Least error of an estimate with {features} features, by {best}: {error:.3g}.")
    say(f"Size of {function}: {np.abs(exact).max():.3g}.")
    return {
        "estimates": Table(polars.DataFrame({"z": z, function: exact, "mean": mean, "deviation": std})),
        "error": error,
        "kernel": figures.kernel_figure(z, exact, mean, std, errors, function, f"{features} features, {best}"),
    }


class Smaller(TypedDict):
    models: Annotated[Table, Field("by features: parameters, score, error of each layer, and a narrow network's score")]
    picture: Annotated[Figure, Field("the same as a picture")]


def compress(
    table: Annotated[Table, Field("one example a row with its target", example=digit_table)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Goal, Field("auto: words are classes")] = "auto",
    hidden: Annotated[str, Field("units of the hidden layers, with commas")] = "256,128",
    seed: Annotated[int, Field("random seed", ge=0, le=2**31 - 1)] = 0,
) -> Smaller:
    """Train a network on a table, replace its hidden layers by random features in closed form, and see what is lost.

    Beside every size stands a narrow network of as many parameters, trained from scratch: often it does better when
    there are few. For models of torch and transformers use `replace_ffn` in Python.
    """
    try:
        units = [int(part) for part in hidden.split(",")]
    except ValueError:
        units = []
    if not units or not all(1 <= unit <= 4096 for unit in units):
        raise InputError("hidden layers are whole numbers from 1 to 4096", f"'{hidden}'", "Give e.g. 256,128.")
    data = _Data.of(table, target, goal)
    found = compressed(data.split(seed), units, (16, 32, 64, 128, 256, 512), seed)
    say(f"As trained: {found[0].parameters:,} parameters, {data.score} {found[0].score:.3f}.")
    columns: dict[str, list[float | int | None]] = {
        "features": [one.features for one in found],
        "parameters": [one.parameters for one in found],
        data.score: [one.score for one in found],
    }
    for number in range(len(units)):
        columns[f"error of layer {number + 1}"] = [one.errors[number] if one.errors else None for one in found]
    columns[f"{data.score} of a narrow network"] = [None if one.narrow != one.narrow else one.narrow for one in found]
    columns["its hidden units"] = [one.hidden or None for one in found]
    return {"models": Table(polars.DataFrame(columns)), "picture": figures.compression_figure(found, data.score)}


JOBS = (fit, kernel, compress)
