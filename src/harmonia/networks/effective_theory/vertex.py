"""Several inputs: their kernel and four-point vertex through the layers of a finite network.

``n Cov(mean_j z_j;a z_j;b, mean_j z_j;c z_j;d) = V_(ab)(cd)`` obeys (Roberts, Yaida & Hanin 2021, chapter 4)

    V'_(ab)(cd) = C_W^2 (<s_a s_b s_c s_d> - <s_a s_b><s_c s_d>)
                + rho (C_W^2/4) sum <s_a s_b (z z^T - G)>^(ij) V_(ij)(kl) <s_c s_d (z z^T - G)>^(kl)

with indices raised by the inverse of the kernel G of the layer before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation

MOST_INPUTS = 4
_NODES = {1: 200, 2: 120, 3: 48, 4: 26}


@dataclass(frozen=True)
class MultiInput:
    """Kernel and four-point vertex of several inputs, layer by layer.

    Attributes:
        K: Covariances of preactivations at infinite width, (depth, inputs, inputs).
        V: Vertices, (depth, inputs, inputs, inputs, inputs), with the first pair of inputs on one unit and the second
            on another.
    """

    K: Float64[Tensor, "depth inputs inputs"]
    V: Float64[Tensor, "depth inputs inputs inputs inputs"]


def multi_input_recursion(
    activation: AnyActivation,
    kernel: Float[Tensor, "inputs inputs"] | Sequence[Sequence[float]],
    depth: int,
    C_b: float,
    C_W: float,
    widths: Sequence[int] | None = None,
) -> MultiInput:
    """Follow up to four inputs through a network.

    Brackets are tensor products of Gauss-Hermite rules: exact to rounding for smooth activations at variances of order
    one, to about 1e-3 where there are kinks.

    Arguments:
        activation: As for `analyze`.
        kernel: Covariance of the first preactivations; positive definite, so no two inputs alike.
        depth: Layers with weights.
        C_b: Variance of biases.
        C_W: Variance of weights, times the fan-in.
        widths: Units of the hidden layers, for their ratios; equal unless given.

    Raises:
        InputError: more than four inputs, or a kernel that is not positive definite.

    Example:
        >>> found = multi_input_recursion("tanh", [[1.0, 0.3], [0.3, 0.8]], depth=3, C_b=0.0, C_W=1.0)
        >>> found.V.shape, bool(torch.allclose(found.V[-1, 0, 0, 1, 1], found.V[-1, 1, 1, 0, 0]))
        (torch.Size([3, 2, 2, 2, 2]), True)
    """
    pointwise = as_activation(activation)
    K = torch.as_tensor(kernel, dtype=torch.float64)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not 1 <= len(K) <= MOST_INPUTS:
        raise InputError("the kernel is a square matrix of one to four inputs", tuple(K.shape), "Pass such a matrix.")
    if not torch.equal(K, K.T) or not K.isfinite().all():
        raise InputError("the kernel must be symmetric and finite", K.tolist(), "Mend it.")
    hidden = list(widths) if widths is not None else [1] * (depth - 1)
    if depth < 1 or len(hidden) != depth - 1 or min(hidden, default=1) < 1:
        raise InputError("widths are those of the hidden layers", hidden, f"Pass {depth - 1} positive ones.")
    kernels, vertices = [K], [torch.zeros(*[len(K)] * 4, dtype=torch.float64)]
    for layer in range(depth - 1):
        rho = hidden[layer] / hidden[layer - 1] if layer else 1.0
        K, V = _next(pointwise, kernels[-1], vertices[-1], C_b, C_W, rho)
        kernels.append(K)
        vertices.append(V)
    return MultiInput(torch.stack(kernels), torch.stack(vertices))


def _next(activation: Pointwise, G: Tensor, V: Tensor, C_b: float, C_W: float, rho: float) -> tuple[Tensor, Tensor]:
    d = len(G)
    root, failed = torch.linalg.cholesky_ex(G)
    if int(failed):
        raise InputError("the kernel is not positive definite", G.tolist(), "Leave out inputs that repeat others.")
    u, w = _grid(d)
    s = activation.function(u @ root.T)
    products = (s[:, :, None] * s[:, None, :]).flatten(1)
    weighted = w[:, None] * products
    mean = weighted.sum(0)
    source = (weighted.T @ products - mean[:, None] * mean).reshape(d, d, d, d)
    squares = (u[:, :, None] * u[:, None, :] - torch.eye(d)).flatten(1)
    inverse = torch.linalg.solve_triangular(root, torch.eye(d, dtype=torch.float64), upper=False)
    slopes = (weighted.T @ squares).reshape(d * d, d, d)
    raised = (inverse.T @ slopes @ inverse).reshape(d, d, d, d)  # G^-1 <s s (z z^T - G)> G^-1
    carried = torch.einsum("abij,ijkl,cdkl->abcd", raised, V, raised)
    return C_b + C_W * mean.reshape(d, d), C_W**2 * (source + rho / 4 * carried)


def _grid(d: int) -> tuple[Tensor, Tensor]:
    """Nodes (N, d) and weights of the standard normal distribution in d dimensions."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES[d])
    x, w = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    keep = w > 1e-20 * w.max()
    x, w = x[keep], w[keep]
    u = torch.cartesian_prod(*[x] * d).reshape(-1, d)
    total = torch.ones(1, dtype=torch.float64)
    for _ in range(d):
        total = (total[:, None] * w).flatten()
    return u, total
