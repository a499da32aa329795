"""Infinite networks against finite ones: the same kernels, measured on random networks; and back from torch modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from harmonia.core.errors import InputError
from harmonia.parts.infwidth import (
    GELU,
    Abs,
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Elementwise,
    Erf,
    FanInConcat,
    FanInProd,
    FanInSum,
    Flatten,
    GlobalAvgPool,
    GlobalSelfAttention,
    LayerNorm,
    LinearMap,
    MultiHeadSelfAttention,
    ReLU,
    Residual,
    Sequential,
    SumPool2d,
    Tanh,
    from_torch,
)


def dense(width: int | None = None) -> Dense:
    return Dense(1.4, 0.3, width=width)


def standard(width: int | None = None) -> Dense:
    return Dense(1.4, 0.3, width=width, parameterization="standard")


def conv(stride: int = 1, padding: str | int = "same") -> Conv2d:
    return Conv2d(3, 1.4, 0.3, stride=stride, padding=padding)


NEIGHBOURS = torch.tensor(
    [[0.5, 0.5, 0.0, 0.0, 0.0, 0.0], [0.0, 0.2, 0.2, 0.2, 0.2, 0.2], [0.3, 0.0, 0.0, 0.0, 0.0, 0.7]]
)
NETWORKS = {
    "relu": (Sequential(dense(), ReLU(), dense(), ReLU(), dense()), (5,), 512),
    "standard": (Sequential(standard(512), Tanh(), standard(512), GELU(), standard()), (5,), 512),
    "residual": (Sequential(dense(), Residual(ReLU(), dense(), skip=0.7), LayerNorm(), Erf(), dense()), (5,), 512),
    "concat": (
        Sequential(dense(), FanInConcat(Sequential(ReLU(), dense()), dense(), shares=[1.0, 3.0]), dense()),
        (5,),
        512,
    ),
    "product": (Sequential(dense(), FanInProd(Sequential(ReLU(), dense()), dense()), dense()), (5,), 512),
    "any": (Sequential(dense(), Elementwise(F.hardtanh), dense(), Elementwise(F.silu), dense()), (5,), 512),
    "flatten": (Sequential(conv(), ReLU(), conv(stride=2), ReLU(), Flatten(), dense()), (2, 6, 5), 128),
    "pool": (
        Sequential(
            conv(padding="circular"), ReLU(), AvgPool2d(2, 1), conv(padding="valid"), Erf(), GlobalAvgPool(), dense()
        ),
        (2, 6, 5),
        128,
    ),
    "norm": (
        Sequential(
            conv(2, padding=1), LayerNorm("all"), Abs(), conv(), LayerNorm(), ReLU(), SumPool2d(2), Flatten(), dense()
        ),
        (2, 6, 5),
        256,
    ),
    "attention": (
        Sequential(Conv1d(3, 1.4, 0.3), GlobalSelfAttention(1.1, 0.9, 1.2, 1.3, 0.2), ReLU(), GlobalAvgPool(), dense()),
        (4, 6),
        256,
    ),
    "decoder": (
        Sequential(
            conv(stride=2),
            ReLU(),
            ConvTranspose2d((4, 3), 1.4, 0.3, stride=2, padding=1),
            Erf(),
            GlobalAvgPool(),
            dense(),
        ),
        (2, 6, 5),
        128,
    ),
    "sequence decoder": (
        Sequential(ConvTranspose1d(3, 1.4, 0.3, stride=3), ReLU(), ConvTranspose1d(2, 1.4), ReLU(), Flatten(), dense()),
        (4, 5),
        256,
    ),
    "heads": (
        Sequential(
            Conv1d(3, 1.4, 0.3),
            MultiHeadSelfAttention(1.1, 0.9, 1.2, 1.3, 0.2, samples=512),
            ReLU(),
            GlobalAvgPool(),
            dense(),
        ),
        (4, 4),
        1024,
    ),
    "graph": (
        Sequential(Conv1d(3, 1.4), ReLU(), LinearMap(NEIGHBOURS), dense(), ReLU(), Flatten(), dense()),
        (4, 6),
        256,
    ),
}


def empirical_ntk(module: nn.Module, x: Tensor) -> Tensor:
    parameters = {name: value.detach() for name, value in module.named_parameters()}
    jacobian = jacrev(lambda values: functional_call(module, values, (x,)))(parameters)
    rows = torch.cat([part.flatten(2) for part in jacobian.values()], 2)
    return torch.einsum("ikp,jkp->ij", rows, rows) / rows.shape[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_of_random_networks(name: str) -> None:
    network, shape, width = NETWORKS[name]
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    nngp, ntk = network.kernel(x)
    seeds = range(4)
    tangent = sum(empirical_ntk(network.to_torch(width, shape, outputs=1, seed=seed), x) for seed in seeds) / len(seeds)
    assert (tangent - ntk).norm() < 0.15 * ntk.norm()
    with torch.no_grad():
        outputs = [network.to_torch(width, shape, outputs=1024, seed=seed)(x) for seed in seeds]
    covariance = sum(y @ y.T for y in outputs) / (len(outputs) * 1024)
    assert (covariance - nngp).norm() < 0.15 * nngp.norm()


def test_finite_networks_are_reproducible_and_plain() -> None:
    network = NETWORKS["flatten"][0]
    one, same, other = (network.to_torch(8, (2, 6, 5), outputs=3, seed=seed) for seed in (0, 0, 1))
    x = torch.randn(2, 2, 6, 5)
    assert one(x).shape == (2, 3)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))
    kinds = {type(module) for module in one.modules() if list(module.parameters(recurse=False))}
    assert kinds == {nn.Linear, nn.Conv2d}


def test_dropout_of_a_finite_network() -> None:
    """The mean of squares with dropout is what the kernel's diagonal says."""
    network = Sequential(Dense(1.4, 0.3), ReLU(), Dropout(0.5), Dense(1.4))
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)  # the module's own dropout draws from the global generator
    module = network.to_torch(4096, (5,), outputs=1024)
    measured = module(x).detach().square().mean(1)
    torch.testing.assert_close(measured, network.diagonal(x, get="nngp"), rtol=0.15, atol=0)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(InputError, match=">= 1"):
        NETWORKS["relu"][0].to_torch(0, (5,))
    with pytest.raises(InputError, match="does not fit"):
        NETWORKS["flatten"][0].to_torch(8, (5,))
    with pytest.raises(InputError, match="unshared"):
        Sequential(Conv2d(3, shared=False)).to_torch(8, (1, 4, 4))


