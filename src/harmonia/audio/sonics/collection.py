"""Labelled songs on disk, in the layout of the SONICS data set or in plain ones.

    SONICS          <folder>/{fake_songs.csv, real_songs.csv, fake_songs/*.mp3, real_songs/*.mp3}, as downloaded;
                    the real songs are links that users follow themselves, and songs without a file are left out
    table           <file>.csv with the columns path, target (1 synthetic, 0 real) and optionally group and split
    folders         <folder>/{real, fake}/**, or the same below train, valid and test

A group (an artist, a piece and everything made from it) is never split between training and test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars
from jaxtyping import Int64
from sklearn.model_selection import GroupShuffleSplit

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Table

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".aiff")
_REAL, _FAKE = ("real", "real_songs", "human"), ("fake", "fake_songs", "synthetic", "ai")
_SPLITS = ("train", "valid", "test")
LENGTHS_S = (60.0, 120.0)
SHORTEST_S = 30.0


@dataclass(frozen=True)
class LabelledSong:
    """A song and what is known about it.

    Attributes:
        path: Its sound file.
        target: 1 for synthetic, 0 for real.
        group: What it must not be parted from.
        split: ``train``, ``valid``, ``test``, or nothing where the collection does not say.
        partition: Further facts by which results are told apart: ``algorithm``, ``fake_type``, ``singer``, ``length``.
    """

    path: Path
    target: int
    group: str
    split: str = ""
    partition: Mapping[str, str] = field(default_factory=dict)


def read_collection(place: str | Path) -> list[LabelledSong]:
    """The labelled songs of a folder or a table.

    Raises:
        InputError: not one of the layouts, a label that is neither 0 nor 1, or no song whose file is there.
    """
    place = Path(place).expanduser()
    if place.is_file():
        songs = _from_table(place)
    elif (place / "fake_songs.csv").is_file() or (place / "real_songs.csv").is_file():
        songs = _from_sonics(place)
    else:
        songs = _from_folders(place)
    there = [song for song in songs if song.path.is_file()]
    if not there:
        got = f"{len(songs)} songs listed, no file of theirs" if songs else f"{place.name} without any"
        mend = "Pass a folder with real/ and fake/, a CSV with path and target, or the SONICS data set."
        raise InputError("no labelled songs were found", got, mend)
    if len(there) < len(songs):
        say(f"{len(songs) - len(there):,} of {len(songs):,} songs have no file here and are left out.")
    return sorted(there, key=lambda song: (song.target, str(song.path)))


def is_collection(place: str | Path) -> bool:
    """Whether there are labels: a table, or folders of the two kinds."""
    place = Path(place).expanduser()
    kinds = [place / split / name for split in ("", *_SPLITS) for name in _REAL + _FAKE]
    return place.is_file() or any(kind.is_dir() for kind in kinds) or (place / "fake_songs.csv").is_file()


def real_songs(folder: str | Path) -> list[LabelledSong]:
    """All sound files below a folder, taken for real songs.

    Raises:
        InputError: there are none.
    """
    paths = sorted(path for path in Path(folder).expanduser().rglob("*") if path.suffix.lower() in SOUNDS)
    if not paths:
        raise InputError("there are no songs", folder, "Pass a folder of sound files.")
    return [LabelledSong(path, 0, path.stem) for path in paths]


def held_out(songs: Sequence[LabelledSong], share: float, seed: int) -> tuple[list[LabelledSong], list[LabelledSong]]:
    """Songs to learn from and songs to measure on: by the collection's own split, else by groups drawn at random.

    Raises:
        InputError: one class is missing on either side, or there are too few groups.
    """
    if any(song.split for song in songs):
        parts = [[s for s in songs if s.split == "train"], [s for s in songs if s.split in ("valid", "test")]]
    elif len({song.group for song in songs}) < 2:
        got = f"one group, '{songs[0].group}'"
        raise InputError("songs of one group cannot be parted for a test", got, "Add songs of other groups.")
    else:
        split = GroupShuffleSplit(1, test_size=share, random_state=seed)
        labels, groups = targets(songs), [song.group for song in songs]
        parts = [[songs[i] for i in index] for index in next(split.split(labels, labels, groups))]
    for name, part in zip(("learn from", "measure on"), parts, strict=True):
        if len({song.target for song in part}) < 2:
            got = f"{sum(song.target for song in part)} synthetic of {len(part)} songs"
            raise InputError(f"there must be songs of both kinds to {name}", got, "Add songs, or more groups.")
    return parts[0], parts[1]


def targets(songs: Iterable[LabelledSong]) -> Int64[np.ndarray, " songs"]:
    """1 for synthetic, 0 for real."""
    return np.array([song.target for song in songs], dtype=np.int64)


def _from_folders(place: Path) -> list[LabelledSong]:
    if not place.is_dir():
        raise InputError("there is no such folder or table", place, "Check the path.")
    splits = [name for name in _SPLITS if (place / name).is_dir()]
    songs = []
    for split in splits or [""]:
        for folder in sorted(path for path in (place / split).iterdir() if path.is_dir()):
            name = folder.name.lower()
            if name not in _REAL + _FAKE:
                continue
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SOUNDS:
                    # What was made from one piece shares its name: real/1.mp3, fake/codec/1.mp3.
                    songs.append(LabelledSong(path, int(name in _FAKE), path.stem, split))
    return songs


def _from_table(path: Path) -> list[LabelledSong]:
    table = Table.read(path)
    wanted = table.column("path"), table.column("target")
    groups = table.column("group") if "group" in table.names else wanted[0]
    splits = table.column("split") if "split" in table.names else polars.Series([""] * len(groups))
    rows = zip(wanted[0].cast(str), _labels(wanted[1], path.name), groups.cast(str), splits.cast(str), strict=True)
    return [LabelledSong(path.parent / name, target, group, split or "") for name, target, group, split in rows]


def _labels(column: polars.Series, name: str) -> list[int]:
    values = column.to_list()
    wrong = next((value for value in values if value not in (0, 1)), None)
    if any(value is None for value in values) or wrong is not None:
        raise InputError(f"targets in {name} are 1 (synthetic) or 0 (real)", wrong, "Mend the column.")
    return [int(value) for value in values]


def _from_sonics(folder: Path) -> list[LabelledSong]:
    """The songs of the paper: at least 30 s long, and with a voice."""
    songs = []
    for kind, target in (("fake", 1), ("real", 0)):
        path = folder / f"{kind}_songs.csv"
        for row in Table.read(path).frame.iter_rows(named=True) if path.is_file() else ():
            duration = row.get("duration")
            if (duration is not None and duration < SHORTEST_S) or _true(row.get("no_vocal")):
                continue
            file = folder / f"{kind}_songs" / str(row["filename"])
            file = file if file.suffix.lower() in SOUNDS else file.with_name(f"{file.name}.mp3")
            group = row.get("artist") or row.get("id") or row["filename"]
            songs.append(LabelledSong(file, target, str(group), str(row.get("split") or ""), _partition(row, target)))
    return songs


def _partition(row: Mapping[str, Any], target: int) -> dict[str, str]:
    duration, found = row.get("duration"), {}
    if target:
        found = {"algorithm": str(row.get("algorithm") or ""), "fake_type": str(row.get("label") or "")}
    elif row.get("artist_overlap") is not None:
        found = {"singer": "seen" if _true(row["artist_overlap"]) else "unseen"}
    if duration is not None:
        medium, long = LENGTHS_S
        found["length"] = "short" if duration <= medium else "long" if duration > long else "medium"
    return {key: value for key, value in found.items() if value}


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "1.0", "yes")
