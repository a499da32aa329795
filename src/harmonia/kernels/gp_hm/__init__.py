"""Differential equations solved by Gaussian processes that learn the solution's spectrum (arXiv:2311.04465)."""

from harmonia.kernels.gp_hm.boundary import Dirichlet, Neumann, Periodic
from harmonia.kernels.gp_hm.kernel import Component, SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.official import OfficialLoop
from harmonia.kernels.gp_hm.operators import Advection, AllenCahn, Derivatives, Helmholtz, Laplace, LinearOperator
from harmonia.kernels.gp_hm.problems import PAPER, Problem, paper, source_of
from harmonia.kernels.gp_hm.regressor import SpectralMixtureRegressor
from harmonia.kernels.gp_hm.solver import GPPDESolver

__all__ = [
    "PAPER",
    "Advection",
    "AllenCahn",
    "Component",
    "Derivatives",
    "Dirichlet",
    "GPPDESolver",
    "Helmholtz",
    "Laplace",
    "LinearOperator",
    "Neumann",
    "OfficialLoop",
    "Periodic",
    "Problem",
    "SpectralMixtureKernel1D",
    "SpectralMixtureRegressor",
    "paper",
    "source_of",
]