class Block(nn.Module):
    """Two residual additions, one with a weighted shortcut, and functions instead of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(2, 256, 3, padding=1), nn.Conv2d(256, 256, 3, padding=1, bias=False)
        self.shortcut, self.head = nn.Conv2d(256, 256, 1), nn.Linear(256, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + 0.5 * self.inner(torch.relu(x))
        x = self.shortcut(F.gelu(x)) + x
        return self.head(x.tanh().mean((2, 3)))


def test_from_torch_residual() -> None:
    torch.manual_seed(0)  # torch modules initialise themselves from the global generator
    module = Block()
    network = from_torch(module)
    assert [type(layer) for layer in network.layers] == [Conv2d, FanInSum, FanInSum, Tanh, GlobalAvgPool, Dense]
    x = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(1))
    ntk = network.kernel(x, get="ntk")
    assert (empirical_ntk(module, x) - ntk).norm() < 0.15 * ntk.norm()


def test_from_torch_sequential() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv1d(3, 256, 3, stride=2, padding=1),
        nn.LeakyReLU(0.1),
        nn.AvgPool1d(2),
        nn.Conv1d(256, 256, 3, padding="same", padding_mode="circular"),
        nn.LayerNorm((256, 2), elementwise_affine=False),
        nn.Softplus(),
        nn.Dropout(0.1),
        nn.Identity(),
        nn.Flatten(),
        nn.Linear(512, 2),
    ).eval()
    network = from_torch(module)
    x = torch.randn(3, 3, 8, generator=torch.Generator().manual_seed(1))
    ntk = network.kernel(x, get="ntk")
    assert (empirical_ntk(module, x) - ntk).norm() < 0.15 * ntk.norm()
    assert isinstance(from_torch(module.train()).layers[6], Dropout)
    assert from_torch(nn.Linear(3, 4), "ntk").layers[0].parameterization == "ntk"


def test_from_torch_decoder() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.ConvTranspose2d(2, 256, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(256, 64, 3))
    x = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    network = from_torch(module)
    assert [type(layer) for layer in network.layers] == [ConvTranspose2d, ReLU, Conv2d]
    nngp = Sequential(network, Flatten()).kernel(x, get="nngp")
    with torch.no_grad():
        flat = [nn.Sequential(module, nn.Flatten())(x)]
        for _ in range(60):
            for part in module[::2]:
                part.reset_parameters()
            flat.append(nn.Sequential(module, nn.Flatten())(x))
    measured = sum(y @ y.T for y in flat) / (len(flat) * flat[0].shape[1])
    assert (measured - nngp).norm() < 0.15 * nngp.norm()


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm1d(3),
        nn.ConvTranspose1d(2, 2, 3, stride=2, output_padding=1),
        nn.MaxPool2d(2),
        nn.LSTM(3, 3),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.Flatten(0),
        nn.Bilinear(2, 2, 2),
    ],
    ids=lambda module: type(module).__name__,
)
def test_modules_without_a_limit(module: nn.Module) -> None:
    with pytest.raises(InputError):
        from_torch(nn.Sequential(module))
