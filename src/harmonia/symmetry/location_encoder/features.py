"""Spherical harmonics as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from harmonia.symmetry.location_encoder.harmonics import Convention, SphericalHarmonics
from harmonia.symmetry.location_encoder.points import CoordinateOrder, checked_by


class SphericalHarmonicsFeatures(TransformerMixin, BaseEstimator):
    """Real spherical harmonics of (longitude, latitude) as features, for scikit-learn pipelines.

    Arguments:
        degree: Number L of degrees; gives L^2 features, see `SphericalHarmonics`.
        convention: Signs of released code.
        coordinate_order: ``lonlat`` or ``latlon``.

    Example:
        >>> SphericalHarmonicsFeatures(degree=2).fit_transform([[0.0, 90.0], [90.0, 0.0]]).round(3)
        array([[0.282, 0.   , 0.489, 0.   ],
               [0.282, 0.489, 0.   , 0.   ]])
    """

    def __init__(
        self, degree: int = 10, *, convention: Convention = "standard", coordinate_order: CoordinateOrder = "lonlat"
    ) -> None:
        self.degree, self.convention, self.coordinate_order = degree, convention, coordinate_order

    def fit(self, X: ArrayLike, y: Any = None) -> SphericalHarmonicsFeatures:
        """Check the points; there is nothing to learn."""
        checked_by(self, X, self.coordinate_order, reset=True)
        self.harmonics_ = SphericalHarmonics(self.degree, self.convention)
        return self

    def transform(self, X: ArrayLike) -> Float[np.ndarray, "points columns"]:
        """The basis at the points, float64."""
        check_is_fitted(self)
        points = checked_by(self, X, self.coordinate_order)
        return np.ascontiguousarray(self.harmonics_(torch.from_numpy(points)).numpy())

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """``Y_0_0``, ``Y_1_-1``, ..."""
        check_is_fitted(self)
        return np.array(self.harmonics_.names(), dtype=object)
