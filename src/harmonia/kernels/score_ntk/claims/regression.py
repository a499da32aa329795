"""Denoising as kernel regression: early stopping, the computed stopping time, networks beside their kernel.

Errors are measured on three Gaussians of scale 0.15 on the unit circle, whose denoiser f* is known.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.kernels.ntk import mlp
from harmonia.kernels.score_ntk.dissection import dissect
from harmonia.kernels.score_ntk.flow import ExactDesign
from harmonia.kernels.score_ntk.forms import GaussianForm, PaperForm
from harmonia.kernels.score_ntk.kernels import TwoLayerKernel
from harmonia.kernels.score_ntk.network import TwoLayerScoreNet
from harmonia.kernels.score_ntk.oracles import GaussianOracle, three_gaussians
from harmonia.kernels.score_ntk.process import Process, draw_pairs
from harmonia.kernels.score_ntk.stopping import (
    complexity_rule,
    held_out_errors,
    leave_one_out_errors,
    path_errors,
)


class _Regression(NamedTuple):
    """Errors against f* of the paper's regression: at the best time, by three rules, at the end."""

    best: float
    rule: float
    cv: float
    loo: float
    end: float
    noise: float


@lru_cache
def _regression(n: int, seed: int) -> _Regression:
    truth, span = three_gaussians(), PaperForm.clock_range
    generator, form = torch.Generator().manual_seed(seed), PaperForm(span[0], bias=False)
    pairs, tests = (
        draw_pairs(truth.process, truth.sample(k, generator), 1, span, "uniform", generator) for k in (n, 4000)
    )
    expected = truth.denoise(tests.t, tests.x)
    noise = float((tests.x0 - expected).square().sum(1).mean())
    design = ExactDesign(TwoLayerKernel(), form.features(pairs.t, pairs.x))
    cross, flow = TwoLayerKernel()(form.features(tests.t, tests.x), design.anchors), design.flow()

    def error(taus: list[float]) -> Tensor:
        return path_errors(cross, flow.coefficients(pairs.x0, taus), expected).sum(1)

    taus = np.geomspace(0.1, 1e4, 40).tolist()
    errors = error(taus)
    cv = held_out_errors(design, pairs.x0, pairs.source, taus, 5, generator).sum(1)
    loo = leave_one_out_errors(flow, pairs.x0, 1, taus).sum(1)
    # The rule is given the true noise level.
    rule = complexity_rule(flow.values, n, math.sqrt(noise / 2))
    at = error([rule, taus[int(cv.argmin())], taus[int(loo.argmin())], 1e7]).tolist()
    return _Regression(float(errors.min()), at[0], at[1], at[2], at[3], noise)


_NECESSARY = "Interpolating noisy labels is harmful: the error after training to the end over the best"
_RULE = "The computed stopping time is worth at most twice the best error"


@claim(_NECESSARY, place="abstract (early stopping)", unit="ratio", better="higher", tier="quick", gate=8.0)
def stopping_is_necessary(seed: int) -> Measured:
    found = [_regression(n, seed) for n in (300, 1000)]
    note = ", ".join(f"N={n}: best {e.best:.3f}, end {e.end:.3f}" for n, e in zip((300, 1000), found))
    return Measured(
        min(e.end / e.best for e in found),
        note=f"{note}; noise of the labels {found[0].noise:.3f}, to which the end tends",
    )


@claim(_RULE, place="Assumption 3.11, main theorem", unit="ratio", better="lower", tier="quick", gate=2.0)
def rule_works(seed: int) -> Measured:
    found = [_regression(n, seed) for n in (300, 1000)]
    note = ", ".join(f"N={n}: rule {e.rule:.3f}, best {e.best:.3f}" for n, e in zip((300, 1000), found))
    return Measured(max(e.rule / e.best for e in found), note=f"{note}; given the true noise")


@claim(
    "Stopping by cross-validation or by leaving one out is within 15% of the best error",
    place="beyond the paper",
    unit="ratio",
    better="lower",
    tier="quick",
    gate=1.15,
)
def choices_are_near_the_best(seed: int) -> Measured:
    found = [_regression(n, seed) for n in (300, 1000)]
    note = ", ".join(f"N={n}: cv {e.cv / e.best:.2f}, loo {e.loo / e.best:.2f}" for n, e in zip((300, 1000), found))
    return Measured(max(max(e.cv, e.loo) / e.best for e in found), note=note)


@claim(_NECESSARY + ", up to N=3000", place="abstract", unit="ratio", better="higher", tier="full", gate=8.0)
def stopping_is_necessary_far(seed: int) -> Measured:
    e = _regression(3000, seed)
    return Measured(e.end / e.best, note=f"best {e.best:.3f}, end {e.end:.3f}, noise of the labels {e.noise:.3f}")


@claim(
    "The error at the computed stopping time falls with N, and stays within twice the best",
    place="main theorem",
    unit="largest of: error over twice the best, error over that at the N before",
    better="lower",
    tier="full",
    gate=1.0,
)
def rule_works_far(seed: int) -> Measured:
    found = [_regression(n, seed) for n in (300, 1000, 3000)]
    worst = max(e.rule / (2 * e.best) for e in found)
    falls = max(after.rule / before.rule for before, after in pairwise(found))
    note = ", ".join(f"N={n}: rule {e.rule:.3f}, best {e.best:.3f}" for n, e in zip((300, 1000, 3000), found))
    return Measured(max(worst, falls), note=note)


def _coupling(widths: tuple[int, ...], n: int, tau: float, inits: int, seed: int) -> tuple[float, list[float]]:
    """Slope of the squared distance of networks to the kernel over their width, and its means over inits."""
    mean = np.zeros(len(widths))
    for init in range(inits):
        [one] = dissect(three_gaussians(), n, [tau], widths, tests=1000, seed=seed + 1000 * init)
        mean += np.array([one.coupling[m] for m in widths]) / inits
    return float(np.polyfit(np.log(widths), np.log(mean), 1)[0]), mean.tolist()


