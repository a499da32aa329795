"""What a network is compared with: the exact posterior, ridge regression and least squares, for all prefixes at once.

Every function takes prompts and gives, for each t, what follows for y_t from x_t and the pairs before it, in float64.
All refuse pairs that do not fit or are not finite with an `InputError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq.prior import TaskPrior, checked_pairs


class Reference(NamedTuple):
    """Mean and standard deviation of every target before it is seen."""

    mean: Float[Tensor, "batch length"]
    std: Float[Tensor, "batch length"]


def bayes(prior: TaskPrior, xs: Float[Tensor, "batch length dim"], ys: Float[Tensor, "batch length"]) -> Reference:
    """Exact posterior mean and standard deviation under a prior of linear tasks, infinitely many whatever its pool.

    Student-t with 2a degrees of freedom: mean ``m . x``, variance ``b/(a-1) (1 + x . P x)`` (Sec. 2 of the paper).

    Raises:
        InputError: a prior of other than linear tasks, for which no exact answer is known, or inputs so large that they
            hide the noise.

    Example:
        >>> prompts = TaskPrior(dim=8).sample(1, 3, torch.Generator().manual_seed(0))
        >>> exact = bayes(TaskPrior(dim=8), prompts.xs, prompts.ys)
        >>> first = prompts.xs[0, 0].double()
        >>> torch.testing.assert_close(exact.std[0, 0], (20 / 19 * (1 + first.square().sum())).sqrt())
    """
    checked_pairs("the pairs", xs, ys, prior.dim)
    known = prior.belief().prequential(xs.double(), ys.double())
    return Reference(known.location, known.variance.sqrt())


@dataclass(frozen=True)
class FinitePoolBayes:
    """The exact posterior under finitely many linear tasks, all equally likely before: what a small pool teaches.

    Posterior weights ``p_k ~ prod_s N(y_s; w_k . x_s, sigma_k^2)``; mean and variance of the mixture of predictions.

    Attributes:
        ws: Weights of the tasks.
        sigmas: Standard deviations of their noise.
        compat: ``icl-uq``: as the official code, whose products of posterior and density are clipped to (1e-8, 1e6)
            before they are normalised, so that tasks which the pairs have ruled out stay alive.

    Raises:
        InputError: shapes that do not fit, weights that are not finite, noise that is not positive, or another
            `compat`.

    Example:
        >>> pool = FinitePoolBayes(torch.tensor([[1.0], [-1.0]]), torch.tensor([1.0, 1.0]))
        >>> known = pool.predict_all_prefixes(torch.ones(1, 2, 1), torch.tensor([[9.0, 0.0]]))
        >>> known.mean.tolist()[0], known.std[0, 0].item() ** 2
        ([0.0, 0.9999999...], 2.0...)
    """

    ws: Float[Tensor, "tasks dim"]
    sigmas: Float[Tensor, " tasks"]
    compat: Literal["icl-uq"] | None = None

    def __post_init__(self) -> None:
        if self.ws.ndim != 2 or self.sigmas.shape != self.ws.shape[:1] or not (self.sigmas > 0).all():
            got = f"shapes {tuple(self.ws.shape)} and {tuple(self.sigmas.shape)}"
            raise InputError("a pool has one positive noise level for each row of weights", got, "Pass such a pool.")
        if not torch.isfinite(self.ws).all():
            raise InputError("a pool's weights are finite", "NaN or infinity", "Repair or drop such tasks.")
        if self.compat not in (None, "icl-uq"):
            raise InputError("there is no such release", self.compat, "Use compat='icl-uq' or None.")

    def predict_all_prefixes(
        self, xs: Float[Tensor, "batch length dim"], ys: Float[Tensor, "batch length"]
    ) -> Reference:
        """Mean and standard deviation of every target from the pairs before it."""
        checked_pairs("the pairs", xs, ys, self.ws.shape[-1])
        fits = xs.double() @ self.ws.double().T  # batch length tasks
        sigmas = self.sigmas.double()
        density = torch.distributions.Normal(fits, sigmas).log_prob(ys.double()[..., None])
        weights = _clipped_posterior(density) if self.compat else torch.softmax(_before(density), -1)
        mean = (weights * fits).sum(-1)
        variance = (weights * ((fits - mean[..., None]).square() + sigmas.square())).sum(-1)
        return Reference(mean, variance.sqrt())


def _clipped_posterior(density: Tensor) -> Tensor:
    """The official recursion: products of posterior and density, clipped and normalised, pair by pair."""
    tasks = density.shape[-1]
    weights = [torch.full_like(density[:, 0], 1 / tasks)]
    for step in density[:, :-1].unbind(1):
        product = (weights[-1] * step.exp()).clamp(1e-8, 1e6)
        weights.append(product / product.sum(-1, keepdim=True))
    return torch.stack(weights, 1)


def ridge(xs: Float[Tensor, "batch length dim"], ys: Float[Tensor, "batch length"], alpha: float = 0.1) -> Reference:
    """Ridge regression without intercept on every prefix, with ``sigma^2 = RSS / max(1, n - d - 1)``.

    With `alpha` 0: least squares, the shortest solution where there are several. Without pairs both are 0. The noise
    counts, not what is unknown of the weights, as in the official code.

    Raises:
        InputError: an `alpha` below 0.
    """
    checked_pairs("the pairs", xs, ys)
    if not alpha >= 0:
        raise InputError("a penalty is not negative", alpha, "Pass alpha of 0 or more.")
    x, y = xs.double(), ys.double()
    dim = x.shape[-1]
    before = torch.arange(x.shape[1], dtype=torch.float64)
    gram = _before(x[..., :, None] * x[..., None, :])
    cross, energy = _before(x * y[..., None]), _before(y.square())
    if alpha:
        weights = torch.linalg.solve(gram + alpha * torch.eye(dim).double(), cross[..., None])[..., 0]
    else:
        weights = (torch.linalg.pinv(gram, rtol=1e-11, hermitian=True) @ cross[..., None])[..., 0]
    residual = energy - 2 * (weights * cross).sum(-1) + (weights * (gram @ weights[..., None])[..., 0]).sum(-1)
    variance = residual.clamp(min=0) / (before - dim - 1).clamp(min=1)
    return Reference((weights * x).sum(-1), variance.sqrt())


def _before(values: Tensor) -> Tensor:
    """Sums over the positions before each."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1].cumsum(1)], 1)
