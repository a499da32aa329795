"""Long signals in overlapping chunks: where the chunks lie, and how their results become one signal again.

The results are joined by a weighted mean, taken as a running one: ``W += w; y += (w / W) (y_i - y)``. Where all chunks
agree the outcome is bit for bit what they agree on, every position has a positive weight, and only the samples that
later chunks still touch are kept in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from harmonia.core.errors import InputError

Window = Literal["hann", "triangle"] | Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Chunk:
    """A piece of a signal.

    Attributes:
        start: Its first sample.
        weights: Weight of each of its samples in the joined result; as many as it has samples.
        settled: Where the next chunk begins: nothing that follows touches the samples before.
    """

    start: int
    weights: Float[np.ndarray, " size"]
    settled: int

    @property
    def stop(self) -> int:
        """One past its last sample."""
        return self.start + len(self.weights)


def even_chunks(total: int, size: int, overlap: float, window: Window = "hann") -> list[Chunk]:
    """As few chunks as keep the overlap, spread evenly, the last one ending at the end.

    Arguments:
        total: Length of the signal.
        size: Length of a chunk; a shorter signal is one chunk.
        overlap: Least overlap of neighbours as a fraction of `size`, from 0 to below 1.
        window: ``hann`` (raised cosine), ``triangle``, or a function from a length to as many positive weights.

    Raises:
        InputError: a size below 1, an overlap outside [0, 1), or weights that are not positive.

    Example:
        >>> [(chunk.start, chunk.stop) for chunk in even_chunks(100, 40, overlap=0.25)]
        [(0, 40), (30, 70), (60, 100)]
    """
    if size < 1 or not 0 <= overlap < 1:
        raise InputError(
            "chunks need a length of at least one sample and an overlap from 0 to below 1",
            f"{size} samples, overlap {overlap}",
            "Change them.",
        )
    size = min(size, total)
    count = 1 + math.ceil((total - size) / max(1, size - math.ceil(size * overlap)))
    starts = [round(i * (total - size) / max(1, count - 1)) for i in range(count)]
    weights = chunk_weights(window, size)
    return [Chunk(start, weights, settled) for start, settled in zip(starts, [*starts[1:], total], strict=True)]


def chunk_weights(window: Window, size: int) -> Float[np.ndarray, " size"]:
    """Positive weights of the samples of a chunk, largest in its middle.

    Arguments:
        window: ``hann`` (raised cosine), ``triangle``, or a function from the length to an array of positive numbers.
        size: Length of the chunk.

    Raises:
        InputError: weights that are not positive, or of another length.

    Example:
        >>> chunk_weights("triangle", 4)
        array([0.25, 0.75, 0.75, 0.25])
    """
    middle = (np.arange(size) + 0.5) / size
    if callable(window):
        weights = np.asarray(window(size), dtype=np.float64)
    elif window == "hann":
        weights = np.sin(np.pi * middle) ** 2
    elif window == "triangle":
        weights = 1 - np.abs(2 * middle - 1)
    else:
        raise InputError("there is no such window", window, "Use 'hann', 'triangle' or a function.")
    if weights.shape != (size,) or not (weights > 0).all():
        raise InputError(
            "a window gives a positive weight to every sample of a chunk",
            f"shape {weights.shape}, smallest weight {weights.min(initial=np.inf):g}",
            "Return an array of that length above zero.",
        )
    return weights


class OverlapAdd:
    """Joins the results of chunks, added from left to right, into one signal.

    Example:
        >>> joined = OverlapAdd()
        >>> joined.add(0, np.array([1.0, 1.0, 1.0]), np.ones(3))
        >>> joined.add(2, np.array([3.0, 3.0]), np.ones(2))
        >>> joined.take(2), joined.take(4)     # what lies before 2 is settled; then the rest
        (array([1., 1.]), array([2., 3.]))
    """

    def __init__(self) -> None:
        self._start = 0
        self._mean: np.ndarray | None = None
        self._weight = np.zeros(0)

    def add(self, start: int, values: Float[np.ndarray, "*batch size"], weights: Float[np.ndarray, " size"]) -> None:
        """Add the result of a chunk that starts at `start`, which must not lie before what was taken."""
        first, last = start - self._start, start - self._start + values.shape[-1]
        assert first >= 0, "chunks are added from left to right"
        missing = last - len(self._weight)
        if self._mean is None:
            self._mean = np.zeros((*values.shape[:-1], 0), dtype=values.dtype)
        if missing > 0:
            self._mean = np.concatenate([self._mean, np.zeros((*values.shape[:-1], missing), values.dtype)], axis=-1)
            self._weight = np.concatenate([self._weight, np.zeros(missing)])
        self._weight[first:last] += weights
        # A position that no chunk has weighted yet stays zero.
        share = np.divide(weights, self._weight[first:last], out=np.zeros_like(weights), where=weights > 0)
        mean = self._mean[..., first:last]
        mean += share.astype(values.dtype) * (values - mean)

    def take(self, until: int) -> Float[np.ndarray, "*batch taken"]:
        """Remove and return the samples before `until`."""
        assert self._mean is not None, "nothing was added"
        count = until - self._start
        taken = self._mean[..., :count].copy()
        self._mean, self._weight, self._start = self._mean[..., count:].copy(), self._weight[count:], until
        return taken
