"""The logarithm of the probability that a Student-t number is at least so large, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import special, stats
from torch import Tensor


def log_survival(z: Float[Tensor, "*batch"], df: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """log P(T >= z) for the standard Student-t law with `df` degrees of freedom.

    Example:
        >>> round(log_survival(torch.tensor(0.0), torch.tensor(3.0)).exp().item(), 6)
        0.5
    """
    found: Tensor = _LogSurvival.apply(z, df)
    return found


class _LogSurvival(torch.autograd.Function):
    """The slope in z is minus the hazard; that in df, which has no closed form, a central difference."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, df: Tensor) -> Tensor:
        ctx.save_for_backward(z, df)
        return torch.as_tensor(_log_survival(plain(z), plain(df))).to(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        z, df = (plain(each) for each in ctx.saved_tensors)
        hazard = np.exp(stats.t.logpdf(z, df) - _log_survival(z, df))
        step = 1e-4 * df
        slope = (_log_survival(z, df + step) - _log_survival(z, df - step)) / (2 * step)
        return gradient * torch.as_tensor(-hazard).to(gradient), gradient * torch.as_tensor(slope).to(gradient)


def _log_survival(z: np.ndarray, df: np.ndarray) -> np.ndarray:
    """log P(T >= z); where that is no float any more, the density times ``(df + z^2) / (df z)``, its limit in z."""
    beyond = special.stdtr(df, -z)
    far = stats.t.logpdf(z, df) + np.log((df + z**2) / (df * np.maximum(z, 1.0)))
    return np.where(beyond > 0, np.log(np.where(beyond > 0, beyond, 1.0)), far)


def plain(tensor: Tensor) -> np.ndarray:
    """The values in float64, for scipy."""
    return tensor.detach().double().cpu().numpy()
