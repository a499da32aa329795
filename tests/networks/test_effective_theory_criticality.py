"""Critical initialisations: closed forms, classes, flows, shifts; phases of any initialisation; depth over width."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory import (
    analyze,
    as_activation,
    critical_shift,
    emergent_slope,
    gamma_for,
    optimal_depth,
    optimal_ratio,
    phase_of,
    recursion,
)
from harmonia.networks.effective_theory.brackets import brackets, second_moment
from harmonia.networks.effective_theory.phase import gradient_growth


@pytest.mark.parametrize(
    ("name", "K_star", "C_W", "C_b"),
    [
        ("gelu", (3 + math.sqrt(17)) / 2, 1.98305826, 0.17292239),
        ("silu", 14.32017362, 1.98800468, 0.55514317),
        ("gelu_tanh", 3.556773, 1.98288824, 0.1728952),
        ("mish", 1.670169, 2.01352407, 0.09452179),
        # by scipy's adaptive quadrature with its kinks given
        ("hardswish", 4.803855949, 1.973289584, 0.507145852),
    ],
)
def test_half_stable_activations(name, K_star, C_W, C_b):
    report = analyze(name)
    assert report.universality == "half-stable"
    assert report.K_star == pytest.approx(K_star, abs=2e-6)
    assert pytest.approx(C_W, abs=1e-7) == report.C_W
    assert report.C_b == pytest.approx(C_b, abs=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.floats(-1, 1), st.floats(0.1, 3))
def test_two_slopes_are_scale_invariant(left, right):
    report = analyze(f"max(x, 0) * {right:.6f} + min(x, 0) * ({left:.6f})")
    square, fourth = (left**2 + right**2) / 2, (left**4 + right**4) / 2
    assert report.universality == "scale-invariant"
    assert pytest.approx(1 / square, rel=1e-4) == report.C_W
    assert report.nu == pytest.approx(3 * fourth / square**2 - 1, rel=1e-4)
    assert report.C_b == 0


@settings(max_examples=8, deadline=None)
@given(st.floats(0.3, 3), st.floats(-0.3, 0.3))
def test_smooth_through_the_origin(slope, bend):
    """``tanh(a x) + b x^2 e^(-x^2)``: ``s1 = a, s2 = 2b, s3 = -2 a^3``."""
    report = analyze(f"tanh({slope:.6f} * x) + ({bend:.6f}) * x**2 * exp(-x**2)")
    a1 = -2 * slope**2 + 0.75 * (2 * bend / slope) ** 2
    if a1 < -0.05:
        assert report.universality == "K* = 0"
        assert report.a1 == pytest.approx(a1, abs=1e-4)
        assert pytest.approx(1 / slope**2, rel=1e-5) == report.C_W


@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "sin", "relu", "erf", "mish"])
def test_the_critical_point_is_critical(name):
    report = analyze(name)
    K = report.K_star or 1e-6
    at = brackets(as_activation(name), torch.tensor(K))
    assert report.C_b + report.C_W * float(at.s2) == pytest.approx(K, rel=1e-5)
    assert report.C_W * float(at.s2_1) == pytest.approx(1, abs=1e-5)
    assert report.C_W * float(at.d2) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["gelu", "mish", "hardswish"])
def test_half_stable_points_attract_from_the_side_that_is_told(name):
    report, activation = analyze(name), as_activation(name)
    for side, factor in (("above", 1.02), ("below", 0.98)):
        K = report.K_star * factor
        after = report.C_b + report.C_W * second_moment(activation, K)
        assert (abs(after - report.K_star) < abs(K - report.K_star)) == (report.attracts == side)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "log_sigmoid", "tanhshrink", "cos", "exp", "x**3", "x**2"])
def test_no_criticality(name):
    report = analyze(name)
    assert report.universality == "none"
    assert not report.is_critical
    assert math.isnan(report.C_W)
    assert [len(each) for each in report.r_curve] == [200, 200]


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "cos", "log_sigmoid"])
def test_shifts_make_critical(name):
    function, shift = as_activation(name).function, critical_shift(name)
    assert shift is not None
    assert analyze(name).shift == shift
    assert analyze(lambda x: function(x) - shift).is_critical


def test_shift_to_a_wanted_variance():
    shift = critical_shift("softplus", K_star=2.0)
    assert shift is not None
    report = analyze(f"softplus(x) - {shift!r}")
    assert report.K_star == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(InputError, match="positive"):
        critical_shift("softplus", K_star=-1.0)


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_classes_do_not_depend_on_the_scale_of_the_input(scale):
    report = analyze(f"tanh({scale} * x)")
    assert report.universality == "K* = 0"
    assert report.a1 == pytest.approx(-2 * scale**2)
    assert analyze(f"max(x, 0) + min(exp({scale} * min(x, 0)) - 1, 0) / {scale}").universality == "K* = 0, kinked"


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "hardtanh"])
def test_kinks_at_the_origin_have_fitted_powers(name):
    report = analyze(name)
    assert report.universality == "K* = 0, kinked"
    if name != "hardtanh":  # whose variance falls slower than any power
        assert report.decay == pytest.approx(2, abs=0.05)


def test_variances_of_smooth_activations_fall_as_told():
    for name in ("tanh", "sin"):
        report, table = analyze(name), recursion(name, 1000, 100)
        assert table["K"][-1] == pytest.approx(1 / (-report.a1 * 1000), rel=0.02)
        assert table["V"][-1] / (1000 * table["K"][-1] ** 2) == pytest.approx(2 / 3, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "verdict", "scale"),
    [
        (("relu", 0.0, 2.0), "critical", math.inf),
        (("relu", 0.0, 1.6), "vanishes", 1 / abs(math.log(0.8))),
        (("relu", 0.0, 2.5), "explodes", 1 / math.log(1.25)),
        (("relu", 0.1, 1.0), "ordered", 1 / math.log(2)),
        (("tanh", 0.0, 1.0), "critical", math.inf),
        (("tanh", 0.0, 0.5), "vanishes", 1 / math.log(2)),
        (("tanh", 0.0, 3.0), "chaotic", None),
        (("tanh", 0.5, 1.0), "ordered", None),
        (("gelu", 0.17292239, 1.98305826, 3.56155281), "critical", math.inf),
    ],
)
def test_phases(arguments, verdict, scale):
    phase = phase_of(*arguments)
    assert phase.verdict == verdict
    if scale is not None:
        assert phase.depth_scale == pytest.approx(scale, rel=1e-3)


def test_fixed_points_of_chaotic_tanh():
    """Against plain iteration."""
    phase, K, tanh = phase_of("tanh", 0.05, 2.0), 1.0, as_activation("tanh")
    for _ in range(200):
        K = 0.05 + 2 * second_moment(tanh, K)
    assert phase.K_star == pytest.approx(K, rel=1e-9)


def test_phase_diagram_agrees_with_single_phases():
    growth = gradient_growth(as_activation("tanh"), [0.05, 0.5], [1.0, 2.5])
    for i, C_b in enumerate((0.05, 0.5)):
        for j, C_W in enumerate((1.0, 2.5)):
            assert growth[i, j] == pytest.approx(math.log(phase_of("tanh", C_b, C_W).chi_perp), abs=1e-3)


@pytest.mark.parametrize(
    "options", [{"C_b": 1.0}, {"C_W": 1.0}, {"C_b": -0.1, "C_W": 1.0}, {"C_b": 0.0, "C_W": math.nan}]
)
def test_bad_initialisations(options):
    with pytest.raises(InputError):
        analyze("tanh", **options)


def test_aspect_ratios():
    assert optimal_ratio("relu", 1) == pytest.approx(4 / 23 / 5)
    assert optimal_ratio("linear", 5) == pytest.approx(4 / 35 / 2)
    assert optimal_depth(2000, "tanh", 10) == 240
    assert optimal_depth(2, "relu", 10) == 1
    with pytest.raises(InputError, match="none"):
        optimal_ratio("exp")
    with pytest.raises(InputError, match="output"):
        optimal_ratio("relu", 0)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.8])
def test_emergent_slopes_with_skips_have_closed_forms(gamma):
    left = 1 - gamma**2
    book = left * (left * 5 + 4 * gamma**2)
    assert emergent_slope("relu", gamma, "book") == pytest.approx(book)
    extra = 16 * gamma * (1 + gamma) * left / math.pi
    assert emergent_slope("relu", gamma) == pytest.approx(book + extra)
    assert emergent_slope("linear", gamma) == pytest.approx(left * (left * 2 + 4 * gamma**2))


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "selu"])
def test_emergent_slope_is_the_limit_of_the_recursion(name):
    table = recursion(name, 600, 10, gamma=0.6, K1=analyze(name).start)
    step = table["V"][-1] / (600 * table["K"][-1] ** 2)
    assert step == pytest.approx(emergent_slope(name, 0.6), rel=0.03)


def test_gamma_makes_a_depth_the_best():
    for name in ("relu", "tanh", "gelu"):
        gamma = gamma_for(60, 100, name, 10)
        assert optimal_ratio(name, 10, gamma) == pytest.approx(0.6, rel=1e-4)
        assert optimal_ratio(name, 10, min(0.999, gamma + 0.01)) > 0.6
    assert gamma_for(1, 1000, "relu") == 0.0
    with pytest.raises(InputError):
        gamma_for(0, 10)
    with pytest.raises(InputError, match=r"\[0, 1\)"):
        emergent_slope("relu", 1.0)


def test_curve_of_candidates_is_the_ratio_of_susceptibilities():
    K, r = analyze("gelu").r_curve
    at = brackets(as_activation("gelu"), torch.from_numpy(K))
    np.testing.assert_allclose(r, (at.s2_1 / at.d2 - 1).numpy(), rtol=1e-9, atol=1e-12)
