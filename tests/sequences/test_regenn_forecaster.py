"""Fitting, scales, linear starts, evaluation, what leaks and what does not."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.data import Panel, coupled_panel
from harmonia.media import Series
from harmonia.parts.forecasting import NotFitted, Persistence, future_leak
from harmonia.sequences.regenn import ReGENNForecaster, Scaler, compare, cooccurrence, published_protocol, simple_rules
from harmonia.sequences.regenn.evaluation import PanelScores, measure
from harmonia.sequences.regenn.forecaster import as_panel, carried, least_times, panel_cooccurrence
from harmonia.sequences.regenn.published import leaking_scale
from harmonia.sequences.regenn.scaling import Yardstick
from harmonia.sequences.regenn.start import drift, last_value, ridge
from harmonia.sequences.regenn.windows import PanelWindows

TINY = {"steps": 6, "feedforward": 8, "batch_size": 32, "device": "cpu"}


def walk(samples=5, length=50, variables=3, seed=0):
    steps = np.random.default_rng(seed).standard_normal((samples, length, variables))
    return Panel(100 + steps.cumsum(1), samples=[f"s{i}" for i in range(samples)])


class TestScales:
    @pytest.mark.parametrize("kind", ["window", "maximum", "standard"])
    def test_scales_are_undone_and_follow_units(self, kind):
        windows = torch.from_numpy(walk().values[:, :20])
        norm = Scaler.of(windows, kind)(windows)
        torch.testing.assert_close(norm.undo(norm.apply(windows)), windows)
        other = Scaler.of(1000 * windows, kind)(1000 * windows)
        torch.testing.assert_close(other.apply(1000 * windows), norm.apply(windows))

    def test_window_scale(self):
        window = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]])
        norm = Scaler("window", torch.zeros(2), torch.ones(2), torch.tensor([0.1, 0.1]))(window)
        torch.testing.assert_close(norm.mean, torch.tensor([[[2.0, 5.0]]]))
        torch.testing.assert_close(norm.spread, torch.tensor([[[1.0, 0.1]]]))

    def test_constant_windows_have_a_scale(self):
        windows = torch.full((4, 6, 2), 7.0)
        for kind in ("window", "maximum", "standard"):
            assert Scaler.of(windows, kind)(windows).apply(windows).isfinite().all()
        assert (Yardstick.of(windows, by_window=True)(windows) > 0).all()

    def test_yardstick_in_units_of_the_data(self):
        windows = torch.from_numpy(walk().values[:, :20])
        same = Yardstick.of(windows, by_window=False)(windows)
        assert (same == same[:1]).all()
        assert (Yardstick.of(windows, by_window=True)(windows) != same).any()


class TestStart:
    def test_lines_go_on(self):
        lines = torch.arange(10.0, dtype=torch.float64)[None, :, None] * torch.tensor([2.0, -1.0]).double() + 3
        torch.testing.assert_close(drift(6, 4, 2)(lines[:, :6]), lines[:, 6:])
        torch.testing.assert_close(last_value(6, 4, 2)(lines[:, :6]), lines[:, 5:6].expand(-1, 4, -1))

    @pytest.mark.parametrize("shared", [True, False])
    def test_ridge_is_least_squares_on_what_is_known(self, shared):
        generator = torch.Generator().manual_seed(0)
        x, y = (torch.randn(90, steps, 2, generator=generator, dtype=torch.float64) for steps in (5, 3))
        known = torch.rand(y.shape, generator=generator) < 0.9
        rule = ridge(x, y, known, penalty=0.0, shared=shared)
        for variable in range(2):
            columns = slice(None) if shared else [variable]
            whole = known[..., columns].all(1)
            exact = LinearRegression().fit(x[..., columns].mT[whole], y[..., columns].mT[whole])
            np.testing.assert_allclose(rule.weights[variable].T, exact.coef_, atol=1e-6)
            np.testing.assert_allclose(rule.bias[:, variable], exact.intercept_, atol=1e-6)


class TestWindows:
    def test_all_windows_by_hand(self):
        panel = walk(samples=2, length=9)
        windows = PanelWindows(panel, torch.from_numpy(panel.present), 3, 2, first=5, last=9)
        batch = windows.all()
        assert len(windows) == 2 * 3
        for number in range(6):
            sample, start = divmod(number, 3)
            rows = panel.values[sample, 2 + start : 7 + start]
            np.testing.assert_array_equal(batch.past[number], rows[:3])
            np.testing.assert_array_equal(batch.future[number], rows[3:])
        drawn = windows.draw(50, torch.Generator().manual_seed(0))
        assert {float(x) for x in drawn.future[:, 0, 0]} <= {float(x) for x in batch.future[:, 0, 0]}

    def test_too_short(self):
        panel = walk(length=9)
        with pytest.raises(InputError, match="need 12 times"):
            PanelWindows(panel, torch.from_numpy(panel.present), 6, 6, 0, 9)


def lines(samples=6, length=40):
    """A panel that the first rule predicts exactly, so that no step of training is better."""
    slopes = np.random.default_rng(0).uniform(1, 2, (samples, 1, 2))
    return Panel(5 + slopes * np.arange(length)[:, None], ("a", "b"))


class TestForecaster:
    def test_it_learns_that_variables_follow_others(self):
        panel, _ = coupled_panel(samples=24, length=120, variables=4)
        model = ReGENNForecaster(8, 3, steps=120, feedforward=16).fit(panel.until(100))
        scores = compare({"ReGENN": model, "persistence": Persistence(3)}, panel, 100)
        assert model.steps_ > 0
        assert min(each["error"] for each in model.history_) < model.history_[0]["error"]
        assert scores["ReGENN"].mae < 0.6 * scores["persistence"].mae

    def test_lines_stay_lines_where_training_does_not_pay(self):
        slopes = np.random.default_rng(0).uniform(1, 2, (6, 1, 2))
        lines = 5 + slopes * np.arange(40)[:, None]
        model = ReGENNForecaster(6, 4, scaling="window", **TINY).fit(lines[:, :36])
        np.testing.assert_allclose(model.predict(), lines[:, 36:], rtol=1e-3)

    def test_same_seed_same_forecast_and_fit_forgets(self):
        panel = walk()
        model = ReGENNForecaster(6, 3, **TINY)
        first = model.fit(panel).predict()
        np.testing.assert_array_equal(model.fit(walk(seed=1)).fit(panel).predict(), first)
        other = ReGENNForecaster(6, 3, random_state=1, **TINY).fit(panel)
        assert other.network_.graph("source").ne(model.network_.graph("source")).any()

    def test_units_of_a_variable_do_not_matter(self):
        panel = walk()
        units = np.array([1.0, 64.0, 0.25])
        found = ReGENNForecaster(6, 3, **TINY).fit(panel).predict()
        scaled = ReGENNForecaster(6, 3, **TINY).fit(panel.values * units).predict()
        np.testing.assert_allclose(scaled / units, found, rtol=1e-4)

    @pytest.mark.parametrize("scaling", ["window", "maximum", "standard", "auto"])
    def test_no_future_enters(self, scaling):
        panel = walk(samples=3)

        def run(whole):
            past = whole[:40].reshape(40, 3, 3).swapaxes(0, 1)
            return ReGENNForecaster(6, 3, scaling=scaling, **TINY).fit(past).predict()

        assert future_leak(run, panel.values.swapaxes(0, 1).reshape(50, 9), origin=40) == 0

    def test_a_forecast_sees_its_window_only(self):
        panel = walk()
        model = ReGENNForecaster(6, 3, **TINY).fit(panel)
        windows = np.random.default_rng(0).standard_normal((7, 6, 3)) + 100
        np.testing.assert_allclose(model.point(windows)[:1], model.point(windows[:1]), rtol=1e-5)

    def test_distribution(self):
        model = ReGENNForecaster(6, 3, **TINY).fit(walk(samples=20))
        found = model.predict_distribution()
        low, middle, high = found.quantile(np.array([0.05, 0.5, 0.95]))
        assert found.shape == (20, 3, 3)
        assert (low < middle).all()
        assert (middle < high).all()
        spread = (high - low).mean((0, 2))
        assert spread[2] > 1.2 * spread[0]  # a random walk is less sure the further it goes
        np.testing.assert_allclose(middle, model.predict(), atol=0.3)

    def test_gaps_are_filled_by_the_past_and_not_scored(self):
        values = walk(samples=4).values.copy()
        values[0, :5, 1] = np.nan
        values[2, 20:24, 0] = np.nan
        values[3, -2:, 2] = np.nan
        panel = Panel(values)
        found = ReGENNForecaster(6, 3, **TINY).fit(panel).predict()
        assert np.isfinite(found).all()
        scores = compare({"persistence": Persistence(3)}, panel, 40)
        assert np.isfinite(scores["persistence"].mae)

    @pytest.mark.parametrize("missing", [0.05, 0.3, 0.6])
    def test_scattered_gaps_leave_errors_to_judge_by(self, missing):
        values = walk(samples=20, length=60, variables=4).values.copy()
        values[np.random.default_rng(0).random(values.shape) < missing] = np.nan
        model = ReGENNForecaster(8, 4, **TINY).fit(values)
        assert model.errors_.shape == (60, 4, 4)
        low, high = model.predict([0.05, 0.95])
        assert (low < high).all()

    def test_a_gap_takes_the_error_of_a_neighbour(self):
        nan = torch.nan
        errors = torch.tensor([[1.0, nan, nan], [2.0, 5.0, nan], [nan, 6.0, nan]])[..., None]
        whole = carried(carried(errors, 0), 1)[..., 0]
        torch.testing.assert_close(whole, torch.tensor([[1.0, 6.0, 6.0], [2.0, 5.0, 5.0], [2.0, 6.0, 6.0]]))
        assert carried(torch.full((2, 2, 1), nan), 0).isnan().all()

    def test_a_window_may_lack_a_variable(self):
        panel = walk()
        model = ReGENNForecaster(6, 3, **TINY).fit(panel)
        window = panel.values[:1, -6:].copy()
        window[..., 1] = np.nan
        filled = window.copy()
        filled[..., 1] = model.typical_[1]
        np.testing.assert_array_equal(model.point(window), model.point(filled))
        np.testing.assert_array_equal(model.point(filled.tolist()), model.point(filled))
        window[0, 0, 0] = np.inf
        with pytest.raises(InputError, match="infinite"):
            model.point(window)

    @pytest.mark.parametrize(("rows", "place"), [(slice(0, 54), "first"), (slice(54, None), "last")], ids=str)
    def test_a_variable_is_known_at_first_and_at_last(self, rows, place):
        values = walk(length=60).values.copy()
        values[:, rows, 1] = np.nan
        with pytest.raises(InputError, match=f"'value_2' is missing at all of the {place} times"):
            ReGENNForecaster(6, 3, **TINY).fit(values)

    @pytest.mark.parametrize(("window", "horizon"), [(6, 3), (88, 5)])
    def test_the_length_that_is_told_is_enough(self, window, horizon):
        needed = least_times(window, horizon)
        model = ReGENNForecaster(window, horizon, **TINY)
        with pytest.raises(InputError, match=f"need {needed} times"):
            model.fit(walk(length=needed - 1))
        assert model.fit(walk(length=needed)).predict().shape == (5, horizon, 3)

    def test_no_graph_is_shown_where_none_was_learnt(self):
        model = ReGENNForecaster(6, 4, scaling="window", **TINY).fit(lines())
        assert model.steps_ == 0
        for which in ("source", "target"):
            with pytest.raises(InputError, match=f"no {which} graph was learnt"):
                model.graph_(which)
        assert model.graph_("cooccurrence").shape == (2, 3)
        titles = [axes.get_title(loc="left") for axes in model.plot_graph().figure.axes]
        assert "Co-occurrence" in "".join(titles)
        assert "Source" not in "".join(titles)

    def test_without_a_linear_map_there_is_no_rule_to_begin_from(self):
        assert ReGENNForecaster(6, 3, **TINY).fit(walk()).start_
        assert ReGENNForecaster(6, 3, autoregression=False, **TINY).fit(walk()).start_ is None

    def test_a_graph_may_be_given(self):
        given = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
        model = ReGENNForecaster(6, 3, adjacency=given, **TINY).fit(walk())
        np.testing.assert_array_equal(model.graph_("cooccurrence").drop("variable").to_numpy(), given)
        with pytest.raises(InputError, match="finite array"):
            ReGENNForecaster(6, 3, adjacency=given[:2, :2], **TINY).fit(walk())
        with pytest.raises(InputError, match="begins from none"):
            ReGENNForecaster(6, 3, adjacency=given, graph=False)

    def test_counts_stay_counts_and_logarithms_are_undone(self):
        counts = np.exp(0.05 * np.arange(60))[None, :, None] * np.random.default_rng(0).uniform(1, 9, (5, 1, 2))
        model = ReGENNForecaster(8, 4, log=True, **TINY).fit(counts[:, :56])
        np.testing.assert_allclose(model.predict(), counts[:, 56:], rtol=0.05)
        zeros = np.zeros((3, 40, 2))
        zeros[0, :, 0] = np.arange(40)[::-1]
        model = ReGENNForecaster(6, 3, **TINY).fit(zeros)
        assert model.predict_distribution().quantile(np.array([0.01])).min() >= 0

    def test_graphs_have_names(self):
        panel = Panel(walk().values, ("a", "b", "c"))
        graph = ReGENNForecaster(6, 3, **TINY).fit(panel).graph_("target")
        assert graph.columns == ["variable", "a", "b", "c"]
        assert graph["variable"].to_list() == ["a", "b", "c"]

    def test_long_frames_and_quantiles(self):
        panel = Panel(walk().values, ("a", "b", "c"))
        model = ReGENNForecaster(6, 3, **TINY)
        first = model.fit(panel).predict()
        np.testing.assert_array_equal(
            model.fit(panel.table().frame.sample(fraction=1, shuffle=True, seed=0)).predict(), first
        )
        low, high = model.predict([0.1, 0.9])
        assert (low <= high).all()
        assert model.plot_graph().figure.axes

    @pytest.mark.parametrize(
        "network",
        [{"graph": False}, {"attend": "samples"}, {"autoregression": False}, {"own_maps": False, "gate": "gru"}],
        ids=["ablation", "samples", "no linear map", "one map"],
    )
    def test_options(self, network):
        model = ReGENNForecaster(6, 3, **TINY, loss="data", **network).fit(walk())
        assert np.isfinite(model.predict()).all()

    @pytest.mark.parametrize(
        ("values", "options", "what"),
        [
            (np.zeros((3, 11, 2)), {}, "12 times"),
            (np.zeros((3, 40, 1)), {}, "needs two"),
            (-np.ones((3, 40, 2)), {"log": True}, "not negative"),
            (np.full((3, 40, 2), np.nan), {}, "missing everywhere"),
            (np.full((3, 40, 2), np.inf), {}, "infinite"),
            (np.full((3, 40, 2), 1e16), {}, "too large"),
            (np.zeros((3, 40)), {}, "samples, time, variables"),
        ],
        ids=["short", "one variable", "log", "missing", "infinite", "huge", "flat"],
    )
    def test_bad_panels(self, values, options, what):
        with pytest.raises(InputError, match=what):
            ReGENNForecaster(6, 3, **TINY, **options).fit(
                Panel(values) if values.ndim == 3 else as_panel(Panel(values))
            )

    def test_bad_use(self):
        with pytest.raises(InputError, match="knows nothing"):
            ReGENNForecaster(6, 3).point(np.zeros((1, 6, 2)))
        with pytest.raises(InputError, match="no panel"):
            ReGENNForecaster(6, 3).predict()
        for ask in (ReGENNForecaster(6, 3).graph_, ReGENNForecaster(6, 3).plot_graph, ReGENNForecaster(6, 3).predict):
            with pytest.raises(NotFittedError):
                ask()
        assert issubclass(NotFitted, InputError)
        with pytest.raises(InputError, match="fields this model does not know"):
            ReGENNForecaster(6, 3, heads=4)
        model = ReGENNForecaster(6, 3, **TINY).fit(walk())
        with pytest.raises(InputError, match="shape"):
            model.point(np.zeros((1, 5, 3)))
        with pytest.raises(InputError, match="same variables"):
            model.fit([Series(np.zeros((40, 2))), Series(np.zeros((41, 2)))])

    @pytest.mark.parametrize(
        "options",
        [{"steps": 0}, {"batch_size": 0}, {"learning_rate": -1.0}, {"learning_rate": np.nan}, {"draws": 0}],
        ids=str,
    )
    def test_bad_numbers(self, options):
        with pytest.raises(InputError, match=f"{next(iter(options))}"):
            ReGENNForecaster(6, 3, **options)

    @pytest.mark.parametrize(
        ("series", "what"),
        [
            (pandas.DataFrame({"a": [1.0, 2], "b": [2.0, 1]}), "polars.from_pandas"),
            ([np.zeros((40, 2))] * 2, "fitted to series"),
            ([Series(np.zeros((40, 2)), index=np.arange(40.0) + shift) for shift in (0, 7)], "different times"),
        ],
        ids=["pandas", "arrays", "other times"],
    )
    def test_what_is_no_panel(self, series, what):
        with pytest.raises(InputError, match=what):
            as_panel(series)

    def test_a_series_is_a_panel_of_one_sample(self):
        assert as_panel(Series(np.zeros((40, 2)))).values.shape == (1, 40, 2)

    def test_copies_are_told(self):
        class Heard:
            messages = ""

            def step(self, label, done, total): ...

            def say(self, message):
                self.messages += message

        values, heard = walk().values, Heard()
        with watched(heard):
            ReGENNForecaster(6, 3, **TINY).fit(
                Panel(np.concatenate([values, values[..., :1]], 2), ("a", "b", "c", "d"))
            )
        assert "'d' is a copy of 'a'" in heard.messages


class TestEvaluation:
    def test_scores_by_hand(self):
        truth = np.array([[[1.0], [3.0]]])
        found = PanelScores.of(np.array([[[2.0], [1.0]]]), truth, np.array([[[True], [True]]]), np.array([[2.0]]))
        assert found == pytest.approx((1.5, np.sqrt(2.5), np.mean([np.log(3 / 2) ** 2, np.log(2 / 4) ** 2]), 0.75))

    def test_all_windows_are_judged_once(self):
        panel = walk(samples=2, length=20)
        found = compare({"persistence": Persistence(3)}, panel, 14, stride=2)["persistence"]
        errors = [panel.values[s, o : o + 3] - panel.values[s, o - 1] for s in range(2) for o in (14, 16)]
        assert found.mae == pytest.approx(np.abs(errors).mean())
        assert found.rmse == pytest.approx(np.sqrt(np.square(errors).mean()))

    def test_rules_stand_beside(self):
        panel = walk(samples=2, length=60)
        names = {"persistence", "drift", "seasonal naive", "AR(12) ridge", "seasonal AR ridge", "ETS", "Theta"}
        assert set(simple_rules(panel.until(50), 3, season=4)) == names - {"seasonal AR ridge"}
        assert set(simple_rules(panel.until(50), 3)) == names - {"seasonal naive", "seasonal AR ridge"}

    def test_what_cannot_be_compared(self):
        panel = walk(samples=2, length=60)
        with pytest.raises(InputError, match="season of 52 steps"):
            simple_rules(panel.until(48), 2, season=52)
        with pytest.raises(InputError, match="season of 52 steps"):
            compare({"persistence": Persistence(2)}, panel, 48, season=52)
        blank = panel.values.copy()
        blank[:, 48:] = np.nan
        with pytest.raises(InputError, match="where nothing is known"):
            compare({"persistence": Persistence(2)}, Panel(blank), 48)

    def test_ranked_by_what_all_have(self):
        with_scale, without = (PanelScores(1.0, 1.0, 1.0, each) for each in (0.5, float("nan")))
        assert (measure({"a": with_scale}), measure({"a": with_scale, "b": without})) == ("mase", "mae")

    def test_no_room(self):
        with pytest.raises(InputError, match="before and 3 after"):
            compare({"persistence": Persistence(3)}, walk(length=20), 19)

    def test_presence_means_the_same_in_every_span(self):
        values = np.abs(walk().values)
        values[:, ::2, 1] = 0
        values[0, -1, 2] = -1
        part = panel_cooccurrence(values[:, :20], values, relative=False)
        there = np.ones((5, 20, 3), bool)
        mean = np.abs(values).mean((0, 1))
        expected = cooccurrence(torch.from_numpy(values[:, :20] / mean), torch.from_numpy(there))
        torch.testing.assert_close(part, expected.float())

    def test_units_do_not_matter_for_ties(self):
        values = np.abs(walk().values)
        values[0, :10, 1] = 0
        torch.testing.assert_close(panel_cooccurrence(values), panel_cooccurrence(values * np.array([1, 1000, 0.01])))


class TestPublished:
    def test_scale_holds_the_future(self):
        values = np.random.default_rng(0).uniform(1, 9, (4, 30, 3)).cumsum(1)
        changed = values.copy()
        changed[:, 25:] *= 2
        for axis, leaks in (("variables", False), ("samples", False), ("times", True)):
            past = leaking_scale(values, axis)[:, :25], leaking_scale(changed, axis)[:, :25]
            assert (not np.array_equal(*past)) == leaks
        np.testing.assert_array_equal(leaking_scale(values, "variables"), values.max(2, keepdims=True))

    def test_nothing_learnt_is_right_about_the_largest_variable(self):
        grow = np.exp(np.random.default_rng(0).normal(0.1, 0.2, (6, 40, 1)).cumsum(1))
        panel = Panel(np.concatenate([3 * grow, grow], 2))
        found = published_protocol(panel, 6, 4, steps=3, feedforward=8, device="cpu")
        assert found.nothing_learned.mae == pytest.approx(
            0, abs=1e-9
        )  # the ratios never change: all is the future's scale
        assert found.last.mae > 0.1

    @pytest.mark.parametrize(
        ("values", "what"),
        [(-np.ones((2, 30, 2)), "needs counts"), (np.ones((2, 13, 2)), "14 times")],
        ids=["negative", "short"],
    )
    def test_bad_panels(self, values, what):
        with pytest.raises(InputError, match=what):
            published_protocol(Panel(values), 6, 4)
