"""Kernels seen from a few landmarks: Nystrom features, conditionals of inducing points, and which rows to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.cholesky import Cholesky
from harmonia.parts.gram.matrix import Kernel

Choice = Literal["random", "kmeans++", "pivoted"]


class Marginals(NamedTuple):
    """Mean (n, k) and variance (n,) of a Gaussian process, at each input for itself."""

    mean: Tensor
    variance: Tensor


class Nystrom:
    """A process known at landmarks Z: with ``K_ZZ = L L^T`` its features are ``phi(x) = L^-1 k(Z, x)``.

    Their inner products approximate the kernel from below, ``k(x, x') ~ k(x, Z) K_ZZ^-1 k(Z, x')``, exactly where one
    input is a landmark. Called as a function it is that kernel. float64, differentiable.

    Arguments:
        kernel: A kernel function.
        landmarks: Z.
        noise: Added to the diagonal of ``K_ZZ``; what is needed for rounding is added anyway.

    Raises:
        InputError: a kernel that is not positive semi-definite.

    Example:
        >>> from harmonia.parts.gram import SquaredExponential
        >>> x = torch.linspace(0, 3, 50, dtype=torch.float64)[:, None]
        >>> seen = Nystrom(SquaredExponential(), x[::7])
        >>> bool((seen(x) - SquaredExponential()(x)).abs().max() < 1e-4), bool((seen.residual(x) < 1e-4).all())
        (True, True)
    """

    def __init__(self, kernel: Kernel, landmarks: Float[Tensor, "m *features"], noise: float = 0.0) -> None:
        self.kernel, self.landmarks = kernel, landmarks
        self.cholesky = Cholesky(kernel(landmarks), noise)

    def features(self, x: Float[Tensor, "n *features"]) -> Float[Tensor, "n m"]:
        """``phi(x)``, one row per input."""
        return self.cholesky.whiten(self.kernel(self.landmarks, x).double()).mT

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "n1 n2"]:
        """The approximate kernel."""
        features = self.features(x1)
        return features @ (features if x2 is None else self.features(x2)).mT

    def diagonal(self, x: Tensor) -> Float[Tensor, " n"]:
        """``|phi(x)|^2``."""
        return self.features(x).square().sum(-1)

    def residual(self, x: Tensor) -> Float[Tensor, " n"]:
        """``k(x, x) - |phi(x)|^2 >= 0``: the variance that landmarks leave."""
        own = getattr(self.kernel, "diagonal", None)
        diagonal = own(x) if own is not None else torch.stack([self.kernel(row[None])[0, 0] for row in x])
        return (diagonal - self.diagonal(x)).clamp(min=0)

    def conditional(
        self, x: Tensor, mean: Float[Tensor, "m k"], factor: Float[Tensor, "m m"] | None = None
    ) -> Marginals:
        """The process at `x` when its values at the landmarks are ``N(mean, F F^T)``, or known (F = 0).

        ``k_xZ K^-1 mean`` and ``k_xx - k_xZ K^-1 k_Zx + |F^T K^-1 k_Zx|^2``.
        """
        features = self.features(x)
        variance = self.residual(x)
        if factor is not None:
            variance = variance + (features @ self.cholesky.whiten(factor)).square().sum(-1)
        return Marginals(features @ self.cholesky.whiten(mean), variance)


class Pivoted(NamedTuple):
    """Rows in the order of choice and the factor (n, rank) of ``K ~ F F^T`` that they give."""

    rows: Tensor
    factor: Tensor


def pivoted_cholesky(kernel: Kernel, x: Float[Tensor, "n *features"], rank: int, tolerance: float = 1e-10) -> Pivoted:
    """Greedy landmarks: always the row whose variance the others explain least (Harbrecht et al. 2012).

    Computes `rank` columns of the matrix, never all of it; the factor is a preconditioner for conjugate gradients.

    Arguments:
        kernel: A kernel function.
        x: Inputs.
        rank: Most rows to choose.
        tolerance: Stop when what is unexplained of the trace falls below this share.

    Raises:
        InputError: a rank below 1.

    Example:
        >>> from harmonia.parts.gram import Linear
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
        >>> pivoted_cholesky(Linear(), x, rank=3).rows
        tensor([1, 0])
    """
    if rank < 1:
        raise InputError("a factor has at least one column", rank, "Give rank >= 1.")
    own = getattr(kernel, "diagonal", None)
    left = (own(x) if own is not None else torch.stack([kernel(row[None])[0, 0] for row in x])).double().clone()
    trace, rows = float(left.sum()), []
    factor = left.new_zeros(len(x), min(rank, len(x)))
    for step in range(factor.shape[1]):
        if float(left.sum()) <= tolerance * trace:
            break
        pivot = int(left.argmax())
        column = kernel(x, x[pivot : pivot + 1])[:, 0].double() - factor[:, :step] @ factor[pivot, :step]
        factor[:, step] = column / left[pivot].sqrt()
        left = (left - factor[:, step].square()).clamp(min=0)
        left[pivot] = 0.0
        rows.append(pivot)
    return Pivoted(torch.tensor(rows, dtype=torch.int64), factor[:, : len(rows)])


def choose_landmarks(
    x: Float[Tensor, "n d"], count: int, choice: Choice = "kmeans++", kernel: Kernel | None = None, seed: int = 0
) -> Int64[Tensor, " m"]:
    """Indices of `count` different rows to be landmarks; fewer if fewer differ (pivoted).

    Arguments:
        x: Inputs.
        count: How many, at most the rows.
        choice: ``"random"``; ``"kmeans++"``: far from each other with a probability that grows with the squared
            distance (Arthur & Vassilvitskii 2007); ``"pivoted"``: greedily by the kernel, see `pivoted_cholesky`.
        kernel: For ``"pivoted"``.
        seed: Of the draws.

    Raises:
        InputError: a count out of range, an unknown choice, or no kernel to choose by.

    Example:
        >>> x = torch.tensor([[0.0], [0.01], [9.0]], dtype=torch.float64)
        >>> 2 in choose_landmarks(x, 2)
        True
    """
    if not 1 <= count <= len(x):
        raise InputError(f"landmarks are 1 to {len(x)} of the rows", count, "Change their number.")
    return _CHOICES[_known(choice)](x, count, kernel, seed)


def _known(choice: str) -> str:
    if choice not in _CHOICES:
        raise InputError("no such choice of landmarks", repr(choice), f"Use one of: {', '.join(_CHOICES)}.")
    return choice


def _random(x: Tensor, count: int, kernel: Kernel | None, seed: int) -> Tensor:
    return torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:count]


def _spread(x: Tensor, count: int, kernel: Kernel | None, seed: int) -> Tensor:
    rows = torch.from_numpy(kmeans_plusplus(x.detach().cpu().double().numpy(), count, random_state=seed)[1]).long()
    chosen = dict.fromkeys(rows.tolist())
    # With fewer different rows than landmarks it repeats itself: the next rows fill up.
    chosen |= dict.fromkeys(row for row in range(len(x)) if row not in chosen)
    return torch.tensor(list(chosen)[:count], dtype=torch.int64)


def _pivoted(x: Tensor, count: int, kernel: Kernel | None, seed: int) -> Tensor:
    if kernel is None:
        raise InputError("pivots are chosen by a kernel", "none", "Pass `kernel`, or choose otherwise.")
    return pivoted_cholesky(kernel, x, count).rows


_CHOICES: dict[str, Callable[[Tensor, int, Kernel | None, int], Tensor]] = {
    "random": _random,
    "kmeans++": _spread,
    "pivoted": _pivoted,
}
