"""Trained networks of finite width beside what their infinitely wide limit predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.kernels.ntk.empirical import empirical_ntk
from harmonia.kernels.ntk.predict import GradientDescent, InfiniteEnsemble
from harmonia.parts import infwidth


def train_full_batch(
    model: nn.Module,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n k"],
    steps: int,
    learning_rate: float,
    watch: Callable[[int], None] = lambda step: None,
) -> None:
    """Gradient descent on ``|f(x) - y|^2 / 2N`` with all rows in every step; `watch` sees every step and the end."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    for step in range(steps):
        watch(step)
        loss = (model(x) - y).square().sum() / (2 * y.numel())
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes):
                parameter.add_(slope, alpha=-learning_rate)
    watch(steps)


@dataclass(frozen=True)
class Comparison:
    """A trained network of finite width and the prediction for it.

    Attributes:
        width: Units of its hidden layers.
        steps: Steps at which outputs were recorded.
        outputs: Outputs at new inputs after those steps, (t, m, k).
        predicted: The same by the infinite network's kernel, started from this network's own initial outputs.
        kernel_error: Relative Frobenius distance of its initial tangent kernel to the infinite one.
        kernel_drift: Relative Frobenius distance of its tangent kernel after training to that before.
    """

    width: int
    steps: tuple[int, ...]
    outputs: Float[Tensor, "t m k"]
    predicted: Float[Tensor, "t m k"]
    kernel_error: float
    kernel_drift: float

    @property
    def distance(self) -> float:
        """Root mean square difference of the trajectories."""
        return float((self.outputs - self.predicted).square().mean().sqrt())


def compare_with_limit(
    network: infwidth.Sequential,
    width: int,
    x: Float[Tensor, "n ..."],
    y: Float[Tensor, "n k"],
    at: Float[Tensor, "m ..."],
    *,
    steps: int = 200,
    records: int = 9,
    seed: int = 0,
) -> Comparison:
    """Train a network of the given width by full-batch gradient descent and predict its whole path.

    The step size is half of the largest stable one, ``N / lambda_max``.

    Arguments:
        network: The infinitely wide network.
        width: Units of the hidden layers of the finite one.
        x: Training inputs.
        y: Training targets.
        at: Inputs at which outputs are compared.
        steps: Steps of gradient descent.
        records: Number of moments, evenly spaced, at which outputs are compared.
        seed: Seed of the initial weights.

    Example:
        >>> from harmonia.kernels.ntk.networks import mlp
        >>> x = torch.linspace(-1, 1, 8).reshape(-1, 2)
        >>> y = x[:, :1] * x[:, 1:]
        >>> found = compare_with_limit(mlp(2), 512, x, y, x, steps=20)
        >>> found.kernel_drift < 0.1, found.distance < 0.1
        (True, True)
    """
    ntk = network.kernel(x.double(), get="ntk")
    cross = network.kernel(at.double(), x.double(), get="ntk")
    model = network.to_torch(width, x.shape[1:], y.shape[1], seed).to(x)
    with torch.no_grad():
        start, start_at = model(x).double(), model(at).double()
    ensemble = InfiniteEnsemble(ntk, y.double() - start, ntk)
    learning_rate = ensemble.largest_learning_rate / 2
    moments = tuple(sorted({round(steps * i / (records - 1)) for i in range(records)}))
    outputs: list[Tensor] = []

    def watch(step: int) -> None:
        if step in moments:
            with torch.no_grad():
                outputs.append(model(at).double())

    before = empirical_ntk(model, x)
    train_full_batch(model, x, y, steps, learning_rate, watch)
    after = empirical_ntk(model, x)
    predicted = [
        start_at + ensemble.predict(cross, training=GradientDescent(step, learning_rate)).mean for step in moments
    ]
    return Comparison(
        width,
        moments,
        torch.stack(outputs),
        torch.stack(predicted),
        float((before - ntk).norm() / ntk.norm()),
        float((after - before).norm() / before.norm()),
    )


def loglog_slope(x: Sequence[int | float], y: Sequence[int | float]) -> float:
    """Exponent of a power law through the points, by least squares of logarithms.

    Example:
        >>> round(loglog_slope([1, 4, 16], [2.0, 1.0, 0.5]), 6)
        -0.5
    """
    u, v = (torch.tensor(values, dtype=torch.float64).log() for values in (x, y))
    u = u - u.mean()
    return float((u @ v) / (u @ u))
