"""Training seen from function space: which directions a kernel learns, how fast, and when to stop.

The kernel's eigenvectors are its principal components. Gradient flow learns component i at rate ``lambda_i / N``, so
the large ones come first, and stopping early keeps the small ones, where noise lives, out (Jacot et al. 2018, Sec. 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.predict import GradientFlow, InfiniteEnsemble
from harmonia.parts.gram import EigenCache


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a kernel matrix and how the targets are spread over its principal components.

    Attributes:
        eigenvalues: Descending, (n,).
        components: Principal components as columns, (n, n), in the same order.
        power: Share of the energy of the centred targets along each component, (n,); zeros without targets.
    """

    eigenvalues: Float[Tensor, " n"]
    components: Float[Tensor, "n n"]
    power: Float[Tensor, " n"]

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue; infinite for a singular kernel."""
        smallest = float(self.eigenvalues[-1])
        return float(self.eigenvalues[0]) / smallest if smallest > 0 else math.inf

    @property
    def effective_rank(self) -> float:
        """``(sum lambda)^2 / sum lambda^2``, the number of directions that matter."""
        return float(self.eigenvalues.sum() ** 2 / self.eigenvalues.square().sum())


def ntk_spectrum(kernel: Float[Tensor, "n n"], targets: Float[Tensor, " rows *k"] | None = None) -> Spectrum:
    """Eigendecomposition of a kernel matrix, with the targets' energy along each principal component.

    Arguments:
        kernel: Symmetric positive semi-definite matrix.
        targets: Training targets.

    Raises:
        InputError: a kernel that is not symmetric or not finite, or targets of another length.

    Example:
        >>> spectrum = ntk_spectrum(torch.diag(torch.tensor([1.0, 4.0])), torch.tensor([0.0, 2.0]))
        >>> spectrum.eigenvalues.tolist(), spectrum.power.tolist(), spectrum.condition
        ([4.0, 1.0], [0.5, 0.5], 4.0)
    """
    eigen = EigenCache(kernel)
    power = torch.zeros_like(eigen.values)
    if targets is not None:
        if len(targets) != len(kernel):
            raise InputError("kernel and targets differ in length", f"{len(kernel)} and {len(targets)}", "Match them.")
        centred = targets.double().reshape(len(targets), -1)
        centred = centred - centred.mean(0)
        energy = eigen.project(centred).square().sum(1)
        power = energy / energy.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return Spectrum(eigen.values, eigen.vectors, power)


def kernel_alignment(kernel: Float[Tensor, "n n"], targets: Float[Tensor, " n *k"]) -> float:
    """Centred alignment of a kernel with targets: 1 if the kernel is the targets' own Gram matrix, 0 if unrelated.

    ``<K_c, Y Y^T> / (|K_c| |Y Y^T|)`` with centred kernel and targets (Cortes et al. 2012).

    Example:
        >>> y = torch.tensor([1.0, 1.0, -1.0, -1.0])
        >>> round(kernel_alignment(y[:, None] * y, y), 6), round(kernel_alignment(torch.eye(4), y), 4)
        (1.0, 0.5774)
    """
    y = targets.double().reshape(len(targets), -1)
    y = y - y.mean(0)
    k = kernel.double()
    k = k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
    overlap = (y * (k @ y)).sum()
    scale = k.norm() * (y.T @ y).norm()
    return float(overlap / scale) if scale > 0 else 0.0


@dataclass(frozen=True)
class StoppingTime:
    """When to stop training, and what that is worth.

    Attributes:
        time: Recommended training time; infinite if training to the end is as good (within half a percent).
        times: Times that were tried.
        errors: Root mean square error of rows left out of training, at each time.
    """

    time: float
    times: Float[Tensor, " t"]
    errors: Float[Tensor, " t"]


def stopping_time(
    ensemble: InfiniteEnsemble, *, points: int = 50, folds: int = 5, generator: torch.Generator | None = None
) -> StoppingTime:
    """The training time with the least cross-validated error.

    Arguments:
        ensemble: Networks and their training data.
        points: Number of times tried, evenly spaced in the logarithm between the fastest and the slowest component.
        folds: Folds of the cross-validation.
        generator: Source of the random split.

    Example:
        >>> x = torch.linspace(-3, 3, 40, dtype=torch.float64)
        >>> kernel = torch.exp(-((x[:, None] - x) ** 2)) + 1e-3 * torch.eye(40, dtype=torch.float64)
        >>> noise = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> best = stopping_time(InfiniteEnsemble(kernel, torch.sin(x) + noise))
        >>> best.time < 1e3, bool(best.errors.min() < 0.8 * best.errors[-1])
        (True, True)
    """
    rates = (ensemble.eigen.values + ensemble.ridge) / ensemble.size
    slowest = float(rates[rates > 1e-10 * rates[0]][-1])
    first, last = math.log10(0.1 / float(rates[0])), math.log10(10 / slowest)
    times = torch.logspace(first, last, points, dtype=torch.float64)
    left_out, _ = ensemble.out_of_fold([GradientFlow(float(time)) for time in times], folds, generator)
    errors = (left_out - ensemble.targets).square().mean((1, 2)).sqrt()
    best = int(errors.argmin())
    early = errors[best] < 0.995 * errors[-1]
    return StoppingTime(float(times[best]) if early else math.inf, times, errors)


def function_space_flow(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, "n k"],
    ntk: Float[Tensor, "n n"],
    times: Sequence[float],
    *,
    start_elsewhere: Float[Tensor, "m k"] | None = None,
    cross_ntk: Float[Tensor, "m n"] | None = None,
    tolerance: float = 1e-6,
) -> tuple[Float[Tensor, "t n k"], Float[Tensor, "t m k"] | None]:
    """Train an infinitely wide network on any loss: ``d f_t / dt = -Theta grad L(f_t)``, by Runge-Kutta 4(5).

    Arguments:
        loss: Scalar loss of the outputs (n, k) on the training set.
        start: Outputs on the training set at time 0.
        ntk: Theta(X, X).
        times: Ascending times at which the outputs are wanted.
        start_elsewhere: Outputs at other inputs x at time 0.
        cross_ntk: Theta(x, X).
        tolerance: Relative error of the integration.

    Returns:
        Outputs on the training set and at the other inputs at the wanted times.

    Example:
        >>> y = torch.tensor([[1.0], [0.0]])
        >>> f, _ = function_space_flow(lambda f: ((f - y) ** 2).sum() / 2, torch.zeros(2, 1), torch.eye(2), [0.0, 1.0])
        >>> [round(v, 4) for v in f[1].flatten().tolist()]
        [0.6321, 0.0]
    """
    times = [float(time) for time in times]
    if not times or times[0] < 0 or any(b < a for a, b in pairwise(times)) or not math.isfinite(times[-1]):
        raise InputError("times must ascend from 0 or more and be finite", times, "Pass e.g. [0, 1, 10].")
    theta, f0 = ntk.double(), start.double()
    if start_elsewhere is not None and cross_ntk is not None:
        theta, f0 = torch.cat([theta, cross_ntk.double()]), torch.cat([f0, start_elsewhere.double()])
    n = len(start)

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        f = torch.from_numpy(flat).reshape(f0.shape)[:n].clone().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(f), f)
        return -(theta @ slope).reshape(-1).numpy()

    solution = solve_ivp(
        velocity, (0.0, times[-1]), f0.reshape(-1).numpy(), t_eval=times, rtol=tolerance, atol=tolerance * 1e-3
    )
    if not solution.success:
        raise InputError("the training dynamics could not be integrated", solution.message, "Try shorter times.")
    path = torch.from_numpy(solution.y.T.copy()).reshape(len(times), *f0.shape)
    return path[:, :n], path[:, n:] if len(f0) > n else None
