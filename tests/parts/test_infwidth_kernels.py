"""Properties that kernels of infinite networks have, whatever the network, and exactness where rounding tempts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth import (
    GELU,
    Abs,
    AvgPool1d,
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
    Kernels,
    Layer,
    LayerNorm,
    LeakyReLU,
    LinearMap,
    MultiHeadSelfAttention,
    ReLU,
    Residual,
    Sequential,
    SumPool2d,
    Tanh,
    evaluation,
)
from harmonia.parts.infwidth.layers import MixesPositions
from harmonia.parts.infwidth.state import KernelState

settings.register_profile("kernels", deadline=None, max_examples=5, derandomize=True)
settings.load_profile("kernels")


def dense() -> Dense:
    return Dense(1.4, 0.3)


VECTOR_NETS = [
    Sequential(dense(), ReLU(), dense(), ReLU(), dense()),
    Sequential(dense(), Erf(), dense(), Residual(GELU(), dense(), skip=0.5), dense()),
    Sequential(dense(), LayerNorm(), Abs(), dense()),
    Sequential(dense(), FanInProd(Sequential(Tanh(), dense()), dense()), dense()),
    Sequential(
        dense(), FanInConcat(Sequential(ReLU(), dense()), Sequential(Erf(), dense()), shares=[1.0, 3.0]), dense()
    ),
    Sequential(*[Dense(1.4, 0.3, width=64, parameterization="standard"), ReLU(), Dropout(0.8)], dense()),
]
IMAGE_NETS = [
    Sequential(Conv2d(3, 1.4, 0.3), ReLU(), Conv2d(3, 1.4, 0.3, stride=2), ReLU(), Flatten(), dense()),
    Sequential(Conv2d(3, 1.4, 0.3, padding="circular"), Erf(), AvgPool2d(2), Conv2d(2, 1.4), ReLU(), GlobalAvgPool()),
    Sequential(Conv2d((3, 2), 1.4, padding="valid"), LayerNorm("all"), ReLU(), SumPool2d(2, 1), Flatten(), dense()),
    Sequential(Conv2d(3, 1.4, 0.3), ReLU(), Dropout(0.7), Conv2d(3, 1.4, 0.3), GELU(), GlobalAvgPool(), dense()),
]
ATTENTION = Sequential(Conv1d(3, 1.4, 0.3), GlobalSelfAttention(1.1, 0.9, 1.2, 1.3, 0.2), ReLU(), GlobalAvgPool())


def inputs(network: Layer, n: int, seed: int) -> Tensor:
    shape = (5,) if network in VECTOR_NETS else (2, 5, 4) if network in IMAGE_NETS else (3, 6)
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("network", [*VECTOR_NETS, *IMAGE_NETS, ATTENTION], ids=range(11))
@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
def test_positive_symmetric_and_equivariant(network: Sequential, seed: int, n: int) -> None:
    x = inputs(network, n, seed)
    kernels = network.kernel(x)
    diagonal = network.diagonal(x)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for kernel, alone, moved in zip(kernels, diagonal, network.kernel(x[order])):
        scale = kernel.abs().amax()
        assert torch.linalg.eigvalsh(kernel).amin() > -1e-10 * n * scale
        torch.testing.assert_close(kernel, kernel.T, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(kernel.diagonal(), alone)
        torch.testing.assert_close(moved, kernel[order][:, order], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("network", [*VECTOR_NETS[:5], *IMAGE_NETS[:3], ATTENTION], ids=range(9))
def test_of_itself_equals_cross(network: Sequential) -> None:
    """Evaluated as two different sets, equal inputs give the same kernel (no layer here has noise of its own)."""
    x = inputs(network, 4, 0)
    for same, cross in zip(network.kernel(x), network.kernel(x, x.clone())):
        torch.testing.assert_close(same, cross, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("network", [*VECTOR_NETS, *IMAGE_NETS, ATTENTION], ids=range(11))
@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_equal_one_block(network: Sequential, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = inputs(network, 8, 1), inputs(network, 5, 2)
    whole = network.kernel(x), network.kernel(x, y)
    before = torch.get_num_threads()
    monkeypatch.setattr(evaluation, "_tile_size", lambda network, x: 3)
    try:
        torch.set_num_threads(threads)
        tiled = network.kernel(x), network.kernel(x, y)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, many in zip(whole, tiled):
        for a, b in zip(one, many):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def standard() -> Dense:
    return Dense(parameterization="standard")


def deep(activation: Layer, depth: int, b_std: float) -> Sequential:
    return Sequential(*[layer for _ in range(depth) for layer in (Dense(1.3, b_std), activation)], Dense(1.3, b_std))


@pytest.mark.parametrize(
    ("network", "normalized"),
    [
        (deep(ReLU(), 3, 0.0), False),
        (deep(LeakyReLU(0.1), 20, 0.0), False),
        (Sequential(Dense(), Residual(ReLU(), Dense(1.4), skip=0.7), Dense()), False),
        (deep(ReLU(), 20, 0.1), True),
        (deep(Tanh(), 3, 0.3), True),
    ],
    ids=["relu", "leaky 20", "residual", "relu 20", "tanh"],
)
def test_angular_profile(network: Sequential, normalized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of equal length, and homogeneous networks, take a short cut through a polynomial in the angle."""
    x = inputs(VECTOR_NETS[0], 12, 3)
    x[1], x[2], x[3] = x[0], -x[0], x[0] + 1e-3
    x = F.normalize(x, dim=1) * 2 if normalized else torch.cat([x, torch.zeros(1, 5, dtype=x.dtype)])
    exact = network.kernel(x)
    monkeypatch.setattr(evaluation, "TILE", 36)
    for a, b in zip(network.kernel(x), exact):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10 * float(b.abs().amax()))


