"""Which indicator stands above which: levels by name, or found from which series lead which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError

FISHER_LEVELS = {
    "load": 1,
    "cpu": 2,
    "memory_file": 2,
    "memory": 2,
    "host_cpu": 2,
    "host_memory": 2,
    "time_wait": 3,
    "network": 3,
}
"""Business load, then processor and memory, then network (the release's levels, by name)."""

_WORDS = (
    (1, ("load", "request", "rps", "qps", "traffic", "user", "session", "call", "temperature", "workday")),
    (2, ("cpu", "core", "mem", "memory", "gpu", "replica", "demand")),
    (3, ("disk", "io", "iops", "net", "network", "tcp", "byte", "packet", "latency", "queue")),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word of a name such as ``http_requests``, ``DiskReadBytes`` or ``net.if.in``."""


def lead(values: Float64[ndarray, "time variables"], lags: int = 12) -> Float64[ndarray, "variables variables"]:
    """How much variable i leads variable j: the largest lagged correlation of changes, one way less the other.

    Arguments:
        values: Series side by side.
        lags: Largest delay that is looked at.

    Returns:
        An antisymmetric matrix; positive where i leads j.
    """
    changes = np.diff(values, axis=0)
    scale = changes.std(0)
    changes = (changes - changes.mean(0)) / np.where(scale > 0, scale, 1)
    length = len(changes)
    lags = min(lags, length - 2)
    later = np.stack([np.abs(changes[: length - k].T @ changes[k:]) / (length - k) for k in range(1, lags + 1)])
    strongest = later.max(0)
    return strongest - strongest.T


def found_levels(values: Float64[ndarray, "time variables"], names: Sequence[str], lags: int = 12) -> dict[str, int]:
    """Levels from which series lead which: sources are 1, what only follows is 3, the rest 2.

    A lead counts where it exceeds two standard errors of a correlation.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal(500)
        >>> values = np.stack([np.roll(noise, 2), noise], axis=1).cumsum(0)
        >>> found_levels(values, ["cpu", "load"])
        {'cpu': 3, 'load': 1}
    """
    matrix = lead(values, lags)
    clear = np.where(np.abs(matrix) > 2 / np.sqrt(len(values)), np.sign(matrix), 0)
    leads, follows = (clear.max(1) > 0).tolist(), (clear.min(1) < 0).tolist()
    return {
        name: 1 if ahead and not behind else 3 if behind and not ahead else 2
        for name, ahead, behind in zip(names, leads, follows)
    }


def levels_of(names: Sequence[str], given: Mapping[str, int] | None) -> list[int]:
    """The level of each variable: as given, else by the words of its name, the first level that has one, else 2.

    Raises:
        InputError: a level is given for a variable that is not there.

    Example:
        >>> levels_of(["load", "cpu", "disk", "x"], {"x": 3})
        [1, 2, 3, 3]
        >>> levels_of(["utilization", "requested_memory", "NetworkIn", "http_requests"], None)
        [2, 2, 3, 1]
    """
    given = given or {}
    for name in given:
        if name not in names:
            raise InputError("a level is given for no variable", f"'{name}'", f"Variables: {', '.join(names)}.")

    def guessed(name: str) -> int:
        if name in FISHER_LEVELS:
            return FISHER_LEVELS[name]
        said = {word.lower() for word in _WORD.findall(name)}
        said |= {word.removesuffix("s") for word in said}
        return next((level for level, words in _WORDS if said.intersection(words)), 2)

    return [int(given.get(name, guessed(name))) for name in names]
