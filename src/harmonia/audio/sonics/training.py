"""Training SpecTTTra on labelled songs: random windows, as many real as synthetic, MixUp and SpecAugment.

The spectrograms of all songs are made once and kept in half precision (0.3 MB per minute), so that a step costs the
network only. The loss is the binary cross-entropy with labels smoothed by 0.02, ``y (1 - e) + e / 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int64
from numpy import ndarray
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.sonics.front_end import SonicsFrontEnd, resized
from harmonia.audio.sonics.network import SpecTTTra
from harmonia.core.errors import InputError
from harmonia.parts.detection import detection
from harmonia.parts.training import Plan, Trained, train

Levels = Float16[ndarray, "mels frames"]
"""Mel power of a song in decibels."""

SMOOTHING = 0.02


@dataclass(frozen=True)
class Augmentation:
    """What is done to the spectrograms of a batch while training, before they are resized.

    MixUp blends each window and its label with its neighbour in the batch, ``x <- m x + (1 - m) x'`` with one m from
    Beta(2.5, 2.5) for the whole batch. SpecAugment then sets up to `time_masks` stretches of frames and `band_masks`
    groups of bands to zero, the mean of a standardised spectrogram.

    Attributes:
        mixup: Probability of MixUp.
        alpha: Both parameters of the Beta distribution.
        masking: Probability of SpecAugment.
        time_masks, band_masks: Number of masks.
        longest: A mask covers less than this many frames or bands.
    """

    mixup: float = 0.5
    alpha: float = 2.5
    masking: float = 0.5
    time_masks: int = 2
    band_masks: int = 1
    longest: int = 8

    def __call__(
        self, spectrograms: Float[Tensor, "batch mels time"], labels: Float[Tensor, " batch"], random: torch.Generator
    ) -> tuple[Float[Tensor, "batch mels time"], Float[Tensor, " batch"]]:
        """Blended and masked spectrograms with their labels."""
        if _chance(random) < self.mixup:
            m = _numpy(random).beta(self.alpha, self.alpha)
            spectrograms = m * spectrograms + (1 - m) * spectrograms.roll(1, 0)
            labels = m * labels + (1 - m) * labels.roll(1, 0)
        if _chance(random) < self.masking:
            masks = [-1] * self.time_masks + [-2] * self.band_masks
            for axis in masks:
                spectrograms = _masked(spectrograms, axis, self.longest, random)
        return spectrograms, labels


NO_AUGMENTATION = Augmentation(mixup=0.0, masking=0.0)


def train_detector(
    model: SpecTTTra,
    levels: Sequence[Levels],
    labels: Int64[ndarray, " songs"],
    plan: Plan,
    *,
    batch: int = 32,
    held_out: tuple[Sequence[Levels], Int64[ndarray, " tests"]] | None = None,
    augmentation: Augmentation = Augmentation(),
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[SpecTTTra]:
    """Train a network on random windows of songs.

    Arguments:
        model: The network, trained in place.
        levels: Mel power of each song in decibels, as `mel_levels` gives it; at least a window long.
        labels: 1 for synthetic.
        plan: Steps, rates and seed.
        batch: Windows of a step, half of them synthetic.
        held_out: Songs on which the averaged model is measured, and their labels.
        augmentation: MixUp and SpecAugment; `NO_AUGMENTATION` for neither.
        folder: Where checkpoints go, see `harmonia.parts.training.train`.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: only one kind of song, or a song shorter than a window.
    """
    front_end = SonicsFrontEnd(model.config.input_shape)
    frames = front_end.log_mel.frames(model.config.samples)
    kinds = [np.flatnonzero(labels == kind) for kind in (0, 1)]
    if not all(map(len, kinds)):
        raise InputError("a detector learns from both kinds of songs", f"labels {set(labels.tolist())}", "Add others.")
    shortest = min(level.shape[1] for level in levels)
    if shortest < frames:
        raise InputError("a song is shorter than a window", f"{shortest} of {frames} frames", "Pad it with silence.")

    def draw(random: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = [int(kind[int(torch.randint(len(kind), (), generator=random))]) for kind in kinds * (batch // 2)]
        # MixUp blends neighbours, which must not always be of different kinds.
        chosen = [chosen[place] for place in torch.randperm(len(chosen), generator=random)]
        windows = torch.stack([_crop(levels[song], frames, random) for song in chosen])
        truth = torch.tensor([float(labels[song]) for song in chosen])
        spectrograms, truth = augmentation(front_end.standardised(windows), truth, random)
        return resized(spectrograms, model.config.input_shape), truth

    def loss(network: nn.Module, examples: tuple[Tensor, Tensor]) -> Tensor:
        spectrograms, truth = examples
        smooth = truth * (1 - SMOOTHING) + 0.5 * SMOOTHING
        return F.binary_cross_entropy_with_logits(network(spectrograms), smooth)

    def evaluate(network: SpecTTTra) -> dict[str, float]:
        if held_out is None:
            return {}
        tests, truth = held_out
        found = detection(truth, [mean_logit(network, song) for song in tests], threshold=0.0)
        return {"auc": found.auc, "balanced_accuracy": found.balanced_accuracy}

    return train(model, draw, loss, plan, folder=folder, evaluate=evaluate, device=device)


def checked_labels(y: ArrayLike, count: int) -> Int64[ndarray, " songs"]:
    """Labels as 0 and 1, as many as there are songs.

    Raises:
        InputError: other labels, or not as many.
    """
    labels = np.asarray(y).ravel()
    if len(labels) != count:
        raise InputError("every song has one label", f"{len(labels)} labels, {count} songs", "Pass as many.")
    if not np.isin(labels, (0, 1)).all():
        raise InputError("labels are 1 (synthetic) and 0 (real)", np.unique(labels)[:5], "Map yours to these.")
    return labels.astype(np.int64)


def mel_levels(front_end: SonicsFrontEnd, sound: Float[Tensor, " time"]) -> Levels:
    """Mel power of a mono sound at 16 kHz in decibels, in half precision."""
    return front_end.log_mel.level(front_end.log_mel.power(sound)).numpy().astype(np.float16)


@torch.no_grad()
def mean_logit(model: SpecTTTra, levels: Levels) -> float:
    """Mean logit over windows that half overlap."""
    front_end = SonicsFrontEnd(model.config.input_shape)
    frames = front_end.log_mel.frames(model.config.samples)
    starts = range(0, levels.shape[1] - frames + 1, frames // 2)
    windows = torch.from_numpy(np.stack([levels[:, start : start + frames] for start in starts]).astype(np.float32))
    device = next(model.parameters()).device
    return float(model(resized(front_end.standardised(windows), model.config.input_shape).to(device)).mean())


def _crop(levels: Levels, frames: int, random: torch.Generator) -> Float[Tensor, "mels window"]:
    start = int(torch.randint(levels.shape[1] - frames + 1, (), generator=random))
    return torch.from_numpy(levels[:, start : start + frames].astype(np.float32))


def _masked(x: Tensor, axis: int, longest: int, random: torch.Generator) -> Tensor:
    """Zero a stretch along an axis: its length uniform below `longest`, its place uniform where it fits."""
    size = x.shape[axis]
    length = int(_chance(random) * min(longest, size))
    start = int(_chance(random) * (size - length))
    place = torch.arange(size)
    keep = ((place < start) | (place >= start + length)).to(x.dtype)
    return x * (keep if axis == -1 else keep[:, None])


def _chance(random: torch.Generator) -> float:
    return float(torch.rand((), generator=random))


def _numpy(random: torch.Generator) -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, (), generator=random)))
