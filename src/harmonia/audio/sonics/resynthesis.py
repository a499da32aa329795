"""Songs made again by machines at hand: what a detector trained here calls synthetic.

    codec-64, codec-60, codec-80   small neural codecs trained here, decoders of transposed convolutions
    griffin-lim                    phases invented for 80 mel bands
    world                          the WORLD vocoder: pitch, envelope and aperiodicity of speech, put to whole songs
    mp3, vorbis                    lossy compression, which makes no song synthetic: training puts it on both classes

All keep length, tune and words: only the last stage of a generator is imitated, none composes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from harmonia.audio.sonics.codec import STRIDES, WaveCodec, load_codec
from harmonia.audio.sonics.front_end import RATE
from harmonia.core.errors import InputError, require
from harmonia.media import Audio
from harmonia.parts.spectral import STFT, mel_filterbank

Sound = Float32[np.ndarray, " time"]
Machine = Callable[[Sound, int], Sound]

SEEN = ("codec-64", "codec-60", "griffin-lim")
"""What the embedded detector was trained to tell."""

UNSEEN = ("codec-80", "world")
"""What it never heard: the test of generalisation."""

LOSSY = ("mp3", "vorbis")

_PIECE_S = 20
_STEPS = 16


def resynthesise(song: Audio, kind: str, *, seed: int = 0) -> Audio:
    """The song as a machine gives it back: mono at 16 kHz, as long and about as loud as before.

    Arguments:
        song: Any sound.
        kind: One of `KINDS`.
        seed: Of the phases that Griffin-Lim starts from.

    Raises:
        InputError: an unknown kind, or a song too short.
        MissingDependency: ``world`` without pyworld.

    Example:
        >>> again = resynthesise(Audio(np.sin(np.arange(48000) / 10), 48000), "griffin-lim")
        >>> again.rate, again.samples.shape
        (16000, (1, 16000))
    """
    if kind not in KINDS:
        raise InputError("there is no such way to make a song again", kind, f"Use one of {', '.join(KINDS)}.")
    sound = song.mono().resampled(RATE).samples[0]
    if len(sound) < RATE // 4:
        got = f"{len(sound) / RATE:.2f} s"
        raise InputError("the song is too short to be made again", got, "Pass at least a quarter of a second.")
    made = KINDS[kind](sound, seed)
    loudness = float(np.sqrt(np.mean(np.square(made)))) + 1e-12
    return Audio(made * np.float32(np.sqrt(np.mean(np.square(sound))) / loudness), RATE)


@torch.no_grad()
def _coded(sound: Sound, seed: int, *, name: str) -> Sound:
    codec = _codec(name)
    # The codec works on a fixed level; pieces keep memory flat, and their joints are those of a codec's frames.
    level = float(np.sqrt(np.mean(np.square(sound)))) * 10 + 1e-9
    size = _PIECE_S * RATE // codec.hop * codec.hop
    pieces = [torch.from_numpy(sound[start : start + size] / level) for start in range(0, len(sound), size)]
    return np.concatenate([codec(piece[None])[0].numpy() for piece in pieces]) * np.float32(level)


@cache
def _codec(name: str) -> WaveCodec:
    return load_codec(name)


@torch.no_grad()
def _griffin_lim(sound: Sound, seed: int) -> Sound:
    """Magnitudes from 80 mel bands by least squares, phases by accelerated alternating projections (Griffin-Lim).

    ``c = P(|S| e^{i arg t});  t = c + 0.99 (c - c_before)``
    """
    stft = STFT(1024, 256, pad_mode="reflect")
    padded = torch.from_numpy(np.pad(sound, (0, max(0, 1024 - len(sound)))))
    bands, inverse = _mel_pair()
    magnitude = (inverse @ (bands @ stft(padded).abs())).clamp(min=0.0)
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * np.pi * torch.rand(magnitude.shape, generator=generator)
    before = target = torch.polar(torch.ones_like(magnitude), phase)
    for _ in range(_STEPS):
        consistent = stft(stft.inverse(magnitude * _unit(target), len(padded)))
        target, before = consistent + 0.99 * (consistent - before), consistent
    return stft.inverse(magnitude * _unit(target), len(padded)).numpy()[: len(sound)]


def _unit(spectrum: Tensor) -> Tensor:
    return spectrum / spectrum.abs().clamp(min=1e-9)


@cache
def _mel_pair() -> tuple[Float[Tensor, "mels freq"], Float[Tensor, "freq mels"]]:
    bands = mel_filterbank(RATE, 1024, 80)
    return bands.float(), torch.linalg.pinv(bands).float()


def _world(sound: Sound, seed: int) -> Sound:
    from harmonia.data.render.speech import world

    pyworld: Any = world()
    signal = sound.astype(np.float64)
    coarse, times = pyworld.dio(signal, RATE, f0_floor=60.0, f0_ceil=600.0)
    f0 = pyworld.stonemask(signal, coarse, times, RATE)
    envelope = pyworld.cheaptrick(signal, f0, times, RATE)
    aperiodicity = pyworld.d4c(signal, f0, times, RATE)
    # WORLD rounds up to whole frames of 5 ms
    return pyworld.synthesize(f0, envelope, aperiodicity, RATE)[: len(sound)].astype(np.float32)


def _compressed(sound: Sound, seed: int, *, form: str, subtype: str, level: float) -> Sound:
    soundfile = require("soundfile", extra="audio")
    peak = float(np.abs(sound).max()) + 1e-9
    with io.BytesIO() as memory:
        options = {"format": form, "subtype": subtype, "compression_level": level}
        with soundfile.SoundFile(memory, "w", RATE, 1, **options) as file:
            for start in range(0, len(sound), RATE):  # libvorbis overflows its stack on long blocks
                file.write(sound[start : start + RATE] * (0.9 / peak))
        memory.seek(0)
        again = soundfile.read(memory, dtype="float32")[0][: len(sound)]
        return np.pad(again, (0, len(sound) - len(again))) * np.float32(peak / 0.9)


KINDS: dict[str, Machine] = {
    **{name: partial(_coded, name=name) for name in STRIDES},
    "griffin-lim": _griffin_lim,
    "world": _world,
    "mp3": partial(_compressed, form="MP3", subtype="MPEG_LAYER_III", level=0.3),
    "vorbis": partial(_compressed, form="OGG", subtype="VORBIS", level=0.5),
}
"""Ways to make a song again, by name."""
