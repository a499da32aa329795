"""Building blocks of the released code, in its single precision: factorisation, kernels, stored covariates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from torch import Tensor, nn

from harmonia.core.errors import InputError


class PairNet(nn.Module):
    """``sigma(w_u . h_i)``: the factorisation of the released code, under its key names.

    Arguments:
        users, items: How many.
        k: Dimension of the factors.
        generator: Draws them from [0, 1).

    Example:
        >>> net = PairNet(3, 2, 4, torch.Generator().manual_seed(0))
        >>> net(torch.tensor([[0, 1], [2, 0]])).shape, list(net.state_dict())
        (torch.Size([2]), ['W.weight', 'H.weight'])
    """

    def __init__(self, users: int, items: int, k: int, generator: torch.Generator) -> None:
        super().__init__()
        self.W = nn.Embedding(users, k, _weight=torch.rand(users, k, generator=generator))
        self.H = nn.Embedding(items, k, _weight=torch.rand(items, k, generator=generator))

    def forward(self, pairs: Int[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Probabilities of pairs."""
        return torch.sigmoid((self.W(pairs[:, 0]) * self.H(pairs[:, 1])).sum(1))


def gaussian(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], gamma: float = 0.1) -> Float[Tensor, "n m"]:
    """``exp(-gamma |x - y|^2)``, rounded as the released code rounds it: distances of inputs that are not centred.

    Example:
        >>> float(gaussian(torch.zeros(1, 2), torch.zeros(1, 2)))
        1.0
    """
    distances = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return torch.exp(-gamma * distances)


def exponential(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], gamma: float = 0.1) -> Float[Tensor, "n m"]:
    """``exp(-gamma |x - y|)``.

    Example:
        >>> float(exponential(torch.zeros(1, 2), torch.zeros(1, 2)))
        1.0
    """
    return torch.exp(-gamma * torch.cdist(x, y))


KERNELS: dict[str, Callable[..., Tensor]] = {"gaussian": gaussian, "exponential": exponential}


def read_embedding(path: Any) -> Float32[ndarray, "rows k"]:
    """Covariates as the released code stores them: ``{"weight": (rows, k)}`` in ``coat_user.pth`` and the like.

    Raises:
        InputError: no such file, or other contents.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} holds no embedding", type(error).__name__, "Pass a released file.") from error
    keys = list(state) if isinstance(state, dict) else type(state).__name__
    if keys != ["weight"] or not isinstance(state["weight"], Tensor) or state["weight"].ndim != 2:
        raise InputError(f"{path} holds no embedding", keys, 'Pass a state dict with "weight" (rows, k) alone.')
    return state["weight"].float().numpy()
