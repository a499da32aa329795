"""Parts of the data that are held out in turn, without ever splitting what belongs together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.parts.probing.targets import Targets


def fold_numbers(
    targets: Targets, folds: int, groups: ndarray | None = None, *, seed: int = 0
) -> Int64[ndarray, " items"]:
    """A fold for each item: classes spread evenly, or whole groups (songs, artists) together.

    Arguments:
        targets: Of the items.
        folds: How many folds.
        groups: What belongs together; items of one group share a fold.
        seed: Of the shuffling.

    Raises:
        InputError: fewer items or groups than folds, or a class whose items all fall into one fold.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        numbers = group_folds(groups, folds, seed=seed)
    else:
        if len(targets) < folds or folds < 2:
            raise InputError("there are fewer items than folds", f"{len(targets)} items, {folds} folds", "Use fewer.")
        shuffled = rng.permutation(len(targets))
        if targets.goal == "multiclass":
            shuffled = shuffled[np.argsort(targets.values[shuffled], kind="stable")]
        numbers = np.empty(len(targets), dtype=np.int64)
        numbers[shuffled] = np.arange(len(targets)) % folds
    if targets.goal == "multiclass":
        for number, name in enumerate(targets.classes):
            if len(np.unique(numbers[targets.values == number])) < 2:
                got = f"'{name}', {int((targets.values == number).sum())} items"
                raise InputError("a class lies in one fold only", got, "Drop it, or pass more items or groups of it.")
    return numbers


def group_folds(groups: ndarray, folds: int, *, seed: int = 0) -> Int64[ndarray, " items"]:
    """A fold for each item, groups undivided and the folds of nearly equal size: large groups go first.

    Example:
        >>> group_folds(np.array(["a", "a", "b", "c"]), 2).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
        True
    """
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < folds or folds < 2:
        raise InputError("there are fewer groups than folds", f"{len(names)} groups, {folds} folds", "Use fewer folds.")
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, of_group = np.zeros(folds, dtype=np.int64), np.empty(len(names), dtype=np.int64)
    for group in order:
        of_group[group] = filled.argmin()
        filled[of_group[group]] += sizes[group]
    return of_group[member]
