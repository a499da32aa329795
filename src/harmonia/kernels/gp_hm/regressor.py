"""The same prior for data instead of equations: regression whose frequencies are learned, as scikit-learn has it."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import torch
from scipy.signal import find_peaks, lombscargle
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.kernel import Envelope, SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.learning import PHASE, RATE
from harmonia.parts.gram import Cholesky

MOST_ROWS = 5000

_EXTENTS = (1e-100, 1e100)
"""Between these, squares neither overflow nor vanish."""


class SpectralMixtureRegressor(RegressorMixin, BaseEstimator):
    """Gaussian process regression with one learned spectrum a column: waves are found and continued.

    ``y = u(x) + noise`` with the prior of `GPPDESolver`, ``k(x, x') = prod_j k_j(x_j - x_j')``. Weights, widths and
    frequencies climb the evidence, from the peaks of a periodogram where there is one column (Lomb and Scargle: times
    may be uneven), from even ones otherwise.

    Arguments:
        q: Waves a column.
        envelope: ``"gaussian"`` or ``"matern52"``.
        noise: Variance of the noise relative to that of the targets, to begin with.
        max_iter: Steps of Adam.

    Attributes:
        kernels_: The kernel of each column; ``kernels_[0].peaks()`` are frequencies in cycles per unit of the column.
        noise_: Variance of the noise, in units of the targets.
        log_marginal_likelihood_: Of the targets, in nats.

    Example:
        >>> t = np.linspace(0, 10, 120)[:, None]
        >>> y = np.sin(2 * np.pi * 1.3 * t[:, 0]) + 0.5 * t[:, 0]
        >>> model = SpectralMixtureRegressor(q=4, max_iter=40).fit(t[:100], y[:100])
        >>> bool(np.abs(model.predict(t[100:]) - y[100:]).max() < 0.3)
        True
    """

    def __init__(self, q=8, *, envelope="gaussian", noise=0.05, max_iter=60):  # untyped: scikit-learn's way
        self.q = q
        self.envelope = envelope
        self.noise = noise
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> SpectralMixtureRegressor:
        """Learn the spectra and condition on the targets.

        Raises:
            InputError: parameters out of range, too many rows, or columns too wide or too narrow for float64.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        if self.envelope not in get_args(Envelope):
            raise InputError("no such envelope", repr(self.envelope), "Use 'gaussian' or 'matern52'.")
        check_whole("q", self.q)
        steps = check_whole("max_iter", self.max_iter, 0)
        check_number("noise", self.noise, above=0)
        for what, extent in [("the targets", np.ptp(y)), *(("a column", width) for width in np.ptp(X, axis=0))]:
            if extent and not _EXTENTS[0] < extent < _EXTENTS[1]:
                raise InputError(f"{what} cannot be squared in float64", f"a range of {extent:g}", "Scale the data.")
        if len(X) > MOST_ROWS:
            raise InputError("there are too many rows", len(X), f"Pass at most {MOST_ROWS}.")
        self._line = _trend(X, y)
        residual = y - self._line[0] - X @ self._line[1]
        self._scale = float(residual.std()) or 1.0
        self._x, targets = torch.tensor(X), torch.tensor(residual / self._scale)
        kernels = [self._start(X[:, j], targets.numpy(), X.shape[1] == 1) for j in range(X.shape[1])]
        noise = torch.tensor(math.log(float(self.noise)), dtype=torch.float64, requires_grad=True)
        leaves = [tuple(p.clone().requires_grad_() for p in kernel.parameters or ()) for kernel in kernels]
        groups: list[dict[str, Any]] = [{"params": [noise], "lr": RATE / 2}]
        for (weight, rate, frequency), extent in zip(leaves, np.ptp(X, axis=0)):
            groups.append({"params": [weight, rate], "lr": RATE / 2})
            groups.append({"params": [frequency], "lr": PHASE / (2 * math.pi * (float(extent) or 1.0))})
        optimizer = torch.optim.Adam(groups)
        identity = torch.eye(len(X), dtype=torch.float64)
        best = math.inf
        for _ in range(steps + 1):
            now = [kernel.with_parameters(*leaf) for kernel, leaf in zip(kernels, leaves)]
            matrix = self._matrix(now, self._x, self._x) + (noise.exp() + 1e-8) * identity
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if int(failed):
                break
            white = torch.linalg.solve_triangular(factor, targets[:, None], upper=False)
            loss = 0.5 * white.square().sum() + factor.diagonal().log().sum()
            if float(loss.detach()) < best:
                best, deviation = float(loss.detach()), float(noise.detach().exp()) + 1e-8
                self.kernels_ = [
                    kernel.with_parameters(*(p.detach().clone() for p in kernel.parameters or ())) for kernel in now
                ]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self._posterior = Cholesky(self._matrix(self.kernels_, self._x, self._x), deviation)
        self._alpha = self._posterior.solve(targets)
        self.noise_ = deviation * self._scale**2
        constant = 0.5 * len(y) * math.log(2 * math.pi) + len(y) * math.log(self._scale)
        self.log_marginal_likelihood_ = -best - constant
        self.n_iter_ = steps
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean of the targets at new rows, and the standard deviation of one of them."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        cross = self._matrix(self.kernels_, torch.tensor(X), self._x)
        mean = (cross @ self._alpha).numpy() * self._scale + self._line[0] + X @ self._line[1]
        if not return_std:
            return mean
        one = torch.zeros(1, dtype=torch.float64)
        prior = math.prod(float(kernel.k(one)) for kernel in self.kernels_)
        known = self._posterior.whiten(cross.T).square().sum(0).numpy()
        return mean, np.sqrt(np.maximum(prior - known, 0) * self._scale**2 + self.noise_)

    @staticmethod
    def _matrix(kernels: list[SpectralMixtureKernel1D], left: Tensor, right: Tensor) -> Tensor:
        factors = [kernel.k(left[:, j, None] - right[:, j]) for j, kernel in enumerate(kernels)]
        return torch.stack(factors).prod(0)

    def _start(self, x: np.ndarray, y: np.ndarray, alone: bool) -> SpectralMixtureKernel1D:
        extent = float(np.ptp(x)) or 1.0
        count = int(self.q)
        kernel = SpectralMixtureKernel1D(count, self.envelope, 0.25 * count / extent).on(len(x) + 1, extent)
        assert kernel.parameters is not None
        weight, rate, frequency = kernel.parameters
        if alone and len(np.unique(x)) > 8:
            grid = np.linspace(0.5 / extent, 0.5 * (len(np.unique(x)) - 1) / extent, 8 * len(x))
            power = lombscargle(x, y, 2 * math.pi * grid)
            peaks, _ = find_peaks(power)
            first = peaks[np.argsort(-power[peaks])][: count - 1]
            frequency = frequency.clone()
            frequency[1 : 1 + len(first)] = torch.from_numpy(grid[first])
        return kernel.with_parameters(weight, rate, frequency)


def _trend(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """A constant, and with one column a slope: a stationary prior has none."""
    if x.shape[1] > 1 or not np.ptp(x):
        return float(y.mean()), np.zeros(x.shape[1])
    centre = x[:, 0].mean()
    slope = float((x[:, 0] - centre) @ (y - y.mean()) / ((x[:, 0] - centre) @ (x[:, 0] - centre)))
    return float(y.mean() - slope * centre), np.array([slope])
