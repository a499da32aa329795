"""Solving a problem of the paper and measuring the error as the official code does: on 300 points an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.problems import Problem
from harmonia.kernels.gp_hm.solver import GPPDESolver

TEST_POINTS = 300


class Solved(NamedTuple):
    """A fitted solver and its relative error."""

    solver: GPPDESolver
    error: float


def solved(
    problem: Problem,
    kernel: SpectralMixtureKernel1D | None = None,
    points: Sequence[int] | None = None,
    **options: Any,
) -> Solved:
    """Solve with the problem's own frequency scale unless a kernel is given; the error is that of the kept solution."""
    chosen = SpectralMixtureKernel1D(freq_scale=problem.freq_scale) if kernel is None else kernel
    solver = GPPDESolver(problem.equation, problem.grid(points), problem.boundary, chosen, **options)
    return measured(solver.fit(problem.source), problem)


def measured(solver: GPPDESolver, problem: Problem) -> Solved:
    """The relative L2 error of a fitted solver."""
    axes = problem.grid([TEST_POINTS] * len(problem.lengths))
    truth = problem.u(*torch.meshgrid(*axes, indexing="ij")).numpy()
    return Solved(solver, float(np.linalg.norm(solver.predict_grid(axes) - truth) / np.linalg.norm(truth)))
