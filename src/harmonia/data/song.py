"""A song and the truth about it: stems that add up to the mixture, notes, chords, beats, phonemes, words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.media import Audio

Note = tuple[float, float, float]
"""Onset and offset in seconds, MIDI pitch."""

Phone = tuple[float, float, str]
"""Onset and offset in seconds, symbol."""

STEMS = ("vocals", "drums", "bass", "other")
_TRUTH = ("notes", "chords", "beats", "phonemes", "lines", "provenance")


@dataclass(frozen=True)
class Song:
    """A rendered song and the truth about it. Times in seconds.

    Attributes:
        stems: ``vocals, drums, bass, other``, or ``vocals, instrumental``; stereo.
        notes: The lead singer's notes: onset, offset, MIDI pitch.
        chords: Onset, offset, label in Harte's syntax (``"A:min"``).
        beats: Time, number in the bar from 1.
        phonemes: Onset, offset, symbol; empty for voices that don't tell.
        lines: Onset, offset, words of each sung line.
        f0: The lead singer's F0 in Hz, a value every 5 ms, 0 where unvoiced.
        provenance: What was rendered from what, under which licence.
    """

    stems: dict[str, Audio]
    notes: tuple[Note, ...]
    chords: tuple[tuple[float, float, str], ...]
    beats: tuple[tuple[float, int], ...]
    phonemes: tuple[Phone, ...]
    lines: tuple[tuple[float, float, str], ...]
    f0: np.ndarray
    provenance: str

    @property
    def mixture(self) -> Audio:
        """The sum of the stems."""
        return self._sum(list(self.stems))

    @property
    def instrumental(self) -> Audio:
        """The sum of the stems without the vocals."""
        return self._sum([name for name in self.stems if name != "vocals"])

    def sound(self, name: str) -> Audio:
        """A stem, ``"mixture"`` or ``"instrumental"``."""
        if name in ("mixture", "instrumental"):
            return self.mixture if name == "mixture" else self.instrumental
        if name not in self.stems:
            known = ", ".join(dict.fromkeys(("mixture", "instrumental", *self.stems)))
            raise InputError("a song has no such sound", name, f"Use one of {known}.")
        return self.stems[name]

    def write(self, folder: str | Path, names: Sequence[str] | None = None) -> Path:
        """Write ``<name>.flac`` of each sound (all stems, if not told), then the truth as ``notes.json``.

        The truth comes last: where it is, the song is whole.
        """
        folder = Path(folder)
        for name in self.stems if names is None else names:
            self.sound(name).write(folder / f"{name}.flac")
        truth = {key: getattr(self, key) for key in _TRUTH} | {"f0": self.f0.tolist()}
        with whole_file(folder / "notes.json") as temporary:
            temporary.write_text(json.dumps(truth))
        return folder

    @classmethod
    def read(cls, folder: str | Path) -> Song:
        """Read what `write` wrote: with all four stems, or with vocals and instrumental.

        Raises:
            InputError: no such folder, or one without these files.
        """
        folder = Path(folder)
        files = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in (".flac", ".ogg", ".wav")}
        names = STEMS if set(STEMS) <= set(files) else ("vocals", "instrumental")
        if not set(names) <= set(files) or not (folder / "notes.json").is_file():
            found = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
            mend = "Pass a folder with notes.json and vocals, drums, bass, other (or vocals, instrumental) as flac."
            raise InputError(f"{folder.name} holds no song", found, mend)
        truth = json.loads((folder / "notes.json").read_text())
        told = {key: _tuples(truth[key]) for key in _TRUTH}
        return cls({name: Audio.read(files[name]) for name in names}, f0=np.array(truth["f0"]), **told)

    def _sum(self, names: Sequence[str]) -> Audio:
        first = self.stems[names[0]]
        samples = np.zeros_like(first.samples)
        for name in names:
            samples = samples + self.stems[name].samples
        return Audio(samples, first.rate)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
