"""Forecaster, classifier and detector: what they learn, what they refuse, files, streams, scores of anomalies."""

from __future__ import annotations

import numpy as np
import polars
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError, WeightsError
from harmonia.media import Series
from harmonia.parts.forecasting import future_leak
from harmonia.sequences.chimera import ChimeraAnomalyDetector, ChimeraClassifier, ChimeraForecaster, anomaly_scores
from harmonia.sequences.chimera.comparison import compare
from harmonia.sequences.chimera.data import Observed, seriation
from harmonia.sequences.chimera.detection_scores import softened
from harmonia.sequences.chimera.late import Late
from harmonia.sequences.chimera.scale import Scale

TINY = {"d_model": 6, "d_state": 3, "n_layers": 1, "device": "cpu"}
QUICK = {**TINY, "dropout": 0.0, "patch": 2, "steps": 12, "batch_size": 8}


def waves(length=160, noise=0.05, seed=0):
    t = np.arange(length)
    clean = np.stack([np.sin(t / 4), 10 + 3 * np.sin(t / 4 - 1), 0.1 * np.cos(t / 4)], 1)
    return clean + noise * np.array([1, 3, 0.1]) * np.random.default_rng(seed).standard_normal((length, 3))


@pytest.fixture(scope="module")
def forecaster():
    return ChimeraForecaster(4, 16, **QUICK).fit(Series(waves(), ("a", "b", "c")))


# ------------------------------------------------------------------------------------------------------ forecasts


def test_forecasts_follow_the_waves(forecaster):
    ahead = forecaster.predict(Series(waves(), ("a", "b", "c")))
    truth = waves(164, noise=0)[160:]
    assert np.abs((ahead - truth) / np.array([1, 3, 0.1])).max() < 0.6
    found = forecaster.forecast(waves()[None, -16:])
    assert found.shape == (1, 4, 3)
    assert (found.quantile(np.array([0.05])) <= found.quantile(np.array([0.95]))).all()


def test_units_do_not_matter():
    plain = ChimeraForecaster(4, 16, **QUICK).fit(waves()).predict(waves())
    scaled = ChimeraForecaster(4, 16, **QUICK).fit(1e-4 * waves() + 5).predict(1e-4 * waves() + 5)
    np.testing.assert_allclose((scaled - 5) * 1e4, plain, atol=0.01)


def test_no_forecast_knows_the_future():
    def run(values):
        return ChimeraForecaster(4, 16, **{**QUICK, "steps": 3}).fit(values[:100]).predict(values[:100])

    assert future_leak(run, waves(), 100) == 0


def test_parts_sum_and_weights_lie_between_zero_and_one(forecaster):
    parts = forecaster.decompose(waves())
    np.testing.assert_allclose(sum(parts), forecaster.predict(waves()), atol=1e-5)
    assert 0 <= float(forecaster.model_.gains.min()) <= float(forecaster.model_.gains.max()) <= 1


def test_influence_is_the_slope(forecaster):
    """Against finite differences of the forecast, window by window."""
    values = waves(16)
    found = forecaster.variate_influence(values)
    model = forecaster.model_.double()
    past = next(piece for piece, _, _ in forecaster._pieces(values[None])).double()
    with torch.no_grad():
        for i in range(3):
            total = 0.0
            for t in range(16):
                moved = past.clone()
                moved[0, t, 1] += 1e-5
                change = model.forecast(moved) - model.forecast(past)
                total += abs(float(change[0, :, i].mean()) / 1e-5)
            assert found[i, 1] == pytest.approx(total, rel=1e-3)
    model.float()


def test_order_of_variables_is_undone():
    order = ChimeraForecaster(4, 16, **QUICK, variable_order="correlation")
    order.fit(waves()[:, [0, 2, 1]])
    assert sorted(order.order_) == [0, 1, 2]
    truth = waves(164, noise=0)[160:][:, [0, 2, 1]]
    assert np.abs((order.predict(waves()[:, [0, 2, 1]]) - truth) / np.array([1, 0.1, 3])).max() < 0.6


