"""Ridge regression on every fold, every penalty and every target from sums over the folds.

With standardised features ``Z`` and centred targets ``Y`` of the items that are not held out,

    W(a) = (Z^T Z + n a I)^-1 Z^T Y = V diag(1 / (s^2 + n a)) V^T Z^T Y,    Z^T Z = V diag(s^2) V^T.

One eigendecomposition serves all penalties a and all targets. ``Z^T Z`` of any set of folds is the sum of those folds'
moments, so that nested cross-validation reads the features once. Where there are fewer items than features the
decomposition is that of ``Z Z^T``, and the same formula holds for its eigenvectors ``V = Z^T Q / s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray

ALPHAS: tuple[float, ...] = tuple(10.0**power for power in range(-5, 3))
"""Penalties a, per item and on standardised features; half of a feature's weight is lost at a = 1."""


@dataclass(frozen=True)
class Standard:
    """Mean and scale of features; those that do not vary are left as they are."""

    mean: Float64[ndarray, " d"]
    scale: Float64[ndarray, " d"]

    def __call__(self, features: Float[ndarray, "items d"]) -> Float64[ndarray, "items d"]:
        """The features with zero mean and unit variance."""
        return (features - self.mean) / self.scale


@dataclass(frozen=True)
class Spectrum:
    """The standardised features of some items in the basis of their principal axes.

    Attributes:
        standard: How features were standardised.
        axes: V.
        energy: s^2, of the axes.
        aimed: V^T Z^T Y.
        centre: Mean of the targets.
        items: n.
    """

    standard: Standard
    axes: Float64[ndarray, "d r"]
    energy: Float64[ndarray, " r"]
    aimed: Float64[ndarray, "r k"]
    centre: Float64[ndarray, " k"]
    items: int

    def weights(self, alphas: Sequence[float]) -> Float64[ndarray, "alphas d k"]:
        """W for each penalty."""
        return self.axes @ self._shrunk(alphas)

    def predict(
        self, features: Float[ndarray, "items d"], alphas: Sequence[float]
    ) -> Float64[ndarray, "alphas items k"]:
        """Predictions for each penalty; of few items they are cheaper by way of the axes."""
        z, shrunk = self.standard(features), self._shrunk(alphas)
        if len(z) < len(alphas) * shrunk.shape[2]:
            return (z @ self.axes) @ shrunk + self.centre
        return z @ (self.axes @ shrunk) + self.centre

    def _shrunk(self, alphas: Sequence[float]) -> Float64[ndarray, "alphas r k"]:
        """The weights in the basis of the axes."""
        return self.aimed / (self.energy[:, None] + self.items * np.asarray(alphas)[:, None, None])


class FoldMoments:
    """Features of one layer with the moments of each fold; gives the `Spectrum` without any of the folds.

    Arguments:
        features: Of all items.
        coded: Targets of all items, `Targets.coded`.
        fold: Number of each item's fold; items below zero are in no training set.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(60, 4))
        >>> coded = features @ rng.normal(size=(4, 2))
        >>> moments = FoldMoments(features, coded, np.arange(60) % 3)
        >>> bool(np.abs(moments.without(0).predict(features[:1], [1e-9])[0] - coded[:1]).max() < 1e-6)
        True
    """

    def __init__(
        self, features: Float[ndarray, "items d"], coded: Float64[ndarray, "items k"], fold: Int64[ndarray, " items"]
    ) -> None:
        self.features, self.coded, self.fold = features, coded, fold
        self._shift = np.asarray(features[fold >= 0][:1000].mean(0), dtype=np.float64)
        self._known: dict[frozenset[int], Spectrum] = {}
        self._sums: dict[int, tuple[int, ndarray, ndarray, ndarray, ndarray]] = {}

    def without(self, *held_out: int) -> Spectrum:
        """The spectrum of all items outside of the folds `held_out`."""
        key = frozenset(held_out)
        if key not in self._known:
            kept = (self.fold >= 0) & ~np.isin(self.fold, held_out)
            wide = kept.sum() <= self.features.shape[1]
            self._known[key] = self._from_rows(kept) if wide else self._from_moments(key)
        return self._known[key]

    def _from_rows(self, kept: ndarray) -> Spectrum:
        features = self.features[kept].astype(np.float64)
        centre = self.coded[kept].mean(0)
        mean, deviation = features.mean(0), features.std(0)
        standard = Standard(mean, _positive(deviation, mean))
        z = standard(features)
        energy, q = np.linalg.eigh(z @ z.T)
        some = energy > 1e-12 * max(energy[-1], 1e-300)
        energy, q = energy[some], q[:, some]
        root = np.sqrt(energy)
        aimed = root[:, None] * (q.T @ self.coded[kept])
        return Spectrum(standard, z.T @ q / root, energy, aimed, centre, len(z))

    def _from_moments(self, held_out: frozenset[int]) -> Spectrum:
        folds = [number for number in np.unique(self.fold[self.fold >= 0]).tolist() if number not in held_out]
        count, x, y, xx, xy = (sum(terms) for terms in zip(*(self._fold(number) for number in folds), strict=True))
        assert isinstance(count, int)
        mean, centre = np.asarray(x / count), np.asarray(y / count)
        covariance = xx - count * np.outer(mean, mean)
        standard = Standard(
            mean + self._shift, _positive(np.sqrt(np.maximum(np.diag(covariance), 0) / count), mean + self._shift)
        )
        gram = covariance / np.outer(standard.scale, standard.scale)
        energy, axes = np.linalg.eigh(gram)
        aimed = axes.T @ ((xy - count * np.outer(mean, centre)) / standard.scale[:, None])
        return Spectrum(standard, axes, np.maximum(energy, 0), aimed, centre, count)

    def _fold(self, number: int) -> tuple[int, ndarray, ndarray, ndarray, ndarray]:
        """Number of items, and sums of x, y, x x^T, x y^T; x about a common shift, which keeps the digits."""
        if number not in self._sums:
            inside = self.fold == number
            x, y = self.features[inside] - self._shift, self.coded[inside]
            self._sums[number] = (int(inside.sum()), x.sum(0), y.sum(0), x.T @ x, x.T @ y)
        return self._sums[number]


def _positive(deviation: ndarray, mean: ndarray) -> ndarray:
    return np.where(deviation > 1e-7 * np.maximum(1e-300, np.abs(mean)), deviation, 1.0)
