"""The headlines of Mel-RoFormer, measured at a scale a laptop affords, and the identities its parts must keep.

All songs here are rendered (`harmonia.data.render`): voices of speech synthesisers singing over a synthesised band.
Numbers on them are not comparable with those on MUSDB18-HQ or MIR-ST500; directions are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from harmonia.audio.mel_roformer.bands import SPLITS, Split
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.separator import ChunkedSeparator
from harmonia.audio.mel_roformer.stems import Stems
from harmonia.audio.mel_roformer.task import load_separator
from harmonia.audio.mel_roformer.training import (
    FAST_LOSS,
    separation_scores,
    train_separator,
    train_transcriber,
    transcription_scores,
)
from harmonia.audio.mel_roformer.transcriber import VocalMelodyTranscriber
from harmonia.audio.mel_roformer.transcription import MelodyNetwork
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import Song, demo_truth
from harmonia.parts.attention import rotate
from harmonia.parts.metrics import note_f1, si_sdr
from harmonia.parts.spectral import STFT
from harmonia.parts.training import Plan

M = TypeVar("M", bound=nn.Module)
RENDERED = "rendered songs, not recordings"
TINY = MelBandRoformerConfig(
    sample_rate=16000, channels=2, n_fft=512, hop_length=160, num_bands=12, dim=16, depth=1, heads=2, head_dim=8
)


# ---------------------------------------------------------------------------------------------- identities, exact


@claim(
    "A mask of one gives the mixture back",
    place="Sec. 3: mask, band averaging, inverse STFT",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def identity_mask(seed: int) -> Measured:
    """Zero last weights, value half of the biases 1 + 0i, gate half wide open."""
    model = _random(MelBandRoformer, TINY, seed)
    with torch.no_grad():
        for band in model.mask_estimators[0].to_freqs:  # type: ignore[union-attr]
            last = band[0][-1]
            half = len(last.bias) // 2
            last.weight.zero_()
            last.bias[:half:2], last.bias[1:half:2], last.bias[half:] = 1.0, 0.0, 40.0
        mixture = 0.1 * _noise((1, 2, 12345), seed)
        return Measured(float((model(mixture)[:, 0] - mixture).abs().max()))


@claim(
    "Level does not matter: model(g x) = g model(x)",
    place="follows from the RMS normalisation of every band",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def homogeneity(seed: int) -> Measured:
    model = _random(MelBandRoformer, TINY, seed).eval()
    mixture = _noise((1, 2, 16000), seed)
    with torch.no_grad():
        one = model(mixture)
        errors = [float((model(g * mixture) / g - one).abs().max() / one.abs().max()) for g in (1e-3, 0.1, 10.0)]
    return Measured(max(errors), note="largest of g = 0.001, 0.1, 10")


@claim(
    "Chunks of an identity network add up to the song",
    place="chunked inference, Sec. 4.2",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def overlap_add(seed: int) -> Measured:
    """Lengths around one chunk and many chunks, overlaps 0 to 7/8, and the chunks of compat="msst" from one half on."""

    class Identity(MelBandRoformer):
        def forward(self, mixture: torch.Tensor) -> torch.Tensor:
            return mixture[:, None]

    size, worst = 16000, 0.0
    compats: tuple[Literal["msst"] | None, ...] = (None, "msst")
    for compat in compats:
        for number in range(2 if compat else 1, 9):
            separator = ChunkedSeparator(
                Identity(TINY),
                chunk_seconds=1.0,
                overlap=1 - 1 / number,
                compat=compat,
                device="cpu",
            )
            for length in (1, size - 1, size, size + 1, 2 * size + 17):
                mixture = _noise((2, length), seed).numpy()
                worst = max(worst, float(np.abs(separator.separate(mixture, size)["vocals"] - mixture).max()))
    return Measured(worst)


@claim(
    "Attention sees distances only",
    place="rotary positions, arXiv 2104.09864",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def rotary_distance(seed: int) -> Measured:
    q, k = _noise((2, 8), seed)
    length = 200
    turned = [rotate(x.expand(length, 1, 8), pairing="adjacent")[:, 0] for x in (q, k)]
    logits = turned[0] @ turned[1].T
    spread = [float(torch.diagonal(logits, d).max() - torch.diagonal(logits, d).min()) for d in range(-150, 151)]
    return Measured(max(spread))


@claim(
    "The inverse STFT inverts the STFT",
    place="n_fft 2048, hop 441, Hann",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def round_trip(seed: int) -> Measured:
    stft, sound = STFT(2048, 441, pad_mode="reflect"), 0.1 * _noise((2, 44100), seed)
    return Measured(float((stft.inverse(stft(sound), 44100) - sound).abs().max()))


@claim(
    "The weights have the layout of the public checkpoints",
    place="state dict of the KimberleyJensen vocals model",
    unit="differences",
    better="zero",
    tier="quick",
)
def layout(seed: int) -> Measured:
    """684 names and shapes written down from the checkpoint's layout, against those of the network."""
    config = MelBandRoformerConfig()
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in MelBandRoformer(config).state_dict().items()}
    published = public_layout(config)
    differences = len(set(own.items()) ^ set(published.items())) + abs(len(published) - 684)
    # The rotary frequencies of all layers along an axis are one tensor that the file repeats.
    rotary = 2 * config.head_dim // 2
    parameters = rotary + sum(int(np.prod(shape)) for name, shape in own.items() if not name.endswith("freqs"))
    differences += parameters != 228_202_852
    return Measured(float(differences), note=f"{len(own)} tensors, {parameters:,} parameters")


