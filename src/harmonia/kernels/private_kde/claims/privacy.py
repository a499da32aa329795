"""Exactness without noise, and the noise: unbiased, as large as stated, and enough for what is claimed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from harmonia.core.claim import Measured, claim
from harmonia.kernels.private_kde.audit import epsilon_lower_bound
from harmonia.kernels.private_kde.distances import PrivateDistanceSum
from harmonia.kernels.private_kde.kde import PrivateKDE
from harmonia.kernels.private_kde.structure import PrivateStructure

_RUNS = 40_000
"""Releases without and with a row, of which the claimed epsilon could be refuted."""


@claim(
    "Without noise the structures give the exact sums",
    place="Secs. 4 and 6",
    unit="largest relative error",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def exact_without_noise(seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    x, y = (generator.integers(0, 256, (2000, 3)) + 0.5) / 256, generator.integers(0, 257, (100, 3)) / 256
    options: dict[str, Any] = {"eps": math.inf, "secure": False, "bounds": (0.0, 1.0)}
    l1 = PrivateDistanceSum(depth=8, **options).fit(x).query(y) / cdist(x, y, "cityblock").sum(0)
    squared = PrivateDistanceSum("sqeuclidean", **options).fit(x).query(y) / cdist(x, y, "sqeuclidean").sum(0)
    return Measured(float(np.abs(np.r_[l1, squared] - 1).max()), note="l1 of rows on the grid, and squared l2")


def _structures(seed: int) -> dict[str, PrivateStructure]:
    box: dict[str, Any] = {"bounds": (0.0, 1.0), "depth": 8}
    gaussian: dict[str, Any] = {"delta": 1e-5, "noise": "gaussian"}
    kernel: dict[str, Any] = {"n_features": 40, "random_state": seed}
    return {
        "l1": PrivateDistanceSum(**box),
        "l1, Gaussian": PrivateDistanceSum(**box, **gaussian),
        "shells": PrivateDistanceSum(method="shells", **box),
        "lp": PrivateDistanceSum("lp", **box),
        "l2": PrivateDistanceSum("l2", n_directions=8, random_state=seed, **box),
        "squared": PrivateDistanceSum("sqeuclidean", **box),
        "squared, Gaussian": PrivateDistanceSum("sqeuclidean", **box, **gaussian),
        "features": PrivateKDE(**kernel),
        "features, Gaussian": PrivateKDE("inverse", **kernel, **gaussian),
        "fast Gauss transform": PrivateKDE(method="hermite", bounds=(0.0, 1.0), order=4),
    }


@lru_cache(maxsize=2)
def _draws(seed: int, draws: int = 3000) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By structure: errors of many releases at some queries, and their stated standard deviations."""
    generator = np.random.default_rng(seed)
    x, y = generator.beta(2, 5, (300, 2)), generator.random((4, 2))
    found = {}
    for name, structure in _structures(seed).items():
        model = structure.set_params(random_state=seed, unsafe_reproducible=True).fit(x)
        sketch, mechanism, source = model.sketch_, model.mechanism_, model._source()
        sums = sketch.sums(x, mechanism.each_step())
        free = sketch.estimate(sketch.sums(x, np.zeros(sketch.blocks.size)), y)
        errors = np.empty((draws, len(y)))
        for i in range(draws):
            errors[i] = sketch.estimate(mechanism.add_noise(sums, source), y) - free
        found[name] = errors, model.noise_std(y)
    return found


@claim(
    "Answers are unbiased",
    place="Sec. 4; shells are so up to their factor",
    unit="largest mean error of 3000 releases, in standard errors",
    better="zero",
    tier="full",
    tolerance=4.0,
)
def unbiased(seed: int) -> Measured:
    found = {n: np.abs(e.mean(0) / (s / math.sqrt(len(e)))).max() for n, (e, s) in _draws(seed).items()}
    worst = max(found, key=lambda name: found[name])
    return Measured(float(found[worst]), note=f"{len(found)} structures at 4 queries; most in '{worst}'")


