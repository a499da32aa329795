"""The last part of series, kept apart from what is learnt, to choose by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from harmonia.media import Series

SHARE = 0.15
MOST = 128
"""Windows that are enough to choose by."""


def first(series: Series, rows: int) -> Series:
    """The first rows of a series."""
    return Series(series.values[:rows], series.names, series.times[:rows])


class Late:
    """Where series are cut, and the windows whose future lies behind the cut.

    Arguments:
        series: The whole series.
        lookback: Length of a window.
        horizon: Steps of its future.

    Example:
        >>> import numpy as np
        >>> late = Late([Series(np.arange(100.0))], lookback=10, horizon=5)
        >>> late.early([Series(np.arange(100.0))])[0].values[-1].item(), late.windows()[[0, -1]].tolist()
        (84.0, [75, 85])
    """

    def __init__(self, series: Sequence[Series], lookback: int, horizon: int) -> None:
        self.lookback, self.horizon = lookback, horizon
        self._lengths = [len(each) for each in series]
        # A horizon longer than the share of the series still leaves one window whose future lies behind the cut.
        self._cuts = [min(round((1 - SHARE) * length), length - horizon) for length in self._lengths]

    def leaves(self, futures: int) -> bool:
        """Whether a window and so many horizons lie before every cut, and any window's future behind one."""
        return min(self._cuts) >= self.lookback + futures * self.horizon and len(self.windows()) > 0

    def early(self, series: Sequence[Series]) -> list[Series]:
        """The parts of series of these lengths that lie before the cuts."""
        return [first(each, cut) for each, cut in zip(series, self._cuts, strict=True)]

    def windows(self) -> Int[Tensor, " windows"]:
        """Numbers, among all windows of all series, of late ones; evenly spread, at most `MOST`."""
        found, offset = [], 0
        for length, cut in zip(self._lengths, self._cuts, strict=True):
            count = max(0, length - self.lookback - self.horizon + 1)
            found.append(offset + torch.arange(max(0, cut - self.lookback), count))
            offset += count
        every = torch.cat(found)
        return every[torch.linspace(0, len(every) - 1, min(len(every), MOST)).long()] if len(every) else every
