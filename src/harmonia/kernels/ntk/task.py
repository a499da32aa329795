"""Jobs of the neural tangent kernel: learn a table by infinitely wide networks, or look at their kernel."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import diabetes
from harmonia.kernels.ntk import figures
from harmonia.kernels.ntk.dynamics import kernel_alignment, ntk_spectrum, stopping_time
from harmonia.kernels.ntk.estimators import NTKClassifier, NTKRegressor
from harmonia.kernels.ntk.finite import Comparison, compare_with_limit
from harmonia.kernels.ntk.networks import ActivationName, mlp
from harmonia.media import Figure, Table
from harmonia.parts import infwidth
from harmonia.parts.features import MOST_WORDS, Features, Target

COVERAGE = 0.9
MOST_COMPARED = 128
"""Rows on which finite networks are trained beside the prediction for them."""

MOST_WRITTEN = 3000
"""Rows whose kernel matrix is written as a table."""


class Fitted(TypedDict):
    predictions: Annotated[
        Table, Field("every row: target, left-out or new prediction, interval, spread of the networks")
    ]
    score: Annotated[float, Field("R2 or accuracy on rows that were left out")]
    time: Annotated[float, Field("training time: learning rate times steps; infinite is to the end")]
    quality: Annotated[Figure, Field("left-out predictions beside the truth")]
    spectrum: Annotated[Figure, Field("eigenvalues, and how the target is spread over them")]
    learning: Annotated[Figure, Field("which components are learnt when, and when to stop")]
    circle: Annotated[
        Figure, Field("kernels of finite networks on a circle, before and after training (the paper's Fig. 1)")
    ]
    widths: Annotated[Figure, Field("trained networks of growing width beside the prediction for them")]


def fit(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=diabetes)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Literal["auto", "regression", "classification"], Field("auto: words are classes")] = "auto",
    depth: Annotated[int, Field("hidden layers", ge=0, le=100)] = 3,
    activation: Annotated[ActivationName, Field("activation of the network")] = "relu",
    kernel: Annotated[Literal["ntk", "nngp"], Field("ntk: all layers are trained; nngp: only the last")] = "ntk",
    time: Annotated[float | None, Field("training time; chosen by cross-validation unless given", ge=0)] = None,
    ridge: Annotated[float, Field("pull towards initialisation, relative to the kernel's mean diagonal", ge=0)] = 1e-6,
    width: Annotated[int, Field("widest finite network that is trained for comparison", ge=8, le=8192)] = 1024,
    steps: Annotated[int, Field("steps of gradient descent of the finite networks", ge=1, le=10_000)] = 200,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Fitted:
    """Learn a table by infinitely wide networks, and see how they learn.

    The network is never trained: its tangent kernel gives its predictions after any training time, with an interval
    that holds new targets nine times out of ten. Every row that has a target is predicted by networks that did not see
    it. The figures show the kernel's spectrum, the order in which its components are learnt and when to stop, and how
    finite networks approach all this as they grow wider.
    """
    wanted = Target.of(table, target, goal)
    known = wanted.known
    features = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name)
    x, values = features.inputs(table), np.array(wanted.values, dtype=object)[known]
    say(f"{known.sum()} rows to learn from, {x.shape[1]} inputs, {(~known).sum()} rows to predict.")
    if known.sum() < 4:
        raise InputError("there are too few rows to learn from", int(known.sum()), "Give at least four with a target.")
    seconds = 7 * 9 * float(known.sum()) ** 3 / 2e10
    if seconds > 20:
        say(f"About {seconds:.0f} s for seven eigendecompositions of that many rows.")
    network = mlp(depth, activation)
    options = {"kernel": kernel, "ridge": ridge, "solver": "direct", "random_state": seed}
    model: NTKRegressor | NTKClassifier
    if wanted.is_class:
        model = NTKClassifier(network, **options).fit(x[known], values.astype(str))
    else:
        model = NTKRegressor(network, **options).fit(x[known], values.astype(np.float64))
    ensemble = model.ensemble_
    assert ensemble is not None
    stop = stopping_time(ensemble, folds=min(5, len(values)), generator=torch.Generator().manual_seed(seed))
    model.time_ = stop.time if time is None else time
    report = _classes if isinstance(model, NTKClassifier) else _numbers
    frame, score, quality = report(model, x, known, values, wanted.name)
    matrices = {"NTK": ensemble.ntk} if kernel == "ntk" else {}
    matrices["NNGP"] = ensemble.nngp
    return {
        "predictions": Table(frame),
        "score": score,
        "time": model.time_,
        "quality": quality,
        "spectrum": figures.spectrum_figure({n: ntk_spectrum(k, ensemble.targets) for n, k in matrices.items()}),
        "learning": figures.learning_figure(ensemble, stop),
        "circle": figures.circle_figure(network, steps=steps, seed=seed),
        "widths": figures.widths_figure(_finite(network, x[known], ensemble.targets, width, steps, seed)),
    }


def _finite(
    network: infwidth.Sequential, x: np.ndarray, targets: Tensor, width: int, steps: int, seed: int
) -> list[Comparison]:
    """Networks of growing width, trained on some rows and compared on others."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, rest = order[:MOST_COMPARED], order[MOST_COMPARED : 2 * MOST_COMPARED]
    at = rest if len(rest) else train
    inputs, outputs = torch.from_numpy(x).float(), targets.float()
    widths = sorted({max(8, width // 16), max(8, width // 4), width})
    return [
        compare_with_limit(network, one, inputs[train], outputs[train], inputs[at], steps=steps, seed=seed)
        for one in track(widths, "Training finite networks")
    ]


def _numbers(
    model: NTKRegressor, x: np.ndarray, known: np.ndarray, values: np.ndarray, name: str
) -> tuple[polars.DataFrame, float, Figure]:
    observed = values.astype(np.float64)
    prediction, spread = model.predict(x, return_std=True)
    left_out, spread[known] = model.predict_left_out()
    low, high = model.predict_interval(x[:1], COVERAGE)
    half = float(high[0] - low[0]) / 2
    prediction[known] = left_out
    score = 1 - float(np.square(observed - left_out).sum() / np.square(observed - observed.mean()).sum())
    target = np.full(len(x), np.nan)
    target[known] = observed
    frame = polars.DataFrame(
        {
            "row": np.arange(1, len(x) + 1),
            name: polars.Series(target).fill_nan(None),
            "prediction": prediction,
            "low": prediction - half,
            "high": prediction + half,
            "spread": spread,
            "role": np.where(known, "left out", "new"),
        }
    )
    return frame, score, figures.regression_figure(observed, left_out, half, name, f"R² {score:.2f}")


def _classes(
    model: NTKClassifier, x: np.ndarray, known: np.ndarray, values: np.ndarray, name: str
) -> tuple[polars.DataFrame, float, Figure]:
    observed = values.astype(str)
    shares = model.predict_proba(x)
    shares[known] = model.predict_proba_left_out()
    prediction = model.classes_[shares.argmax(1)]
    left_out = prediction[known]
    score = float((observed == left_out).mean())
    target = np.full(len(x), None, dtype=object)
    target[known] = observed
    columns = {
        "row": np.arange(1, len(x) + 1),
        name: polars.Series(target.tolist(), dtype=polars.String),
        "prediction": prediction.tolist(),
        "role": np.where(known, "left out", "new"),
    }
    columns |= {f"share of {label}": shares[:, i] for i, label in enumerate(model.classes_)}
    note = f"{100 * score:.1f}% right"
    return polars.DataFrame(columns), score, figures.confusion_figure(observed, left_out, model.classes_, name, note)


class Kernel(TypedDict):
    matrix: Annotated[Table, Field("the kernel matrix, one row and one column per row of the table")]
    picture: Annotated[Figure, Field("the matrix and its eigenvalues")]
    condition: Annotated[float, Field("largest over smallest eigenvalue")]
    alignment: Annotated[float, Field("centred alignment with the target, 0 to 1; NaN without one")]


def kernel(
    table: Annotated[Table, Field("one example a row", example=diabetes)],
    *,
    target: Annotated[str, Field("column to order rows by and to align with; none unless given")] = "",
    depth: Annotated[int, Field("hidden layers", ge=0, le=100)] = 3,
    activation: Annotated[ActivationName, Field("activation of the network")] = "relu",
    w_std: Annotated[float | None, Field("scale of the weights; the activation's own unless given", gt=0)] = None,
    b_std: Annotated[float | None, Field("scale of the biases; the activation's own unless given", ge=0)] = None,
    which: Annotated[Literal["ntk", "nngp"], Field("tangent kernel, or covariance at initialisation")] = "ntk",
) -> Kernel:
    """Compute the kernel matrix of an infinitely wide network between all rows of a table."""
    if len(table.frame) > MOST_WRITTEN:
        raise InputError(
            f"a kernel matrix of more than {MOST_WRITTEN} rows makes no sensible table",
            f"{len(table.frame)} rows",
            "Use harmonia.kernels.infwidth.kernel_matrix(..., out='kernel.npy') in Python.",
        )
    column = Target.of(table, target, "auto") if target else None
    if column is not None and not column.known.all():
        raise InputError(f"column '{target}' has gaps", f"{(~column.known).sum()} rows", "Fill or drop them.")
    x = torch.from_numpy(Features.of(table, without=target or None).inputs(table))
    network = mlp(depth, activation, w_std, b_std)
    matrix = network.kernel(x, get=which)
    order, label, alignment = torch.arange(len(x)), "row", math.nan
    if column is not None:
        values, codes = np.unique(np.array(column.values), return_inverse=True)
        is_class = column.is_class or len(values) <= MOST_WORDS
        coded = torch.eye(len(values))[codes] if is_class else torch.tensor(column.values)
        alignment = kernel_alignment(matrix, coded.double())
        order, label = torch.from_numpy(np.argsort(codes, kind="stable")), f"row, sorted by {target}"
    spectrum = ntk_spectrum(matrix)
    title = f"{which.upper()} of {depth} hidden {activation} layers: condition number {spectrum.condition:,.0f}"
    names = [f"row_{i}" for i in range(1, len(x) + 1)]
    return {
        "matrix": Table(polars.DataFrame(matrix.numpy(), schema=names)),
        "picture": figures.kernel_figure(matrix[order][:, order], spectrum, title, label),
        "condition": spectrum.condition,
        "alignment": alignment,
    }


JOBS = (fit, kernel)
