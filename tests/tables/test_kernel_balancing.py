"""Balancing: the dual against other solvers, pairs against lists of them, anchors, all functions, the estimator."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from harmonia.core.errors import InputError
from harmonia.parts.gram import Matern, SquaredExponential, mean_embedding, mmd_squared
from harmonia.tables.kernel_balancing import (
    KernelBalancer,
    PairKernel,
    balance_functions,
    balance_moments,
    effective_sample_size,
    estimate_ideal_loss,
    semi_synthetic,
)
from harmonia.tables.kernel_balancing.anchors import adaptive_anchors, random_anchors, worst_anchors
from harmonia.tables.kernel_balancing.balancer import standardised
from harmonia.tables.kernel_balancing.dual import _Dual
from harmonia.tables.kernel_balancing.pairs import median_distance


def problem(seed=0, n=40, count=4):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((n, count))
    return features, 0.3 * generator.standard_normal(count), generator.uniform(0.5, 2.0, n)


def few_raters(columns):
    """Kernel features where only the quarter of users with the lowest first covariate rates."""
    generator = np.random.default_rng(0)
    x, z = generator.normal(size=(40, columns)), generator.normal(size=(30, columns))
    who = np.argsort(x[:, 0])[:10]
    observed = np.zeros((40, 30), bool)
    observed[who] = generator.random((10, 30)) < 0.3
    pairs = PairKernel.of("gaussian", 1.0, standardised(x, "user"), standardised(z, "item"))
    anchors = random_anchors(pairs, 200, np.random.default_rng(0))
    return pairs.features(*np.nonzero(observed), anchors), pairs.mean(anchors)


def beyond(features, target, tol):
    """Features whose target no mean over the rows can have."""
    return np.flatnonzero((target - tol > features.max(0)) | (target + tol < features.min(0)))


class TestDual:
    def test_equality_is_the_entropy_optimum_of_a_general_solver(self):
        """scipy's SLSQP on the primal, in n unknowns."""
        features, target, base = problem(n=15, count=2)
        base = base / base.mean()
        found = balance_moments(features, target, base_weights=base, tol=0.0)
        primal = minimize(
            lambda w: float((w * np.log(w / base)).mean()),
            base,
            jac=lambda w: (np.log(w / base) + 1) / len(w),
            bounds=[(1e-9, None)] * len(base),
            constraints=[
                {"type": "eq", "fun": lambda w: w.mean() - 1},
                {"type": "eq", "fun": lambda w: w @ features / len(w) - target},
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found.weights, primal.x, atol=1e-5)
        assert found.divergence == pytest.approx(primal.fun, abs=1e-9)

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 10**6), tol=st.floats(1e-4, 0.3))
    def test_boxes_are_kept_and_the_conditions_of_karush_kuhn_and_tucker_hold(self, seed, tol):
        features, target, base = problem(seed)
        found = balance_moments(features, target, base_weights=base, tol=tol)
        w, a = found.weights, found.multipliers
        imbalance = w @ features / len(w) - target
        assert np.abs(imbalance).max() <= tol + 1e-8
        assert w.mean() == pytest.approx(1)
        shape = np.log(w / base) - features @ a
        assert np.ptp(shape) < 1e-8  # w = w0 exp(f a) / Z
        assert (np.abs(a) * (tol - np.abs(imbalance))).max() < 1e-7  # complementary slackness
        assert (a * imbalance <= 1e-10).all()
        assert found.gap < 1e-7

    def test_ridge_leaves_the_imbalance_that_it_pays_for(self):
        features, target, base = problem()
        found = balance_moments(features, target, base_weights=base, tol=0.0, ridge=0.01)
        np.testing.assert_allclose(found.imbalance, -0.01 * found.multipliers, atol=1e-9)

    @pytest.mark.parametrize("barrier", [0.0, 1e-3, 0.1])
    def test_newton_steps_follow_the_objective(self, barrier):
        """Gradient by differences of the total; the barrier tends to C |a|."""
        features, target, base = problem()
        dual = _Dual(features - target, np.log(base), np.full(4, 0.05), np.full(4, 0.01))
        a = np.array([0.3, -0.2, 0.5, 0.1])
        step, decrement = dual._newton(dual.at(a), barrier)
        numeric = approx_fprime(a, lambda x: dual.total(dual.at(x), barrier), 1e-7)
        if barrier:
            assert -numeric @ step / 2 == pytest.approx(decrement, rel=1e-4)
            assert dual.total(dual.at(a), barrier) <= dual.total(dual.at(a), 0.0)
        assert dual.total(dual.at(a + 1e-3 * step), barrier) < dual.total(dual.at(a), barrier)

    def test_scale_of_a_feature_and_of_base_weights_does_not_matter(self):
        features, target, base = problem()
        scale = np.array([1e-4, 1.0, 1e3, 10.0])
        plain = balance_moments(features, target, base_weights=base, tol=0.0)
        other = balance_moments(features * scale, target * scale, base_weights=7 * base, tol=0.0)
        np.testing.assert_allclose(plain.weights, other.weights, atol=1e-8)

    def test_impossible_constraints_are_found_out_and_reported(self):
        features = np.linspace(0, 1, 20)[:, None]
        found = balance_moments(features, np.array([1.5]), tol=0.1)
        assert found.infeasible.tolist() == [0]
        assert np.isfinite(found.weights).all()
        assert found.weights.mean() == pytest.approx(1)
        assert found.imbalance[0] == pytest.approx(-0.5, abs=0.03)  # all weight on the largest
        possible = balance_moments(np.linspace(0, 1, 20)[:, None], np.array([0.9]), tol=0.0)
        assert not len(possible.infeasible)

    @pytest.mark.parametrize("tol", [0.0, 1e-2])
    @pytest.mark.parametrize("columns", [1, 4])
    def test_with_a_ridge_every_problem_has_a_solution(self, columns, tol):
        """A quarter of the users rate: plain Newton steps take up to 318."""
        features, target = few_raters(columns)
        found = balance_moments(features, target, tol=tol, ridge=1e-5)
        assert found.steps < 200
        assert found.gap < 1e-7
        a = found.multipliers
        pushed = np.abs(found.imbalance + 1e-5 * a)  # stationary: within the slope of tol |a|
        assert (pushed <= tol + 1e-6).all()
        np.testing.assert_array_equal(found.infeasible, beyond(features, target, tol))

    @pytest.mark.parametrize("tol", [0.0, 1e-3, 1e-2])
    def test_contradictions_are_proven(self, tol):
        found = balance_moments(*few_raters(1), tol=tol)
        assert len(found.infeasible)
        assert found.weights.mean() == pytest.approx(1)
        # Equality with a target in the convex hull, on its edge, is no contradiction.
        edge = balance_moments(np.arange(4.0)[:, None], [3.0], tol=0.0)
        assert not len(edge.infeasible)
        np.testing.assert_allclose(edge.weights, [0, 0, 0, 4], atol=1e-8)

    @pytest.mark.parametrize("ridge", [0.0, 1e-5])
    def test_constants_can_be_satisfied_or_not(self, ridge):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            off = balance_moments(np.ones((4, 1)), [2.0], tol=0.0, ridge=ridge)
            among = balance_moments(np.c_[np.arange(4), np.ones(4)], [2, 2], tol=0.0, ridge=ridge)
            right = balance_moments(np.c_[np.arange(4), np.ones(4)], [2, 1], tol=0.0, ridge=ridge)
        assert off.infeasible.tolist() == [0]
        assert off.imbalance.tolist() == [-1]
        assert off.gap == 0
        assert among.infeasible.tolist() == [1]
        assert not len(right.infeasible)
        np.testing.assert_allclose(among.weights, right.weights)

    def test_lists_and_whole_numbers(self):
        found = balance_moments([[0], [1], [2], [3]], [2], tol=0.0)
        np.testing.assert_array_equal(found.weights, balance_moments(np.arange(4.0)[:, None], [2.0], tol=0.0).weights)

    def test_exact_balance_of_a_gaussian_shift_is_its_density_ratio(self):
        """N(0, 1) to N(m, 1): dP/dQ = exp(m x - m^2 / 2), a tilt by the first moment."""
        x = np.random.default_rng(0).standard_normal(200_000)
        found = balance_moments(x[:, None], np.array([0.5]), tol=0.0)
        assert found.multipliers[0] == pytest.approx(0.5, abs=0.01)
        np.testing.assert_allclose(found.weights, np.exp(0.5 * x - 0.125), rtol=0.05)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"target": np.zeros(3)}, "do not fit"),
            ({"features": np.full((40, 4), np.nan)}, "finite"),
            ({"features": np.zeros((0, 4))}, "do not fit"),
            ({"base_weights": np.zeros(40)}, "positive"),
            ({"base_weights": np.ones(3)}, "base weights"),
            ({"tol": -1.0}, "tol"),
            ({"ridge": -1.0}, "ridge"),
            ({"tol": float("nan")}, "tol"),
            ({"ridge": float("inf")}, "ridge"),
            ({"features": [[1.0], [1.0, 2.0]]}, "as many in each row"),
            ({"base_weights": [np.inf] * 40}, "positive"),
        ],
        ids=[
            "target",
            "nan",
            "empty",
            "zero weights",
            "few weights",
            "tol",
            "ridge",
            "nan tol",
            "endless ridge",
            "ragged",
            "endless weights",
        ],
    )
    def test_refusals(self, change, match):
        features, target, _ = problem()
        with pytest.raises(InputError, match=match):
            balance_moments(**({"features": features, "target": target} | change))


