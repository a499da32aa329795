"""Collections of labelled songs: three layouts, groups that stay together, folders that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.audio.sonics import LabelledSong, read_collection
from harmonia.audio.sonics.collection import held_out, is_collection, real_songs, targets
from harmonia.core.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound")


def test_folders_of_two_kinds(tmp_path):
    touch(tmp_path, "real/a.mp3", "real/deep/b.wav", "fake/codec/a.mp3", "notes/c.mp3", "real/cover.jpg")
    songs = read_collection(tmp_path)
    assert [(song.path.name, song.target, song.group) for song in songs] == [
        ("a.mp3", 0, "a"),
        ("b.wav", 0, "b"),
        ("a.mp3", 1, "a"),
    ]


def test_folders_below_their_split(tmp_path):
    touch(tmp_path, "train/real/a.mp3", "train/fake/b.mp3", "test/real/c.mp3", "test/fake/d.mp3")
    learn, measure = held_out(read_collection(tmp_path), 0.5, seed=0)
    assert [song.path.name for song in learn] == ["a.mp3", "b.mp3"]
    assert [song.path.name for song in measure] == ["c.mp3", "d.mp3"]


def test_a_table_of_paths(tmp_path):
    touch(tmp_path, "x.wav", "y.wav", "z.wav")
    (tmp_path / "songs.csv").write_text("path,target,group\nx.wav,0,ann\ny.wav,1,ann\nz.wav,1,bob\n")
    songs = read_collection(tmp_path / "songs.csv")
    assert [(song.path.name, song.target, song.group) for song in songs] == [
        ("x.wav", 0, "ann"),
        ("y.wav", 1, "ann"),
        ("z.wav", 1, "bob"),
    ]


def test_the_data_set_of_the_paper(tmp_path):
    touch(tmp_path, "fake_songs/f1.mp3", "fake_songs/f2.mp3", "fake_songs/f3.mp3", "real_songs/r1.mp3")
    (tmp_path / "fake_songs.csv").write_text(
        "id,filename,title,duration,algorithm,style,source,label,target,split\n"
        "1,f1,One,130,chirp-v3,pop,suno,full fake,1,train\n"
        "2,f2,Two,25,chirp-v3,pop,suno,full fake,1,test\n"
        "3,f3,Three,61,udio-130,pop,udio,half fake,1,test\n"
    )
    (tmp_path / "real_songs.csv").write_text(
        "id,filename,title,artist,year,duration,label,artist_overlap,target,skip_time,no_vocal,split\n"
        "4,r1,Four,Ann,1990,59,real,True,0,3,False,test\n"
        "5,r2,Five,Bob,1991,200,real,False,0,3,False,test\n"
        "6,r3,Six,Cy,1992,200,real,False,0,3,True,train\n"
    )
    songs = {song.path.stem: song for song in read_collection(tmp_path)}
    assert set(songs) == {"f1", "f3", "r1"}  # f2 is too short, r2 has no file, r3 no voice
    assert songs["f1"].partition == {"algorithm": "chirp-v3", "fake_type": "full fake", "length": "long"}
    assert songs["f3"].partition["length"] == "medium"
    assert songs["r1"].partition == {"singer": "seen", "length": "short"}
    assert (songs["r1"].group, songs["r1"].split, songs["r1"].target) == ("Ann", "test", 0)


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=12, max_size=40), st.integers(0, 99))
def test_groups_are_never_split(rows, seed):
    songs = [LabelledSong(Path(str(i)), int(fake), str(group)) for i, (group, fake) in enumerate(rows)]
    try:
        learn, measure = held_out(songs, 0.3, seed)
    except InputError:
        return  # one kind is missing on a side: said, not hidden
    assert not {song.group for song in learn} & {song.group for song in measure}
    assert len(learn) + len(measure) == len(songs)
    assert set(targets(learn)) == set(targets(measure)) == {0, 1}


def test_real_songs_alone(tmp_path):
    touch(tmp_path, "a.mp3", "b/c.flac", "b/d.txt")
    assert not is_collection(tmp_path)
    assert [song.path.name for song in real_songs(tmp_path)] == ["a.mp3", "c.flac"]
    touch(tmp_path, "fake/e.mp3")
    assert is_collection(tmp_path)


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        ({}, "", "no labelled songs"),
        ({}, "nowhere", "no such folder"),
        ({"s.csv": "path,label\na.wav,1\n"}, "s.csv", "target"),
        ({"s.csv": "path,target\na.wav,2\nb.wav,1\n"}, "s.csv", "targets in"),
        ({"s.csv": "path,target\na.wav,1\n"}, "s.csv", "no file"),
    ],
    ids=["empty", "missing", "no target", "label", "no files"],
)
def test_what_is_no_collection_is_refused(tmp_path, files, place, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_collection(tmp_path / place)


def test_one_group_cannot_be_parted(tmp_path):
    songs = [LabelledSong(Path(str(i)), i % 2, "one") for i in range(6)]
    with pytest.raises(InputError, match="one group"):
        held_out(songs, 0.5, seed=0)
