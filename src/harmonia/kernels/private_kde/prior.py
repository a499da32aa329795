"""What came before, on the same rows at the same epsilon: error and query time beside ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from scipy.spatial.distance import cdist

from harmonia.kernels.private_kde.distances import PrivateDistanceSum
from harmonia.kernels.private_kde.kde import PrivateKDE
from harmonia.parts.gram import FourierFeatures, SquaredExponential

ALPHAS = (0.3, 0.1, 0.03, 0.01)
"""Widths of shells, of which the best by the true error is taken: more than a user could do."""


class Compared(NamedTuple):
    """Mean relative errors by epsilon."""

    eps: list[float]
    errors: dict[str, list[float]]


def l1_errors(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "q d"], eps: Sequence[float], seed: int = 0, depth: int = 12
) -> Compared:
    """Of l1 sums on the unit cube: signed counts, and the paper's shells."""
    exact = l1_sums(x, y)

    def error(**options: object) -> float:
        model = PrivateDistanceSum(
            bounds=(0.0, 1.0), depth=depth, random_state=seed, unsafe_reproducible=True, **options
        )
        return float(np.abs(model.fit(x).query(y) / exact - 1).mean())

    return Compared(
        list(eps),
        {
            "signed counts (ours)": [error(eps=e) for e in eps],
            "shells (the paper)": [min(error(eps=e, method="shells", alpha=a) for a in ALPHAS) for e in eps],
        },
    )


def kernel_errors(
    x: Float64[np.ndarray, "n d"],
    y: Float64[np.ndarray, "q d"],
    bandwidth: float,
    eps: Sequence[float],
    features: int = 1000,
    delta: float = 1e-6,
    seed: int = 0,
) -> Compared:
    """Absolute errors of the mean Gaussian kernel: LSQ-RFF (Wagner et al. 2023), ours with either kind of noise."""
    exact = np.exp(-cdist(x / bandwidth, y / bandwidth, "sqeuclidean")).mean(0)

    def error(e: float, given: float) -> float:
        options = {"bandwidth": bandwidth, "n_features": features, "random_state": seed, "unsafe_reproducible": True}
        return float(np.abs(PrivateKDE(eps=e, delta=given, **options).fit(x).score_samples(y) - exact).mean())

    def prior(e: float) -> float:
        return float(np.abs(lsq_rff(x, y, bandwidth, features, e, seed) - exact).mean())

    names = ("LSQ-RFF (prior work)", "ours, delta = 0", f"ours, delta = {delta:g}")
    found = [[prior(e) for e in eps], [error(e, 0.0) for e in eps], [error(e, delta) for e in eps]]
    return Compared(list(eps), dict(zip(names, found)))


def lsq_rff(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "q d"], bandwidth: float, features: int, eps: float, seed: int
) -> Float64[np.ndarray, " q"]:
    """Mean Gaussian kernels as in prior work: features with phases, Laplace noise, the number of rows not private."""
    generator = torch.Generator().manual_seed(seed)
    kernel = SquaredExponential(bandwidth / np.sqrt(2))
    phi = FourierFeatures.draw(kernel, x.shape[1], features, generator=generator, phases=True)
    means = phi(torch.from_numpy(x)).mean(0).numpy()
    # Each of the features, sqrt(2 / m) cos(.), changes the mean by at most sqrt(2 / m) / n.
    scale = np.sqrt(2 * features) / (eps * len(x))
    noisy = means + np.random.default_rng(seed).laplace(scale=scale, size=features)
    return phi(torch.from_numpy(y)).numpy() @ noisy


def l1_sums(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
    """Without privacy, going over all rows."""
    return np.concatenate([cdist(x, part, "cityblock").sum(0) for part in np.array_split(y, -(-len(y) // 100))])


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Processor time of the shortest of some runs: what else runs on the machine does not count."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def query_times(sizes: Sequence[int], columns: int = 2, queries: int = 200, seed: int = 0) -> dict[str, list[float]]:
    """Seconds a query of l1 sums, by number of rows: by going over the rows, by shells and by signed counts."""
    generator = np.random.default_rng(seed)
    y = generator.random((queries, columns))
    found: dict[str, list[float]] = {"all rows, not private": [], "shells (the paper)": [], "signed counts (ours)": []}
    for n in sizes:
        x = generator.random((n, columns))
        ours = PrivateDistanceSum(bounds=(0.0, 1.0), depth=12).fit(x)
        shells = PrivateDistanceSum(bounds=(0.0, 1.0), depth=12, method="shells").fit(x)
        found["all rows, not private"].append(seconds(partial(l1_sums, x, y[:20]), 2) / 20)
        found["shells (the paper)"].append(seconds(partial(shells.query, y), 2) / queries)
        found["signed counts (ours)"].append(seconds(partial(ours.query, y), 3) / queries)
    return found
