"""Instruments: parts of a band played with a General MIDI soundfont by FluidSynth.

(symusic's own synthesiser ignores at which pitch a sample was recorded: most instruments sound semitones off.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harmonia.core.errors import InputError, MissingDependency, require
from harmonia.data.render.band import Part

# Name to Debian package.
SOUNDFONTS = {"TimGM6mb": "timgm6mb-soundfont", "FluidR3_GM": "fluid-soundfont-gm"}
_SOUND_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts"))


def instruments_missing() -> list[str]:
    """Debian packages that this machine lacks to play; MUSIC_SOUNDFONT stands for all soundfonts."""
    player = [] if shutil.which("fluidsynth") else ["fluidsynth"]
    if os.environ.get("MUSIC_SOUNDFONT"):
        return player
    return player + [package for name, package in SOUNDFONTS.items() if _found(name) is None]


def _found(name: str) -> Path | None:
    files = (folder / f"{name}.sf2" for folder in _SOUND_FOLDERS)
    return next((file for file in files if file.is_file()), None)


def soundfont(name: str = "TimGM6mb") -> Path:
    """The file of a soundfont: the MUSIC_SOUNDFONT variable first, then the system's folders.

    Raises:
        MissingDependency: neither is there; names the Debian package.
    """
    if name not in SOUNDFONTS:
        raise InputError("there is no such soundfont", name, f"Use one of {', '.join(SOUNDFONTS)}.")
    own = os.environ.get("MUSIC_SOUNDFONT")
    if own:
        if Path(own).is_file():
            return Path(own)
        raise InputError("MUSIC_SOUNDFONT names no file", own, "Point it to a .sf2 or .sf3 file, or unset it.")
    found = _found(name)
    if found is not None:
        return found
    raise MissingDependency(
        f"this needs the soundfont '{name}'",
        "a machine without it",
        f"Run: apt-get install {SOUNDFONTS[name]}; or set MUSIC_SOUNDFONT to a .sf2 file.",
    )


def play(part: Part, frames: int, rate: int, font: str = "TimGM6mb") -> np.ndarray:
    """One part at full volume, whatever its gain, as stereo float64 ``[2, frames]``; see `play_together`."""
    return play_together([replace(part, gain_db=0.0)], frames, rate, font)


def play_together(parts: Sequence[Part], frames: int, rate: int, font: str = "TimGM6mb") -> np.ndarray:
    """All parts in one as stereo float64 ``[2, frames]``, without reverberation.

    Parts of the stem ``drums`` are played on the drum channel; there are at most fifteen others.

    Raises:
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    symusic = require("symusic", extra="render")
    program = shutil.which("fluidsynth")
    if program is None:
        mend = "Run: apt-get install fluidsynth."
        raise MissingDependency("this needs the program 'fluidsynth'", "a machine without it", mend)
    per_second = 9600
    score = symusic.Score(per_second)
    score.tempos.append(symusic.Tempo(0, qpm=60))
    for part in parts:
        track = symusic.Track(program=part.program, is_drum=part.stem == "drums")
        # MIDI's volume is squared: 40 log10(value / 127) dB.
        volume = round(100 * 10 ** (part.gain_db / 40))
        for number, value in ((7, volume), (10, round(64 + 63 * part.pan))):
            track.controls.append(symusic.ControlChange(0, number, min(127, max(0, value))))
        for note in sorted(part.notes):
            start = round(note.onset * per_second)
            length = max(1, round(note.offset * per_second) - start)
            track.notes.append(symusic.Note(start, length, note.pitch, note.velocity))
        score.tracks.append(track)
    with tempfile.TemporaryDirectory() as folder:
        midi, raw = Path(folder) / "parts.mid", Path(folder) / "sound.raw"
        score.dump_midi(midi)
        options = ["-o", "synth.reverb.active=0", "-o", "synth.chorus.active=0", "-o", "synth.cpu-cores=1"]
        files = ["-T", "raw", "-O", "float", "-E", "little", "-F", str(raw), str(soundfont(font)), str(midi)]
        command = [program, "-ni", "-q", "-r", str(rate), *options, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not raw.is_file():
            raise MissingDependency("FluidSynth could not play", done.stderr.strip()[-200:], "Install it again.")
        sound = np.fromfile(raw, dtype="<f4").reshape(-1, 2).T.astype(np.float64)
    out = np.zeros((2, frames))
    length = min(frames, sound.shape[1])
    out[:, :length] = sound[:, :length]
    return out
