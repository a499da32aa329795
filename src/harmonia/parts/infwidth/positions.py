"""Covariances over positions: which axes they have, and the sums that convolution and pooling take over them.

A ``"diag"`` covariance has one axis per spatial dimension, a ``"full"`` one has two neighbouring axes, ``(H, H')``: the
position in the first input and in the second. Everything linear acts dimension by dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Padding = Literal["same", "valid", "circular"] | int | Sequence[int]


def position_diagonal(full: Tensor, batch_dims: int) -> Tensor:
    """Equal positions of a ``"full"`` covariance: ``(*batch, H, H', W, W') -> (*batch, H, W)``.

    Example:
        >>> position_diagonal(torch.arange(8.0).reshape(2, 2, 2), 1)
        tensor([[0., 3.],
                [4., 7.]])
    """
    for _ in range((full.ndim - batch_dims) // 2):  # `diagonal` takes the front pair and appends it behind
        full = full.diagonal(dim1=batch_dims, dim2=batch_dims + 1)
    return full


def interleave(covariance: Tensor, shape1: Sequence[int], shape2: Sequence[int]) -> Tensor:
    """``(*batch, P, P') -> (*batch, H, H', W, W')``, the inverse of `flatten_positions`."""
    batch = covariance.ndim - 2
    unfolded = covariance.unflatten(-1, tuple(shape2)).unflatten(batch, tuple(shape1))
    order = [batch + axis + side for axis in range(len(shape1)) for side in (0, len(shape1))]
    return unfolded.permute(*range(batch), *order)


def flatten_positions(full: Tensor, batch_dims: int) -> Tensor:
    """``(*batch, H, H', W, W') -> (*batch, P, P')`` with ``P = H W``."""
    axes = range(batch_dims, full.ndim)
    ordered = full.permute(*range(batch_dims), *axes[::2], *axes[1::2])
    middle = batch_dims + len(axes) // 2
    return ordered.flatten(middle).flatten(batch_dims, middle - 1)


def window_padding(padding: Padding, axis: int, length: int, window: int, stride: int) -> tuple[int, int]:
    """How many positions are added before and after an axis; ``"circular"`` adds as many as ``"same"``."""
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        total = max((-(-length // stride) - 1) * stride + window - length, 0)
        return total // 2, total - total // 2
    amount = padding if isinstance(padding, int) else padding[axis]
    return amount, amount


def window_sum(x: Tensor, axes: tuple[int, ...], window: int, stride: int, padding: Padding, axis: int) -> Tensor:
    """``y[p, p'] = sum_o x[p stride + o, p' stride + o]``: one offset ``o`` for all `axes`, zero outside.

    Arguments:
        axes: One axis (a box filter), or the two of one spatial dimension (a sum along their diagonal).
        axis: Number of the spatial dimension, where `padding` differs between them.
    """
    pads = [window_padding(padding, axis, x.shape[a], window, stride) for a in axes]
    if padding == "circular":
        for a, (before, after) in zip(axes, pads):
            x = x.index_select(a, torch.arange(-before, x.shape[a] + after, device=x.device) % x.shape[a])
        pads = [(0, 0)] * len(axes)
    sizes = [(x.shape[a] + sum(pad) - window) // stride + 1 for a, pad in zip(axes, pads)]
    y = None
    for offset in sorted(range(window), key=lambda offset: abs(offset - pads[0][0])):  # the one without shift first
        source, target = x, []
        for a, size, (before, _) in zip(axes, sizes, pads):
            first = max(0, -((offset - before) // stride))  # outputs whose input lies inside
            last = min(size - 1, (x.shape[a] - 1 - offset + before) // stride)
            target.append((a, first, max(last - first + 1, 0)))
            index = slice(first * stride + offset - before, max(last, first - 1) * stride + offset - before + 1, stride)
            source = source[(slice(None),) * a + (index,)]
        if y is None and source.shape == _resized(x.shape, axes, sizes):
            y = source.clone(memory_format=torch.contiguous_format)
            continue
        y = x.new_zeros(_resized(x.shape, axes, sizes)) if y is None else y
        part = y
        for each in target:
            part = part.narrow(*each)
        part += source
    assert y is not None
    return y


def _resized(shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int]) -> torch.Size:
    resized = list(shape)
    for axis, size in zip(axes, sizes):
        resized[axis] = size
    return torch.Size(resized)
