"""Jobs of scale mixtures: predict a table with error bars; compare priors on it, with spoilt data too."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypedDict

import numpy as np
import polars
from sklearn.model_selection import StratifiedKFold

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import diabetes
from harmonia.kernels.scale_mixtures import figures
from harmonia.kernels.scale_mixtures.classifier import ScaleMixtureGPClassifier
from harmonia.kernels.scale_mixtures.regressor import ScaleMixtureGPRegressor
from harmonia.kernels.scale_mixtures.robustness import PRIORS, compare
from harmonia.kernels.scale_mixtures.scales import (
    BurrXII,
    Gamma,
    HalfCauchy,
    InverseGamma,
    LogNormal,
    PointMass,
    ScalePrior,
)
from harmonia.media import Figure, Table
from harmonia.parts.calibration import reliability
from harmonia.parts.features import Features, Target

Goal = Literal["auto", "regression", "classification"]
PriorName = Literal["invgamma", "burr", "gamma", "lognormal", "halfcauchy", "gaussian"]
Activation = Literal["relu", "erf", "gelu", "leaky_relu", "tanh", "sin", "abs"]

_PRIORS: dict[str, ScalePrior] = {
    "invgamma": InverseGamma(2.0, 2.0),
    "burr": BurrXII(2.0, 2.0),
    "gamma": Gamma(2.0, 2.0),
    "lognormal": LogNormal(0.0, 1.0),
    "halfcauchy": HalfCauchy(1.0),
    "gaussian": PointMass(1.0),
}
FACTORS = (0.2, 0.333, 0.5, 1.0, 2.0, 3.0, 5.0)
"""By what targets are multiplied, to see who learns the scale."""

FOLDS = 3


class Fitted(TypedDict):
    predictions: Annotated[
        Table, Field("every row: target, left-out or new prediction with 5%, 50% and 95%, or class probabilities")
    ]
    score: Annotated[float, Field("mean log density, or log probability, of rows that were left out, in nats")]
    quality: Annotated[Figure, Field("left-out predictions and their intervals, or classes")]
    calibration: Annotated[Figure, Field("whether intervals hold what they state, and what another scale does")]
    scale: Annotated[Figure, Field("what is known about the scale of the outputs before and after the data")]


def fit(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=diabetes)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Goal, Field("auto: words are classes")] = "auto",
    prior: Annotated[PriorName, Field("prior of the output scale; invgamma: a Student-t process")] = "invgamma",
    kernel: Annotated[Literal["nngp-mlp", "nngp-resnet"], Field("the infinitely wide network")] = "nngp-mlp",
    depth: Annotated[int, Field("hidden layers, or residual blocks", ge=0, le=50)] = 4,
    activation: Annotated[Activation, Field("activation of the network")] = "relu",
    epochs: Annotated[int, Field("passes over the data, for classes", ge=1, le=1000)] = 40,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Fitted:
    """Predict a table with error bars by an infinitely wide network whose output scale is unknown.

    Numbers are predicted by exact inference: every row that has a target is predicted from all the others, with a
    median, a 90% interval and a log density; the network's scales are learned once, from all. Classes are learned by
    stochastic variational inference and judged by cross-validation.
    """
    data = _Data.of(table, target, goal)
    say(f"{data.known.sum()} rows to learn from, {data.x.shape[1]} inputs, {(~data.known).sum()} rows to predict.")
    if data.known.sum() < 5:
        raise InputError("there are too few rows to learn from", int(data.known.sum()), "Give five with a target.")
    if data.is_class:
        return _fit_classes(data, prior, kernel, depth, activation, epochs, seed)
    chosen = _PRIORS[prior]
    options = {"kernel": kernel, "depth": depth, "activation": activation, "random_state": seed}
    model = ScaleMixtureGPRegressor(prior=chosen, learn_prior=prior == "gaussian", **options)
    model.fit(data.x[data.known], data.numbers)
    rival_name, rival_prior = ("Student-t process", "invgamma") if prior == "gaussian" else ("Gaussian", "gaussian")
    rival = ScaleMixtureGPRegressor(prior=_PRIORS[rival_prior], learn_prior=rival_prior == "gaussian", **options)
    rival.fit(data.x[data.known], data.numbers)
    dist, other = model.predict_left_out(), rival.predict_left_out()
    score = float(dist.log_prob(data.numbers).mean())
    say(f"Log density of left-out rows: {score:.3f} nats; {rival_name}: {other.log_prob(data.numbers).mean():.3f}.")
    names = {_title(prior): dist.cdf(data.numbers), rival_name: other.cdf(data.numbers)}
    return {
        "predictions": Table(_numbers(model, data)),
        "score": score,
        "quality": figures.prediction_figure(data.numbers, dist, other, data.name, rival_name),
        "calibration": figures.calibration_figure(names),
        "scale": figures.scale_figure(
            model.prior_,
            model.scale_posterior_,
            FACTORS,
            {_title(prior): _losses(model), rival_name: _losses(rival)},
        ),
    }


def _losses(model: ScaleMixtureGPRegressor) -> list[float]:
    """Loss of left-out rows when all targets are multiplied by a factor, with the same hyperparameters."""
    found = []
    for factor in FACTORS:
        scaled = model.process_.with_targets(factor * model.process_.targets)
        density = scaled.left_out().log_prob(scaled.targets.numpy())
        found.append(float(-density.mean() - np.log(factor)))
    return found


class _Data(NamedTuple):
    """A table as inputs and target."""

    name: str
    x: np.ndarray
    values: np.ndarray
    known: np.ndarray
    is_class: bool

    @classmethod
    def of(cls, table: Table, target: str, goal: Goal) -> _Data:
        wanted = Target.of(table, target, goal)
        known = wanted.known
        features = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name)
        values = np.array(wanted.values, dtype=object)
        return cls(wanted.name, features.inputs(table), values, known, wanted.is_class)

    @property
    def numbers(self) -> np.ndarray:
        """The known targets as numbers."""
        return self.values[self.known].astype(np.float64)

    def columns(self) -> dict[str, polars.Series]:
        """Row number, target and role of every row."""
        role = np.where(self.known, "left out", "new")
        kind = polars.String if self.is_class else polars.Float64
        values = [None if value is None else str(value) if self.is_class else float(value) for value in self.values]
        return {
            "row": polars.Series(np.arange(1, len(self.x) + 1)),
            self.name: polars.Series(values, dtype=kind),
            "role": polars.Series(role),
        }


def _numbers(model: ScaleMixtureGPRegressor, data: _Data) -> polars.DataFrame:
    """Predictions of every row; known ones by all others."""
    left_out = model.predict_left_out()
    probabilities = np.array([0.05, 0.5, 0.95])
    quantiles = np.empty((3, len(data.x)))
    mean, density = np.empty(len(data.x)), np.full(len(data.x), np.nan)
    quantiles[:, data.known], mean[data.known] = left_out.quantile(probabilities), left_out.mean
    density[data.known] = left_out.log_prob(data.numbers)
    if not data.known.all():
        new = model.predict(data.x[~data.known], return_dist=True)
        quantiles[:, ~data.known], mean[~data.known] = new.quantile(probabilities), new.mean
    columns = {
        "mean": polars.Series(mean),
        **{f"{round(100 * p)}%": polars.Series(q) for p, q in zip(probabilities, quantiles)},
        "log_density": polars.Series(density).fill_nan(None),
    }
    return polars.DataFrame({**data.columns(), **columns})


def _fit_classes(
    data: _Data, prior: PriorName, kernel: str, depth: int, activation: str, epochs: int, seed: int
) -> Fitted:
    if prior not in ("invgamma", "gaussian"):
        raise InputError("classes take an inverse-gamma prior", prior, "Use prior=invgamma or gaussian.")
    labels = data.values[data.known].astype(str)
    x = data.x[data.known]
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < FOLDS:
        rare = classes[counts.argmin()]
        raise InputError(f"every class needs at least {FOLDS} rows", f"{counts.min()} of '{rare}'", "Merge or drop it.")

    def model() -> ScaleMixtureGPClassifier:
        return ScaleMixtureGPClassifier(
            kernel,
            prior=_PRIORS[prior],
            depth=depth,
            activation=activation,
            epochs=epochs,
            batch_size=min(100, max(16, len(x) // 10)),
            random_state=seed,
        )

    shares = np.empty((len(data.x), len(classes)))
    held_out = np.empty((len(x), len(classes)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in track(list(folds.split(x, index)), "Cross-validation"):
        held_out[test] = model().fit(x[train], labels[train]).predict_proba(x[test])
    shares[data.known] = held_out
    whole = model().fit(x, labels)
    if not data.known.all():
        shares[~data.known] = whole.predict_proba(data.x[~data.known])
    columns = data.columns()
    columns["prediction"] = polars.Series(classes[shares.argmax(1)].tolist())
    columns |= {f"probability of {label}": polars.Series(shares[:, i]) for i, label in enumerate(classes)}
    found = reliability(held_out, index)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (index, held_out.argmax(1)), 1)
    return {
        "predictions": Table(polars.DataFrame(columns)),
        "score": float(np.log(held_out[np.arange(len(x)), index]).mean()),
        "quality": figures.confusion_figure(confusion, classes, data.name),
        "calibration": figures.reliability_figure(found),
        "scale": figures.scale_figure(_PRIORS[prior], whole.scale_posterior_),
    }


class Compared(TypedDict):
    losses: Annotated[Table, Field("mean loss and its standard error by condition and prior, in nats per row")]
    picture: Annotated[Figure, Field("the same as a picture")]


def priors(
    table: Annotated[Table, Field("one example a row, with a numeric target", example=diabetes)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    splits: Annotated[int, Field("random splits into 80% and 20%", ge=1, le=100)] = 3,
    depth: Annotated[int, Field("hidden layers of the network", ge=0, le=50)] = 4,
    activation: Annotated[Activation, Field("activation of the network")] = "relu",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Compared:
    """Compare the Gaussian process with scale mixtures on a table: clean, with outliers, shifted, in other units."""
    data = _Data.of(table, target, "regression")
    if data.known.sum() < 10:
        raise InputError("there are too few rows to compare on", int(data.known.sum()), "Give ten with a target.")
    seeds = range(seed, seed + splits)
    losses = compare(data.x[data.known], data.numbers, seeds, PRIORS, depth=depth, activation=activation)
    rows = [
        {"condition": c, "prior": name, "loss": v.mean(), "standard_error": v.std() / np.sqrt(len(v))}
        for c, by in losses.items()
        for name, v in by.items()
    ]
    return {"losses": Table(polars.DataFrame(rows)), "picture": figures.comparison_figure(losses)}


def _title(prior: PriorName) -> str:
    return {"invgamma": "Student-t process", "gaussian": "Gaussian"}.get(prior, f"{prior} mixture")


JOBS = (fit, priors)
