"""Lists of captioned clips: S2Cap's own table, and a plain one for data of one's own.

S2Cap's csv has the columns ``id, caption, begin, end, youtube_id``; the sound is not part of it and must be supplied as
``<youtube_id>.wav`` (or flac, mp3, ...) beside it or in another folder. The plain table has
``path, caption[, begin, end, vocals_path]`` and may name any of the nine attributes in columns. Times are seconds;
several rows of one clip are several captions of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from harmonia.audio.s2cap.attributes import LEXICON, parse_attributes
from harmonia.core.errors import InputError
from harmonia.media import Audio, Table

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".webm")


@dataclass(frozen=True)
class Clip:
    """A captioned stretch of a song.

    Attributes:
        path: The mixture's file.
        begin, end: Seconds; to the end of the file where `end` is None.
        captions: One or more sentences.
        attributes: What is known of it: columns of the table, else what the first caption states.
        vocals_path: File of the demixed voice, same times; None where there is none.
    """

    path: Path
    begin: float
    end: float | None
    captions: tuple[str, ...]
    attributes: dict[str, str]
    vocals_path: Path | None = None


def read_manifest(table: str | Path, audio: str | Path | None = None) -> list[Clip]:
    """The clips of a table.

    Arguments:
        table: A csv file of S2Cap or of the plain layout.
        audio: Folder of the sound files; that of the table when None.

    Raises:
        InputError: columns are missing, a caption is empty, times that do not rise, or a sound file that is not there.
    """
    path = Path(table)
    frame = Table.read(path).frame
    folder = Path(audio) if audio is not None else path.parent
    key = next((name for name in ("path", "youtube_id") if name in frame.columns), None)
    if key is None or "caption" not in frame.columns:
        mend = "Use path, caption[, begin, end, vocals_path], or S2Cap's id, caption, begin, end, youtube_id."
        raise InputError("the table lists no captioned clips", ", ".join(frame.columns), mend)
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        if not str(row["caption"] or "").strip():
            raise InputError("a clip has no caption", f"row {number} of {path.name}", "Write one or drop the row.")
        found.setdefault((str(row[key]), row.get("begin"), row.get("end")), []).append(row)
    return [_clip(folder, key, rows) for rows in found.values()]


def _clip(folder: Path, key: str, rows: Sequence[dict[str, Any]]) -> Clip:
    first = rows[0]
    begin, end = float(first.get("begin") or 0.0), first.get("end")
    if begin < 0 or (end is not None and not float(end) > begin):
        raise InputError("a clip ends before it begins", f"{begin} to {end} s of {first[key]}", "Mend its times.")
    known = {name: str(first[name]) for name in LEXICON if first.get(name) is not None}
    for name, value in known.items():
        if value not in LEXICON[name]:
            raise InputError(f"there is no such {name}", value, f"Use one of {', '.join(LEXICON[name])}.")
    captions = tuple(str(row["caption"]).strip() for row in rows)
    vocals = first.get("vocals_path")
    return Clip(
        _sound(folder, str(first[key])),
        begin,
        None if end is None else float(end),
        captions,
        known or parse_attributes(captions[0]),
        None if vocals is None else _sound(folder, str(vocals)),
    )


def _sound(folder: Path, name: str) -> Path:
    """The file of that name, or with a known suffix."""
    candidates = [folder / name, *(folder / f"{name}{suffix}" for suffix in SUFFIXES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        mend = "Supply it; S2Cap lists captions, not sound." if not Path(name).suffix else "Check the table."
        raise InputError("a sound file of the table is not there", folder / name, mend)
    return found


def read_mono(path: Path, rate: int, begin: float = 0.0, end: float | None = None) -> Float32[ndarray, " time"]:
    """A stretch of a sound file, mono, at `rate`."""
    samples = _whole(path, rate, path.stat().st_mtime_ns)
    stop = len(samples) if end is None else round(end * rate)
    piece = samples[round(begin * rate) : stop]
    if not len(piece):
        raise InputError("a clip lies behind the end of its file", f"{begin} s of {path.name}", "Mend its times.")
    return piece


@lru_cache(maxsize=2)
def _whole(path: Path, rate: int, _changed: int) -> Float32[ndarray, " time"]:
    return np.ascontiguousarray(Audio.read(path).mono().resampled(rate).samples[0])
