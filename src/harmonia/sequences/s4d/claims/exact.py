"""Identities: the limit that justifies dropping S4's low-rank part, filters with closed forms, and ways to run."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.sequences.s4d.initialization import legs
from harmonia.sequences.s4d.kernel import S4DKernel
from harmonia.sequences.s4d.network import S4DConfig, S4DModel


@claim(
    "S4D-LegS tends to S4: its step response's error shrinks about 8-fold when the state grows 4-fold",
    place="Theorem 3 (Sec. 4): A without its low-rank part, and B / 2",
    unit="factor per 4-fold state",
    better="higher",
    tier="quick",
    gate=6.0,
)
def weak_limit(seed: int) -> Measured:
    """First Legendre coefficient, whose exact kernel is e^{-t}; the kernel itself does not converge point by point."""
    t = torch.linspace(0.01, 4, 400, dtype=torch.float64)
    integrated, pointwise = [], []
    for size in (16, 64, 256):
        found = legs(size)
        weights = found.basis[0] * found.drive  # half of B, twice the real part
        waves = torch.exp(t[:, None] * found.pole)
        kernel = (waves @ weights).real
        response = ((waves - 1) @ (weights / found.pole)).real
        pointwise.append(float((kernel - torch.exp(-t)).abs().mean()))
        integrated.append(float((response - (1 - torch.exp(-t))).abs().mean()))
    errors = ", ".join(f"{error:.4f}" for error in integrated)
    return Measured(
        math.sqrt(integrated[0] / integrated[2]),
        baseline=math.sqrt(pointwise[0] / pointwise[2]),
        note=f"mean errors {errors} at N = 16, 64, 256; baseline: the kernel itself, which stays at {pointwise[2]:.2f}",
    )


@claim(
    "One real mode is the exact first-order low-pass filter",
    place="zero-order hold, Sec. 3.2",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def low_pass(seed: int) -> Measured:
    """Time constant 1/3 s, sampled every 0.05 s: against the recurrence s <- e^{-3 dt} s + (1 - e^{-3 dt}) u."""
    kernel = S4DKernel(1, d_state=2)
    with torch.no_grad():
        kernel.inv_dt.fill_(math.log(0.05))
        kernel.A_real.fill_(math.log(3.0))
        kernel.A_imag.zero_()
        kernel.B.copy_(torch.tensor([3.0, 0.0]))
        kernel.C.copy_(torch.tensor([0.5, 0.0]))
        u = np.random.default_rng(seed).standard_normal(500)
        y, _ = kernel.system().run(torch.from_numpy(u).float()[None, None], kernel.default_state(1))
    decay, state, expected = math.exp(-0.15), 0.0, []
    for value in u:
        state = decay * state + (1 - decay) * value
        expected.append(state)
    return Measured(float(np.abs(y.flatten().numpy() - np.array(expected)).max()))


def _ways(seed: int, dtype: torch.dtype) -> float:
    """Largest difference, over the largest output, of convolution, steps and random pieces; all initialisations."""
    worst = 0.0
    for init in ("lin", "inv", "legs"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            kernel = S4DKernel(8, d_state=32, init=init).to(dtype)
            u = torch.randn(2, 8, 700, dtype=dtype)
        with torch.no_grad():
            system = kernel.system()
            whole, _ = system.run(u, system.rest(2))
            stepped, state = [], system.rest(2)
            for t in range(u.shape[-1]):
                y, state = system.step(u[:, :, t], state)
                stepped.append(y)
            pieces, state = [], system.rest(2)
            cuts = np.sort(np.random.default_rng(seed).choice(np.arange(1, 700), 6, replace=False))
            for piece in torch.tensor_split(u, torch.from_numpy(cuts), -1):
                y, state = system.run(piece, state)
                pieces.append(y)
            others = (torch.stack(stepped, -1), torch.cat(pieces, -1))
            worst = max(worst, *(float((other - whole).abs().max() / whole.abs().max()) for other in others))
    return worst


@claim(
    "Convolution, recurrence and pieces that hand on their state agree (float32)",
    place="Sec. 2.2",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def ways_to_run(seed: int) -> Measured:
    return Measured(_ways(seed, torch.float32), note="lin, inv and legs; 700 samples")


@claim(
    "Convolution, recurrence and pieces that hand on their state agree (float64)",
    place="Sec. 2.2",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-12,
)
def ways_to_run_exactly(seed: int) -> Measured:
    return Measured(_ways(seed, torch.float64), note="lin, inv and legs; 700 samples")


@claim(
    "Another sampling rate is another step: exact for inputs that are held",
    place="Sec. 2.2; zero-order hold",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def sampling_rate(seed: int) -> Measured:
    """Every sample held twice at rate 1: output 2k + 1 is output k of the plain input at rate 2. In float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kernel = S4DKernel(16, d_state=64).double()
        u = torch.randn(1, 16, 300, dtype=torch.float64)
    with torch.no_grad():
        dense, sparse = kernel.system(), kernel.system(2.0)
        held, _ = dense.run(u.repeat_interleave(2, -1), dense.rest(1))
        plain, _ = sparse.run(u, sparse.rest(1))
    return Measured(float((held[..., 1::2] - plain).abs().max() / plain.abs().max()))


