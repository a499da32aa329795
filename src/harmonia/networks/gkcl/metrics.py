"""Accuracy and forgetting from the matrix of accuracies: row j after learning task j, column i of task i."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harmonia.core.errors import InputError


class ContinualMetrics(NamedTuple):
    """What a learner of a sequence of tasks is judged by; all are fractions."""

    average: float
    """Mean accuracy over all tasks after the last one."""
    forgetting: float
    """Mean over all tasks but the last of the best accuracy there ever was minus the final one; 0 for one task."""
    learning: float
    """Mean accuracy on each task right after it was learnt."""
    backward_transfer: float
    """Mean over all tasks but the last of the final accuracy minus that right after learning; 0 for one task."""


def continual_metrics(accuracies: Any) -> ContinualMetrics:
    """Average accuracy A, forgetting F, learning accuracy and backward transfer (Lopez-Paz & Ranzato 2017; Chaudhry
    et al. 2018).

    Arguments:
        accuracies: Matrix R, ``R[j, i]`` the accuracy on task i after learning task j; what is above the diagonal
            (tasks not learnt yet) is not looked at and may be NaN.

    Raises:
        InputError: not a square matrix of fractions.

    Example:
        >>> continual_metrics([[0.9, np.nan], [0.6, 0.8]])
        ContinualMetrics(average=0.7, forgetting=0.3, learning=0.85, backward_transfer=-0.3)
    """
    matrix = np.asarray(accuracies, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError("accuracies form a square matrix", matrix.shape, "Give a row and a column for each task.")
    learnt = matrix[np.tril_indices(len(matrix))]
    if not ((learnt >= 0) & (learnt <= 1)).all():
        raise InputError(
            "accuracies are fractions", "NaN or another range below the diagonal", "Divide percents by 100."
        )
    final, diagonal = matrix[-1], np.diag(matrix)
    best = np.where(np.tril(np.ones_like(matrix)) > 0, matrix, -np.inf).max(0)
    earlier = slice(0, -1) if len(matrix) > 1 else slice(0, 1)
    figures = (
        final.mean(),
        (best - final)[earlier].mean(),
        diagonal.mean(),
        (final - diagonal)[earlier].mean(),
    )
    return ContinualMetrics(*(round(float(value), 12) for value in figures))
