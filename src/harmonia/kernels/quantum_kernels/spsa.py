"""Simultaneous perturbation stochastic approximation: gradients from two noisy evaluations, whatever the dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.progress import track

_PERTURBATION = 0.2
_CALIBRATION = 25
_FIRST_STEP = 2 * math.pi / 10
"""Length of the first step over all parameters."""


class Spsa(NamedTuple):
    """Where each chain ended.

    Attributes:
        point: Mean of the last tenth of the iterates.
        losses: Mean of the two losses of each step.
    """

    point: Float[Tensor, "*chains p"]
    losses: Float[Tensor, "steps *chains"]


def spsa(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, "*chains p"],
    steps: int,
    generator: torch.Generator,
) -> Spsa:
    """Minimise a noisy loss from several starts at once.

    ``g = (L(t + c_k D) - L(t - c_k D)) / (2 c_k) D`` with random signs D, ``t <- t - a_k g``,
    ``a_k = a / (k + 1 + A)^0.602``, ``c_k = 0.2 / (k + 1)^0.101``, ``A = steps / 10`` (Spall 1998). The gain a is such
    that the first step is about ``2 pi / 10`` long, judged by 25 gradients at the start. (As a change of every single
    parameter, that length throws twenty angles so far that chains do not return.)

    Arguments:
        loss: Of points (evaluations, *chains, p), one number each (evaluations, *chains).
        start: Where each chain begins.
        steps: Steps of two evaluations each.
        generator: Source of the signs.

    Example:
        >>> found = spsa(lambda t: t.square().sum(-1), torch.ones(3, 2), 200, torch.Generator().manual_seed(0))
        >>> bool((found.point.abs() < 0.05).all())
        True
    """

    def slope(point: Tensor, step: float, repeats: int = 1) -> tuple[Tensor, Tensor]:
        signs = 1 - 2.0 * torch.randint(2, (repeats, *start.shape), generator=generator).to(start)
        both = loss(torch.cat([point + step * signs, point - step * signs]))
        ahead, back = both[:repeats], both[repeats:]
        return ((ahead - back) / (2 * step))[..., None] * signs, (ahead + back).mean(0) / 2

    damping = 0.1 * steps
    gradients, _ = slope(start, _PERTURBATION, _CALIBRATION)
    typical = gradients.norm(dim=-1).mean(0)
    gain = _FIRST_STEP * (1 + damping) ** 0.602 / typical.clamp(min=1e-6)
    point, losses, kept = start, [], []
    for k in track(range(steps), "SPSA"):
        gradient, value = slope(point, _PERTURBATION / (k + 1) ** 0.101)
        point = point - (gain / (k + 1 + damping) ** 0.602)[..., None] * gradient[0]
        losses.append(value)
        if k >= steps - max(1, steps // 10):
            kept.append(point)
    return Spsa(torch.stack(kept).mean(0), torch.stack(losses))
