"""Rows of a table in the units that a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq.prior import TaskPrior
from harmonia.parts.spread import spread_of, varies


@dataclass(frozen=True)
class Scaling:
    """Which columns a network reads, and what is subtracted and divided by.

    Attributes:
        columns: Columns of the table that are read.
        centre, spread: Of them.
        middle, unit: Of the target; the unit gives it the spread that it has under the prior.
        dim: Inputs of the network; those beyond the columns are zero.
    """

    columns: Int64[ndarray, " used"]
    centre: Float64[ndarray, " used"]
    spread: Float64[ndarray, " used"]
    middle: float
    unit: float
    dim: int

    @classmethod
    def of(
        cls,
        X: Float64[ndarray, "rows inputs"],
        y: Float64[ndarray, " rows"],
        dim: int,
        prior: TaskPrior | None,
        *,
        standardize: bool,
        select: bool,
    ) -> Scaling:
        """Learnt from rows.

        Arguments:
            X, y: Rows.
            dim: Inputs of the network.
            prior: What it was trained on; without, the target gets variance 1.
            standardize: Whether anything is subtracted and divided by.
            select: Whether, of more columns than `dim`, those that correlate most with the target are read.

        Raises:
            InputError: more columns than `dim` where none are to be left out, or numbers too large to be squared.
        """
        columns = np.arange(X.shape[1])
        if len(columns) > dim:
            if not select:
                mend = f"Choose {dim}, reduce them by PCA, or pass excess='select'."
                raise InputError(f"the network reads {dim} inputs", f"{len(columns)} inputs", mend)
            centred, target = X - X.mean(0), y - y.mean()
            length = np.linalg.norm(centred, axis=0)
            strength = np.abs(centred.T @ target) / np.where(varies(X), length, np.inf)
            columns = np.sort(np.argsort(-strength, kind="stable")[:dim])
        used = X[:, columns]
        if not standardize:
            return cls(columns, np.zeros(len(columns)), np.ones(len(columns)), 0.0, 1.0, dim)
        spread, own = spread_of(used), float(spread_of(y))
        unit = own / _spread_of(prior, len(columns)) if varies(y) else 1.0
        return cls(columns, used.mean(0), spread, float(y.mean()), unit, dim)

    def inputs(self, X: Float64[ndarray, "rows inputs"]) -> Float64[Tensor, "rows dim"]:
        """Rows as the network reads them."""
        padded = np.zeros((len(X), self.dim))
        padded[:, : len(self.columns)] = (X[:, self.columns] - self.centre) / self.spread
        return torch.from_numpy(padded)

    def target(self, y: Float64[ndarray, " rows"]) -> Float64[Tensor, " rows"]:
        """Targets as the network reads them."""
        return torch.from_numpy((y - self.middle) / self.unit)


def _spread_of(prior: TaskPrior | None, used: int) -> float:
    """Standard deviation of a target under the prior, at inputs of variance 1."""
    if prior is None:
        return 1.0
    return float((prior.b / (prior.a - 1) * (1 + used / prior.precision) + used * prior.mean**2) ** 0.5)
