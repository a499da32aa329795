"""What a network becomes when it is infinitely wide and infinitely deep: one of three classifiers.

Three Gaussian moments of the activation, scaled to ``E phi(z)^2 = 1``, decide:

    A = E phi(z),    A' = E phi'(z),    B' = E phi'(z)^2,    z ~ N(0, 1).

The dual ``phi^(xi) = A^2 + A'^2 xi + ...`` is iterated layer by layer (`harmonia.kernels.singular_classifiers.duals`):

- ``A = A' = 0``: 0 attracts faster than geometrically, the nearest training point outweighs all others: **1-NN**.
- ``A != 0, B' >= 1``: all inputs become equally alike, the prediction is the **majority vote**.
- ``A = 0, A' != 0, B' > 1``: the kernel tends to a singular one, ``|x - x'|^-alpha`` near its singularity, with
  ``alpha = -4 log|A'| / log B'``: the network is a **singular kernel** smoother, consistent if ``alpha = d``.
- ``A != 0, B' < 1``: the kernel becomes flat, but not in a way that one of the three rules describes; only finite
  depths are to be used. And a linear activation stays linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from harmonia.kernels.singular_classifiers.duals import ZERO, Dual, dual_of
from harmonia.parts.infwidth import Activation

Kind = Literal["nearest neighbour", "majority vote", "singular kernel", "flat", "linear"]


@dataclass(frozen=True)
class Taxonomy:
    """The classifier that an activation's infinitely wide and deep network is.

    Attributes:
        kind: ``nearest neighbour``, ``majority vote``, ``singular kernel``; ``flat`` or ``linear`` where there is no
            such limit.
        A: ``|E phi|``, of the activation scaled to ``E phi^2 = 1``.
        A_prime: ``|E phi'|``.
        B_prime: ``E phi'^2``.
        alpha: Exponent of the limiting kernel's singularity: the dimension for which the network is consistent.
            Infinite for the nearest neighbour, 0 for the majority vote, NaN where there is no limit.
    """

    kind: Kind
    A: float
    A_prime: float
    B_prime: float
    alpha: float

    def __str__(self) -> str:
        told = {
            "nearest neighbour": "the nearest training point decides",
            "majority vote": "every input is given the commonest class; subtract the activation's Gaussian mean",
            "singular kernel": f"consistent for data of dimension {self.alpha:.4g}",
            "flat": "a flat kernel without a limiting rule; use finite depth, or subtract the Gaussian mean",
            "linear": "a linear model at any depth",
        }
        return f"{self.kind}: {told[self.kind]}"


def activation_taxonomy(phi: Activation | Callable[[Tensor], Tensor]) -> Taxonomy:
    """Which classifier infinitely wide and deep networks of an activation are.

    Arguments:
        phi: An elementwise function of tensors that torch can differentiate, a torch module such as ``nn.Tanh()``, or
            an activation of `harmonia.kernels.infwidth`.

    Raises:
        InputError: no function, a discontinuous or infinite one, or one that is 0.

    Example:
        >>> import torch
        >>> print(activation_taxonomy(torch.relu))
        majority vote: every input is given the commonest class; subtract the activation's Gaussian mean
        >>> activation_taxonomy(torch.cos).kind
        'flat'
        >>> print(activation_taxonomy(lambda x: x.cos() - math.exp(-0.5)))
        nearest neighbour: the nearest training point decides
        >>> round(activation_taxonomy(torch.erf).alpha, 4)
        0.8882
    """
    return taxonomy_of(dual_of(phi))


def taxonomy_of(dual: Dual) -> Taxonomy:
    """The verdict on a dual."""
    mean, slope = (math.sqrt(c) for c in dual.coefficients[:2])
    steepness = dual.slope_at_one
    kind: Kind
    if mean > 0:
        kind, alpha = ("majority vote", 0.0) if steepness > 1 - ZERO else ("flat", math.nan)
    elif slope == 0:
        kind, alpha = "nearest neighbour", math.inf
    elif slope >= 1 - ZERO:
        kind, alpha = "linear", math.nan
    else:
        kind, alpha = "singular kernel", -4 * math.log(slope) / math.log(steepness)
    return Taxonomy(kind, mean, slope, steepness, alpha)