def pairs_of(truth, **options):
    return PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features, **options)


@pytest.fixture(scope="module")
def truth():
    return semi_synthetic(3, 40, 30)


@pytest.fixture(scope="module")
def pairs(truth):
    return pairs_of(truth)


class TestPairs:
    def test_it_is_the_kernel_of_concatenated_covariates(self, truth):
        kernel = SquaredExponential(1.7)
        both = PairKernel(kernel, kernel, *(torch.from_numpy(x) for x in (truth.user_features, truth.item_features)))
        x = np.concatenate([truth.user_features[truth.users], truth.item_features[truth.items]], 1)
        anchors = random_anchors(both, 7, np.random.default_rng(0))
        at = np.concatenate([truth.user_features[anchors[:, 0]], truth.item_features[anchors[:, 1]]], 1)
        dense = kernel(torch.from_numpy(x), torch.from_numpy(at)).numpy()
        np.testing.assert_allclose(both.features(truth.users, truth.items, anchors), dense, atol=1e-14)
        np.testing.assert_allclose(both.norms(anchors), 1)

    def test_means_witness_and_mmd(self, truth, pairs):
        every = np.indices(pairs.shape).reshape(2, -1)
        gram = pairs.features(every[0], every[1], every.T)
        weights = np.random.default_rng(0).uniform(0, 2, len(truth.users))
        rows = truth.users * pairs.shape[1] + truth.items
        np.testing.assert_allclose(pairs.mean(every.T), gram.mean(0), atol=1e-14)
        witness = weights @ gram[rows] / len(rows) - gram.mean(0)
        found = pairs.witness(truth.users, truth.items, weights)
        np.testing.assert_allclose(found.ravel(), witness, atol=1e-13)
        signed = -np.ones(len(gram)) / len(gram)
        np.add.at(signed, rows, weights / len(rows))
        mmd = pairs.mmd(truth.users, truth.items, weights)
        assert pairs.mmd(truth.users, truth.items, weights, found) == mmd
        assert mmd**2 == pytest.approx(signed @ gram @ signed, rel=1e-9)

    def test_mmd_is_that_of_the_two_samples(self, truth):
        kernel = SquaredExponential(2.0)
        both = PairKernel(kernel, kernel, *(torch.from_numpy(x) for x in (truth.user_features, truth.item_features)))
        every = np.indices(both.shape).reshape(2, -1)
        population = torch.from_numpy(np.concatenate([truth.user_features[every[0]], truth.item_features[every[1]]], 1))
        sample = population[torch.from_numpy(truth.users * both.shape[1] + truth.items)]
        expected = float(mmd_squared(kernel, sample, population)) ** 0.5
        assert both.mmd(truth.users, truth.items, np.ones(len(sample))) == pytest.approx(expected, rel=1e-8)

    def test_large_sets_take_another_way_to_the_same_numbers(self, truth, pairs, monkeypatch):
        monkeypatch.setattr("harmonia.tables.kernel_balancing.pairs.STORED", 10)
        other, weights = pairs_of(truth), np.ones(len(truth.users))
        anchors = random_anchors(pairs, 5, np.random.default_rng(0))
        np.testing.assert_allclose(other.mean(anchors), pairs.mean(anchors), atol=1e-14)
        np.testing.assert_allclose(
            other.witness(truth.users, truth.items, weights),
            pairs.witness(truth.users, truth.items, weights),
            atol=1e-13,
        )

    def test_median_distances(self):
        x = np.random.default_rng(0).standard_normal((3000, 2))
        assert median_distance(x) == pytest.approx(np.sqrt(2 * 2 * np.log(2)), rel=0.05)  # |x - x'|^2 / 2 is chi2(2)
        assert median_distance(np.array([[0.0]] * 9 + [[1.0]])) > 0  # the mean where the median is 0
        with pytest.raises(InputError, match="no information"):
            median_distance(np.ones((5, 2)))


