"""What features know: linear probes for key, pitch class, instrument family and chord, on rendered sounds.

Training and test sounds never share a piece (key) or an instrument (notes and chords).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from numpy import ndarray

from harmonia.audio.mert.features import MERTFeatures
from harmonia.audio.mert.network import MERTModel
from harmonia.core.errors import InputError
from harmonia.data.render import render_excerpt, render_snippets
from harmonia.parts.constant_q import ConstantQ
from harmonia.parts.probing import Gain, Interval, probe_layers
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

RATE = 24000
FAMILIES = ("piano", "mallets", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe", "lead")
"""General MIDI's families of eight programs each, without effects."""
_HELD_OUT = (3, 6)
"""Programs of each family that only test sounds have."""

FrontEnd = Callable[[ndarray], ndarray]


@dataclass(frozen=True)
class ProbeTask:
    """Sounds with labels, and how a guess is scored.

    Attributes:
        name: ``key``, ``pitch class``, ``family`` or ``chord``.
        clips: At 24 kHz.
        targets: Class of each.
        test: Which of them are the test set.
        metric: The score.
    """

    name: str
    clips: Float32[ndarray, "clips time"]
    targets: Int64[ndarray, " clips"]
    test: Bool[ndarray, " clips"]
    metric: Gain

    def score(self, features: Float[ndarray, "clips *layers width"], seed: int = 0) -> Interval:
        """Score on the test set of a linear probe on the best layer, chosen by cross-validation on the others."""
        return probe_layers(features, self.targets, test=self.test, metric=self.metric, resamples=200, seed=seed).score

    def mixed(self, noise: Float32[ndarray, "clips time"], decibels: float = 0.0) -> ProbeTask:
        """The same task with other music added to every clip, as loud as the clip plus `decibels`."""
        level = np.sqrt(np.square(self.clips).mean(1, keepdims=True))
        others = noise[np.arange(len(self.clips)) % len(noise), : self.clips.shape[1]]
        others = others / np.sqrt(np.square(others).mean(1, keepdims=True) + 1e-12)
        clips = self.clips + (level * 10 ** (decibels / 20) * others).astype(np.float32)
        return ProbeTask(self.name, clips, self.targets, self.test, self.metric)


def key_gains() -> Float64[ndarray, "24 24"]:
    """MIREX's weighted score of keys (tonic, plus 12 in minor): 1, fifth above 0.5, relative 0.3, parallel 0.2.

    Example:
        >>> gains = key_gains()
        >>> gains[0, [0, 7, 12 + 9, 12]].tolist()         # C major beside C, G, a, c
        [1.0, 0.5, 0.3, 0.2]
    """
    gains = np.eye(24)
    for tonic in range(12):
        for minor in (0, 12):
            row = tonic + minor
            relative = (tonic + (3 if minor else 9)) % 12 + (12 - minor)
            gains[row, (tonic + 7) % 12 + minor] = 0.5
            gains[row, relative] = 0.3
            gains[row, tonic + 12 - minor] = 0.2
    return gains


@cache
def key_task(train: int = 400, test: int = 200, seconds: float = 5.0, seed: int = 0) -> ProbeTask:
    """Keys of accompaniments, 24 classes, by the weighted score."""
    pieces = [render_excerpt(10_000 + seed * 1000 + n, "train", seconds=seconds) for n in range(train)]
    pieces += [render_excerpt(10_000 + seed * 1000 + n, "test", seconds=seconds) for n in range(test)]
    clips = np.concatenate([piece.audio.samples for piece in pieces])
    targets = np.array([piece.key for piece in pieces])
    if len(set(targets[:train])) < 24:
        raise InputError("a probe of keys needs all of them", f"{train} pieces", "Ask for more.")
    return ProbeTask("key", clips, targets, np.arange(len(pieces)) >= train, Gain(key_gains(), "weighted key score"))


@cache
def note_tasks(notes: int = 16, seed: int = 0) -> tuple[ProbeTask, ProbeTask]:
    """Pitch class and instrument family of single notes, two octaves around the middle of the keyboard."""
    rng = np.random.default_rng([seed, 0x207E5])
    programs: list[int] = []
    drawn: list[int] = []
    for family in range(len(FAMILIES)):
        for place in range(8):
            # Every pitch class comes about equally often with every instrument.
            classes = rng.permutation(np.arange(notes) % 12)
            drawn += (48 + classes + 12 * rng.integers(0, 3, notes)).tolist()
            programs += [8 * family + place] * notes
    velocities = rng.integers(60, 115, len(drawn)).tolist()
    clips = render_snippets(programs, [[pitch] for pitch in drawn], velocities=velocities)
    program = np.array(programs)
    test = np.isin(program % 8, _HELD_OUT)
    return (
        ProbeTask("pitch class", clips, np.array(drawn) % 12, test, Gain()),
        ProbeTask("family", clips, program // 8, test, Gain()),
    )


@cache
def chord_task(programs: int = 40, seed: int = 0) -> ProbeTask:
    """Major and minor triads on all roots, 24 classes, in random positions; every fourth instrument is held out."""
    rng = np.random.default_rng([seed, 0xC40D])
    played, chords = [], []
    for program in rng.permutation(80)[:programs].tolist():
        for chord in range(24):
            root, third = chord % 12, 3 if chord >= 12 else 4
            low = int(rng.integers(48, 60))
            tones = sorted(low + (tone - low) % 12 for tone in (root, root + third, root + 7))
            chords.append([*tones, tones[0] + 12] if rng.random() < 0.5 else tones)
            played.append(program)
    number = np.arange(len(chords)) // 24
    return ProbeTask("chord", render_snippets(played, chords), np.arange(len(chords)) % 24, number % 4 == 3, Gain())


def all_tasks(seed: int = 0) -> tuple[ProbeTask, ...]:
    """The four tasks at full size: 5,400 s of sound, rendered in about a minute."""
    return (key_task(seed=seed), *note_tasks(seed=seed), chord_task(seed=seed))


def mert(model: MERTModel) -> FrontEnd:
    """Mean and deviation over time of every layer of a model."""
    features = MERTFeatures(model, pool="stats", device="cpu")
    return lambda clips: features.fit_transform(list(clips))


def log_mel(clips: Float32[ndarray, "clips time"]) -> Float32[ndarray, "clips width"]:
    """Mean and deviation over time of 128 log-mel bands."""
    spectrogram = MelSpectrogram(STFT(2048, 320, pad_mode="constant"), mel_filterbank(RATE, 2048, 128), log_floor=1e-5)
    return _pooled(spectrogram, clips)


def constant_q(clips: Float32[ndarray, "clips time"]) -> Float32[ndarray, "clips width"]:
    """Mean and deviation over time of the logarithm of 336 constant-Q bins."""
    transform = ConstantQ(RATE, 320, 32.7, 336, 48)
    return _pooled(lambda audio: torch.log1p(100 * transform(audio).abs()), clips)


def _pooled(
    spectrum: Callable[[torch.Tensor], torch.Tensor], clips: Float32[ndarray, "clips time"], batch: int = 16
) -> Float32[ndarray, "clips width"]:
    rows = []
    for start in range(0, len(clips), batch):
        found = spectrum(torch.from_numpy(clips[start : start + batch]))
        rows.append(torch.cat([found.mean(-1), found.std(-1)], 1).float().numpy())
    return np.concatenate(rows)
