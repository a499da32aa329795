"""Data sets that users have on disk, in the layouts they are published in.

    MUSDB18-HQ     <root>/{train,test}/<song>/{mixture,vocals,drums,bass,other}.wav
    MUSDB18        <root>/{train,test}/<song>.stem.mp4       five sound tracks in each file
    MSST type 1    <root>/<song>/<stem>.wav                  stems of one song belong together
    MSST type 2    <root>/<stem>/<any name>.wav              stems of different songs, to be mixed at random
    MIR-ST500      a JSON {id: [[onset, offset, midi], ...]} beside a folder with the songs' sound

Nothing is read before it is asked for. A folder of another layout is an `InputError` that says what was expected and
what is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harmonia.core.errors import InputError
from harmonia.data.song import STEMS, Note
from harmonia.media import Audio

_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".webm")
_MP4_TRACKS = ("mixture", "drums", "bass", "other", "vocals")


@dataclass(frozen=True)
class Recording:
    """Where a sound is: a file, and which of its sound tracks."""

    path: Path
    track: int = 0

    def read(self) -> Audio:
        """The sound."""
        if self.track == 0:
            return Audio.read(self.path)
        from harmonia.media.audio import DECODED_LIMIT
        from harmonia.media.container import decode_audio

        samples, rate, _ = decode_audio(self.path, DECODED_LIMIT, track=self.track)
        return Audio(samples, rate)


@dataclass(frozen=True)
class Multitrack:
    """A song with its stems.

    Attributes:
        name: The song's name.
        sounds: Where ``mixture`` (if it is there) and each stem are.
    """

    name: str
    sounds: Mapping[str, Recording]

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems."""
        return tuple(name for name in self.sounds if name != "mixture")

    def read(self, name: str) -> Audio:
        """A stem, or ``"mixture"``: as recorded, or else the sum of the stems.

        Raises:
            InputError: no such stem; unreadable files; stems of different lengths or rates where they must be added.
        """
        if name in self.sounds:
            return self.sounds[name].read()
        if name != "mixture":
            raise InputError(f"'{self.name}' has no stem '{name}'", ", ".join(self.stems), "Use one of these.")
        first, *others = (self.sounds[stem].read() for stem in self.stems)
        samples = first.samples.copy()
        for other in others:
            if (other.samples.shape, other.rate) != (samples.shape, first.rate):
                got = f"{samples.shape} at {first.rate} Hz and {other.samples.shape} at {other.rate} Hz"
                raise InputError(f"the stems of '{self.name}' don't fit together", got, "Export them alike.")
            samples += other.samples
        return Audio(samples, first.rate)


@dataclass(frozen=True)
class SungSong:
    """A song with the notes its singer sings.

    Attributes:
        name: The song's id.
        sound: Where the sound is.
        notes: Onset and offset in seconds, MIDI pitch.
    """

    name: str
    sound: Recording
    notes: tuple[Note, ...]


def musdb_hq(root: str | Path, split: Literal["train", "test"] = "train") -> tuple[Multitrack, ...]:
    """The songs of MUSDB18-HQ (100 to train, 50 to test; academic use).

    Raises:
        InputError: the folder isn't laid out as MUSDB18-HQ.
    """
    folder = _split_folder(root, split, "MUSDB18-HQ")
    songs = []
    for song in _subfolders(folder):
        files = {path.stem: Recording(path) for path in _sounds(song)}
        wanted = ("mixture", *STEMS)
        if not set(wanted) <= set(files):
            expected = f"{split}/{song.name} of MUSDB18-HQ holds {', '.join(f'{name}.wav' for name in wanted)}"
            raise _other_layout(expected, song)
        songs.append(Multitrack(song.name, {name: files[name] for name in wanted}))
    if not songs:
        raise _other_layout(f"MUSDB18-HQ has a folder for each song in {split}/", folder)
    return tuple(songs)


def musdb_mp4(root: str | Path, split: Literal["train", "test"] = "train") -> tuple[Multitrack, ...]:
    """The songs of MUSDB18 as published first: one ``.stem.mp4`` a song, five sound tracks in each.

    Raises:
        InputError: the folder isn't laid out as MUSDB18.
    """
    folder = _split_folder(root, split, "MUSDB18")
    files = sorted(folder.glob("*.stem.mp4"))
    if not files:
        raise _other_layout(f"MUSDB18 has files named <song>.stem.mp4 in {split}/", folder)
    return tuple(
        Multitrack(
            path.name.removesuffix(".stem.mp4"), {name: Recording(path, i) for i, name in enumerate(_MP4_TRACKS)}
        )
        for path in files
    )


