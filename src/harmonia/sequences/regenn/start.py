"""Linear rules that a network may begin from: maps of a scaled window, for each variable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PENALTY = 1e-3


class LinearRule(NamedTuple):
    """``y[s, d, v] = sum_t weights[v, t, d] x[s, t, v] + bias[d, v]``."""

    weights: Float[Tensor, "v window stride"]
    bias: Float[Tensor, "stride v"]

    def __call__(self, x: Float[Tensor, "windows window v"]) -> Float[Tensor, "windows stride v"]:
        """The prediction."""
        return torch.einsum("vtd,stv->sdv", self.weights, x) + self.bias


def last_value(window: int, stride: int, variables: int) -> LinearRule:
    """The last value stays."""
    weights = torch.zeros(variables, window, stride, dtype=torch.float64)
    weights[:, -1] = 1
    return LinearRule(weights, torch.zeros(stride, variables, dtype=torch.float64))


def drift(window: int, stride: int, variables: int) -> LinearRule:
    """The line through the first and last value of the window goes on."""
    rule = last_value(window, stride, variables)
    slope = torch.arange(1, stride + 1, dtype=torch.float64) / (window - 1)
    rule.weights[:, -1] += slope
    rule.weights[:, 0] -= slope
    return rule


def ridge(
    x: Float[Tensor, "windows window v"],
    y: Float[Tensor, "windows stride v"],
    known: Bool[Tensor, "windows stride v"],
    penalty: float = PENALTY,
    *,
    shared: bool = False,
) -> LinearRule:
    """The maps of least squared error, solved in closed form.

    Arguments:
        x: Scaled windows, float64.
        y: What followed, in the same scale.
        known: Which of it is known; a window and variable with a gap is left out.
        penalty: Of the squared weights, relative to the number of windows; the bias is free.
        shared: One map for all variables, as in the paper; otherwise one for each.
    """
    variables = x.shape[2]
    groups = [list(range(variables))] if shared else [[v] for v in range(variables)]
    found = [_solve(x[..., group].mT, y[..., group].mT, known[..., group].all(1), penalty) for group in groups]
    weights = torch.stack([each[:-1] for each in found]).expand(variables, -1, -1)
    return LinearRule(weights, torch.stack([each[-1] for each in found], 1).expand(-1, variables))


def _solve(
    x: Float[Tensor, "windows v window"],
    y: Float[Tensor, "windows v stride"],
    whole: Bool[Tensor, "windows v"],
    penalty: float,
) -> Float[Tensor, "inputs stride"]:
    rows = torch.cat([x[whole], torch.ones_like(x[whole][:, :1])], 1)
    free = torch.full((rows.shape[1],), penalty * len(rows) + 1e-9, dtype=rows.dtype)
    free[-1] = 1e-9  # no rows at all, of a variable that is always missing, give zeros
    return torch.linalg.solve(rows.T @ rows + free.diag(), rows.T @ y[whole])
