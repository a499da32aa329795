"""The paper's example: eleven noisy points of a sine, kernel ridge regression, six steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

GAMMA, PENALTY = 80.0, 0.2
"""Of the kernel ``exp(-gamma |x - z|^2)``, and of the ridge."""


class Toy(NamedTuple):
    """Training points, and the function they come from at 101 points."""

    x: Float64[np.ndarray, "11 1"]
    y: Float64[np.ndarray, " 11"]
    at: Float64[np.ndarray, "101 1"]
    truth: Float64[np.ndarray, " 101"]


def toy() -> Toy:
    """``sin(2 pi x)`` at 0, 0.1, ..., 1, with the noise published in the official notebook.

    Example:
        >>> toy().y[:3].round(3).tolist()
        [0.385, 1.233, 1.332]
    """
    y = [0.38476636465198066, 1.2333967683416893, 1.33232242217057, 0.6920159488889518, -0.29756145531871736]
    y += [-0.24189291901377769, -0.7964485769175675, -0.9616480167034174, -0.49672509509916934]
    y += [-0.3469066003991437, 0.5589512650600734]
    at = np.linspace(0, 1, 101)
    return Toy(np.linspace(0, 1, 11)[:, None], np.array(y), at[:, None], np.sin(2 * np.pi * at))
