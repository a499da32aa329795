"""Priors over regression tasks: what a network that learns in context is trained on.

A task is a function and a noise level; a prompt is a sequence of its pairs, ``y_t = f(x_t) + sigma e_t``. The paper's
tasks (experiment 1) are linear, with ``1/sigma^2 ~ Gamma(a, rate b)``, ``w | sigma ~ N(mean, sigma^2 / precision)`` and
standard normal x and e.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.conjugate import NormalInverseGamma

Family = Literal["linear", "relu_net", "tree"]
Covariance = tuple[tuple[float, ...], ...]
Shift = Literal["large", "decreasing", "shrinking", "rotated"]

HIDDEN = 32
"""Neurons of a random network."""

DEPTH = 3
"""Levels of a random tree."""


class Prompts(NamedTuple):
    """Pairs of many tasks.

    Attributes:
        xs: Inputs.
        ys: Targets.
        means: Targets without their noise.
        sigmas: Standard deviation of each task's noise.
    """

    xs: Float[Tensor, "batch length dim"]
    ys: Float[Tensor, "batch length"]
    means: Float[Tensor, "batch length"]
    sigmas: Float[Tensor, " batch"]


def checked_pairs(name: str, xs: Tensor, ys: Tensor, dim: int | None = None) -> None:
    """Refuse inputs and targets that do not fit each other or the number of inputs, or are not finite."""
    if xs.shape[:-1] != ys.shape or dim not in (None, xs.shape[-1]):
        got = f"shapes {tuple(xs.shape)} and {tuple(ys.shape)}"
        mend = f"Pass [batch, length, {dim or 'dim'}] and [batch, length]."
        raise InputError(f"{name} do not fit", got, mend)
    if not (torch.isfinite(xs).all() and torch.isfinite(ys).all()):
        raise InputError(f"{name} hold values that are not finite", "NaN or infinity", "Repair or drop them.")


class Pool(NamedTuple):
    """Linear tasks: their weights and noise levels."""

    weights: Float[Tensor, "tasks dim"]
    sigmas: Float[Tensor, " tasks"]

    def take(self, rows: Tensor) -> Pool:
        """Some of them."""
        return Pool(self.weights[rows], self.sigmas[rows])


class Prior(ABC):
    """Something that draws prompts."""

    dim: int

    @abstractmethod
    def sample(self, batch: int, length: int, generator: torch.Generator) -> Prompts:
        """Prompts of `batch` tasks, in float32."""


@dataclass(frozen=True)
class TaskPrior(Prior):
    """Regression tasks whose noise is unknown.

    Attributes:
        dim: Inputs d.
        family: ``linear``, ``relu_net`` (two layers), ``tree`` (oblivious), or the share of each in a mixture. The
            nonlinear functions have variance ``sigma^2 d / precision`` at a typical input, like the linear ones.
        a, b: Shape and rate of the gamma distribution of ``1/sigma^2``.
        mean: Prior mean of every weight of a linear task.
        precision: Of the weights, in units of the noise's.
        pool_size: How many linear tasks there are at all, the paper's task diversity; None for no limit.
        pool_seed: Seed of that pool.
        covariates: ``normal``; ``scaled``: every input of a task by its own ``sqrt(2 U(0, 1))`` (the paper's "meta");
            ``correlated``: random correlations in every task, variances 1, as in tables; or a covariance matrix, see
            `shifted_covariance`.
        drop_inputs: Whether a task uses only its first k inputs, k uniform on 1 to d, and the others are zero.

    Raises:
        InputError: a distribution without a variance (a <= 1), a matrix that is no covariance, or options that do not
            exist.

    Example:
        >>> prompts = TaskPrior(dim=8).sample(4, 101, torch.Generator().manual_seed(0))
        >>> prompts.xs.shape, prompts.ys.shape
        (torch.Size([4, 101, 8]), torch.Size([4, 101]))
        >>> round(TaskPrior(dim=8).belief().predict(torch.ones(8).double()).variance.item(), 4)  # 20/19 (1 + 8)
        9.4737
    """

    dim: int
    family: Family | Mapping[str, float] = "linear"
    a: float = 20.0
    b: float = 20.0
    mean: float = 1.0
    precision: float = 1.0
    pool_size: int | None = None
    pool_seed: int = 0
    covariates: Literal["normal", "scaled", "correlated"] | Covariance | ndarray | Tensor = "normal"
    drop_inputs: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise InputError("tasks have at least one input", self.dim, "Pass dim of 1 or more.")
        if not self.a > 1:
            raise InputError("with a <= 1 the noise has no finite variance", self.a, "Pass a larger a.")
        if not (self.b > 0 and self.precision > 0):
            got = f"b={self.b}, precision={self.precision}"
            raise InputError("rates and precisions are positive", got, "Pass positive numbers.")
        unknown = set(self.shares) - set(get_args(Family))
        if unknown or not sum(self.shares.values()) > 0 or min(self.shares.values()) < 0:
            raise InputError("there is no such family of tasks", self.family, "Use linear, relu_net, tree or shares.")
        if self.pool_size is not None and (self.pool_size < 1 or not self.is_linear):
            raise InputError("a pool holds one or more linear tasks", self.pool_size, "Use family='linear'.")
        if isinstance(self.covariates, str):
            if self.covariates not in ("normal", "scaled", "correlated"):
                raise InputError(
                    "there are no such covariates", self.covariates, "Use normal, scaled, correlated or a matrix."
                )
        else:
            object.__setattr__(self, "covariates", _covariance(self.covariates, self.dim))

    @property
    def shares(self) -> dict[str, float]:
        """Share of each family."""
        return {self.family: 1.0} if isinstance(self.family, str) else dict(self.family)

    @property
    def is_linear(self) -> bool:
        """Whether all tasks are linear, so that the Bayesian answer is known exactly."""
        return {name for name, share in self.shares.items() if share} == {"linear"}

    def belief(self) -> NormalInverseGamma:
        """What is known of a linear task before any pair; the exact reference starts here.

        Raises:
            InputError: tasks that are not all linear, whose posterior nobody knows exactly.
        """
        if not self.is_linear:
            raise InputError("the exact posterior is known for linear tasks only", self.family, "Use family='linear'.")
        return NormalInverseGamma.prior(self.dim, mean=self.mean, precision=self.precision, shape=self.a, rate=self.b)

    def pool(self) -> Pool:
        """The tasks of a finite pool.

        Raises:
            InputError: the prior has no limit.
        """
        if self.pool_size is None:
            raise InputError("the prior has infinitely many tasks", "pool_size=None", "Set pool_size.")
        return self._pool

    @cached_property
    def _pool(self) -> Pool:
        return self.linear_tasks(self.pool_size or 0, torch.Generator().manual_seed(self.pool_seed))

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Prompts:
        if self.pool_size is None:
            tasks = self.linear_tasks(batch, generator)
        else:
            tasks = self.pool().take(torch.randint(self.pool_size, (batch,), generator=generator))
        xs = self._inputs(batch, length, generator)
        means = (xs @ tasks.weights[..., None])[..., 0]
        if not self.is_linear:
            names = list(self.shares)
            which = torch.multinomial(torch.tensor(list(self.shares.values())), batch, True, generator=generator)
            for index, name in enumerate(names):
                rows = (which == index).nonzero()[:, 0]
                if name != "linear" and len(rows):
                    scale = tasks.sigmas[rows, None] * (self.dim / self.precision) ** 0.5
                    means[rows] = scale * _FUNCTIONS[name](xs[rows], generator)
        ys = means + tasks.sigmas[:, None] * torch.randn(batch, length, generator=generator)
        return Prompts(xs, ys, means, tasks.sigmas)

    def linear_tasks(self, count: int, generator: torch.Generator) -> Pool:
        """Weights and noise levels of linear tasks."""
        gamma = torch._standard_gamma(torch.full((count,), self.a, dtype=torch.float64), generator=generator)
        sigmas = (self.b / gamma).sqrt().float()
        noise = torch.randn(count, self.dim, generator=generator)
        return Pool(self.mean + sigmas[:, None] / self.precision**0.5 * noise, sigmas)

    def _inputs(self, batch: int, length: int, generator: torch.Generator) -> Tensor:
        xs = torch.randn(batch, length, self.dim, generator=generator)
        if self.covariates == "scaled":
            xs = xs * (2 * torch.rand(batch, 1, self.dim, generator=generator)).sqrt()
        elif self.covariates == "correlated":
            mix = torch.eye(self.dim) + torch.rand(batch, 1, 1, generator=generator) * torch.randn(
                batch, self.dim, self.dim, generator=generator
            )
            xs = xs @ (mix / mix.norm(dim=1, keepdim=True))
        elif self.covariates != "normal":
            xs = xs @ torch.linalg.cholesky(torch.tensor(self.covariates, dtype=torch.float64)).float().T
        if self.drop_inputs:
            used = torch.randint(1, self.dim + 1, (batch, 1, 1), generator=generator)
            xs = xs * (torch.arange(self.dim) < used)
        return xs


@dataclass(frozen=True)
class FlippedPrior(Prior):
    """Tasks whose noise tells the sign of their weights, and the same with the pairing swapped (experiments 5 and 9).

    In training ``w = |n|`` goes with sigma in (.1, .3) or (.5, .7), and ``w = -|n|`` with (.3, .5) or (.7, .9), n
    standard normal. Whoever reads the noise from the pairs is right after the swap; whoever looks at the sign is wrong.

    Attributes:
        dim: Inputs d.
        swapped: Whether the other sign goes with each interval.
    """

    dim: int
    swapped: bool = False

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Prompts:
        negative = torch.rand(batch, generator=generator) < 0.5
        upper = torch.rand(batch, generator=generator) < 0.5
        low = interval_of(negative != self.swapped, upper)
        sigmas = low + 0.2 * torch.rand(batch, generator=generator)
        weights = torch.randn(batch, self.dim, generator=generator).abs()
        weights = torch.where(negative[:, None], -weights, weights)
        xs = torch.randn(batch, length, self.dim, generator=generator)
        means = (xs @ weights[..., None])[..., 0]
        return Prompts(xs, means + sigmas[:, None] * torch.randn(batch, length, generator=generator), means, sigmas)


def interval_of(odd: Tensor, upper: Tensor) -> Tensor:
    """Lower end of the interval of sigma: .1 or .5 for even, .3 or .7 for odd ones."""
    return 0.1 + 0.2 * odd + 0.4 * upper


def shifted_covariance(shift: Shift, dim: int, seed: int = 0) -> Covariance:
    """Covariances of experiment 8: ``4 I``, ``diag(d/i)``, ``diag(d/i^2)``, ``Q diag(d/i) Q'`` with a random Q.

    Example:
        >>> shifted_covariance("decreasing", 2)
        ((2.0, 0.0), (0.0, 1.0))
    """
    order = torch.arange(1, dim + 1, dtype=torch.float64)
    spectrum = {"large": 4 * torch.ones(dim).double(), "shrinking": dim / order**2}.get(shift, dim / order)
    matrix = torch.diag(spectrum)
    if shift == "rotated":
        noise = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        turn = torch.linalg.qr(noise).Q
        matrix = turn @ matrix @ turn.T
        matrix = 0.5 * (matrix + matrix.T)
    return tuple(tuple(row) for row in matrix.tolist())


def _covariance(rows: Covariance | ndarray | Tensor, dim: int) -> Covariance:
    """A matrix as tuples, which priors can be compared and stored with."""
    matrix = tuple(tuple(map(float, row)) for row in rows)
    if [len(row) for row in matrix] != [dim] * dim:
        raise InputError("the covariance does not fit the inputs", f"{len(matrix)} rows", f"Pass {dim} rows of {dim}.")
    values = torch.tensor(matrix, dtype=torch.float64)
    if not torch.allclose(values, values.T) or torch.linalg.cholesky_ex(values).info:
        raise InputError("covariances are symmetric and positive definite", matrix, "Pass such a matrix.")
    return matrix


def _relu_net(xs: Tensor, generator: torch.Generator) -> Tensor:
    """Two layers, ``sqrt(2/(d H)) v . relu(U x)``: variance 1 for x of variance 1."""
    batch, _, dim = xs.shape
    first = torch.randn(batch, dim, HIDDEN, generator=generator)
    second = torch.randn(batch, HIDDEN, 1, generator=generator)
    return (torch.relu(xs @ first) @ second)[..., 0] * (2 / (dim * HIDDEN)) ** 0.5


def _tree(xs: Tensor, generator: torch.Generator) -> Tensor:
    """An oblivious tree: level l asks whether input j_l exceeds a threshold; leaves are standard normal."""
    batch, length, dim = xs.shape
    asked = torch.randint(dim, (batch, 1, DEPTH), generator=generator)
    threshold = 0.5 * torch.randn(batch, 1, DEPTH, generator=generator)
    answers = xs.gather(2, asked.expand(-1, length, -1)) > threshold
    leaf = (answers * 2 ** torch.arange(DEPTH)).sum(-1)
    return torch.randn(batch, 2**DEPTH, generator=generator).gather(1, leaf)


_FUNCTIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"relu_net": _relu_net, "tree": _tree}
