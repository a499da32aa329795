"""Parity with a loop of scikit-learn's `KernelRidge`, and with its grid searches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold

from harmonia.kernels.self_distillation import SelfDistilledKernelRidge

pytestmark = pytest.mark.peer


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((80, 3))
    return X, np.sin(X) @ np.ones((3, 2)) + 0.3 * generator.standard_normal((80, 2))


@pytest.mark.parametrize("kernel", ["rbf", "laplacian", "polynomial", "linear", "cosine"])
def test_a_loop_of_kernel_ridge(data, kernel):
    X, y = data
    alphas, soft = [0.2, 0.9, -0.4, 1.5], y
    ours = SelfDistilledKernelRidge(kernel, lam=0.6, alpha=alphas, steps=5, fit_intercept=False).fit(X[:60], y[:60])
    for step, alpha in enumerate([1.0, *alphas], start=1):
        theirs = KernelRidge(kernel=kernel, alpha=0.6).fit(X[:60], alpha * y[:60] + (1 - alpha) * soft[:60])
        soft = theirs.predict(X)
        np.testing.assert_allclose(ours.predict(X, step=step), soft, rtol=1e-7, atol=1e-9)


def test_penalties_as_grid_search_chooses_them(data):
    X, y = data
    split = KFold(5)
    ours = SelfDistilledKernelRidge(lam="opt", steps=1, cv=split, fit_intercept=False).fit(X, y)
    grid = ours.lam_ * 10.0 ** (np.arange(-3, 4) / 3)
    search = GridSearchCV(KernelRidge(kernel="rbf"), {"alpha": grid}, cv=split, scoring="neg_mean_squared_error")
    search.fit(X, y)
    assert search.best_params_["alpha"] == pytest.approx(ours.lam_)
    assert -search.best_score_ == pytest.approx(ours.scores_[0])


def test_left_out_errors_of_ridge(data):
    X, y = data
    ours = SelfDistilledKernelRidge("linear", lam=2.0, steps=1, tune="loo").fit(X, y[:, 0])
    theirs = RidgeCV(alphas=[2.0], store_cv_results=True).fit(X, y[:, 0])
    assert ours.scores_[0] == pytest.approx(theirs.cv_results_.mean())
