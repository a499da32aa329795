"""The four errors of the theory, measured one by one where the truth is known.

The error of a trained network against f* is at most the sum of (the paper's decomposition)

    coupling        |f_net,tau - f_ker,tau(noisy labels)|           width
    label mismatch  |f_ker,tau(noisy labels) - f_ker,tau(f*)|       noise in the labels, grows with tau
    early stopping  |f_ker,tau(f*) - f_ker,inf(f*)|                 shrinks with tau
    approximation   |f_ker,inf(f*) - f*|                            shrinks with N

all in mean squares under t ~ U[T_0, T], x ~ p_t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonia.kernels.score_ntk.flow import ExactDesign
from harmonia.kernels.score_ntk.forms import PaperForm
from harmonia.kernels.score_ntk.kernels import TwoLayerKernel
from harmonia.kernels.score_ntk.network import TwoLayerScoreNet
from harmonia.kernels.score_ntk.oracles import Oracle
from harmonia.kernels.score_ntk.process import NoisyPairs, draw_pairs


@dataclass(frozen=True)
class Dissection:
    """Mean squared errors at one training time.

    Attributes:
        tau: Training time.
        n: Noisy pairs.
        coupling: By network width; empty if none was trained.
        label_mismatch, early_stopping, approximation: The other terms.
        kernel: Error of the kernel regression on noisy labels, against f*.
        network: Error of the networks against f*, by width.
    """

    tau: float
    n: int
    coupling: dict[int, float]
    label_mismatch: float
    early_stopping: float
    approximation: float
    kernel: float
    network: dict[int, float]


def dissect(
    truth: Oracle,
    n: int,
    taus: Sequence[float],
    widths: Sequence[int] = (),
    *,
    tests: int = 4000,
    t_range: tuple[float, float] = PaperForm.clock_range,
    bias: bool = False,
    seed: int = 0,
) -> list[Dissection]:
    """Measure the four errors on a distribution whose denoiser is known.

    Arguments:
        truth: The distribution, with its denoiser f*.
        n: Data points, with one noisy copy each.
        taus: Training times, ascending.
        widths: Networks to train, by number of neurons; each is trained on from one time to the next.
        tests: Points at which errors are measured.
        t_range: First and last time.
        bias: Append a constant to the inputs.
        seed: Seed of data, noise and networks.

    Example:
        >>> from harmonia.kernels.score_ntk.oracles import three_gaussians
        >>> early, late = dissect(three_gaussians(), 100, [10.0, 1000.0], tests=500)
        >>> early.label_mismatch < late.label_mismatch, early.early_stopping > late.early_stopping
        (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    form = PaperForm(t_range[0], bias)

    def drawn(count: int) -> tuple[NoisyPairs, Tensor, Tensor]:
        pairs = draw_pairs(truth.process, truth.sample(count, generator), 1, t_range, "uniform", generator)
        return pairs, form.features(pairs.t, pairs.x), truth.denoise(pairs.t, pairs.x)

    (pairs, inputs, clean), (_, at, expected) = drawn(n), drawn(tests)
    kernel = TwoLayerKernel()
    flow, cross = ExactDesign(kernel, inputs).flow(), kernel(at, inputs)
    noisy_path = cross @ flow.coefficients(pairs.x0, taus)
    clean_path = cross @ flow.coefficients(clean, [*taus, math.inf])
    nets = {m: TwoLayerScoreNet(m, inputs.shape[1] - 1 - bias, t_range, bias, seed) for m in widths}
    found, before = [], 0.0
    for tau, noisy, denoised in zip(taus, noisy_path, clean_path):
        outputs = {}
        for m, net in nets.items():
            net.fit(pairs, tau - before)
            with torch.no_grad():
                outputs[m] = net(at).double()
        before = tau
        found.append(
            Dissection(
                tau,
                n,
                {m: _square(output - noisy) for m, output in outputs.items()},
                _square(noisy - denoised),
                _square(denoised - clean_path[-1]),
                _square(clean_path[-1] - expected),
                _square(noisy - expected),
                {m: _square(output - expected) for m, output in outputs.items()},
            )
        )
    return found


def _square(error: Tensor) -> float:
    return float(error.square().sum(1).mean())
