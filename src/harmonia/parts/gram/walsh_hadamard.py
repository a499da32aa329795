"""The fast Walsh-Hadamard transform of the last axis: about 10 log2(n) operations a number, a matrix takes 2 n."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from harmonia.core.errors import InputError

_CACHED = 1 << 16
"""Numbers that are transformed at once on a processor: two buffers of them stay in its cache."""

_BITS = 4
"""Bits of the index that one product with a small matrix transforms: fewer passes, at the speed of products."""


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
    scale = size**-0.5 if orthonormal else 1.0
    return _Transform.apply(x, scale) if is_watched(x) else _transform(x, scale)


def is_watched(x: Tensor) -> bool:
    """Whether derivatives or a batching are asked for; torch's own look at that takes as long as a short transform."""
    return (
        (x.requires_grad and torch.is_grad_enabled())
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Transform(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, scale: float) -> Tensor:
        return _transform(x, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        """Nothing but the scale: the transform is linear and symmetric."""
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Transform.apply(grad, ctx.scale), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Transform.apply(tangent, ctx.scale)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, scale: float) -> tuple[Tensor, int]:
        return _Transform.apply(x.movedim(in_dims[0], 0), scale), 0


def _transform(x: Tensor, scale: float) -> Tensor:
    """In blocks of rows that fit the cache."""
    if not x.numel():
        return x.clone()
    rows = x.reshape(-1, x.shape[-1]).resolve_conj()
    step = max(1, _CACHED // rows.shape[1]) if x.device.type == "cpu" else len(rows)
    blocks = [_products(block, scale) for block in rows.split(step)]
    return (blocks[0] if len(blocks) == 1 else torch.cat(blocks)).view(x.shape)


def _products(rows: Tensor, scale: float) -> Tensor:
    """The transform of every row, into new memory: Sylvester's matrix is a Kronecker product of small ones."""
    source = torch.view_as_real(rows) if rows.is_complex() else rows[..., None]
    bits, parts = rows.shape[1].bit_length() - 1, source.shape[-1]
    y, spare = (torch.empty(source.shape, dtype=source.dtype, device=rows.device) for _ in range(2))
    lowest = bits if bits < 7 else _BITS  # one product of up to 64 is faster than two very small ones
    matrix = _matrix(lowest, parts, source.dtype, source.device) * scale
    torch.mm(source.reshape(-1, len(matrix)), matrix, out=y.view(-1, len(matrix)))
    for done in range(lowest, bits, _BITS):
        matrix = _matrix(min(_BITS, bits - done), 1, source.dtype, source.device)
        shape = (-1, len(matrix), parts << done)
        groups = y.view(shape)
        torch.bmm(matrix.expand(len(groups), -1, -1), groups, out=spare.view(shape))
        y, spare = spare, y
    return torch.view_as_complex(y) if rows.is_complex() else y[..., 0]


@cache
def _matrix(bits: int, parts: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Sylvester's matrix itself, for numbers of so many parts."""
    matrix = torch.eye(parts, dtype=dtype, device=device)
    for _ in range(bits):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
