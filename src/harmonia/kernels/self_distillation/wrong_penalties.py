"""Real tables fitted with penalties around the best one: what is the best weight then, and what does it gain?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import ttest_1samp

from harmonia.kernels.self_distillation.rows import KernelFunction
from harmonia.kernels.self_distillation.spectral import Smoother
from harmonia.kernels.self_distillation.tuning import Folds, follow
from harmonia.kernels.self_distillation.weight import Mixture
from harmonia.media import Table

FACTORS = (0.1, 1 / 3, 1.0, 3.0, 10.0)
"""Penalties, as multiples of the one with the least validation error."""


class Split(NamedTuple):
    """One split: per factor the ends of the first distillation step on validation and on test rows."""

    validation: list[Mixture]
    test: list[Mixture]

    @property
    def weights(self) -> list[float]:
        """The best weight on validation rows."""
        return [mixture.best().value for mixture in self.validation]

    @property
    def gains(self) -> list[float]:
        """By how much one step with the best weight lowers the test error."""
        return [test.score(1.0) - test.score(weight) for test, weight in zip(self.test, self.weights)]


@functools.lru_cache(maxsize=4)
def splits_of(load: Callable[[], Table], target: str, seed: int, count: int = 20) -> tuple[Split, ...]:
    """RBF kernel with gamma 0.5 / columns, all standardised; 60% to train, 20% to validate, 20% to test."""
    table = load()
    names = [name for name in table.names if name != target]
    inputs, values = table.numeric(names), table.numeric([target])
    rows, found = len(values), []
    for number in range(count):
        order = np.random.default_rng([seed, number]).permutation(rows)
        train, validation, test = np.split(order, [int(0.6 * rows), int(0.8 * rows)])
        x = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
        y = torch.from_numpy((values - values[train].mean(0)) / values[train].std(0))
        kernel = KernelFunction("rbf", {"gamma": 0.5 / x.shape[1]})(x, x)
        held = [Folds.of(kernel, y, [(train, part)], intercept=True) for part in (validation, test)]
        penalties = np.geomspace(1e-4, 1e3, 43).tolist()
        best = min(penalties, key=lambda penalty: follow(held[0], Smoother(penalty), []).score)
        found.append(Split(*([part.start(Smoother(best * factor)).mixture() for factor in FACTORS] for part in held)))
    return tuple(found)


def median_weights(splits: tuple[Split, ...]) -> np.ndarray:
    """The median of the best weights over splits, by factor."""
    return np.median([split.weights for split in splits], axis=0)


def told(splits: tuple[Split, ...]) -> str:
    """Weights and gains in words, for a claim's note."""
    weights = ", ".join(f"{weight:.2f}" for weight in median_weights(splits))
    gains = ", ".join(f"{gain:.3f}" for gain in np.mean([split.gains for split in splits], axis=0))
    return f"at 0.1, 1/3, 1, 3, 10 times the best penalty: weights {weights}; gains {gains} of the target's variance"


def sure_gains(splits: tuple[Split, ...]) -> list[float]:
    """Lower ends of the 99% confidence intervals of the gains, by factor; above 0 where p < 0.01, two-sided."""
    gains = [split.gains for split in splits]
    return ttest_1samp(gains, 0.0).confidence_interval(0.99).low.tolist()
