"""From a table's features to the non-negative part of the unit sphere, where the theory lives, and their dimension."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.spatial import KDTree

from harmonia.core.errors import InputError

_TAIL = 0.25
"""Room on either side of the unit interval for values beyond the percentiles."""


class SphereMap:
    """Maps ``(n, d)`` features to ``(n, d + 1)`` unit vectors without negative coordinates, learnt from training data.

    ``x -> (s(x), 1) / |(s(x), 1)|``, one to one, so that distinct points stay distinct and the dimension stays `d`.

    Arguments:
        kind: ``"sphere"``: s maps the 1st to 99th percentile of each feature's distinct values linearly, and what is
            beyond ever more slowly, into [0, 1]; ``"softplus"``: s = log(1 + e^z) of standardised features; ``"raw"``:
            the data are unit vectors without negative coordinates already.

    Example:
        >>> points = SphereMap("sphere").fit(np.array([[0.0], [1.0], [2.0]]))(np.array([[1.0]]))
        >>> points.round(4)
        array([[0.4472, 0.8944]])
    """

    def __init__(self, kind: str = "sphere") -> None:
        if kind not in ("sphere", "softplus", "raw"):
            raise InputError("no such feature map", repr(kind), "Use 'sphere', 'softplus' or 'raw'.")
        self.kind = kind

    def fit(self, X: Float64[ndarray, "n d"]) -> SphereMap:
        """Learn the scale of each feature; rows that occur repeatedly do not change it."""
        ends, moments = [], []
        for column in X.T:
            values = np.unique(column)
            low, high = np.quantile(values, [0.01, 0.99])
            ends.append((low, high) if high > low else (low, low + 1))
            moments.append((values.mean(), values.std() or 1.0))
        self.low_, self.high_ = np.array(ends).T
        self.mean_, self.scale_ = np.array(moments).T
        return self

    def __call__(self, X: Float64[ndarray, "n d"]) -> Float64[ndarray, "n ambient"]:
        """Unit vectors.

        Raises:
            InputError: raw data with negative coordinates, or off the sphere.
        """
        if self.kind == "raw":
            return _checked(X)
        if self.kind == "softplus":
            scaled = np.logaddexp(0, (X - self.mean_) / self.scale_)
        else:
            z = (X - self.low_) / (self.high_ - self.low_)
            inside = z.clip(0, 1)
            beyond = z - inside
            scaled = (inside + _TAIL * beyond / (_TAIL + np.abs(beyond)) + _TAIL) / (1 + 2 * _TAIL)
        return _unit(np.hstack([scaled, np.ones((len(X), 1))]))


def _checked(X: Float64[ndarray, "n ambient"]) -> Float64[ndarray, "n ambient"]:
    lengths = np.sqrt(np.square(X).sum(1))
    if (X < 0).any() or np.abs(lengths - 1).max() > 1e-6:
        row = int(np.flatnonzero((X < 0).any(1) | (np.abs(lengths - 1) > 1e-6))[0])
        raise InputError(
            "data must be on the non-negative unit sphere",
            f"row {row}: length {lengths[row]:.6g}, smallest coordinate {X[row].min():.6g}",
            "Use feature_map='sphere', which puts them there.",
        )
    return _unit(X)


def _unit(X: Float64[ndarray, "n ambient"]) -> Float64[ndarray, "n ambient"]:
    return X / np.sqrt(np.square(X).sum(1, keepdims=True))


def intrinsic_dimension(points: Float64[ndarray, "n ambient"], neighbours: int = 20) -> float:
    """Dimension of the set that points lie on, from how fast the number of neighbours grows with distance.

    The maximum likelihood estimate of Levina & Bickel (2004), pooled over points as MacKay & Ghahramani (2005) advise:
    ``1/d = mean_ij log(T_k(x_i) / T_j(x_i))``, with the distance ``T_j`` to the j-th neighbour, ``j < k``.

    Arguments:
        points: Repeated ones count once.
        neighbours: k.

    Raises:
        InputError: fewer than three distinct points.

    Example:
        >>> turns = np.random.default_rng(0).uniform(0, 6, 2000)
        >>> round(intrinsic_dimension(np.stack([np.cos(turns), np.sin(turns), turns], 1)), 1)
        1.0
    """
    distinct = np.unique(points, axis=0)
    k = min(neighbours, len(distinct) - 1)
    if k < 2:
        raise InputError(
            "the dimension needs at least three distinct points", len(distinct), "Give the dimension as a number."
        )
    distances = KDTree(distinct).query(distinct, k + 1)[0][:, 1:]
    ratios = np.log(distances[:, -1:] / np.maximum(distances[:, :-1], 1e-300))
    total = float(ratios.sum())
    return (ratios.size - 1) / total if total > 0 else math.inf
