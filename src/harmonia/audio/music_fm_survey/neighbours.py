"""Probes without training: nearest neighbours, nearest class means, and few-shot episodes of an embedding space."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.parts.probing import Interval, Metric, Probed, Targets, bootstrap_interval, check_features, fold_numbers

NEIGHBOURS = 5


def probe_neighbours(
    features: Float[ndarray, "items *layers d"],
    targets: Targets,
    *,
    test: ndarray | None = None,
    groups: ndarray | None = None,
    metric: Metric | None = None,
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> Probed:
    """As `harmonia.parts.probing.probe_layers`, by the mean target of the five nearest training clips (cosine).

    Neighbours come from other folds, hence from other groups. The layer is the one that does best on the training
    clips when each is predicted from the other folds.
    """
    layers, score = check_features(features), metric or targets.metric
    train = np.ones(len(targets), dtype=bool) if test is None else ~test
    fold = np.full(len(targets), -1)
    part = Targets(targets.goal, targets.values[train], targets.coded[train], targets.classes)
    fold[train] = fold_numbers(part, folds, None if groups is None else groups[train], seed=seed)
    guesses = np.stack([_neighbours(layers[:, each], targets.coded, fold) for each in range(layers.shape[1])])
    predicted = np.empty_like(targets.coded)
    chosen = np.zeros(layers.shape[1], dtype=np.int64)
    for left_out in range(folds) if test is None else [-1]:
        seen, where = (fold >= 0) & (fold != left_out), fold == left_out
        ones = np.ones((1, int(seen.sum())))
        scores = [np.nanmean(score(targets.values[seen], guess[seen], ones)) for guess in guesses]
        best = int(np.argmax(scores))
        chosen[best] += 1
        predicted[where] = guesses[best, where]
    items = np.arange(len(targets)) if test is None else np.flatnonzero(test)
    together = None if groups is None else groups[items]

    def interval(guess: ndarray) -> Interval:
        truth = targets.values[items]
        return bootstrap_interval(score, truth, guess[items], groups=together, resamples=resamples, seed=seed)

    curve = tuple(interval(guess) for guess in guesses)
    best = int(chosen.argmax())
    return Probed(score, interval(predicted), curve, best, chosen, predicted[items], items, targets, together)


def _neighbours(features: ndarray, coded: ndarray, fold: ndarray) -> Float64[ndarray, "items k"]:
    """Mean target of the nearest training items of other folds."""
    unit = standardised(features, fold >= 0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    out = np.empty_like(coded)
    for number in np.unique(fold):
        pool = np.flatnonzero((fold >= 0) & (fold != number))
        near = np.argsort(-unit[fold == number] @ unit[pool].T, axis=1, kind="stable")[:, :NEIGHBOURS]
        out[fold == number] = coded[pool][near].mean(1)
    return out


def standardised(features: Float[ndarray, "items d"], train: ndarray) -> Float64[ndarray, "items d"]:
    """Features with mean and deviation of the training items taken off."""
    rows = features.astype(np.float64)
    deviation = rows[train].std(0)
    return (rows - rows[train].mean(0)) / np.where(deviation > 1e-12, deviation, 1.0)


def few_shot(
    features: Float[ndarray, "items d"],
    targets: Targets,
    shots: int = 5,
    *,
    ways: int = 5,
    episodes: int = 600,
    rule: Literal["prototype", "knn"] = "prototype",
    groups: ndarray | None = None,
    seed: int = 0,
) -> Interval:
    """Accuracy of `ways`-way `shots`-shot episodes with its 95 % interval: how much an embedding learns in context.

    In an episode some classes are drawn, `shots` examples of each are shown, and one other clip of each class is
    assigned to the nearest class mean (prototype), or to the class of its nearest example (knn).

    Arguments:
        features: Embeddings.
        targets: Classes.
        shots: Examples of each class.
        ways: Classes in an episode.
        episodes: How many.
        rule: How a clip is assigned.
        groups: The clip that is asked for is of another group than the examples.
        seed: Of the draws.

    Raises:
        InputError: targets that are no classes, or too few clips of them.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> classes = np.arange(60) % 6
        >>> embedding = np.eye(6)[classes] + 0.05 * rng.normal(size=(60, 6))
        >>> few_shot(embedding, Targets.of(classes), shots=1).score
        1.0
    """
    if targets.goal != "multiclass" or shots < 1 or episodes < 2:
        got = f"{targets.goal}, {shots} shots, {episodes} episodes"
        raise InputError("few-shot episodes need classes, shots and episodes", got, "Pass classes.")
    members = [np.flatnonzero(targets.values == each) for each in range(len(targets.classes))]
    ways = min(ways, len(members))
    if min(len(each) for each in members) <= shots:
        raise InputError("a class has too few clips", f"{shots} shots and one to ask for", "Use fewer shots.")
    rng, unit = np.random.default_rng(seed), standardised(features, np.ones(len(features), dtype=bool))
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    hits = np.empty((episodes, ways))
    for episode in range(episodes):
        classes = rng.choice(len(members), ways, replace=False)
        asked, shown = zip(*(_draw(rng, members[each], shots, groups) for each in classes))
        examples = unit[np.array(shown)]
        likeness = np.einsum("qd,wsd->qws", unit[np.array(asked)], examples)
        nearest = likeness.mean(2) if rule == "prototype" else likeness.max(2)
        hits[episode] = nearest.argmax(1) == np.arange(ways)
    each = hits.mean(1)
    half = 1.96 * each.std(ddof=1) / np.sqrt(episodes)
    return Interval(float(each.mean()), float(max(0, each.mean() - half)), float(min(1, each.mean() + half)))


def _draw(rng: np.random.Generator, members: ndarray, shots: int, groups: ndarray | None) -> tuple[int, ndarray]:
    """The clip that is asked for, and examples of its class from other groups."""
    asked = int(rng.choice(members))
    others = members[members != asked] if groups is None else members[groups[members] != groups[asked]]
    if len(others) < shots:
        raise InputError("a class has too few clips of other groups", len(others), "Use fewer shots or no groups.")
    return asked, rng.choice(others, shots, replace=False)
