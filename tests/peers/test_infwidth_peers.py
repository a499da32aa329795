"""Infinite-width kernels against other packages, where they are installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harmonia.parts.infwidth import Dense, LayerNorm, ReLU, Residual, Sequential

pytestmark = pytest.mark.peer

X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("depth", [1, 3, 10])
def test_scikit_ntk(depth: int) -> None:
    """Without bias its kernel is ours of ``sqrt(d) x``, divided by the number of layers."""
    skntk = pytest.importorskip("skntk")
    theirs = skntk.NeuralTangentKernel(depth, bias=1e-9)
    hidden = [layer for _ in range(depth) for layer in (ReLU(), Dense(math.sqrt(2)))]
    ours = Sequential(Dense(), *hidden)
    scaled_x, scaled_y = math.sqrt(5) * X, math.sqrt(5) * Y
    cross = ours.kernel(scaled_x, scaled_y, get="ntk") / (depth + 1)
    np.testing.assert_allclose(cross.numpy(), theirs(X.numpy(), Y.numpy()), rtol=1e-9)
    own = ours.kernel(scaled_x, get="ntk") / (depth + 1)
    np.testing.assert_allclose(own.numpy(), theirs(X.numpy()), rtol=1e-6)  # its diagonal goes through arccos(1 - 1e-16)


def test_neural_tangents() -> None:
    """Networks that have no recorded golden values."""
    jax = pytest.importorskip("jax")
    stax = pytest.importorskip("neural_tangents.stax")
    jax.config.update("jax_enable_x64", True)

    def dense() -> object:
        return stax.Dense(1, W_std=1.4, b_std=0.3)

    block = stax.serial(stax.Relu(), dense())
    residual = stax.serial(stax.FanOut(2), stax.parallel(block, stax.Identity()), stax.FanInSum())
    _, _, kernel = stax.serial(dense(), residual, stax.LayerNorm(), stax.Relu(), dense())
    theirs = kernel(X.numpy(), Y.numpy(), ("nngp", "ntk"))
    affine = Dense(1.4, 0.3)
    ours = Sequential(affine, Residual(ReLU(), affine), LayerNorm(), ReLU(), affine).kernel(X, Y)
    np.testing.assert_allclose(ours.nngp.numpy(), theirs.nngp, rtol=1e-8)
    np.testing.assert_allclose(ours.ntk.numpy(), theirs.ntk, rtol=1e-8)
