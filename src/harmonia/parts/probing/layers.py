"""What every layer of a frozen network knows of a task: nested cross-validation, intervals, a control task.

Layer and penalty are chosen on folds that the score never sees, so the score of the chosen layer is honest; the curve
over layers shows what each would give.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.parts.probing.folds import fold_numbers
from harmonia.parts.probing.logistic import logistic_predictions
from harmonia.parts.probing.resampling import Interval, bootstrap_interval
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments
from harmonia.parts.probing.scores import Metric, macro
from harmonia.parts.probing.targets import Goal, Targets

Probe = Literal["ridge", "logistic"]
_TEST = -1


@dataclass(frozen=True, eq=False)
class Probed:
    """The outcome of `probe_layers`.

    Attributes:
        metric: Name of the score.
        score: Of the layer that was chosen without seeing what is scored, with its interval.
        curve: The same of every layer on its own.
        layer: The layer that was chosen most often.
        chosen: How often each layer was chosen.
        predicted: Predictions of the scored items, by the chosen layers.
        items: Numbers of the scored items: all of them, or those of the test set.
        targets: Of all items.
        groups: Of the scored items.
    """

    metric: Metric
    score: Interval
    curve: tuple[Interval, ...]
    layer: int
    chosen: Int64[ndarray, " layers"]
    predicted: Float64[ndarray, "scored k"]
    items: Int64[ndarray, " scored"]
    targets: Targets
    groups: ndarray | None


def probe_layers(
    features: Float[ndarray, "items *layers d"],
    targets: ArrayLike | Targets,
    *,
    goal: Goal = "auto",
    test: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    probe: Probe = "ridge",
    metric: Metric | None = None,
    alphas: Sequence[float] = ALPHAS,
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> Probed:
    """Probe each layer, and the best one, chosen by nested cross-validation.

    Arguments:
        features: ``[items, layers, d]``, or ``[items, d]`` of a single layer. May be a memory map in half precision.
        targets: Of the items; see `Targets.of`.
        goal: What the targets are.
        test: Which items are the test set, as booleans. Without it every item is scored when its fold is held out.
        groups: What belongs together (a song, an artist): never split between training and test.
        probe: ``ridge`` (closed form) or ``logistic``.
        metric: The score; the usual one of the goal unless given.
        alphas: Penalties to choose from.
        folds: Of the cross-validation, outer and inner.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.

    Raises:
        InputError: features that are not finite (the rows are named), targets of another length, a group on both
            sides of the test set, or too few items.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(90, 3, 5))
        >>> found = probe_layers(features, (features[:, 1, 0] > 0).astype(int))
        >>> found.layer, found.score.score > 0.85, len(found.curve)
        (1, True, 3)
    """
    layers = check_features(features)
    known = targets if isinstance(targets, Targets) else Targets.of(targets, goal)
    if len(known) != len(layers):
        raise InputError("there is one target for each item", f"{len(known)} and {len(layers)}", "Align them.")
    if probe == "logistic" and known.goal == "regression":
        raise InputError("a logistic probe predicts classes or labels", "numbers", "Use probe='ridge'.")
    belongs = None if groups is None else np.asarray(groups)
    held_out = np.zeros(len(layers), dtype=bool) if test is None else np.asarray(test, dtype=bool)
    if folds < (2 if held_out.any() else 3):
        raise InputError("nested cross-validation needs three folds", folds, "Use 3 or more.")
    fold = _folds(known, held_out, belongs, folds, seed)
    score = metric or known.metric
    rounds = [_TEST] if held_out.any() else list(range(folds))

    inner = np.empty((layers.shape[1], len(rounds), len(alphas)))
    outer = np.empty((layers.shape[1], len(layers), known.coded.shape[1]))
    for layer in track(range(layers.shape[1]), "Probing layers"):
        moments = FoldMoments(np.ascontiguousarray(layers[:, layer], dtype=np.float64), known.coded, fold)
        for number, left_out in enumerate(rounds):
            inner[layer, number] = inner_scores(moments, left_out, known, score, probe, alphas)
            best = [alphas[int(inner[layer, number].argmax())]]
            where = fold == left_out
            outer[layer, where] = _predict(moments, (left_out,), where, known, probe, best)[0]

    scored = np.flatnonzero(held_out) if held_out.any() else np.arange(len(layers))
    best_layer = inner.max(2).argmax(0)
    of_item = best_layer[np.searchsorted(rounds, fold[scored])]
    predicted = outer[of_item, scored]
    truth, together = known.values[scored], None if belongs is None else belongs[scored]

    def interval(guesses: ndarray) -> Interval:
        return bootstrap_interval(score, truth, guesses, groups=together, resamples=resamples, seed=seed)

    chosen = np.bincount(best_layer, minlength=layers.shape[1])
    curve = tuple(interval(outer[layer, scored]) for layer in range(layers.shape[1]))
    return Probed(score, interval(predicted), curve, int(chosen.argmax()), chosen, predicted, scored, known, together)


def check_features(features: Float[ndarray, "items *layers d"]) -> Float[ndarray, "items layers d"]:
    """Features as ``[items, layers, d]``.

    Raises:
        InputError: another number of axes, nothing, or rows that are not finite.
    """
    if features.ndim not in (2, 3) or not features.size:
        raise InputError("features are [items, layers, d] or [items, d]", features.shape, "Reshape them.")
    layers = features[:, None] if features.ndim == 2 else features
    bad = [row for row in range(len(layers)) if not np.isfinite(layers[row]).all()]
    if bad:
        got = ", ".join(map(str, bad[:5])) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        raise InputError("features hold values that are not finite", f"rows {got}", "Drop or mend these items.")
    return layers


def _folds(targets: Targets, test: ndarray, groups: ndarray | None, folds: int, seed: int) -> ndarray:
    """The fold of each item, `_TEST` for the test set."""
    if len(test) != len(targets) or test.all():
        raise InputError("the test set leaves items to learn from", f"{test.sum()} of {len(targets)}", "Mend `test`.")
    if groups is not None and test.any():
        both = np.intersect1d(groups[test], groups[~test])
        if len(both):
            raise InputError("a group is in training and test", str(both[0]), "Move all of a song to one side.")
    train = np.flatnonzero(~test)
    part = Targets(targets.goal, targets.values[train], targets.coded[train], targets.classes)
    fold = np.full(len(targets), _TEST, dtype=np.int64)
    fold[train] = fold_numbers(part, folds, None if groups is None else groups[train], seed=seed)
    return fold


def inner_scores(
    moments: FoldMoments, left_out: int, targets: Targets, metric: Metric, probe: Probe, alphas: Sequence[float]
) -> Float64[ndarray, " alphas"]:
    """Mean score of each penalty over the other folds, each predicted without itself and without `left_out`."""
    others = [number for number in np.unique(moments.fold).tolist() if number not in (left_out, _TEST)]
    scores = np.empty((len(others), len(alphas)))
    for row, number in enumerate(others):
        where = moments.fold == number
        weights = np.ones((1, int(where.sum())))
        predicted = _predict(moments, (left_out, number), where, targets, probe, alphas)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a small fold may lack a class; the score itself warns of it
            scores[row] = [macro(metric(targets.values[where], each, weights))[0] for each in predicted]
    return np.nan_to_num(macro(scores.T), nan=-np.inf)


def _predict(
    moments: FoldMoments,
    held_out: tuple[int, ...],
    where: ndarray,
    targets: Targets,
    probe: Probe,
    alphas: Sequence[float],
) -> Float64[ndarray, "alphas items k"]:
    """Predictions of the items `where` by probes that saw none of the folds `held_out`, nor the test set."""
    spectrum = moments.without(*(number for number in held_out if number != _TEST))
    if probe == "ridge":
        return spectrum.predict(moments.features[where], alphas)
    seen = (moments.fold != _TEST) & ~np.isin(moments.fold, held_out)
    train = moments.features[seen], moments.coded[seen]
    return logistic_predictions(spectrum, train, moments.features[where], alphas, targets.goal == "multiclass")