@claim(
    "Standard errors that are stated are those that are made",
    place="Secs. 4 and 7",
    unit="largest relative error of the variance, of 3000 releases",
    better="zero",
    tier="full",
    tolerance=0.1,
)
def stated_variance(seed: int) -> Measured:
    found = {n: abs(np.square(e / s).mean() - 1) for n, (e, s) in _draws(seed).items()}
    worst = max(found, key=lambda name: found[name])
    return Measured(float(found[worst]), note=f"{len(found)} structures, mean over 4 queries; most in '{worst}'")


@claim(
    "No row changes a structure by more than its declared sensitivity",
    place="Secs. 4 to 7",
    unit="excess over the declared l1 and l2 norms, relative",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def sensitivities(seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((60, 2)) * 10 ** generator.uniform(-2, 2, (60, 1))
    worst, tightest = -1.0, 0.0
    for structure in _structures(seed).values():
        model = structure.set_params(random_state=seed).fit(rows)
        sketch, step = model.sketch_, model.mechanism_.each_step()
        starts = np.r_[0, np.cumsum(sketch.blocks.sizes)[:-1]]
        for row in rows:
            # The change of a sum is the row's own part: sums are exact.
            change = np.abs(sketch.sums(row[None], step))
            l1 = np.add.reduceat(change, starts) / sketch.blocks.l1
            l2 = np.sqrt(np.add.reduceat(change**2, starts)) / sketch.blocks.l2
            worst = max(worst, float(l1.max()) - 1, float(l2.max()) - 1)
            tightest = max(tightest, float(l2.min()))
    return Measured(max(0.0, worst), note=f"60 rows, wild ones too; some row reaches {100 * tightest:.1f}% everywhere")


@claim(
    "A test for one planted row cannot refute the claimed epsilon of 1",
    place="Sec. 2",
    unit="epsilon refuted beyond the claim",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def membership(seed: int) -> Measured:
    """Likelihood ratios of the whole release; a release with half the noise is refuted, as it should be."""
    bounds = []
    for delta, kind in ((0.0, "laplace"), (1e-3, "gaussian")):
        for factor in (1.0, 0.5):
            model = PrivateKDE(
                n_features=2, eps=1.0, delta=delta, noise=kind, random_state=seed, unsafe_reproducible=True
            )
            model.fit(np.zeros((1, 2)))
            mechanism, source = model.mechanism_, model._source()
            row = model.sketch_.sums(np.ones((1, 2)), mechanism.each_step())
            scales, power = np.repeat(mechanism.scales, mechanism.blocks.sizes), 1 if mechanism.kind == "laplace" else 2
            many = replace(mechanism.blocks, sizes=_RUNS * mechanism.blocks.sizes)
            used = replace(mechanism, blocks=many, scales=factor * mechanism.scales, steps=factor * mechanism.steps)
            scores = []
            for planted in (0.0, 1.0):
                # Through the release itself: a sum of floats here would leave traces in the low bits, and be caught.
                sums = planted * np.r_[np.full(_RUNS, row[0]), np.tile(row[1:], _RUNS)]
                count, features = np.split(used.add_noise(sums, source), [_RUNS])
                out = np.c_[count, features.reshape(_RUNS, -1)] / (factor * scales)
                # Log density ratio of Laplace or Gaussian noise at the scale that was really used.
                away = np.abs(out) ** power - np.abs(out - row / (factor * scales)) ** power
                scores.append(away.sum(1) / power)
            bounds.append(epsilon_lower_bound(scores[0], scores[1], delta))
    note = f"{_RUNS} runs a side, Laplace and Gaussian noise; refuted: {bounds[0]:.2f} and {bounds[2]:.2f} of 1"
    note += f"; with half the noise {bounds[1]:.2f} and {bounds[3]:.2f}"
    return Measured(max(0.0, bounds[0] - 1, bounds[2] - 1), note=note)