def test_names_are_kept_and_put_in_order(forecaster):
    frame = polars.DataFrame(dict(zip("cab", waves().T[[2, 0, 1]])))
    np.testing.assert_allclose(forecaster.predict(frame), forecaster.predict(waves()))
    with pytest.raises(InputError, match="not those of the fit"):
        forecaster.predict(Series(waves(), ("a", "b", "d")))


def test_influence_and_scores_go_by_name(forecaster, detector):
    columns = {"value_1": 0, "value_2": 1, "value_3": 2}
    moved = polars.DataFrame({name: waves()[:, columns[name]] for name in ("value_3", "value_1", "value_2")})
    np.testing.assert_allclose(detector.score_samples(moved), detector.score_samples(waves()))
    others = polars.DataFrame(waves(), schema=["x", "y", "z"])
    for read in (detector.predict, forecaster.variate_influence):
        with pytest.raises(InputError, match="not those of the fit"):
            read(others)
    moved = polars.DataFrame(dict(zip("cab", waves().T[[2, 0, 1]])))
    np.testing.assert_allclose(forecaster.variate_influence(moved), forecaster.variate_influence(waves()))
    moved = Series(waves()[:, [2, 0, 1]], ("c", "a", "b"))
    np.testing.assert_allclose(forecaster.predict(moved), forecaster.predict(waves()))


def dated(days):
    """Waves with a date a row, in the order of the given days."""
    dates = np.datetime64("2024-01-01", "D") + np.asarray(days)
    return polars.DataFrame({"day": dates} | dict(zip("abc", waves()[np.asarray(days) % 160].T)))


def test_rows_are_read_in_order_of_time(forecaster):
    shuffled = np.random.default_rng(0).permutation(160)
    for days in (shuffled, np.arange(160)[::-1]):
        np.testing.assert_allclose(forecaster.predict(dated(days)), forecaster.predict(waves()))


def test_uneven_times_are_refused(forecaster):
    gap = dated(np.delete(np.arange(160), 40))
    for read in (ChimeraForecaster(4, 16, **QUICK).fit, forecaster.predict, forecaster.variate_influence):
        with pytest.raises(InputError, match="evenly spaced"):
            read(gap)


def test_series_that_are_too_short_teach_nothing(forecaster):
    names = ("a", "b", "c")
    for gaps in ({}, {"nan": "mask"}):
        options = {**QUICK, "steps": 3, **gaps}
        alone = ChimeraForecaster(4, 16, **options).fit(Series(waves(), names))
        both = ChimeraForecaster(4, 16, **options).fit([Series(waves()[:10], names), Series(waves(), names)])
        np.testing.assert_allclose(both.predict(waves()), alone.predict(waves()))
    with pytest.raises(InputError, match="not those of the fit"):
        ChimeraForecaster(4, 16, **QUICK).fit([Series(waves(), names), Series(waves(), ("a", "b", "d"))])


@pytest.mark.parametrize(
    ("length", "horizon", "lookback"), [(144, 24, 48), (150, 24, 48), (80, 14, 24), (120, 24, 24), (60, 20, 40)]
)
@pytest.mark.parametrize("normalise", ["auto", "series"])
def test_horizons_longer_than_the_part_kept_apart(length, horizon, lookback, normalise):
    options = {**QUICK, "steps": 2, "normalise": normalise}
    model = ChimeraForecaster(horizon, lookback, **options).fit(waves(length))
    assert np.isfinite(model.predict(waves(length))).all()
    late = Late([Series(waves(length))], lookback, horizon)
    assert late.windows().tolist()


def test_what_no_window_saw_is_at_its_mean():
    model = ChimeraForecaster(4, 16, **QUICK, nan="mask", normalise="window").fit(waves())
    values = waves()
    values[-16:, 1] = np.nan
    assert np.abs(model.predict(values)[:, 1] - 10).max() < 1


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_intervals_outlive_the_file_in_any_unit(size, tmp_path):
    model = ChimeraForecaster(4, 16, **{**QUICK, "steps": 2}).fit(size * waves())
    again = ChimeraForecaster.load(model.save(tmp_path / "model.safetensors"))
    window, levels = size * waves()[None, -16:], np.array([0.05, 0.95])
    low, high = again.forecast(window).quantile(levels)
    np.testing.assert_allclose((low, high), model.forecast(window).quantile(levels), rtol=1e-5)
    assert (high > low).all()


