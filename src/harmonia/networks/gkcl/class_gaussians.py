"""A generator in closed form: probabilistic principal components of every class of every task.

    x = m_k + W_k u + noise,   u ~ N(0, I_q)

Its maximum likelihood solution is an eigendecomposition (Tipping & Bishop 1999), and it is what a linear variational
autoencoder converges to (Lucas et al. 2019). Classes are fitted one by one: nothing is trained, nothing replayed, and
nothing that is learnt later can change what was learnt before. Memory grows with the number of classes and tasks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.memory import Support, SupportMemory


@dataclass(frozen=True)
class GaussiansConfig:
    """A `ClassGaussians` memory.

    Attributes:
        rank: Factors q of a class; 0 keeps its mean alone.
    """

    rank: int = 4

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise InputError("a class has no fewer than 0 factors", self.rank, "Give rank >= 0.")

    def build(self, shape: tuple[int, ...], contrastive: float) -> ClassGaussians:
        """The memory for rows of a shape; there is nothing that a contrastive loss could regularise."""
        return ClassGaussians(self.rank)


@dataclass(frozen=True, eq=False)
class _Class:
    mean: Tensor
    factors: Tensor

    @property
    def nbytes(self) -> int:
        return 4 * (self.mean.numel() + self.factors.numel())


class ClassGaussians(SupportMemory):
    """Mean and q factors of every class, in single precision.

    The noise outside of the factors is not added to samples, as a decoder's is not.

    Arguments:
        rank: Factors q.
    """

    def __init__(self, rank: int = 4) -> None:
        self.rank = rank
        self._classes: dict[Hashable, list[_Class]] = {}
        self._shape: torch.Size = torch.Size()
        self._range: tuple[float, float] = (0.0, 0.0)

    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        low, high = float(x.min()), float(x.max())
        if self._classes:
            low, high = min(low, self._range[0]), max(high, self._range[1])
        self._shape, self._range = x.shape[1:], (low, high)
        self._classes[task] = [self._fit(x[y == label].flatten(1)) for label in range(int(y.max()) + 1)]
        return torch.ones(len(y), dtype=torch.bool)

    def sample(self, task: Hashable, per_class: int, generator: torch.Generator) -> Support:
        rows = []
        for each in self._classes[task]:
            draws = torch.randn(per_class, len(each.factors), generator=generator)
            rows.append(each.mean + draws @ each.factors)
        x = torch.cat(rows).clamp(*self._range).reshape(-1, *self._shape)
        return Support(x, torch.arange(len(rows)).repeat_interleave(per_class))

    def forget(self, task: Hashable) -> None:
        del self._classes[task]

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for task in self._classes.values() for each in task)

    def tensors(self) -> dict[str, Tensor]:
        kept = {"shape": torch.tensor(self._shape), "range": torch.tensor(self._range, dtype=torch.float64)}
        for i, classes in enumerate(self._classes.values()):
            for k, each in enumerate(classes):
                kept |= {f"{i}.{k}.mean": each.mean, f"{i}.{k}.factors": each.factors}
        return kept

    def restore(self, tasks: Sequence[Hashable], tensors: Mapping[str, Tensor]) -> None:
        self._shape = torch.Size(tensors["shape"].tolist())
        low, high = tensors["range"].tolist()
        self._range, self._classes = (low, high), {}
        for i, task in enumerate(tasks):
            count = sum(key.startswith(f"{i}.") and key.endswith(".mean") for key in tensors)
            pairs = [(tensors[f"{i}.{k}.mean"], tensors[f"{i}.{k}.factors"]) for k in range(count)]
            self._classes[task] = [_Class(*pair) for pair in pairs]

    def _fit(self, x: Tensor) -> _Class:
        mean = x.mean(0)
        _, roots, directions = torch.linalg.svd((x - mean).double(), full_matrices=False)
        variances = roots.square() / len(x)
        rank = min(self.rank, len(x) - 1)
        # The noise is the mean variance outside of the factors; inside it is part of what is seen (eq. 7 and 8 there).
        noise = variances[rank:].sum() / max(1, x.shape[1] - rank)
        scales = (variances[:rank] - noise).clamp(min=0).sqrt()
        return _Class(mean, (scales[:, None] * directions[:rank]).float())