def msst_songs(root: str | Path, stems: Sequence[str] = ("vocals", "other")) -> tuple[Multitrack, ...]:
    """Songs in MSST's layout of type 1: a folder a song, a file a stem.

    Arguments:
        root: The folder.
        stems: The stems every song must have; further files are ignored, a ``mixture`` is used.

    Raises:
        InputError: no folders, or a song without one of the stems.
    """
    folder = _existing_folder(root)
    songs = []
    for song in _subfolders(folder):
        files = {path.stem: Recording(path) for path in _sounds(song)}
        if not set(stems) <= set(files):
            raise _other_layout(f"'{song.name}' holds {', '.join(f'{stem}.wav' for stem in stems)}", song)
        names = [name for name in ("mixture", *stems) if name in files]
        songs.append(Multitrack(song.name, {name: files[name] for name in names}))
    if not songs:
        raise _other_layout("MSST type 1 has a folder for each song", folder)
    return tuple(songs)


def msst_stems(root: str | Path, stems: Sequence[str] = ("vocals", "other")) -> dict[str, tuple[Recording, ...]]:
    """Stems in MSST's layout of type 2: a folder a stem, any number of files in each.

    Raises:
        InputError: a stem's folder is missing or holds no sound.
    """
    folder = _existing_folder(root)
    found = {stem: tuple(Recording(path) for path in _sounds(folder / stem)) for stem in stems}
    for stem, recordings in found.items():
        if not recordings:
            raise _other_layout(f"MSST type 2 has sound files in {stem}/", folder)
    return found


def mir_st500(
    annotation: str | Path, audio: str | Path, split: Literal["train", "test", "all"] = "all"
) -> tuple[SungSong, ...]:
    """The songs of MIR-ST500 (or any set annotated alike) whose sound is there; its test songs are 401 to 500.

    The sound of song 7 is looked for as ``7.<suffix>``, ``7/Mixture.<suffix>``, and the same in ``train/`` and
    ``test/``.

    Arguments:
        annotation: ``MIR-ST500_corrected.json``: ``{"1": [[onset, offset, midi], ...], ...}``.
        audio: The folder with the songs.
        split: Which songs.

    Raises:
        InputError: another kind of JSON, notes out of shape, or a folder with none of the songs.
    """
    folder = _existing_folder(audio)
    notes = _annotated_notes(Path(annotation))
    found: dict[str, Path] = {}
    for path in sorted(path for pattern in ("*", "*/*", "*/*/*") for path in _sounds(folder, pattern)):
        name = path.parent.name if path.stem.lower() == "mixture" else path.stem
        found.setdefault(name, path)
    chosen = [name for name in notes if split == "all" or (split == "test") == (name.isdigit() and int(name) > 400)]
    songs = tuple(SungSong(name, Recording(found[name]), notes[name]) for name in chosen if name in found)
    if not songs:
        raise _other_layout(f"the songs are named as in the JSON ({', '.join(chosen[:3])}, ...)", folder)
    return songs


def _annotated_notes(path: Path) -> dict[str, tuple[Note, ...]]:
    mend = 'Pass a JSON of the form {"1": [[onset, offset, midi], ...], ...}.'
    if not path.is_file():
        raise InputError("there is no annotation file", path.name, mend)
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("the annotation is no JSON", f"{path.name}: {error}", mend) from None
    if not isinstance(loaded, dict) or not loaded:
        raise InputError("the annotation maps no song to notes", f"a {type(loaded).__name__}", mend)
    songs: dict[str, tuple[Note, ...]] = {}
    for name, notes in loaded.items():
        try:
            songs[name] = tuple((float(on), float(off), float(pitch)) for on, off, pitch in notes)
        except (TypeError, ValueError):
            raise InputError(f"the notes of song '{name}' have another form", str(notes)[:80], mend) from None
        bad = next((note for note in songs[name] if not 0 <= note[0] < note[1] or not 0 < note[2] < 128), None)
        if bad is not None:
            raise InputError(f"song '{name}' has an impossible note", bad, "Correct it: onset before offset, in MIDI.")
    return songs


def _existing_folder(root: str | Path) -> Path:
    folder = Path(root)
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing of this name"
        raise InputError("this needs a folder", f"{folder.name}: {kind}", "Pass the folder of the data set.")
    return folder


def _split_folder(root: str | Path, split: str, name: str) -> Path:
    folder = _existing_folder(root)
    if split not in ("train", "test"):
        raise InputError(f"{name} has no such split", repr(split), "Use 'train' or 'test'.")
    if not (folder / split).is_dir():
        raise _other_layout(f"{name} has the folders train and test", folder)
    return folder / split


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _sounds(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(p for p in folder.glob(pattern) if p.suffix.lower() in _SOUNDS and not p.name.startswith("."))


def _other_layout(expected: str, folder: Path) -> InputError:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    found = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return InputError(
        f"the folder '{folder.name}' is laid out differently", found or "an empty folder", f"Expected: {expected}."
    )
