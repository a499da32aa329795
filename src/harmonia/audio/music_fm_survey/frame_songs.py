"""Songs whose truth over time is known: rendered ones, and public data sets as users have them on disk.

    rendered        pieces and songs of `harmonia.data.render`: beats, chords, melodies and voices, all exact
    gtzan-beats     genres/<genre>/<file>.wav, {train,valid,test}_filtered.txt, and GTZAN-Rhythm's <file>.wav.jams in
                    any folder beside (GTZAN-Rhythm_v2_ismir2015_lbd/jams)
    maestro         maestro-v*.csv with split, audio_filename, midi_filename
    musdb18         train/ and test/ of MUSDB18-HQ (or MUSDB18's .stem.mp4)
    chords          <song>.wav beside <song>.lab, lines of onset, offset and label; MARBLE v2's jsonl of Chords1217

Where the data set has a test set, it is what is scored; validation songs are used for training.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from harmonia.audio.music_fm_survey.frame_tasks import TrueSong
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.data.folders import Multitrack, musdb_hq, musdb_mp4
from harmonia.data.render import corpus
from harmonia.data.render.mood import Mood, render_mood
from harmonia.data.song import Song
from harmonia.media import Audio, Score

FrameLayout = Literal["rendered", "gtzan-beats", "maestro", "musdb18", "chords"]
FRAME_LAYOUTS: tuple[str, ...] = get_args(FrameLayout)
TASKS_OF: dict[str, tuple[str, ...]] = {
    "rendered": ("beats", "downbeats", "chords", "melody", "notes", "vocals"),
    "gtzan-beats": ("beats", "downbeats"),
    "maestro": ("notes",),
    "musdb18": ("vocals",),
    "chords": ("chords",),
}
"""Tasks of each kind of songs."""
_RENDERED_S = 12.0


def rendered_songs(count: int, seed: int = 0) -> list[TrueSong]:
    """Pieces of 12 s in all moods, played by a band, and a fifth as many songs that are sung (at least six).

    The pieces' beats, chords and melodies are known, the songs' voices (`harmonia.data.render.corpus`). A piece takes a
    fraction of a second, a song some seconds, once.

    Raises:
        MissingDependency: a program, voice or soundfont is missing.
    """
    rng = np.random.default_rng([seed, 0xF2A])
    drawn = zip(rng.uniform(60, 180, count), rng.random((count, 2)), strict=True)
    moods = [Mood(tempo=float(bpm), major=bool(mode < 0.5), activity=float(lively)) for bpm, (mode, lively) in drawn]
    pieces = [
        _of_piece(f"piece {number}", render_mood(mood, int(rng.integers(2**31))))
        for number, mood in enumerate(track(moods, "Rendering pieces"))
    ]
    sung = corpus("train", max(6, count // 5), seed=seed, seconds=_RENDERED_S, rate=22050)
    return pieces + [_of_song(f"song {number}", song) for number, song in enumerate(sung)]


def _of_piece(name: str, song: Song) -> TrueSong:
    return TrueSong(
        name,
        lambda: song.mixture,
        _RENDERED_S,
        beats=song.beats,
        chords=song.chords,
        melody=song.notes,
        notes=song.notes,
    )


def _of_song(name: str, song: Song) -> TrueSong:
    return TrueSong(name, lambda: song.mixture, _RENDERED_S, vocals=lambda: song.stems["vocals"])


def true_songs(folder: Path, layout: FrameLayout, *, seconds: float = 30.0, most: int = 0) -> list[TrueSong]:
    """Songs of a public data set.

    Arguments:
        folder: Where it lies.
        layout: Which it is.
        seconds: How much of each song is probed, from its start.
        most: Take at most so many of training and test together, evenly spread; 0 takes all.

    Raises:
        InputError: a folder of another layout; it says what was expected.
    """
    if layout not in _READERS:
        raise InputError("songs of this layout are not read from a folder", layout, f"Use {', '.join(_READERS)}.")
    if not folder.is_dir():
        raise InputError("a data set is a folder", folder, "Pass its folder.")
    found = list(_READERS[layout](folder, seconds))
    if not found:
        raise InputError(f"the folder holds no songs of the layout '{layout}'", folder.name, "See the layouts.")
    return found if not 0 < most < len(found) else [found[i * len(found) // most] for i in range(most)]


def _gtzan(root: Path, seconds: float) -> Iterator[TrueSong]:
    base = root / "genres" if (root / "genres").is_dir() else root
    annotated = {path.name.removesuffix(".jams"): path for path in sorted(root.rglob("*.jams"))}
    if not annotated:
        raise InputError("the folder lacks GTZAN-Rhythm's .jams files", root.name, "Put them beside genres/.")
    for split in ("train", "valid", "test"):
        listing = root / f"{split}_filtered.txt"
        if not listing.is_file():
            raise InputError(f"the folder lacks {listing.name}", root.name, "Fetch MARBLE's fault-filtered splits.")
        for line in filter(None, map(str.strip, listing.read_text(encoding="utf-8").splitlines())):
            name = Path(line).name
            if name in annotated:
                beats = _jams_beats(annotated[name])
                yield TrueSong(line, partial(Audio.read, base / line), seconds, split == "test", beats=beats)


def _jams_beats(path: Path) -> tuple[tuple[float, int], ...]:
    """Beats of a jams file, numbered from its downbeats; observations are rows, or columns in older files."""
    times: dict[str, list[float]] = {}
    for annotation in _json(path).get("annotations", []):
        if annotation.get("namespace") == "beat":
            data = annotation["data"]
            found = data["time"] if isinstance(data, dict) else [row["time"] for row in data]
            times.setdefault(annotation.get("sandbox", {}).get("annotation_type", "beat"), list(map(float, found)))
    first = times.get("downbeat", [])
    beats, number = [], 0
    for time in sorted(times.get("beat", [])):
        number = 1 if any(abs(time - bar) < 0.05 for bar in first) else number + 1
        beats.append((time, max(number, 2) if not first else number))
    return tuple(beats)


def _maestro(root: Path, seconds: float) -> Iterator[TrueSong]:
    listing = next(iter(sorted(root.glob("maestro-v*.csv"))), None)
    if listing is None:
        raise InputError("the folder lacks maestro-v*.csv", root.name, "Pass MAESTRO's own folder.")
    with listing.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not {"split", "audio_filename", "midi_filename"} <= set(row):
                got = ", ".join(row)
                raise InputError(f"{listing.name} lacks split, audio_filename or midi_filename", got, "Fetch it again.")
            notes = tuple((n.onset, n.offset, float(n.pitch)) for n in Score.read(root / row["midi_filename"]).notes())
            read = partial(_beginning, root / row["audio_filename"], seconds)
            yield TrueSong(row["audio_filename"], read, seconds, row["split"] == "test", notes=notes)


def _musdb(root: Path, seconds: float) -> Iterator[TrueSong]:
    read = musdb_mp4 if any(root.glob("*/*.stem.mp4")) else musdb_hq
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for split in splits:
        for song in read(root, split):
            yield TrueSong(
                song.name,
                partial(_stem, song, "mixture", seconds),
                seconds,
                split == "test",
                vocals=partial(_stem, song, "vocals", seconds),
            )


def _stem(song: Multitrack, name: str, seconds: float) -> Audio:
    sound = song.read(name)
    return sound.cut(0, min(seconds, sound.seconds))


def _chords(root: Path, seconds: float) -> Iterator[TrueSong]:
    for path in sorted(root.rglob("*.lab")):
        sound = next(
            (path.with_suffix(s) for s in (".wav", ".flac", ".mp3", ".ogg") if path.with_suffix(s).is_file()), None
        )
        if sound is None:
            raise InputError("a chord annotation lacks its sound", path.name, "Put <song>.wav beside <song>.lab.")
        yield TrueSong(path.stem, partial(_beginning, sound, seconds), seconds, chords=_lab(path))
    for listing in sorted(root.glob("*.jsonl")):
        for line in filter(None, listing.read_text(encoding="utf-8").splitlines()):
            entry = json.loads(line)
            told = tuple((float(c["start_time"]), float(c["end_time"]), str(c["chord_str"])) for c in entry["label"])
            read = partial(_beginning, root / entry["audio_path"], seconds)
            yield TrueSong(entry["audio_path"], read, seconds, "test" in listing.stem.lower(), chords=told)


def _lab(path: Path) -> tuple[tuple[float, float, str], ...]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split()
        try:
            if cells:
                rows.append((float(cells[0]), float(cells[1]), cells[2]))
        except (ValueError, IndexError):
            raise InputError(
                f"line {number} of {path.name} is no chord", line[:40], "Write onset, offset, label."
            ) from None
    return tuple(rows)


def _beginning(path: Path, seconds: float) -> Audio:
    sound = Audio.read(path)
    return sound.cut(0, min(seconds, sound.seconds))


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path.name} is no JSON", error, "Fetch it again.") from None
    return found


_READERS: dict[str, Callable[[Path, float], Iterator[TrueSong]]] = {
    "gtzan-beats": _gtzan,
    "maestro": _maestro,
    "musdb18": _musdb,
    "chords": _chords,
}