@given(seed=st.integers(0, 10**6), factor=st.floats(0.1, 10.0))
def test_homogeneity(seed: int, factor: float) -> None:
    """Without biases a ReLU network scales with its input: ``k(a x, y) = a k(x, y)``."""
    network = Sequential(Dense(1.4), ReLU(), Dense(1.1), LeakyReLU(0.3), Dense())
    x, y = inputs(VECTOR_NETS[0], 3, seed), inputs(VECTOR_NETS[0], 2, seed + 1)
    for scaled, kernel in zip(network.kernel(factor * x, y), network.kernel(x, y)):
        torch.testing.assert_close(scaled, factor * kernel, rtol=1e-10, atol=1e-12)


def test_float32_of_nearly_equal_inputs() -> None:
    """The arc cosine loses half of the digits near 1; here nothing is lost."""
    network = deep(ReLU(), 3, 0.1)
    x = torch.randn(60, 30, generator=torch.Generator().manual_seed(0))
    near = x + 10.0 ** torch.linspace(-7, -1, 60)[:, None] * torch.randn(
        60, 30, generator=torch.Generator().manual_seed(1)
    )
    both = torch.cat([x, near, x, -x])
    for single, double in zip(network.kernel(both), network.kernel(both.double())):
        assert single.dtype == torch.float32
        assert ((single - double).abs() < 2e-6 * double.abs().amax()).all()
    for single, double in zip(
        network.kernel(x + 100), network.kernel((x + 100).double())
    ):  # all of them nearly parallel
        assert ((single - double).abs() < 2e-6 * double.abs().amax()).all()


def test_float32_of_constant_images() -> None:
    """Where patches of two images coincide, positions are parallel although the images are not."""
    network = IMAGE_NETS[0]
    x = torch.zeros(3, 2, 5, 4)
    x[0, 0, 1, 1], x[1, 1, 3, 2] = 1.0, 2.0
    for single, double in zip(network.kernel(x), network.kernel(x.double())):
        assert single.isfinite().all()
        assert ((single - double).abs() < 3e-6 * double.abs().amax()).all()


