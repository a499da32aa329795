from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.media import Series, Table


def read(folder: Path, text: str) -> Series:
    path = folder / "a.csv"
    path.write_text(text)
    return Series.read(path)


def days(start: str, end: str, unit: str = "D") -> np.ndarray:
    return np.arange(start, end, dtype=f"datetime64[{unit}]")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_values_and_times_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    series = Series(values, ["oil", "gas"], days("2020-01-01T06", "2020-01-02T22", "h"))
    again = Series.read(series.write(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.times, series.times)
    assert again.names == ("oil", "gas")
    assert again.step == "1 hour"


@pytest.mark.parametrize(
    ("index", "step", "ahead"),
    [
        (days("2020-02-27", "2020-03-01"), "1 day", ["2020-03-01", "2020-03-02"]),
        (days("2020-01", "2020-04", "M"), "1 month", ["2020-04-01", "2020-05-01"]),
        (days("2020-01", "2021-01", "M")[::3], "3 months", ["2021-01-01", "2021-04-01"]),
        (days("1700", "1703", "Y"), "1 year", ["1703-01-01", "1704-01-01"]),
        (
            np.array(["2020-01-31", "2020-02-29", "2020-03-31"], "datetime64[D]"),
            "1 month",
            ["2020-04-30", "2020-05-31"],
        ),
        (
            np.array(["2020-01-15", "2020-02-15", "2020-03-15"], "datetime64[D]"),
            "1 month",
            ["2020-04-15", "2020-05-15"],
        ),
        (days("2020-01-01", "2020-01-22")[::7], "7 days", ["2020-01-22", "2020-01-29"]),
    ],
)
def test_steps_of_calendars(index: np.ndarray, step: str, ahead: list[str]) -> None:
    series = Series(np.arange(len(index)), index=index)
    assert series.step == step
    assert series.ahead(2).astype("datetime64[D]").astype(str).tolist() == ahead


@given(step=st.integers(1, 10**6), start=st.integers(0, 10**9), count=st.integers(2, 30))
def test_times_ahead_go_on_as_before(step: int, start: int, count: int) -> None:
    index = start + step * np.arange(2 * count, dtype=np.float64)
    np.testing.assert_allclose(Series(np.zeros(count), index=index[:count]).ahead(count), index[count:])
    seconds = index.astype("datetime64[s]")
    known = Series(np.zeros(count), index=seconds[:count])
    if "month" not in known.step and "year" not in known.step:
        np.testing.assert_array_equal(known.ahead(count), seconds[count:].astype("datetime64[us]"))


def test_uneven_times_have_no_step() -> None:
    series = Series([1, 2, 3, 4], index=np.array(["2020-01-01", "2020-01-02", "2020-01-04", "2020-01-05"], "M8[D]"))
    for ask in (lambda: series.step, lambda: series.ahead(1)):
        with pytest.raises(InputError, match="2 days after row 2, but 1 day"):
            ask()
    with pytest.raises(InputError, match="no step"):
        _ = Series([1.0]).step


@pytest.mark.parametrize(
    ("text", "first", "names"),
    [
        ("date,y\n2020-01-01,1\n2020-01-02,2\n", "2020-01-01", ("y",)),
        ("y,when\n1,2020-01-01\n2,2020-01-02\n", "2020-01-01", ("y",)),
        ("month,y\n2020-01,1\n2020-02,2\n", "2020-01-01", ("y",)),
        ("date,y\n31.12.2019,1\n01.01.2020,2\n", "2019-12-31", ("y",)),
        ("YEAR,SUN\n1700,5\n1701,11\n", "1700-01-01", ("SUN",)),
        ("t,y\n0.5,1\n1,2\n", "0.5", ("y",)),
        ('"rownames","y"\n1,5\n2,6\n', "1.0", ("y",)),
        ('"rownames","time","value"\n1,1700,5\n2,1701,6\n', "1700.0", ("value",)),
        ("y,z\n5,1\n6,2\n", "0.0", ("y", "z")),
        ("y\n5\n6\n", "0.0", ("y",)),
    ],
)
def test_the_column_of_times_is_found(tmp_path: Path, text: str, first: str, names: tuple[str, ...]) -> None:
    series = read(tmp_path, text)
    assert str(series.times[0]).startswith(first)
    assert series.names == names


def test_rows_are_put_in_order_of_time(tmp_path: Path) -> None:
    series = read(tmp_path, "date,y\n2020-01-03,3\n2020-01-01,1\n2020-01-02,2\n")
    assert series.values[:, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,id,y\n2020-01-01,a,1\n2020-01-02,a,2\n2020-01-01,b,3\n", "2020-01-01 in rows 1 and 3"),
        ("date,y\n2020-01-01,1\n2020-01-02,\n", "nothing in row 2"),
        ("date,y\n2020-01-01,1\n,2\n", "lacks a time"),
        ("date,word\n2020-01-01,a\n2020-01-02,b\n", "no column of numbers"),
    ],
)
def test_unusable_tables_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"values": np.zeros((0, 1))}, "shape"),
        ({"values": np.zeros((2, 2, 2))}, "shape"),
        ({"values": [1, np.nan], "names": ["oil"]}, "'oil'.*nan in row 2"),
        ({"values": np.zeros((2, 2)), "names": ["a"]}, "1 names for 2"),
        ({"values": np.zeros((2, 2)), "names": ["a", "a"]}, "name of its own"),
        ({"values": [1, 2], "index": [0]}, "2 times"),
        ({"values": [1, 2], "index": [1, 1]}, "do not increase"),
        ({"values": [1, 2], "index": [0, np.nan]}, "do not increase"),
        ({"values": [1, 2], "index": np.array(["NaT", "2020"], "M8[D]")}, "NaT in row 1"),
        ({"values": [1, 2], "index": ["a", "b"]}, "times or numbers"),
    ],
)
def test_unusable_values_and_times_are_named(arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Series(**arguments)


def test_zoned_times_lose_their_zone_and_keep_their_clock() -> None:
    frame = polars.DataFrame({"t": ["2020-01-01T00:00:00+0200", "2020-01-01T01:00:00+0200"], "y": [1.0, 2.0]})
    zoned = frame.with_columns(
        polars.col("t").str.to_datetime("%Y-%m-%dT%H:%M:%S%z").dt.convert_time_zone("Europe/Oslo")
    )
    assert Series.from_table(Table(zoned)).step == "1 hour"


def test_show_draws_at_most_six_variables() -> None:
    figure = Series(np.random.default_rng(0).normal(size=(30, 8)), index=days("2020-01-01", "2020-01-31")).show()
    assert len(figure.axes) == 6
    figure.canvas.draw()