@pytest.mark.parametrize("level", [0.1, 0.3, 7.0])
def test_a_constant_whose_mean_rounds_is_a_constant(level):
    values = waves()
    values[:, 2] = level
    later = values.copy()
    later[100:, 2] += 1e-9
    detector = ChimeraAnomalyDetector(**TINY, lookback=8, steps=2).fit(values)
    assert detector.spread_[2] == 1
    np.testing.assert_allclose(detector.score_samples(later), detector.score_samples(values), rtol=1e-3)
    scale = Scale.of([Series(values)], "series", Late([Series(values)], 8, 2))
    assert scale.spread[2] == 1


def test_data_frames_of_pandas_bring_their_dates():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(waves(40), columns=["a", "b", "c"], index=pandas.date_range("2024-01-01", periods=40))
    read = Observed.of(frame).series
    assert (read.names, read.step) == (("a", "b", "c"), "1 day")


def test_gaps_are_refused_or_masked():
    values = waves()
    values[30:34, 1] = np.nan
    values[-3, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        ChimeraForecaster(4, 16, **QUICK).fit(values)
    model = ChimeraForecaster(4, 16, **QUICK, nan="mask").fit(values)
    ahead = model.predict(values)
    assert np.isfinite(ahead).all()
    # What stands in a gap, and was not seen, is not looked at.
    assert np.abs(ahead[:, 1] - waves(164, noise=0)[160:, 1]).max() < 2.5
    with pytest.raises(InputError, match="never seen"):
        Observed.of(np.full((5, 1), np.nan), gaps=True)


def test_a_closed_loop_may_run_longer():
    model = ChimeraForecaster(4, 16, **QUICK, mode="closed_loop").fit(waves())
    longer = model.predict(waves(), horizon=9)
    np.testing.assert_allclose(longer[:4], model.predict(waves()), atol=1e-5)
    assert longer.shape == (9, 3)
    with pytest.raises(InputError, match="sum of its heads"):
        model.decompose(waves())


def test_a_forecaster_comes_back_from_its_file(forecaster, tmp_path):
    path = forecaster.save(tmp_path / "model.safetensors")
    again = ChimeraForecaster.load(path)
    np.testing.assert_allclose(again.predict(waves()), forecaster.predict(waves()), atol=1e-6)
    assert again.forecast(waves()[None, -16:]).values.shape == forecaster.forecast(waves()[None, -16:]).values.shape
    with pytest.raises(WeightsError, match="ChimeraClassifier"):
        ChimeraClassifier.load(path)
    (tmp_path / "bad.safetensors").write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError):
        ChimeraForecaster.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ChimeraForecaster(0), "horizon"),
        (lambda: ChimeraForecaster(4, mode="spiral"), "mode"),
        (lambda: ChimeraForecaster(4, mode="closed_loop", nan="mask"), "whole window"),
        (lambda: ChimeraForecaster(4, 16).fit(np.zeros((10, 2))), "a series needs 20 values"),
        (lambda: ChimeraForecaster(4, 16).fit([["a", "b"]]), "numbers"),
        (lambda: ChimeraForecaster(4, 16).fit(np.zeros((0, 2))), "shape"),
        (lambda: ChimeraForecaster(4, 16).predict(np.zeros((16, 2))), "knows nothing yet"),
        (lambda: ChimeraForecaster(4, 16).variate_influence(np.zeros((16, 2))), "knows nothing yet"),
        (lambda: ChimeraForecaster(4, 16).checkpoint(), "knows nothing yet"),
        (lambda: ChimeraForecaster(4, 77), "lookback=75 or 78"),
        (lambda: ChimeraForecaster(4, 16, patch=0), "patch"),
        (lambda: ChimeraForecaster(4, 16, transition="scaler"), "transition"),
        (lambda: ChimeraForecaster(4, 16, batch_size=0), "batch_size"),
        (lambda: ChimeraForecaster(4, 16, learning_rate=-1.0), "learning_rate"),
        (lambda: ChimeraForecaster(4, 16, weight_decay=-1.0), "weight_decay"),
        (lambda: ChimeraForecaster(4, 16, steps=0), "steps"),
        (lambda: ChimeraForecaster(4, 16, **QUICK).fit(1e300 * waves()), "cannot be squared"),
        (lambda: ChimeraAnomalyDetector(batch_size=0), "batch_size"),
        (lambda: ChimeraAnomalyDetector(learning_rate=np.nan), "learning_rate"),
        (lambda: ChimeraAnomalyDetector(lookback=1), "lookback"),
        (lambda: ChimeraClassifier(**TINY, learning_rate=None).fit(*tones()), "learning_rate"),
        (lambda: ChimeraClassifier(**TINY, transition="scaler").fit(*tones()), "transition"),
        (lambda: ChimeraClassifier(**TINY, patch=0).fit(*tones()), "patch"),
    ],
)
def test_bad_input(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_windows_and_horizons_that_do_not_fit(forecaster):
    with pytest.raises(InputError, match="16 rows"):
        forecaster.predict(waves()[:5])
    with pytest.raises(InputError, match="3 variables"):
        forecaster.predict(waves()[:, :2])
    with pytest.raises(InputError, match="1 to 4 steps"):
        forecaster.predict(waves(), horizon=5)
    with pytest.raises(InputError, match="horizon"):
        forecaster.predict(waves(), horizon=2.5)


def test_gaps_in_a_window_are_refused_in_every_way_in(forecaster):
    window = waves()[-16:]
    window[3, 1] = np.nan
    for read in (forecaster.forecast, forecaster.point):
        with pytest.raises(InputError, match="not finite"):
            read(window[None])


def test_constant_variables_are_no_trouble():
    values = waves()
    values[:, 2] = 7
    ahead = ChimeraForecaster(4, 16, **QUICK).fit(values).predict(values)
    np.testing.assert_allclose(ahead[:, 2], 7, atol=0.05)


def test_the_table_holds_every_rule(forecaster):
    series = Series(waves(240), ("a", "b", "c"))
    past = Series(series.values[:160], series.names, series.times[:160])
    table = compare({"Chimera": forecaster}, past, series, 25, 5, classical=False)
    assert set(table["forecaster"]) == {"Chimera", "persistence", "seasonal naive", "AR(12) ridge", "seasonal AR ridge"}
    assert table["MSE"].is_sorted()


def test_seriation_brings_together_what_moves_together():
    """A chain of mixtures, shuffled: the order is the chain's, up to its direction."""
    random = np.random.default_rng(0)
    source = random.standard_normal((2000, 12))
    chain = np.stack([source[:, i : i + 5].sum(1) for i in range(8)], 1)
    shuffle = random.permutation(8)
    found = shuffle[seriation(chain[:, shuffle])]
    assert found.tolist() in (list(range(8)), list(range(8))[::-1])


# -------------------------------------------------------------------------------------------------------- classes


@parametrize_with_checks(
    [ChimeraClassifier(**TINY, dropout=0.0, epochs=8, batch_size=20, learning_rate=0.04, patch=1, seasonal=False)]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def tones(count=32, seed=0):
    random = np.random.default_rng(seed)
    labels = np.array(["slow", "fast"])[np.arange(count) % 2]
    sequences = []
    for label in labels:
        length = int(random.integers(20, 30))
        t = np.arange(length) + random.uniform(0, 9)
        wave = np.sin((0.3 if label == "slow" else 0.9) * t)
        sequences.append(np.stack([random.standard_normal(length), wave], 1))
    return sequences, labels


def test_classes_of_sequences_of_many_lengths_and_their_file(tmp_path):
    X, y = tones()
    model = ChimeraClassifier(**TINY, dropout=0.0, epochs=30, batch_size=8, learning_rate=0.02).fit(X, y)
    test, truth = tones(seed=1)
    assert model.score(test, truth) >= 0.9
    again = ChimeraClassifier.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(again.predict_proba(test), model.predict_proba(test), atol=1e-6)
    with pytest.raises(InputError, match="2 channels"):
        model.predict([np.zeros((20, 3))])
    with pytest.raises(InputError, match="NaN"):
        model.predict([np.full((20, 2), np.nan)])
    with pytest.raises(InputError, match="as many"):
        ChimeraClassifier(**TINY).fit(X, y[:3])
    with pytest.raises(InputError, match="epochs"):
        ChimeraClassifier(**TINY, epochs=0).fit(X, y)


def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path):
    X, y = tones()
    model = ChimeraClassifier(**{**TINY, "d_model": np.int64(6)}, epochs=np.int32(1)).fit(X, y)
    again = ChimeraClassifier.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-6)


