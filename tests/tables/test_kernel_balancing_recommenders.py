"""Recommenders: gradients of both losses, what weights change, scikit-learn's tools, the paper's algorithm by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pandas
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from harmonia.core.errors import InputError
from harmonia.tables.kernel_balancing import (
    DebiasedMF,
    Factors,
    KernelBalancer,
    SampledKernelBalancing,
    naive_bayes_weights,
    read_embedding,
    semi_synthetic,
)
from harmonia.tables.kernel_balancing.factors import Observed, fit_factors, least_decay, loss_and_gradient
from harmonia.tables.kernel_balancing.released import PairNet, exponential, gaussian


@pytest.fixture(scope="module")
def truth():
    return semi_synthetic(3, 40, 30, activity=-1.0)


@pytest.fixture(scope="module")
def rows(truth):
    return np.argwhere(truth.observed), np.round(3 + 1.4 * truth.liking[truth.observed])


def sides(truth):
    return {"user_features": truth.user_features, "item_features": truth.item_features}


class TestFactors:
    @pytest.fixture
    def problem(self):
        generator = np.random.default_rng(0)
        users, items = generator.integers(0, 5, 12), generator.integers(0, 4, 12)
        observed = Observed(users, items, generator.random(12), generator.uniform(0.5, 2, 12))
        parts = [generator.standard_normal(s) for s in (5, 4, (5, 2), (4, 2))]
        return Factors(0.3, *parts), observed, generator.random((5, 4))

    @pytest.mark.parametrize("robust", [False, True], ids=["ips", "dr"])
    def test_gradients(self, problem, robust):
        factors, observed, imputed = problem
        guess = imputed if robust else None
        _, gradient = loss_and_gradient(factors, observed, 0.1, guess)
        numeric = approx_fprime(
            factors.flat(), lambda x: loss_and_gradient(factors.like(x), observed, 0.1, guess)[0], 1e-6
        )
        np.testing.assert_allclose(gradient, numeric, atol=1e-5)

    def test_losses_are_cross_entropies_written_out(self, problem):
        factors, observed, imputed = problem

        def entropy(p, y):
            return -(y * np.log(p) + (1 - y) * np.log(1 - p))

        p = expit(factors.logits(observed.users, observed.items))
        everywhere = expit(factors.all_logits())
        own, w = entropy(p, observed.labels), observed.weights
        guess = entropy(p, imputed[observed.users, observed.items])
        assert loss_and_gradient(factors, observed, 0.0)[0] == pytest.approx(np.mean(w * own))
        robust = entropy(everywhere, imputed).mean() + np.mean(w * (own - guess))
        assert loss_and_gradient(factors, observed, 0.0, imputed)[0] == pytest.approx(robust)

    def test_imputed_labels_that_are_right_make_observed_ones_superfluous(self, problem):
        factors, observed, imputed = problem
        exact = Observed(observed.users, observed.items, imputed[observed.users, observed.items], observed.weights)
        other = Observed(exact.users, exact.items, exact.labels, 5 * exact.weights)
        for a, b in zip(*(loss_and_gradient(factors, each, 0.0, imputed) for each in (exact, other))):
            np.testing.assert_allclose(a, b)

    def test_the_doubly_robust_loss_needs_decay(self, problem):
        """Along the leading singular vectors of the corrections it falls for ever below the bound, and not above."""
        _, observed, imputed = problem
        far = Observed(observed.users, observed.items, observed.labels, 50 * observed.weights)
        bound = least_decay(far, imputed)
        corrections = np.zeros((5, 4))
        np.add.at(corrections, (far.users, far.items), far.weights * (far.labels - imputed[far.users, far.items]) / 12)
        left, values, right = np.linalg.svd(corrections)
        assert bound == pytest.approx(values[0])

        def along(size, decay):
            p, q = np.zeros((5, 2)), np.zeros((4, 2))
            p[:, 0], q[:, 0] = size * left[:, 0], size * right[0]
            return loss_and_gradient(Factors(0.0, np.zeros(5), np.zeros(4), p, q), far, decay, imputed)[0]

        assert along(100.0, 0.5 * bound) < along(10.0, 0.5 * bound) < along(1.0, 0.5 * bound)
        assert along(100.0, 1.2 * bound) > along(10.0, 1.2 * bound)

    def test_weights_are_repetitions(self, problem):
        factors, observed, _ = problem
        times = np.arange(12) % 3 + 1
        repeated = Observed(
            *(np.repeat(v, times) for v in (observed.users, observed.items, observed.labels)), np.ones(24)
        )
        weighted = Observed(observed.users, observed.items, observed.labels, times * 12 / 24)
        found = [fit_factors(factors, each, 0.05, precision=1e-13) for each in (repeated, weighted)]
        np.testing.assert_allclose(found[0].all_logits(), found[1].all_logits(), atol=1e-3)

    def test_an_infinite_decay_leaves_the_weighted_mean(self, problem):
        factors, observed, _ = problem
        found = fit_factors(factors, observed, 1e6)
        mean = np.average(observed.labels, weights=observed.weights)
        np.testing.assert_allclose(expit(found.all_logits()), mean, atol=1e-4)

    def test_parameters_survive_flattening(self, problem):
        factors = problem[0]
        np.testing.assert_array_equal(factors.like(factors.flat()).all_logits(), factors.all_logits())


class TestDebiased:
    def test_balancing_brings_the_level_back(self, truth, rows):
        x, y = rows
        everything = np.argwhere(np.ones_like(truth.observed))
        ideal = np.round(3 + 1.4 * truth.liking).mean()
        naive, balanced = (DebiasedMF(loss).fit(x, y, **sides(truth)) for loss in ("naive", "ips"))
        off = [abs(model.predict(everything).mean() - ideal) for model in (naive, balanced)]
        assert off[1] < 0.8 * off[0]

    @pytest.mark.parametrize("loss", ["ips", "dr"])
    @pytest.mark.parametrize("anchors", ["worst", "adaptive", "all"])
    def test_every_variant_predicts(self, rows, loss, anchors):
        x, y = rows
        balancer = KernelBalancer(anchors=anchors, n_anchors=20, ridge=1e-3)
        model = DebiasedMF(loss, balancer=balancer, weight_decay=5e-3, propensity_prior=y[::7]).fit(x, y)
        assert np.corrcoef(model.predict(x), y)[0, 1] > 0.2
        assert model.weights_.mean() == pytest.approx(1)
        low, high = model.rating_range_
        assert (low <= model.predict_all()).all()
        assert (model.predict_all() <= high).all()

    def test_doubly_robust_with_a_perfect_guess_needs_no_ratings(self, truth, rows, monkeypatch):
        """Then the loss is the cross-entropy over all pairs."""
        p = expit(2 * truth.liking)
        monkeypatch.setattr(DebiasedMF, "_impute", lambda self, observed, pairs: p)
        model = DebiasedMF("dr", weight_decay=1e-3, rating_range=(0, 1))
        found = model.fit(rows[0], p[truth.observed], **sides(truth)).predict_all()
        assert np.corrcoef(found.ravel(), p.ravel())[0, 1] > 0.8
        assert found.mean() == pytest.approx(p.mean(), abs=0.02)

    def test_names_of_any_kind(self, truth, rows):
        x, y = rows
        words = [[f"user {u:02d}", f"item {i:02d}"] for u, i in x]
        plain = DebiasedMF(weight_decay=1e-3).fit(x, y)
        found = DebiasedMF(weight_decay=1e-3).fit(words, y)
        np.testing.assert_allclose(found.predict(words), plain.predict(x), atol=1e-8)
        frame = pandas.DataFrame({"user": [w[0] for w in words], "item": x[:, 1]})
        mixed = DebiasedMF(weight_decay=1e-3).fit(frame, y)
        np.testing.assert_allclose(mixed.predict(frame), plain.predict(x), atol=1e-8)
        assert mixed.recommend("user 00", 3)[0][0] not in frame["item"][frame["user"] == "user 00"].tolist()

    def test_recommendations_are_the_best_unrated(self, rows):
        x, y = rows
        model = DebiasedMF("naive", weight_decay=1e-3).fit(x, y)
        names, ratings = zip(*model.recommend(5, 30))
        assert not set(names) & set(x[x[:, 0] == 5, 1].tolist())
        assert list(ratings) == sorted(ratings, reverse=True)
        np.testing.assert_allclose(model.predict([[5, name] for name in names]), ratings)
        assert len(model.recommend(5, 100, exclude_rated=False)) == 30

    def test_the_unknown_get_what_is_known_of_the_other(self, rows):
        x, y = rows
        model = DebiasedMF("naive", weight_decay=1e-3).fit(x, y)
        z = model.factors_.mean + model.factors_.item_bias[3]
        low, high = model.rating_range_
        assert model.predict([[999, 3]])[0] == pytest.approx(low + (high - low) * expit(z))
        assert model.predict([["nobody", "nothing"]])[0] == pytest.approx(
            low + (high - low) * expit(model.factors_.mean)
        )

    def test_repeated_pairs_are_averaged(self):
        pairs, values = [[0, 0], [0, 1], [1, 0], [0, 0]], [1.0, 5.0, 3.0, 3.0]
        with pytest.warns(UserWarning, match="mean is taken"):
            model = DebiasedMF("naive", weight_decay=0.01, rating_range=(1, 5)).fit(pairs, values)
        once = DebiasedMF("naive", weight_decay=0.01, rating_range=(1, 5)).fit(pairs[:3], [2.0, 5.0, 3.0])
        np.testing.assert_allclose(model.predict(pairs), once.predict(pairs))

    def test_features_of_the_silent_count(self, truth, rows):
        x, y = rows
        keep = x[:, 0] != 4
        model = DebiasedMF(weight_decay=1e-3).fit(x[keep], y[keep], **sides(truth))
        assert len(model.user_ids_) == 40
        by_name = {u: truth.user_features[u] for u in range(40)}
        other = DebiasedMF(weight_decay=1e-3).fit(
            x[keep], y[keep], user_features=by_name, item_features=truth.item_features
        )
        np.testing.assert_allclose(model.weights_, other.weights_)

    @pytest.mark.parametrize("named", [False, True], ids=["rows", "index"])
    def test_features_may_be_frames(self, truth, rows, named):
        x, y = rows
        frames = {side: pandas.DataFrame(table) for side, table in sides(truth).items()}
        if named:
            x = [[f"u{u:02d}", f"i{i:02d}"] for u, i in x]
            frames = {
                side: frame.rename(index=lambda row, s=side: f"{s[0]}{row:02d}") for side, frame in frames.items()
            }
        found = DebiasedMF(weight_decay=1e-3).fit(x, y, **frames)
        plain = DebiasedMF(weight_decay=1e-3).fit(rows[0], y, **sides(truth))
        np.testing.assert_allclose(found.predict(x), plain.predict(rows[0]), atol=1e-3)

    def test_a_square_frame_is_read_by_rows(self):
        frame = pandas.DataFrame([[0.0, 1.0, 4.0], [9.0, 16.0, 25.0], [36.0, 49.0, 7.0]])
        x, y = [[0, 0], [1, 1], [2, 0], [0, 1]], [1.0, 2.0, 3.0, 4.0]
        args = {"item_features": np.eye(2)}
        model = DebiasedMF(balancer=KernelBalancer(n_anchors=3), weight_decay=1e-3)
        found = model.fit(x, y, user_features=frame, **args).balancer_.pairs_.users.numpy()
        np.testing.assert_array_equal(
            found, model.fit(x, y, user_features=frame.to_numpy(), **args).balancer_.pairs_.users.numpy()
        )

    def test_repeated_ratings_are_weighed_before_they_are_averaged(self, rows):
        x, y = rows
        other = next(value for value in np.unique(y) if value != y[0])
        model = DebiasedMF(weight_decay=1e-3, propensity_prior=np.unique(y).tolist())
        with pytest.warns(UserWarning, match="mean is taken"):
            model.fit(np.r_[x, x[:1]], np.r_[y, other])
        weights = naive_bayes_weights(np.r_[y, other], np.unique(y), (40, 30))
        base = model.balancer_.base_weights_
        assert base[0] / base[1] == pytest.approx((weights[0] + weights[-1]) / 2 / weights[1])

    @pytest.mark.parametrize("name", [None, float("nan"), pandas.NA], ids=["none", "nan", "NA"])
    def test_nobody_is_called_nothing(self, name):
        pairs = [["a", "x"], ["b", "y"], [name, "x"]]
        model = DebiasedMF("naive", weight_decay=1e-3).fit(pairs[:2], [1.0, 2.0])
        for table in (pairs, pandas.DataFrame(pairs)):
            with pytest.raises(InputError, match="no name"):
                DebiasedMF("naive", weight_decay=1e-3).fit(table, [1.0, 2.0, 3.0])
            with pytest.raises(InputError, match="no name"):
                model.predict(table)

    def test_one_pair(self):
        with pytest.raises(InputError, match="left out"):
            DebiasedMF("naive", rating_range=(1, 5)).fit([[0, 0]], [3.0])
        model = DebiasedMF("naive", rating_range=(1, 5), weight_decay=1e-3).fit([[0, 0]], [3.0])
        assert model.predict([[0, 0]])[0] == pytest.approx(3, abs=1e-3)

    def test_names_are_compared_as_they_read(self, rows):
        model = DebiasedMF("naive", weight_decay=1e-3).fit(*rows)
        np.testing.assert_array_equal(model.predict([["15", "3"], ["5", "29"]]), model.predict([[15, 3], [5, 29]]))
        assert model.recommend("5", 3) == model.recommend(5, 3)

    def test_a_refusal_changes_nothing(self, rows):
        model = DebiasedMF(weight_decay=1e-3).fit(*rows)
        before = dict(model.__dict__)
        with pytest.raises(InputError, match="no information"):
            model.fit([[0, 0], [1, 0]], [1.0, 9.0])
        assert model.__dict__ == before

    def test_the_decay_is_that_with_the_least_weighted_loss(self, rows):
        model = DebiasedMF().fit(*rows)
        assert model.weight_decay_ == min(model.decay_losses_, key=model.decay_losses_.get)

    def test_grid_search_in_a_pipeline(self, rows):
        x, y = rows
        pipeline = Pipeline([("model", DebiasedMF(weight_decay=1e-3))])
        search = GridSearchCV(pipeline, {"model__n_factors": [1, 3], "model__loss": ["naive", "ips"]}, cv=2)
        search.fit(x, y)
        assert search.best_score_ > 0
        assert search.predict(x[:4]).shape == (4,)

    def test_cloned_and_pickled(self, rows):
        model = DebiasedMF(balancer=KernelBalancer(n_anchors=9), weight_decay=1e-3)
        assert clone(model).get_params()["balancer__n_anchors"] == 9
        model.fit(*rows)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(rows[0]), model.predict(rows[0]))
        np.testing.assert_array_equal(clone(model).fit(*rows).predict(rows[0]), model.predict(rows[0]))

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"X": [[1, 2, 3]]}, "pairs"),
            ({"X": []}, "pairs"),
            ({"X": [[0.5, 1.0], [1.0, 2.0], [2.0, 3.0]]}, "whole numbers"),
            ({"y": [1.0, float("nan"), 2.0]}, "missing"),
            ({"y": [1.0, 2.0]}, "length"),
            ({"y": [2.0, 2.0, 2.0]}, "equal"),
            ({"rating_range": (1, 2)}, "outside"),
            ({"user_features": {0: [1.0]}}, "no features"),
            ({"item_features": {"a": [1.0]}}, "no features"),
            ({"n_factors": 0}, "factor"),
            ({"weight_decay": -1.0}, "decay"),
            ({"weight_decay": None}, "decay"),
            ({"n_factors": 2.5}, "whole"),
            ({"rating_range": (5, 1)}, "lower one first"),
            ({"rating_range": (1, 2, 5)}, "lower one first"),
            ({"y": ["a", "b", "c"]}, "numbers"),
            ({"user_features": {0: [1.0], 1: [1.0, 2.0], 2: [3.0]}}, "as many in each row"),
            ({"user_features": {0: ["a"], 1: ["b"], 2: ["c"]}}, "numbers"),
        ],
        ids=[
            "columns",
            "empty",
            "fractions",
            "nan",
            "length",
            "constant",
            "range",
            "user",
            "type",
            "factors",
            "decay",
            "no decay",
            "half a factor",
            "reversed",
            "three ends",
            "words",
            "ragged",
            "word features",
        ],
    )
    def test_refusals(self, change, match):
        given = {"X": [[0, 0], [1, 1], [2, 0]], "y": [1.0, 3.0, 2.0]} | change
        options = {k: given.pop(k) for k in ("rating_range", "n_factors", "weight_decay") if k in given}
        with pytest.raises(InputError, match=match):
            DebiasedMF("naive").set_params(**options).fit(**given)

    def test_unknown_users_get_no_recommendations(self, rows):
        model = DebiasedMF("naive", weight_decay=1e-3).fit(*rows)
        with pytest.raises(InputError, match="unknown user 10000"):
            model.recommend(10_000)
        with pytest.raises(InputError, match="at least one item"):
            model.recommend(5, 0)


class TestPropensity:
    def test_bayes_rule(self):
        """A population of 100 pairs: 60 disliked, of which 6 are rated; 40 liked, of which 20 are."""
        ratings = np.repeat([0.0, 1.0], [6, 20])
        found = naive_bayes_weights(ratings, np.repeat([0.0, 1.0], [60, 40]), (10, 10))
        np.testing.assert_allclose(found, np.repeat([10.0, 2.0], [6, 20]))

    def test_the_official_share_divides_by_largest_indices(self):
        ratings, random = np.array([0.0, 1.0]), np.array([0.0, 1.0])
        users, items = np.array([0, 9]), np.array([0, 4])
        ours = naive_bayes_weights(ratings, random, (10, 5), users=users, items=items)
        theirs = naive_bayes_weights(ratings, random, (10, 5), users=users, items=items, compat="official")
        np.testing.assert_allclose(theirs / ours, 9 * 4 / 50)

    def test_refusals(self):
        with pytest.raises(InputError, match="lacks a rating"):
            naive_bayes_weights(np.array([0.0, 1.0]), np.array([0.0]), (2, 2))
        with pytest.raises(InputError, match="empty"):
            naive_bayes_weights(np.array([0.0, 1.0]), np.array([]), (2, 2))
        with pytest.raises(InputError, match="missing"):
            naive_bayes_weights(np.array([0.0]), np.array([0.0, np.nan]), (2, 2))
        with pytest.raises(InputError, match="indices"):
            naive_bayes_weights(np.array([0.0]), np.array([0.0]), (2, 2), compat="official")


def one_step(**options):
    """A model, a batch, and copies of its networks' parameters before the step."""
    generator = torch.Generator().manual_seed(0)
    model = SampledKernelBalancing(batch_size=6, counterfactuals=2, decay=0.0, weight_decay=0.0, tol=1e-3, **options)
    model.start((5, 4), generator)
    draw = np.random.default_rng(0)
    model._covariates(draw.standard_normal((5, 2)), draw.standard_normal((4, 2)))
    pairs = torch.from_numpy(np.stack([draw.integers(0, 5, 6), draw.integers(0, 4, 6)], 1))
    sampled = torch.from_numpy(np.stack([draw.integers(0, 5, 12), draw.integers(0, 4, 12)], 1))
    labels, inverse = torch.tensor([1.0, 0, 0, 1, 1, 0]), torch.linspace(1, 3, 6)
    return model, (pairs, labels, inverse, sampled, torch.tensor([0, 3, 7]))


