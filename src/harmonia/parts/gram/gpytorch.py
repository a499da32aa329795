"""Our kernels in gpytorch, with hyperparameters that it can learn."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from harmonia.core.errors import require
from harmonia.parts.gram.kernels import KernelFunction
from harmonia.parts.gram.matrix import Kernel


def as_gpytorch(kernel: Kernel, **options: Any) -> nn.Module:
    """A ``gpytorch.kernels.Kernel`` that evaluates one of ours.

    The hyperparameters of a `KernelFunction` become raw parameters under a constraint to positive numbers, named as in
    `KernelFunction.hyperparameters` with ``_`` for dots; a `torch.nn.Module` brings its own parameters; any other
    function of two sets of inputs stays as it is.

    Arguments:
        kernel: A kernel function.
        options: Of gpytorch's base class, e.g. ``active_dims``.

    Raises:
        MissingDependency: gpytorch is not installed.

    Example:
        >>> from harmonia.parts.gram import Linear, SquaredExponential
        >>> theirs = as_gpytorch(2.0 * SquaredExponential() + Linear())
        >>> [name for name, _ in theirs.named_parameters()]
        ['raw_first_first_value', 'raw_first_second_lengthscale']
    """
    return _adapter()(kernel, **options)


@cache
def _adapter() -> Any:
    gpytorch = require("gpytorch", extra="peers")

    class Adapter(gpytorch.kernels.Kernel):  # type: ignore[name-defined]
        has_lengthscale = False

        def __init__(self, kernel: Kernel, **options: Any) -> None:
            super().__init__(**options)
            self.kernel = kernel
            self.named: dict[str, str] = {}
            if not isinstance(kernel, KernelFunction):
                return
            for name, value in kernel.hyperparameters().items():
                raw = f"raw_{name.replace('.', '_')}"
                positive = gpytorch.constraints.Positive()
                start = positive.inverse_transform(torch.as_tensor(value, dtype=torch.float64))
                self.register_parameter(raw, nn.Parameter(start))
                self.register_constraint(raw, positive)
                self.named[name] = raw

        def current(self) -> Kernel:
            """Our kernel with the hyperparameters as they are now."""
            if not isinstance(self.kernel, KernelFunction):
                return self.kernel
            values = {
                name: getattr(self, f"{raw}_constraint").transform(getattr(self, raw))
                for name, raw in self.named.items()
            }
            return self.kernel.with_hyperparameters(values)

        def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: Any) -> Tensor:
            kernel = self.current()
            same = x1.shape == x2.shape and torch.equal(x1, x2)
            if not diag:
                return kernel(x1, None if same else x2)
            own = getattr(kernel, "diagonal", None)
            if same and own is not None:
                found: Tensor = own(x1)
                return found
            return kernel(x1[..., None, :], x2[..., None, :])[..., 0, 0]

    return Adapter
