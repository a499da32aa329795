"""Kernel functions of ours inside scikit-learn: values, gradients and fits beside its own kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as theirs
from sklearn.svm import SVC

from harmonia.core.errors import InputError
from harmonia.parts.gram import Matern, RationalQuadratic, SklearnKernel, SquaredExponential

X = np.random.default_rng(0).standard_normal((12, 2))
PAIRS = {
    "matern": (Matern(0.7, nu=1.5), theirs.Matern(0.7, nu=1.5)),
    "rational": (RationalQuadratic(0.7, alpha=1.3), theirs.RationalQuadratic(length_scale=0.7, alpha=1.3)),
    "product": (2.0 * SquaredExponential(0.5), theirs.ConstantKernel(2.0) * theirs.RBF(0.5)),
    "each feature": (SquaredExponential(torch.tensor([0.5, 2.0]).double()), theirs.RBF([0.5, 2.0])),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients(name):
    ours, other = SklearnKernel(PAIRS[name][0]), PAIRS[name][1]
    if name == "rational":  # their parameters are sorted by name
        np.testing.assert_allclose(np.sort(ours.theta), np.sort(other.theta))
    else:
        np.testing.assert_allclose(ours.theta, other.theta)
    matrix, slopes = ours(X, eval_gradient=True)
    expected, gradient = other(X, eval_gradient=True)
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    np.testing.assert_allclose(slopes[..., :: -1 if name == "rational" else 1], gradient, atol=1e-12)
    np.testing.assert_allclose(ours(X[:5], X), other(X[:5], X), atol=1e-12)
    np.testing.assert_allclose(ours.diag(X), other.diag(X))
    assert ours.bounds.shape == (len(ours.theta), 2)


@pytest.mark.parametrize("name", ["matern", "each feature"])
def test_fits_find_the_same_evidence(name):
    y = np.sin(X[:, 0]) + X[:, 1]
    fits = [GaussianProcessRegressor(kernel + theirs.WhiteKernel(0.1)).fit(X, y) for kernel in fresh(name)]
    evidence = [fit.log_marginal_likelihood_value_ for fit in fits]
    assert evidence[0] == pytest.approx(evidence[1], abs=1e-4)
    assert fits[0].kernel_.k1.kernel.hyperparameters().keys() == {"lengthscale"}


def fresh(name):
    ours, other = PAIRS[name]
    other = other.set_params(length_scale_bounds=(1e-3, 1e3))
    return SklearnKernel(ours), other


def test_fixed_kernels_have_nothing_to_learn():
    fixed = SklearnKernel(Matern(0.7), limits="fixed")
    assert fixed.theta.shape == (0,)
    assert fixed(X, eval_gradient=True)[1].shape == (12, 12, 0)
    assert GaussianProcessRegressor(fixed, alpha=0.1).fit(X, X[:, 0]).kernel_.kernel.lengthscale == 0.7


def test_clones_are_independent_and_machines_call_it():
    kernel = SklearnKernel(Matern(0.7))
    other = kernel.clone_with_theta(np.array([0.0]))
    assert (kernel.kernel.lengthscale, other.kernel.lengthscale) == (0.7, 1.0)
    assert clone(kernel).kernel == kernel.kernel
    y = X[:, 0] > 0
    assert SVC(kernel=kernel).fit(X, y).score(X, y) == 1.0


def test_gradients_of_two_sets_are_refused():
    with pytest.raises(InputError, match="second Y"):
        SklearnKernel(Matern())(X, X, eval_gradient=True)
