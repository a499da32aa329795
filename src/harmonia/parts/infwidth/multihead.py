"""Self-attention with infinitely many heads (Hron et al. 2020, arXiv:2006.10540), by Monte Carlo over its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.attention import WEIGHTINGS, Weighting
from harmonia.parts.infwidth.layers import Layer, shifted
from harmonia.parts.infwidth.positions import flatten_positions, interleave
from harmonia.parts.infwidth.state import KernelState, Spatial


class MultiHeadSelfAttention(Layer):
    """Attention as it is used: keys and queries of their own, logits divided by the root of the width.

    Then logits stay random. They are Gaussian with ``E[G(x)_ac G(x')_be] = g K_ab K_ce``, ``g = (key_std query_std)^2``
    (Theorem 3), and heads average over them. With ``z = softmax(G)`` and its derivative ``J_ar,c = d z_ar / d G_ac``,

        K'_ab = (out_std value_std)^2 E[z(x) K z(x')^T]_ab + b_std^2
        T'_ab = 2 K'_ab - b_std^2 + (out_std value_std)^2 E[z(x) T z(x')^T]_ab
                + (out_std value_std)^2 sum_ce L_ac,be E[sum_rs J_ar,c J_bs,e K_rs]
        L_ac,be = g (2 K_ab K_ce + T_ab K_ce + K_ab T_ce)

    with the gradients of values and outputs, of what lies before the values, and of the logits. There is no closed form
    for the softmax: expectations are means over draws of the logits, the same draws for every pair of inputs.

    Arguments:
        key_std: Standard deviation of the key weights.
        query_std: The same for the queries.
        value_std: The same for the values.
        out_std: The same for the output projection.
        b_std: Standard deviation of the output biases.
        weighting: How logits become weights: ``"softmax"``, or unnormalised ``"identity"``, ``"abs"``, ``"relu"``.
        samples: Draws of the logits, in fours that mirror one another; the error falls with the root of their number.
        seed: Seed of the draws.

    Example:
        >>> from harmonia.parts.infwidth import Dense, Flatten, Sequential
        >>> net = Sequential(MultiHeadSelfAttention(key_std=0.0), Flatten(), Dense())  # no logits: the mean
        >>> net.kernel(torch.tensor([[[1.0, 2.0, 3.0]]]), get="nngp")
        tensor([[4.]])
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
        samples: int = 128,
        seed: int = 0,
    ) -> None:
        if weighting not in WEIGHTINGS:
            raise InputError("unknown weighting of attention", weighting, f"Use one of {', '.join(WEIGHTINGS)}.")
        if samples < 4 or samples % 4:
            raise InputError("draws of the logits come in fours", samples, "Pass a multiple of 4.")
        self.key_std, self.query_std, self.value_std, self.out_std = key_std, query_std, value_std, out_std
        self.b_std, self.weighting, self.samples, self.seed = b_std, weighting, samples, seed

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        return "full", "full"

    def propagate(self, state: KernelState) -> KernelState:
        if not state.shape:
            raise InputError("attention needs inputs with positions", "vectors", "Pass inputs (n, channels, T).")
        shapes = state.nngp.shape[state.batch_dims :: 2], state.nngp.shape[state.batch_dims + 1 :: 2]
        covariance = flatten_positions(state.nngp, state.batch_dims)
        tangent = None if state.ntk is None else flatten_positions(state.ntk, state.batch_dims)
        root = _root(*self._with_itself(state), covariance)
        scale = self.key_std * self.query_std
        positions = covariance.shape[-2]
        mixed, carried = torch.zeros_like(covariance), torch.zeros_like(covariance)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.samples // 4):
            draw = torch.randn(root.shape[-2:], generator=generator, dtype=root.dtype).to(root.device)
            swapped = draw.roll((positions, positions), (0, 1))  # as if the inputs were: so the kernel is symmetric
            for logits in (scale * sign * (root @ each @ root) for each in (draw, swapped) for sign in (1, -1)):
                one = _weights(logits[..., :positions, :positions], self.weighting)
                two = _weights(logits[..., positions:, positions:], self.weighting)
                mixed = mixed + one[0] @ covariance @ two[0].mT
                if tangent is not None:
                    by_keys = _through_logits(one, two, covariance, covariance)
                    by_inputs = _through_logits(one, two, covariance, tangent)
                    moved = (2 * covariance + tangent) * by_keys + covariance * by_inputs
                    carried = carried + one[0] @ tangent @ two[0].mT + scale**2 * moved
        gain = (self.out_std * self.value_std) ** 2
        mixed, carried = (each * (gain / self.samples) for each in (mixed, carried))
        nngp = shifted(mixed.clone(), self.b_std)
        ntk = None if tangent is None else interleave(shifted(carried + 2 * mixed, self.b_std), *shapes)
        return state.with_kernels(interleave(nngp, *shapes), ntk, is_gaussian=True, fan_in=None)

    def _with_itself(self, state: KernelState) -> tuple[Tensor, Tensor]:
        """Covariances of the positions of each side with one another, shaped to broadcast against pairs."""
        first, second = (flatten_positions(side.nngp, 1) for side in (state.first, state.second))
        return (first, second) if state.pairing != "all" else (first.unsqueeze(1), second.unsqueeze(0))


Weights = tuple[Tensor, Tensor | None]

_SLOPES: dict[Weighting, Callable[[Tensor], Tensor]] = {
    "identity": torch.ones_like,
    "abs": torch.sign,
    "relu": lambda logits: (logits > 0).to(logits),
}


def _weights(logits: Tensor, weighting: Weighting) -> Weights:
    """Weights of attention and, for elementwise weightings, their slopes at the logits."""
    slope = None if weighting == "softmax" else _SLOPES[weighting](logits)
    return WEIGHTINGS[weighting](logits), slope


def _through_logits(one: Weights, two: Weights, covariance: Tensor, weight: Tensor) -> Tensor:
    """``sum_ce weight_ce sum_rs J(x)_ar,c J(x')_bs,e K_rs`` for all ``(a, b)``.

    For the softmax ``J_ar,c = z_ar (delta_rc - z_ac)``, else ``J_ar,c = slope_ac delta_rc``.
    """
    (z, slope), (y, other) = one, two
    if slope is not None and other is not None:
        return slope @ (weight * covariance) @ other.mT
    left, right = (z @ weight) * (z @ covariance), (weight @ y.mT) * (covariance @ y.mT)
    both = (z @ weight @ y.mT) * (z @ covariance @ y.mT)
    return z @ (weight * covariance) @ y.mT - left @ y.mT - z @ right + both


def _root(first: Tensor, second: Tensor, between: Tensor) -> Tensor:
    """The symmetric root of ``[[K(x, x), K(x, x')], [K(x', x), K(x', x')]]``: unique, also where it is singular."""
    rows, columns = between.shape[-2:]
    batch = between.shape[:-2]
    whole = torch.cat(
        [
            torch.cat([first.expand(*batch, rows, rows), between], -1),
            torch.cat([between.mT, second.expand(*batch, columns, columns)], -1),
        ],
        -2,
    )
    values, vectors = torch.linalg.eigh(whole.double())
    return ((vectors * values.clamp(min=0).sqrt().unsqueeze(-2)) @ vectors.mT).to(between)
