"""What is kept of past tasks: samples, or something that makes them up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harmonia.core.errors import InputError


class Support(NamedTuple):
    """Rows and their classes, numbered from 0 within their task."""

    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]


class SupportMemory(ABC):
    """Learns tasks and gives support sets of them. Rows are float32 tensors, classes numbers from 0."""

    @abstractmethod
    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Take in a task.

        Returns:
            Which rows are left to train a classifier on, as a mask.
        """

    @abstractmethod
    def sample(self, task: Hashable, per_class: int, generator: torch.Generator) -> Support:
        """Rows of a task, at most that many of each class where they are stored."""

    @abstractmethod
    def forget(self, task: Hashable) -> None:
        """Remove a task for good.

        Raises:
            InputError: a memory in which tasks cannot be told apart.
        """

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that are kept."""


class Coreset(SupportMemory):
    """Random rows of every class of every task, as bytes where they lie in [0, 1], else in single precision.

    Arguments:
        per_class: Rows kept of a class; fewer of a class that has fewer.
    """

    def __init__(self, per_class: int = 20) -> None:
        self.per_class = per_class
        self._kept: dict[Hashable, _Stored] = {}

    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(y), generator=generator)
        chosen = torch.cat([order[y[order] == label][: self.per_class] for label in y.unique()])
        kept = x[chosen]
        if kept.min() >= 0 and kept.max() <= 1:
            kept = (255 * kept).round().to(torch.uint8)
        self._kept[task] = _Stored(kept, y[chosen])
        left = torch.ones(len(y), dtype=torch.bool)
        left[chosen] = False
        return left if left.any() else ~left

    def sample(self, task: Hashable, per_class: int, generator: torch.Generator) -> Support:
        kept, y = self._kept[task]
        return Support(kept.float() / 255 if kept.dtype == torch.uint8 else kept, y)

    def forget(self, task: Hashable) -> None:
        del self._kept[task]

    @property
    def nbytes(self) -> int:
        return sum(kept.numel() * kept.element_size() for kept, _ in self._kept.values())


class _Stored(NamedTuple):
    x: Any
    y: Tensor


def check_unit_range(x: Float[Tensor, "n *shape"]) -> None:
    """That rows can come out of a sigmoid.

    Raises:
        InputError: they cannot; it says what their range is.
    """
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        mend = "Scale them, or use a generator with output='linear'."
        raise InputError("a generator of images takes values from 0 to 1", f"{low:g} to {high:g}", mend)
