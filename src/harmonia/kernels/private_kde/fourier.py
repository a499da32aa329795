"""Kernel sums by random Fourier features, after a projection that does not look at the data (Section 7).

``phi(x) = [cos(W G x), sin(W G x)] / sqrt(F)`` has inner products ``f / f(0)`` in expectation, and norm exactly 1: the
sum over rows has l2 sensitivity 1 and l1 sensitivity ``sqrt(2F)``, and an answer ``<z, phi(y)>`` has the same noise for
every query. (With random phases instead of sines the sensitivities would be sqrt(2) times larger.) The
Johnson-Lindenstrauss matrix G keeps average kernel values up to a small error that does not depend on how many rows or
columns there are, and makes queries cost ``d k + k F`` instead of ``d F``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.similarity import Similarity
from harmonia.kernels.private_kde.sketch import Sketch, chunks
from harmonia.parts.gram import DenseProjection, Directions, Projection, StructuredProjection, johnson_lindenstrauss
from harmonia.parts.privacy.mechanism import COUNT_COST, ROUNDING, Blocks

FAR = 1e7
"""Bandwidths beyond which coordinates are moved to this one.

Phases of farther rows would be rounding errors, which depend on the rows that come with them, so that one row could
change the features of all; and in the end products overflow, and features are no numbers.
"""


class FourierSketch(Sketch):
    """Sums of features.

    Arguments:
        frequencies: The map to ``W x``, in the data's units.
        project: The projection before it, or None.
        total: ``f(0)``.
        limit: Largest coordinate; larger ones are moved to it.
    """

    def __init__(
        self,
        frequencies: Projection,
        count: int,
        project: Projection | None = None,
        total: float = 1.0,
        *,
        limit: float,
    ) -> None:
        self.frequencies, self.count, self.project, self.total = frequencies, count, project, total
        self.limit = limit
        features = (2 * count, np.sqrt(2.0 * count) * ROUNDING, ROUNDING, total**2, False)
        self.blocks = Blocks.of((1, 1.0, 1.0, COUNT_COST * total**2, True), features)

    @classmethod
    def draw(
        cls,
        similarity: Similarity,
        bandwidth: float,
        inputs: int,
        features: int,
        *,
        project_dim: int | None = None,
        directions: Directions = "gaussian",
        seed: int = 0,
    ) -> FourierSketch:
        """Random features of a kernel; with `project_dim` of rows projected to so many numbers.

        Raises:
            InputError: a projection for a kernel of the l1 distance, which random projections do not keep.
        """
        generator = torch.Generator().manual_seed(seed)
        project: Projection | None = None
        if project_dim is not None:
            if similarity.distance == "l1":
                mend = "Leave project_dim out, or use a kernel of the Euclidean distance."
                raise InputError("random projections keep Euclidean distances, not l1", project_dim, mend)
            project = johnson_lindenstrauss(inputs, project_dim, generator=generator)
            inputs = project_dim
        count = features // 2
        drawn = similarity.frequencies(inputs, count, bandwidth, generator, directions)
        return cls(drawn, count, project, similarity.total, limit=FAR * bandwidth)

    def features(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n features"]:
        """phi of every row."""
        return self._waves(x).mul_(self.count**-0.5).numpy()

    def _waves(self, x: Float64[np.ndarray, "n d"]) -> Float[Tensor, "n features"]:
        """Cosines and sines, not yet scaled."""
        rows = torch.from_numpy(np.require(x, requirements=["C", "W"])).clamp(-self.limit, self.limit)
        angles = self.frequencies(rows if self.project is None else self.project(rows))
        found = torch.empty(len(x), 2 * self.count, dtype=torch.float64)
        torch.cos(angles, out=found[:, : self.count])
        torch.sin(angles, out=found[:, self.count :])
        return found

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        found = np.zeros(self.blocks.size)
        found[0] = len(x)
        steps, scale = float(step[1]), self.count**-0.5
        for part in chunks(len(x), 2 * self.count):
            waves = self._waves(x[part])
            if steps:  # cut as in `column_sums`, in place
                found[1:] += waves.mul_(scale / steps).trunc_().sum(0).numpy() * steps
            else:
                found[1:] += waves.sum(0).numpy() * scale
        return found

    def answer(
        self, prepared: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        return self.estimates(prepared[None], y)[:, 0]

    def estimates(
        self, released: Float64[np.ndarray, "sets size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, "q sets"]:
        """Answers from several releases at once: features are computed once."""
        parts = [self.features(y[part]) @ released[:, 1:].T for part in chunks(len(y), 2 * self.count)]
        return self.total * np.concatenate(parts)

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        return np.full(len(y), self.total**2 * variances[1])

    def spread(
        self, released: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        """Standard error of answers with all their causes but the projection's: noise, and the number of frequencies.

        Each frequency gives an estimate of its own; their spread tells the error of the mean. One tells nothing.
        """
        if self.count == 1:
            return np.full(len(y), np.inf)
        found = np.empty(len(y))
        for part in chunks(len(y), 2 * self.count):
            products = self.features(y[part]) * released[1:]
            each = products[:, : self.count] + products[:, self.count :]
            found[part] = each.std(1, ddof=1)
        return self.total * np.sqrt(self.count) * found

    def state(self) -> dict[str, np.ndarray]:
        numbers = {"count": self.count, "total": self.total, "limit": self.limit}
        saved = {name: np.array(number) for name, number in numbers.items()}
        for name, projection in (("project", self.project), ("frequencies", self.frequencies)):
            if isinstance(projection, DenseProjection):
                saved[f"{name}.weight"] = projection.weight.numpy()
            elif isinstance(projection, StructuredProjection):
                saved[f"{name}.signs"] = projection.signs.numpy().astype(np.int8)
                saved[f"{name}.factors"] = projection.factors.numpy()
                saved[f"{name}.inputs"] = np.array(projection.inputs)
        return saved

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> FourierSketch:
        frequencies = _projection(state, "frequencies")
        if frequencies is None:
            raise KeyError("frequencies")
        total, limit = float(state["total"]), float(state["limit"])
        return cls(frequencies, int(state["count"]), _projection(state, "project"), total, limit=limit)


def _projection(state: dict[str, np.ndarray], name: str) -> Projection | None:
    def tensor(key: str) -> Tensor:
        return torch.from_numpy(np.array(state[f"{name}.{key}"], dtype=np.float64))

    if f"{name}.weight" in state:
        return DenseProjection(tensor("weight"))
    if f"{name}.signs" in state:
        inputs: Any = state[f"{name}.inputs"]
        return StructuredProjection(tensor("signs"), tensor("factors"), int(inputs))
    return None