_COUPLED = "Networks trained by gradient descent near the kernel regression as their width grows"


@claim(
    _COUPLED,
    place="coupling theorem",
    unit="log-log slope of the squared distance",
    better="lower",
    tier="quick",
    gate=-0.8,
)
def networks_follow_the_kernel(seed: int) -> Measured:
    widths = (128, 512, 2048)
    slope, errors = _coupling(widths, 100, 30.0, 6, seed)
    told = ", ".join(f"{e:.1e} at {m}" for m, e in zip(widths, errors))
    return Measured(slope, note=f"N=100, tau=30, 6 data sets and inits; {told}; theory -1")


@claim(
    f"{_COUPLED}, up to 16384 neurons",
    place="coupling theorem",
    unit="log-log slope of the squared distance",
    better="lower",
    tier="full",
    gate=-0.8,
)
def networks_follow_the_kernel_far(seed: int) -> Measured:
    widths = (256, 1024, 4096, 16384)
    slope, errors = _coupling(widths, 300, 70.0, 3, seed)
    told = ", ".join(f"{e:.1e} at {m}" for m, e in zip(widths, errors))
    return Measured(slope, note=f"N=300, tau=70, 3 data sets and inits; {told}; theory -1")


@claim(
    "Different outputs of a network decouple: off-diagonal over diagonal of its tangent kernel",
    place="Sec. 3 (vector-valued kernel)",
    unit="log-log slope over width",
    better="near",
    tier="quick",
    paper=-0.5,
    tolerance=0.15,
)
def outputs_decouple(seed: int) -> Measured:
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(seed))
    widths = (256, 1024, 4096, 16384)

    def ratio(m: int, init: int) -> float:
        gram = TwoLayerScoreNet(m, 2, seed=seed + init).gram(z).reshape(50, 2, 50, 2)
        return float(gram[:, 0, :, 1].norm() / gram[:, 0, :, 0].norm())

    ratios = [float(np.mean([ratio(m, init) for init in range(4)])) for m in widths]
    told = ", ".join(f"{r:.3f} at {m}" for m, r in zip(widths, ratios))
    return Measured(float(np.polyfit(np.log(widths), np.log(ratios), 1)[0]), note=f"50 inputs, 4 inits; {told}")


@claim(
    "The kernel is the first layer's share of the engine's tangent kernel, and the network's in the limit",
    place="Sec. 3",
    unit="relative difference",
    better="zero",
    tier="quick",
    tolerance=0.01,
)
def kernel_is_the_limit(seed: int) -> Measured:
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(seed))
    kernel = TwoLayerKernel()(z.double())
    cosine = torch.nn.functional.cosine_similarity(z.double()[:, None], z.double(), dim=2).clamp(-1, 1)
    formula = z.double() @ z.double().T * (math.pi - torch.arccos(cosine)) / (2 * math.pi)
    gram = TwoLayerScoreNet(100_000, 2, seed=seed).gram(z).double().reshape(20, 2, 20, 2)[:, 0, :, 0]
    ours = float((kernel - formula).norm() / formula.norm())
    return Measured(
        max(ours, float((gram - kernel).norm() / kernel.norm())), note=f"formula {ours:.0e}; network of 10^5 neurons"
    )


@claim(
    "On Gaussian data, the form without a correction is the exact denoiser",
    place="Lemma 3.1",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def gaussian_form_is_exact(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(200, 3, generator=generator, dtype=torch.float64) @ torch.randn(
        3, 3, generator=generator, dtype=torch.float64
    )
    mean, covariance = data.mean(0), torch.cov(data.T, correction=0)
    pairs = draw_pairs(Process(), data, 1, GaussianForm.clock_range, "log", generator)
    expected = GaussianOracle(mean, covariance).denoise(pairs.t, pairs.x)
    form = GaussianForm.of(Process(), data, bias=True)
    return Measured(float((form.denoised(pairs.t, pairs.x, torch.zeros_like(pairs.x)) - expected).abs().max()))


@claim(
    "A linear kernel learns the affine denoiser of Gaussian data with an error that falls as N^-1/2",
    place="Lemma 3.1",
    unit="log-log slope of the error",
    better="lower",
    tier="quick",
    paper=-0.5,
    tolerance=0.15,
)
def linear_kernel_learns_gaussians(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    truth, form = (
        GaussianOracle(torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.4], [0.4, 0.5]])),
        PaperForm(0.5, True),
    )
    linear, sizes, errors = mlp(0, w_std=1.0, b_std=0.0), (100, 400, 1600), []
    for n in sizes:
        squares = []
        for _ in range(8):
            # At a single time the denoiser is affine in x.
            pairs, tests = (
                draw_pairs(truth.process, truth.sample(k, generator), 1, (0.5, 0.5 + 1e-9), "uniform", generator)
                for k in (n, 1000)
            )
            z = form.features(pairs.t, pairs.x)[:, [0, 1, 3]]
            at = form.features(tests.t, tests.x)[:, [0, 1, 3]]
            design = ExactDesign(lambda a, b=None: linear.kernel(a, b, get="ntk"), z)
            coefficients = design.path(pairs.x0, [math.inf], torch.arange(n))
            cross = linear.kernel(at, z, get="ntk")
            squares.append(path_errors(cross, coefficients, truth.denoise(tests.t, tests.x)).sum())
        errors.append(math.sqrt(float(torch.stack(squares).mean())))
    slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    return Measured(slope, note=", ".join(f"{e:.3f} at N={n}" for n, e in zip(sizes, errors)))
