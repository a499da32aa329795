from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.media import Table, table


def put(folder: Path, data: bytes | str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    text = "name,height,note\nJosé,1.5,a b\nAda,2.5,c\n".replace(",", delimiter)
    frame = Table.read(put(tmp_path, text.encode(encoding))).frame
    assert frame.to_dict(as_series=False) == {"name": ["José", "Ada"], "height": [1.5, 2.5], "note": ["a b", "c"]}


def test_decimal_commas_dates_missing_values_and_truth(tmp_path: Path) -> None:
    text = "day;x;n;ok\n2020-01-02;1,5;NA;true\n2020-01-03;2,25;4;false\n"
    frame = Table.read(put(tmp_path, text)).frame
    assert frame["day"].to_list() == [datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)]
    assert frame["x"].to_list() == [1.5, 2.25]
    assert frame["n"].to_list() == [None, 4]
    assert frame["ok"].to_list() == [True, False]


def test_points_stay_decimal_points_beside_semicolons(tmp_path: Path) -> None:
    frame = Table.read(put(tmp_path, "a;b\n1.5;x,y\n2.5;z\n")).frame
    assert frame.to_dict(as_series=False) == {"a": [1.5, 2.5], "b": ["x,y", "z"]}


def test_a_missing_header_is_replaced(tmp_path: Path) -> None:
    table = Table.read(put(tmp_path, "1,2\n3,4\n"))
    assert table.names == ["column_1", "column_2"]
    np.testing.assert_array_equal(table.numeric(), [[1, 2], [3, 4]])


def test_row_names_without_a_header_get_one(tmp_path: Path) -> None:
    text = '"mpg","cyl"\n"Mazda RX4",21,6\n"Datsun 710",22.8,4\n'
    assert Table.read(put(tmp_path, text)).names == ["row", "mpg", "cyl"]


def test_gzip_and_its_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    assert Table.read(put(tmp_path, packed)).names == ["a", "b"]
    with pytest.raises(InputError, match="cannot be decoded"):
        Table.read(put(tmp_path, packed[:-6]))
    monkeypatch.setattr(table, "FILE_LIMIT", 100_000)
    with pytest.raises(InputError, match="too large"):
        Table.read(put(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)))


def test_a_small_file_of_very_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 10_000_000
    polars.select(**{f"c{i}": polars.repeat(0, rows, dtype=polars.Int8) for i in range(2)}).write_parquet(
        tmp_path / "a.parquet"
    )
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    assert Table.read(tmp_path / "a.parquet").frame.height == rows
    monkeypatch.setattr(table, "CELL_LIMIT", rows)
    with pytest.raises(InputError, match="10,000,000 rows of 2 columns"):
        Table.read(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f8", "<i8", ">u2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_tables(tmp_path: Path, kind: str, order: str) -> None:
    array = np.asarray(np.arange(6).reshape(3, 2) % 5, kind, order=order)
    np.save(tmp_path / "a.npy", array)
    found = Table.read(tmp_path / "a.npy")
    assert found.names == ["x0", "x1"]
    np.testing.assert_array_equal(found.numeric(), array.astype(float))


def test_other_arrays_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npy"
    for array in (np.ones(3), np.ones((2, 2, 2)), np.array([["a", "b"]]), np.ones((2, 2), complex)):
        np.save(path, array)
        with pytest.raises(InputError, match="matrix of numbers"):
            Table.read(path)
    np.save(path, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be decoded"):
        Table.read(path)
    np.save(path, np.ones((0, 2)))
    with pytest.raises(InputError, match="empty"):
        Table.read(path)
    np.save(path, np.ones((4, 5)))
    whole = path.read_bytes()
    for damaged in (whole[:-8], whole[:40], whole.replace(b"(4, 5)", b"(4, -"), whole[:6] + b"\x09" + whole[7:]):
        with pytest.raises(InputError, match="cannot be decoded"):
            Table.read(put(tmp_path, damaged, "b.npy"))
    monkeypatch.setattr(table, "CELL_LIMIT", 19)
    with pytest.raises(InputError, match="too large"):
        Table.read(path)


values = st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**60), 2**60)), min_size=2)


