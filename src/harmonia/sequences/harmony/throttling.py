"""Demand that was measured at its limit: the measurement is a lower bound, for more could not be used.

A container that is throttled at four cores shows four cores, whatever it would have used. Taken at its word, such a
measurement teaches a forecaster that demand stops at the limit. `throttled` finds these steps; the forecaster's
likelihood (`harmonia.sequences.harmony.predictive`), the adaptation of the level and `WorkloadModel` then take them for
lower bounds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from harmonia.core.errors import InputError

AT_LIMIT = 0.98
"""Share of a known limit from which on demand counts as throttled: a scheduler's slices never fit quite."""

_FLAT = 0.005
"""Relative height of the band below the highest value in which a plateau lies."""

_FEWEST, _SHARE, _RUN, _EXCESS = 6, 0.01, 3, 4.0


def plateau(values: Float[ndarray, " time"]) -> float:
    """The limit that a series seems to stand at, or infinity.

    It is the highest value, where at least 6 values and 1% of all lie in the half percent below it, some three in a
    row, four times as many as in the next band of that height, while values below hardly repeat: in a series of whole
    numbers every value repeats, so that a plateau says nothing. Of several limits in a series only the highest is
    found: pass the limit itself where it is known.

    Example:
        >>> demand = 4 + np.random.default_rng(0).standard_normal(500).cumsum() / 8
        >>> plateau(demand), round(plateau(demand.clip(max=5.0)), 2)
        (inf, 5.0)
    """
    top = float(values.max(initial=0.0))
    at = values >= (1 - _FLAT) * top
    below = values[~at]
    if top <= 0 or at.sum() < max(_FEWEST, _SHARE * len(values)) or not len(below):
        return np.inf
    edges = np.flatnonzero(np.diff(np.r_[False, at, False]))
    longest = (edges[1::2] - edges[::2]).max()
    next_band = (below >= (1 - 2 * _FLAT) * top).sum()
    continuous = len(np.unique(below)) > 0.5 * len(below)
    return top if longest >= _RUN and at.sum() >= _EXCESS * next_band and continuous else np.inf


def throttled(
    values: Float[ndarray, " time"], limit: Float[ndarray, " time"] | float | None = None
) -> Bool[ndarray, " time"]:
    """Which values are at their limit; where none is given, at their `plateau`.

    Raises:
        InputError: a limit that is not positive.

    Example:
        >>> throttled(np.array([1.0, 3.99, 2.0, 4.0]), 4.0).tolist()
        [False, True, False, True]
    """
    if limit is None:
        return values >= (1 - _FLAT) * plateau(values)
    if not (np.asarray(limit) > 0).all():
        raise InputError("a limit is positive", np.min(limit), "Leave out the limit where there is none.")
    return values >= AT_LIMIT * np.asarray(limit)
