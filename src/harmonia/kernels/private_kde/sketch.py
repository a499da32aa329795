"""What every structure here is: sums over rows of a public map of each row, answers linear in them.

So one release answers all queries, sums of batches are sketches of all rows, and an answer's noise is known before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64

from harmonia.parts.privacy.mechanism import Blocks

_CHUNK_NUMBERS = 1 << 21
"""Numbers of an intermediate array."""


class Sketch(ABC):
    """A linear sketch of rows; the first number is how many there are.

    Attributes:
        blocks: Its parts with their sensitivities. Everything about a sketch is public: it never sees which rows come.
    """

    blocks: Blocks

    @abstractmethod
    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        """The exact sums of a batch of rows, each row's part cut to multiples of the step. Private: never kept."""

    def prepare(self, released: Float64[np.ndarray, " size"]) -> Any:
        """What `answer` looks up, computed once from a release."""
        return released

    @abstractmethod
    def answer(self, prepared: Any, y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        """Answers from what `prepare` gave."""

    def estimate(
        self, released: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        """Answers from released sums."""
        return self.answer(self.prepare(released), y)

    @abstractmethod
    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        """Variance of the answers that noise of these variances in the blocks makes."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """What `restore` needs."""

    @classmethod
    @abstractmethod
    def restore(cls, state: dict[str, np.ndarray]) -> Sketch:
        """The sketch from its `state`."""


def chunks(rows: int, width: int) -> Iterator[slice]:
    """Slices of rows of which `width` numbers each fit in memory at once.

    Example:
        >>> [part.stop for part in chunks(5, _CHUNK_NUMBERS // 2)]
        [2, 4, 5]
    """
    step = max(1, _CHUNK_NUMBERS // max(1, width))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