@settings(max_examples=25, deadline=None)
@given(rows=values, suffix=st.sampled_from([".csv", ".tsv", ".parquet"]))
def test_numbers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list, suffix: str) -> None:
    frame = polars.DataFrame(rows, schema={"x": polars.Float64, "n": polars.Int64}, orient="row")
    path = tmp_path_factory.mktemp("t") / f"a{suffix}"
    assert Table.read(Table(frame).write(path)).frame.equals(frame)


def test_near_names_are_offered() -> None:
    frame = Table(polars.DataFrame({"temperature": [1.0], "pressure": [2.0]}))
    assert frame.column("pressure").to_list() == [2.0]
    with pytest.raises(InputError, match="Did you mean 'temperature'"):
        frame.column("Temprature")
    with pytest.raises(InputError, match="temperature, pressure"):
        frame.numeric(["zzz"])


def test_numeric_takes_numbers_and_truth_and_names_what_is_missing() -> None:
    frame = Table(
        polars.DataFrame({"a": [1, 2, None, None], "b": [0.5, 1.5, float("nan"), 2], "c": ["x"] * 4, "d": [True] * 4})
    )
    np.testing.assert_array_equal(frame.numeric(["d"]), np.ones((4, 1)))
    with pytest.raises(InputError, match="nothing in row 3, and 1 rows more"):
        frame.numeric()
    with pytest.raises(InputError, match=r"'b'.*nan in row 3"):
        frame.numeric(["b"])
    with pytest.raises(InputError, match="'c' holds no numbers"):
        frame.numeric(["c"])
    with pytest.raises(InputError, match="no column of numbers"):
        Table(polars.DataFrame({"c": ["x"]})).numeric()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "blank"),
        (b"a,b\n", "0 rows"),
        (b"a,b\n1,2\n3,4,5\n", "cannot be decoded"),
        (b'a,b\n1,"2\n3,4\n', "cannot be decoded"),
        (b'{"a": 1}', "no table"),
        (b"<html><table></table></html>", "no table"),
        (b"\x00\x01\x02\x03", "no text"),
        (b"PK\x03\x04 an excel sheet", "zip data"),
        (b"PAR1 but not the rest", "Parquet"),
        (b"PAR1" + b"\xff" * 100 + b"\x40\0\0\0PAR1", "cannot be decoded"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Table.read(put(tmp_path, data))


def test_a_table_wraps_a_frame_with_rows() -> None:
    with pytest.raises(InputError, match="polars"):
        Table([[1, 2]])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 rows"):
        Table(polars.DataFrame({"a": []}))


def test_nested_columns_are_written_only_to_parquet(tmp_path: Path) -> None:
    nested = Table(polars.DataFrame({"a": [[1, 2], [3]]}))
    with pytest.raises(InputError, match="parquet"):
        nested.write(tmp_path / "a.csv")
    assert Table.read(nested.write(tmp_path / "a.parquet")).frame.equals(nested.frame)


@pytest.mark.parametrize(("number", "kind"), [(2**31 - 1, polars.Date), (-(2**62), polars.Datetime("ms"))])
def test_dates_outside_the_calendar_are_refused(tmp_path: Path, number: int, kind: polars.DataType) -> None:
    physical = polars.Int32 if kind == polars.Date else polars.Int64
    frame = polars.DataFrame({"day": polars.Series([0, number, None], dtype=physical).cast(kind)})
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="'day' holds dates outside the calendar"):
        Table.read(tmp_path / "a.parquet")


def test_show_draws_every_kind_of_column() -> None:
    day = datetime.date(2020, 1, 1)
    frame = polars.DataFrame(
        {"x": [1.0, None], "inf": [1.0, float("inf")], "none": [None, None], "day": [day, day], "w": ["$a", "b"]}
    )
    figure = Table(frame).show()
    assert [axes.get_title() for axes in figure.axes[:5]] == ["x", "inf", "none", "day", "w"]
    assert not figure.axes[5].get_visible()
    figure.canvas.draw()
