"""When to stop: labels are noisy, so the error falls and rises again, and interpolating them memorises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.score_ntk.flow import Design, KernelFlow, flow_gain

MOST_FREEDOM = 0.9
"""Share of the degrees of freedom above which a fit says nothing about points that are left out."""


@dataclass(frozen=True)
class EarlyStop:
    """A stopping time and what it was chosen from.

    Attributes:
        tau: Training time of gradient flow on ``|f - Y|^2 / 2N``.
        sigma: Standard deviation of the label noise per coordinate, from the least error of the curve.
        taus: Times that were tried.
        curve: Error at these times by the chosen way: ``|f - Y|^2`` per input, with the label noise in it.
        choices: Times by every way that was computed: ``"cv"``, ``"loo"``, ``"rule"``, ``"multi-noise"``.
        curves: Their errors; the rule has none.
        by_output: The curve, output by output, (t, d).
        separate: Times of the outputs one by one, where these were asked for.
    """

    tau: float
    sigma: float
    taus: Float[Tensor, " t"]
    curve: Float[Tensor, " t"]
    choices: Mapping[str, float]
    curves: Mapping[str, Tensor]
    by_output: Float[Tensor, "t d"]
    separate: Float[Tensor, " d"] | None


def tau_grid(values: Float[Tensor, " r"], count: int = 40) -> Float[Tensor, " count"]:
    """Training times from before the fastest component moves until one that is 10^5 times slower is learnt.

    Example:
        >>> grid = tau_grid(torch.tensor([1.0, 1e-3]), 3)
        >>> [f"{tau:.3g}" for tau in grid.tolist()]
        ['0.1', '31.6', '1e+04']
    """
    first = 0.1 / float(values[0])
    slowest = max(float(values[-1]), 1e-5 * float(values[0]))
    return torch.logspace(math.log10(first), math.log10(10 / slowest), count, dtype=torch.float64)


def complexity(values: Float[Tensor, " r"], n: int, epsilon: float) -> float:
    """Local complexity of the kernel, ``R(eps) = sqrt(sum_i min(l_i, eps^2) / N)`` with l_i eigenvalues of K/N.

    Example:
        >>> complexity(torch.tensor([1.0, 0.01]), 2, 0.2)  # sqrt((0.04 + 0.01) / 2)
        0.158...
    """
    return math.sqrt(float(values.clamp(max=epsilon**2).sum()) / n)


def complexity_rule(values: Float[Tensor, " r"], n: int, sigma: float) -> float:
    """First time tau with ``R(1/sqrt(tau)) > 1 / (2 e sigma tau)``: the paper's stopping rule.

    It is that of Raskutti, Wainwright & Yu 2014 (JMLR 15), which the paper's Assumption 3.11 extends to vectors.

    Arguments:
        values: Eigenvalues of the Gram matrix over N.
        n: N.
        sigma: Standard deviation of the label noise per coordinate; 0 means to train for ever.

    Example:
        >>> values = torch.tensor([1.0, 0.1, 0.01])
        >>> noisy, clean = complexity_rule(values, 100, 1.0), complexity_rule(values, 100, 0.1)
        >>> noisy < clean
        True
    """
    if not sigma > 0 or not values[0] > 0:
        return math.inf

    def excess(log_tau: float) -> float:
        tau = math.exp(log_tau)
        return tau * complexity(values, n, tau**-0.5) - 1 / (2 * math.e * sigma)

    # tau R(1/sqrt(tau)) = sqrt(sum_i min(l_i tau^2, tau) / N) grows with tau, so bisection finds the only crossing.
    low, high = -100.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return math.exp(high) if high < 99 else math.inf


def held_out_errors(
    design: Design,
    targets: Float[Tensor, "n d"],
    source: Int64[Tensor, " n"],
    taus: Sequence[float],
    folds: int,
    generator: torch.Generator,
) -> Float[Tensor, "t d"]:
    """Cross-validated ``(f_tau - Y)^2`` of every output, mean over inputs.

    All noisy copies of one data point are in one fold.

    Raises:
        InputError: more folds than data points.
    """
    points = int(source.max()) + 1
    if not 2 <= folds <= points:
        raise InputError("folds must be between 2 and the number of data points", folds, f"There are {points} points.")
    fold = torch.randperm(points, generator=generator)[source] % folds
    total = torch.zeros(len(taus), targets.shape[1], dtype=torch.float64)
    for one in track(range(folds), "Cross-validating"):
        rest, left = (fold != one).nonzero()[:, 0], (fold == one).nonzero()[:, 0]
        coefficients = design.path(targets[rest], taus, rest)
        total += path_errors(design.cross(left, rest), coefficients, targets[left]) * len(left)
    return total / len(targets)


def path_errors(
    cross: Float[Tensor, "m anchors"], coefficients: Float[Tensor, "t anchors d"], targets: Float[Tensor, "m d"]
) -> Float[Tensor, "t d"]:
    """Mean of ``(f_tau - Y)^2`` over inputs, for every time and output, in one matrix product."""
    taus, anchors, d = coefficients.shape
    outputs = cross @ coefficients.movedim(0, 1).reshape(anchors, taus * d)
    return (outputs.reshape(-1, taus, d) - targets[:, None]).square().mean(0)


def leave_one_out_errors(
    flow: KernelFlow, targets: Float[Tensor, "n d"], copies: int, taus: Sequence[float]
) -> Float[Tensor, "t d"]:
    """``((I - H_gg)^-1 r_g)^2`` of every output, mean over inputs: each data point g left out in turn.

    With the smoother H and the residuals r of the fit to all inputs, exact for ridge regression and close for gradient
    flow, at the price of no further eigendecomposition. Infinite where the fit uses more than `MOST_FREEDOM` of its
    degrees of freedom: it nearly interpolates, and what little it leaves says nothing.

    Arguments:
        flow: The fit to all inputs.
        targets: Labels; the noisy copies of one point in a row.
        copies: Noisy copies of each point.
        taus: Training times.
    """
    n, d = targets.shape
    grouped = flow.vectors.reshape(n // copies, copies, -1)
    eye = torch.eye(copies, dtype=torch.float64)
    errors = []
    for tau in taus:
        smoothed = flow.values * flow_gain(flow.values, tau)
        if float(smoothed.sum()) > MOST_FREEDOM * n:
            errors.append(torch.full((d,), math.inf, dtype=torch.float64))
            continue
        block = eye - (grouped * smoothed) @ grouped.mT
        residual = (targets - flow.fitted(targets, tau)).reshape(n // copies, copies, d)
        errors.append(torch.linalg.solve(block, residual).square().sum((0, 1)) / n)
    return torch.stack(errors)
