"""Jobs of deep kernel machines: predict a table with a learned kernel; ask how much learning the table wants."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
import polars
import torch
from scipy.stats import norm
from sklearn.model_selection import KFold, StratifiedKFold

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import wine
from harmonia.kernels.dkm import figures
from harmonia.kernels.dkm.estimators import DeepKernelMachineClassifier, DeepKernelMachineRegressor
from harmonia.kernels.dkm.path import learning_path
from harmonia.media import Figure, Table
from harmonia.parts.calibration import reliability
from harmonia.parts.features import Features, Target

Goal = Literal["auto", "regression", "classification"]
KernelName = Literal["relu", "normalized-gaussian", "sqexp", "linear"]
Estimator = DeepKernelMachineRegressor | DeepKernelMachineClassifier

FOLDS = 3


class Fitted(TypedDict):
    predictions: Annotated[
        Table,
        Field("every row: target, left-out or new prediction with its standard deviation, or class probabilities"),
    ]
    score: Annotated[float, Field("mean log density, or log probability, of rows that were left out, in nats")]
    grams: Annotated[Figure, Field("Gram matrices of every layer: of an infinitely wide network, and learned")]
    quality: Annotated[Figure, Field("left-out predictions, and whether their uncertainty is true")]
    layers: Annotated[Table, Field("what was learned: KL of each layer from the kernel it replaced, and of the output")]


def fit(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=wine)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Goal, Field("auto: words are classes")] = "auto",
    dof: Annotated[float, Field("price of learning: 0 free kernels, inf fixed ones", ge=0)] = 1.0,
    layers: Annotated[int, Field("learned Gram matrices", ge=0, le=20)] = 2,
    inducing: Annotated[int, Field("inducing points, at most one a row", ge=2, le=5000)] = 100,
    kernel: Annotated[KernelName, Field("kernel of every layer")] = "relu",
    steps: Annotated[int, Field("most steps of the optimiser", ge=1, le=10_000)] = 100,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Fitted:
    """Predict a table with a deep kernel machine, and see what its layers learned.

    Every row that has a target is predicted by a machine that did not see it (threefold cross-validation); rows without
    one by a machine that saw all. The pictures compare its Gram matrices with those of an infinitely wide network.
    """
    data = _Data.of(table, target, goal)
    make = _Make(data.is_class, dof, layers, inducing, kernel, steps, seed)
    say(f"{data.known.sum()} rows to learn from, {data.x.shape[1]} inputs, {(~data.known).sum()} rows to predict.")
    x, y = data.x[data.known], data.targets
    held: list[np.ndarray] = [np.zeros(0)] * len(x)
    for train, test in track(data.folds(seed), "Cross-validation"):
        found = _predicted(make(len(train)).fit(x[train], y[train]), x[test])
        for row, values in zip(test, found, strict=True):
            held[row] = values
    whole = make(len(x)).fit(x, y)
    known = np.stack(held)
    new = _predicted(whole, data.x[~data.known]) if not data.known.all() else known[:0]
    density, quality = _judged(data, y, known)
    say(f"Left-out rows: {density:.3f} nats a row; the bound is {whole.elbo_:.3f}.")
    if density < (trivial := _trivial(y, data.is_class)):
        say(
            f"That is worse than {trivial:.3f} without inputs: learned kernels overfit. Raise dof; `path` says how far."
        )
    return {
        "predictions": Table(_table(data, whole, known, new)),
        "score": density,
        "grams": _grams(whole, data.name),
        "quality": quality,
        "layers": Table(_layers(whole, dof)),
    }


class Path(TypedDict):
    path: Annotated[Table, Field("bound, held-out loss and distance of each layer, by dof, the price of learning")]
    picture: Annotated[Figure, Field("the same as a picture")]


def path(
    table: Annotated[Table, Field("one example a row", example=wine)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Goal, Field("auto: words are classes")] = "auto",
    layers: Annotated[int, Field("learned Gram matrices", ge=1, le=20)] = 2,
    inducing: Annotated[int, Field("inducing points, at most one a row", ge=2, le=5000)] = 100,
    kernel: Annotated[KernelName, Field("kernel of every layer")] = "relu",
    steps: Annotated[int, Field("most steps of the optimiser at each stop", ge=1, le=10_000)] = 60,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Path:
    """How much learning of representations does a table want? From the fixed kernel to free ones, on held-out rows."""
    data = _Data.of(table, target, goal)
    x, y = data.x[data.known], data.targets
    train, test = data.folds(seed)[0]
    model = _Make(data.is_class, 1.0, layers, inducing, kernel, steps, seed)(len(train))
    found = learning_path(model, (x[train], y[train]), (x[test], y[test]))
    rows = [
        {
            "dof": point.dof,
            "bound": point.elbo,
            "held_out_loss": point.loss,
            **{
                f"kl_layer_{i + 1}": float(point.divergences[i]) if len(point.divergences) else 0.0
                for i in range(layers)
            },
        }
        for point in found
    ]
    return {"path": Table(polars.DataFrame(rows)), "picture": figures.path_figure(found)}


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
        data = cls(wanted.name, features.inputs(table), np.array(wanted.values, dtype=object), known, wanted.is_class)
        if known.sum() < 3 * FOLDS:
            raise InputError("there are too few rows to learn from", int(known.sum()), "Give nine with a target.")
        if data.is_class:
            labels, counts = np.unique(data.targets, return_counts=True)
            if len(labels) < 2 or counts.min() < FOLDS:
                got = f"{counts.min()} of '{labels[counts.argmin()]}', {len(labels)} classes"
                raise InputError(f"there are two classes of at least {FOLDS} rows each", got, "Merge or drop some.")
        return data

    @property
    def targets(self) -> np.ndarray:
        """The known targets: numbers, or labels as text."""
        return self.values[self.known].astype(str if self.is_class else np.float64)

    def folds(self, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Known rows to learn from and to leave out, a third each time; every class is in both."""
        folds = (StratifiedKFold if self.is_class else KFold)(FOLDS, shuffle=True, random_state=seed)
        return list(folds.split(self.x[self.known], self.targets))


