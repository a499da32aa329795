"""How predictions hold when data are not what the model was made for: outliers, shifted inputs, another scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

from harmonia.core.progress import track
from harmonia.kernels.scale_mixtures.regressor import ScaleMixtureGPRegressor
from harmonia.kernels.scale_mixtures.scales import BurrXII, InverseGamma, PointMass, ScalePrior

PRIORS: dict[str, ScalePrior] = {
    "Gaussian": PointMass(1.0),
    "inverse gamma": InverseGamma(2.0, 2.0),
    "Burr XII": BurrXII(2.0, 2.0),
}
"""The processes that the paper compares."""


class Sample(NamedTuple):
    """Rows to learn from and rows to be judged by, standardised by the first."""

    x: Float64[np.ndarray, "n d"]
    y: Float64[np.ndarray, " n"]
    test_x: Float64[np.ndarray, "m d"]
    test_y: Float64[np.ndarray, " m"]


def split(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, " n"], seed: int, share: float = 0.8) -> Sample:
    """A random split, inputs and targets standardised by the training rows."""
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[: round(share * len(x))], order[round(share * len(x)) :]
    scale = x[train].std(0)
    z = (x - x[train].mean(0)) / np.where(scale > 0, scale, 1.0)
    w = (y - y[train].mean()) / y[train].std()
    return Sample(z[train], w[train], z[test], w[test])


def with_outliers(sample: Sample, seed: int, share: float = 0.05, size: float = 10.0) -> Sample:
    """The same with some training targets moved by `size` standard deviations, up or down."""
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(sample.y))[: round(share * len(sample.y))]
    y = sample.y.copy()
    y[chosen] += size * generator.choice([-1.0, 1.0], len(chosen))
    return sample._replace(y=y)


def with_shifted_inputs(sample: Sample, seed: int, features: int = 3, size: float = 2.0) -> Sample:
    """The same with some features of the test rows moved by `size` standard deviations."""
    chosen = np.random.default_rng(seed).permutation(sample.x.shape[1])[:features]
    moved = sample.test_x.copy()
    moved[:, chosen] += size
    return sample._replace(test_x=moved)


@dataclass(frozen=True)
class Fitted:
    """A process with the hyperparameters that were learned on a sample, ready to meet other data."""

    model: ScaleMixtureGPRegressor

    @classmethod
    def on(cls, sample: Sample, prior: ScalePrior, depth: int = 4, activation: str = "relu") -> Fitted:
        """Learn the hyperparameters; of a point mass also its place, which is the amplitude of the Gaussian process."""
        model = ScaleMixtureGPRegressor(
            prior=prior,
            depth=depth,
            activation=activation,
            learn_prior=isinstance(prior, PointMass),
            normalize_y=False,
        )
        return cls(model.fit(sample.x, sample.y))

    def nll(self, sample: Sample, factor: float = 1.0) -> float:
        """Mean negative log density of the test targets, in nats, in units of the training targets' deviation.

        Arguments:
            sample: What is conditioned on and what is predicted.
            factor: All targets are multiplied by it, while hyperparameters stay. The unavoidable ``log factor`` is
                taken off.
        """
        model = self.model
        x, at = torch.from_numpy(sample.x), torch.from_numpy(sample.test_x)
        covariance = model.covariance_
        process = model.process_.with_targets(torch.from_numpy(factor * sample.y)[:, None])
        condition = process.condition(covariance.matrix(at, x), covariance.diagonal(at))
        dist = process.marginal(*condition, model.noise_)
        return float(-dist.log_prob(factor * sample.test_y[:, None]).mean() - np.log(factor))


def compare(
    x: Float64[np.ndarray, "n d"],
    y: Float64[np.ndarray, " n"],
    seeds: Sequence[int],
    priors: Mapping[str, ScalePrior] = PRIORS,
    conditions: Sequence[str] = ("clean", "outliers", "shifted inputs", "scale"),
    depth: int = 4,
    activation: str = "relu",
    factor: float = 3.0,
) -> dict[str, dict[str, Float64[np.ndarray, " seeds"]]]:
    """Negative log density of test targets by condition and prior, one number per seed.

    The conditions: ``clean``; ``outliers``: 5% of the training targets moved by 10 deviations, hyperparameters learned
    anew; ``shifted inputs``: three features of the test rows moved by 2 deviations; ``scale``: all targets times
    `factor` under the hyperparameters of the clean data.
    """
    found: dict[str, dict[str, list[float]]] = {c: {name: [] for name in priors} for c in conditions}
    for seed in track(seeds, "Comparing priors"):
        clean = split(x, y, seed)
        dirty = with_outliers(clean, seed)
        for name, prior in priors.items():
            fitted = Fitted.on(clean, prior, depth, activation)
            for condition in conditions:
                if condition == "outliers":
                    value = Fitted.on(dirty, prior, depth, activation).nll(dirty)
                elif condition == "shifted inputs":
                    value = fitted.nll(with_shifted_inputs(clean, seed))
                else:
                    value = fitted.nll(clean, factor if condition == "scale" else 1.0)
                found[condition][name].append(value)
    return {c: {name: np.array(values) for name, values in by.items()} for c, by in found.items()}
