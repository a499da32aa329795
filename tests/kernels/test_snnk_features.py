"""Universal and ReLU features: means, the exact variance laws, splits, series, what is saved, bad input."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.snnk import FourierSeries, ReluFeatures, Split, UniversalFeatures, UniversalRandomFeatures
from harmonia.kernels.snnk.power_series import power_series
from harmonia.parts.gram import ArcCosine


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit_rows(seed, n, d, length=1.0):
    return length * torch.nn.functional.normalize(normal(seed, n, d))


@parametrize_with_checks(
    [
        UniversalRandomFeatures(n_features=1024, normalize="row", random_state=0),
        UniversalRandomFeatures(n_features=256, method="maclaurin", radius=1.0, normalize="row", random_state=0),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:features of such long rows")  # their noise is what is looked at
@pytest.mark.parametrize("f", ["sin", "cos", "gelu", "tanh"])
@pytest.mark.parametrize("split", ["symmetric", "one-sided", "adaptive", "powers"])
def test_estimates_have_the_right_mean(f, split):
    x, w, b = unit_rows(0, 4, 6).numpy(), unit_rows(1, 3, 6).numpy(), np.array([0.2, -0.1, 0.0])
    exact = {"sin": np.sin, "cos": np.cos, "tanh": np.tanh}.get(f) or (
        lambda z: torch.nn.functional.gelu(torch.from_numpy(z)).numpy()
    )
    found = []
    options = {"method": "maclaurin"} if split == "powers" else {"split": split}
    for seed in range(40):
        phi = UniversalRandomFeatures(f, 512, radius=1.3, orthogonal=seed % 2 == 0, random_state=seed, **options)
        phi.fit(x, weights=w)
        found.append(phi.transform(x) @ phi.transform_weights(w, b).T)
    mean, error = np.mean(found, 0), np.std(found, 0) / 40**0.5
    assert (np.abs(mean - exact(x @ w.T + b)) < 5 * error + 2e-3).all()


@pytest.mark.parametrize("split", ["symmetric", "one-sided"])
@pytest.mark.parametrize("sign", [1, -1])
def test_variance_laws(split, sign):
    """``E |z - mu|^2`` of m complex features: both closed forms."""
    d, m = 16, 64
    x = unit_rows(0, 1, d)
    w = sign * torch.nn.functional.normalize(x + 0.8 * unit_rows(1, 1, d))
    mu = torch.exp(1j * (x @ w.T))
    series = FourierSeries.of("cos")
    draws = 4000  # of 64 features each, side by side
    features = UniversalFeatures.draw(
        series,
        d,
        2 * m * draws,
        generator=torch.Generator().manual_seed(0),
        orthogonal=False,
        split=Split.named(split),
    )
    phi, psi = features(x)[0].split(m * draws), features.of_weights(w, None)[0].split(m * draws)
    z = (torch.complex(*phi) * torch.complex(psi[0], -psi[1]) * draws).reshape(draws, m).sum(1)
    errors = (z - mu).abs().square()
    size = float(x.square().sum() + w.square().sum())
    law = size if split == "one-sided" else float((x + w).square().sum())
    assert float(errors.mean()) == pytest.approx((math.exp(law) - 1) / m, rel=0.15)
    moments = Split.named(split).log_second_moments(x, w, 1.0)
    assert float(moments) == pytest.approx(law, abs=1e-9)


@given(seed=st.integers(0, 1000), scale=st.floats(0.2, 5))
@settings(max_examples=20, deadline=None)
def test_the_best_split_is_no_worse(seed, scale):
    x, w = scale * unit_rows(seed, 5, 4), unit_rows(seed + 1, 5, 4) / scale
    best = Split.best(x, w, 1.0).log_second_moments(x, w, 1.0).logsumexp((0, 1))
    for other in (Split(), Split(-math.pi / 4), Split(math.pi / 2)):
        assert best <= other.log_second_moments(x, w, 1.0).logsumexp((0, 1)) + 1e-9


@pytest.mark.filterwarnings("ignore:features of such long rows")  # their noise is what is looked at
def test_activations_vary_less_as_powers_than_as_waves():
    """At unit rows, where they are nearly polynomials of low degree; the prediction is the noise that is found."""
    x, w = unit_rows(0, 60, 16).numpy(), unit_rows(1, 30, 16).numpy()
    exact, noise = np.tanh(x @ w.T), {}
    for method in ("fourier", "maclaurin"):
        options = {"method": method, "radius": 1.0, "tolerance": None}
        found = [UniversalRandomFeatures("tanh", 512, random_state=s, **options).fit(x) for s in range(5)]
        errors = [phi.transform(x) @ phi.transform_weights(w).T - exact for phi in found]
        noise[method] = np.sqrt(np.mean(np.square(errors)))
    assert noise["maclaurin"] < noise["fourier"]
    assert noise["maclaurin"] == pytest.approx(np.sqrt(np.square(found[0].predicted_std(x, w)).mean()), rel=0.25)


@pytest.mark.filterwarnings("ignore:features of such long rows")  # their noise is averaged
def test_biases_are_divided_by_the_lengths_of_their_rows_of_weights():
    """With ``normalize="row"``, as in the layer; a row of zeros keeps its bias."""
    x, w, b = normal(0, 30, 6).numpy(), 3 * normal(1, 4, 6).numpy(), np.array([1.0, -1.0, 0.5, 0.7])
    w[3] = 0
    length = np.array([*np.linalg.norm(w[:3], axis=1), 1.0])
    found = []
    for seed in range(20):
        phi = UniversalRandomFeatures("cos", 2048, normalize="row", random_state=seed).fit(x)
        found.append(phi.transform(x) @ phi.transform_weights(w, b).T)
    exact = np.cos(x / np.linalg.norm(x, axis=1, keepdims=True) @ (w / length[:, None]).T + b / length)
    assert (np.abs(np.mean(found, 0) - exact) < 5 * np.std(found, 0) / 20**0.5 + 1e-6).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_constant_functions(value):
    x = 0.2 * normal(0, 20, 6).numpy()
    phi = UniversalRandomFeatures(lambda z: 0 * z + value, 64, radius=1.0, random_state=0).fit(x)
    np.testing.assert_allclose(phi.transform(x) @ phi.transform_weights(x).T, value, atol=1e-9)
    assert not phi.predicted_std(x, x).round(9).any()


@given(coefficients=st.lists(st.integers(-4, 4), min_size=1, max_size=6), radius=st.floats(0.3, 4))
@settings(max_examples=20, deadline=None)
def test_polynomials_are_their_own_power_series(coefficients, radius):
    f = np.polynomial.Polynomial(coefficients)
    found = power_series(lambda z: torch.from_numpy(f(z.numpy())), radius, tolerance=1e-10)
    z = np.linspace(-radius, radius, 9)
    np.testing.assert_allclose(np.polynomial.Polynomial(found)(z), f(z), atol=1e-7 * (1 + abs(f(z)).max()))


def test_float32_features_are_those_of_float64():
    """Exponents are taken in float64, where they neither overflow nor lose digits."""
    x = unit_rows(0, 5, 6, 4.0)
    features = UniversalFeatures.draw(FourierSeries.of("cos"), 6, 64, generator=torch.Generator().manual_seed(0))
    exact, single = features(x), features.to(torch.float32)(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()))


def test_predicted_deviation_bounds_the_error():
    """Of waves; the real part has about half of the squared modulus."""
    x, w = unit_rows(0, 6, 8, 0.7).numpy(), unit_rows(1, 5, 8, 0.7).numpy()
    errors = []
    for seed in range(60):
        phi = UniversalRandomFeatures("cos", 256, orthogonal=False, random_state=seed).fit(x)
        errors.append(phi.transform(x) @ phi.transform_weights(w).T)
    ratio = np.std(errors, 0) / phi.predicted_std(x, w)
    assert (ratio < 0.8).all()
    assert (ratio > 0.3).all()


@pytest.mark.parametrize("f", [torch.tanh, torch.nn.functional.gelu, torch.nn.functional.softplus])
def test_series_converge_geometrically(f):
    errors = [FourierSeries.of(f, 3.0, product=0.0, terms=terms, features=10**15).error for terms in (4, 6, 8, 16)]
    assert errors[3] < 1e-7
    assert all(later < 0.3 * earlier for earlier, later in pairwise(errors[:3]))


def test_series_trade_accuracy_for_variance():
    few = FourierSeries.of("tanh", 1.5, product=1.5, features=64)
    many = FourierSeries.of("tanh", 1.5, product=1.5, features=64_000)
    assert many.error < few.error
    assert few.variance(1.5) < many.variance(1.5)
    assert few.draw(1000, 1.5, torch.Generator().manual_seed(0))[0].max() <= few.frequencies.max()


def test_relu_features_have_the_arc_cosine_mean_and_offsets_are_a_constant_input():
    x, w, b = normal(0, 4, 5), normal(1, 3, 5), normal(2, 3)
    g = normal(3, 200_000, 6)
    features = ReluFeatures(g[:, :5], g[:, 5])
    estimate = features(x) @ features.of_weights(w, b).T
    exact = ArcCosine(1)(torch.cat([x, torch.ones(4, 1).double()], 1), torch.cat([w, b[:, None]], 1)) / 2
    assert ((estimate - exact).abs() < 0.02 * exact.max()).all()


@pytest.mark.filterwarnings("ignore:features of such long rows")  # their noise is what is looked at
def test_a_constant_is_one_more_column():
    x = unit_rows(0, 10, 4).numpy()
    phi = UniversalRandomFeatures("gelu", 64, radius=1.0, random_state=0).fit(x)
    assert phi.transform(x).shape == (10, 65)
    assert phi.transform_weights(x).shape == (10, 65)
    assert UniversalRandomFeatures("sin", 64, random_state=0).fit_transform(x).shape == (10, 64)


def test_long_rows_are_warned_of():
    with pytest.warns(UserWarning, match="long rows"):
        UniversalRandomFeatures("sin", 64, random_state=0).fit(10 * unit_rows(0, 10, 8).numpy())


def test_bad_input():
    x = unit_rows(0, 10, 4).numpy()
    for wrong, match in (
        ({"f": "no"}, "no such function"),
        ({"f": "gelu"}, "range of its argument"),
        ({"f": "relu", "radius": 3.0, "tolerance": 1e-6}, "few waves"),
        ({"f": lambda z: z * float("nan"), "radius": 1.0}, "finite"),
        ({"n_features": 0}, "pairs"),
        ({"n_features": 257}, "even number"),
        ({"n_features": 64.7}, "whole number"),
        ({"split": "half"}, "no such split"),
        ({"method": "taylor"}, "no such method"),
        ({"method": "maclaurin"}, "range of its argument"),
        ({"method": "maclaurin", "f": "relu", "radius": 3.0, "tolerance": 1e-6}, "short power series"),
        ({"method": "maclaurin", "f": torch.log, "radius": 1.0}, "finite"),
        ({"normalize": "columns"}, "normalisation"),
    ):
        with pytest.raises(InputError, match=match):
            UniversalRandomFeatures(**wrong).fit(x)
    phi = UniversalRandomFeatures(random_state=0).fit(x)
    for call in (phi.transform_weights, lambda w: phi.predicted_std(x, w), lambda w: phi.fit(x, weights=w)):
        with pytest.raises(InputError, match="another length"):
            call(x[:, :2])
    with pytest.raises(InputError, match="one bias"):
        phi.transform_weights(x, [0.0])