def test_zero_and_duplicate_inputs_have_finite_kernels_and_gradients() -> None:
    for network in VECTOR_NETS[:5]:
        x = inputs(network, 5, 7)
        x[1], x[2], x[3] = x[0], 0.0, -x[0]
        x.requires_grad_()
        for kernel in network.kernel(x):
            assert kernel.isfinite().all()
            (gradient,) = torch.autograd.grad(kernel.sum(), x, retain_graph=True)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("network", [*VECTOR_NETS, *IMAGE_NETS, ATTENTION], ids=range(11))
def test_gradients_by_inputs(network: Sequential) -> None:
    x, y = inputs(network, 2, 5).requires_grad_(), inputs(network, 2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: tuple(network.kernel(a, b)), (x, y), atol=1e-6, fast_mode=True)
    assert torch.autograd.gradcheck(lambda a: tuple(network.kernel(a)), x, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("kind", [ReLU(), Tanh(), Elementwise(F.hardtanh)], ids=repr)
def test_gradients_by_hyperparameters(kind: Layer) -> None:
    x = inputs(VECTOR_NETS[0], 3, 8)

    def kernels(w: Tensor, b: Tensor, skip: Tensor) -> tuple[Tensor, ...]:
        return tuple(Sequential(Dense(w, b), Residual(kind, Dense(w, b), skip=skip), Dense(w, b)).kernel(x))

    start = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.3, 0.4, 0.8)]
    assert torch.autograd.gradcheck(kernels, start, atol=1e-6, fast_mode=True)


def test_hyperparameters_that_require_gradients_also_work_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "TILE", 9)
    network = Sequential(Dense(torch.tensor(1.3, requires_grad=True)), ReLU(), Dense())
    x = inputs(VECTOR_NETS[0], 7, 0).float()
    with torch.no_grad():
        tiled = network.kernel(x, get="ntk")
    assert not tiled.requires_grad
    torch.testing.assert_close(tiled, network.kernel(x, get="ntk"))


def test_inputs_of_different_sizes() -> None:
    """Pooled sequences may differ in length."""
    network = Sequential(Conv1d(3, 1.4, 0.3), ReLU(), GlobalAvgPool(), dense())
    x, y = torch.randn(2, 3, 6).double(), torch.randn(3, 3, 9).double()
    nngp, ntk = network.kernel(x, y)
    assert nngp.shape == ntk.shape == (2, 3)
    torch.testing.assert_close(network.kernel(y, x).ntk.T, ntk)


def test_positions_that_remain() -> None:
    """A network that neither pools nor flattens keeps its positions, compared one by one."""
    x = torch.randn(3, 2, 5, 4).double()
    kernel = Sequential(Conv2d(3, 1.4), ReLU()).kernel(x, get="nngp")
    assert kernel.shape == (3, 3, 5, 4)
    pooled = Sequential(Conv2d(3, 1.4), ReLU(), Flatten(), Dense()).kernel(x, get="nngp")
    torch.testing.assert_close(kernel.mean((2, 3)), pooled)


def test_linear_maps() -> None:
    x = torch.randn(3, 2, 6).double()
    block = torch.kron(torch.eye(3), torch.full((1, 2), 0.5)).double()
    pooled = Sequential(Conv1d(3, 1.4, 0.3), ReLU(), AvgPool1d(2), Conv1d(2), Erf(), Flatten(), dense())
    mapped = Sequential(Conv1d(3, 1.4, 0.3), ReLU(), LinearMap(block), Conv1d(2), Erf(), Flatten(), dense())
    for a, b in zip(pooled.kernel(x), mapped.kernel(x)):
        torch.testing.assert_close(a, b)
    pick = 2 * torch.eye(6).double()[[1, 4]]
    one_by_one = Sequential(LinearMap(pick), dense(), ReLU(), Flatten(), dense())
    assert one_by_one.requires("diag", "none") == ("diag", "diag")
    chosen = Sequential(dense(), ReLU(), Flatten(), dense())
    for a, b in zip(one_by_one.kernel(x), chosen.kernel(2 * x[:, :, [1, 4]])):
        torch.testing.assert_close(a, b)


