"""Transposed convolution at infinite width: the adjoint of a convolution's index map, for decoders."""

from __future__ import annotations

from math import prod

from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.convolution import SlidingWindow
from harmonia.parts.infwidth.layers import Affine, Parameterization
from harmonia.parts.infwidth.positions import window_sum
from harmonia.parts.infwidth.state import KernelState


class TransposedConvolution(Affine, SlidingWindow):
    """Base of the transposed convolutions: every input position spreads over a window of output positions."""

    def __init__(
        self,
        window: int | tuple[int, ...],
        w_std: float | Tensor = 1.0,
        b_std: float | Tensor = 0.0,
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        width: int | None = None,
        parameterization: Parameterization = "ntk",
    ) -> None:
        super().__init__(w_std, b_std, width=width, parameterization=parameterization)
        crops = (padding,) * self.dimensions if isinstance(padding, int) else tuple(padding)
        self.slide(window, stride, crops)
        self.crops = crops
        if len(crops) != self.dimensions or not all(0 <= crop < size for crop, size in zip(crops, self.window)):
            raise InputError(
                "padding of a transposed convolution must lie in [0, window)", padding, "Pass a smaller one."
            )

    @property
    def receptive_field(self) -> int:
        return prod(self.window)

    def total(self, covariance: Tensor, state: KernelState) -> Tensor:
        self.check(state)
        for axis, axes in enumerate(state.position_axes()):
            window, stride, crop = self.window[axis], self.stride[axis], self.crops[axis]
            for one in axes:
                covariance = _spread(covariance, one, stride)
            covariance = window_sum(covariance, axes, window, 1, window - 1 - crop, axis)
        return covariance


class ConvTranspose1d(TransposedConvolution):
    """Transposed convolution over sequences ``(n, channels, T)``; arguments as `ConvTranspose2d`."""

    dimensions = 1


class ConvTranspose2d(TransposedConvolution):
    """Transposed convolution over images ``(n, channels, H, W)``, as `torch.nn.ConvTranspose2d`.

    ``K'[q, q'] = (w_std^2 / |F|) sum_o K[p, p'] + b_std^2`` over the offsets ``o`` in the window for which positions
    ``p, p'`` with ``q + padding = p s + o`` and ``q' + padding = p' s + o`` exist; tangent kernels as for `Conv2d`.

    Arguments:
        window: Size of the filter.
        w_std: Standard deviation of the weights, times ``sqrt(channels |F|)``.
        b_std: Standard deviation of the biases.
        stride: Step ``s`` between the windows of neighbouring inputs.
        padding: Output positions cut off at either side.
        width: Output channels; matters for standard parameterisation and for finite networks only.
        parameterization: ``"ntk"`` or ``"standard"``.

    Raises:
        InputError: padding that reaches beyond the window.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Sequential
        >>> Sequential(ConvTranspose1d(2, 2**0.5, stride=2)).kernel(torch.ones(1, 1, 2), get="nngp")
        tensor([[[1., 1., 1., 1.]]])
    """

    dimensions = 2


def _spread(covariance: Tensor, axis: int, stride: int) -> Tensor:
    """``stride - 1`` zeros between neighbours along an axis."""
    if stride == 1:
        return covariance
    shape = list(covariance.shape)
    shape[axis] = (shape[axis] - 1) * stride + 1
    spread = covariance.new_zeros(shape)
    spread[(slice(None),) * axis + (slice(None, None, stride),)] = covariance
    return spread