class TestAnchors:
    def test_worst_anchors_begin_at_the_largest_imbalance_and_end_when_none_is_left(self, truth, pairs):
        ones = np.ones(len(truth.users))
        witness = np.abs(pairs.witness(truth.users, truth.items, ones))
        first, _ = worst_anchors(pairs, truth.users, truth.items, ones, 1, 0.0, 1e-5)
        assert witness[tuple(first[0])] == witness.max()
        few, found = worst_anchors(pairs, truth.users, truth.items, ones, 400, 0.01, 0.0)
        assert len(few) < 400
        left = np.abs(pairs.witness(truth.users, truth.items, found.weights)).max()
        assert left <= 0.01 * (1 + 1e-5)  # for all 1200 pairs, not only the anchors

    def test_adaptive_anchors_find_where_the_errors_are(self, truth, pairs):
        centre = np.array([[7, 11]])
        errors = pairs.features(truth.users, truth.items, centre)[:, 0]
        found = adaptive_anchors(
            pairs, truth.users, truth.items, errors, np.ones(len(errors)), 20, np.random.default_rng(0)
        )
        near = pairs.features(found[:, 0], found[:, 1], centre)[:, 0].mean()
        assert near > 1.1 * pairs.mean(centre)[0]  # more than anchors anywhere

    def test_random_anchors_are_different_pairs(self, pairs):
        found = random_anchors(pairs, 1200, np.random.default_rng(0))
        assert len(np.unique(found, axis=0)) == 1200


