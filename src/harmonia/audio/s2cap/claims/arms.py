"""CRESCENDO and demix supervision: the same captioner trained with and without them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.audio.s2cap.captioner import sentence
from harmonia.audio.s2cap.claims.clips import RENDERED, TESTS, rendered
from harmonia.audio.s2cap.decoding import beam_search
from harmonia.audio.s2cap.examples import Examples, prepare
from harmonia.audio.s2cap.manifest import Clip
from harmonia.audio.s2cap.network import Captioner
from harmonia.audio.s2cap.objective import Objective, Weights
from harmonia.audio.s2cap.scores import VOCAL, attribute_scores
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.audio.s2cap.training import train_captioner, train_text_encoder
from harmonia.core.claim import Measured, claim
from harmonia.parts.text_metrics import cider_d
from harmonia.parts.training import Plan

ARM = SmallConfig(dim=128, encoder_layers=2, decoder_layers=2)
CLIPS, STEPS, BATCH, SEEDS = 1200, 400, 24, 3
"""Voices are put over backings alike in tempo, mood, genre and level, some thirteen each: 16,000 mixtures."""

SCALE = f"{CLIPS} rendered clips remixed, {STEPS} steps of {BATCH}, width {ARM.dim}, {SEEDS} seeds; {RENDERED}"


class Arm(NamedTuple):
    """Scores of one way of training, one value a seed: F1 of gender, pitch and timbre by SNR, and CIDEr-D."""

    vocal_f1: list[float]
    quiet_f1: list[float]
    loud_f1: list[float]
    cider: list[float]


ARMS = {"base": (0.0, 0.0), "cre": (1.0, 0.0), "dem": (0.0, 1.0), "both": (1.0, 1.0), "vocals": (0.0, 0.0)}


@claim(
    "CRESCENDO and demix supervision raise the F1 of vocal attributes",
    place="abstract",
    unit="F1 gained",
    better="higher",
    tier="full",
    gate=0.03,
)
def additions_help(seed: int) -> Measured | None:
    arms = compare(seed)
    return None if arms is None else Measured(_gain(arms, "both", "base"), note=_told(arms))


@claim(
    "CRESCENDO and demix supervision do not lower CIDEr-D",
    place="abstract",
    unit="CIDEr-D gained",
    better="higher",
    tier="full",
    gate=0.0,
)
def additions_keep_cider(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    gained = float(np.mean(arms["both"].cider) - np.mean(arms["base"].cider))
    told = ", ".join(f"{name} {np.mean(arm.cider):.2f}" for name, arm in arms.items())
    return Measured(gained, note=f"CIDEr-D: {told}; {SCALE}")


@claim(
    "Demix supervision helps more where the backing is louder",
    place="what the supervision is for",
    unit="F1 gained at -10 dB beyond that at +10 dB",
    better="higher",
    tier="full",
    gate=0.0,
)
def demix_helps_in_noise(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    noisy = float(np.mean(arms["dem"].loud_f1) - np.mean(arms["base"].loud_f1))
    clean = float(np.mean(arms["dem"].quiet_f1) - np.mean(arms["base"].quiet_f1))
    return Measured(noisy - clean, note=f"gain {noisy:+.3f} at -10 dB, {clean:+.3f} at +10 dB; {SCALE}")


@claim(
    "Demix supervision closes the gap between hearing the mixture and hearing the voice alone",
    place="what the supervision is for",
    unit="share of the gap",
    better="higher",
    tier="full",
    gate=0.3,
)
def gap_closed(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    gap = _gain(arms, "vocals", "base")
    share = _gain(arms, "dem", "base") / gap if gap > 0 else float("nan")
    return Measured(share, note=f"gap {gap:+.3f} F1; {_told(arms)}")


@cache
def compare(
    seed: int, clips: int = CLIPS, tests: int = TESTS, steps: int = STEPS, seeds: int = SEEDS, config: SmallConfig = ARM
) -> dict[str, Arm] | None:
    """Train every arm from the same start on the same batches, and caption test clips at three levels of backing."""
    train, test = rendered("train", clips), rendered("test", tests)
    if train is None or test is None:
        return None
    tokenizer = Tokenizer.train([caption for clip in train for caption in clip.captions], config.vocabulary)
    encoder = LogMelEncoder(config)
    examples, held_out = (
        prepare(encoder, part, tokenizer.encode, seconds=6.0, max_length=config.max_length) for part in (train, test)
    )
    arms: dict[str, Arm] = {name: Arm([], [], [], []) for name in ARMS}
    for number in range(seeds):
        start = 100 * seed + number
        plan = Plan(steps=max(1, steps // 2), learning_rate=2e-3, warmup=1 + steps // 40, seed=start)
        captions = [words for choices in examples.captions for words in choices]
        text = train_text_encoder(captions, _sized(config, tokenizer, dropout=0.0), plan, device="cpu")
        for name, (crescendo, demix) in ARMS.items():
            model = _train_arm(name, examples, text, config, tokenizer, Weights(crescendo, demix), start, steps)
            _measure_arm(arms[name], model, tokenizer, held_out, test, alone=name == "vocals")
    return arms


def _sized(config: SmallConfig, tokenizer: Tokenizer, dropout: float) -> SmallConfig:
    return SmallConfig(**{**vars(config), "vocabulary": len(tokenizer), "dropout": dropout})


def _train_arm(
    name: str,
    examples: Examples,
    text: nn.Module,
    config: SmallConfig,
    tokenizer: Tokenizer,
    weights: Weights,
    seed: int,
    steps: int,
) -> Captioner:
    sized = _sized(config, tokenizer, config.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        objective = Objective(Captioner(LogMelEncoder(sized), SmallDecoder(sized)), text, weights)
    heard = examples
    if name == "vocals" and examples.vocals is not None:
        heard = dataclasses.replace(examples, mix=examples.vocals, vocals=None, backing=None)
    plan = Plan(steps=steps, learning_rate=1e-3, warmup=1 + steps // 20, ema_decay=0.99, seed=seed)
    return train_captioner(objective, heard, plan, batch=BATCH, nobody=0, device="cpu").model.captioner


def _measure_arm(
    arm: Arm, model: Captioner, tokenizer: Tokenizer, examples: Examples, clips: Sequence[Clip], alone: bool
) -> None:
    encoder, voice, backing = model.encoder, examples.vocals, examples.backing
    assert isinstance(encoder, LogMelEncoder)
    assert voice is not None
    assert backing is not None
    truths = [clip.attributes for clip in clips]

    def said(features: Tensor) -> list[str]:
        with torch.no_grad():
            memory = model.memory(features.float())
        return [sentence(tokenizer.decode(tokens or ())) for tokens in beam_search(model.decoder, memory, beam=1)]

    captions = said(voice if alone else examples.mix)
    arm.vocal_f1.append(attribute_scores(captions, truths, VOCAL).micro_f1)
    arm.cider.append(cider_d(captions, [clip.captions for clip in clips]))
    for values, snr in ((arm.quiet_f1, 10.0), (arm.loud_f1, -10.0)):
        # The rendered backing lies 0 dB below the voice on the mean; a gain is a shift of the log-mel features.
        shifted = backing.float() - snr * np.log(10) / 10 / 4.0
        features = voice.float() if alone else encoder.mixed(voice, shifted)
        values.append(attribute_scores(said(features), truths, VOCAL).micro_f1)


def _gain(arms: dict[str, Arm], one: str, other: str) -> float:
    return float(np.mean(arms[one].vocal_f1) - np.mean(arms[other].vocal_f1))


def _told(arms: dict[str, Arm]) -> str:
    scores = ", ".join(f"{name} {np.mean(arm.vocal_f1):.3f} ± {np.std(arm.vocal_f1):.3f}" for name, arm in arms.items())
    return f"F1 of gender, pitch and timbre: {scores}; {SCALE}"
