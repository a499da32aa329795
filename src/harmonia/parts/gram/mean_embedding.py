"""Means of a kernel over samples and over products of sets, and the distance of samples that they measure (MMD).

The mean embedding of a distribution P is the function ``m_P(x) = E_{z ~ P} k(z, x)``. Expectations of every function of
the kernel's space are inner products with it, and ``MMD(P, Q) = |m_P - m_Q|`` is the largest difference of expectations
of functions of norm 1 (Gretton et al., 2012). Nothing here stores a kernel matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.matrix import Kernel, KernelOperator


def mean_embedding(
    kernel: Kernel,
    sample: Float[Tensor, "n *features"],
    at: Float[Tensor, "points *features"],
    weights: Float[Tensor, " count"] | None = None,
) -> Float[Tensor, " points"]:
    """``m(x) = sum_i w_i k(x_i, x)`` at some points.

    Arguments:
        kernel: A kernel function.
        sample: The x_i.
        at: Where to evaluate.
        weights: The w_i, of any sum and sign; 1/n each unless given.

    Raises:
        InputError: an empty sample, or weights that do not fit it.

    Example:
        >>> from harmonia.parts.gram import SquaredExponential
        >>> x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
        >>> mean_embedding(SquaredExponential(), x, x)
        tensor([0.5677, 0.5677], dtype=torch.float64)
    """
    return KernelOperator(kernel, at, sample) @ _weights(sample, weights)


def product_mean_embedding(
    kernels: Sequence[Kernel], sets: Sequence[Tensor], at: Sequence[Tensor]
) -> Float[Tensor, " points"]:
    """Mean of a product kernel over *all* combinations of the members of several sets.

    For ``k((u, v, ...), (u', v', ...)) = k_1(u, u') k_2(v, v') ...`` the mean over the whole product is the product of
    the means over the sets: ``n_1 + n_2 + ...`` kernel values a point instead of ``n_1 n_2 ...``.

    Arguments:
        kernels: One kernel for each set.
        sets: The sets, one member a row.
        at: The points, as one tensor for each set, with a row for every point.

    Raises:
        InputError: numbers of kernels, sets and points that differ; an empty set.

    Example:
        >>> from harmonia.parts.gram import SquaredExponential
        >>> users, items = torch.zeros(3, 2), torch.zeros(5, 4)
        >>> product_mean_embedding([SquaredExponential()] * 2, [users, items], [users[:1], items[:1]])
        tensor([1.])
    """
    if not len(kernels) == len(sets) == len(at) > 0 or len({len(points) for points in at}) != 1:
        got = f"{len(kernels)} kernels, {len(sets)} sets, points {[len(points) for points in at]}"
        raise InputError("a product has a kernel, a set and equally many points for each factor", got, "Match them.")
    means = [mean_embedding(*factor) for factor in zip(kernels, sets, at)]
    return torch.stack(means).prod(0)


def mmd_squared(
    kernel: Kernel,
    x: Float[Tensor, "n *features"],
    y: Float[Tensor, "m *features"],
    *,
    x_weights: Float[Tensor, " n_weights"] | None = None,
    y_weights: Float[Tensor, " m_weights"] | None = None,
    unbiased: bool = False,
) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy ``|sum_i a_i k(x_i, .) - sum_j b_j k(y_j, .)|^2`` of two samples.

    Arguments:
        kernel: A kernel function.
        x: One sample.
        y: The other.
        x_weights: The a_i; 1/n each unless given.
        y_weights: The b_j; 1/m each unless given.
        unbiased: Leave each point's kernel with itself out, so that the mean over samples is right (Gretton et al.,
            Lemma 6); it can be negative. For weights: terms i = j out, the others scaled to the same total.

    Raises:
        InputError: an empty sample, weights that do not fit, or one point where two are needed.

    Example:
        >>> from harmonia.parts.gram import SquaredExponential
        >>> x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        >>> float(mmd_squared(SquaredExponential(), x, x))
        0.0
    """
    a, b = _weights(x, x_weights), _weights(y, y_weights)
    cross = a @ (KernelOperator(kernel, x, y) @ b)
    return _within(kernel, x, a, unbiased) - 2 * cross + _within(kernel, y, b, unbiased)


def _within(kernel: Kernel, x: Tensor, weights: Tensor, unbiased: bool) -> Tensor:
    """``sum_ij w_i w_j k(x_i, x_j)``, or the same total weight on the pairs of different points."""
    operator = KernelOperator(kernel, x)
    total = weights @ (operator @ weights)
    if not unbiased:
        return total
    own = weights.square()
    different = weights.sum().square() - own.sum()
    if len(x) < 2 or different == 0:
        raise InputError("an unbiased estimate needs two points in each sample", len(x), "Use unbiased=False.")
    return (total - own @ operator.diagonal().to(own)) * weights.sum().square() / different


def _weights(sample: Tensor, weights: Tensor | None) -> Tensor:
    if not len(sample):
        raise InputError("the sample is empty", "0 points", "Pass at least one.")
    if weights is None:
        return sample.new_full((len(sample),), 1 / len(sample))
    if weights.shape != (len(sample),):
        raise InputError("weights do not fit the sample", tuple(weights.shape), f"Pass {len(sample)} numbers.")
    return weights
