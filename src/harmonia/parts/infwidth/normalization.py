"""Layer normalisation and dropout at infinite width."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.layers import Layer, finer
from harmonia.parts.infwidth.positions import position_diagonal
from harmonia.parts.infwidth.state import KernelState, Spatial


class LayerNorm(Layer):
    """Features divided by their standard deviation over channels, or over channels and positions.

    The features after an affine layer are centred, and infinitely many, so their standard deviation is ``sqrt(q)``:
    ``K' = K / sqrt((q1 + eps)(q2 + eps))``, the same for the tangent kernel.

    Arguments:
        over: ``"channels"``, or ``"all"`` for channels and positions (``q`` is then the mean over positions).
        eps: Added to the variance.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense, Sequential
        >>> Sequential(Dense(3.0), LayerNorm()).kernel(torch.eye(2), get="nngp")
        tensor([[1., 0.],
                [0., 1.]])
    """

    def __init__(self, over: Literal["channels", "all"] = "channels", eps: float = 1e-12) -> None:
        if over not in ("channels", "all"):
            raise InputError("unknown axes of LayerNorm", over, 'Use "channels" or "all".')
        self.over, self.eps = over, eps

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        return covariance, finer(variance, "diag")

    def propagate(self, state: KernelState) -> KernelState:
        if not state.is_gaussian:
            raise InputError(
                f"{self!r} acts on features that may not be centred",
                "an input, or the output of an activation",
                "Insert an affine layer such as Dense() before it.",
            )
        first, second = state.sides()
        if self.over == "all" and first.ndim > 1:
            first, second = (q.mean(tuple(range(1, q.ndim)), keepdim=True) for q in (first, second))
        first, second = state.against_pairs(first + self.eps, second + self.eps)
        scale = (first * second).sqrt()  # of equal variances the root is exact
        return state.mapped(lambda covariance: covariance / scale)


class Dropout(Layer):
    """Features set to zero at random, the kept ones divided by `keep`, independently for every input.

    Only an input's product with itself changes: ``q' = q / keep``; covariances between inputs stay.

    Arguments:
        keep: Probability that a feature is kept.
    """

    def __init__(self, keep: float = 0.5) -> None:
        if not 0 < keep <= 1:
            raise InputError("keep must be a probability > 0", keep, "Pass e.g. keep=0.9.")
        self.keep = keep

    def propagate(self, state: KernelState) -> KernelState:
        if state.pairing != "itself":
            return state.with_kernels(state.nngp, state.ntk, is_gaussian=False)

        def dropped(covariance: Tensor) -> Tensor:
            if state.spatial != "full":
                return covariance / self.keep
            extra = torch.zeros_like(covariance)
            position_diagonal(extra, 1).copy_(position_diagonal(covariance, 1) * (1 / self.keep - 1))
            return covariance + extra

        return state.mapped(dropped, is_gaussian=False)
