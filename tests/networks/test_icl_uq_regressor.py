"""The regressor on tables: scikit-learn's checks, invariances, streams, intervals, and the exact answer beside it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError, WeightsError
from harmonia.networks.icl_uq import FlippedPrior, InContextRegressor, NIGRegression, TaskPrior, shift_suite
from harmonia.networks.icl_uq.comparison import EXACT, IN_CONTEXT, MEAN, PROCESS, RIDGE, compare
from harmonia.networks.icl_uq.regressor import TABLES

# The network reads four inputs and was trained on standardised ones; it is approximate, so refits agree to its noise.
EXPECTED = {"check_sample_weights_invariance": "rows are not weighted"}


def rows(count=40, inputs=3, seed=0, noise=1.0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((count, inputs))
    return x, x @ np.linspace(2.0, -2.0, inputs) + noise * generator.standard_normal(count) + 5.0


@pytest.mark.filterwarnings("ignore:The targets")
@parametrize_with_checks([InContextRegressor(excess="select", members=2)], expected_failed_checks=lambda _: EXPECTED)
def test_it_follows_scikit_learn(estimator, check):
    check(estimator)


def test_it_learns_a_line():
    x, y = rows(noise=0.5)
    new, truth = rows(200, seed=1, noise=0.5)
    model = InContextRegressor().fit(x, y)
    mean, std = model.predict(new, return_std=True)
    assert np.mean(np.square(mean - truth)) < 0.35 * truth.var()
    assert model.score(new, truth) > 0.65
    assert (std > 0).all()


def test_units_do_not_matter():
    x, y = rows()
    mean, std = InContextRegressor().fit(x, y).predict(x, return_std=True)
    other = InContextRegressor().fit(100 * x - 7, 1e6 * y + 3)
    again, wide = other.predict(100 * x - 7, return_std=True)
    np.testing.assert_allclose(again, 1e6 * mean + 3, rtol=1e-4)
    np.testing.assert_allclose(wide, 1e6 * std, rtol=1e-4)


@pytest.mark.parametrize("same", [0.1, 0.25])
def test_constant_columns_and_targets_have_no_units(same):
    x, y = rows(30)
    x[:, 1] = same
    model = InContextRegressor(members=2).fit(x, y)
    assert model.scaling_.spread[1] == 1.0
    new = x[:2] + np.array([0.0, 0.1, 0.0])
    assert (model.predict_exact(new).std < 10).all()
    assert (model.predict(new, return_std=True)[1] < 10).all()
    wide = np.column_stack([x, x[:, 0], x[:, 2]])
    assert 1 not in InContextRegressor(members=1, excess="select").fit(wide, y).scaling_.columns
    flat = InContextRegressor(members=2).fit(x, np.full(30, same))
    assert (flat.predict(x, return_std=True)[1] > 0.01).all()


def test_numbers_beyond_squares_are_refused():
    x, y = rows(30)
    with pytest.raises(InputError, match="cannot be squared"):
        InContextRegressor(members=1).fit(x, 1e200 * y)


def test_rows_are_predicted_alone():
    x, y = rows()
    model = InContextRegressor().fit(x, y)
    np.testing.assert_allclose(model.predict(x)[:5], model.predict(x[:5]), rtol=1e-4, atol=1e-4)


def test_more_members_and_more_rows_than_it_reads():
    x, y = rows(300)
    model = InContextRegressor(members=4).fit(x, y)
    assert model.predict(x).shape == (300,)
    with pytest.warns(UserWarning, match="reads 200"):
        InContextRegressor(rows=200, members=1, calibrate=False).fit(x, y)


def test_partial_fit_reads_on():
    x, y = rows(20)
    stream = InContextRegressor(members=1, calibrate=False, standardize=False, weights="embedded")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream.fit(x[:5], y[:5] - 5).partial_fit(x[5:12], y[5:12] - 5).partial_fit(x[12:], y[12:] - 5)
        assert len(stream._x) == 20
        assert stream._memory[0].keys.shape[2] == 40
        exact = stream.predict_exact(x)
        prior = stream.prior_
        known = NIGRegression(prior.mean, prior.precision, prior.a, prior.b).fit(x, y - 5)
    np.testing.assert_allclose(exact.mean, known.predict(x), rtol=1e-4, atol=1e-4)
    first = InContextRegressor(members=1).partial_fit(x, y)
    np.testing.assert_allclose(first.predict(x), InContextRegressor(members=1).fit(x, y).predict(x))


def test_intervals_grow_with_their_coverage_and_hold_the_context():
    x, y = rows(60)
    model = InContextRegressor(members=4).fit(x, y)
    widths = []
    for coverage in (0.5, 0.8, 0.95):
        low, high = model.predict_interval(x, coverage)
        widths.append((high - low).mean())
        assert (low < high).all()
    assert widths == sorted(widths)
    new, truth = rows(400, seed=2)
    low, high = model.predict_interval(new, 0.9)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.9, abs=0.07)
    pit = model.pit(new, truth)
    assert ((pit > 0) & (pit < 1)).all()
    inside = np.abs(2 * pit - 1) <= 0.9
    assert (inside == ((low <= truth) & (truth <= high))).mean() > 0.97


def test_short_contexts_give_no_narrower_intervals_for_more_coverage():
    x, y = rows(6)
    model = InContextRegressor().fit(x, y)
    widths = [np.diff(model.predict_interval(x[:1], c), axis=0).item() for c in (0.5, 0.8, 0.9, 0.99)]
    assert widths == sorted(widths)


def test_without_calibration_intervals_are_normal():
    x, y = rows()
    model = InContextRegressor(calibrate=False).fit(x, y)
    mean, std = model.predict(x, return_std=True)
    low, high = model.predict_interval(x, 0.95)
    np.testing.assert_allclose(high - mean, 1.959964 * std, rtol=1e-5)
    np.testing.assert_allclose(mean - low, 1.959964 * std, rtol=1e-5)


def test_surprising_targets_are_told():
    x, y = rows(40)
    calm = InContextRegressor().fit(x, y)
    assert calm.surprise_ > 0.01
    y[3] += 200 * y.std()
    with pytest.warns(UserWarning, match="less likely"):
        InContextRegressor(standardize=False).fit(x, y)


def test_targets_without_noise_are_told():
    x, _ = rows(600)
    with pytest.warns(UserWarning, match="less noise"):
        InContextRegressor(members=1, calibrate=False).fit(x, x @ [1.0, 2.0, -1.0])


def test_too_many_inputs():
    x, y = rows(40, inputs=6)
    with pytest.raises(InputError, match="reads 4 inputs"):
        InContextRegressor().fit(x, y)
    chosen = InContextRegressor(excess="select").fit(x, y).scaling_.columns
    assert chosen.tolist() == [0, 1, 4, 5]  # the largest weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "no such choice"),
        ({"members": 2.5}, "no such choice"),
        ({"device": "tpu"}, "unknown device"),
        ({"excess": "drop"}, "no such choice"),
        ({"rows": 0}, "cannot read so many"),
        ({"weights": None}, "no network yet"),
    ],
)
def test_impossible_options_are_refused(options, message):
    x, y = rows()
    with pytest.raises(InputError, match=message):
        InContextRegressor(**options).fit(x, y)


def test_bad_rows_are_refused():
    x, y = rows()
    with pytest.raises(ValueError, match="NaN"):
        InContextRegressor().fit(np.where(x > 2, np.nan, x), y)
    with pytest.raises(WeightsError, match="no such file"):
        InContextRegressor(weights="nowhere.safetensors").fit(x, y)
    with pytest.raises(InputError, match="coverage"):
        InContextRegressor().fit(x, y).predict_interval(x, 0.0)


def test_pretrained_networks_are_kept(tmp_path):
    prior = TaskPrior(dim=1, mean=0.0, family={"linear": 0.5, "tree": 0.5})
    model = InContextRegressor(weights=None, prior=prior, d_model=8, n_layers=1, n_heads=1, context=5, members=2)
    model.pretrain(3, batch=4)
    x, y = rows(12, inputs=1)
    mean = model.fit(x, y).predict(x)
    again = InContextRegressor.load(model.save(tmp_path / "w.safetensors"), members=2).fit(x, y)
    np.testing.assert_allclose(again.predict(x), mean, rtol=0.02, atol=0.02)
    assert again.prior_ == prior
    assert again.surprise_ is None
    with pytest.raises(InputError, match="linear tasks only"):
        again.predict_exact(x)


def pretrained(**options):
    model = InContextRegressor(
        prior=TaskPrior(dim=2), d_model=8, n_layers=1, n_heads=1, context=5, members=2, **options
    )
    return model, model.pretrain(1, batch=2)


def test_copies_keep_the_pretrained_network():
    x, y = rows(12, inputs=2)
    model, _ = pretrained()
    copy = clone(model).fit(x, y)
    assert copy.model_.config.d_model == 8
    np.testing.assert_array_equal(copy.predict(x), model.fit(x, y).predict(x))
    search = GridSearchCV(model, {"members": [1, 2]}, cv=2, error_score="raise").fit(x, y)
    assert search.best_estimator_.model_.config.d_model == 8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prior": TaskPrior(dim=2)}, "prior="),
        ({"prior": FlippedPrior(2)}, "prior="),
        ({"d_model": 256, "n_layers": 12}, "d_model=256, n_layers=12"),
        ({"positions": "floating", "context": 101}, "context=101, positions=floating"),
        ({"tokens": "split"}, "tokens=split"),
    ],
)
def test_the_embedded_network_answers_for_itself_only(options, told):
    x, y = rows(12)
    with pytest.raises(InputError, match="Call pretrain first") as refused:
        InContextRegressor(**options).fit(x, y)
    assert told in refused.value.got
    InContextRegressor(prior=TABLES, members=1).fit(x, y)


def test_a_pretrained_network_of_another_shape_is_refused():
    x, y = rows(12, inputs=2)
    model, _ = pretrained()
    with pytest.raises(InputError, match="Call pretrain first"):
        model.set_params(n_layers=2).fit(x, y)
    with pytest.raises(InputError, match="from a TaskPrior"):
        InContextRegressor(prior=FlippedPrior(2)).pretrain(1)


def test_the_callers_network_stays_as_it_was(tmp_path):
    x, y = rows(12, inputs=2)
    model, trained = pretrained()
    assert shift_suite(model.fit(x, y).model_, model.prior_, tasks=10).height
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}
    again = InContextRegressor.load(model.save(tmp_path / "w.safetensors"))
    assert shift_suite(again.model_, again.prior_, tasks=10).height
    assert shift_suite(again.fit(x, y).model_, again.prior_, tasks=10).height


def test_devices():
    x, y = rows(12)
    expected = InContextRegressor(members=1).fit(x, y).predict(x)
    found = InContextRegressor(members=1, device="auto").fit(x, y).predict(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_streams_beyond_training_are_told():
    x, y = rows(60)
    stream = InContextRegressor(members=1, calibrate=False).fit(x[:40], y[:40])
    with pytest.warns(UserWarning, match="trained on 48 rows and reads 50"):
        stream.partial_fit(x[40:50], y[40:50])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.partial_fit(x[50:], y[50:])
    bounded = InContextRegressor(members=1, calibrate=False, rows=12).fit(x[:10], y[:10])
    bounded.partial_fit(x[10:12], y[10:12])
    before = bounded.predict(x)
    with pytest.raises(InputError, match="13 rows, at most 12"):
        bounded.partial_fit(x[12:13], y[12:13])
    np.testing.assert_array_equal(bounded.predict(x), before)


def test_a_table_of_positions_holds_the_question_too():
    x, y = rows(12, inputs=2)
    model, _ = pretrained(positions="learned")
    assert np.isfinite(model.fit(x, y).predict(x)).all()
    model.fit(x[:3], y[:3]).partial_fit(x[3:4], y[3:4])
    with pytest.raises(InputError, match="5 rows, at most 4"):
        model.partial_fit(x[4:5], y[4:5])


def test_pretraining_goes_before_the_embedded_weights():
    x, y = rows(12, inputs=1)
    model = InContextRegressor(prior=TaskPrior(dim=1), d_model=8, n_layers=1, n_heads=1, context=5)
    model.pretrain(1, batch=2)
    assert model.fit(x, y).model_.config.dim == 1


def test_comparison_predicts_every_row_once():
    x, y = rows(50)
    found = compare(InContextRegressor(members=2), x, y, context=20)
    assert list(found.scores) == [IN_CONTEXT, "in-context network, uncalibrated", EXACT, RIDGE, PROCESS, MEAN]
    assert found.gap.shape == (50,)
    for answer in found.answers.values():
        assert np.isfinite(answer.log_density).all()
        assert ((answer.pit >= 0) & (answer.pit <= 1)).all()
    assert found.scores[EXACT].rmse < found.scores[MEAN].rmse
    assert found.scores[RIDGE].rmse < found.scores[MEAN].rmse
