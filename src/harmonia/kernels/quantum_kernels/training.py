"""What a variational circuit is trained on, the paper's empirical risk, and its exact or measured gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from harmonia.core.progress import track
from harmonia.kernels.quantum_kernels.circuit import VariationalCircuit
from harmonia.kernels.quantum_kernels.device import Reading

SHARPNESS = 200
"""Shots that the risk supposes where expectations are exact."""


def empirical_risk(
    expectation: Float[Tensor, "*batch rows"],
    labels: Float[Tensor, "*classes rows"],
    bias: Float[Tensor, "*batch"],
    shots: int,
) -> Float[Tensor, "*batch"]:
    """Mean probability that a row is labelled wrongly by the majority of `shots` read-outs, as the paper trains on.

    ``sigmoid(sqrt(R) (1/2 - (p_y - y b / 2)) / sqrt(2 (1 - p_y) p_y))`` with ``p_y = (1 + y <f>) / 2``
    (Havlicek et al. 2019, supplement on the classification error).

    Example:
        >>> one = torch.ones(1)
        >>> round(float(empirical_risk(torch.zeros(1), one, torch.tensor(0.0), 100)), 6)
        0.5
    """
    p = ((1 + labels * expectation) / 2).clamp(0, 1)
    margin = 0.5 - (p - labels * bias[..., None] / 2)
    return torch.sigmoid(math.sqrt(shots) * margin / ((2 * (1 - p) * p).clamp(min=1e-12).sqrt() + 1e-9)).mean(-1)


@dataclass(frozen=True)
class Training:
    """The risk of parameters: all angles of a circuit, then its bias.

    Arguments:
        circuit: Whose read-out is trained.
        states: Of the training rows.
        labels: -1 and 1 for each circuit (circuits, 1, rows).
        reading: How expectations are read.
    """

    circuit: VariationalCircuit
    states: Complex[Tensor, "rows amplitudes"]
    labels: Float[Tensor, "circuits 1 rows"]
    reading: Reading

    def split(self, point: Float[Tensor, "*batch p"]) -> tuple[Tensor, Tensor]:
        """Angles (*batch, layers, qubits, 2) and biases, which are sines and so stay in [-1, 1]."""
        return point[..., :-1].unflatten(-1, self.circuit.shape), point[..., -1].sin()

    def risk(self, point: Float[Tensor, "*batch p"]) -> Float[Tensor, "*batch"]:
        """Empirical risk by circuit and start; differentiable if expectations are exact."""
        angles, bias = self.split(point)
        found = self.reading(self.circuit.expectation(self.states, angles))
        return self._risk_of(found, bias)

    def gradient(self, point: Float[Tensor, "*batch p"]) -> tuple[Tensor, Tensor]:
        """The risk, and its gradient: exact, or from shots by the parameter-shift rule.

        Every generator has eigenvalues -1/2 and 1/2, so ``d<f>/dt = (<f>(t + pi/2) - <f>(t - pi/2)) / 2`` exactly.
        """
        point = point.detach().requires_grad_()
        if self.reading.shots is None:
            value = self.risk(point)
            return value.detach(), torch.autograd.grad(value.sum(), point)[0]
        with torch.no_grad():
            found = self.reading(self.circuit.expectation(self.states, self.split(point)[0]))
            size = point.shape[-1] - 1
            turns = (math.pi / 2) * torch.eye(size, size + 1, dtype=point.dtype, device=point.device)
            turned = point + torch.cat([turns, -turns]).reshape(2 * size, *[1] * (point.ndim - 1), size + 1)
            moved = self.reading(self.circuit.expectation(self.states, self.split(turned)[0]))
            slopes = (moved[:size] - moved[size:]) / 2
        found = found.requires_grad_()
        value = self._risk_of(found, self.split(point)[1])
        by_found, gradient = torch.autograd.grad(value.sum(), (found, point))
        gradient[..., :-1] = (slopes * by_found).sum(-1).movedim(0, -1)
        return value.detach(), gradient

    def _risk_of(self, expectation: Tensor, bias: Tensor) -> Tensor:
        return empirical_risk(expectation, self.labels, bias, self.reading.shots or SHARPNESS)


def adam(training: Training, start: Float[Tensor, "*chains p"], steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """Minimise the risk from several starts at once by Adam; gives the last points and the risks before each step."""
    point = start.clone()
    optimizer = torch.optim.Adam([point], lr=rate)
    losses = []
    for _ in track(range(steps), "Adam"):
        value, point.grad = training.gradient(point)
        optimizer.step()
        losses.append(value)
    return point, torch.stack(losses)
