"""Kernel sums: short sums of exponentials, projections, and the error beside prior work's."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from harmonia.core.claim import Measured, claim
from harmonia.kernels.private_kde import prior
from harmonia.kernels.private_kde.exponentials import reciprocal_exponentials
from harmonia.kernels.private_kde.fourier import FourierSketch
from harmonia.kernels.private_kde.kde import PrivateKDE
from harmonia.kernels.private_kde.similarity import Similarity


@claim(
    "Sixteen exponentials give 1 / (1 + z) on [0, 100]",
    place="Secs. 8 and 9",
    unit="largest error",
    better="lower",
    tier="quick",
    gate=6.5e-4,
)
def few_exponentials(seed: int) -> Measured:
    z = np.linspace(0, 100, 20_001)
    errors = {m: float(np.abs(reciprocal_exponentials(m)(z) - 1 / (1 + z)).max()) for m in (8, 16)}
    return Measured(
        errors[16], baseline=errors[8], note="beside eight; the error falls exponentially with their number"
    )


def _wide(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clustered rows in 2048 columns, and queries among them."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((10, 2048))
    rows = centres[generator.integers(0, 10, 2200)] + 0.5 * generator.standard_normal((2200, 2048))
    rows /= 2048**0.5
    return rows[:2000], rows[2000:]


@claim(
    "Projecting 2048 columns to 64 keeps mean kernel values",
    place="Sec. 7",
    unit="mean relative error",
    better="lower",
    tier="quick",
    gate=0.06,
)
def projection_error(seed: int) -> Measured:
    """Lengths scatter by sqrt(2 / k), and e^-z is convex, so kernels of distance r grow by about ``1 + r^4 / k``: 10%
    between clusters, where r^2 = 2.5. The theorem bounds the absolute error, which is small."""
    x, y = _wide(seed)
    kernel = Similarity.of("gaussian")
    exact = kernel.matrix(x, y, 1.0).mean(0)
    found, absolute = {}, {}
    for k in (4, 16, 64, 256):
        project = FourierSketch.draw(kernel, 1.0, 2048, 2, project_dim=k, seed=seed).project
        assert project is not None
        low_x, low_y = (project(torch.from_numpy(v)).numpy() for v in (x, y))
        low = kernel.matrix(low_x, low_y, 1.0).mean(0)
        found[k], absolute[k] = float(np.abs(low / exact - 1).mean()), float(np.abs(low - exact).mean())
    told = ", ".join(f"{k}: {error:.3f}" for k, error in found.items())
    note = f"2000 rows in 10 clusters, Gaussian kernel of mean {exact.mean():.2f}; by columns kept {told}"
    note += f"; at 64 the absolute error, which the theorem bounds, is {absolute[64]:.3f}"
    return Measured(found[64], baseline=found[4], note=note)


@claim(
    "Queries of 2048 columns are faster after a projection to 64",
    place="Sec. 7",
    unit="times faster",
    better="higher",
    tier="quick",
    gate=10.0,
)
def projection_time(seed: int) -> Measured:
    """Pairs of a cosine and a sine halve the product with 2048 columns, so that without a projection a query is half
    as long as in prior work; then two thirds of a query are the projection itself, a product with 64 columns, and the
    cosines and sines."""
    x, y = _wide(seed)
    times = []
    for k in (64, None):
        model = PrivateKDE(n_features=1000, project_dim=k, random_state=seed).fit(x[:50])
        times.append(prior.seconds(partial(model.query, np.tile(y, (10, 1)))) / (10 * len(y)))
    note = f"{1e6 * times[0]:.3g} beside {1e6 * times[1]:.3g} microseconds a query, 1000 features"
    return Measured(times[1] / times[0], note=note)


@claim(
    "Mean kernel values at epsilon 0.1 have less error than prior work's, from the same rows and features",
    place="Secs. 7 and 11",
    unit="mean absolute error",
    better="lower",
    tier="quick",
)
def kernel_error(seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((20_000, 5))
    found = prior.kernel_errors(x, generator.standard_normal((200, 5)), 3.0, [0.1], seed=seed).errors
    theirs, pure, approximate = (errors[0] for errors in found.values())
    note = f"20,000 rows, 1000 features, delta 1e-6; with delta = 0: {pure:.3g}; prior work is LSQ-RFF, delta = 0"
    return Measured(approximate, baseline=theirs, note=note)
