"""Labels: scales, tags, splits by artist, tables, and the public layouts of the four corpora."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.audio.unified_mer.corpora import read_corpus, read_features
from harmonia.audio.unified_mer.datasets import EmotionDataset, rescaled, tag_rows
from harmonia.audio.unified_mer.tags import MOOD_TAGS
from harmonia.core.errors import InputError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def csv(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@given(st.floats(-5, 5), st.floats(0.1, 20), st.lists(st.floats(0, 1), min_size=2, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_scale_is_mapped_end_to_end(low: float, width: float, shares: list[float]) -> None:
    ratings = low + width * np.array(shares)[:, None].repeat(2, 1)
    found = rescaled(np.clip(ratings, low, low + width), (low, low + width))
    assert np.allclose(found, 1 + 8 * np.array(shares)[:, None], atol=1e-4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([[0.0, 1.0]], [[1.0, 9.0]]), ([[-1.0, 1.0]], [[1.0, 9.0]]), ([[1.5, 8.0]], [[1.5, 8.0]])],
    ids=["0..1", "-1..1", "1..9"],
)
def test_scales_are_guessed(values, expected) -> None:
    assert rescaled(np.array(values), None).tolist() == expected


@pytest.mark.parametrize("values", [[[0.0, 5.0]], [[1.0, 12.0]]])
def test_scales_that_cannot_be_guessed_are_asked_for(values) -> None:
    with pytest.raises(InputError, match="cannot be guessed"):
        rescaled(np.array(values), None)


def test_ratings_outside_a_declared_scale_are_named_by_row() -> None:
    with pytest.raises(InputError, match="rows 2, 3"):
        rescaled(np.array([[1.0, 2.0], [0.0, 2.0], [3.0, 9.5]]), (1.0, 9.0))


def test_tables_of_both_kinds_are_read(tmp_path: Path) -> None:
    for name in ("a.mp3", "b.wav"):
        touch(tmp_path / name)
    ratings = csv(tmp_path / "r.csv", "path,Valence,Arousal,artist\na.mp3,0.5,0.25,x\nb.wav,1,0,y\n")
    rated = EmotionDataset.read(ratings)
    assert (rated.name, rated.kind, rated.labels.tolist()) == ("r", "va", [[5.0, 3.0], [9.0, 1.0]])
    assert rated.groups == ("x", "y")
    tags = csv(tmp_path / "t.tsv", "path\ttags\na.mp3\thappy;mood/theme---sad\nb.wav\tcalm\n")
    tagged = EmotionDataset.read(tags)
    assert tagged.kind == "tags"
    assert [MOOD_TAGS[tag] for tag in np.flatnonzero(tagged.labels[0])] == ["happy", "sad"]
    own = EmotionDataset.read(
        csv(tmp_path / "o.csv", "path,tags\na.mp3,loud\nb.wav,loud|odd\n"), vocabulary=["loud", "odd"]
    )
    assert own.labels.tolist() == [[1.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,valence,arousal,tags\na.mp3,1,2,sad\n", "needs a column"),
        ("path,loudness\na.mp3,1\n", "needs a column"),
        ("path,valence\na.mp3,1\n", "no column 'arousal'"),
        ("path,tags\nb.mp3,sad\n", "not there"),
        ("path,tags\na.mp3,crunchy\n", "no such tag"),
        ("song,tags\na.mp3,sad\n", "no column 'path'"),
        ("path,valence,arousal\na.mp3,,2\n", "no number"),
    ],
    ids=["both", "neither", "half", "no file", "unknown tag", "no path", "empty cell"],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path / "a.mp3")
    with pytest.raises(InputError, match=message):
        EmotionDataset.read(csv(tmp_path / "labels.csv", text))


def test_the_kind_decides_where_a_table_has_both(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp3")
    table = csv(tmp_path / "labels.csv", "path,valence,arousal,tags\na.mp3,1,2,sad\n")
    assert EmotionDataset.read(table, kind="va").labels.tolist() == [[1.0, 2.0]]
    frame = polars.read_csv(table)
    assert EmotionDataset.read(frame, kind="tags", folder=tmp_path).labels.sum() == 1


def test_a_split_keeps_artists_together() -> None:
    groups = tuple(f"artist {n % 9}" for n in range(60))
    labels = np.random.default_rng(0).uniform(1, 9, (60, 2)).astype(np.float32)
    whole = EmotionDataset("x", "va", labels, groups=groups)
    one, other = whole.split(0.3, seed=1)
    assert not set(one.groups) & set(other.groups)
    assert len(one) + len(other) == 60
    assert 8 <= len(other) <= 24
    with pytest.raises(InputError, match="cannot be split"):
        EmotionDataset("x", "va", labels, groups=("same",) * 60).split(0.3)


def test_labels_and_songs_must_agree() -> None:
    with pytest.raises(InputError, match="as many songs"):
        EmotionDataset("x", "va", np.ones((2, 2), np.float32), groups=("a",))
    with pytest.raises(InputError, match="2 labels"):
        EmotionDataset("x", "va", np.ones((2, 3), np.float32))


# ----------------------------------------------------------------------------------------------------------- corpora


def jamendo(root: Path) -> Path:
    head = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    for part, rows in {
        "train": [
            "t1\ta1\tb1\t48/948.mp3\t9.9\tmood/theme---happy\tmood/theme---fun",
            "t2\ta2\tb2\t14/214.mp3\t9\tmood/theme---sad",
        ],
        "validation": ["t3\ta3\tb3\t03/3.mp3\t9.9\tmood/theme---calm"],
        "test": ["t4\ta4\tb4\t04/4.mp3\t9.9\tmood/theme---dark"],
    }.items():
        csv(root / f"data/splits/split-0/autotagging_moodtheme-{part}.tsv", head + "\n".join(rows) + "\n")
    for name in ("48/948.mp3", "03/3.low.mp3", "mp3/04/4.mp3"):
        touch(root / name)
    return root


def test_jamendo_as_published(tmp_path: Path) -> None:
    parts = read_corpus("jamendo", jamendo(tmp_path))
    assert list(parts) == ["train", "validation", "test"]
    assert len(parts["train"]) == 1  # the sound of the other is not there
    assert [MOOD_TAGS[tag] for tag in np.flatnonzero(parts["train"].labels[0])] == ["fun", "happy"]
    assert parts["train"].groups == ("a1",)
    assert parts["validation"].songs[0].name == "3.low.mp3"


def test_deam_as_published_in_two_files_with_blanks_in_the_header(tmp_path: Path) -> None:
    place = tmp_path / "annotations/annotations averaged per song/song_level"
    head = "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n"
    csv(place / "static_annotations_averaged_songs_1_2000.csv", head + "2, 3.1, 0.9, 3, 0.6\n3, 3.5, 1.7, 3.3, 1.6\n")
    csv(place / "static_annotations_averaged_songs_2000_2058.csv", head + "2001, 6, 1, 7, 1\n")
    for name in (2, 2001):
        touch(tmp_path / f"MEMD_audio/{name}.mp3")
    parts = read_corpus("deam", tmp_path)
    assert list(parts) == ["all"]
    assert parts["all"].labels.tolist() == [[np.float32(3.1), 3.0], [6.0, 7.0]]


def test_emomusic_as_published_with_its_sets(tmp_path: Path) -> None:
    csv(
        tmp_path / "static_annotations.csv",
        "song_id,mean_arousal,std_arousal,mean_valence,std_valence\n2,3.1,1,3,1\n3,3.5,1,3.3,1\n4,5,1,6,1\n",
    )
    csv(
        tmp_path / "songs_info.csv",
        "song_id,Artist,Mediaeval 2013 set\n2,x,development\n3,y,evaluation\n4,z,development\n",
    )
    for name in (2, 3, 4):
        touch(tmp_path / f"clips_45seconds/{name}.mp3")
    parts = read_corpus("emomusic", tmp_path)
    assert {part: len(each) for part, each in parts.items()} == {"train": 2, "test": 1}
    assert parts["test"].labels.tolist() == [[np.float32(3.3), 3.5]]


def test_pmemo_as_published_from_zero_to_one(tmp_path: Path) -> None:
    csv(
        tmp_path / "annotations/static_annotations.csv",
        "musicId,Arousal(mean),Valence(mean)\n1,0.4,0.575\n4,0.2625,0.2875\n",
    )
    for name in (1, 4):
        touch(tmp_path / f"chorus/{name}.mp3")
    found = read_corpus("pmemo", tmp_path)["all"].labels
    assert np.allclose(found, [[5.6, 4.2], [3.3, 3.1]], atol=1e-6)  # the release's table


def release(root: Path, features: bool) -> Path:
    csv(root / "meta/static_annotations.csv", "song_id,valence_mean,valence_std,arousal_mean,arousal_std\n" + "".join(
        f"{n},{n},0.1,{n + 0.5},0.1\n" for n in range(1, 7)
    ))  # fmt: skip
    for part, ids in {"train": (1, 3, 2), "validation": (4,), "test": (5, 6)}.items():
        csv(root / f"meta/split/{part}.txt", "\n".join(map(str, ids)))
    for n in range(1, 7):
        if features:
            for segment in range(11):
                place = root / f"mert_30s/{n}/segment_{segment}.npy"
                place.parent.mkdir(parents=True, exist_ok=True)
                layers = np.full((1, 12, 768), 0.0, np.float32)
                layers[0, 5], layers[0, 6] = segment, 100 + segment
                np.save(place, layers)
            csv(root / f"chord/lab3/{n}.lab", "0.000 2.000 C\n2.000 4.000 F:maj7\n4.000 5.0 N\n")
            csv(root / f"key/{n}.lab", "e- minor" if n % 2 else "E- major")
        else:
            touch(root / f"mp3/{n}.mp3")
    return root


def test_the_releases_own_folders_with_its_splits(tmp_path: Path) -> None:
    parts = read_corpus("deam", release(tmp_path, features=False))
    assert parts["train"].labels[:, 0].tolist() == [1.0, 3.0, 2.0]
    assert [song.name for song in parts["test"].songs] == ["5.mp3", "6.mp3"]


def test_the_releases_features_are_read_instead_of_sound(tmp_path: Path) -> None:
    parts = read_corpus("pmemo", release(tmp_path, features=True))
    table = parts["train"].table
    assert table is not None
    assert table.segments.shape == (33, 1536)
    # In the order of numbers, not of names: segment 10 comes last; layers 5 and 6 side by side.
    assert table.segments[:11, 0].tolist() == list(range(11))
    assert table.segments[10, [767, 768]].tolist() == [10.0, 110.0]
    # The labels are transposed already: C stays C.
    assert table.roots[0, :4].tolist() == [1, 6, 0, 0]
    assert table.qualities[0, :4].tolist() == [1, 13, 0, 0]
    assert table.minor.tolist() == [1, 1, 0]


@pytest.mark.parametrize("corpus", ["jamendo", "deam", "emomusic", "pmemo"])
def test_other_folders_are_refused_with_what_was_expected(tmp_path: Path, corpus) -> None:
    touch(tmp_path / "something.txt")
    with pytest.raises(InputError, match="laid out otherwise"):
        read_corpus(corpus, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_corpus(corpus, tmp_path / "nowhere")


def test_features_that_are_none_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "mert_30s/1/segment_0.npy")
    with pytest.raises(InputError, match="cannot be read"):
        read_features(tmp_path, "1")


def test_rows_of_tags() -> None:
    assert tag_rows([[], ["sad", "sadness"]]).sum(1).tolist() == [0.0, 1.0]
