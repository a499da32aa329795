"""The fast Walsh-Hadamard transform of the last axis: n 2^n additions where a matrix would take 4^n products."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from harmonia.core.errors import InputError

_CACHED = 1 << 15
"""Numbers that are transformed at once on a processor: two buffers of them stay in its cache."""

_RADIX = 16
"""Lowest bits of the index that one product with a small matrix transforms; strided additions are slow there."""


def walsh_hadamard(x: Inexact[Tensor, "*batch size"], *, orthonormal: bool = False) -> Inexact[Tensor, "*batch size"]:
    """``y_b = sum_c (-1)^popcount(b & c) x_c``: the product with Sylvester's Hadamard matrix, in natural order.

    The matrix is symmetric and its square is `size` times the identity, so the transform is its own inverse up to
    that factor, and its own gradient. Differentiable any number of times, also forward and under `torch.vmap`.

    Arguments:
        x: Real or complex; the last axis is a power of two.
        orthonormal: Divide by the root of the size; applied twice this gives `x` back.

    Raises:
        InputError: a last axis that is no power of two.

    Example:
        >>> walsh_hadamard(torch.tensor([1.0, 0.0, 0.0, 2.0]))
        tensor([ 3., -1., -1.,  3.])
    """
    size = x.shape[-1]
    if size < 1 or size & (size - 1):
        raise InputError("a Walsh-Hadamard transform needs a power of two", f"a last axis of {size}", "Pad with zeros.")
    y = _Transform.apply(x)
    return y * size**-0.5 if orthonormal else y


class _Transform(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        if not x.numel():
            return x.clone()
        rows = x.reshape(-1, x.shape[-1]).resolve_conj()
        step = max(1, _CACHED // rows.shape[1]) if x.device.type == "cpu" else len(rows)
        blocks = [_butterflies(rows[start : start + step]) for start in range(0, len(rows), step)]
        return (blocks[0] if len(blocks) == 1 else torch.cat(blocks)).view(x.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing to keep: the transform is linear."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Transform.apply(grad)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return _Transform.apply(tangent)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return _Transform.apply(x.movedim(in_dims[0], 0)), 0


def _butterflies(rows: Tensor) -> Tensor:
    """The transform of every row, into new memory."""
    size = rows.shape[1]
    width, source = 1, rows
    if not rows.is_complex():
        width = min(size, _RADIX)
        source = (rows.reshape(-1, width) @ _matrix(width, rows)).view(rows.shape)
    buffers = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(2)]
    while width < size:
        pairs, out = source.reshape(-1, 2, width), buffers[0].view(-1, 2, width)
        torch.add(pairs[:, 0], pairs[:, 1], out=out[:, 0])
        torch.sub(pairs[:, 0], pairs[:, 1], out=out[:, 1])
        source, width = buffers[0], 2 * width
        buffers.reverse()
    return source.clone() if source is rows else source


def _matrix(size: int, like: Tensor) -> Tensor:
    """Sylvester's matrix itself."""
    matrix = like.new_ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
