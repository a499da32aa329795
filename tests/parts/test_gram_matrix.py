"""Kernel matrices by blocks against whole ones: in memory, on disk, interrupted, in parallel, as operator."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts import gram
from harmonia.parts.gram import KernelOperator, Tile, over_tiles, tiles
from harmonia.parts.gram.allocator import keep_freed_memory
from harmonia.parts.infwidth import Dense, Kernels, NetworkKernel, ReLU, Sequential, kernel_matrix

NET = Sequential(Dense(1.4, 0.3), ReLU(), Dense(1.4, 0.3))
X = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Counting:
    """A kernel that counts its calls and may fail at one of them."""

    def __init__(self, fails_at: int = -1) -> None:
        self.calls, self.fails_at = 0, fails_at

    def __repr__(self) -> str:
        return "Counting()"

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        return x1 @ (x1 if x2 is None else x2).T


@pytest.mark.parametrize("other", [None, Y])
@pytest.mark.parametrize("block", [1, 4, 100])
@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_blocks_equal_the_whole(other: Tensor | None, block: int, engine: str) -> None:
    whole = NET.kernel(X, other)
    both = kernel_matrix(NET, X, other, block=block, engine=engine, devices=["cpu", "cpu"])
    assert isinstance(both, Kernels)
    for a, b in zip(both, whole):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(kernel_matrix(NET, X, other, get="ntk", block=block), whole.ntk)


@pytest.mark.slow
def test_processes() -> None:
    torch.testing.assert_close(kernel_matrix(NET, X, get="ntk", block=6, engine="processes"), NET.kernel(X, get="ntk"))


def test_only_half_of_a_symmetric_matrix_is_computed() -> None:
    kernel = Counting()
    gram.kernel_matrix(kernel, X, block=2)
    assert kernel.calls == 6 * 7 // 2


def test_given_memory() -> None:
    out = torch.empty(11, 7, dtype=torch.float64)
    assert gram.kernel_matrix(Counting(), X, Y, out=out) is out
    torch.testing.assert_close(out, X @ Y.T)
    with pytest.raises(InputError, match="shape"):
        gram.kernel_matrix(Counting(), X, Y, out=torch.empty(7, 11))


@pytest.mark.parametrize("other", [None, Y])
def test_file_survives_an_interruption(other: Tensor | None, tmp_path: Path) -> None:
    path = tmp_path / "kernel.npy"
    with pytest.raises(KeyboardInterrupt):
        gram.kernel_matrix(Counting(fails_at=4), X, other, block=4, out=path)
    assert not path.exists()
    with pytest.raises(InputError, match="other inputs"):
        gram.kernel_matrix(Counting(), X + 1, other, block=4, out=path)
    with pytest.raises(InputError, match="another kernel"):
        gram.kernel_matrix(NetworkKernel(NET, "ntk"), X, other, block=4, out=path)
    kernel = Counting()
    matrix = gram.kernel_matrix(kernel, X, other, block=4, out=path)
    assert kernel.calls == 1 + 3  # one finished block is checked, three are left
    torch.testing.assert_close(matrix, X @ (X if other is None else other).T)
    assert [file.name for file in tmp_path.iterdir()] == ["kernel.npy"]


def test_both_kernels_in_one_file(tmp_path: Path) -> None:
    nngp, ntk = kernel_matrix(NET, X, block=4, out=tmp_path / "kernels.npy")
    torch.testing.assert_close(ntk, NET.kernel(X).ntk)
    torch.testing.assert_close(nngp, NET.kernel(X).nngp)
    with pytest.raises(InputError, match="suffix"):
        kernel_matrix(NET, X, out=tmp_path / "kernels.csv")


def test_matrix_larger_than_memory() -> None:
    many = torch.zeros(1, 1).expand(10**7, 1)
    with pytest.raises(InputError, match="GiB needed"):
        gram.kernel_matrix(Counting(), many)


@pytest.mark.parametrize("other", [None, Y])
def test_operator(other: Tensor | None) -> None:
    kernel = NetworkKernel(NET, "ntk")
    whole = NET.kernel(X, other, get="ntk")
    operator = KernelOperator(kernel, X, other, block=3)
    vector, vectors = torch.randn(operator.shape[1]).double(), torch.randn(operator.shape[1], 2).double()
    torch.testing.assert_close(operator @ vector, whole @ vector)
    torch.testing.assert_close(operator @ vectors, whole @ vectors)
    torch.testing.assert_close(operator.T @ whole[:, 0], whole.T @ whole[:, 0])
    torch.testing.assert_close(operator.rows(torch.tensor([2, 0])), whole[[2, 0]])
    with pytest.raises(InputError, match="fit"):
        operator @ vector[1:]


def test_diagonal_of_an_operator() -> None:
    whole = NET.kernel(X, get="nngp").diagonal()
    torch.testing.assert_close(KernelOperator(NetworkKernel(NET, "nngp"), X, block=3).diagonal(), whole)
    torch.testing.assert_close(KernelOperator(Counting(), X, block=3).diagonal(), X.square().sum(1))
    with pytest.raises(InputError, match="diagonal"):
        KernelOperator(Counting(), X, Y).diagonal()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_tiles_reuse_memory() -> None:
    """Memory that one tile frees serves the next: no fresh pages from the system."""
    assert keep_freed_memory()

    def work(tile: Tile) -> float:
        return sum(float((torch.ones(512, 512) * number).sum()) for number in range(20))

    plan = tiles(20, 1, 1)
    faults = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        assert list(over_tiles(work, plan, "Tiles")) == [190 * 512.0**2] * 20
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert faults[1] < 20_000  # 200,000 if every tile's megabytes came from the system
