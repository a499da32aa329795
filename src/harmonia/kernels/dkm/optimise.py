"""Optimisation of modules by L-BFGS: smooth objectives in float64 need neither a learning rate nor patience."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from harmonia.core.errors import InputError


class Found(NamedTuple):
    """The smallest value, how it fell from step to step, and how often the objective was evaluated."""

    value: float
    path: np.ndarray
    evaluations: int


def minimise(
    objective: Callable[[], Tensor],
    parameters: Iterable[nn.Parameter],
    max_iter: int,
    *,
    tolerance: float = 1e-9,
    gradient_tolerance: float = 1e-7,
) -> Found:
    """Minimise a function of parameters, in place, by L-BFGS with curvature from the last 20 steps.

    Points at which the objective has no value (a matrix that is not positive definite) count as very bad.

    Arguments:
        objective: The value, differentiable by the parameters.
        parameters: What is changed; those that need no gradient are left alone.
        max_iter: Most steps.
        tolerance: Stop when a step gains less than this, relative to the value.
        gradient_tolerance: Stop when no entry of the gradient is larger.

    Raises:
        InputError: an objective without a value at the start; one that it raises itself there.

    Example:
        >>> x = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
        >>> found = minimise(lambda: ((x - 1) ** 2).sum(), [x], 20)
        >>> x.data.round(decimals=6)
        tensor([1., 1.], dtype=torch.float64)
    """
    free = [p for p in parameters if p.requires_grad]
    path: list[float] = []
    worst = 0.0

    def load(vector: np.ndarray) -> None:
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(torch.from_numpy(vector).to(free[0]), free)

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal worst
        load(vector)
        try:
            value = objective()
        except InputError:
            if not path:
                raise
            value = torch.tensor(torch.nan)
        if not value.isfinite():
            if not path:
                raise InputError("the objective has no value at the start", float(value), "Check inputs and jitter.")
            return worst + 1e3 * (1 + abs(worst)), np.zeros_like(vector)
        slopes = torch.autograd.grad(value, free, allow_unused=True)
        path.append(float(value.detach()))
        worst = max(worst, path[-1]) if len(path) > 1 else path[-1]
        flat = [torch.zeros_like(p) if s is None else s for p, s in zip(free, slopes, strict=True)]
        return path[-1], torch.cat([s.flatten() for s in flat]).double().numpy()

    start = torch.nn.utils.parameters_to_vector(free).detach().double().numpy()
    options = {
        "maxiter": max_iter,
        "maxfun": 2 * max_iter + 20,
        "maxcor": 20,
        "ftol": tolerance,
        "gtol": gradient_tolerance,
    }
    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    load(found.x)
    return Found(float(found.fun), np.array(path), int(found.nfev))
