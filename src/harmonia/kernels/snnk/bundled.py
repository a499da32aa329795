"""A whole network as one linear model on deep random features, fitted in closed form, row by row if need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.solving import Solved, solve, solve_sums
from harmonia.parts.gram import ArcCosineFeatures, DenseProjection, Directions
from harmonia.parts.gram.ridge import NormalEquations

_BLOCK = 8192
"""Rows whose features are in memory at once when only sums are kept."""

_IN_MEMORY = 1 << 27
"""Numbers (features of all rows) up to which rows are kept for exact leave-one-out errors: 1 GiB."""


class BundledSNNK(BaseEstimator):
    """Base of `BundledSNNKRegressor` and `BundledSNNKClassifier`."""

    n_features: int | tuple[int, ...]
    depth: int | None
    order: int
    directions: Directions
    bias: bool
    standardize: bool
    alpha: float | str
    solver: str
    random_state: int | np.random.RandomState | None

    n_features_in_: int

    def _start(self, X: ndarray) -> None:
        """Draw the features and learn the scale of inputs."""
        self._check_parameters()
        x = np.asarray(X, dtype=np.float64)
        self.mean_ = x.mean(0) if self.standardize else np.zeros(x.shape[1])
        deviation = x.std(0)
        wide = deviation > 1e-9 * np.maximum(np.abs(self.mean_), 1e-300)
        self.scale_ = np.where(wide, deviation, 1.0) if self.standardize else np.ones(x.shape[1])
        generator = torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        widths = [X.shape[1], *self.widths]
        # One generator in a fixed order: the same seed gives the same features in every precision.
        self.layers_ = [
            ArcCosineFeatures.draw(
                before,
                after,
                generator=generator,
                directions=self.directions,
                offsets=bool(self.bias),
                order=self.order,
            )
            for before, after in pairwise(widths)
        ]

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of every layer."""
        given = tuple(self.n_features) if isinstance(self.n_features, Iterable) else (self.n_features,)
        if not given or not all(isinstance(m, Integral) and m >= 1 for m in given):
            raise InputError("'n_features' are whole numbers of at least 1", repr(self.n_features), "Give e.g. 512.")
        return given * int(self.depth) if self.depth is not None and len(given) == 1 else given

    def _check_parameters(self) -> None:
        if self.depth is not None and not (isinstance(self.depth, Integral) and self.depth >= 1):
            raise InputError("'depth' is a whole number of at least 1, or None", repr(self.depth), "Give e.g. 2.")
        widths = self.widths
        if self.depth is not None and self.depth != len(widths):
            got = f"depth {self.depth} and {len(widths)} widths"
            raise InputError("'depth' is the number of layers", got, "Give one width, or one a layer.")
        if self.alpha != "loo" and not (isinstance(self.alpha, Real) and 0 < float(self.alpha) < np.inf):
            raise InputError("'alpha' is a number above 0 or 'loo'", repr(self.alpha), "Change it.")
        if self.directions not in get_args(Directions):
            raise InputError("no such directions", repr(self.directions), f"Use one of {get_args(Directions)}.")
        if self.solver not in ("auto", "rows", "sums"):
            raise InputError("no such solver", repr(self.solver), "Use 'auto', 'rows' or 'sums'.")

    @property
    def _penalty(self) -> float | None:
        return None if self.alpha == "loo" else float(self.alpha)

    def _phi(self, X: ndarray) -> Float[Tensor, "n m"]:
        """Deep features of rows, in their precision."""
        x = torch.from_numpy(np.ascontiguousarray((X - self.mean_) / self.scale_, dtype=X.dtype))
        for layer in self._layers(x.dtype):
            x = layer(x)
        return x

    def _layers(self, dtype: torch.dtype) -> list[ArcCosineFeatures]:
        if dtype == torch.float64:
            return self.layers_
        return [layer.to(dtype) for layer in self.layers_]

    def _fit_targets(self, X: ndarray, targets: Float[Tensor, "n k"]) -> None:
        """From scratch."""
        self._start(X)
        in_memory = len(X) * self.widths[-1] <= _IN_MEMORY
        if len(X) >= 2 and (self.solver == "rows" or (self.solver == "auto" and in_memory)):
            self._found: Solved | None = solve(self._phi(X), targets, self._penalty)
            self._sums: NormalEquations | None = self._found.sums
            self._fitted_targets = targets
        else:
            self._sums = NormalEquations.over(self._blocks(X, targets))
            self._found = None
        self.n_rows_ = len(X)

    def _add_targets(self, X: ndarray, targets: Float[Tensor, "n k"], sign: int) -> None:
        """Add rows to the sums, or take them away."""
        more = NormalEquations.over(self._blocks(X, targets))
        if self._sums is None:
            self._sums = more
        else:
            self._sums = self._sums + more if sign > 0 else self._sums - more
        self.n_rows_ = self._sums.count
        self._found = None

    def _blocks(self, X: ndarray, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(X), _BLOCK):
            yield self._phi(X[start : start + _BLOCK]), targets[start : start + _BLOCK]

    @property
    def solved_(self) -> Solved:
        """The fit; of sums it is made when it is first asked for."""
        if self._found is None:
            assert self._sums is not None
            self._found = solve_sums(self._sums, self._penalty)
        return self._found

    @property
    def alpha_(self) -> float:
        """The penalty."""
        return self.solved_.penalty

    @property
    def n_parameters_(self) -> int:
        """Trainable numbers: the last weights and offsets; directions are drawn, not trained."""
        return self.solved_.weights.numel() + self.solved_.constant.numel()

    def _left_out(self) -> Float[Tensor, "n k"]:
        """What each row is answered by the model of all others."""
        check_is_fitted(self)
        if self._found is None or self._found.left_out is None:
            mend = "Fit with solver='rows' and the squared loss."
            raise InputError("rows left out are known after a fit that keeps them", f"solver={self.solver!r}", mend)
        return self._fitted_targets - self._found.left_out

    def _linear(self, X: Any) -> Float[Tensor, "n k"]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        found = self.solved_
        weights, parts = found.weights, []
        for start in range(0, len(X), _BLOCK):
            phi = self._phi(X[start : start + _BLOCK])
            parts.append((phi @ weights.to(phi)).double() + found.constant)
        return torch.cat(parts)

    def _new_rows(self, X: Any, y: Any, *, first: bool) -> tuple[ndarray, Any]:
        return validate_data(self, X, y, dtype=(np.float64, np.float32), reset=first, multi_output=True)

    def to_torch(self) -> nn.Sequential:
        """The fitted model as a torch module of float64 inputs in their own units: layers of features, and one linear.

        Its last layer may be trained further; directions are buffers that are saved with it.
        """
        from harmonia.kernels.snnk.feature_maps import ReluFeatures

        check_is_fitted(self)
        if self.order != 1 or self.directions == "sorf":
            raise InputError("only ReLU features with stored directions", self.order, "Use order=1, no sorf.")
        modules: list[nn.Module] = []
        gain = 1.0
        scale, mean = torch.from_numpy(self.scale_), torch.from_numpy(self.mean_)
        for number, layer in enumerate(self.layers_):
            assert isinstance(layer.directions, DenseProjection)
            g, offsets = layer.directions.weight, layer.offsets
            offsets = torch.zeros(len(g), dtype=g.dtype) if offsets is None else offsets
            if number == 0:
                g, shift = g / scale, -(g / scale) @ mean
                offsets = offsets + shift
            gain = 2**0.5  # ReluFeatures divide by sqrt(m), ArcCosineFeatures by sqrt(m / 2)
            modules.append(ReluFeatures(g if number == 0 else g * gain, offsets))
        last = nn.Linear(self.widths[-1], len(self.solved_.constant), dtype=torch.float64)
        with torch.no_grad():
            last.weight.copy_(self.solved_.weights.T * gain)
            last.bias.copy_(self.solved_.constant)
        return nn.Sequential(*modules, last)
