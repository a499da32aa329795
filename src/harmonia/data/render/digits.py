"""Spoken digits: ten words by many formant voices, a small offline stand-in for data sets of spoken commands.

Rendered by espeak-ng, and it says so: formant synthesis is far easier than people. What it can show is which network
learns more from raw samples; test voices speak no training clip.
"""

from __future__ import annotations

import io
import subprocess
import wave
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from harmonia.core.errors import InputError, require
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.cache import cache_folder
from harmonia.data.render.speakers import Split, program

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")
_VOICES: dict[Split, tuple[str, ...]] = {
    "train": (
        *("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3", "adam", "Alex", "Alicia", "Andy", "Annie", "antonio"),
        *("boris", "caleb", "david", "Denis", "Diogo", "ed", "Gene", "gustave", "Henrique", "Hugo", "Jacky", "john"),
    ),
    "test": ("m6", "m7", "m8", "f4", "f5", "Andrea", "belinda", "edward", "Lee", "linda", "Mario", "steph"),
}
_VERSION = 1


class SpokenDigits(NamedTuple):
    """Clips of one second, and which digit each says.

    Attributes:
        clips: Samples, at most 1 in magnitude.
        labels: 0 to 9.
        rate: In hertz.
        voices: Who speaks each.
    """

    clips: Float32[np.ndarray, "clips time"]
    labels: Int64[np.ndarray, " clips"]
    rate: int
    voices: tuple[str, ...]


def render_digits(split: Split, count: int, rate: int = 4000, seed: int = 0) -> SpokenDigits:
    """Spoken digits, as many of each; made once and kept.

    Accent, voice, pitch and speed are drawn for each clip, as are its level, its place in the second, and a noise 30 to
    50 dB below.

    Raises:
        MissingDependency: espeak-ng is not installed.
        InputError: no clips, or a rate below 1 kHz.
    """
    if count < 1 or rate < 1000:
        raise InputError("spoken digits need clips and a sampling rate", (count, rate), "Give 10 clips at 4000 Hz.")
    path = cache_folder("digits") / f"{split}-{count}-{rate}-{seed}-v{_VERSION}.npz"
    if path.exists():
        with np.load(path) as kept:
            return SpokenDigits(kept["clips"], kept["labels"], rate, tuple(map(str, kept["voices"])))
    random = np.random.default_rng([seed, split == "test"])
    labels = np.arange(count) % len(WORDS)
    clips, voices = np.zeros((count, rate), np.float32), []
    for clip, label in track(list(zip(clips, labels.tolist())), "Speaking digits"):
        voices.append(f"{random.choice(_ACCENTS)}+{random.choice(_VOICES[split])}")
        said = _speak(WORDS[label], voices[-1], int(random.integers(25, 75)), int(random.integers(140, 210)), rate)
        said = said[:rate]
        start = int(random.integers(0, rate - len(said) + 1))
        clip[start : start + len(said)] = said * random.uniform(0.3, 0.9)
        clip += random.standard_normal(rate) * 10 ** (random.uniform(-50, -30) / 20)
    np.clip(clips, -1, 1, out=clips)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, clips=clips, labels=labels, voices=voices)
    return SpokenDigits(clips, labels, rate, tuple(voices))


def _speak(word: str, voice: str, pitch: int, speed: int, rate: int) -> np.ndarray:
    """One word without the silence around it, its peak at 1."""
    binary = program("espeak-ng", ("espeak-ng",))
    command = [binary, "--stdout", "-v", voice, "-p", str(pitch), "-s", str(speed), word]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode or not done.stdout:
        raise InputError("espeak-ng does not speak", done.stderr.decode(errors="replace")[:200], "Check the program.")
    with wave.open(io.BytesIO(done.stdout)) as file:
        from_rate = file.getframerate()
    # espeak-ng cannot know the length when it writes the header of a stream.
    samples = np.frombuffer(done.stdout[44:], "<i2") / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    found = require("soxr", extra="audio").resample(samples, from_rate, rate)
    return found / np.abs(found).max()