def test_unshared_convolution() -> None:
    """Without shared weights positions are independent, so pooling averages only equal positions."""
    x = torch.randn(2, 2, 5, 4).double()
    local = Sequential(Conv2d(3, 1.4, 0.3, shared=False), GlobalAvgPool()).kernel(x)
    shared = Sequential(Conv2d(3, 1.4, 0.3), Flatten()).kernel(x)
    for a, b in zip(local, shared):
        torch.testing.assert_close(a, b / 20)


def test_linear_attention_with_many_heads() -> None:
    """Without softmax the expectations over the logits are second moments, known in closed form."""
    x = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = Sequential(Conv1d(2, 1.1, 0.3))
    probe = Sequential(*before.layers, _Kept())
    attention = MultiHeadSelfAttention(0.8, 0.7, 0.9, 1.2, 0.4, weighting="identity", samples=2000)
    nngp, ntk = Sequential(*before.layers, attention, _Kept()).kernel(x)
    k, t = probe.kernel(x)
    squares, products = (each.sum((2, 3), keepdim=True) for each in (k * k, k * t))
    gain, g = (0.9 * 1.2) ** 2, (0.8 * 0.7) ** 2
    mixed = gain * g * k * squares
    carried = gain * g * (k * products + (2 * k + t) * squares + k * products)
    for ours, expected in ((nngp, mixed + 0.16), (ntk, carried + 2 * mixed + 0.16)):
        assert (ours - expected).norm() < 0.1 * expected.norm()


class _Kept(MixesPositions):
    """Asks for all pairs of positions and changes nothing."""

    def propagate(self, state: KernelState) -> KernelState:
        return state


