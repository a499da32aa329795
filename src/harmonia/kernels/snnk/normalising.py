"""Lengths of rows: universal features need short ones, of inputs and of weights alike."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

Normalize = Literal["row", "dim"] | None


def scaled(x: Float[Tensor, "*batch d"], normalize: Normalize) -> Float[Tensor, "*batch d"]:
    """``row``: rows of length 1, or 0; ``dim``: rows over ``d ** 0.25``; None: rows as they are."""
    if normalize == "row":
        return x / _lengths(x)[..., None]
    return x * x.shape[-1] ** -0.25 if normalize == "dim" else x


def scaled_weights(
    weight: Float[Tensor, "o d"], bias: Float[Tensor, " o"] | None, normalize: Normalize
) -> tuple[Float[Tensor, "o d"], Float[Tensor, " o"] | None]:
    """The same of rows of weights; with ``row`` a bias is divided by the length of its row.

    Example:
        >>> scaled_weights(torch.tensor([[3.0, 4.0]]), torch.tensor([2.0]), "row")
        (tensor([[0.6000, 0.8000]]), tensor([0.4000]))
    """
    if bias is not None and normalize == "row":
        bias = bias / _lengths(weight)
    return scaled(weight, normalize), bias


def check_normalize(normalize: Any) -> None:
    """Refuse what is no normalisation.

    Raises:
        InputError: neither ``"row"`` nor ``"dim"`` nor None.
    """
    if normalize not in (None, "row", "dim"):
        raise InputError("no such normalisation", repr(normalize), "Use 'row', 'dim' or None.")


def _lengths(rows: Tensor) -> Tensor:
    """1 for rows of zeros, which stay as they are."""
    lengths = torch.linalg.vector_norm(rows, dim=-1)
    return lengths.where(lengths > 0, 1.0)
