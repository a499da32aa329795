"""From inputs to kernels: check the inputs, start the recursion, keep the result exact where rounding would spoil it.

The tangent kernel of a kinked activation depends on the angle between inputs, ``arccos(1 - e) ~ sqrt(2e)``: a rounding
error of 1e-7 in a float32 covariance becomes 3e-4 in the kernel of (nearly) equal inputs. Two measures keep it out:
the diagonal of ``kernel(x)`` comes from the recursion of every input with itself, and pairs that are nearly parallel
are evaluated again, in float64, from their difference instead of their product.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt, prod

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import Tile, free_memory, over_tiles, tiles
from harmonia.parts.infwidth.layers import Layer
from harmonia.parts.infwidth.positions import interleave, position_diagonal
from harmonia.parts.infwidth.profile import profile_of
from harmonia.parts.infwidth.state import KernelState, Spatial

NEARLY_PARALLEL = {torch.float32: 1e-3, torch.float64: 1e-7}
"""Pairs whose cosine exceeds one minus this are evaluated again from their difference."""

TILE = 2**18
"""Numbers in one covariance of a tile, on a processor; graphics cards take more at once."""

MANY = 0.05
"""Share of nearly parallel pairs above which a whole float32 block is evaluated in float64 instead."""


def kernel_of(network: Layer, x1: Tensor, x2: Tensor | None, ntk: bool) -> tuple[Tensor, Tensor | None]:
    """NNGP kernel and, if wanted, NTK of all pairs of two sets of inputs; `x2` None: of `x1` with itself."""
    x1 = checked(x1, "x1")
    if x2 is not None:
        x2 = checked(x2, "x2")
        if x1.ndim != x2.ndim or x1.shape[1] != x2.shape[1]:
            shapes = f"{tuple(x1.shape)} and {tuple(x2.shape)}"
            raise InputError("x1 and x2 do not fit", shapes, "Use the same features.")
        if x1.dtype != x2.dtype:
            raise InputError("x1 and x2 differ in dtype", f"{x1.dtype} and {x2.dtype}", "Convert one of them.")
    tensors = (x1, *([] if x2 is None else [x2]), *network.tensors())
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _block(network, x1, x2, ntk)
    return _tile_by_tile(network, x1, x2, ntk)


def diagonal_of(network: Layer, x: Tensor, ntk: bool) -> tuple[Tensor, Tensor | None]:
    """NNGP kernel and, if wanted, NTK of every input with itself."""
    state = _paired_outputs(network, checked(x, "x"), None, ntk)
    return state.nngp, state.ntk


def checked(x: Tensor, name: str) -> Tensor:
    """The inputs, if a kernel can be computed of them."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"{name} must be a floating-point torch tensor", kind, "Convert it with .float().")
    if x.ndim < 2 or x.shape[1] == 0:
        raise InputError(f"{name} must have the shape (n, channels, *positions)", tuple(x.shape), "Reshape it.")
    if not x.detach().sum().isfinite() and not (finite := x.detach().flatten(1).isfinite().all(1)).all():
        row = int((~finite).nonzero()[0])
        raise InputError(f"{name} is not finite", f"NaN or infinity in row {row}", "Impute or drop such rows.")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _tile_by_tile(network: Layer, x1: Tensor, x2: Tensor | None, ntk: bool) -> tuple[Tensor, Tensor | None]:
    """The kernels in tiles so small that intermediate results stay in cache."""
    columns = x1 if x2 is None else x2
    plan = tiles(len(x1), len(columns), _tile_size(network, x1), symmetric=x2 is None)
    if len(plan) <= 1:
        return _block(network, x1, x2, ntk)
    profile = None
    if x1.ndim == 2:
        variances = torch.cat([x.square().mean(1) for x in (x1, columns)])
        profile = profile_of(network, variances, x1.shape[1], ntk)

    out: list[Tensor] = []

    def fill(tile: Tile) -> None:
        same = x2 is None and tile.rows == tile.columns
        with torch.no_grad():
            kernels = _block(network, x1[tile.rows], None if same else columns[tile.columns], ntk, profile)
        parts = [kernel for kernel in kernels if kernel is not None]
        if not out:
            out.extend(part.new_empty(len(x1), len(columns), *part.shape[2:]) for part in parts)
        for whole, part in zip(out, parts):
            whole[tile.rows, tile.columns] = part
            if x2 is None and not same:
                whole[tile.columns, tile.rows] = part.transpose(0, 1)

    fill(plan[0])
    for _ in over_tiles(fill, plan[1:], "Kernel") if x1.device.type == "cpu" else map(fill, plan[1:]):
        pass
    return out[0], out[1] if ntk else None


