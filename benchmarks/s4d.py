"""S4D beside what one would write or install instead: the plain Vandermonde product, mambapy's scan, a GRU cell.

The official code is no package; run beside it by hand, its kernel is the same plain product.
"""

import math

from harmonia.app.bench import Race

HEADS, MODES = 128, 32


def parameters():
    import torch

    generator = torch.Generator().manual_seed(0)
    step = 10 ** (torch.rand(HEADS, 1, generator=generator) * 2 - 3)
    pole = torch.complex(torch.full((HEADS, MODES), -0.5), math.pi * torch.arange(MODES).float().expand(HEADS, MODES))
    weights = torch.randn(HEADS, MODES, dtype=torch.cfloat, generator=generator)
    return (step * pole).requires_grad_(), weights.requires_grad_()


def gradient_of(kernel, length):
    """One training step's share of a kernel: forwards and backwards; gives the gradient of the exponents."""
    import torch

    exponent, weights = parameters()
    target = torch.randn(HEADS, length, generator=torch.Generator().manual_seed(1))

    def step():
        (found,) = torch.autograd.grad(kernel(weights, exponent, length), exponent, target)
        return torch.view_as_real(found).numpy()

    return step


def our_kernel(length):
    from harmonia.parts.recurrence import diagonal_kernel

    return gradient_of(diagonal_kernel, length)


def plain_kernel(length):
    import torch

    def kernel(weights, exponent, length):
        powers = torch.exp(exponent.unsqueeze(-1) * torch.arange(length))
        return torch.einsum("hn,hnl->hl", weights, powers).real

    return gradient_of(kernel, length)


def scan_of(scan, shape):
    import torch

    generator = torch.Generator().manual_seed(0)
    a = torch.rand(shape, generator=generator).requires_grad_()
    x = torch.randn(shape, generator=generator).requires_grad_()
    target = torch.randn(shape, generator=generator)

    def step():
        return torch.autograd.grad(scan(a, x), a, target)[0].numpy()

    return step


def our_scan(shape):
    from harmonia.parts.recurrence import linear_scan

    return scan_of(linear_scan, shape)


def mambapy_scan(shape):
    from mambapy.pscan import pscan

    return scan_of(pscan, shape)


def our_layer(length, batch):
    import torch

    from harmonia.sequences.s4d import S4D

    torch.manual_seed(0)
    layer = S4D(HEADS, d_state=2 * MODES)
    return layer_step(layer, (batch, length, HEADS))


def plain_layer(length, batch):
    """The same layer as a textbook writes it: plain product, transforms to twice the length, 1x1 convolution, GLU."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from harmonia.sequences.s4d import S4D

    torch.manual_seed(0)
    ours = S4D(HEADS, d_state=2 * MODES)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.D = nn.Parameter(ours.kernel.inv_dt.detach()), nn.Parameter(ours.D.detach())
            self.real, self.imag = nn.Parameter(ours.kernel.A_real.detach()), nn.Parameter(ours.kernel.A_imag.detach())
            self.C = nn.Parameter(ours.kernel.C.detach())
            self.mix = nn.Conv1d(HEADS, 2 * HEADS, 1)
            self.mix.weight.data, self.mix.bias.data = ours.output.weight.data[..., None], ours.output.bias.data

        def forward(self, u):
            u = u.transpose(1, 2)
            pole = -torch.exp(self.real) - 1j * self.imag
            exponent = torch.exp(self.step) * pole
            weights = torch.view_as_complex(self.C)[0] * (torch.exp(exponent) - 1) / pole
            powers = torch.exp(exponent.unsqueeze(-1) * torch.arange(length))
            kernel = 2 * torch.einsum("hn,hnl->hl", weights, powers).real
            n = 2 * length
            y = torch.fft.irfft(torch.fft.rfft(u, n) * torch.fft.rfft(kernel, n), n)[..., :length]
            return F.glu(self.mix(F.gelu(y + u * self.D[0].unsqueeze(-1))), 1).transpose(1, 2)

    return layer_step(Layer(), (batch, length, HEADS))


def layer_step(layer, shape):
    import torch

    u = torch.randn(shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    target = torch.randn(shape, generator=torch.Generator().manual_seed(3))

    def step():
        layer.zero_grad()
        y = layer(u)
        y.backward(target)
        return y.detach().numpy()

    return step


def our_steps(count):
    import torch

    from harmonia.sequences.s4d import S4D

    torch.manual_seed(0)
    layer = S4D(HEADS, d_state=2 * MODES).eval()
    u = torch.randn(count, 1, HEADS, generator=torch.Generator().manual_seed(0))

    def run():
        with torch.no_grad():
            state = layer.default_state(1)
            for sample in u:
                _, state = layer.step(sample, state)

    return run


def our_blocks(count):
    import torch

    from harmonia.sequences.s4d import S4D

    torch.manual_seed(0)
    layer = S4D(HEADS, d_state=2 * MODES).eval()
    u = torch.randn(1, count, HEADS, generator=torch.Generator().manual_seed(0))

    def run():
        with torch.no_grad():
            state = layer.default_state(1)
            for piece in u.split(256, 1):
                _, state = layer.run(piece, state)

    return run


def gru_steps(count):
    import torch

    torch.manual_seed(0)
    cell = torch.nn.GRUCell(HEADS, HEADS)
    u = torch.randn(count, 1, HEADS, generator=torch.Generator().manual_seed(0))

    def run():
        with torch.no_grad():
            state = torch.zeros(1, HEADS)
            for sample in u:
                state = cell(sample, state)

    return run


NAIVE = "the peer is torch's plain operations: the product as the official code's 'naive' backend forms it"

RACES = (
    Race(
        "torch",
        "kernel of 128 heads, 64 states, 1,024 samples, with gradient",
        our_kernel,
        plain_kernel,
        {"length": 1024},
        tolerance=1e-4,
        note=NAIVE,
    ),
    Race(
        "torch",
        "kernel of 128 heads, 64 states, 16,384 samples, with gradient",
        our_kernel,
        plain_kernel,
        {"length": 16384},
        tolerance=1e-4,
        repeats=2,
        note=NAIVE,
    ),
    Race(
        "torch",
        "S4D layer, batch 16, 1,024 samples, width 128, with gradient",
        our_layer,
        plain_layer,
        {"length": 1024, "batch": 16},
        tolerance=1e-4,
        note="the peer is the layer as a textbook writes it in torch",
    ),
    Race(
        "mambapy",
        "scan, batch 8, 512 steps, 64 x 16 features, with gradient",
        our_scan,
        mambapy_scan,
        {"shape": [8, 512, 64, 16]},
    ),
    Race(
        "mambapy",
        "scan, batch 1, 4,096 steps, 64 x 16 features, with gradient",
        our_scan,
        mambapy_scan,
        {"shape": [1, 4096, 64, 16]},
    ),
    Race(
        "torch",
        "2,048 single steps of a layer of width 128, beside a GRU cell",
        our_steps,
        gru_steps,
        {"count": 2048},
        note="other models, so that outputs are not compared; ours keeps 4,096 complex numbers, theirs 128",
    ),
    Race(
        "torch",
        "2,048 samples streamed in blocks of 256 through a layer of width 128, beside a GRU cell",
        our_blocks,
        gru_steps,
        {"count": 2048},
        note="other models, so that outputs are not compared",
    ),
)