def public_layout(config: MelBandRoformerConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a public checkpoint of the default configuration, written down independently of the network.

    Bins per band are those measured on librosa's filterbank for 44.1 kHz, n_fft 2048, 60 bands.
    """
    bins = [7, *[6] * 14, 7, 7, 7, 9, 9, 9, 10, 10, 11, 13, 13, 13, 15, 16, 17, 19, 20, 20, 22, 24, 26, 28, 29, 31, 33]
    bins += [36, 39, 41, 44, 47, 50, 54, 57, 61, 66, 71, 76, 80, 86, 93, 99, 105, 113, 122, 130]
    dim, inner = config.dim, config.heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(config.depth):
        for j in range(2):
            attention, mlp = f"layers.{i}.{j}.layers.0.0.", f"layers.{i}.{j}.layers.0.1.net."
            shapes |= {
                f"{attention}rotary_embed.freqs": (config.head_dim // 2,),
                f"{attention}norm.gamma": (dim,),
                f"{attention}to_qkv.weight": (3 * inner, dim),
                f"{attention}to_gates.weight": (config.heads, dim),
                f"{attention}to_gates.bias": (config.heads,),
                f"{attention}to_out.0.weight": (dim, inner),
                f"{mlp}0.gamma": (dim,),
                f"{mlp}1.weight": (4 * dim, dim),
                f"{mlp}1.bias": (4 * dim,),
                f"{mlp}4.weight": (dim, 4 * dim),
                f"{mlp}4.bias": (dim,),
                f"layers.{i}.{j}.norm.gamma": (dim,),
            }
    for k, count in enumerate(bins):
        width = 4 * count
        split, mask = f"band_split.to_features.{k}.", f"mask_estimators.0.to_freqs.{k}.0."
        shapes |= {f"{split}0.gamma": (width,), f"{split}1.weight": (dim, width), f"{split}1.bias": (dim,)}
        for layer, (rows, columns) in zip((0, 2, 4), ((4 * dim, dim), (4 * dim, 4 * dim), (2 * width, 4 * dim))):
            shapes |= {f"{mask}{layer}.weight": (rows, columns), f"{mask}{layer}.bias": (rows,)}
    return shapes


# ------------------------------------------------------------------------------------- the embedded weights at work


@claim(
    "The embedded weights separate the voice of the embedded song",
    place="abstract: vocal separation",
    unit="dB SI-SDR",
    better="higher",
    tier="quick",
    tolerance=6.0,
)
def embedded_song(seed: int) -> Measured:
    """A rendered song of a voice that no training song has; the baseline, to be beaten by 6 dB, is the mixture."""
    truth = demo_truth()
    separator = ChunkedSeparator(load_separator("embedded"), device="cpu")
    estimate = separator.separate(truth.mixture.samples, truth.mixture.rate)["vocals"]
    vocals = truth.stems["vocals"].samples
    return Measured(si_sdr(vocals, estimate), si_sdr(vocals, truth.mixture.samples), note=RENDERED)


@claim(
    "The embedded weights write down the melody of the embedded song",
    place="abstract: vocal melody transcription",
    unit="F1 of onset and pitch",
    better="higher",
    tier="quick",
    tolerance=0.2,
)
def embedded_melody(seed: int) -> Measured:
    """The baseline, to be beaten by 0.2, follows the strongest periodicity of the mixture, frame by frame."""
    truth = demo_truth()
    notes = VocalMelodyTranscriber.from_pretrained(device="cpu").predict(truth.mixture.samples, truth.mixture.rate)
    found = note_f1(truth.notes, list(notes))
    plain = note_f1(truth.notes, periodicity_notes(truth.mixture.mono().samples[0], truth.mixture.rate))
    note = f"onset {found.onset:.3f}, with offset {found.onset_pitch_offset:.3f}; {RENDERED}"
    return Measured(found.onset_pitch, plain.onset_pitch, note)


@claim(
    "The embedded weights separate unseen voices in unseen songs",
    place="Table 1: vocal separation",
    unit="dB SI-SDR",
    better="higher",
    tier="full",
    tolerance=6.0,
)
def held_out_songs(seed: int) -> Measured | None:
    songs = rendered("test", 16, 44100)
    if songs is None:
        return None
    scores = separation_scores(load_separator("embedded"), songs)
    return Measured(scores["si_sdr"], scores["si_sdr"] - scores["gain"], f"mean of 16 songs; {RENDERED}")


# ------------------------------------------------------------------------------------------- the papers' comparisons

BANDS = MelBandRoformerConfig(
    sample_rate=16000,
    channels=1,
    n_fft=1024,
    hop_length=160,
    num_bands=24,
    dim=48,
    depth=2,
    heads=2,
    head_dim=32,
    mask_depth=1,
    mask_expansion=2,
)


@claim(
    "Mel bands beat bands of equal width",
    place="arXiv 2310.01809, Sec. 4",
    unit="dB SI-SDR",
    better="higher",
    tier="full",
    tolerance=0.3,
)
def mel_against_uniform(seed: int) -> Measured | None:
    runs = compare_splits(seed)
    if runs is None:
        return None
    return Measured(float(np.mean(runs["mel"])), float(np.mean(runs["uniform"])), _spread(runs))


@claim(
    "Mel bands are no worse than hand-made bands",
    place="arXiv 2310.01809, Sec. 4",
    unit="dB SI-SDR between mel and hand-made bands",
    better="higher",
    tier="full",
)
def mel_against_heuristic(seed: int) -> Measured | None:
    """The baseline is a difference of -0.1 dB: as good within the error of the seeds."""
    runs = compare_splits(seed)
    if runs is None:
        return None
    return Measured(float(np.mean(runs["mel"]) - np.mean(runs["heuristic"])), -0.1, _spread(runs))


@cache
def compare_splits(
    seed: int, config: MelBandRoformerConfig = BANDS, steps: int = 400, seeds: int = 3, songs: int = 60, tests: int = 16
) -> dict[Split, list[float]] | None:
    """SI-SDR of held-out voices after the same training with each split, for several seeds.

    Arguments:
        seed: The first seed; the others follow.
        config: The network; only its split is changed.
        steps: Steps of each run; 400 take about 25 min for all nine runs on two cores.
        seeds: Runs of each split.
        songs: Rendered songs to train on.
        tests: Rendered songs to measure on.
    """
    train = rendered("train", songs, config.sample_rate, config.channels)
    test = rendered("test", tests, config.sample_rate, config.channels)
    if train is None or test is None:
        return None
    runs: dict[Split, list[float]] = {split: [] for split in SPLITS}
    for number in range(seeds):
        plan = Plan(steps=steps, learning_rate=6e-3, warmup=50, ema_decay=0.99, seed=seed + number)
        for split in SPLITS:
            shape = MelBandRoformerConfig(**{**vars(config), "split": split})
            model = _random(MelBandRoformer, shape, plan.seed)
            trained = train_separator(model, train, plan, seconds=2.0, batch=2, loss=FAST_LOSS)
            runs[split].append(separation_scores(trained.model, test)["si_sdr"])
    return runs


@claim(
    "Separation weights help transcription",
    place="abstract: two-step training",
    unit="F1 of onset and pitch, percent",
    better="higher",
    tier="full",
    tolerance=5.0,
)
def pretraining_helps(seed: int, steps: int = 150, songs: int = 40, tests: int = 8) -> Measured | None:
    """Fine-tuning from separation weights or from random ones, on a quarter of the separator's songs."""
    train, test = rendered("train", songs, 44100), rendered("test", tests, 44100)
    if train is None or test is None:
        return None
    separator = load_separator("embedded")
    scores = []
    for start in (separator, _random(MelBandRoformer, separator.config, seed)):
        network = _random(MelodyNetwork.continuing, start, seed)
        plan = Plan(steps=steps, learning_rate=2e-3, warmup=20, ema_decay=0.98, seed=seed)
        trained = train_transcriber(network, train, plan, batch=2)
        scores.append(100 * transcription_scores(trained.model, test)["conp"])
    return Measured(scores[0], scores[1], f"{songs} songs, {steps} steps; baseline: random start; {RENDERED}")


@claim(
    "A larger network separates unseen voices",
    place="Table 1: vocal separation",
    unit="dB SI-SDR",
    better="higher",
    tier="gpu",
    tolerance=6.0,
)
def larger(seed: int, steps: int = 4000) -> Measured | None:
    """K = 60, D = 128, L = 4 at 44.1 kHz, about 15 min on a data-centre GPU; the baseline is the mixture."""
    if not torch.cuda.is_available():
        return None
    train, test = rendered("train", 150, 44100), rendered("test", 16, 44100)
    if train is None or test is None:
        return None
    config = MelBandRoformerConfig(dim=128, depth=4, heads=4, head_dim=32, mask_depth=1, mask_expansion=2)
    plan = Plan(steps=steps, learning_rate=3e-3, precision="bf16", seed=seed)
    trained = train_separator(
        _random(MelBandRoformer, config, seed), train, plan, seconds=3.0, batch=16, loss=FAST_LOSS
    )
    scores = separation_scores(trained.model, test)
    return Measured(scores["si_sdr"], scores["si_sdr"] - scores["gain"], RENDERED)


# ------------------------------------------------------------------------------------------------------------ helpers


def rendered(split: Literal["train", "test"], count: int, rate: int, channels: int = 2) -> list[Stems] | None:
    """Songs from the renderer's cache; None where its programs or voices are not installed.

    They are rendered at 44.1 kHz and resampled, so that all claims share them.
    """
    from harmonia.data.render import corpus

    try:
        return [
            Stems.of(f"{split} {number}", *_sides(song, rate, channels), song.notes)
            for number, song in enumerate(corpus(split, count))
        ]
    except MissingDependency:
        return None


def periodicity_notes(samples: np.ndarray, rate: int) -> list[tuple[float, float, float]]:
    """The simplest transcription: the strongest autocorrelation of each frame; a note is a pitch that stays 100 ms."""
    size, hop = 2048, rate // 50
    starts = range(0, max(1, len(samples) - size), hop)
    shortest, longest = int(rate / 1000), int(rate / 80)
    pitches = []
    for start in starts:
        spectrum = np.fft.rfft(samples[start : start + size], 2 * size)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:longest]
        lag = shortest + int(np.argmax(correlation[shortest:]))
        heard = correlation[lag] > 0.5 * correlation[0] > 0
        pitches.append(round(69 + 12 * np.log2(rate / lag / 440)) if heard else -1)
    borders = [0, *(np.flatnonzero(np.diff(pitches)) + 1).tolist(), len(pitches)]
    spans = pairwise(borders)
    return [(a / 50, b / 50, float(pitches[a])) for a, b in spans if b - a >= 5 and pitches[a] >= 0]


def _sides(song: Song, rate: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    parts = (song.sound("vocals").resampled(rate), song.instrumental.resampled(rate))
    return tuple((part.mono() if channels == 1 else part.stereo()).samples for part in parts)


def _spread(runs: dict[Split, list[float]]) -> str:
    listed = "; ".join(f"{split} {' '.join(f'{value:.2f}' for value in runs[split])}" for split in runs)
    return f"by seed: {listed}; {RENDERED}"


def _random(make: Callable[[Any], M], shape: Any, seed: int) -> M:
    """A network with the initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(shape)


def _noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
