"""Euclidean distances from distances along random directions: ``|x - y| = sqrt(pi / 2) E_g |g . (x - y)|``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.haar import HaarSketch
from harmonia.kernels.private_kde.sketch import Sketch

_REACH = 4.0
"""Projections on a Gaussian direction are kept up to so many standard deviations of the farthest row."""


class DirectionSketch(Sketch):
    """A tree of signed counts along each direction.

    Rows and directions are rounded to whole multiples of small steps, so that products of them are exact: otherwise the
    last bit of a row's projection, and so its cell, could depend on which rows come with it.

    Arguments:
        directions: Gaussian vectors g, (directions, d).
        domain: Where rows lie.
        depth: Of each direction's tree.
    """

    def __init__(self, directions: Float64[np.ndarray, "m d"], domain: Domain, depth: int) -> None:
        self.domain = domain
        # Sums of d products of numbers of so many bits stay below 2^53.
        bits = (53 - len(domain.lower).bit_length()) // 2
        self.cells = 2.0**bits
        across = directions * domain.widths
        self.unit = float(np.abs(across).max()) / self.cells
        self.weights = np.rint(across / self.unit)
        self.directions = self.weights * self.unit / domain.widths
        box = np.abs(self.directions) @ domain.widths / 2
        half = np.minimum(box, _REACH * domain.radius)
        middle = self.directions @ domain.centre
        self.trees = HaarSketch(middle - half, middle + half, depth)
        self.factor = math.sqrt(math.pi / 2) / len(directions)
        self.blocks = replace(self.trees.blocks, cost=self.factor**2 * self.trees.blocks.cost)

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        domain = self.domain
        shares = (np.clip(x, domain.lower, domain.upper) - domain.lower) / domain.widths
        exact = np.rint(shares * self.cells) @ self.weights.T
        return self.trees.sums(exact * (self.unit / self.cells) + self.directions @ domain.lower, step)

    def prepare(self, released: Float64[np.ndarray, " size"]) -> Any:
        return self.trees.prepare(released)

    def answer(self, prepared: Any, y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        return self.factor * self.trees.answer(prepared, y @ self.directions.T)

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        return self.factor**2 * self.trees.variance(variances, y @ self.directions.T)

    def state(self) -> dict[str, np.ndarray]:
        return {"directions": self.directions, "depth": np.array(self.trees.depth), **self.domain.state()}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> DirectionSketch:
        return cls(state["directions"], Domain.restore(state), int(state["depth"]))