class TestFunctions:
    def test_it_is_the_dual_with_an_anchor_at_every_pair(self):
        """With K a = f the penalty |f|^2 = a^T K a: L-BFGS on all coefficients of the representer theorem."""
        truth = semi_synthetic(0, 8, 7)
        pairs = pairs_of(truth)
        every = np.indices(pairs.shape).reshape(2, -1)
        gram = pairs.features(every[0], every[1], every.T)
        rows = truth.users * pairs.shape[1] + truth.items
        roots = np.linalg.cholesky(gram + 1e-9 * np.eye(len(gram)))

        def dual(b):
            f = roots @ b
            return np.log(np.exp(f[rows]).mean()) - f.mean() + 0.01 / 2 * b @ b

        best = minimize(dual, np.zeros(len(gram)), options={"gtol": 1e-9})
        f = (roots @ best.x)[rows]
        expected = np.exp(f) / np.exp(f).mean()
        found = balance_functions(pairs, truth.users, truth.items, np.ones(len(rows)), 0.01)
        np.testing.assert_allclose(found.weights, expected, rtol=1e-3)
        assert 0 <= found.gap + 1e-12 < 1e-6

    def test_a_ridge_that_falls_leaves_less_imbalance(self, truth, pairs):
        ones = np.ones(len(truth.users))
        found = [balance_functions(pairs, truth.users, truth.items, ones, r) for r in (1.0, 1e-2, 1e-4)]
        left = [pairs.mmd(truth.users, truth.items, each.weights) for each in found]
        assert left[0] > left[1] > left[2]
        assert found[0].divergence < found[1].divergence < found[2].divergence
        assert all(each.gap < 1e-5 for each in found)
        with pytest.raises(InputError, match="positive ridge"):
            balance_functions(pairs, truth.users, truth.items, ones, 0.0)


