"""Global self-attention at infinite width (Hron et al. 2020, arXiv:2006.10540), with tied keys and queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.layers import Layer, shifted
from harmonia.parts.infwidth.positions import flatten_positions, interleave
from harmonia.parts.infwidth.state import KernelState, Spatial

Weighting = Literal["softmax", "identity", "abs", "relu"]

WEIGHTINGS: dict[Weighting, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(-1),
    "identity": lambda logits: logits,
    "abs": torch.abs,
    "relu": torch.relu,
}


class GlobalSelfAttention(Layer):
    """Every position attends to every other: ``f'(p) = sum_r G[p, r] V f(r)``.

    With keys and queries of the same weights and logits divided by the width, not its root, logits tend to the constant
    ``key_std query_std K(x, x)[p, r]`` (Hron et al. 2020, Sec. 3), so with ``G = softmax(logits)`` for either input

        K' = (out_std value_std)^2 G1 K G2^T + b_std^2
        T' = (out_std value_std)^2 G1 T G2^T + b_std^2 + 2 (K' - b_std^2)

    in NTK parameterisation; gradients of keys and queries vanish in the limit.

    Arguments:
        key_std: Standard deviation of the key weights.
        query_std: The same for the queries.
        value_std: The same for the values.
        out_std: The same for the output projection.
        b_std: Standard deviation of the output biases.
        weighting: How logits become weights: ``"softmax"``, or unnormalised ``"identity"``, ``"abs"``, ``"relu"``.
        positions: Covariance ``(P, P)`` of an embedding of positions that is added to keys and queries, or None.
    """

    fresh: ClassVar[bool | None] = True

    def __init__(
        self,
        key_std: float | Tensor = 1.0,
        query_std: float | Tensor = 1.0,
        value_std: float | Tensor = 1.0,
        out_std: float | Tensor = 1.0,
        b_std: float | Tensor = 0.0,
        *,
        weighting: Weighting = "softmax",
        positions: Float[Tensor, "P P"] | None = None,
    ) -> None:
        if weighting not in WEIGHTINGS:
            raise InputError("unknown weighting of attention", weighting, f"Use one of {', '.join(WEIGHTINGS)}.")
        self.key_std, self.query_std, self.value_std, self.out_std = key_std, query_std, value_std, out_std
        self.b_std, self.weighting, self.positions = b_std, weighting, positions

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        return "full", "full"

    def propagate(self, state: KernelState) -> KernelState:
        if not state.shape:
            raise InputError("attention needs inputs with positions", "vectors", "Pass inputs (n, channels, T).")
        first, second = (self._weights(side) for side in (state.first, state.second))
        if state.pairing == "all":
            first, second = first.unsqueeze(1), second.unsqueeze(0)
        shapes = state.nngp.shape[state.batch_dims :: 2], state.nngp.shape[state.batch_dims + 1 :: 2]
        gain = (self.out_std * self.value_std) ** 2

        def attended(covariance: Tensor) -> Tensor:
            mixed = first @ flatten_positions(covariance, state.batch_dims) @ second.mT
            return interleave(mixed * gain, *shapes)

        mixed = attended(state.nngp)
        nngp = shifted(mixed.clone(), self.b_std)
        ntk = None if state.ntk is None else shifted(attended(state.ntk) + 2 * mixed, self.b_std)
        return state.with_kernels(nngp, ntk, is_gaussian=True, fan_in=None)

    def _weights(self, side: KernelState) -> Tensor:
        covariance = flatten_positions(side.nngp, 1)
        if self.positions is not None:
            if self.positions.shape != covariance.shape[1:]:
                raise InputError(
                    "the covariance of position embeddings does not fit the inputs",
                    f"{tuple(self.positions.shape)} for {covariance.shape[1]} positions",
                    "Pass one row and column per position.",
                )
            covariance = covariance + self.positions.to(covariance)
        return WEIGHTINGS[self.weighting](covariance * (self.key_std * self.query_std))
