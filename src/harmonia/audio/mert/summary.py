"""What a report and a table need of a song's frames, gathered chunk by chunk: memory does not grow with the song."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

WINDOWS = 240
SHORTEST_S = 0.1


@dataclass(frozen=True)
class Summary:
    """A song in the layers of a model.

    Attributes:
        windows: Means of equal stretches of frames, at most about 240 of at least a tenth of a second.
        step: Length of a stretch in seconds.
        lengths: Euclidean length of every frame's vector.
        mean, deviation: Over all frames.
    """

    windows: Float[ndarray, "layers windows dim"]
    step: float
    lengths: Float[ndarray, "layers frames"]
    mean: Float[ndarray, "layers dim"]
    deviation: Float[ndarray, "layers dim"]

    @classmethod
    def of(cls, chunks: Iterable[tuple[int, Tensor]], frames: int, seconds: float) -> Summary:
        """Gather it from first frames and features ``[layers, frames, dim]`` of chunks, from left to right.

        Frames of a chunk that an earlier one has had are passed over.

        Example:
            >>> import torch
            >>> summary = Summary.of([(0, torch.ones(1, 6, 2)), (4, torch.full((1, 6, 2), 3.0))], 10, 1.0)
            >>> summary.mean.tolist(), summary.windows[0, :, 0].tolist()
            ([[1.8, 1.8]], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0])
        """
        size = min(frames, max(1, round(max(seconds / WINDOWS, SHORTEST_S) * frames / seconds)))
        count, settled = frames // size, 0
        sums, first, second = (np.zeros(()) for _ in range(3))
        lengths = []
        for start, states in chunks:
            fresh = states[:, settled - start :].double().numpy()
            if not settled:
                sums = np.zeros((count, len(fresh), fresh.shape[2]))
            places = np.arange(settled, settled + fresh.shape[1]) // size
            inside = places < count
            np.add.at(sums, places[inside], fresh[:, inside].swapaxes(0, 1))
            first, second = first + fresh.sum(1), second + np.square(fresh).sum(1)
            lengths.append(np.linalg.norm(fresh, axis=-1).astype(np.float32))
            settled += fresh.shape[1]
        mean = first / settled
        deviation = np.sqrt(np.maximum(second / settled - np.square(mean), 0))
        windows = (sums / size).swapaxes(0, 1).astype(np.float32)
        return cls(windows, size * seconds / frames, np.concatenate(lengths, 1), mean, deviation)
