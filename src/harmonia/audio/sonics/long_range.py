"""Pieces whose only flaw takes half a minute to notice: does a long window see what a short one cannot?

A piece has four sections of 16 s, A B A' B', over one loop of chords with a new melody each time. Every section but the
first begins with a change of tuning by d, up or down. In a real piece B leaves home and A' comes back to it; in a fake
one the tuning goes on in the same direction, as generators lose their key. Each single change is up or down with equal
odds in both, so that windows of less than 16 s, which hold at most one, are alike in both kinds; only who compares
distant sections can tell them apart.

The spectrograms (128 mel bands, 7.5 frames a second) are computed from the partials, without a detour over sound.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.sonics.network import SpecTTTra, SpecTTTraConfig
from harmonia.parts.detection import detection
from harmonia.parts.training import Plan, train

BANDS, FRAMES, RATE_HZ = 128, 480, 7.5
SECTION = FRAMES // 4
SHORT = 36
"""Frames of the short window, 4.8 s."""

CHORDS = np.array([[0, 4, 7], [-3, 0, 4], [-7, -3, 0], [-5, -1, 2]])
SCALE = np.array([0, 2, 4, 7, 9, 12, 14, 16])
PARTIALS = np.arange(1, 6)

Context = Literal["short", "long"]


def piece(random: np.random.Generator, fake: bool) -> Float[ndarray, "bands frames"]:
    """The standardised spectrogram of a piece.

    Example:
        >>> piece(np.random.default_rng(0), fake=True).shape
        (128, 480)
    """
    direction, step = random.choice([-1.0, 1.0]), random.uniform(1.0, 2.0)
    way = np.array([0, 1, 2, 3]) if fake else np.array([0, 1, 0, 1])
    # Whichever section is looked at, its tuning is as likely to be anywhere.
    tuning = random.uniform(-6, 6) + direction * step * (way - way[random.integers(4)])
    frames = np.arange(FRAMES)
    semitones = tuning[frames // SECTION] + 0.03 * random.standard_normal(FRAMES)
    chord = CHORDS[random.permutation(4)][frames // (SECTION // 4) % 4].T + 57
    melody = random.choice(SCALE, FRAMES // 4)[frames // 4] + 69
    voices = np.concatenate([chord, melody[None]]) + semitones
    fading = np.exp(-np.stack([frames % (SECTION // 4) / 40] * 3 + [frames % 4 / 3]))
    loudness = fading * np.exp(0.5 * random.standard_normal((4, FRAMES // 4)))[:, frames // 4]
    hertz = 440 * 2 ** ((voices[:, None] - 69) / 12) * PARTIALS[:, None]
    energy = (loudness[:, None] / PARTIALS[:, None] ** random.uniform(0.8, 1.4)) ** 2
    picture = _banded(hertz.reshape(-1, FRAMES), energy.reshape(-1, FRAMES))
    picture += 1e-5 * random.exponential(size=picture.shape)
    level = 10 * np.log10(picture)
    return ((level - level.mean()) / level.std(ddof=1)).astype(np.float32)


def _banded(hertz: Float[ndarray, "partials frames"], energy: Float[ndarray, "partials frames"]) -> ndarray:
    """Energy of partials in mel bands: each is shared by the two triangles it lies under."""
    low, high = 2595 * np.log10(1 + np.array([20.0, 8000.0]) / 700)
    place = (2595 * np.log10(1 + hertz / 700) - low) / (high - low) * (BANDS + 1) - 1
    below = np.floor(place).astype(int)
    picture = np.zeros((BANDS, FRAMES))
    columns = np.broadcast_to(np.arange(FRAMES), place.shape)
    for band, share in ((below, below + 1 - place), (below + 1, place - below)):
        inside = (band >= 0) & (band < BANDS)
        np.add.at(picture, (band[inside], columns[inside]), (energy * share)[inside])
    return picture


def balanced_accuracy(context: Context, *, steps: int = 600, batch: int = 16, tests: int = 200, seed: int = 0) -> float:
    """Balanced accuracy on unseen pieces of a network that was trained with short or long windows.

    The short one hears all of a piece too: its logits are averaged over windows that lie side by side.

    Arguments:
        context: ``short`` (4.8 s) or ``long`` (64 s).
        steps: Steps of training; every piece is new.
        batch: Windows of a step.
        tests: Pieces to measure on.
        seed: Of weights and pieces.
    """
    frames = SHORT if context == "short" else FRAMES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpecTTTra(
            SpecTTTraConfig(input_shape=(BANDS, frames), dim=96, depth=4, heads=3, seconds=frames / RATE_HZ)
        )

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        labels = [bool(number % 2) for number in range(batch)]
        starts = random.integers(FRAMES - frames + 1, size=batch)
        windows = [piece(random, label)[:, start : start + frames] for label, start in zip(labels, starts, strict=True)]
        return torch.from_numpy(np.stack(windows)), torch.tensor(labels, dtype=torch.float32)

    def loss(network: nn.Module, examples: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(network(examples[0]), examples[1])

    plan = Plan(steps, learning_rate=1e-3, warmup=min(50, steps), ema_decay=0.98, clip_norm=5.0, seed=seed)
    trained = train(model, draw, loss, plan).model.cpu()
    random = np.random.default_rng([seed, 1])
    labels = [number % 2 for number in range(tests)]
    logits = [_logit(trained, piece(random, bool(label)), frames) for label in labels]
    return detection(labels, logits, threshold=0.0).balanced_accuracy


@torch.inference_mode()
def _logit(model: SpecTTTra, picture: Float[ndarray, "bands frames"], frames: int) -> float:
    starts = range(0, FRAMES - frames + 1, frames)
    windows = np.stack([picture[:, start : start + frames] for start in starts])
    return float(model(torch.from_numpy(windows)).mean())
