"""The tangent kernels of the regression: the paper's two-layer network, and a deeper one that samples better."""

from __future__ import annotations

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts import infwidth
from harmonia.parts.gram import Kernel

KernelName = Literal["two-layer", "deep"]

_TWO_LAYERS = infwidth.Sequential(infwidth.Dense(1.0), infwidth.ReLU(), infwidth.Dense(1.0))


class TwoLayerKernel:
    """Tangent kernel of ``m^-1/2 sum_r a_r relu(w_r . z)`` of infinite width whose first layer alone is trained.

    ``k(z, z') = z . z' (pi - arccos cos(z, z')) / (2 pi)``, the same for every output and 0 between two of them.

    Example:
        >>> import torch
        >>> TwoLayerKernel()(torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """

    def __call__(self, x1: Float[Tensor, "n1 d"], x2: Float[Tensor, "n2 d"] | None = None) -> Float[Tensor, "n1 n2"]:
        # The tangent kernel is the covariance (the readout's part) plus the first layer's part, which is wanted.
        nngp, ntk = _TWO_LAYERS.kernel(x1, x2)
        return (ntk - nngp) * x1.shape[1]


def deep_network() -> infwidth.Sequential:
    """Two hidden ReLU layers with biases and a linear readout without."""
    hidden = infwidth.Dense(math.sqrt(2), math.sqrt(0.1))
    return infwidth.Sequential(hidden, infwidth.ReLU(), hidden, infwidth.ReLU(), infwidth.Dense(1.0))


def kernel_of(choice: str | infwidth.Sequential | Kernel) -> Kernel:
    """The kernel meant by a name, an infinitely wide network (its tangent kernel), or a kernel.

    Raises:
        InputError: none of these.
    """
    if choice == "two-layer":
        return TwoLayerKernel()
    if choice == "deep":
        choice = deep_network()
    if isinstance(choice, infwidth.Sequential):
        return infwidth.NetworkKernel(choice, "ntk")
    if isinstance(choice, Kernel):
        return choice
    mend = "Give 'auto', 'two-layer', 'deep', an infwidth.Sequential, or a function of two sets of inputs."
    raise InputError("this is no kernel", repr(choice), mend)