def _tile_size(network: Layer, x: Tensor) -> int:
    """Rows and columns of a tile."""
    covariance, variance = _needs(network, x)
    positions = prod(x.shape[2:])
    numbers = {"none": 1, "diag": positions, "full": positions**2}[covariance]
    needed, free = 6 * numbers * x.dtype.itemsize, free_memory()
    if needed > free:
        raise InputError(
            f"the covariance of {positions} x {positions} positions does not fit into memory",
            f"{needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free",
            "Use Flatten instead of pooling or attention, or stride before it.",
        )
    tile = TILE if x.device.type == "cpu" else 256 * TILE
    size = isqrt(tile // numbers)
    if covariance == variance == "full":  # inputs with themselves cost as much as a pair: share them
        size = max(size, min(8, isqrt(64 * tile // numbers)))
    return max(size, 1)


def _block(
    network: Layer, x1: Tensor, x2: Tensor | None, ntk: bool, profile: Layer | None = None
) -> tuple[Tensor, Tensor | None]:
    state = _start(network, x1, x2, ntk)
    second = x1 if x2 is None else x2
    close = _nearly_parallel(x1, x2, state)
    if x1.dtype == torch.float32 and len(close) > MANY * len(x1) * len(second):
        nngp, tangent = _block(network, x1.double(), None if x2 is None else x2.double(), ntk)
        return nngp.float(), None if tangent is None else tangent.float()
    state = (profile or network)(state)
    for pairs in close.split(4096) if len(close) else ():
        i, j = pairs.unbind(1)
        state = _replaced(state, i, j, _paired_outputs(network, x1[i].double(), second[j].double(), ntk))
    if x2 is None:
        i = torch.arange(len(x1), device=x1.device)
        state = _replaced(state, i, i, _paired_outputs(network, x1, None, ntk))
    return state.nngp, state.ntk


def _nearly_parallel(x1: Tensor, x2: Tensor | None, state: KernelState) -> Tensor:
    """Indices, shape (pairs, 2), of nearly parallel inputs apart from the diagonal of inputs with themselves."""
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        return torch.empty(0, 2, dtype=torch.long, device=x1.device)
    first, second = (x.detach().flatten(1) for x in (x1, x1 if x2 is None else x2))
    product = state.nngp.detach() * x1.shape[1] if state.spatial == "none" else first @ second.T
    limit = 1 - NEARLY_PARALLEL[x1.dtype]
    excess = product.addr_(first.norm(dim=1), second.norm(dim=1), alpha=-limit)
    if x2 is None:
        excess.fill_diagonal_(0)
    return (excess > 0).nonzero()


def _replaced(state: KernelState, i: Tensor, j: Tensor, exact: KernelState) -> KernelState:
    """The state with the kernels of the pairs (i, j) taken from a paired state."""

    def put(kernel: Tensor, values: Tensor) -> Tensor:
        if kernel.requires_grad or values.requires_grad:
            return kernel.index_put((i, j), values.to(kernel.dtype))
        return kernel.index_put_((i, j), values.to(kernel.dtype))

    ntk = None if state.ntk is None or exact.ntk is None else put(state.ntk, exact.ntk)
    return state.with_kernels(put(state.nngp, exact.nngp), ntk)


def _paired_outputs(network: Layer, x1: Tensor, x2: Tensor | None, ntk: bool) -> KernelState:
    """Paired state of ``x1[i]`` and ``x2[i]`` after the network; `x2` None: of every input with itself."""
    covariance, variance = _needs(network, x1)
    if x2 is None:
        return network(replace(_paired(x1, x1, covariance, ntk), pairing="itself"))
    state = _paired(x1, x2, covariance, ntk)
    left, right = _of_itself(x1, variance), _of_itself(x2, variance)
    same_position = position_diagonal(state.nngp, 1) if covariance == "full" else state.nngp
    same_position.copy_((x1.square() + x2.square() - (x1 - x2).square()).mean(1) / 2)
    return network(replace(state, left=left, right=right))


def _start(network: Layer, x1: Tensor, x2: Tensor | None, ntk: bool) -> KernelState:
    """State of all pairs of inputs before the first layer: ``K = x . x' / channels``, ``T = 0``."""
    covariance, variance = _needs(network, x1)
    left = _of_itself(x1, variance)
    right = left if x2 is None else _of_itself(x2, variance)
    x2 = x1 if x2 is None else x2
    if covariance != "full" and x1.shape[2:] != x2.shape[2:]:
        raise InputError("x1 and x2 differ in size", f"{x1.shape[2:]} and {x2.shape[2:]}", "Pool, do not flatten.")
    channels = x1.shape[1]
    if covariance == "none":
        nngp = x1 @ x2.T
    elif covariance == "diag":
        nngp = torch.einsum("ic...,jc...->ij...", x1, x2)
    else:
        product = torch.einsum("icp,jcr->ijpr", x1.flatten(2), x2.flatten(2))
        nngp = interleave(product, x1.shape[2:], x2.shape[2:])
    nngp = nngp / channels
    return KernelState(nngp, torch.zeros_like(nngp) if ntk else None, covariance, left, right, fan_in=channels)


def _of_itself(x: Tensor, variance: Spatial) -> KernelState | None:
    """State of every input with itself, unless no layer asks for variances."""
    if variance == "none" and x.ndim > 2:
        return None
    return replace(_paired(x, x, variance, False), pairing="itself")


def _paired(x1: Tensor, x2: Tensor, spatial: Spatial, ntk: bool) -> KernelState:
    channels = x1.shape[1]
    if spatial == "full":
        product = torch.einsum("icp,icr->ipr", x1.flatten(2), x2.flatten(2)) / channels
        nngp = interleave(product, x1.shape[2:], x2.shape[2:])
    else:
        nngp = (x1 * x2).mean(1)
    return KernelState(nngp, torch.zeros_like(nngp) if ntk else None, spatial, pairing="paired", fan_in=channels)


def _needs(network: Layer, x: Tensor) -> tuple[Spatial, Spatial]:
    return network.requires("diag", "none") if x.ndim > 2 else ("none", "none")
