"""Parity: weights with Google's empirical calibration (entropy balancing), ranking metrics with cornac's."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.parts.ranking import auc, ranking_scores
from harmonia.tables.kernel_balancing import PairKernel, balance_moments, semi_synthetic
from harmonia.tables.kernel_balancing.anchors import random_anchors

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("base", [False, True], ids=["equal", "base weights"])
def test_entropy_balancing(base):
    calibration = pytest.importorskip("empirical_calibration")
    truth = semi_synthetic(0, 60, 50)
    pairs = PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features)
    anchors = random_anchors(pairs, 10, np.random.default_rng(0))
    features, target = pairs.features(truth.users, truth.items, anchors), pairs.mean(anchors)
    start = np.random.default_rng(1).uniform(0.5, 2, len(features)) if base else None
    theirs, success = calibration.calibrate(
        covariates=features,
        target_covariates=target[None],
        baseline_weights=None if start is None else start / start.sum(),
        objective=calibration.Objective.ENTROPY,
        autoscale=True,
    )
    assert success
    ours = balance_moments(features, target, base_weights=start, tol=0.0).weights
    np.testing.assert_allclose(ours / len(ours), theirs, rtol=1e-4, atol=1e-9)


def test_ranking_metrics():
    metrics = pytest.importorskip("cornac.metrics")
    generator = np.random.default_rng(0)
    for seed in range(5):
        relevance, scores = (generator.random(12) < 0.4).astype(float), generator.standard_normal(12)
        relevance[seed] = 1.0
        positive, ranking = np.flatnonzero(relevance), np.argsort(-scores)
        ours = ranking_scores(np.zeros(12, int), relevance, scores, 5)
        given = {"gt_pos": positive, "pd_rank": ranking}
        assert ours.ndcg == pytest.approx(metrics.NDCG(k=5).compute(**given))
        assert ours.recall == pytest.approx(metrics.Recall(k=5).compute(**given))
        assert ours.precision == pytest.approx(metrics.Precision(k=5).compute(**given))
        everything = {"item_indices": np.arange(12), "pd_scores": scores, "gt_pos": positive}
        assert auc(relevance, scores) == pytest.approx(metrics.AUC().compute(**everything))
