"""Special cases: Mamba and Mamba-2 variable by variable, and autoregressions, seasonal ones among them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency, require
from harmonia.sequences.chimera.claims.grids import random_grid, relative
from harmonia.sequences.chimera.selective_scan import selective_scan_2d
from harmonia.sequences.chimera.ssm import SSM2d


@claim(
    "Without couplings it is Mamba's scan, variable by variable (2-D Mamba)",
    place="special cases, Sec. 3 as summarised",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def mamba(seed: int) -> Measured:
    """Against the one-dimensional recurrence as arXiv 2312.00752 defines it, step by step, in float64."""
    x, delta, other, A1, A2, _, A4, B1, B2, C1, C2 = random_grid(2, 3, 20, 4, 5, seed)
    none = torch.zeros_like(A2)
    found = selective_scan_2d(x, delta, other, A1, none, none, A4, B1, B2, C1, 0 * C2, hold="euler")
    return Measured(relative(found, _mamba(x, delta, A1, B1, C1)))


@claim(
    "With one rate a channel it is Mamba-2's (2-D Mamba-2)",
    place="special cases, Sec. 3 as summarised",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def mamba_2(seed: int) -> Measured:
    """Against the quadratic form of state space duality (arXiv 2405.21060): a masked product, no recurrence."""
    x, delta, other, A1, A2, _, A4, B1, B2, C1, C2 = random_grid(2, 3, 20, 4, 5, seed)
    A1, A4, none = A1[:, :1], A4[:, :1], torch.zeros_like(A2[:, :1])
    found = selective_scan_2d(x, delta, other, A1, none, none, A4, B1, B2, C1, 0 * C2, hold="euler")
    total = torch.cumsum(delta * A1[:, 0], 2)
    mask = torch.tril(torch.ones(20, 20))[:, :, None]
    decay = torch.exp((total.unsqueeze(3) - total.unsqueeze(2)).masked_fill(mask == 0, -torch.inf))
    weights = torch.einsum("bvtn,bvsn->bvts", C1, B1)[..., None] * decay
    return Measured(relative(found, torch.einsum("bvtse,bvse->bvte", weights, delta * x)))


def _mamba(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    h, found = torch.zeros(*x.shape[:2], *A.shape, dtype=torch.float64), []
    for t in range(x.shape[2]):
        step = delta[:, :, t, :, None].double()
        h = torch.exp(step * A) * h + step * B[:, :, t, None, :] * x[:, :, t, :, None]
        found.append((h * C[:, :, t, None, :]).sum(-1))
    return torch.stack(found, 2)


@claim(
    "One constant state is a first-order autoregression",
    place="Sec. 3: includes autoregressions",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def first_order(seed: int) -> Measured:
    cell = torch.ones(1, 1, 300, 1, dtype=torch.float64)
    rate, none = torch.log(torch.tensor([[0.8]], dtype=torch.float64)), torch.zeros(1, 1, dtype=torch.float64)
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(cell.shape))
    y = selective_scan_2d(x, cell, cell, rate, none, none, rate, cell, cell, cell, 0 * cell, hold="euler")
    return Measured(float(np.abs(y.flatten().numpy() - lfilter([1], [1, -0.8], x.flatten().numpy())).max()))


def fitted_autoregression(values: np.ndarray, order: int) -> np.ndarray:
    """Coefficients that a layer with a companion matrix finds for a series: its response, fitted to the next value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = SSM2d(1, order, bidirectional=False, selective=False, transition="companion").double()
    with torch.no_grad():
        layer.D.zero_()
        layer.upward.constants.zero_()
        layer.upward.constants[0, 0] = 1.0  # the input enters the shift register at its head
    series = torch.from_numpy(values)[None, None, :, None]
    optimizer = torch.optim.LBFGS([layer.upward.constants], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        # The response is short, so that a convolution with it alone is enough.
        kernel = layer.upward.kernel(1, order)[0, :, 0]
        windows = series[0, 0, :-1, 0].unfold(0, order, 1).flip(-1)
        error = (windows @ kernel - series[0, 0, order:, 0]).square().mean()
        error.backward()
        return error

    optimizer.step(loss)
    return layer.upward.kernel(1, order)[0, :, 0].detach().numpy()


@claim(
    "A companion matrix recovers a seasonal autoregression, SARIMA(1,0,0)(1,0,0)_12",
    place="Sec. 3: includes seasonal autoregressions",
    unit="largest error of a coefficient",
    better="lower",
    tier="quick",
    gate=0.02,
)
def seasonal_autoregression(seed: int) -> Measured:
    """(1 - 0.5 L)(1 - 0.6 L^12) x = noise: lags 1, 12 and 13 of 0.5, 0.6 and -0.3, the others 0; 40,000 values."""
    true = np.zeros(13)
    true[[0, 11, 12]] = 0.5, 0.6, -0.3
    noise = np.random.default_rng(seed).standard_normal(40_500)
    values = lfilter([1], np.r_[1, -true], noise)[500:]
    found = fitted_autoregression(values, 13)
    return Measured(float(np.abs(found - true).max()), note=f"lags 1, 12, 13: {found[[0, 11, 12]].round(3).tolist()}")


@claim(
    "Without couplings it gives what mambapy's selective scan gives",
    place="special cases; peer mambapy 1.2",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def as_mambapy(seed: int) -> Measured | None:
    try:
        scan = require("mambapy.pscan", extra="peers").pscan
    except MissingDependency:
        return None
    x, delta, other, A1, A2, _, A4, B1, B2, C1, C2 = random_grid(2, 3, 20, 4, 5, seed)
    none = torch.zeros_like(A2)
    found = selective_scan_2d(x, delta, other, A1, none, none, A4, B1, B2, C1, 0 * C2, hold="euler")
    rows = [each.flatten(0, 1) for each in (x, delta, B1, C1)]
    states = scan(torch.exp(rows[1][..., None] * A1), rows[1][..., None] * rows[2][:, :, None] * rows[0][..., None])
    expected = (states @ rows[3].unsqueeze(-1)).squeeze(-1).unflatten(0, (2, 3))
    return Measured(relative(found, expected))
