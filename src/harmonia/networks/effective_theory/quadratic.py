"""The network as a quadratic function of its parameters: the smallest model that learns features."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.func import functional_call, jvp

from harmonia.core.errors import InputError


class QuadraticModel(nn.Module):
    """Second-order Taylor expansion of a network about its parameters theta_0.

    ``f(theta_0) + J d + d^T (d2f) d / 2`` with ``d = theta - theta_0``: the nearly linear model of Roberts, Yaida &
    Hanin 2021, chapter 11. Its tangent kernel moves while it trains, as that of a linearised network does not.

    Arguments:
        model: The network, without dropout; it is copied.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> quadratic = quadratic_model(net)
        >>> bool(torch.allclose(quadratic(torch.ones(3, 2)), net(torch.ones(3, 2))))
        True
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not any(p.requires_grad for p in model.parameters()):
            raise InputError("the network has no trained parameter", "none", "Call model.requires_grad_().")
        self.model = copy.deepcopy(model).eval()
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        for position, name in enumerate(self._names):
            self.register_buffer(f"start_{position}", model.get_parameter(name).detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        start = {name: getattr(self, f"start_{position}") for position, name in enumerate(self._names)}
        step = {name: self.model.get_parameter(name) - start[name] for name in self._names}

        def slope(p: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            return jvp(lambda q: functional_call(self.model, q, (x,)), (p,), (step,))[:2]

        (value, first), (_, second) = jvp(slope, (start,), (step,))[:2]
        return value + first + second / 2


def quadratic_model(model: nn.Module) -> QuadraticModel:
    """The nearly linear model of a network at its present parameters; see `QuadraticModel`."""
    return QuadraticModel(model)
