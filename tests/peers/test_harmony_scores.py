"""Scores of forecasts beside properscoring and scoringrules."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.parts.forecasting import crps_normal, crps_samples, energy_score, pinball

pytestmark = pytest.mark.peer
GENERATOR = np.random.default_rng(0)
OBSERVED = GENERATOR.gamma(2.0, 3.0, 40)
DRAWS = GENERATOR.gamma(2.0, 3.0, (64, 40))
MEAN, STD = GENERATOR.normal(6, 2, 40), GENERATOR.uniform(0.5, 3, 40)


def test_crps_is_properscorings():
    theirs = pytest.importorskip("properscoring")
    np.testing.assert_allclose(crps_samples(DRAWS, OBSERVED), theirs.crps_ensemble(OBSERVED, DRAWS.T), rtol=1e-10)
    np.testing.assert_allclose(crps_normal(MEAN, STD, OBSERVED), theirs.crps_gaussian(OBSERVED, MEAN, STD), rtol=1e-10)


def test_scores_are_scoringrules():
    theirs = pytest.importorskip("scoringrules")
    for fair, estimator in ((False, "nrg"), (True, "fair")):
        exact = theirs.crps_ensemble(OBSERVED, DRAWS, m_axis=0, estimator=estimator)
        np.testing.assert_allclose(crps_samples(DRAWS, OBSERVED, fair=fair), exact, rtol=1e-9)
    np.testing.assert_allclose(crps_normal(MEAN, STD, OBSERVED), theirs.crps_normal(OBSERVED, MEAN, STD), rtol=1e-9)
    vectors, seen = DRAWS.reshape(64, 10, 4), OBSERVED.reshape(10, 4)
    exact = theirs.es_ensemble(seen, vectors, m_axis=0, v_axis=-1)
    np.testing.assert_allclose(energy_score(vectors, seen), exact, rtol=1e-9)
    exact = theirs.quantile_score(OBSERVED, MEAN, 0.9)
    np.testing.assert_allclose(pinball(MEAN[None], np.array([0.9]), OBSERVED)[0], exact, rtol=1e-12)


@pytest.mark.parametrize("head", ["normal", "spline"])
def test_the_crps_of_a_head_is_scoringrules_of_its_quantiles(head):
    """The CRPS of a forecast's quantiles tends to that of the law itself."""
    theirs = pytest.importorskip("scoringrules")
    import torch

    from harmonia.parts.instance_norm import InstanceNorm
    from harmonia.sequences.harmony.heads import HEADS

    part = HEADS[head](1, 1, 8, False)
    numbers = torch.zeros(part.numbers, 40, 1, 1)
    norm = InstanceNorm(torch.from_numpy(MEAN).float()[:, None, None], torch.from_numpy(STD).float()[:, None, None])
    levels = (torch.arange(2000) + 0.5) / 2000
    quantiles = part(numbers, norm).icdf(levels)[..., 0, 0].numpy().astype(np.float64)
    spread = STD * (np.log(2) + 1e-3)  # softplus(0) and the floor
    exact = theirs.crps_normal(OBSERVED, MEAN, spread)
    np.testing.assert_allclose(crps_samples(quantiles, OBSERVED), exact, rtol=2e-3)
