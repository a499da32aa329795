"""Layers as maps of kernels, and networks made of them.

A layer maps the `KernelState` of a block of input pairs: the covariance (NNGP kernel) and the tangent kernel (NTK).
This module has what all layers share and the fully connected one; `harmonia.parts.infwidth.network` composes them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from typing import ClassVar, Literal

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.state import KernelState, Spatial

Parameterization = Literal["ntk", "standard"]
_ORDER: tuple[Spatial, ...] = ("none", "diag", "full")


def finer(*spatials: Spatial) -> Spatial:
    """The one that keeps the most pairs of positions."""
    return max(spatials, key=_ORDER.index)


class Layer(ABC):
    """One map of kernels."""

    fresh: ClassVar[bool | None] = None
    """Whether new weights make the output centred given the input; None: as the input."""

    homogeneous: ClassVar[bool] = False
    """Whether features scale with the input: ``f(a x) = a f(x)`` for all ``a > 0``."""

    @abstractmethod
    def propagate(self, state: KernelState) -> KernelState:
        """Kernels of the output from those of the input; `left` and `right` are taken care of by ``__call__``."""

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        """What the layer needs of its input, given what the layers after it need of its output.

        Arguments:
            covariance: Pairs of positions needed between two inputs.
            variance: Pairs of positions needed of every input with itself.
        """
        return covariance, variance

    def parts(self) -> Iterator[Layer]:
        """This layer and the layers inside."""
        yield self
        for value in self._values():
            if isinstance(value, Layer):
                yield from value.parts()

    def tensors(self) -> Iterator[Tensor]:
        """The hyperparameters that are tensors, here and in the layers inside."""
        for part in self.parts():
            yield from (value for value in part._values() if isinstance(value, Tensor))

    def _values(self) -> Iterator[object]:
        """The attributes, those in tuples and lists one by one."""
        for value in vars(self).values():
            yield from value if isinstance(value, (tuple, list)) else [value]

    def __repr__(self) -> str:
        """The call that makes this layer, without what it leaves at its default."""
        given, by_name = [], False
        for name, parameter in signature(type(self)).parameters.items():
            value = getattr(self, name)
            value = float(value) if isinstance(value, Tensor) and value.numel() == 1 else value
            if not isinstance(value, Tensor) and value == parameter.default:
                by_name = True
            else:
                by_name = by_name or parameter.kind is parameter.KEYWORD_ONLY
                given.append(f"{name}={value!r}" if by_name else repr(value))
        return f"{type(self).__name__}({', '.join(given)})"

    def __call__(self, state: KernelState) -> KernelState:
        after = self.propagate(state)
        if state.left is None or state.right is None:
            return after
        left = self(state.left)
        return replace(after, left=left, right=left if state.x1_is_x2 else self(state.right))


class MixesPositions(Layer):
    """Base of the layers whose output at one position depends on pairs of different input positions."""

    @property
    def mixes(self) -> bool:
        """Whether it really does."""
        return True

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        if not self.mixes:
            return covariance, variance
        return "full", "none" if variance == "none" else "full"

    def __call__(self, state: KernelState) -> KernelState:
        if self.mixes and state.left is not None and state.left.spatial == "diag":  # nobody behind asks for variances
            state = replace(state, left=None, right=None)
        return super().__call__(state)


def shifted(covariance: Tensor, bias_std: float | Tensor) -> Tensor:
    """``K + b_std^2``, in place."""
    return covariance if _is(bias_std, 0.0) else covariance.add_(bias_std**2)


def scaled(covariance: Tensor, gain: float | Tensor, shift: float | Tensor) -> Tensor:
    """``gain K + shift``, in one pass over memory where nothing is differentiated in the gain."""
    if isinstance(gain, Tensor):
        return covariance * gain + shift
    shift = shift if isinstance(shift, Tensor) else covariance.new_tensor(shift)
    return torch.add(shift, covariance, alpha=gain)


def _is(value: float | Tensor, constant: float) -> bool:
    return not isinstance(value, Tensor) and value == constant


class Affine(Layer):
    """Base of the layers with random weights; subclasses say over what the covariance is averaged.

    With the mean ``A`` over the weights' fan-in, apart from channels, the kernels become (Jacot et al. 2018, Thm. 1)

        K' = w_std^2 A(K) + b_std^2,    T' = K' + w_std^2 A(T)                               (NTK parameterisation)
                                        T' = fan_in A(K) + [b_std > 0] + w_std^2 A(T)         (standard)

    Arguments:
        w_std: Standard deviation of the weights, times ``sqrt(fan_in)``. A tensor makes kernels differentiable in it.
        b_std: Standard deviation of the biases; 0 for none.
        width: Output channels; matters for standard parameterisation and for finite networks only.
        parameterization: ``"ntk"``: weights are N(0, 1) and scaled in the forward pass; ``"standard"``: torch's way.
    """

    fresh: ClassVar[bool | None] = True

    def __init__(
        self,
        w_std: float | Tensor = 1.0,
        b_std: float | Tensor = 0.0,
        *,
        width: int | None = None,
        parameterization: Parameterization = "ntk",
    ) -> None:
        for name, value in (("w_std", w_std), ("b_std", b_std)):
            if not 0 <= float(value.detach() if isinstance(value, Tensor) else value) < math.inf:
                raise InputError(f"{name} of {type(self).__name__} must be finite and >= 0", value, "Pass another.")
        if parameterization not in ("ntk", "standard"):
            raise InputError("unknown parameterization", parameterization, 'Use "ntk" or "standard".')
        self.w_std, self.b_std, self.width, self.parameterization = w_std, b_std, width, parameterization

    @property
    def homogeneous(self) -> bool:  # type: ignore[override]
        """Whether there are no biases."""
        return _is(self.b_std, 0.0)

    def total(self, covariance: Tensor, state: KernelState) -> Tensor:
        """Sum of the covariance over the positions in the fan-in of one output unit."""
        return covariance

    @property
    def receptive_field(self) -> int:
        """Number of positions one output unit sees."""
        return 1

    def propagate(self, state: KernelState) -> KernelState:
        total = self.total(state.nngp, state)
        gain = self.w_std**2 / self.receptive_field
        nngp = scaled(total, gain, self.b_std**2)
        ntk = None
        if state.ntk is not None:
            carried = self.total(state.ntk, state)
            if self.parameterization == "ntk":
                ntk = scaled(carried, gain, nngp)
            elif state.fan_in is None:
                raise InputError("standard parameterization needs the width of every layer", None, "Pass width=.")
            else:
                ntk = scaled(carried, gain, total * state.fan_in)
                ntk = ntk if _is(self.b_std, 0.0) else ntk.add_(1.0)
        return state.with_kernels(nngp, ntk, is_gaussian=True, fan_in=self.width)


class Dense(Affine):
    """A fully connected layer over the channels (at every position, if there are positions).

    ``K' = w_std^2 K + b_std^2``, ``T' = K' + w_std^2 T`` in NTK parameterisation; arguments as `Affine`.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Sequential
        >>> Sequential(Dense(1.5, 0.3)).kernel(torch.eye(2), get="nngp")
        tensor([[1.2150, 0.0900],
                [0.0900, 1.2150]])
    """
