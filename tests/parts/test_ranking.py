"""Ranking metrics against scikit-learn and loops over users."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from harmonia.core.errors import InputError
from harmonia.parts.ranking import auc, ranking_scores


def rows(seed, n=60, groups=7, ties=False):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, n).astype(float) if ties else generator.standard_normal(n)
    return generator.integers(0, groups, n), (generator.random(n) < 0.4).astype(float), scores


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_auc_is_sklearns(seed, ties):
    _, relevance, scores = rows(seed, ties=ties)
    assert auc(relevance, scores) == pytest.approx(roc_auc_score(relevance, scores), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 12))
def test_scores_are_means_over_groups(seed, k):
    groups, relevance, scores = rows(seed)
    ndcg, recall, precision = [], [], []
    for group in np.unique(groups):
        own = groups == group
        if not relevance[own].any() or own.sum() < 2:
            continue
        ndcg.append(ndcg_score(relevance[own][None], scores[own][None], k=k, ignore_ties=True))
        top = np.argsort(-scores[own])[:k]
        recall.append(relevance[own][top].sum() / relevance[own].sum())
        precision.append(relevance[own][top].mean())
    if any((groups == g).sum() < 2 for g in np.unique(groups)):
        return
    found = ranking_scores(groups, relevance, scores, k)
    np.testing.assert_allclose(found[:3], [np.mean(ndcg), np.mean(recall), np.mean(precision)], atol=1e-12)
    # 2 P R / (P + R), written without the quotient, which has no value where nothing relevant is retrieved.
    assert found.f1 * (found.recall + found.precision) == pytest.approx(2 * found.recall * found.precision)


def test_groups_without_anything_relevant():
    groups, relevance, scores = np.array([0, 0, 1]), np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])
    half = 1 / np.log2(3)
    for empty, expected in (("skip", half), ("one", (half + 1) / 2), ("zero", half / 2)):
        assert ranking_scores(groups, relevance, scores, 2, empty=empty).ndcg == pytest.approx(expected)
    assert ranking_scores(groups, relevance, scores, 2, empty="zero").precision == pytest.approx(0.25)
    assert ranking_scores(groups, relevance, scores, 4, short="k").precision == pytest.approx(0.25)


def test_monotone_transforms_change_nothing():
    groups, relevance, scores = rows(3)
    np.testing.assert_allclose(
        ranking_scores(groups, relevance, scores, 5), ranking_scores(groups, relevance, np.exp(3 * scores), 5)
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"relevance": np.zeros(3)}, "no group"),
        ({"relevance": np.array([1.0, -1.0, 0.0])}, "negative"),
        ({"scores": np.array([1.0, np.nan, 0.0])}, "finite"),
        ({"scores": np.zeros(2)}, "shape"),
        ({"k": 0}, "fit"),
    ],
    ids=["nothing relevant", "negative", "nan", "lengths", "k"],
)
def test_refusals(change, match):
    given = {"groups": np.zeros(3, int), "relevance": np.ones(3), "scores": np.arange(3.0), "k": 1} | change
    with pytest.raises(InputError, match=match):
        ranking_scores(**given)


def test_auc_needs_both_kinds():
    with pytest.raises(InputError, match="both kinds"):
        auc(np.ones(3), np.arange(3.0))
