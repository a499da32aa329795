"""How steps and eigenvalues are kept positive while they are trained: as functions of free parameters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError

Transform = Literal["exp", "softplus", "relu", "sigmoid", "none"]

_SMALLEST = 1e-4
"""Initial values are at least this before a transform is inverted, as in the official code."""


def positive(x: Tensor, transform: Transform) -> Tensor:
    """The values of parameters."""
    if transform == "exp":
        return torch.exp(x)
    if transform == "softplus":
        return F.softplus(x)
    if transform == "relu":
        return F.relu(x) + _SMALLEST
    return torch.sigmoid(x) if transform == "sigmoid" else x


def inverse(values: Tensor, transform: Transform, name: str) -> Tensor:
    """The parameters of initial values; those below 1e-4 are raised to it.

    Arguments:
        values: What a transform is to give.
        transform: Its name.
        name: Of the option that chose it, for messages.

    Raises:
        InputError: values of 1 or more, which a sigmoid does not reach.

    Example:
        >>> inverse(torch.tensor([0.5]), "sigmoid", "real_transform")
        tensor([0.])
    """
    x = values.clamp(min=_SMALLEST)
    if transform == "exp":
        return torch.log(x)
    if transform == "softplus":
        return x + torch.log(-torch.expm1(-x))
    if transform == "sigmoid" and bool((x >= 1).any()):
        mend = "Use exp or softplus, or an initialisation, scale or step that stays below 1."
        raise InputError(f"{name}='sigmoid' reaches values below 1 only", f"{float(x.max()):.4g}", mend)
    return torch.logit(x) if transform == "sigmoid" else x
