"""What a probe predicts: one class of several, several labels at once, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from harmonia.core.errors import InputError
from harmonia.parts.probing.scores import R2, Gain, Metric, RocAuc

Goal = Literal["auto", "multiclass", "multilabel", "regression"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a probe, read once.

    Attributes:
        goal: ``multiclass``, ``multilabel`` or ``regression``.
        values: Class numbers ``[items]``, a matrix of booleans ``[items, labels]``, or numbers ``[items, outputs]``.
        coded: What least squares fits, ``[items, k]``: +1 and -1 for classes and labels, else the numbers.
        classes: Names of the classes; empty for the others.
    """

    goal: Literal["multiclass", "multilabel", "regression"]
    values: Any
    coded: Float64[ndarray, "items k"]
    classes: ndarray

    @classmethod
    def of(cls, y: ArrayLike, goal: Goal = "auto") -> Targets:
        """Read targets; ``auto`` takes floats for numbers, a matrix of 0 and 1 for labels, and the rest for classes.

        Raises:
            InputError: values that are missing or not finite, one class only, or a shape that does not fit the goal.

        Example:
            >>> Targets.of(["piano", "flute", "piano"]).values
            array([1, 0, 1])
        """
        array = np.asarray(y)
        if array.ndim not in (1, 2) or not array.size:
            raise InputError("targets are one row for each item", array.shape, "Pass [items] or [items, k].")
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
            raise InputError("targets hold values that are not finite", f"row {rows[0]}", "Drop such rows.")
        found = _goal_of(array) if goal == "auto" else goal
        if found == "regression":
            numbers = _numbers(array)
            return cls("regression", numbers, numbers, np.zeros(0))
        if found == "multilabel":
            numbers = _numbers(array)
            if not np.isin(numbers, (0, 1)).all():
                raise InputError("labels are a matrix of 0 and 1", "other values", "Pass an indicator matrix.")
            return cls("multilabel", numbers.astype(bool), 2 * numbers - 1, np.zeros(0))
        if array.ndim != 1:
            raise InputError("classes are one a row", array.shape, "Pass a vector, or goal='multilabel'.")
        classes, codes = np.unique(array, return_inverse=True)
        if len(classes) < 2:
            raise InputError("there is one class only", str(classes[0]), "Pass items of at least two classes.")
        coded = np.where(codes[:, None] == np.arange(len(classes)), 1.0, -1.0)
        return cls("multiclass", codes, coded, classes)

    @property
    def metric(self) -> Metric:
        """The usual score: accuracy, ROC area, or R2."""
        usual: dict[str, Metric] = {"multiclass": Gain(), "multilabel": RocAuc(), "regression": R2()}
        return usual[self.goal]

    def shuffled(self, order: ndarray) -> Targets:
        """The same targets in another order: the control task, in which nothing can be known of an item."""
        return Targets(self.goal, self.values[order], self.coded[order], self.classes)

    def __len__(self) -> int:
        return len(self.coded)


def _goal_of(array: ndarray) -> Literal["multiclass", "multilabel", "regression"]:
    if array.ndim == 2:
        return "multilabel" if array.dtype.kind in "biu" and np.isin(array, (0, 1)).all() else "regression"
    return "regression" if array.dtype.kind == "f" else "multiclass"


def _numbers(array: ndarray) -> Float64[ndarray, "items k"]:
    if array.dtype.kind not in "biuf":
        raise InputError("these targets are numbers", array.dtype, "Pass numbers, or goal='multiclass'.")
    return (array[:, None] if array.ndim == 1 else array).astype(np.float64)
