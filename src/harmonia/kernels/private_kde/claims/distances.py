"""Sums of l1 distances: their error beside the paper's structure, and the time of a query."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.kernels.private_kde import prior
from harmonia.kernels.private_kde.distances import PrivateDistanceSum

EPS = (0.1, 1.0, 10.0)


@lru_cache(maxsize=2)
def _l1(seed: int) -> prior.Compared:
    generator = np.random.default_rng(seed)
    return prior.l1_errors(generator.beta(2, 5, (10_000, 1)), generator.random((300, 1)), EPS, seed)


def _l1_at(seed: int, index: int) -> Measured:
    ours, shells = (_l1(seed).errors[name][index] for name in ("signed counts (ours)", "shells (the paper)"))
    return Measured(
        ours, baseline=shells, note="10,000 rows, Beta(2, 5); beside the paper's shells at their best width"
    )


def _declare_l1(index: int, gate: float) -> Any:
    return claim(
        f"Sums of l1 distances at epsilon {EPS[index]:g} have a small relative error",
        place="Sec. 4",
        unit="mean relative error",
        better="lower",
        tier="quick",
        gate=gate,
    )(partial(_l1_at, index=index))


l1_at_a_tenth, l1_at_one, l1_at_ten = (_declare_l1(i, gate) for i, gate in enumerate((0.03, 0.004, 0.0004)))


@claim(
    "Signed counts lower the error of the paper's shells at epsilon 0.1",
    place="Sec. 4; ours",
    unit="error of shells over ours",
    better="higher",
    tier="quick",
    gate=5.0,
)
def l1_beside_shells(seed: int) -> Measured:
    found = _l1_at(seed, 0)
    assert found.baseline is not None
    return Measured(found.baseline / found.value, note="10,000 rows, Beta(2, 5)")


@claim(
    "A query of l1 sums is faster than going over a million rows",
    place="Sec. 4",
    unit="times faster",
    better="higher",
    tier="quick",
    gate=10.0,
)
def l1_query_time(seed: int) -> Measured:
    x, y = (np.random.default_rng(seed).random((n, 1)) for n in (1_000_000, 1000))
    model = PrivateDistanceSum(bounds=(0.0, 1.0)).fit(x)
    ours = prior.seconds(partial(model.query, y)) / len(y)
    theirs = prior.seconds(partial(prior.l1_sums, x, y[:5]), 2) / 5
    return Measured(theirs / ours, note=f"{1e6 * ours:.2g} beside {1e6 * theirs:.2g} microseconds a query")