def fitted(truth, **options):
    errors = truth.errors[truth.observed] if options.get("anchors") == "adaptive" else None
    model = KernelBalancer().set_params(**{"n_anchors": 60} | options)
    return model.fit(truth.users, truth.items, truth.user_features, truth.item_features, errors=errors)


class TestBalancer:
    @pytest.mark.parametrize("anchors", ["random", "worst", "adaptive", "all"])
    def test_every_choice_of_anchors_mends_the_estimate(self, anchors):
        truth = semi_synthetic(0)
        model = fitted(truth, anchors=anchors)
        errors, ideal = truth.errors[truth.observed], truth.errors.mean()
        assert abs(estimate_ideal_loss(errors, model.weights_) - ideal) < 0.4 * abs(errors.mean() - ideal)
        before, after = model.mmd()
        assert after < 0.2 * before
        assert model.weights_.mean() == pytest.approx(1)
        assert model.ess_ == pytest.approx(effective_sample_size(model.weights_))

    def test_it_is_repeatable_and_can_be_cloned_and_pickled(self, truth):
        model = fitted(truth, random_state=4)
        np.testing.assert_array_equal(model.weights_, fitted(truth, random_state=4).weights_)
        assert not np.array_equal(model.anchors_, fitted(truth, random_state=5).anchors_)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.weights_, model.weights_)
        assert clone(model).get_params() == model.get_params()

    def test_order_of_ratings_does_not_matter(self, truth):
        order = np.random.default_rng(0).permutation(len(truth.users))
        model = fitted(truth)
        args = truth.users[order], truth.items[order], truth.user_features, truth.item_features
        np.testing.assert_allclose(KernelBalancer(n_anchors=60).fit(*args).weights_, model.weights_[order], atol=1e-9)

    def test_units_of_features_do_not_matter(self, truth):
        scaled = truth.user_features * [1, 10, 100, 1000] + 5
        other = KernelBalancer(n_anchors=60).fit(truth.users, truth.items, scaled, truth.item_features)
        np.testing.assert_allclose(other.weights_, fitted(truth).weights_, atol=1e-8)

    def test_with_everything_observed_nothing_is_weighted(self, truth):
        u, i = np.indices((40, 30)).reshape(2, -1)
        model = KernelBalancer(n_anchors=50).fit(u, i, truth.user_features, truth.item_features)
        np.testing.assert_allclose(model.weights_, 1, atol=1e-10)
        assert model.mmd()[0] < 1e-7

    def test_base_weights_are_kept_where_nothing_is_asked(self, truth):
        base = np.random.default_rng(0).uniform(1, 9, len(truth.users))
        model = KernelBalancer(tol=np.inf).fit(
            truth.users, truth.items, truth.user_features, truth.item_features, base_weights=base
        )
        np.testing.assert_allclose(model.weights_, base / base.mean())

    def test_bias_bound_holds_and_predicts(self):
        truth = semi_synthetic(1)
        model, errors = fitted(truth, n_anchors=200), truth.errors[truth.observed]
        found = model.bias_bound(errors)
        assert abs(found.after) <= found.bound
        assert abs(found.before) <= found.bound_before
        assert found.bound < 0.2 * found.bound_before
        assert found.before == pytest.approx(errors.mean() - truth.errors.mean(), rel=0.35)
        assert found.explained > 0.5
        noise = np.random.default_rng(0).standard_normal(len(errors))
        assert model.bias_bound(noise).explained < 0.2

    def test_clipping_bounds_weights(self, truth):
        plain, clipped = fitted(truth), fitted(truth, clip=0.9)
        assert clipped.weights_.max() < plain.weights_.max()
        assert clipped.ess_ > plain.ess_
        assert clipped.weights_.mean() == pytest.approx(1)

    def test_kernels(self):
        truth = semi_synthetic(0)
        for kernel in ("exponential", Matern(2.0, nu=1.5)):
            model = fitted(truth, kernel=kernel)
            assert model.mmd()[1] < 0.5 * model.mmd()[0]

    def test_two_samples(self):
        generator = np.random.default_rng(0)
        sample, target = generator.standard_normal((800, 2)) + 0.5, generator.standard_normal((3000, 2))
        model = KernelBalancer(n_anchors=50)
        weights = model.balance(sample, target)
        assert np.abs(weights @ sample / len(sample) - target.mean(0)).max() < 0.06
        scale = np.concatenate([target, sample]).std(0)
        kernel, x, y = SquaredExponential(1.0), torch.from_numpy(sample / scale), torch.from_numpy(target / scale)
        after = mmd_squared(kernel, x, y, x_weights=torch.from_numpy(weights / len(weights)))
        assert float(after) < 0.05 * float(mmd_squared(kernel, x, y))
        at = y[torch.from_numpy(model.anchors_)]
        assert len(mean_embedding(kernel, y, at)) == 50

    @pytest.mark.parametrize("shift", [8.0, 50.0])
    def test_samples_that_do_not_overlap_are_told(self, shift):
        generator = np.random.default_rng(0)
        sample, target = generator.standard_normal((80, 2)), generator.standard_normal((90, 2)) + shift
        model = KernelBalancer(n_anchors=30)
        with pytest.warns(UserWarning, match="30 of 30 functions cannot be balanced"):
            model.balance(sample, target)
        assert len(model.infeasible_) == 30

    @pytest.mark.parametrize("kind", [pandas.DataFrame, lambda x: x.tolist()], ids=["frame", "list"])
    def test_frames_lists_and_whole_floats(self, truth, kind):
        features = kind(truth.user_features), kind(truth.item_features)
        users, items, ones = truth.users.astype(float), truth.items.tolist(), [1] * len(truth.users)
        model = KernelBalancer(n_anchors=60).fit(users, items, *features, base_weights=ones)
        np.testing.assert_allclose(model.weights_, fitted(truth).weights_, atol=1e-9)
        assert model.bias_bound([1.0] * len(items)).norm == pytest.approx(0, abs=1e-9)
        balanced = KernelBalancer(n_anchors=9).balance(*features)
        plain = KernelBalancer(n_anchors=9).balance(truth.user_features, truth.item_features)
        np.testing.assert_allclose(balanced, plain, atol=1e-9)

    @pytest.mark.parametrize("size", [1e200, 1e-200])
    def test_features_of_any_size(self, truth, size):
        model = KernelBalancer(n_anchors=60)
        model.fit(truth.users, truth.items, truth.user_features * size, truth.item_features)
        np.testing.assert_allclose(model.weights_, fitted(truth).weights_, atol=1e-8)

    def test_a_refusal_changes_nothing(self, truth):
        model = fitted(truth)
        before = dict(model.__dict__)
        with pytest.raises(InputError):
            model.fit([0, 1], [0, 1], truth.user_features, truth.item_features, base_weights=[1.0, np.nan])
        with pytest.raises(InputError):
            model.balance(truth.user_features, truth.user_features, base_weights=[1.0])
        assert model.__dict__ == before

    def test_two_samples_leave_nothing_said_of_pairs_before(self, truth):
        model = fitted(truth, n_anchors=5)
        model.balance(truth.user_features, truth.user_features)
        with pytest.raises(NotFittedError):
            model.mmd()

    def test_few_effective_ratings_are_warned_of(self, truth):
        base = np.r_[1e6, np.ones(len(truth.users) - 1)]
        with pytest.warns(UserWarning, match="effective ratings"):
            KernelBalancer(tol=np.inf).fit(
                truth.users, truth.items, truth.user_features, truth.item_features, base_weights=base
            )

    def test_no_overlap_is_reported(self):
        users = np.arange(10)
        features = np.linspace(-3, 3, 20)[:, None]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = KernelBalancer(n_anchors=100, ridge=0.0, tol=1e-4).fit(users, users, features, features)
        assert any("cannot be balanced" in str(w.message) for w in caught)
        assert len(model.infeasible_)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"items": np.zeros(3, int)}, "different length"),
            ({"users": np.array([], int), "items": np.array([], int)}, "different length"),
            ({"users": np.array([0, 1, 99])}, "no features"),
            ({"users": np.array([0, 1, -1])}, "no features"),
            ({"user_features": np.ones((5, 2))}, "no information"),
            ({"user_features": np.full((5, 2), np.nan)}, "finite"),
            ({"item_features": np.arange(4.0)}, "table"),
            ({"base_weights": np.array([1.0, 0.0, 1.0])}, "positive"),
            ({"users": np.array([0, 1, 1.5])}, "whole numbers"),
            ({"user_features": [[1.0], [1.0, 2.0], [3.0]]}, "as many in each row"),
            ({"user_features": [["a"], ["b"], ["c"]]}, "numbers"),
        ],
        ids=[
            "lengths",
            "empty",
            "index",
            "negative",
            "constant",
            "nan",
            "vector",
            "weights",
            "fractions",
            "ragged",
            "words",
        ],
    )
    def test_refusals(self, change, match):
        given = {"users": np.arange(3), "items": np.arange(3), "user_features": np.arange(5.0)[:, None]}
        given |= {"item_features": np.arange(4.0)[:, None]} | change
        if match == "different length" and len(given["users"]):
            given["items"] = np.zeros(2, int)
        with pytest.raises((InputError, Exception), match=match):
            KernelBalancer().fit(**given)

    @pytest.mark.parametrize(
        "options",
        [
            {"n_anchors": 0},
            {"n_anchors": 2.5},
            {"clip": 0.0},
            {"bandwidth": 0.0},
            {"kernel": "linear"},
            {"tol": -1.0},
            {"ridge": np.inf},
        ],
        ids=["count", "fraction", "clip", "bandwidth", "kernel", "tol", "ridge"],
    )
    def test_options_are_checked(self, truth, options):
        with pytest.raises(InputError):
            fitted(truth, **options)
        with pytest.raises(InputError, match="errors"):
            KernelBalancer(anchors="adaptive").fit(truth.users, truth.items, truth.user_features, truth.item_features)


