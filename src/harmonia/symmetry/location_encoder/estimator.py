"""What the estimators of location share: their parameters, training, maps and files."""

from __future__ import annotations

import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint
from harmonia.symmetry.location_encoder.encoder import PROCESS, LocationEncoder
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import WorldMap
from harmonia.symmetry.location_encoder.points import CoordinateOrder, Points, check_points, checked_by
from harmonia.symmetry.location_encoder.training import History, Labelled, Loss, Plan, fit_network
from harmonia.symmetry.location_encoder.uncertainty import SphereProcess


class LocationEstimator(BaseEstimator, ABC):
    """What classification, regression and presence-only learning share."""

    def __init__(
        self,
        encoding: str = "sh",
        network: str = "siren",
        *,
        degree: int = 10,
        hidden: int = 64,
        layers: int = 2,
        num_scales: int = 16,
        min_radius: float = 10.0,
        max_radius: float = 360.0,
        learning_rate: float = 5e-4,
        weight_decay: float = 1e-3,
        batch_size: int = 500,
        max_epochs: int = 500,
        patience: int = 30,
        weight_average: float = 0.99,
        val_fraction: float = 0.2,
        coordinate_order: CoordinateOrder = "lonlat",
        random_state: int | None = 0,
    ) -> None:
        self.encoding = encoding
        self.network = network
        self.degree = degree
        self.hidden = hidden
        self.layers = layers
        self.num_scales = num_scales
        self.min_radius = min_radius
        self.max_radius = max_radius
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.weight_average = weight_average
        self.val_fraction = val_fraction
        self.coordinate_order = coordinate_order
        self.random_state = random_state

    encoder_: LocationEncoder
    history_: History
    processes_: list[SphereProcess]

    def predict_map(self, resolution: float = 1.0, **which: Any) -> WorldMap:
        """Predictions on a regular grid of the whole Earth.

        Arguments:
            resolution: Width of a cell in degrees.
            which: What to map, see the class; the prediction unless given.
        """
        check_is_fitted(self)
        grid = Grid.of(resolution)
        return self._map(grid, self.encoder_.on_grid(grid), **which)

    def checkpoint(self) -> Checkpoint:
        """The fitted model, to be written as ``.safetensors`` and read by `load_model`."""
        check_is_fitted(self)
        numbers = [(process.signal, process.noise) for process in self.processes_]
        made = self.encoder_.checkpoint(
            estimator=type(self).__name__,
            parameters=json.dumps(self.get_params()),
            learnt=json.dumps({**self.learnt(), "processes": numbers}),
        )
        covariances = {
            f"{PROCESS}{i}": torch.from_numpy(process.covariance.astype(np.float32))
            for i, process in enumerate(self.processes_)
        }
        return Checkpoint({**made.tensors, **covariances}, made.metadata)

    def _ignorance(self, grid: Grid) -> NDArray[np.float64]:
        """What the points leave unknown, at every cell; nothing for a model that kept no process."""
        if not self.processes_:
            return np.zeros((grid.rows, grid.columns))
        return self.processes_[0].ignorance(grid.points()).reshape(grid.rows, grid.columns)

    @abstractmethod
    def _map(self, grid: Grid, outputs: Tensor, **which: Any) -> WorldMap: ...

    @abstractmethod
    def learnt(self) -> dict[str, Any]:
        """What `fit` found besides the network, as plain values for a file."""

    @abstractmethod
    def restore(self, learnt: dict[str, Any]) -> None:
        """Take back what `learnt` gave."""

    def _outputs(self, X: ArrayLike) -> Tensor:
        check_is_fitted(self)
        return self.encoder_.encode(torch.from_numpy(checked_by(self, X, self.coordinate_order))).to(torch.float64)

    def _validation(
        self, X: ArrayLike | None, y: ArrayLike | None, targets: Callable[[ArrayLike, int], Tensor]
    ) -> tuple[Points, Tensor] | None:
        """Validation points that the user gave."""
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise InputError("validation points come with their targets", "one without the other", "Give both.")
        points = check_points(X, self.coordinate_order)
        return points, targets(y, len(points))

    def _fit(
        self,
        points: Points,
        targets: Tensor,
        weights: NDArray[np.float64],
        held_out: tuple[Points, Tensor] | None,
        outputs: int,
        loss: Loss,
        background: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Split off the validation points, unless given, and train."""
        self._check_training()
        given = self.random_state
        self.seed_ = given if isinstance(given, int) else int(check_random_state(given).randint(2**31))
        self.encoder_ = LocationEncoder(
            self.encoding,
            self.network,
            outputs=outputs,
            degree=self.degree,
            hidden=self.hidden,
            layers=self.layers,
            num_scales=self.num_scales,
            min_radius=self.min_radius,
            max_radius=self.max_radius,
            seed=self.seed_,
        )
        learning = Labelled(torch.from_numpy(points), targets, torch.from_numpy(weights).to(torch.float32))
        validation: Labelled | None = None
        if held_out is not None:
            lonlat, labels = held_out
            validation = Labelled(torch.from_numpy(lonlat), labels, torch.ones(len(lonlat)))
        elif self.val_fraction > 0 and len(points) >= 10:
            order = torch.from_numpy(np.random.default_rng(self.seed_).permutation(len(points)))
            cut = max(1, round(self.val_fraction * len(points)))
            learning, validation = learning.rows(order[cut:]), learning.rows(order[:cut])
        features = self.encoder_.network.first.in_features
        if self.network == "linear" and features > 2 * len(learning):
            warnings.warn(
                f"{features} coefficients from {len(learning)} points: the linear map will overfit. "
                "Use a smaller degree, or network='siren'.",
                stacklevel=3,
            )
        plan = Plan(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            weight_average=self.weight_average,
            seed=self.seed_,
        )
        self.history_ = fit_network(self.encoder_, learning, validation, loss, plan=plan, background=background)
        self.validation_ = validation

    def _check_training(self) -> None:
        limits = {
            "learning_rate": (0.0, math.inf),
            "weight_decay": (-1e-300, math.inf),
            "batch_size": (0, math.inf),
            "max_epochs": (0, math.inf),
            "patience": (-1, math.inf),
            "weight_average": (-1e-300, 1.0),
            "val_fraction": (-1e-300, 1.0),
        }
        for name, (above, below) in limits.items():
            value = getattr(self, name)
            if not above < value < below:
                raise InputError(f"'{name}' is out of range", value, "See the class for its meaning and default.")