class _Make(NamedTuple):
    """Makes estimators of one kind."""

    is_class: bool
    dof: float
    layers: int
    inducing: int
    kernel: str
    steps: int
    seed: int

    def __call__(self, rows: int) -> Estimator:
        """For so many rows of training."""
        kind: Any = DeepKernelMachineClassifier if self.is_class else DeepKernelMachineRegressor
        inducing = min(self.inducing, rows)
        model: Estimator = kind(
            self.layers, inducing, self.dof, self.kernel, max_iter=self.steps, random_state=self.seed
        )
        return model


def _predicted(model: Estimator, x: np.ndarray) -> np.ndarray:
    """Mean and standard deviation, or class probabilities, one row per input."""
    if isinstance(model, DeepKernelMachineClassifier):
        return model.predict_proba(x)
    return np.stack(model.predict(x, return_std=True), 1)


def _judged(data: _Data, y: np.ndarray, held: np.ndarray) -> tuple[float, Figure]:
    """Mean log density of left-out rows, and the picture of them."""
    if not data.is_class:
        mean, std = held.T
        density = float(norm.logpdf(y, mean, std).mean())
        return density, figures.prediction_figure(y, mean, std, norm.cdf(y, mean, std), data.name)
    classes, index = np.unique(y, return_inverse=True)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (index, held.argmax(1)), 1)
    density = float(np.log(held[np.arange(len(index)), index].clip(1e-300)).mean())
    return density, figures.class_figure(confusion, reliability(held, index), classes, data.name)


def _trivial(y: np.ndarray, is_class: bool) -> float:
    """Mean log density of targets under their own normal distribution, or of labels under their frequencies."""
    if not is_class:
        return float(norm.logpdf(y, y.mean(), max(y.std(), 1e-300)).mean())
    shares = np.unique(y, return_counts=True)[1] / len(y)
    return float((shares * np.log(shares)).sum())


def _table(data: _Data, model: Estimator, known: np.ndarray, new: np.ndarray) -> polars.DataFrame:
    found = np.empty((len(data.x), known.shape[1]))
    found[data.known], found[~data.known] = known, new
    kind = polars.String if data.is_class else polars.Float64
    values = [None if v is None else str(v) if data.is_class else float(v) for v in data.values]
    columns: dict[str, Any] = {
        "row": np.arange(1, len(data.x) + 1),
        data.name: polars.Series(values, dtype=kind),
        "role": np.where(data.known, "left out", "new"),
    }
    if isinstance(model, DeepKernelMachineClassifier):
        columns["prediction"] = model.classes_[found.argmax(1)].tolist()
        columns |= {f"probability of {label}": found[:, i] for i, label in enumerate(model.classes_)}
    else:
        columns |= {"prediction": found[:, 0], "standard_deviation": found[:, 1]}
    return polars.DataFrame(columns)


def _layers(model: Estimator, dof: float) -> polars.DataFrame:
    """KL of every learned matrix from the kernel it replaced, and of the output from its prior."""
    learned = model.layer_divergences_
    output = float(model.machine_.output.divergence())
    return polars.DataFrame(
        {
            "layer": [*map(str, range(1, len(learned) + 1)), "output"],
            "kl_nats": [*learned, output],
            "price_nats": [*(dof * learned if len(learned) else []), output],
        }
    )


@torch.no_grad()
def _grams(model: Estimator, name: str) -> Figure:
    """Learned matrices, and those of the same inducing points under fixed kernels, in the order of their prediction."""
    machine = model.machine_
    fixed = copy.deepcopy(machine)
    for layer in fixed.gram_layers():
        layer.V.zero_()
    mean = machine(machine.entry.get_parameter("Xi")).mean.numpy()
    best = mean.argmax(1)
    order = np.lexsort((mean[np.arange(len(mean)), best], best)) if mean.shape[1] > 1 else np.argsort(mean[:, 0])
    return figures.gram_figure(
        [passed.gram.numpy() for passed in fixed.gram_matrices()],
        model.gram_matrices_,
        model.layer_divergences_.tolist(),
        order,
        f"predicted {name}",
    )


JOBS = (fit, path)
