"""Convolution and pooling at infinite width (Novak et al. 2019, arXiv:1810.05148; Arora et al. 2019, arXiv:1904.11955).

With the sums of `harmonia.parts.infwidth.positions`, dimension by dimension. What a layer keeps of the positions is
decided backwards (`Layer.requires`): pooling needs all pairs of positions, flattening only equal ones.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.layers import Affine, Layer, MixesPositions, Parameterization
from harmonia.parts.infwidth.positions import Padding, position_diagonal, window_sum
from harmonia.parts.infwidth.state import KernelState, Spatial


class SlidingWindow(Layer):
    """What convolution and pooling share: a window that moves over the positions."""

    dimensions: ClassVar[int]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding

    def slide(self, window: int | tuple[int, ...], stride: int | tuple[int, ...], padding: Padding) -> None:
        self.window = self._per_dimension(window, "the window")
        self.stride = self._per_dimension(stride, "the stride")
        self.padding = padding
        if isinstance(padding, str) and padding not in ("same", "valid", "circular"):
            raise InputError("unknown padding", padding, 'Use "same", "valid", "circular" or a number.')

    def _per_dimension(self, value: int | tuple[int, ...], name: str) -> tuple[int, ...]:
        values = (value,) * self.dimensions if isinstance(value, int) else tuple(value)
        if len(values) != self.dimensions or min(values) < 1:
            raise InputError(f"{name} of {type(self).__name__} must be integers >= 1", value, "Pass e.g. 3.")
        return values

    def check(self, state: KernelState) -> None:
        if len(state.shape) != self.dimensions:
            raise InputError(
                f"{type(self).__name__} needs inputs with {self.dimensions} axes after the channels",
                f"{len(state.shape)} axes",
                "Shape the inputs (n, channels, *positions).",
            )


class Convolution(Affine, SlidingWindow):
    """Base of the convolutions: ``A(K)[p, p'] = (1/|F|) sum_{o in F} K[p s + o, p' s + o]``, zero outside."""

    def __init__(
        self,
        window: int | tuple[int, ...],
        w_std: float | Tensor = 1.0,
        b_std: float | Tensor = 0.0,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: Padding = "same",
        shared: bool = True,
        width: int | None = None,
        parameterization: Parameterization = "ntk",
    ) -> None:
        super().__init__(w_std, b_std, width=width, parameterization=parameterization)
        self.slide(window, stride, padding)
        self.shared = shared

    @property
    def receptive_field(self) -> int:
        return prod(self.window)

    def total(self, covariance: Tensor, state: KernelState) -> Tensor:
        self.check(state)
        for axis, axes in enumerate(state.position_axes()):
            covariance = window_sum(covariance, axes, self.window[axis], self.stride[axis], self.padding, axis)
        return covariance

    def propagate(self, state: KernelState) -> KernelState:
        after = super().propagate(state)
        if self.shared or after.spatial != "full":
            return after

        def unshared(covariance: Tensor) -> Tensor:
            alone = torch.zeros_like(covariance)
            position_diagonal(alone, after.batch_dims).copy_(position_diagonal(covariance, after.batch_dims))
            return alone

        return after.mapped(unshared)


class Conv1d(Convolution):
    """Convolution over sequences ``(n, channels, T)``; arguments as `Conv2d`."""

    dimensions = 1


class Conv2d(Convolution):
    """Convolution over images ``(n, channels, H, W)``.

    ``K' = w_std^2 A(K) + b_std^2``, ``T' = K' + w_std^2 A(T)`` in NTK parameterisation, where
    ``A(K)[p, p'] = (1/|F|) sum_{o in F} K[p s + o, p' s + o]``: the same offset on both sides, zero outside.

    Arguments:
        window: Size of the filter.
        w_std: Standard deviation of the weights, times ``sqrt(fan_in)``.
        b_std: Standard deviation of the biases.
        stride: Step ``s``.
        padding: ``"same"`` (zeros), ``"valid"``, ``"circular"``, or a number of zeros for each side as in torch.
        shared: False for weights and biases of their own at every position (a locally connected layer).
        width: Output channels; matters for standard parameterisation and for finite networks only.
        parameterization: ``"ntk"`` or ``"standard"``.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense, Flatten, ReLU, Sequential
        >>> net = Sequential(Conv2d(3, 2**0.5), ReLU(), Flatten(), Dense())
        >>> net.kernel(torch.ones(2, 1, 4, 4), get="ntk")[0, 0]
        tensor(1.3889)
    """

    dimensions = 2


class Pool(MixesPositions, SlidingWindow):
    """Base of the poolings over windows: ``K'[p, p'] = sum_{o, o'} K[p s + o, p' s + o']``, every pair of offsets."""

    mean: ClassVar[bool]

    def __init__(
        self, window: int | tuple[int, ...], stride: int | tuple[int, ...] | None = None, padding: Padding = "valid"
    ) -> None:
        self.slide(window, window if stride is None else stride, padding)

    def pool(self, covariance: Tensor, state: KernelState) -> Tensor:
        for axis, axes in enumerate(state.position_axes()):
            window, stride = self.window[axis], self.stride[axis]
            for one in axes:
                covariance = window_sum(covariance, (one,), window, stride, self.padding, axis)
            covariance = covariance / window**2 if self.mean else covariance
        return covariance

    def propagate(self, state: KernelState) -> KernelState:
        self.check(state)
        return state.mapped(lambda covariance: self.pool(covariance, state))


class AvgPool1d(Pool):
    """Mean over windows of a sequence; arguments as `AvgPool2d`."""

    dimensions = 1
    mean = True


class AvgPool2d(Pool):
    """Mean over windows of an image.

    ``K'[p, p'] = |F|^-2 sum_{o, o' in F} K[p s + o, p' s + o']``, the same for the tangent kernel.

    Arguments:
        window: Size of the window.
        stride: Step ``s``, by default the window.
        padding: ``"valid"``, ``"same"`` (zeros, which count), ``"circular"`` or a number of zeros for each side.
    """

    dimensions = 2
    mean = True


class SumPool1d(Pool):
    """Sum over windows of a sequence; arguments as `AvgPool2d`."""

    dimensions = 1
    mean = False


class SumPool2d(Pool):
    """Sum over windows of an image; arguments as `AvgPool2d`."""

    dimensions = 2
    mean = False


class GlobalAvgPool(MixesPositions):
    """Mean over all positions: ``K' = mean_{p, p'} K[p, p']``."""

    def propagate(self, state: KernelState) -> KernelState:
        axes = [axis for pair in state.position_axes() for axis in pair]
        if not axes:
            raise InputError("GlobalAvgPool needs inputs with positions", "vectors", "Leave it out.")
        return state.mapped(lambda covariance: covariance.mean(axes), spatial="none")


class Flatten(Layer):
    """All positions and channels become one vector: ``K' = mean_p K[p, p]`` for the dense layer that follows."""

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        return "diag", "none" if variance == "none" else "diag"

    def propagate(self, state: KernelState) -> KernelState:
        if not state.shape:
            return state

        def mean(covariance: Tensor) -> Tensor:
            full = state.spatial == "full"
            return (
                (position_diagonal(covariance, state.batch_dims) if full else covariance)
                .flatten(state.batch_dims)
                .mean(-1)
            )

        fan_in = None if state.fan_in is None else state.fan_in * prod(state.shape)
        return state.mapped(mean, spatial="none", is_gaussian=False, fan_in=fan_in)
