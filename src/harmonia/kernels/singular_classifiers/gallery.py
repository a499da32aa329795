"""Well-known activations, as they are and without their Gaussian mean, and their place in the taxonomy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.duals import dual_of
from harmonia.kernels.singular_classifiers.taxonomy import Taxonomy, activation_taxonomy, taxonomy_of
from harmonia.parts.infwidth.quadrature import expectation, find_kinks

ActivationName = Literal[
    "relu",
    "leaky_relu",
    "gelu",
    "silu",
    "elu",
    "softplus",
    "sigmoid",
    "tanh",
    "erf",
    "sin",
    "cos",
    "abs",
    "gaussian",
    "square",
    "hardtanh",
    "softsign",
]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "abs": torch.abs,
    "gaussian": lambda x: (-x.square()).exp(),
    "square": torch.square,
    "hardtanh": F.hardtanh,
    "softsign": F.softsign,
}


@dataclass(frozen=True)
class Centred:
    """An activation without its Gaussian mean, which a network can then carry to any depth.

    Example:
        >>> activation_taxonomy(Centred.of(torch.relu)).kind
        'singular kernel'
    """

    function: Callable[[Tensor], Tensor]
    mean: float

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor]) -> Centred:
        one = torch.ones((), dtype=torch.float64)
        return cls(function, float(expectation(function, one, list(find_kinks(function)))))

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x) - self.mean


def named_activation(name: str, centred: bool = False) -> Callable[[Tensor], Tensor]:
    """A well-known activation.

    Raises:
        InputError: an unknown name.
    """
    if name not in _FUNCTIONS:
        raise InputError("unknown activation", repr(name), f"Use one of {', '.join(_FUNCTIONS)}.")
    return Centred.of(_FUNCTIONS[name]) if centred else _FUNCTIONS[name]


@cache
def taxonomies() -> dict[str, tuple[Taxonomy, Taxonomy]]:
    """For every well-known activation its class as it is, and without its mean."""
    return {
        name: (taxonomy_of(dual_of(function)), activation_taxonomy(Centred.of(function)))
        for name, function in _FUNCTIONS.items()
    }
