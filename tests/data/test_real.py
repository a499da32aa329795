"""Real data arrive whole, as our media, with a licence; what is not installed names its extra."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from harmonia import data
from harmonia.core.errors import InputError, MissingDependency
from harmonia.data.abc import read_abc
from harmonia.data.source import Loader, package_folder


@pytest.mark.parametrize(
    "name",
    ["digits", "wine", "breast_cancer", "iris", "diabetes", "nations", "umls", "kinships", "is_land", "cities",
     "boston", "credit_default", "chorale", "chorale_melodies", "lead_sheet", "folk_tunes", "photograph"],
)  # fmt: skip
def test_every_loader_of_real_data_states_its_source(name: str) -> None:
    loader = getattr(data, name)
    assert isinstance(loader, Loader)
    assert all((loader.source.title, loader.source.by, loader.source.licence, loader.source.package))
    assert loader.__doc__


def test_tables_are_complete() -> None:
    for table, shape in ((data.wine(), (178, 14)), (data.breast_cancer(), (569, 31)), (data.diabetes(), (442, 11))):
        assert table.frame.shape == shape
        assert np.isfinite(table.numeric()).all()
    assert set(data.breast_cancer().column("diagnosis")) == {"malignant", "benign"}


def test_suburbs_of_boston() -> None:
    if find_spec("ISLP") is None:
        with pytest.raises(MissingDependency, match="no-deps islp"):
            data.boston()
        return
    assert data.boston().frame.shape == (506, 13)
    assert data.credit_default().frame.shape == (10_000, 4)
    assert set(data.credit_default().column("default")) == {"Yes", "No"}
    assert data.boston().column("medv").mean() == pytest.approx(22.53, abs=0.01)


def test_graph_parts_make_the_whole() -> None:
    for load, count in ((data.nations, 1992), (data.umls, 6529), (data.kinships, 10686)):
        parts = [set(load(part).triples) for part in ("train", "valid", "test")]
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(load().triples) == count
    with pytest.raises(InputError, match="'all', 'train'"):
        data.nations("dev")  # type: ignore[arg-type]


def test_land_is_where_it_is() -> None:
    places = {
        (2.35, 48.86): True, (139.7, 35.7): True, (-60.0, -3.1): True, (0.0, -90.0): True, (151.2, -33.9): True,
        (-30.0, 40.0): False, (160.0, 0.0): False, (330.0, 40.0): False, (0.0, 90.0): False, (180.0, 0.0): False,
    }  # fmt: skip
    assert data.is_land(np.array(list(places))).tolist() == list(places.values())
    points = data.land_ocean(20000, seed=1)
    assert np.array_equal(points.lonlat, data.land_ocean(20000, seed=1).lonlat)
    assert 0.28 < points.land.mean() < 0.30
    with pytest.raises(InputError, match="not on the earth"):
        data.is_land(np.array([[0.0, 91.0]]))
    with pytest.raises(InputError, match="not on the earth"):
        data.is_land(np.array([[np.nan, 1.0]]))


def test_cities_lie_on_land() -> None:
    frame = data.cities().frame
    assert frame.height > 30_000
    assert frame["population"].is_sorted(descending=True)
    assert data.is_land(frame.select("longitude", "latitude").to_numpy()).mean() > 0.97


def test_chorales_carry_their_words() -> None:
    tunes = {tune.title: tune for tune in data.chorale_melodies()}
    tune = tunes["bwv108.6"]
    assert tune.words.startswith("Kommt her zu mir spricht Gottes Sohn")
    assert tune.notes[0].onset == 0
    for before, after in zip(tune.notes, tune.notes[1:]):
        assert after.onset >= before.onset + before.duration - 1e-9
    assert 4 <= sum(note.phrase_end for note in tune.notes) <= 8
    with pytest.raises(InputError, match="no such score"):
        data.chorale("bwv0")


def test_chorale_melody_is_the_soprano_of_the_score() -> None:
    tune = next(tune for tune in data.chorale_melodies() if tune.title == "bwv108.6")
    tempo_free = [note.pitch for note in data.chorale("bwv108.6").notes() if note.track == 0]
    assert [note.pitch for note in tune.notes] == tempo_free


def notes_of(abc: str) -> list[tuple[float, float, int]]:
    [tune] = read_abc("X:1\nT:t\n" + abc, "test")
    return [(note.onset, note.duration, note.pitch) for note in tune.notes]


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("L:1/4\nK:C\nCDc'", [(0, 1, 60), (1, 1, 62), (2, 1, 84)]),
        ("L:1/8\nK:C\nC,2 C/ C// C3/2", [(0, 1, 48), (1, 0.25, 60), (1.25, 0.125, 60), (1.375, 0.75, 60)]),
        ("L:1/4\nK:C\n^F F|F", [(0, 1, 66), (1, 1, 66), (2, 1, 65)]),
        ("L:1/4\nK:Bb\nB =B E", [(0, 1, 70), (1, 1, 71), (2, 1, 63)]),
        ("L:1/4\nK:Ador\nF C", [(0, 1, 66), (1, 1, 60)]),
        ("L:1/8\nK:C\nC>D E<F", [(0, 0.75, 60), (0.75, 0.25, 62), (1, 0.25, 64), (1.25, 0.75, 65)]),
        ("L:1/4\nK:C\n(3CDE F", [(0, 2 / 3, 60), (2 / 3, 2 / 3, 62), (4 / 3, 2 / 3, 64), (2, 1, 65)]),
        ("L:1/4\nK:C\nC-|C D-E", [(0, 2, 60), (2, 1, 62), (3, 1, 64)]),
        ("L:1/4\nK:C\n[CEG]z{d}\"Am\"A", [(0, 1, 67), (2, 1, 69)]),
        ("M:2/4\nK:C\nC", [(0, 0.25, 60)]),
        ("M:4/4\nK:C\nC % comment DEF", [(0, 0.5, 60)]),
        ("L:1/4\nK:C\nC [K:D] F|[L:1/8]F", [(0, 1, 60), (1, 1, 66), (2, 0.5, 66)]),
    ],
)  # fmt: skip
def test_abc(abc: str, expected: list[tuple[float, float, int]]) -> None:
    assert np.allclose(notes_of(abc), expected)


def test_a_folk_tune_as_a_score() -> None:
    tune = data.folk_tunes("aird")[0]
    assert len(tune.score().notes()) == len(tune.notes)
    with pytest.raises(InputError, match="essen, oneill, ryan, aird"):
        data.folk_tunes("nottingham")  # type: ignore[arg-type]


def test_a_package_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(MissingDependency, match=r"pip install 'harmonia\[maps\]'"):
        package_folder("no_such_package_of_ours", extra="maps")
