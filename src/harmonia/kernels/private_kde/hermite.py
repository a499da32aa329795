"""Gaussian kernel sums in few dimensions by the fast Gauss transform (Wagner, Naamad & Mishra, ICML 2023).

In units of the bandwidth space is cut into unit cells. Around a cell's centre c, with ``r = x - c``, per axis

    e^(-(y-x)^2) = sum_j  r^j / j!  H_j(y - c) e^(-(y-c)^2) ,

cut after `order` terms; a query adds the cells whose centres are within ``sqrt(reach)``. Since ``|r| <= 1/2``, a row
changes the moments of its cell by at most ``(2 (1 - 2^-order))^d`` in the l1 norm and ``(4/3 (1 - 4^-order))^(d/2)`` in
the l2 norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float64
from scipy.special import eval_hermite, factorial

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.sketch import Sketch, chunks
from harmonia.parts.privacy.mechanism import COUNT_COST, ROUNDING, Blocks

MOST_NUMBERS = 1 << 24
FAR = 1e9
"""Bandwidths beyond which a query is outside of every box."""


class HermiteSketch(Sketch):
    """Moments of the cells.

    Arguments:
        lower, upper: The box that rows are clipped to.
        bandwidth: s of ``e^(-|x-y|^2/s^2)``.
        order: Terms an axis.
        reach: Squared distance in bandwidths beyond which cells are left out; the error is about ``e^-reach``.

    Raises:
        InputError: more than `MOST_NUMBERS` moments: the box has too many dimensions, or is too wide for the bandwidth.
    """

    total = 1.0
    """Of the kernel at 0."""

    def __init__(
        self,
        lower: Float64[np.ndarray, " d"],
        upper: Float64[np.ndarray, " d"],
        bandwidth: float,
        order: int = 8,
        reach: float | None = None,
    ) -> None:
        self.lower, self.upper, self.bandwidth, self.order = lower, upper, bandwidth, order
        self.reach = float(order if reach is None else reach)
        self.shape = np.rint((upper - lower) / bandwidth).astype(np.int64) + 1
        d = len(lower)
        self.terms = np.array(list(product(range(order), repeat=d)))
        size = float(np.prod(self.shape.astype(np.float64)) * len(self.terms))
        if size > MOST_NUMBERS:
            mend = "Use method='fourier', a larger bandwidth or fewer columns."
            raise InputError("there are too many cells for the fast Gauss transform", f"{size:.3g} moments", mend)
        l1 = (2 * (1 - 2.0**-order)) ** d * ROUNDING
        l2 = (4 / 3 * (1 - 4.0**-order)) ** (d / 2) * ROUNDING
        # What a query counts of each moment does not depend on the sensitivities: some queries tell the typical cost.
        asked = lower + (upper - lower) * np.linspace(0.3, 0.7, 8)[:, None]
        cost = sum(float(np.square(weights).sum()) for _, _, weights in self._near(asked)) / len(asked)
        self.blocks = Blocks.of((1, 1.0, 1.0, COUNT_COST, True), (int(size), l1, l2, cost, False))

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        moments, each = np.zeros((int(np.prod(self.shape)), len(self.terms))), float(step[1])
        for part in chunks(len(x), len(self.terms)):
            at = (np.clip(x[part], self.lower, self.upper) - self.lower) / self.bandwidth
            cell = np.minimum(np.rint(at), self.shape - 1).astype(np.int64)
            powers = (at - cell)[..., None] ** np.arange(self.order)
            values = np.prod([powers[:, axis, self.terms[:, axis]] for axis in range(x.shape[1])], axis=0)
            order = np.argsort(index := np.ravel_multi_index(tuple(cell.T), tuple(self.shape)), kind="stable")
            index, values = index[order], values[order]
            starts = np.flatnonzero(np.r_[True, np.diff(index) > 0])
            cut = np.trunc(values / each) if each else values  # as in `column_sums`
            moments[index[starts]] += np.add.reduceat(cut, starts, axis=0)
        return np.r_[float(len(x)), moments.ravel() * (each or 1.0)]

    def answer(
        self, prepared: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        moments, found = prepared[1:].reshape(-1, len(self.terms)), np.zeros(len(y))
        for part, cells, weights in self._near(y):
            found[part] += np.einsum("qt,qt->q", moments[cells], weights)
        return found

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        found = np.zeros(len(y))
        for part, _, weights in self._near(y):
            found[part] += np.square(weights).sum(1)
        return variances[1] * found

    def state(self) -> dict[str, np.ndarray]:
        numbers = {name: np.array(getattr(self, name)) for name in ("bandwidth", "order", "reach")}
        return {"lower": self.lower, "upper": self.upper, **numbers}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> HermiteSketch:
        numbers = float(state["bandwidth"]), int(state["order"]), float(state["reach"])
        return cls(state["lower"], state["upper"], *numbers)

    def _near(self, y: Float64[np.ndarray, "q d"]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Queries, a cell near each, and what its moments count: for one offset of the cells after the other."""
        d, radius = len(self.lower), int(np.ceil(np.sqrt(self.reach) + 0.5))
        denominators = factorial(np.arange(self.order))
        for part in chunks(len(y), 8 * len(self.terms)):
            # Far enough for no cell to be near, and near enough for whole numbers.
            at = ((y[part] - self.lower) / self.bandwidth).clip(-FAR, FAR)
            rows = np.arange(part.start, part.start + len(at))
            nearest = np.rint(at).astype(np.int64)
            for offset in product(range(-radius, radius + 1), repeat=d):
                cell = nearest + np.array(offset)
                apart = at - cell
                near = ((cell >= 0) & (cell < self.shape)).all(1) & (np.square(apart).sum(1) <= self.reach)
                if not near.any():
                    continue
                t = apart[near]
                hermite = np.stack([eval_hermite(j, t) for j in range(self.order)], -1) / denominators
                hermite *= np.exp(-np.square(t))[..., None]
                weights = np.prod([hermite[:, axis, self.terms[:, axis]] for axis in range(d)], axis=0)
                yield rows[near], np.ravel_multi_index(tuple(cell[near].T), tuple(self.shape)), weights
