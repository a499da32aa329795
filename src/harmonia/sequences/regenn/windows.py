"""All windows of a panel, each with what follows it: views of one tensor, drawn at random as (sample, start) pairs."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.data.panel import Panel

MOST_NUMBERS = 20_000_000
"""How many numbers all windows are taken to hold at once, at most."""


def held_back(length: int, horizon: int, share: float) -> int:
    """How many times at the end are held back: a share of all, one horizon at least."""
    return max(horizon, round(share * length))


def shortest(before: int, horizon: int, share: float) -> int:
    """The least length of which `before` times are left when the end is held back.

    Example:
        >>> shortest(9, horizon=3, share=0.1), shortest(90, horizon=3, share=0.1)
        (12, 100)
    """
    return next(each for each in count(before + horizon) if each - held_back(each, horizon, share) >= before)


class Batch(NamedTuple):
    """Windows, what followed, and which of that is known."""

    past: Float[Tensor, "windows window v"]
    future: Float[Tensor, "windows stride v"]
    known: Bool[Tensor, "windows stride v"]


class PanelWindows:
    """Windows of a panel whose forecasts lie between two times; nothing is copied until a batch is taken.

    Arguments:
        filled: The panel without gaps.
        present: Which of its values were there before.
        window: Length of the past.
        stride: Length of what follows.
        first: The earliest row that is forecast.
        last: The row after the latest one.

    Raises:
        InputError: too few rows.

    Example:
        >>> import numpy as np
        >>> panel = Panel(np.arange(20.0).reshape(2, 10, 1))
        >>> windows = PanelWindows(panel, torch.ones(2, 10, 1, dtype=torch.bool), window=3, stride=2, first=0, last=10)
        >>> len(windows), windows.all().future[0, :, 0].tolist()
        (12, [3.0, 4.0])
    """

    def __init__(
        self, filled: Panel, present: Bool[Tensor, "samples time v"], window: int, stride: int, first: int, last: int
    ) -> None:
        values = torch.from_numpy(filled.values)
        start = max(first - window, 0)
        self.window = window
        if last - start < window + stride:
            mend = "Pass a longer panel, or lower window or horizon."
            raise InputError(f"a window and its forecast need {window + stride} times", last - start, mend)
        self._values = values[:, start:last].unfold(1, window + stride, 1)
        self._present = present[:, start:last].unfold(1, window + stride, 1)
        self.samples, self.starts = self._values.shape[:2]

    def __len__(self) -> int:
        return self.samples * self.starts

    def at(self, index: Int64[Tensor, " windows"]) -> Batch:
        """Windows by their numbers, sample by sample; float64."""
        sample, start = index // self.starts, index % self.starts
        values, known = self._values[sample, start].mT, self._present[sample, start].mT
        return Batch(values[:, : self.window], values[:, self.window :], known[:, self.window :])

    def all(self) -> Batch:
        """All windows, or as many of them, evenly spaced, as hold `MOST_NUMBERS`."""
        most = max(1, MOST_NUMBERS // (self._values.shape[2] * self._values.shape[3]))
        return self.at(torch.linspace(0, len(self) - 1, min(most, len(self)), dtype=torch.float64).round().long())

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch, with replacement."""
        return self.at(torch.randint(len(self), (size,), generator=generator))
