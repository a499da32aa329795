"""What must hold to the last digit: sizes, layout, front-end, windows that share frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harmonia.audio.sonics.front_end import RATE, SonicsFrontEnd, resized
from harmonia.audio.sonics.network import CLIPS, FRAMES, SpecTTTra, SpecTTTraConfig
from harmonia.audio.sonics.windows import Source, WindowLevels, window_starts
from harmonia.core.claim import Measured, claim
from harmonia.data import demo_song
from harmonia.parts.log_mel import LogMel

# Parameters and tokens of the released models by variant and seconds, counted in the official code.
RELEASED = {
    ("alpha", 5): (16_828_045, 170),
    ("beta", 5): (16_985_101, 67),
    ("gamma", 5): (17_172_493, 43),
    ("alpha", 120): (18_679_693, 1376),
    ("beta", 120): (21_428_365, 790),
    ("gamma", 120): (24_313_357, 559),
}


@claim(
    "Six released shapes have the published numbers of parameters and tokens",
    place="official code; 17 to 24 M parameters in the results table",
    unit="differences",
    better="zero",
    tier="quick",
)
def sizes(seed: int) -> Measured:
    differences = 0
    for (variant, seconds), (parameters, tokens) in RELEASED.items():
        config = SpecTTTraConfig.released(variant, seconds)
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in SpecTTTra(config).parameters())
        differences += (count != parameters) + (config.tokens != tokens)
    return Measured(float(differences))


@claim(
    "The weights have the layout of the released files",
    place="state dict of the official classifier, without its two front-end buffers",
    unit="differences",
    better="zero",
    tier="quick",
)
def layout(seed: int) -> Measured:
    differences = 0
    for variant, seconds in RELEASED:
        with torch.device("meta"):
            model = SpecTTTra(SpecTTTraConfig.released(variant, seconds))
        own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        differences += len(set(own.items()) ^ set(released_layout(variant, seconds).items()))
    return Measured(float(differences))


def released_layout(variant: str, seconds: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released file, written down independently of the network."""
    (f_clip, t_clip), frames, dim, hidden = CLIPS[variant], FRAMES[float(seconds)], 384, 1025
    shapes: dict[str, tuple[int, ...]] = {"classifier.weight": (1, dim), "classifier.bias": (1,)}
    for name, channels, clip, length in (("temporal", 128, t_clip, frames), ("spectral", frames, f_clip, 128)):
        tokenizer = f"encoder.st_tokenizer.{name}_tokenizer."
        shapes |= {
            f"{tokenizer}conv1d.weight": (dim, channels, clip),
            f"{tokenizer}pos_encoder.pe": (1, length // clip, dim),
            f"{tokenizer}norm_pre.weight": (dim,),
            f"{tokenizer}norm_pre.bias": (dim,),
        }
    for number in range(12):
        block = f"encoder.transformer.blocks.{number}."
        norms = {f"{block}norm{n}.{part}": (dim,) for n in (1, 2) for part in ("weight", "bias")}
        shapes |= norms | {
            f"{block}attn.qkv.weight": (3 * dim, dim),
            f"{block}attn.proj.weight": (dim, dim),
            f"{block}attn.proj.bias": (dim,),
            f"{block}mlp.fc1.weight": (hidden, dim),
            f"{block}mlp.fc1.bias": (hidden,),
            f"{block}mlp.fc2.weight": (dim, hidden),
            f"{block}mlp.fc2.bias": (dim,),
        }
    return shapes


@claim(
    "Level does not matter: the spectrogram of g x is that of x",
    place="follows from standardising decibels",
    unit="max abs, standard deviations",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def gain_of_spectrogram(seed: int) -> Measured:
    front_end, sound = SonicsFrontEnd((128, 128)), _window(seed)
    moved = [_gap(front_end(g * sound), front_end(sound)) for g in (0.01, 0.1, 10.0)]
    return Measured(max(moved), note="largest of g = 0.01, 0.1, 10")


@claim(
    "Level does not matter: the logit of g x is that of x",
    place="follows from standardising decibels",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-3,
)
def gain_of_logit(seed: int) -> Measured:
    model, front_end, sound = _random("gamma", 5, seed), SonicsFrontEnd((128, 128)), _window(seed)
    with torch.inference_mode():
        moved = [_gap(model(front_end(g * sound)), model(front_end(sound))) for g in (0.01, 0.1, 10.0)]
    return Measured(max(moved), note="largest of g = 0.01, 0.1, 10; random weights")


@claim(
    "The front-end is its definition in float64",
    place="torchaudio's mel spectrogram, frame by frame",
    unit="dB",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def definition(seed: int) -> Measured:
    """Filters as the release has them, computed in float32; all else of the definition in float64.

    Noise goes through in float32, as in use; the song in float64, for in float32 the transform's rounding shows in
    bands some 65 dB below the loudest, by a little more than the tolerance. The note says by how much.
    """
    noise = torch.randn(5 * RATE, generator=torch.Generator().manual_seed(seed))
    song, log_mel = _window(seed)[0], LogMel("sonics")
    gaps = [_gap(log_mel(sound).double(), _defined(sound, log_mel)) for sound in (noise, song.double(), song)]
    return Measured(
        max(gaps[:2]), note=f"noise in float32, a song in float64; in float32 the song is {gaps[2]:.1e} dB off"
    )


def _defined(sound: Tensor, log_mel: LogMel) -> Tensor:
    padded = np.pad(sound.double().numpy(), 1024, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::512] * window
    level = 10 * np.log10(np.maximum(log_mel.filters.double().numpy() @ np.abs(np.fft.rfft(frames).T) ** 2, 1e-10))
    return torch.from_numpy(np.maximum(level, level.max() - 80))


@claim(
    "The mel filters have 2,019 weights and no empty band",
    place="torchaudio's filters for 16 kHz, 2048, 128 bands from 20 Hz",
    unit="differences",
    better="zero",
    tier="quick",
)
def filters(seed: int) -> Measured:
    weights = LogMel("sonics").filters
    return Measured(float(abs(int(weights.count_nonzero()) - 2019) + int((weights.sum(1) == 0).sum())))


@claim(
    "A spectrogram of the right shape is not resized",
    place="half-pixel bilinear interpolation",
    unit="max abs",
    better="zero",
    tier="quick",
)
def identity_resize(seed: int) -> Measured:
    spectrogram = torch.randn(1, 128, 3744, generator=torch.Generator().manual_seed(seed))
    return Measured(_gap(resized(spectrogram, (128, 3744)), spectrogram))


@claim(
    "A window of a batch is judged as if it were alone",
    place="one 80 dB floor a window",
    unit="max abs, standard deviations",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def alone(seed: int) -> Measured:
    return Measured(_batch_mate(seed, compat=False))


@claim(
    "The official floor lets a loud batch mate move a quiet window",
    place="official code; compat_batch_topdb=True",
    unit="max abs, standard deviations",
    better="higher",
    tier="quick",
    gate=1.0,
)
def batch_mates(seed: int) -> Measured:
    """Not a virtue: the defect that the default does not have, kept to reproduce published tables."""
    return Measured(_batch_mate(seed, compat=True), note="60 dB between the two windows")


def _batch_mate(seed: int, *, compat: bool) -> float:
    front_end = SonicsFrontEnd((128, 128), compat_batch_topdb=compat)
    pair = torch.cat([1e-3 * _window(seed), _window(seed + 1)])
    return _gap(front_end(pair)[:1], front_end(pair[:1]))


@claim(
    "Windows that share frames are those cut out one by one",
    place="sliding windows, ours",
    unit="dB",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def shared_frames(seed: int) -> Measured:
    sound = demo_song().mono().resampled(RATE).samples[0]
    log_mel, samples, worst = LogMel("sonics"), 5 * RATE, 0.0
    starts = window_starts(len(sound), samples, 512, RATE)
    levels = WindowLevels(log_mel, samples)(Source(len(sound), lambda start, stop: sound[start:stop]), starts)
    for start, level in zip(starts, levels, strict=True):
        one = log_mel.level(log_mel.power(torch.from_numpy(sound[start : start + samples])))
        worst = max(worst, _gap(level, one))
    return Measured(worst, note=f"{len(starts)} windows")


def _window(seed: int) -> Tensor:
    """5 s of the embedded song, in which no bin lies at the floor of the logarithm, thanks to a little noise."""
    sound = demo_song().mono().resampled(RATE).cut(2.0 + seed % 8, 7.0 + seed % 8)
    noise = torch.randn(1, 5 * RATE, generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(sound.samples) + 1e-3 * noise


def _random(variant: str, seconds: int, seed: int) -> SpecTTTra:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpecTTTra(SpecTTTraConfig.released(variant, seconds)).eval()


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
