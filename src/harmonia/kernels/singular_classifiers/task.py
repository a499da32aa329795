"""Jobs: classify a table by an infinitely wide and deep network, place an activation, see networks become optimal."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import breast_cancer
from harmonia.kernels.singular_classifiers import figures
from harmonia.kernels.singular_classifiers.base import Dimension
from harmonia.kernels.singular_classifiers.consistency import (
    MAJORITY_VOTE,
    NEAREST,
    NEAREST_NEIGHBOUR,
    ErrorCurves,
    Problem,
    error_curves,
    rules,
)
from harmonia.kernels.singular_classifiers.deep import log_deep_ntk
from harmonia.kernels.singular_classifiers.duals import dual_of
from harmonia.kernels.singular_classifiers.estimators import SingularKernelClassifier
from harmonia.kernels.singular_classifiers.gallery import ActivationName, named_activation, taxonomies
from harmonia.kernels.singular_classifiers.koenigs import Koenigs
from harmonia.kernels.singular_classifiers.taxonomy import Kind, taxonomy_of
from harmonia.media import Figure, Table
from harmonia.parts.features import Features, Target

MOST_CURVED = 4000
"""Rows of which the curve of errors is made."""

_SPLITS = 10
_OURS = "singular kernel"


class Classified(TypedDict):
    predictions: Annotated[Table, Field("every row: class, left-out or new prediction, probabilities")]
    score: Annotated[float, Field("accuracy on rows that were left out")]
    alpha: Annotated[float, Field("exponent of the kernel: the dimension for which the network is optimal")]
    quality: Annotated[Figure, Field("how often left-out predictions of each confidence are right")]
    curve: Annotated[Figure, Field("error beside 1-NN and the majority vote as the training set grows")]
    map: Annotated[Figure, Field("decisions in the plane of two columns, or of two principal components")]


def classify(
    table: Annotated[Table, Field("one example a row; rows without a class are predicted", example=breast_cancer)],
    *,
    target: Annotated[str, Field("column of classes; the last one unless given")] = "",
    test: Annotated[Table | None, Field("more rows to predict, with the same columns")] = None,
    dim: Annotated[
        str, Field("features: their number; mle: measured; loo: by left-out likelihood; or a number")
    ] = "loo",
    feature_map: Annotated[Literal["sphere", "softplus", "raw"], Field("how columns come to the sphere")] = "sphere",
    balanced: Annotated[bool, Field("count every class the same, however frequent")] = False,
    seed: Annotated[int, Field("random seed of the curve's splits")] = 0,
) -> Classified:
    """Classify a table with an infinitely wide and deep network: nothing is trained, nothing has to be tuned.

    The network's limit sums a singular kernel over the training rows. Every row that has a class is also predicted from
    all others, exactly; the probabilities are checked against how often they are right.
    """
    wanted = Target.of(table, target, "classification")
    known = wanted.known
    if known.sum() < 4:
        raise InputError("there are too few rows to learn from", int(known.sum()), "Give at least four with a class.")
    features = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name)
    x, y = features.inputs(table), np.array(wanted.values, dtype=object)[known].astype(str)
    new = x[~known] if test is None else np.concatenate([x[~known], features.inputs(test)])
    say(f"{known.sum()} rows to learn from, {x.shape[1]} inputs, {len(new)} rows to predict.")
    model = SingularKernelClassifier(
        _dimension(dim), feature_map=feature_map, class_weight="balanced" if balanced else None
    ).fit(x[known], y)
    say(f"The kernel's exponent is {model.alpha_:.3g}.")
    left_out = model.predict_proba_left_out()
    observed = np.searchsorted(model.classes_, y)
    right = left_out.argmax(1) == observed
    names = [str(name) for name in model.classes_]
    return {
        "predictions": _predictions(model, wanted, left_out, new, 0 if test is None else len(test.frame)),
        "score": float(right.mean()),
        "alpha": model.alpha_,
        "quality": figures.reliability_figure(left_out, right, names, observed),
        "curve": _curve(model, x[known], y, seed),
        "map": _map(x[known], y, features),
    }


def _dimension(dim: str) -> Dimension:
    if dim in ("features", "mle", "loo"):
        return dim  # type: ignore[return-value]
    try:
        return float(dim)
    except ValueError:
        raise InputError("'dim' is a number or a word", f"'{dim}'", "Use features, mle, loo or a number.") from None


def _predictions(model: SingularKernelClassifier, wanted: Target, left_out: ndarray, new: ndarray, tests: int) -> Table:
    """Rows of the table in their order, then those of the other table."""
    known = np.concatenate([wanted.known, np.zeros(tests, dtype=bool)])
    shares = np.empty((len(known), left_out.shape[1]))
    shares[known] = left_out
    if len(new):
        shares[~known] = model.predict_proba(new)
    role = np.where(known, "left out", "new").astype(object)
    role[len(known) - tests :] = "test"
    rows = np.concatenate([np.arange(len(known) - tests), np.arange(tests)]) + 1
    given = [None if value is None else str(value) for value in wanted.values] + [None] * tests
    columns: dict[str, object] = {
        "row": rows,
        wanted.name: polars.Series(given, dtype=polars.String),
        "prediction": model.classes_[shares.argmax(1)].tolist(),
        "role": role.tolist(),
    }
    columns |= {f"share of {label}": shares[:, i] for i, label in enumerate(model.classes_)}
    return Table(polars.DataFrame(columns))


def _curve(model: SingularKernelClassifier, x: ndarray, y: ndarray, seed: int) -> Figure:
    """Errors on a fifth of the rows that no rule saw, mean over splits."""
    generator = np.random.default_rng(seed)
    some = generator.permutation(len(x))[:MOST_CURVED]
    x, y = x[some], y[some]
    tests = max(1, len(x) // 5)
    most = len(x) - tests
    sizes = tuple(sorted({max(2, round(most * 2.0**-halving)) for halving in range(6)}))
    contestants = {
        _OURS: SingularKernelClassifier(model.dimension_, feature_map=model.feature_map),
        NEAREST_NEIGHBOUR: SingularKernelClassifier(activation=NEAREST, feature_map=model.feature_map),
    }
    wrong = {name: np.zeros(len(sizes)) for name in (*contestants, MAJORITY_VOTE)}
    for _ in track(range(_SPLITS), "Growing the training set"):
        order = generator.permutation(len(x))
        at, rest = order[:tests], order[tests:]
        for i, n in enumerate(sizes):
            for name, rule in contestants.items():
                wrong[name][i] += float((rule.fit(x[rest[:n]], y[rest[:n]]).predict(x[at]) != y[at]).mean())
            classes, counts = np.unique(y[rest[:n]], return_counts=True)
            wrong[MAJORITY_VOTE][i] += float((classes[counts.argmax()] != y[at]).mean())
    errors = {name: (values / _SPLITS).tolist() for name, values in wrong.items()}
    title = f"Errors on rows that were left out: {100 * errors[_OURS][-1]:.1f}% with {sizes[-1]:,} training rows"
    return figures.curves_figure(ErrorCurves(sizes, errors, math.nan, math.nan), title, _OURS, best_known=False)


def _map(x: ndarray, y: ndarray, features: Features) -> Figure:
    """The plane of two features as they are in the table; of more the first two principal components."""
    inputs = list(features.numbers)
    if x.shape[1] == 2 and len(inputs) == 2:
        plane, names = x * features.scale + features.mean, (inputs[0], inputs[1])
        title = "Decisions, and how sure they are"
    elif x.shape[1] == 1:
        plane, names = np.hstack([x, np.zeros_like(x)]), ("the only input, standardised", "")
        title = "Decisions, and how sure they are"
    else:
        centred = x - x.mean(0)
        *_, directions = np.linalg.svd(centred, full_matrices=False)
        plane = centred @ directions[:2].T
        held = 100 * np.square(plane).sum() / np.square(centred).sum()
        names = ("first principal component", "second principal component")
        title = f"Decisions of a network that sees two principal components ({held:.0f}% of the variance)"
    model = SingularKernelClassifier(2.0).fit(plane, y)
    return figures.decision_figure(model, plane, y, names, title)


class Placed(TypedDict):
    kind: Annotated[str, Field("what the infinitely deep network is")]
    alpha: Annotated[float, Field("dimension for which it is optimal; 0 is a majority vote, infinite the nearest")]
    verdict: Annotated[str, Field("the same in words")]
    moments: Annotated[Table, Field("A, A', B' and the class of all well-known activations")]
    chart: Annotated[Figure, Field("where activations lie")]
    depth: Annotated[Figure, Field("its tangent kernel at growing depth")]


_FATES: dict[Kind, str] = {
    "singular kernel": "The {} grows a singularity with depth",
    "nearest neighbour": "The {} leaves only the nearest inputs with depth",
    "majority vote": "The {} makes all inputs alike with depth",
    "flat": "The {} becomes flat with depth",
    "linear": "The {} stays linear at any depth",
}


def activation(
    *,
    name: Annotated[ActivationName, Field("a well-known activation")] = "gelu",
    centred: Annotated[bool, Field("take its Gaussian mean away, as deep networks need")] = True,
) -> Placed:
    """Say what an infinitely wide and deep network with an activation is.

    Three Gaussian moments decide: the nearest neighbour, the majority vote, or a singular kernel that is optimal for
    data of one dimension.
    """
    phi = named_activation(name, centred)
    dual = dual_of(phi)
    found = taxonomy_of(dual)
    called = f"{name} − mean" if centred and taxonomies()[name][0].A > 0 else name
    eps = np.geomspace(0.9, 1e-8, 400)
    depths = (1, 2, 4, 6, 8) if found.kind == "nearest neighbour" else (1, 3, 10, 30, 100, 1000)
    profiles = {f"depth {depth}": log_deep_ntk(dual, eps, 1 - eps, depth) for depth in depths}
    limit = Koenigs(dual).log(eps) if found.kind == "singular kernel" else None
    place = f"Three moments decide what an infinitely deep network is: {called}, a {found.kind}"
    fate = _FATES[found.kind].format(f"tangent kernel of {called}")
    return {
        "kind": found.kind,
        "alpha": found.alpha,
        "verdict": str(found),
        "moments": _moments(),
        "chart": figures.taxonomy_figure(taxonomies(), found, place),
        "depth": figures.depth_figure(profiles, eps, limit, fate),
    }


def _moments() -> Table:
    rows = [
        {
            "activation": name,
            "centred": one is centred,
            "A": one.A,
            "A_prime": one.A_prime,
            "B_prime": one.B_prime,
            "kind": one.kind,
            "alpha": one.alpha,
        }
        for name, (raw, centred) in taxonomies().items()
        for one in (raw, centred)
    ]
    return Table(polars.DataFrame(rows))


class Experiment(TypedDict):
    errors: Annotated[Table, Field("error of every rule at every number of training points")]
    picture: Annotated[Figure, Field("the same as curves, beside the best possible error")]
    excess: Annotated[float, Field("error of the optimal network above the best possible, at the largest number")]


def consistency(
    *,
    problem: Annotated[
        Literal["cap", "half-space"],
        Field("where labels change: at a small cap (needs a local rule) or at a half-space (a smooth one does too)"),
    ] = "cap",
    dimension: Annotated[int, Field("of the data", ge=1, le=8)] = 2,
    most: Annotated[int, Field("largest number of training points", ge=100, le=1_000_000)] = 20_000,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Experiment:
    """Watch networks of all classes learn a problem whose best possible error is known.

    Labels are noisy, so that no rule can be right always. The network whose exponent is the dimension tends to the
    best possible error, slowly: the excess falls like one over the logarithm of the number of points.
    """
    sizes = tuple(sorted({max(20, round(most * 2.0 ** (-1.5 * step))) for step in range(6)}))
    ours = f"alpha = {dimension:g}"
    contestants = rules((dimension / 2, float(dimension), 2.0 * dimension))
    curves = error_curves(Problem.named(problem, dimension), sizes, contestants, seed=seed)
    excess = curves.errors[ours][-1] - curves.best
    title = f"α = d = {dimension} is {100 * excess:.1f} points above the best possible error at n = {most:,}"
    frame = polars.DataFrame({"n": curves.sizes, **curves.errors, "Bayes": [curves.best] * len(sizes)})
    return {
        "errors": Table(frame),
        "picture": figures.curves_figure(curves, title, ours),
        "excess": excess,
    }


JOBS = (classify, activation, consistency)