@claim(
    "S4D-Lin without damping is a truncated Fourier series",
    place="Sec. 4.3: its modes are Fourier modes",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def fourier_series(seed: int) -> Measured:
    """A square wave of period 2 from 16 modes; a kernel weight is the series' integral over one sample."""
    modes, step, length = 16, 0.01, 400
    kernel = S4DKernel(1, d_state=2 * modes).double()
    n = torch.arange(modes, dtype=torch.float64)
    amplitude = torch.where(n % 2 == 1, 4 / (math.pi * n.clamp(min=1)), torch.zeros_like(n))
    with torch.no_grad():
        kernel.inv_dt.fill_(math.log(step))
        kernel.A_real.fill_(-40.0)
        kernel.A_imag.copy_(math.pi * n)
        # A is -i pi n: i/2 of e^{-i pi n t}, twice the real part, is sin(pi n t).
        kernel.C.copy_(torch.stack([torch.zeros_like(n), amplitude / 2], -1))
        found = kernel.kernel(length).flatten()
    t = torch.arange(length + 1, dtype=torch.float64) * step
    frequency = math.pi * n[1:]
    integral = -(torch.cos(t[:, None] * frequency) @ (amplitude[1:] / frequency))
    return Measured(float((found - integral.diff()).abs().max()) / step)


@claim(
    "DSS's kernel is S4D's, with every mode divided by its geometric sum",
    place="Appendix: relation to DSS (arXiv 2203.14343)",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def dss(seed: int) -> Measured:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        normalised = S4DKernel(8, d_state=32, discretization="dss", dt_min=0.01)
    plain = S4DKernel(8, d_state=32)
    plain.load_state_dict(normalised.state_dict())
    length = 300
    with torch.no_grad():
        exponent: Tensor = length * plain.step_size() * plain.pole()
        scaled = torch.view_as_complex(plain.C) / (2 * (torch.exp(exponent) - 1))
        plain.C.copy_(torch.view_as_real(scaled))
        ours, expected = normalised.kernel(length), plain.kernel(length)
    return Measured(float((ours - expected).abs().max() / expected.abs().max()))


@claim(
    "The minimal model of the release has 201,482 parameters",
    place="official README: 200k parameters",
    unit="difference",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def parameters(seed: int) -> Measured:
    """B, which the minimal layer merges into C, is frozen."""
    config = S4DConfig.of({"d_input": 3, "kernel": {"frozen": ("B",)}})
    return Measured(sum(p.numel() for p in S4DModel(config).parameters() if p.requires_grad) - 201_482)
