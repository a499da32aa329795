"""Squared distances and inner products, exactly, from three sums (Section 6).

``sum_x |x - y|^2 = n |y|^2 - 2 y . S1 + S2`` with ``S1 = sum x`` and ``S2 = sum |x|^2``; rows are seen from the centre
of their public domain, in which their norms are bounded.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.sketch import Sketch, chunks
from harmonia.parts.privacy.mechanism import COUNT_COST, ROUNDING, Blocks, column_sums


class MomentSketch(Sketch):
    """n, S1 and, for squared distances, S2.

    Arguments:
        domain: Where rows lie; they are clipped to it.
        products: Answer with inner products ``sum_x x . y`` instead.
    """

    def __init__(self, domain: Domain, products: bool = False) -> None:
        self.domain, self.products = domain, products
        d, radius, l1 = len(domain.lower), domain.radius * ROUNDING, domain.largest_l1 * ROUNDING
        # Costs at a query of norm radius / sqrt(2), on average over directions.
        if products:
            typical = float(np.square(domain.centre).sum() + radius**2 / 2)
            count_cost = max(COUNT_COST * radius**2 * typical, float(domain.centre @ domain.centre) ** 2)
            self.blocks = Blocks.of((1, 1.0, 1.0, count_cost, True), (d, l1, radius, typical, False))
        else:
            squares = (1, radius**2, radius**2, 1.0, False)
            self.blocks = Blocks.of((1, 1.0, 1.0, radius**4 / 4, True), (d, l1, radius, 2 * radius**2, False), squares)

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        found = np.zeros(self.blocks.size)
        for part in chunks(len(x), x.shape[1]):
            seen = self.domain.clip(x[part])
            columns = [np.ones((len(seen), 1)), seen]
            if not self.products:
                columns.append(np.square(seen).sum(1, keepdims=True))
            found += column_sums(np.hstack(columns), step)
        found[0] = len(x)
        return found

    def answer(
        self, prepared: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        return self.estimates(prepared[None], y)[:, 0]

    def estimates(
        self, released: Float64[np.ndarray, "sets size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, "q sets"]:
        """Answers from several releases at once."""
        d, centre = len(self.domain.lower), self.domain.centre
        if self.products:
            return y @ (released[:, 1 : 1 + d] + released[:, :1] * centre).T
        seen = y - centre
        return np.square(seen).sum(1)[:, None] * released[:, 0] - 2 * seen @ released[:, 1 : 1 + d].T + released[:, -1]

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        if self.products:
            return variances[0] * (y @ self.domain.centre) ** 2 + variances[1] * np.square(y).sum(1)
        norms = np.square(y - self.domain.centre).sum(1)
        return variances[0] * norms**2 + 4 * variances[1] * norms + variances[2]

    def mean_squared_distance(self, released: Float64[np.ndarray, " size"]) -> float:
        """Of two rows: ``2 (S2 / n - |S1 / n|^2)``."""
        n = max(1.0, released[0])
        return float(max(0.0, 2 * (released[-1] / n - np.square(released[1:-1] / n).sum())))

    def state(self) -> dict[str, np.ndarray]:
        return {"products": np.array(self.products), **self.domain.state()}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> MomentSketch:
        return cls(Domain.restore(state), bool(state["products"]))
