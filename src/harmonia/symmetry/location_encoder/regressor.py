"""Maps of numbers, with their uncertainty, learnt from measurements at points."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder.estimator import LocationEstimator
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import WorldMap
from harmonia.symmetry.location_encoder.points import Points, check_points, checked_by
from harmonia.symmetry.location_encoder.targets import check_values, check_weights
from harmonia.symmetry.location_encoder.uncertainty import SphereProcess


class LocationRegressor(RegressorMixin, LocationEstimator):
    """Numbers as a function of longitude and latitude: temperature, elevation, prices, exposure.

    network(encoding(lon, lat)), fitted by least squares on standardised values.

    ``predict(X, return_std=True)`` adds the standard deviation of a Gaussian process on the sphere that saw the same
    values (`SphereProcess`), scaled so that the held-out points have unit standardised error. It grows far from all
    data, where the network is as sure of itself as anywhere.

    Arguments: as `LocationClassifier`.

    Example:
        >>> import numpy as np
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> X = random_points(500)
        >>> y = np.sin(np.deg2rad(X[:, 1]))
        >>> model = LocationRegressor(degree=4, max_epochs=50, learning_rate=5e-3).fit(X, y)
        >>> mean, sd = model.predict([[0.0, 90.0]], return_std=True)
        >>> bool(abs(mean[0] - 1) < 0.2 and sd[0] > 0)
        True
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> LocationRegressor:
        """Learn from points and their values.

        Arguments:
            X: ``(n, 2)`` degrees.
            y: ``(n,)`` or ``(n, outputs)``.
            sample_weight: ``(n,)``.
            X_val, y_val: Points that stop the training, instead of a random part of X.

        Raises:
            InputError: bad points or values, with their rows.
        """
        points = checked_by(self, X, self.coordinate_order, reset=True)
        values = check_values(y, len(points))
        self.mean_, self.scale_ = values.mean(axis=0), values.std(axis=0)
        self.scale_ = np.where(self.scale_ > 0, self.scale_, 1.0)
        self.single_output_ = np.ndim(y) == 1
        weights = check_weights(sample_weight, len(points))
        held_out = self._validation(X_val, y_val, lambda y, n: self._standardised(check_values(y, n)))
        targets = self._standardised(values)
        self._fit(points, targets, weights, held_out, values.shape[1], _squared_error)
        self.processes_ = [SphereProcess.fit(points, column, self.seed_) for column in targets.double().numpy().T]
        self.calibration_ = self._calibration()
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Values at the points; with `return_std` also their standard deviations."""
        means = self._shaped(self._outputs(X).numpy() * self.scale_ + self.mean_)
        if not return_std:
            return means
        return means, self._shaped(self._deviations(check_points(X, self.coordinate_order)))

    def _map(  # type: ignore[override]
        self, grid: Grid, outputs: Tensor, *, of: Literal["value", "sd"] = "value", output: int = 0
    ) -> WorldMap:
        """`of`: the value or its standard deviation; `output`: which of several values."""
        if of == "value":
            return WorldMap(grid, outputs[..., output].numpy() * self.scale_[output] + self.mean_[output], "value")
        if of == "sd":
            deviations = self._deviations(grid.points())[:, output]
            return WorldMap(grid, deviations.reshape(grid.rows, grid.columns), "standard deviation")
        raise InputError("there is no such map", f"'{of}'", "Use 'value' or 'sd'.")

    def _deviations(self, points: Points) -> NDArray[np.float64]:
        """Standard deviations in the unit of the values, ``(n, outputs)``."""
        if not self.processes_:
            raise InputError("this model was stored without its uncertainty", "return_std", "Fit it again.")
        deviations = np.stack([process.deviation(points) for process in self.processes_], axis=1)
        return deviations * self.calibration_ * self.scale_

    def _calibration(self) -> NDArray[np.float64]:
        """Root mean square of standardised errors at the held-out points, for each output."""
        if self.validation_ is None:
            return np.ones(len(self.processes_))
        errors = (self.encoder_.encode(self.validation_.lonlat) - self.validation_.targets).numpy()
        points = self.validation_.lonlat.numpy()
        deviations = np.stack([process.deviation(points) for process in self.processes_], axis=1)
        return np.sqrt(np.mean((errors / deviations) ** 2, axis=0))

    def _standardised(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy((values - self.mean_) / self.scale_).to(torch.float32)

    def _shaped(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[:, 0] if self.single_output_ else values

    def learnt(self) -> dict[str, Any]:
        return {
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
            "calibration": self.calibration_.tolist(),
            "single_output": self.single_output_,
        }

    def restore(self, learnt: dict[str, Any]) -> None:
        self.mean_, self.scale_ = np.array(learnt["mean"]), np.array(learnt["scale"])
        self.calibration_ = np.array(learnt["calibration"])
        self.single_output_ = bool(learnt["single_output"])


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean(1)