# ------------------------------------------------------------------------------------------------------ anomalies


@pytest.fixture(scope="module")
def detector():
    return ChimeraAnomalyDetector(**TINY, lookback=24, steps=40, batch_size=8).fit(waves(240))


def test_a_stream_gives_the_same_scores(detector):
    detector.reset()
    streamed = [detector.partial_update(row) for row in waves(60)]
    np.testing.assert_allclose(streamed, detector.score_samples(waves(60)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(detector.variable_scores(waves(60)).mean(1), detector.score_samples(waves(60)))


def test_a_spike_is_seen_and_the_state_does_not_grow(detector):
    values = waves(120, seed=1)
    values[80, 2] += 0.4
    assert detector.predict(values)[80]
    detector.reset()
    sizes = set()
    for row in values[:20]:
        detector.partial_update(row)
        state = detector._state[0]
        sizes.add((state.recent.numel(), sum(h.numel() for head in state.heads for sweep in head for h in sweep)))
    assert len(sizes) == 1


def test_scores_do_not_see_the_future(detector):
    assert future_leak(lambda values: detector.score_samples(values)[:50], waves(80), 50) == 0


def test_a_detector_comes_back_from_its_file(detector, tmp_path):
    again = ChimeraAnomalyDetector.load(detector.save(tmp_path / "model.safetensors"))
    np.testing.assert_allclose(again.score_samples(waves(50)), detector.score_samples(waves(50)), rtol=1e-5)
    assert again.threshold_ == detector.threshold_


def test_bad_rows(detector):
    with pytest.raises(InputError, match="3 finite values"):
        detector.partial_update([1.0, np.nan, 2.0])
    with pytest.raises(InputError, match="3 finite values"):
        detector.partial_update(["a", "b", "c"])
    with pytest.raises(InputError, match="3 variables"):
        detector.score_samples(waves()[:, :2])
    with pytest.raises(InputError, match="knows nothing"):
        ChimeraAnomalyDetector().predict(waves())
    with pytest.raises(InputError, match="quantile"):
        ChimeraAnomalyDetector(quantile=1.5)


def test_scores_of_anomalies_against_scikit_learn():
    random = np.random.default_rng(0)
    labels = np.zeros(400, bool)
    labels[100:120] = labels[300:310] = True
    scores = random.random(400) + 0.5 * labels
    found = anomaly_scores(labels, scores, 0.9, buffer=0)
    assert found.f1 == pytest.approx(f1_score(labels, scores > 0.9))
    assert found.average_precision == pytest.approx(average_precision_score(labels, scores))
    assert found.vus_roc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert found.f1_point_adjusted > found.f1


def test_point_adjustment_praises_chance_and_the_volumes_do_not():
    random = np.random.default_rng(1)
    labels = np.zeros(2000, bool)
    labels[500:700] = labels[1500:1600] = True
    found = anomaly_scores(labels, random.random(2000), 0.97)
    assert found.f1_point_adjusted > 0.8 > 0.3 > found.vus_pr
    perfect = anomaly_scores(labels, labels + 0.01 * random.random(2000), 0.5)
    assert perfect.f1 == 1
    assert perfect.vus_roc > 0.97
    with pytest.raises(InputError, match="some moments"):
        anomaly_scores(np.zeros(5, bool), np.zeros(5), 0.5)
    with pytest.raises(InputError, match="finite"):
        anomaly_scores(labels, np.where(labels, np.nan, 0.0), 0.5)
    with pytest.raises(InputError, match="buffer"):
        anomaly_scores(labels, 1.0 * labels, 0.5, buffer=-1)


def test_ramps():
    labels = np.zeros(9, bool)
    labels[4] = True
    expected = [0, 0, np.sqrt(0.5), np.sqrt(0.75), 1, np.sqrt(0.75), np.sqrt(0.5), 0, 0]
    np.testing.assert_allclose(softened(labels, 4), expected)
