"""What is learnt at the points: check labels, values and weights, and name the rows that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import type_of_target

from harmonia.core.errors import InputError


def check_labels(y: ArrayLike, count: int) -> NDArray[Any]:
    """Labels as an array, or an error that names the rows."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise InputError("there is one label for each point", f"{labels.shape} for {count} points", "Match the rows.")
    missing = np.array([label is None or label != label for label in labels.tolist()])
    check_rows("a label is missing", missing, "Drop the points without a label.")
    if type_of_target(labels) not in ("binary", "multiclass"):
        raise InputError(
            "these labels are not classes", f"{labels[0]!r} and others", "Use LocationRegressor for measurements."
        )
    return labels


def check_values(y: ArrayLike, count: int) -> NDArray[np.float64]:
    """Values as an array ``(n, outputs)``, or an error that names the rows."""
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("the values are not numbers", error, "Use LocationClassifier for classes.") from None
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != count:
        raise InputError("there is one value for each point", f"{values.shape} for {count} points", "Match the rows.")
    check_rows("a value is missing or infinite", ~np.isfinite(values).all(axis=1), "Drop or fill these rows.")
    return values


def check_weights(sample_weight: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Weights of the points, with mean one."""
    if sample_weight is None:
        return np.ones(count)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (count,) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() == 0:
        raise InputError(
            "sample weights are one non-negative number for each point", f"shape {weights.shape}", "Mend them."
        )
    return weights / weights.mean()


def check_rows(what: str, bad: ArrayLike, mend: str) -> None:
    """Refuse and name the rows that are bad."""
    rows = np.flatnonzero(bad)
    if len(rows):
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        raise InputError(what, f"row {rows[0] + 1}{more}", mend)
