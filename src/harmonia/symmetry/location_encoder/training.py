"""Fitting a location encoder to points: batches, early stopping, the encoding computed once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.symmetry.location_encoder.encoder import LocationEncoder
from harmonia.symmetry.location_encoder.networks import Network

CACHE = 2**28
"""Numbers of the encoding that are kept for all training points; more are made again for each batch."""


@dataclass(frozen=True)
class Labelled:
    """Points with targets and weights.

    Attributes:
        lonlat: ``(n, 2)`` degrees, float64.
        targets: Class indices ``(n,)`` or values ``(n, outputs)``.
        weights: ``(n,)``, with mean one.
    """

    lonlat: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.lonlat)

    def rows(self, chosen: Tensor) -> Labelled:
        """Some of the points."""
        return Labelled(self.lonlat[chosen], self.targets[chosen], self.weights[chosen])


@dataclass(frozen=True)
class Plan:
    """How a network is fitted.

    Attributes:
        weight_average: Decay of the running mean of the weights that is kept instead of the last ones; 0 for none.
        patience: Epochs without improvement on the validation points after which training stops.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    patience: int
    weight_average: float
    seed: int


@dataclass
class History:
    """Losses by epoch, and which epoch was kept."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = 0


Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs ``(n, k)`` and targets to the loss of each point, ``(n,)``."""


def fit_network(
    encoder: LocationEncoder,
    train: Labelled,
    validation: Labelled | None,
    loss: Loss,
    *,
    plan: Plan,
    background: Callable[[Tensor], Tensor] | None = None,
) -> History:
    """Minimise the mean of `loss` with Adam; keep the averaged weights of the epoch that validates best.

    Arguments:
        encoder: Changed in place. Only the network learns; the encoding has no parameters.
        validation: Points that stop the training; without, all epochs run and the last weights are kept.
        background: Loss of the outputs at random points, drawn anew for each batch, as many as the batch has.
    """
    network = encoder.network
    averaged = copy.deepcopy(network).eval()
    features = _features_of(encoder, train)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    generator = torch.Generator().manual_seed(plan.seed)
    validate = None if validation is None else _validator(encoder, validation, loss, background, generator)
    history, best_loss, best_state, steps = History(), float("inf"), copy.deepcopy(network.state_dict()), 0

    # Dropout draws from the global generator: give it a seed here and its old state back afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        for epoch in track(range(plan.max_epochs), "Learning from the points", total=plan.max_epochs):
            network.train()
            losses = []
            for rows in torch.randperm(len(train), generator=generator).split(plan.batch_size):
                optimiser.zero_grad(set_to_none=True)
                value = (loss(network(features(rows)), train.targets[rows]) * train.weights[rows]).mean()
                if background is not None:
                    value = value + background(network(encoder.features(uniform_points(len(rows), generator))))
                value.backward()
                optimiser.step()
                steps += 1
                losses.append(value.item())
                _average(averaged, network, min(plan.weight_average, steps / (steps + 9)))
            history.train.append(sum(losses) / len(losses))
            if not math.isfinite(history.train[-1]):
                raise InputError("the training diverged", f"loss {history.train[-1]}", "Use a smaller learning rate.")
            if validate is None:
                continue
            history.validation.append(validate(averaged))
            if history.validation[-1] < best_loss:
                best_loss, history.best = history.validation[-1], epoch
                best_state = copy.deepcopy(averaged.state_dict())
            elif epoch - history.best >= plan.patience:
                break
    network.load_state_dict(averaged.state_dict() if validate is None else best_state)
    network.eval()
    return history


def _validator(
    encoder: LocationEncoder,
    data: Labelled,
    loss: Loss,
    background: Callable[[Tensor], Tensor] | None,
    generator: torch.Generator,
) -> Callable[[Network], float]:
    """The mean loss at the validation points, and at as many random points that stay the same."""
    features = _features_of(encoder, data)
    elsewhere = None if background is None else encoder.features(uniform_points(len(data), generator))
    pieces = torch.arange(len(data)).split(2**15)

    @torch.no_grad()
    def validate(network: Network) -> float:
        total = sum(
            (loss(network(features(rows)), data.targets[rows]) * data.weights[rows]).sum().item() for rows in pieces
        ) / len(data)
        if background is not None and elsewhere is not None:
            total += background(network(elsewhere)).item()
        return total

    return validate


@torch.no_grad()
def _average(averaged: Network, network: Network, decay: float) -> None:
    """Move the average a step towards the weights."""
    for mean, parameter in zip(averaged.parameters(), network.parameters()):
        mean.lerp_(parameter, 1 - decay)


def _features_of(encoder: LocationEncoder, data: Labelled) -> Callable[[Tensor], Tensor]:
    """The encoding of chosen rows: from memory when all of it fits, else made on demand."""
    if len(data) * encoder.network.first.in_features > CACHE:
        return lambda rows: encoder.features(data.lonlat[rows])
    with torch.no_grad():
        cached = encoder.features(data.lonlat).contiguous()
    return cached.__getitem__


def uniform_points(count: int, generator: torch.Generator) -> Tensor:
    """Random points, uniform on the sphere, in degrees."""
    x, y, z = torch.randn(3, count, generator=generator, dtype=torch.float64)
    return torch.rad2deg(torch.stack([torch.atan2(y, x), torch.atan2(z, torch.hypot(x, y))], dim=1))
