"""Self-distillation as a spectral filter: what any number of steps does to each eigendirection of a kernel.

Step 1 fits the targets ``y``; step ``t + 1`` fits ``alpha y + (1 - alpha) y_t``, where ``y_t`` are the predictions of
step ``t``. Each fit multiplies the coordinate along an eigenvector by ``a = d / (d + penalty)``, d its eigenvalue. So
the target of a step holds the share ``m`` of ``y``, and its fit the share ``B = a m``, with

    m_1 = 1,    m_{t+1} = alpha + (1 - alpha) a m_t

and, for a constant weight and ``q = (1 - alpha) a``, ``m_t = alpha (1 - q^{t-1}) / (1 - q) + q^{t-1}``. In the limit
``B = alpha d / (alpha d + penalty)``: kernel ridge regression with the amplified penalty ``penalty / alpha``
(Borup & Andersen 2021, Theorems on finite and infinite steps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError


@dataclass(frozen=True)
class Smoother:
    """One fit, as it acts on an eigendirection: ridge regression, trained to the end or for a time.

    Arguments:
        penalty: Weight of ``|f|^2 / 2`` beside ``|f(X) - y|^2 / 2``, not divided by the number of rows: scikit-learn's
            ``alpha`` of `KernelRidge`.
        time: Training time of gradient flow for the loss divided by `size` (learning rate times steps of a wide
            network whose tangent kernel this is).
        size: Rows times outputs; matters for finite times only.

    Example:
        >>> d = torch.tensor([3.0, 1.0, 0.0])
        >>> Smoother(1.0).gain(d)
        tensor([0.7500, 0.5000, 0.0000])
        >>> Smoother(0.0, time=math.log(2)).gain(torch.ones(1))
        tensor([0.5000])
    """

    penalty: float
    time: float = math.inf
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.penalty < math.inf:
            raise InputError("the penalty 'lam' is a number >= 0", self.penalty, "Give e.g. 1.0.")
        if not self.time > 0:
            raise InputError("the training time is above 0", self.time, "Give time > 0; math.inf trains to the end.")

    def solve(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Weight per unit of target, ``(1 - e^{-(d + penalty) time / size}) / (d + penalty)``."""
        shifted = values + self.penalty
        # Eigenvalues that are 0 but for rounding: without a penalty their directions are never learnt.
        null = shifted <= len(values) * torch.finfo(values.dtype).eps * values.max()
        if math.isinf(self.time):
            return torch.where(null, 0.0, 1 / shifted)
        learnt = -torch.expm1(-shifted * (self.time / self.size))
        return torch.where(null, self.time / self.size, learnt / shifted)

    def gain(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """``a``: the share of its target that one fit reaches along each eigendirection."""
        return values * self.solve(values)


def target_shares(gain: Float[Tensor, " n"], alpha: float, step: float | int) -> Float[Tensor, " n"]:
    """``m``: the share of the true targets in the target of a step, for one weight `alpha` at all steps.

    Arguments:
        gain: ``a`` of one fit (`Smoother.gain`).
        alpha: Weight of the truth; the model's own predictions get the rest.
        step: 1 for the ordinary fit, 2 for its first student, ..., ``math.inf`` for the limit.

    Raises:
        InputError: no such step, or a limit that does not exist or is the zero function.

    Example:
        >>> a = torch.tensor([0.5])
        >>> [float(target_shares(a, 0.0, t)) for t in (1, 2, 3)]
        [1.0, 0.5, 0.25]
        >>> float(target_shares(a, 0.5, math.inf))  # times a = 1/3 = ridge with twice the penalty
        0.6666666865348816
    """
    ratio = (1 - alpha) * gain
    if step == math.inf:
        _check_limit(alpha, ratio)
        return alpha / (1 - ratio)
    power = ratio ** (check_step(step) - 1)
    series = torch.where(ratio == 1, float(step - 1), (1 - power) / torch.where(ratio == 1, 0.5, 1 - ratio))
    return alpha * series + power


def target_shares_along(gain: Float[Tensor, " n"], alphas: Sequence[float]) -> Float[Tensor, "steps n"]:
    """``m`` of all steps, for a weight of its own at each.

    Arguments:
        gain: ``a`` of one fit.
        alphas: Weights of steps 2, 3, ...; the ordinary fit, step 1, has none.

    Example:
        >>> target_shares_along(torch.tensor([0.5]), [0.0, 1.0]).flatten().tolist()
        [1.0, 0.5, 1.0]
    """
    shares = [torch.ones_like(gain)]
    for alpha in alphas:
        shares.append(alpha + (1 - alpha) * gain * shares[-1])
    return torch.stack(shares)


def sparsification(gains: Float[Tensor, "*steps n"]) -> Float[Tensor, "*steps ratios"]:
    """``B_k / B_{k+1}``: how much more of each eigendirection is kept than of the next smaller one.

    Grows with the steps: without bound when the truth is ignored, to a limit otherwise.

    Example:
        >>> sparsification(torch.tensor([0.5, 0.25]))
        tensor([2.])
    """
    return gains[..., :-1] / gains[..., 1:]


def check_step(step: float | int) -> int:
    """The number of a step.

    Raises:
        InputError: not a whole number of at least 1.
    """
    if step == math.inf or step != int(step) or step < 1:
        raise InputError("a step is a whole number of at least 1", step, "Step 1 is the ordinary fit.")
    return int(step)


def _check_limit(alpha: float, ratio: Tensor) -> None:
    if alpha == 0:
        raise InputError(
            "infinitely many steps that ignore the truth end at the zero function",
            "alpha=0, steps=inf",
            "Give alpha > 0, or a finite number of steps.",
        )
    if len(ratio) and ratio.abs().max() >= 1:
        raise InputError(
            "the distillation diverges with this weight", f"alpha={alpha:g}", "Give a weight above 0 and up to 1."
        )