def test_attention_without_logits_is_the_mean_and_its_kernels_are_symmetric() -> None:
    x = torch.randn(3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for weighted in (MultiHeadSelfAttention(key_std=0.0), MultiHeadSelfAttention(key_std=0.0, query_std=2.0)):
        ours = Sequential(Conv1d(3), weighted, ReLU(), Flatten(), Dense()).kernel(x, get="nngp")
        mean = Sequential(Conv1d(3), GlobalAvgPool(), Dense(), ReLU(), Dense()).kernel(x, get="nngp")
        torch.testing.assert_close(ours, mean, rtol=1e-10, atol=1e-12)
    network = Sequential(Conv1d(3), MultiHeadSelfAttention(samples=16), ReLU(), GlobalAvgPool(), Dense())
    for kernel in network.kernel(x):
        torch.testing.assert_close(kernel, kernel.T, rtol=1e-10, atol=1e-12)
    with pytest.raises(InputError, match="fours"):
        MultiHeadSelfAttention(samples=3)
    with pytest.raises(InputError, match="positions"):
        Sequential(MultiHeadSelfAttention()).kernel(x[:, :, 0])


def test_transposed_convolution_against_convolution_and_by_hand() -> None:
    """Of stride 1 it is a convolution; of stride = window every output position has one input position."""
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for last in (Flatten(), GlobalAvgPool()):
        same = Sequential(Conv2d(3, 1.4, 0.3), ReLU(), Conv2d(3, 1.2), last).kernel(x)
        adjoint = Sequential(ConvTranspose2d(3, 1.4, 0.3, padding=1), ReLU(), ConvTranspose2d(3, 1.2, padding=1), last)
        for ours, theirs in zip(adjoint.kernel(x), same):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    line = x[..., 0]
    product = torch.einsum("icp,jcq->ijpq", line, line) / 3
    spread = Sequential(ConvTranspose1d(3, 2.0, stride=3)).kernel(line, get="nngp")
    equal = product.diagonal(dim1=2, dim2=3).repeat_interleave(3, 2)
    torch.testing.assert_close(spread, 4 / 3 * equal, rtol=1e-12, atol=1e-15)
    pooled = Sequential(ConvTranspose1d(3, 2.0, stride=3), GlobalAvgPool()).kernel(line, get="nngp")
    torch.testing.assert_close(pooled, 4 / 3 * product.sum((2, 3)) * 3 / 15**2, rtol=1e-12, atol=1e-15)


def test_dropout_adds_noise_to_the_diagonal_only() -> None:
    x = inputs(VECTOR_NETS[0], 3, 0)
    noisy, clean = (Sequential(dense(), ReLU(), *drop, Dense()) for drop in ([Dropout(0.5)], []))
    difference = noisy.kernel(x, get="nngp") - clean.kernel(x, get="nngp")
    torch.testing.assert_close(difference, torch.diag(clean.diagonal(x, get="nngp")), atol=1e-12, rtol=0)


def test_what_is_returned() -> None:
    network, x = VECTOR_NETS[0], inputs(VECTOR_NETS[0], 2, 0)
    both = network.kernel(x)
    assert isinstance(both, Kernels)
    torch.testing.assert_close(network.kernel(x, get="nngp"), both.nngp)
    torch.testing.assert_close(network.kernel(x, get="ntk"), both.ntk)
    assert network.kernel(x[:0]).ntk.shape == (0, 0)
    assert network.kernel(x.half(), get="ntk").dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: Sequential(ReLU(), Dense()).kernel(x), "not Gaussian"),
        (lambda x: Sequential(Dense(), ReLU(), Erf()).kernel(x), "Insert an affine layer"),
        (lambda x: Sequential(Dense(), ReLU(), LayerNorm()).kernel(x), "centred"),
        (lambda x: evaluation.kernel_of(Dense(), x.long(), None, True), "floating-point"),
        (lambda x: evaluation.kernel_of(Dense(), x[0], None, True), "shape"),
        (lambda x: evaluation.kernel_of(Dense(), x, x[:, :2], True), "same features"),
        (lambda x: Sequential(Dense()).kernel(x, x.double()), "dtype"),
        (lambda x: Sequential(Dense()).kernel(torch.cat([x, x[:1] / 0])), "row 3"),
        (lambda x: Sequential(Dense(-1.0)), "w_std"),
        (lambda x: Sequential(Conv2d(3)).kernel(x), "2 axes after the channels"),
        (lambda x: Sequential(GlobalAvgPool()).kernel(x), "positions"),
        (lambda x: Sequential(GlobalSelfAttention()).kernel(x), "positions"),
        (lambda x: Sequential(Flatten()).kernel(x[..., None], x[..., None].repeat(1, 1, 2)), "differ in size"),
        (lambda x: FanInSum(Sequential(ReLU()), Sequential()), "correlated"),
        (lambda x: Dropout(0.0), "keep"),
        (
            lambda x: Sequential(GlobalAvgPool()).kernel(x[:1, :1, None].expand(1, 1, 10**4, 4).repeat(1, 1, 100, 1)),
            "GiB",
        ),
        (lambda x: Conv2d(0), "window"),
        (lambda x: ConvTranspose2d(3, padding=3), "transposed"),
        (lambda x: Sequential(standard(), ReLU(), standard()).kernel(x), "width"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(torch.randn(3, 4))


def test_repr_is_short() -> None:
    network = Sequential(Conv2d(3, 1.5, 0.3, stride=2), LeakyReLU(0.2), Dense(b_std=0.1), Tanh(), Dense())
    text = "Conv2d((3, 3), 1.5, 0.3, stride=(2, 2)), LeakyReLU(0.2), Dense(b_std=0.1), Tanh(), Dense()"
    assert repr(network) == f"Sequential({text})"
