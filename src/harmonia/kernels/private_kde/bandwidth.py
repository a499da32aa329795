"""Bandwidths: a number, from public rows, or released from private ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from harmonia.core.checks import is_number
from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.distances import PrivateDistanceSum
from harmonia.kernels.private_kde.moments import MomentSketch
from harmonia.parts.privacy.accounting import PrivacyAccountant


def check_bandwidth(bandwidth: Any) -> float:
    """A bandwidth as a number; others are refused, since they would be chosen by data."""
    # Beyond these features would overflow.
    if not is_number(bandwidth) or not 1e-100 <= float(bandwidth) <= 1e100:
        mend = "Give one from 1e-100 to 1e100: from public data (median_distance), or by private_rms_distance."
        raise InputError("'bandwidth' is a number", repr(bandwidth), mend)
    return float(bandwidth)


def median_distance(public: Any, seed: int = 0) -> float:
    """Median distance of pairs of PUBLIC rows: a bandwidth that costs no privacy.

    Example:
        >>> 1.0 < median_distance(np.random.default_rng(0).standard_normal((100, 2))) < 2.5
        True
    """
    rows = check_array(public, dtype=np.float64)
    generator = np.random.default_rng(seed)
    one, two = generator.integers(0, len(rows), (2, 20_000))
    distances = np.linalg.norm(rows[one] - rows[two], axis=1)
    positive = distances[distances > 0]
    if not len(positive):
        raise InputError("all public rows are equal", f"{len(rows)} rows", "Give a bandwidth as a number.")
    return float(np.median(positive))


def private_rms_distance(
    X: Any, *, eps: float, delta: float = 0.0, bounds: Any, accountant: PrivacyAccountant | None = None
) -> float:
    """Root mean squared distance of pairs of private rows, released under (eps, delta): a bandwidth that costs some.

    From n, the sum of rows and that of their squared norms, as `PrivateDistanceSum("sqeuclidean")` releases them. When
    noise hides it altogether, the radius of the domain.

    Example:
        >>> rows = np.random.default_rng(0).uniform(0, 1, (5000, 2))
        >>> abs(private_rms_distance(rows, eps=1.0, bounds=(0, 1)) - (4 / 12) ** 0.5) < 0.1
        True
    """
    structure = PrivateDistanceSum("sqeuclidean", eps=eps, delta=delta, bounds=bounds, accountant=accountant).fit(X)
    sketch = structure.sketch_
    assert isinstance(sketch, MomentSketch)
    squared = sketch.mean_squared_distance(structure.released_)
    return math.sqrt(squared) if squared > 0 else sketch.domain.radius