def test_standardised_drops_what_does_not_vary():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(standardised(x, "user"), [[-1], [1]])


def test_ideal_loss():
    errors, weights = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0])
    assert estimate_ideal_loss(errors) == pytest.approx(7 / 3)
    assert estimate_ideal_loss(errors, weights) == pytest.approx(11 / 4)
    assert estimate_ideal_loss(errors, weights, imputed=errors, imputed_mean=9.0) == 9.0  # a perfect guess
    assert estimate_ideal_loss(errors, weights, imputed=0 * errors, imputed_mean=0.0) == pytest.approx(11 / 4)
    for bad in ({"imputed": errors}, {"weights": np.ones(2)}, {"weights": -weights}):
        with pytest.raises(InputError):
            estimate_ideal_loss(errors, **bad)
    with pytest.raises(InputError, match="finite"):
        estimate_ideal_loss(np.array([np.nan]))


class TestIdealLoss:
    def test_lists(self):
        assert estimate_ideal_loss([0, 1], [3, 1], imputed=[0, 1], imputed_mean=0.5) == 0.5

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"errors": []}, "finite errors"),
            ({"errors": [1.0, np.nan]}, "finite errors"),
            ({"weights": [1.0, np.inf]}, "weights"),
            ({"weights": [-1.0, 5.0]}, "weights"),
            ({"imputed": [np.nan, 1.0]}, "imputed"),
            ({"imputed": [1.0]}, "imputed"),
            ({"imputed_mean": np.nan}, "finite"),
            ({"imputed_mean": None}, "need both"),
        ],
    )
    def test_refusals(self, change, match):
        given = {"errors": [1.0, 2.0], "weights": [1.0, 1.0], "imputed": [1.0, 1.0], "imputed_mean": 1.0} | change
        with pytest.raises(InputError, match=match):
            estimate_ideal_loss(**given)
