"""Any activation: one of torch by name, a formula, a function or a module, with its kinks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.formula import formula
from harmonia.parts.infwidth import Activation
from harmonia.parts.infwidth.quadrature import derivative, find_kinks

Function = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Function] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "abs": torch.abs,
    "exp": torch.exp,
    "linear": lambda x: x,
}
"""Activations by name."""

_ALIASES = {"swish": "silu", "leakyrelu": "leaky_relu", "identity": "linear", "logsigmoid": "log_sigmoid"}

_PROBES = (-2.7, -1.3, -0.4, 0.0, 0.6, 1.1, 3.2)


@dataclass(frozen=True, eq=False)
class Pointwise:
    """An activation ``s`` that acts on each number by itself.

    Attributes:
        name: What to call it.
        function: ``s``, differentiable by torch, in float64.
    """

    name: str
    function: Function

    @cached_property
    def kinks(self) -> dict[float, float]:
        """Where the slope jumps, and by how much."""
        return find_kinks(self.function)

    def slope(self, z: Tensor) -> Tensor:
        """``s'``."""
        return derivative(self.function)(z)

    def bend(self, z: Tensor) -> Tensor:
        """``s''``, apart from kinks."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.function(z)
            if value.requires_grad:
                value = torch.autograd.grad(value.sum(), z, create_graph=True)[0]
            return torch.autograd.grad(value.sum(), z)[0] if value.requires_grad else torch.zeros_like(z)

    def derivatives_at_zero(self) -> tuple[float, float, float, float]:
        """``s, s', s'', s'''`` at 0."""
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        value, found = self.function(x), []
        for _ in range(4):
            found.append(float(value.detach()))
            more = value.requires_grad  # until a polynomial has run out
            value = torch.autograd.grad(value, x, create_graph=True)[0] if more else torch.zeros_like(x)
        return found[0], found[1], found[2], found[3]


AnyActivation = str | Pointwise | nn.Module | Activation | Callable[..., Tensor]


def as_activation(activation: AnyActivation) -> Pointwise:
    """The activation meant by a name, a formula of ``x``, a module, a layer of `infwidth`, or a function.

    Raises:
        InputError: no such name, or a function that is not elementwise, is random, jumps or is not finite.

    Example:
        >>> as_activation("swish").name, as_activation("x * tanh(x)").name, as_activation(torch.nn.GELU()).name
        ('silu', 'x * tanh(x)', 'GELU')
    """
    if isinstance(activation, Pointwise):
        return activation
    if isinstance(activation, str):
        return _by_name(activation)
    if isinstance(activation, Activation):
        return _checked(type(activation).__name__, activation.function)
    if isinstance(activation, nn.Module):
        module = copy.deepcopy(activation).double().eval().requires_grad_(False)
        for part in module.modules():
            if hasattr(part, "inplace"):
                part.inplace = False  # type: ignore[assignment]
        return _checked(type(activation).__name__, module)
    return _checked(getattr(activation, "__name__", type(activation).__name__), activation)


@lru_cache(256)
def _by_name(text: str) -> Pointwise:
    name = text.strip().lower().replace("-", "_")
    name = _ALIASES.get(name, name)
    if name in ACTIVATIONS:
        return _checked(name, ACTIVATIONS[name])
    if name.isidentifier() and name != "x":
        raise InputError(
            "no such activation", f"'{text}'", f"Use one of {', '.join(ACTIVATIONS)}, or a formula such as x * tanh(x)."
        )
    return _checked(text.strip(), formula(text))


def _checked(name: str, function: Function) -> Pointwise:
    def refuse(what: str, got: object) -> InputError:
        return InputError(f"the activation {what}", got, "Pass a deterministic function of single numbers.")

    x = torch.tensor(_PROBES, dtype=torch.float64)
    try:
        y, again, column = function(x.clone()), function(x.clone()), function(x[:, None].clone())
        alone = torch.cat([function(each[None].clone()) for each in x])
    except Exception as error:  # whatever the user's function raises
        raise refuse("cannot be computed", error) from error
    if not isinstance(y, Tensor) or y.shape != x.shape or column.shape != (len(x), 1):
        raise refuse("does not keep the shape of its input", getattr(y, "shape", type(y).__name__))
    if not torch.equal(y.nan_to_num(), again.nan_to_num()):
        raise refuse("is random or has a state", "two values at the same input")
    if not torch.allclose(y, column[:, 0], equal_nan=True) or not torch.allclose(y, alone, equal_nan=True):
        raise refuse("is not elementwise", "a value that depends on the other entries")
    if float(y.max() - y.min()) == 0:
        raise refuse("is constant", float(y[0]))
    checked = Pointwise(name, function)
    _ = checked.kinks  # refuses jumps and what is not finite
    return checked