class TestSampled:
    def test_kernels(self):
        x, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 3)
        lengths = x.norm(dim=1)[:, None].expand(4, 2)
        torch.testing.assert_close(gaussian(x, y, 0.3), torch.exp(-0.3 * lengths**2))
        torch.testing.assert_close(exponential(x, y, 0.3), torch.exp(-0.3 * lengths))

    @pytest.mark.parametrize("compat", [None, "official"])
    def test_the_first_step_of_the_weights_follows_their_loss(self, compat):
        """Adam's first step is the learning rate times the gradient's sign, of a loss written out here."""
        model, batch = one_step(compat=compat)
        pairs, _, inverse, sampled, anchors = batch
        before = {name: p.detach().clone().requires_grad_() for name, p in model.weight_.named_parameters()}
        net = torch.func.functional_call(model.weight_, before, (pairs,))
        w = net * inverse
        scale, gamma = (4, 0.1) if compat else (None, 0.5)
        assert model._gamma == gamma
        assert scale is None or float(model._users.abs().max()) < 1
        x, every = model._at(pairs), model._at(sampled)
        loss = (w * w.log()).mean()
        differences = []
        for j in anchors:
            k_all = torch.exp(-gamma * (every - every[j]).square().sum(1)).mean()
            k_own = (w * torch.exp(-gamma * (x - every[j]).square().sum(1))).mean()
            differences.append(k_all - k_own)
        if compat:
            loss = loss + torch.relu(sum(differences) - 1e-3) + torch.relu(-sum(differences) - 1e-3)
        else:
            loss = loss + sum(torch.relu(d.abs() - 1e-3) for d in differences)
        gradients = torch.autograd.grad(loss, list(before.values()))
        model.step(*batch)
        for (_, p), start, gradient in zip(model.weight_.named_parameters(), before.values(), gradients):
            moved = gradient.abs() > 1e-5
            torch.testing.assert_close((p - start)[moved], -5e-3 * gradient.sign()[moved], atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize("compat", [None, "official"])
    def test_the_doubly_robust_loss_weighs_its_imputed_term(self, compat):
        model, batch = one_step(loss="dr", anchors="none", compat=compat)
        pairs, labels, w, sampled, _ = batch
        before = {name: p.detach().clone().requires_grad_() for name, p in model.prediction_.named_parameters()}
        found = torch.func.functional_call(model.prediction_, before, (pairs,))
        every = torch.func.functional_call(model.prediction_, before, (sampled,))
        with torch.no_grad():
            guess, guess_all = model.imputation_(pairs), model.imputation_(sampled)

        def entropy(p, y):
            return -(y * p.log() + (1 - y) * (1 - p).log())

        imputed = entropy(found, guess) * (1 if compat else w)
        loss = (w * entropy(found, labels) - imputed).mean() + entropy(every, guess_all).mean()
        gradients = torch.autograd.grad(loss, list(before.values()))
        model.step(*batch)
        for (_, p), start, gradient in zip(model.prediction_.named_parameters(), before.values(), gradients):
            moved = gradient.abs() > 1e-5
            torch.testing.assert_close((p - start)[moved], -1e-2 * gradient.sign()[moved], atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize("compat", [None, "official"])
    @pytest.mark.parametrize("anchors", ["random", "worst", "adaptive", "none"])
    @pytest.mark.parametrize("loss", ["ips", "dr"])
    def test_every_variant_learns(self, truth, loss, anchors, compat):
        x = np.argwhere(truth.observed)
        y = (truth.liking[truth.observed] > 0).astype(np.float64)
        model = SampledKernelBalancing(loss, anchors, epochs=15, batch_size=64, lr=0.05, compat=compat)
        weights = naive_bayes_weights(y, y[::2], truth.observed.shape)
        model.fit(x, y, truth.user_features, truth.item_features, base_weights=weights)
        scores = model.predict(x)
        assert scores[y == 1].mean() > scores[y == 0].mean()
        assert np.isfinite(scores).all()

    def test_official_patience_never_starts_again(self, truth):
        x = np.argwhere(truth.observed)
        y = (truth.liking[truth.observed] > 0).astype(np.float64)
        args = x, y, truth.user_features, truth.item_features
        found = [
            SampledKernelBalancing(epochs=60, batch_size=64, stop_tol=0.02, compat=c).fit(*args)
            for c in ("official", None)
        ]
        assert found[0].epochs_ <= found[1].epochs_

    @pytest.mark.parametrize("compat", [None, "official"])
    def test_every_rating_of_a_dense_table_is_used(self, truth, monkeypatch, compat):
        used, step = [], SampledKernelBalancing.step
        monkeypatch.setattr(
            SampledKernelBalancing, "step", lambda self, pairs, *rest: used.extend(pairs) or step(self, pairs, *rest)
        )
        x = np.argwhere(truth.observed)
        model = SampledKernelBalancing(epochs=1, batch_size=32, compat=compat)
        model.fit(x.tolist(), np.arange(len(x)) % 2 == 0, truth.user_features.tolist(), truth.item_features)
        assert truth.observed.mean() > 1 / model.counterfactuals
        assert len(used) == (len(x) // 32 * 32 if compat else len(x))

    def test_it_is_repeatable(self, truth):
        x = np.argwhere(truth.observed)
        y = (truth.liking[truth.observed] > 0).astype(np.float64)
        args = x, y, truth.user_features, truth.item_features
        found = [SampledKernelBalancing(epochs=2).fit(*args).predict(x) for _ in range(2)]
        np.testing.assert_array_equal(*found)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"y": np.array([0.0, 2.0])}, "0 or 1"),
            ({"y": np.array([0.0])}, "0 or 1"),
            ({"X": np.array([[0, 0], [9, 1]])}, "no features"),
            ({"base_weights": np.array([1.0, -1.0])}, "positive"),
            ({"user_features": np.full((2, 2), np.nan)}, "finite"),
        ],
        ids=["labels", "length", "index", "weights", "nan"],
    )
    @pytest.mark.parametrize("compat", [None, "official"])
    def test_refusals(self, change, match, compat):
        given = {"X": np.array([[0, 0], [1, 1]]), "y": np.array([0.0, 1.0])}
        given |= {"user_features": np.eye(2), "item_features": np.eye(2)} | change
        with pytest.raises(InputError, match=match):
            SampledKernelBalancing(compat=compat).fit(**given)

    def test_options_and_pairs_are_checked(self):
        given = [[0, 0], [1, 1]], [0, 1], np.eye(2), np.eye(2)
        with pytest.raises(InputError, match="batch_size"):
            SampledKernelBalancing(batch_size=0).fit(*given)
        model = SampledKernelBalancing(epochs=1, anchors="worst", n_anchors=50).fit(*given)
        with pytest.raises(InputError, match="no features"):
            model.predict([[9, 0]])


class TestReleasedCovariates:
    def test_they_are_read(self, tmp_path):
        table = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        torch.save({"weight": table}, tmp_path / "coat_user.pth")
        np.testing.assert_array_equal(read_embedding(tmp_path / "coat_user.pth"), table.numpy())

    @pytest.mark.parametrize("state", [{}, {"weight": torch.zeros(3)}, {"weight": torch.zeros(2, 2), "bias": 1}, [1]])
    def test_others_are_refused(self, tmp_path, state):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(InputError, match="no embedding"):
            read_embedding(tmp_path / "x.pth")

    def test_damage_is_told(self, tmp_path):
        (tmp_path / "x.pth").write_bytes(b"nothing")
        with pytest.raises(InputError, match="no embedding"):
            read_embedding(tmp_path / "x.pth")
        with pytest.raises(InputError, match="no embedding"):
            read_embedding(tmp_path / "none.pth")

    def test_networks_have_the_released_keys(self):
        net = PairNet(3, 2, 4, torch.Generator().manual_seed(0))
        assert {name: tuple(p.shape) for name, p in net.state_dict().items()} == {
            "W.weight": (3, 4),
            "H.weight": (2, 4),
        }
