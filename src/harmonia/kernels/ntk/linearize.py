"""The network as its own tangent: linear in the parameters, trainable like the network itself."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.func import functional_call, jvp

from harmonia.kernels.ntk.jacobians import refuse_coupled, trained_parameters
from harmonia.parts.differentiation import forward_differentiable


class Linearized(nn.Module):
    """First-order Taylor expansion of a network about its parameters theta_0.

    ``f_lin(x) = f(x; theta_0) + J(x; theta_0) (theta - theta_0)``. Wide networks train as this model does
    (Lee et al. 2019, arXiv:1902.06720); its kernel is the empirical NTK at theta_0 and never changes.

    Arguments:
        model: The network; it is copied.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> linear = linearize(net)
        >>> x = torch.ones(3, 2)
        >>> bool(torch.allclose(linear(x), net(x)))
        True
        >>> [name for name, _ in linear.named_parameters()]
        ['model.0.weight', 'model.0.bias', 'model.2.weight', 'model.2.bias']
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        refuse_coupled(model)
        self.model = copy.deepcopy(model)
        self._names = list(trained_parameters(model))
        for position, start in enumerate(trained_parameters(model).values()):
            self.register_buffer(f"start_{position}", start.clone())

    def forward(self, x: Tensor) -> Tensor:
        start = {name: getattr(self, f"start_{position}") for position, name in enumerate(self._names)}
        theta = dict(self.model.named_parameters())
        step = {name: theta[name] - start[name] for name in self._names}
        with forward_differentiable():
            value, slope = jvp(lambda p: functional_call(self.model, p, (x,)), (start,), (step,))[:2]
        return value + slope


def linearize(model: nn.Module) -> Linearized:
    """The tangent model of a network at its present parameters; see `Linearized`."""
    return Linearized(model)
