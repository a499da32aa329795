"""The classifier of a task: kernel ridge regression on its support set, differentiable by everything.

    a = (K(S, S) + (|lmd| + 0.01) I)^-1 Y,    logits(q) = scale K(q, S) a

The official code also learns an offset for each task, one number that is added to all logits; neither the softmax nor
the largest logit can feel it, so there is none here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.variational import VariationalBases
from harmonia.parts.gram import (
    KernelFunction,
    Laplace,
    Linear,
    Polynomial,
    SquaredExponential,
    feature_ridge,
    kernel_ridge,
)

KernelName = Literal["linear", "laplace", "poly", "gaussian", "rff", "vrf"]

FLOOR = 0.01
"""Smallest ridge, so that no kernel matrix is singular."""


def kernel_of(kernel: KernelFunction | VariationalBases | str) -> KernelFunction:
    """The kernel of a name, with the constants of the official code; random features are compared linearly.

    Raises:
        InputError: no such kernel.

    Example:
        >>> kernel_of("laplace")
        Laplace(lengthscale=4.0)
    """
    if isinstance(kernel, KernelFunction):
        return kernel
    if isinstance(kernel, VariationalBases):
        return Linear()
    named: dict[str, KernelFunction] = {
        "linear": Linear(),
        "laplace": Laplace(4.0),  # exp(-0.25 |f - f'|_1), called rbf there
        "poly": Polynomial(3, 1.0, 1.0),
        "gaussian": SquaredExponential(),
        "rff": Linear(),
        "vrf": Linear(),
    }
    if kernel not in named:
        names = ", ".join(get_args(KernelName))
        raise InputError("there is no such kernel", repr(kernel), f"Use {names}, or a kernel of harmonia.parts.gram.")
    return named[kernel]


@dataclass(frozen=True, eq=False)
class SupportFit:
    """A ridge regression on a support set, ready for queries.

    Attributes:
        kernel: The kernel, on features.
        support: The support's features; None where the kernel is linear and `coefficients` are weights of features.
        coefficients: Of the support's rows, or of the features.
        embed: Maps a backbone's features to those that the kernel compares.
    """

    kernel: KernelFunction
    support: Float[Tensor, "n d"] | None
    coefficients: Float[Tensor, "m k"]
    embed: Callable[[Tensor], Tensor]

    @classmethod
    def of(
        cls,
        kernel: KernelFunction,
        features: Float[Tensor, "n d"],
        targets: Float[Tensor, "n k"],
        penalty: float | Tensor,
        embed: Callable[[Tensor], Tensor] = lambda features: features,
    ) -> SupportFit:
        """Fit. Linear kernels are solved in whichever of both spaces is smaller.

        Example:
            >>> f, y = torch.eye(3), torch.eye(3)
            >>> SupportFit.of(Linear(), f, y, 1.0)(f)[0].round(decimals=4)
            tensor([0.5000, 0.0000, 0.0000])
        """
        embedded = embed(features)
        if isinstance(kernel, Linear):
            return cls(kernel, None, feature_ridge(embedded, targets, penalty), embed)
        return cls(kernel, embedded, kernel_ridge(kernel(embedded), targets, penalty), embed)

    def __call__(self, queries: Float[Tensor, "q d"]) -> Float[Tensor, "q k"]:
        embedded = self.embed(queries)
        if self.support is None:
            return embedded @ self.coefficients
        return self.kernel(embedded, self.support) @ self.coefficients


class TaskHead(nn.Module):
    """The two numbers that a task learns for its regression.

    Arguments:
        penalty: lmd to begin with.
        scale: What scores are multiplied by before the softmax, to begin with.
    """

    def __init__(self, penalty: float = 0.1, scale: float = 8.0) -> None:
        super().__init__()
        self.raw_penalty = nn.Parameter(torch.tensor(float(penalty)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    @property
    def penalty(self) -> Float[Tensor, ""]:
        """``|lmd| + 0.01``."""
        return self.raw_penalty.abs() + FLOOR
