"""Kernel matrices by blocks: in parallel, on several devices, on disk and resumable, or never stored at all."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.scale import Engine, Ledger, map_blocks
from harmonia.parts.gram.allocator import keep_freed_memory

R = TypeVar("R")

_ALWAYS_FREE = 1 << 20
"""Bytes that need no look at the free memory, which takes as long as a small kernel."""


@runtime_checkable
class Kernel(Protocol):
    """A kernel function of two sets of inputs."""

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """The matrix ``k(x1, x2)``, or a stack ``(..., n1, n2)`` of them; of `x1` with itself if `x2` is None."""


class Tile(NamedTuple):
    """Rows and columns of a block."""

    rows: slice
    columns: slice

    def __str__(self) -> str:
        return f"{self.rows.start}:{self.rows.stop} {self.columns.start}:{self.columns.stop}"


def tiles(n1: int, n2: int, block: int, symmetric: bool = False) -> list[Tile]:
    """The blocks of a matrix, row by row; of a symmetric one those on and above the diagonal.

    Example:
        >>> [str(tile) for tile in tiles(3, 3, 2, symmetric=True)]
        ['0:2 0:2', '0:2 2:3', '2:3 2:3']
    """
    if block < 1:
        raise InputError("the block size must be at least 1", block, "Leave it out.")
    rows, columns = ([slice(start, min(start + block, n)) for start in range(0, n, block)] for n in (n1, n2))
    return [Tile(i, j) for i in rows for j in columns if not symmetric or i.start <= j.start]


def over_tiles(function: Callable[[Tile], R], plan: Sequence[Tile], label: str) -> Iterator[R]:
    """``function(tile)`` of tiles that fit in cache, in order: each in one thread, as many as torch may use at once.

    At this size that beats splitting every operation, and by far where other processes compete for the cores.

    Example:
        >>> [tile.rows for tile in over_tiles(lambda tile: tile, tiles(2, 1, 1), "Tiles")]
        [slice(0, 1, None), slice(1, 2, None)]
    """
    keep_freed_memory()
    threads = torch.get_num_threads()
    engine: Engine = "threads" if threads > 1 and len(plan) > 1 else "serial"

    def one(tile: Tile) -> R:
        if engine == "threads":
            torch.set_num_threads(1)  # in this thread; the caller's number is set again below
        return function(tile)

    try:
        yield from map_blocks(one, plan, engine=engine, workers=threads, label=label)
    finally:
        torch.set_num_threads(threads)


def kernel_matrix(
    kernel: Kernel,
    x1: Float[Tensor, "n1 *features"],
    x2: Float[Tensor, "n2 *features"] | None = None,
    *,
    block: int = 2048,
    out: Tensor | str | Path | None = None,
    engine: Engine = "serial",
    workers: int | None = None,
    devices: Sequence[str] = (),
) -> Float[Tensor, "*stack n1 n2"]:
    """The matrix ``k(x1, x2)``, computed by blocks; of a symmetric one only half.

    Arguments:
        kernel: A kernel function.
        x1: Inputs.
        x2: Other inputs; None for the symmetric matrix of `x1` with itself.
        block: Rows and columns of a block.
        out: A tensor to fill, or the path of an ``.npy`` file to create, larger than memory if need be. What is
            finished of a file survives an interruption, and the same call continues.
        engine: Where blocks are computed: `harmonia.core.scale.map_blocks`.
        workers: How many at once.
        devices: Devices that take turns, e.g. ``["cuda:0", "cuda:1"]``; by default that of the inputs.

    Returns:
        `out`, or a new tensor; for a file, a tensor that reads from it.

    Raises:
        InputError: an `out` of the wrong shape, a matrix that does not fit into memory, or an unfinished file of other
            inputs.

    Example:
        >>> class Linear:
        ...     def __call__(self, x1, x2=None):
        ...         return x1 @ (x1 if x2 is None else x2).T
        >>> x = torch.arange(6.0).reshape(3, 2)
        >>> bool((kernel_matrix(Linear(), x, block=2) == x @ x.T).all())
        True
    """
    symmetric = x2 is None
    columns = x1 if x2 is None else x2
    shape = len(x1), len(columns)
    if out is None:
        refuse_too_large(
            f"a kernel matrix of {shape[0]} x {shape[1]}",
            shape[0] * shape[1] * x1.dtype.itemsize,
            'Write it to disk (out="kernel.npy"), or use KernelOperator, which stores nothing.',
        )
    plan = tiles(*shape, block, symmetric)
    if isinstance(out, (str, Path)):
        return _to_file(kernel, x1, x2, plan, Path(out), engine, workers, devices)
    if out is not None and out.shape[-2:] != shape:
        raise InputError("out has the wrong shape", tuple(out.shape), f"Pass one of shape {shape}.")
    for tile, values in _computed(kernel, x1, x2, plan, engine, workers, devices):
        if out is None:
            out = values.new_empty(*values.shape[:-2], *shape, device=x1.device)
        _store(out, tile, values, symmetric)
    return x1.new_empty(shape) if out is None else out


def _computed(
    kernel: Kernel,
    x1: Tensor,
    x2: Tensor | None,
    plan: Sequence[Tile],
    engine: Engine,
    workers: int | None,
    devices: Sequence[str],
) -> Iterator[tuple[Tile, Tensor]]:
    blocks = []
    for number, (rows, columns) in enumerate(plan):
        other = (None if rows == columns else x1[columns]) if x2 is None else x2[columns]
        blocks.append(_Block(x1[rows], other, devices[number % len(devices)] if devices else str(x1.device)))
    return zip(plan, map_blocks(_Compute(kernel), blocks, engine=engine, workers=workers, label="Kernel matrix"))


@dataclass
class _Block:
    x1: Tensor
    x2: Tensor | None
    device: str

    def __getstate__(self) -> tuple[Tensor, Tensor | None, str]:
        # A pickled view would take the whole tensor along.
        return self.x1.clone(), None if self.x2 is None else self.x2.clone(), self.device

    def __setstate__(self, state: tuple[Tensor, Tensor | None, str]) -> None:
        self.x1, self.x2, self.device = state


@dataclass(frozen=True)
class _Compute:
    kernel: Kernel

    def __call__(self, block: _Block) -> Tensor:
        return self.kernel(block.x1.to(block.device), None if block.x2 is None else block.x2.to(block.device))


def _store(out: Tensor, tile: Tile, values: Tensor, symmetric: bool) -> None:
    out[..., tile.rows, tile.columns] = values.to(out.device)
    if symmetric and tile.rows != tile.columns:
        out[..., tile.columns, tile.rows] = values.mT.to(out.device)


def _to_file(
    kernel: Kernel,
    x1: Tensor,
    x2: Tensor | None,
    plan: Sequence[Tile],
    path: Path,
    engine: Engine,
    workers: int | None,
    devices: Sequence[str],
) -> Tensor:
    if path.suffix != ".npy":
        raise InputError("a kernel matrix is written to a .npy file", path.name, "Change the suffix.")
    part, key = path.with_suffix(".part.npy"), f"inputs {_fingerprint(x1, x2)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(path.with_suffix(".part.tiles"))
    shape = len(x1), len(x1 if x2 is None else x2)
    file = None
    if len(ledger) and part.exists():
        if key not in ledger:
            raise InputError("an unfinished kernel matrix of other inputs is there", part, "Delete it.")
        file = np.lib.format.open_memmap(part, mode="r+")
        _check_kernel(kernel, x1, x2, [tile for tile in plan if str(tile) in ledger][:1], torch.from_numpy(file))
    left = [tile for tile in plan if file is None or str(tile) not in ledger]
    for tile, values in _computed(kernel, x1, x2, left, engine, workers, devices):
        if file is None:
            stack, dtype = values.shape[:-2], values[..., :0, :0].cpu().numpy().dtype
            file = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(*stack, *shape))
            ledger.add(key)
        _store(torch.from_numpy(file), tile, values, x2 is None)
        file.flush()
        ledger.add(str(tile))
    del file
    part.replace(path)
    ledger.path.unlink()
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="r+"))


def _check_kernel(kernel: Kernel, x1: Tensor, x2: Tensor | None, finished: Sequence[Tile], matrix: Tensor) -> None:
    """Compute a finished block again: that it is the same kernel cannot be seen otherwise."""
    for tile, values in _computed(kernel, x1, x2, finished, "serial", None, ()):
        if not torch.allclose(matrix[..., tile.rows, tile.columns], values.cpu(), rtol=1e-4, atol=1e-6):
            raise InputError("an unfinished matrix of another kernel is there", f"block {tile} differs", "Delete it.")


def _fingerprint(x1: Tensor, x2: Tensor | None) -> str:
    digest = hashlib.sha256()
    for x in (x1, x2):
        if x is not None:
            digest.update(f"{tuple(x.shape)} {x.dtype}".encode())
            digest.update(x.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def free_memory() -> float:
    """Bytes of memory that can be had; infinite where the system does not tell."""
    try:
        table = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024.0 * int(table["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return math.inf


def refuse_too_large(what: str, needed: int, mend: str) -> None:
    """Refuse what does not fit into memory, before it is made.

    Arguments:
        what: Its name, in the singular.
        needed: Bytes it takes.
        mend: What to do instead.

    Raises:
        InputError: with the memory that it needs and that there is.
    """
    if needed > _ALWAYS_FREE and needed > (free := free_memory()):
        got = f"{needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free"
        raise InputError(f"{what} does not fit into memory", got, mend)


class KernelOperator:
    """The matrix ``k(x1, x2)`` as a linear map whose blocks are computed anew in each product, never stored.

    For conjugate gradients, Nystrom approximations and power iterations on matrices too large to keep.

    Arguments:
        kernel: A kernel function.
        x1: Inputs.
        x2: Other inputs; None for the symmetric matrix of `x1` with itself.
        block: Rows and columns of a block.

    Example:
        >>> class Linear:
        ...     def __call__(self, x1, x2=None):
        ...         return x1 @ (x1 if x2 is None else x2).T
        >>> KernelOperator(Linear(), torch.eye(3), block=2) @ torch.tensor([1.0, 2.0, 3.0])
        tensor([1., 2., 3.])
    """

    def __init__(self, kernel: Kernel, x1: Tensor, x2: Tensor | None = None, block: int = 2048) -> None:
        self.kernel, self.x1, self.x2 = kernel, x1, x2
        self._plan = tiles(*self.shape, block, symmetric=x2 is None)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.x1), len(self.x1 if self.x2 is None else self.x2)

    @property
    def T(self) -> KernelOperator:
        """The transposed operator."""
        return self if self.x2 is None else KernelOperator(self.kernel, self.x2, self.x1, self._plan[0].rows.stop)

    def __matmul__(self, vectors: Float[Tensor, "columns *batch"]) -> Float[Tensor, "rows *batch"]:
        if len(vectors) != self.shape[1]:
            raise InputError("vectors do not fit the operator", tuple(vectors.shape), f"Pass {self.shape[1]} rows.")
        result = vectors.new_zeros(self.shape[0], *vectors.shape[1:])
        for tile, values in _computed(self.kernel, self.x1, self.x2, self._plan, "serial", None, ()):
            values = values.to(vectors.dtype)
            result[tile.rows] += values @ vectors[tile.columns]
            if self.x2 is None and tile.rows != tile.columns:
                result[tile.columns] += values.T @ vectors[tile.rows]
        return result

    def rows(self, indices: Integer[Tensor, k]) -> Float[Tensor, "k columns"]:
        """Some rows of the matrix."""
        return self.kernel(self.x1[indices], self.x1 if self.x2 is None else self.x2)

    def diagonal(self) -> Float[Tensor, " n"]:
        """The diagonal of a symmetric operator."""
        if self.x2 is not None:
            raise InputError("only an operator of inputs with themselves has a diagonal", self.shape, "Leave x2 out.")
        blocks = (self.x1[tile.rows] for tile in self._plan if tile.rows == tile.columns)
        own = getattr(self.kernel, "diagonal", None)
        return torch.cat([self.kernel(x).diagonal() if own is None else own(x) for x in blocks])
