"""Training: MixUp and SpecAugment by their laws, a difference that is learnt, the same seed the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.audio.sonics import Augmentation, SpecTTTra, SpecTTTraConfig, train_detector
from harmonia.audio.sonics.front_end import SonicsFrontEnd
from harmonia.audio.sonics.training import NO_AUGMENTATION, mean_logit, mel_levels
from harmonia.core.errors import InputError
from harmonia.parts.training import Plan

TINY = SpecTTTraConfig.tiny()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixup_blends_neighbours_and_their_labels_alike():
    x, y = torch.randn(4, 8, 9, generator=generator()), torch.tensor([0.0, 1.0, 1.0, 0.0])
    shares = []
    for seed in range(300):
        blended, labels = Augmentation(mixup=1.0, masking=0.0)(x, y, generator(seed))
        m = float(labels[1])  # item 1 has label 1, its neighbour 0 has label 0
        torch.testing.assert_close(blended, m * x + (1 - m) * x.roll(1, 0))
        torch.testing.assert_close(labels, m * y + (1 - m) * y.roll(1, 0))
        shares.append(m)
    # Beta(2.5, 2.5): mean 1/2, variance 1/24
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / 24, abs=0.01)


def test_half_of_the_batches_are_blended():
    x, y = torch.randn(4, 8, 9, generator=generator()), torch.tensor([0.0, 1.0, 0.0, 1.0])
    changed = [not torch.equal(Augmentation(masking=0.0)(x, y, generator(seed))[0], x) for seed in range(400)]
    assert np.mean(changed) == pytest.approx(0.5, abs=0.08)


def test_masks_are_short_stretches_of_zeros():
    x = torch.ones(2, 40, 60)
    widths = []
    for seed in range(200):
        masked, _ = Augmentation(mixup=0.0, masking=1.0, time_masks=1, band_masks=0)(x, torch.zeros(2), generator(seed))
        hidden = (masked[0, 0] == 0).nonzero()[:, 0]
        assert torch.equal(masked[0], masked[1])
        assert (masked[:, :, hidden] == 0).all()
        assert len(hidden) == 0 or int(hidden[-1] - hidden[0]) + 1 == len(hidden)
        widths.append(len(hidden))
    assert min(widths) == 0
    assert max(widths) == 7


def test_no_augmentation_changes_nothing():
    x, y = torch.randn(4, 8, 9), torch.tensor([0.0, 1.0, 0.0, 1.0])
    blended, labels = NO_AUGMENTATION(x, y, generator())
    assert torch.equal(blended, x)
    assert torch.equal(labels, y)


def songs(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Noise, every second one with a notch between its bands."""
    random = np.random.default_rng(seed)
    levels = [10 * random.standard_normal((128, 70)).astype(np.float16) for _ in range(count)]
    for level in levels[1::2]:
        level[40:50] -= 30
    return levels, np.arange(count) % 2


def test_a_difference_is_learnt_and_the_seed_decides(tmp_path):
    plan = Plan(steps=30, learning_rate=3e-3, warmup=3, ema_decay=0.8)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        trained = train_detector(
            SpecTTTra(TINY), *songs(12, 0), plan, batch=8, held_out=songs(10, 1), augmentation=NO_AUGMENTATION
        )
        runs.append(trained)
    assert runs[0].history[-1]["auc"] == 1.0
    for one, other in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_mean_logit_is_that_of_windows_that_half_overlap():
    torch.manual_seed(0)
    model, front_end = SpecTTTra(TINY).eval(), SonicsFrontEnd(TINY.input_shape)
    levels = mel_levels(front_end, 0.1 * torch.randn(31 * 512 + 40000, generator=generator()))
    starts = range(0, levels.shape[1] - 31, 16)
    windows = [torch.from_numpy(levels[:, start : start + 32].astype(np.float32)) for start in starts]
    with torch.no_grad():
        each = [model(front_end.standardised(window[None])).item() for window in windows]
    assert mean_logit(model, levels) == pytest.approx(np.mean(each), abs=1e-4)


def test_one_kind_of_song_is_refused():
    levels, _ = songs(4, 0)
    with pytest.raises(InputError, match="both kinds"):
        train_detector(SpecTTTra(TINY), levels, np.zeros(4, dtype=np.int64), Plan(steps=1))


def test_songs_shorter_than_a_window_are_refused():
    levels, labels = songs(4, 0)
    with pytest.raises(InputError, match="20 of 32 frames"):
        train_detector(SpecTTTra(TINY), [level[:, :20] for level in levels], labels, Plan(steps=1))
