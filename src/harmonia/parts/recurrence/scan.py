"""The recurrence ``h_t = a_t h_{t-1} + x_t`` over whole sequences, where a_t may change from step to step.

The sequence is cut into about sqrt(T) chunks. Run side by side, each is found to be an affine map of the state that it
is handed; with these maps the states are handed on; then the chunks run again, each from its own state: 3 sqrt(T)
vectorised steps, and nothing is written but the result. The gradient is the same recurrence backwards, written by hand,
so that nothing but a and h is kept::

    G_t = g_t + conj(a_{t+1}) G_{t+1},   dx_t = G_t,   da_t = G_t conj(h_{t-1})
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor


def linear_scan(
    multiplier: Inexact[Tensor, "#batch #time *#features"],
    increment: Inexact[Tensor, "batch time *features"],
    initial: Inexact[Tensor, "batch *features"] | None = None,
    reverse: bool = False,
) -> Inexact[Tensor, "batch time *features"]:
    """All states ``h_t = a_t h_{t-1} + x_t``.

    Arguments:
        multiplier: a; axes of size one are broadcast.
        increment: x.
        initial: The state before the first step; zero unless given.
        reverse: Run from the last time to the first, ``h_t = a_t h_{t+1} + x_t``.

    Example:
        >>> linear_scan(torch.tensor([[0.5, 0.5, 0.1]]), torch.ones(1, 3))
        tensor([[1.0000, 1.5000, 1.1500]])
    """
    dtype = torch.promote_types(multiplier.dtype, increment.dtype)
    a, x = multiplier.to(dtype).expand(increment.shape), increment.to(dtype)
    if initial is not None:
        edge = x.shape[1] - 1 if reverse else 0
        first = x[:, edge] + a[:, edge] * initial.to(dtype)
        x = x.index_copy(1, torch.tensor([edge], device=x.device), first.unsqueeze(1))
    h: Tensor = _Scan.apply(a, x, reverse)
    return h


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor, reverse: bool) -> Tensor:
        h = _scan(a, x, reverse)
        ctx.save_for_backward(a, h)
        ctx.reverse = reverse
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        a, h = ctx.saved_tensors
        # a moved by one against the direction of time, h by one along it; what moves in from outside is zero.
        step = -1 if ctx.reverse else 1
        total: Tensor = _Scan.apply(_moved(a, -step).conj(), grad, not ctx.reverse)
        return total * _moved(h, step).conj(), total, None


def _moved(x: Tensor, by: int) -> Tensor:
    """``x`` one step later (1) or earlier (-1) along the time axis."""
    edge = torch.zeros_like(x[:, :1])
    return torch.cat([edge, x[:, :-1]], 1) if by > 0 else torch.cat([x[:, 1:], edge], 1)


def _scan(a: Tensor, x: Tensor, reverse: bool) -> Tensor:
    length = x.shape[1]
    chunk = max(1, round(math.sqrt(length)))
    whole = length - length % chunk
    if reverse:
        head, h = _chunks(a[:, length - whole :], x[:, length - whole :], chunk, True), x.new_empty(x.shape)
        h[:, length - whole :] = head
        for t in range(length - whole - 1, -1, -1):
            torch.addcmul(x[:, t], a[:, t], h[:, t + 1], out=h[:, t])
        return h
    h = x.new_empty(x.shape)
    h[:, :whole] = _chunks(a[:, :whole], x[:, :whole], chunk, False)
    for t in range(whole, length):
        torch.addcmul(x[:, t], a[:, t], h[:, t - 1], out=h[:, t])
    return h


def _chunks(a: Tensor, x: Tensor, chunk: int, reverse: bool) -> Tensor:
    """The scan of a whole number of chunks."""
    shape = (x.shape[0], x.shape[1] // chunk, chunk, *x.shape[2:])
    a, x = a.reshape(shape), x.reshape(shape)
    times, blocks = list(range(chunk)), list(range(shape[1]))
    if reverse:
        times.reverse()
        blocks.reverse()
    # What a chunk makes of the state that it is handed: end + reach * state.
    end, reach = x[:, :, times[0]].clone(), a[:, :, times[0]].clone()
    for t in times[1:]:
        torch.addcmul(x[:, :, t], a[:, :, t], end, out=end)
        reach.mul_(a[:, :, t])
    for before, k in pairwise(blocks):
        end[:, k].addcmul_(reach[:, k], end[:, before])
    h, state = torch.empty_like(x), _moved(end, -1 if reverse else 1)
    for t in times:
        torch.addcmul(x[:, :, t], a[:, :, t], state, out=h[:, :, t])
        state = h[:, :, t]
    return h.flatten(1, 2)
