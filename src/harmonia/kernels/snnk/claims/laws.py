"""Means and variances of the features, and identities of bundled models. Bounds were set before measuring."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import digits
from harmonia.kernels.snnk.bundle import bundle
from harmonia.kernels.snnk.estimators import BundledSNNKClassifier
from harmonia.kernels.snnk.feature_maps import ReluFeatures, Split, UniversalFeatures, dense_directions
from harmonia.kernels.snnk.fourier_series import FourierSeries
from harmonia.kernels.snnk.layers import SNNKLinear
from harmonia.parts.gram import ArcCosine, exponential_features, log_second_moment


def _unit(generator: torch.Generator, *shape: int) -> Tensor:
    return nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@claim(
    "The average of ReLU features is the arc-cosine kernel",
    place="ReLU-SNNK",
    unit="largest deviation in standard errors",
    better="lower",
    tier="quick",
    gate=5.0,
)
def relu_mean(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    x, w = torch.randn(10, 8, generator=generator).double(), torch.randn(5, 8, generator=generator).double()
    g = torch.randn(100_000, 8, generator=generator, dtype=torch.float64)
    products = (x @ g.T).relu()[:, None] * (w @ g.T).relu()
    deviation = (products.mean(-1) - ArcCosine(1)(x, w) / 2).abs() / (products.std(-1) / len(g) ** 0.5)
    return Measured(float(deviation.max()), note="50 pairs in 8 dimensions, 100,000 features")


def _law(seed: int, split: Split) -> Measured:
    """Variance of ``e^{i x . w}`` over draws of 64 complex features, beside the closed form."""
    generator = torch.Generator().manual_seed(seed)
    m, worst = 64, 0.0
    for sign in (1, -1):
        x = _unit(generator, 1, 16)
        w = sign * nn.functional.normalize(x + 0.8 * _unit(generator, 1, 16))
        mu, draws = torch.exp(1j * (x @ w.T)), 3000
        phi = UniversalFeatures.draw(
            FourierSeries.of("cos"), 16, 2 * m * draws, generator=generator, orthogonal=False, split=split
        )
        a, b = phi(x)[0].split(m * draws), phi.of_weights(w, None)[0].split(m * draws)
        products = torch.complex(*a) * torch.complex(b[0], -b[1]) * draws
        errors = (products.reshape(draws, m).sum(1) - mu).abs().square()
        law = math.expm1(float(split.log_second_moments(x, w, 1.0))) / m
        worst = max(worst, abs(float(errors.mean()) / law - 1))
    return Measured(worst, note="x . w of both signs, 16 dimensions, 64 features, 3000 draws")


@claim(
    "Universal features split one-sidedly have the variance (exp(|x|^2 + |w|^2) - 1) / m",
    place="universal random features",
    unit="largest relative deviation",
    better="lower",
    tier="quick",
    gate=0.15,
)
def one_sided_variance(seed: int) -> Measured:
    return _law(seed, Split.named("one-sided"))


@claim(
    "Universal features split symmetrically have the variance (exp(|x + w|^2) - 1) / m",
    place="universal random features",
    unit="largest relative deviation",
    better="lower",
    tier="quick",
    gate=0.15,
)
def symmetric_variance(seed: int) -> Measured:
    return _law(seed, Split())


@claim(
    "Generalised exponential features have the second moment of the closed form",
    place="universal random features",
    unit="largest deviation in standard errors",
    better="lower",
    tier="quick",
    gate=5.0,
)
def generalised_second_moment(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    x, w = 0.6 * _unit(generator, 8), 0.5 * _unit(generator, 8)
    worst = 0.0
    for spread in (0.0, 0.05, 0.1, 0.3):
        g = torch.randn(200_000, 8, generator=generator, dtype=torch.float64)
        squares = (exponential_features(x, g, spread=spread) * exponential_features(w, g, spread=spread)).square()
        error = (squares.mean() - log_second_moment(x, w, spread).exp()).abs() / (squares.std() / len(g) ** 0.5)
        worst = max(worst, float(error))
    return Measured(worst, note="spreads 0 to 0.3, 8 dimensions, 200,000 features")


@claim(
    "Orthogonal directions lower the error of ReLU features",
    place="orthogonal variant",
    unit="mean squared error, over that of independent directions",
    better="lower",
    tier="quick",
    gate=1.0,
)
def orthogonal_is_better(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    x, w = _unit(generator, 20, 32), _unit(generator, 20, 32)
    exact, errors = ArcCosine(1)(x, w) / 2, {}
    for orthogonal in (False, True):
        found = []
        for _ in range(400):
            phi = ReluFeatures(dense_directions(32, 32, orthogonal, generator, torch.float64))
            found.append((phi(x) @ phi.of_weights(w, None).T - exact).square().mean())
        errors[orthogonal] = float(torch.stack(found).mean())
    return Measured(errors[True] / errors[False], note="m = d = 32, 400 draws, 400 pairs")


@claim(
    "Bundled layers answer as the layers do",
    place="bundling",
    unit="largest relative difference",
    better="zero",
    tier="quick",
    tolerance=1e-12,
)
def bundling_is_exact(seed: int) -> Measured:
    layers = [SNNKLinear(12, 20, 64, seed=seed), SNNKLinear(20, 16, 32, seed=seed + 1), nn.Linear(16, 5)]
    model = nn.Sequential(*layers).double()
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        expected, small = model(x), bundle(model)
        error = (small(x) - expected).abs().max() / expected.abs().max()
    kept, whole = (sum(p.numel() for p in part.parameters()) for part in (small, model))
    return Measured(float(error), note=f"three layers, {whole:,} trainable numbers, into one of {kept:,}")


@claim(
    "Rows taken away from a bundled model leave no trace",
    place="closed form; follows from sums over rows",
    unit="largest relative difference from a model that never saw them",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def forgetting_is_exact(seed: int) -> Measured:
    images, labels = digits()
    x = images.reshape(-1, 64) / 16
    options = {"n_features": 256, "standardize": False, "random_state": seed}
    never = BundledSNNKClassifier(**options).partial_fit(x[:1000], labels[:1000])
    seen = BundledSNNKClassifier(**options).partial_fit(x[:1000], labels[:1000])
    seen.partial_fit(x[1000:1500], labels[1000:1500]).forget(x[1000:1500], labels[1000:1500])
    expected, found = never.decision_function(x[1500:]), seen.decision_function(x[1500:])
    return Measured(float(np.abs(found - expected).max() / np.abs(expected).max()), note="500 of 1500 digits")
