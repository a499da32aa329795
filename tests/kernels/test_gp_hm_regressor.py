"""The spectral mixture regressor: scikit-learn's checks, closed forms, frequencies, a pipeline under grid search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm import SpectralMixtureKernel1D, SpectralMixtureRegressor


@parametrize_with_checks([SpectralMixtureRegressor(q=3, max_iter=5)])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def test_a_wave_on_a_slope_is_continued_and_its_frequency_found() -> None:
    t = np.sort(np.random.default_rng(0).uniform(0, 12, 150))[:, None]
    y = 0.3 * t[:, 0] + np.sin(2 * np.pi * 1.7 * t[:, 0])
    model = SpectralMixtureRegressor(q=4).fit(t[:130], y[:130])
    mean, std = model.predict(t[130:], return_std=True)
    assert np.abs(mean - y[130:]).max() < 0.3
    assert (std > 0).all()
    assert any(abs(peak - 1.7) < 0.02 for peak in model.kernels_[0].peaks())


def test_one_wave_of_frequency_zero_is_scikit_learns_process() -> None:
    x = np.random.default_rng(1).normal(size=(20, 2))
    y = np.sin(x[:, 0]) * x[:, 1]
    y = (y - y.mean()) / y.std()
    model = SpectralMixtureRegressor(q=1, noise=0.1, max_iter=0).fit(x, y)
    weights = [float(kernel.k(torch.zeros(1, dtype=torch.float64))) for kernel in model.kernels_]
    scales = [float((2 * kernel.parameters[1].exp()).rsqrt()) for kernel in model.kernels_]
    frozen = [kernel.with_parameters(*kernel.parameters[:2], torch.zeros(1)) for kernel in model.kernels_]
    assert all(isinstance(kernel, SpectralMixtureKernel1D) for kernel in frozen)
    prior = ConstantKernel(float(np.prod(weights))) * RBF(scales)
    theirs = GaussianProcessRegressor(prior, alpha=model.noise_, optimizer=None).fit(x, y)
    np.testing.assert_allclose(model.predict(x[:5] + 0.1), theirs.predict(x[:5] + 0.1), atol=1e-6)
    assert model.log_marginal_likelihood_ == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-5)


def test_in_a_pipeline_under_grid_search() -> None:
    t = np.linspace(0, 8, 90)[:, None]
    y = np.sin(2 * np.pi * t[:, 0]) + 0.1 * np.random.default_rng(0).standard_normal(90)
    pipeline = make_pipeline(StandardScaler(), SpectralMixtureRegressor(q=3, max_iter=15))
    search = GridSearchCV(pipeline, {"spectralmixtureregressor__q": [1, 3]}, cv=TimeSeriesSplit(2)).fit(t, y)
    assert search.best_score_ > 0.5


@pytest.mark.parametrize(
    "parameters",
    [{"noise": 0.0}, {"noise": "a"}, {"envelope": "box"}, {"q": 0}, {"q": 2.5}, {"max_iter": -1}, {"max_iter": 1.5}],
)
def test_bad_parameters(parameters: dict) -> None:
    with pytest.raises(InputError):
        SpectralMixtureRegressor(**parameters).fit(np.arange(12.0)[:, None], np.arange(12.0))


@pytest.mark.parametrize(("x", "y"), [(1.0, 1e200), (1.0, 1e-200), (1e200, 1.0), (1e-200, 1.0)])
def test_ranges_whose_squares_leave_float64(x: float, y: float) -> None:
    t = np.linspace(0, 1, 20)
    with pytest.raises(InputError, match="squared"):
        SpectralMixtureRegressor(q=3, max_iter=1).fit(x * t[:, None], y * np.sin(6 * t))
