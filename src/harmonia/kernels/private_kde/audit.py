"""How private a mechanism is at least not: a lower bound of its epsilon from membership tests.

Run a mechanism many times on data without and with one row, score each output by how likely the row is in it, and guess
by a threshold. Were the mechanism (eps, delta) private, ``1 - false negatives <= e^eps false positives + delta`` would
hold, and so with the roles exchanged: rates that break it for some eps refute that eps. The rates' confidence limits
(Clopper & Pearson) are taken at a threshold chosen on one half of the runs, and measured on the other.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from scipy.stats import beta


def epsilon_lower_bound(
    without: Float64[np.ndarray, " runs"],
    with_row: Float64[np.ndarray, " runs"],
    delta: float = 0.0,
    confidence: float = 0.99,
) -> float:
    """The largest epsilon that these runs refute.

    Arguments:
        without: Scores of outputs of data without the row.
        with_row: Scores of outputs of data with it; higher ones.
        delta: Of the claim.
        confidence: With which the bound holds.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> without, with_row = generator.laplace(0, 1, 20_000), generator.laplace(1, 1, 20_000)
        >>> 0.6 < epsilon_lower_bound(without, with_row) < 1.0
        True
    """
    tries = np.quantile(np.concatenate([without[::2], with_row[::2]]), np.linspace(0.02, 0.98, 49))
    best = max(tries, key=lambda at: _refuted(without[::2], with_row[::2], float(at), delta, 0.5))
    return max(0.0, _refuted(without[1::2], with_row[1::2], float(best), delta, confidence))


def _refuted(without: np.ndarray, with_row: np.ndarray, threshold: float, delta: float, confidence: float) -> float:
    miss = 1 - confidence
    bounds = []
    for few, many in ((without >= threshold, with_row >= threshold), (with_row < threshold, without < threshold)):
        upper = beta.ppf(1 - miss / 4, few.sum() + 1, len(few) - few.sum()) if few.sum() < len(few) else 1.0
        lower = beta.ppf(miss / 4, many.sum(), len(many) - many.sum() + 1) if many.sum() else 0.0
        bounds.append(math.log((lower - delta) / upper) if lower > delta else -math.inf)
    return max(bounds)
