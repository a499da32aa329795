"""The papers' comparisons: ways to cut the spectrum into bands, training in two stages, larger networks."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from harmonia.audio.mel_roformer.bands import SPLITS, Split
from harmonia.audio.mel_roformer.claims.songs import RENDERED, random_network, rendered
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.task import load_separator
from harmonia.audio.mel_roformer.training import (
    FAST_LOSS,
    separation_scores,
    train_separator,
    train_transcriber,
    transcription_scores,
)
from harmonia.audio.mel_roformer.transcription import MelodyNetwork
from harmonia.core.claim import Measured, claim
from harmonia.parts.training import Plan

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
            model = random_network(MelBandRoformer, shape, plan.seed)
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
    for start in (separator, random_network(MelBandRoformer, separator.config, seed)):
        network = random_network(MelodyNetwork.continuing, start, seed)
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
        random_network(MelBandRoformer, config, seed), train, plan, seconds=3.0, batch=16, loss=FAST_LOSS
    )
    scores = separation_scores(trained.model, test)
    return Measured(scores["si_sdr"], scores["si_sdr"] - scores["gain"], RENDERED)


def _spread(runs: dict[Split, list[float]]) -> str:
    listed = "; ".join(f"{split} {' '.join(f'{value:.2f}' for value in runs[split])}" for split in runs)
    return f"by seed: {listed}; {RENDERED}"
