"""Whether rows look like those that a network was trained on: what the exact posterior says of their targets."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float64
from torch import Tensor

from harmonia.networks.icl_uq.prior import TaskPrior
from harmonia.networks.icl_uq.training import VARIANCE_FLOOR

DRAWS = 400
"""Tasks of the prior that the targets are compared with."""


def surprise(
    prior: TaskPrior | None,
    x: Float64[Tensor, "rows dim"],
    y: Float64[Tensor, " rows"],
    read: int,
    generator: torch.Generator,
) -> float | None:
    """Share of targets drawn from the prior at these inputs that are less likely than these; warns of trouble.

    Arguments:
        prior: What the network was trained on; the share is None where it is not known, or not linear.
        x, y: Rows in the network's units.
        read: How many of them are compared.
        generator: Draws tasks and noise.
    """
    if prior is None or not prior.is_linear:
        return None
    some, targets = x[:read], y[:read]
    belief = prior.belief()
    tasks = prior.linear_tasks(DRAWS, generator)
    noise = torch.randn(DRAWS, len(some), generator=generator, dtype=torch.float64)
    drawn = tasks.weights.double() @ some.T + tasks.sigmas.double()[:, None] * noise
    usual = belief.expand(DRAWS).log_evidence(some.expand(DRAWS, -1, -1), drawn)
    share = (usual < belief.log_evidence(some, targets)).double().mean().item()
    if share < 0.01:
        warnings.warn(
            f"The targets are less likely under the network's prior than {1 - share:.1%} of its own draws; "
            "its answers may be far from Bayesian. Compare with predict_exact.",
            stacklevel=3,
        )
    known = belief.absorb(x, y)
    if known.rate / (known.shape - 1) < VARIANCE_FLOOR:
        warnings.warn(
            "The targets have less noise than the network could learn to state (0.1 in the prior's units); its "
            "error bars are too wide. Use a model for data without noise, such as a Gaussian process.",
            stacklevel=3,
        )
    return share
