"""What is kept of past tasks: samples, or something that makes them up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harmonia.core.errors import InputError


class Support(NamedTuple):
    """Rows and their classes, numbered from 0 within their task."""

    x: Float[Tensor, "n *shape"]
    y: Int64[Tensor, " n"]


_MERGED = 0.1
"""Share of a column's different values that one byte may stand for at most; see `_bytes_suffice`."""


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

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What is kept, for a file; tasks are numbered in their order."""

    @abstractmethod
    def restore(self, tasks: Sequence[Hashable], tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` of a memory of the same configuration gave, of these tasks.

        Raises:
            KeyError, WeightsError: tensors of another memory.
        """


class Coreset(SupportMemory):
    """Random rows of every class of every task, as bytes where these lose nothing, else in single precision.

    Bytes stand for values from 0 to 1, in steps of 1/255. They are enough for pictures, and for every task whose
    columns spread over many of these steps; one that is squeezed into a few of them is stored as it is.

    Arguments:
        per_class: Rows kept of a class; fewer of a class that has fewer.
    """

    def __init__(self, per_class: int = 20) -> None:
        self.per_class = per_class
        self._kept: dict[Hashable, _Stored] = {}

    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(y), generator=generator)
        chosen = torch.cat([order[y[order] == label][: self.per_class] for label in y.unique()])
        kept = (255 * x[chosen]).round().to(torch.uint8) if _bytes_suffice(x) else x[chosen]
        self._kept[task] = _Stored(kept, y[chosen])
        left = torch.ones(len(y), dtype=torch.bool)
        left[chosen] = False
        return left if left.any() else ~left

    def sample(self, task: Hashable, per_class: int, generator: torch.Generator) -> Support:
        kept, y = self._kept[task]
        if per_class < int(y.bincount().max()):
            order = torch.randperm(len(y), generator=generator)
            chosen = torch.cat([order[y[order] == label][:per_class] for label in y.unique()])
            kept, y = kept[chosen], y[chosen]
        return Support(kept.float() / 255 if kept.dtype == torch.uint8 else kept, y)

    def forget(self, task: Hashable) -> None:
        del self._kept[task]

    @property
    def nbytes(self) -> int:
        return sum(kept.numel() * kept.element_size() for kept, _ in self._kept.values())

    def tensors(self) -> dict[str, Tensor]:
        stored = enumerate(self._kept.values())
        return {f"{i}.{name}": part for i, each in stored for name, part in each._asdict().items()}

    def restore(self, tasks: Sequence[Hashable], tensors: Mapping[str, Tensor]) -> None:
        self._kept = {task: _Stored(tensors[f"{i}.x"], tensors[f"{i}.y"]) for i, task in enumerate(tasks)}


class _Stored(NamedTuple):
    x: Tensor
    y: Tensor


def row_bytes(x: Float[Tensor, "n *shape"]) -> int:
    """Bytes that a `Coreset` takes for a row of a task like this."""
    return x[0].numel() * (1 if _bytes_suffice(x) else x.element_size())


def _bytes_suffice(x: Float[Tensor, "n *shape"]) -> bool:
    """Whether rounding to bytes tells apart what the values of every column tell apart.

    No range is looked at, for a single outlier would make it wide: of the different values of a column only few may
    become the same byte. Grey values, of which no two do, always pass.
    """
    if x.min() < 0 or x.max() > 1:
        return False
    values = x.flatten(1).sort(0).values
    new = torch.cat([torch.ones_like(values[:1], dtype=torch.bool), values[1:] != values[:-1]])
    counts = new.new_zeros(256, new.shape[1], dtype=torch.long)
    counts.scatter_add_(0, (255 * values).round().long(), new.long())
    return bool((counts.amax(0) <= (_MERGED * new.sum(0)).clamp(min=1)).all())


def check_unit_range(x: Float[Tensor, "n *shape"]) -> None:
    """That rows can come out of a sigmoid.

    Raises:
        InputError: they cannot; it says what their range is.
    """
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        mend = "Scale them, or use a generator with output='linear'."
        raise InputError("a generator of images takes values from 0 to 1", f"{low:g} to {high:g}", mend)
