"""The embedded weights at work, on voices that none of their training recordings holds."""

from __future__ import annotations

import numpy as np

from harmonia.audio.mossformer2.mixing import DynamicMix, Speaker, fixed_mixtures, read_speakers
from harmonia.audio.mossformer2.separator import SpeechSeparator
from harmonia.audio.mossformer2.training import improvement
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import demo_talk
from harmonia.data.cache import cache_folder
from harmonia.data.render.speakers import Split

RENDERED = "synthetic voices, not recordings"
RATE = 8000


@claim(
    "The embedded weights separate the embedded conversation",
    place="abstract: monaural speech separation",
    unit="dB SI-SDR",
    better="higher",
    tier="quick",
    tolerance=5.0,
)
def embedded_conversation(seed: int) -> Measured:
    """Two unseen voices, mean over both; the baseline, to be beaten by 5 dB, is the mixture.

    It is not, with 16 people to learn from and 40 min of training on a core: what leaks is heard where
    one person talks alone, and these two are among the pairs that the network separates least (3.6 dB where both talk,
    7 dB over all pairs of unseen people).
    """
    speakers, mixture = _conversation()
    score, gain = improvement(mixture, speakers, SpeechSeparator(device="cpu").predict(mixture, RATE))
    return Measured(score, score - gain, RENDERED)


@claim(
    "Long conversations keep their speakers",
    place="long recordings; ClearVoice issue 122",
    unit="dB SI-SDR",
    better="higher",
    tier="quick",
    tolerance=3.0,
)
def long_conversation(seed: int) -> Measured:
    """42 s in chunks of 8 s; the baseline, to be beaten by 3 dB, is the same network under the official decoder.

    It is ahead by less than that: this network has learnt to give deep voices to one output and high ones to the other,
    so a man and a woman come in the same order in most windows even when nobody aligns them. With an oracle that has no
    such habit the official decoder keeps 44 % of the pieces in order, ours all (`orders_recovered`).
    """
    speakers, mixture = (np.tile(each, 3) for each in _conversation())
    ours, official = (
        improvement(mixture, speakers, SpeechSeparator(device="cpu", compat=compat).predict(mixture, RATE))[0]
        for compat in (None, "clearvoice")
    )
    return Measured(ours, official, RENDERED)


@claim(
    "With level_normalise the level of a recording does not matter",
    place="follows from unit level in, the same level out",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def level_does_not_matter(seed: int) -> Measured:
    _, mixture = _conversation()
    part = mixture[: 4 * RATE]
    separator = SpeechSeparator(device="cpu")
    one = separator.predict(part, RATE)
    levels = (0.001, 0.03, 7.0)
    errors = [np.abs(separator.predict(np.float32(g) * part, RATE) / g - one).max() for g in levels]
    return Measured(float(max(errors) / np.abs(one).max()), note="largest of g = 0.001, 0.03, 7")


@claim(
    "The embedded weights separate unseen voices",
    place="Table 1: SI-SDR improvement",
    unit="dB SI-SDR",
    better="higher",
    tier="full",
    tolerance=5.0,
)
def held_out_voices(seed: int, count: int = 50) -> Measured | None:
    """Mixtures of 4 s of five unseen people; the baseline, to be beaten by 5 dB, is the mixture."""
    test = rendered("test", RATE)
    if test is None:
        return None
    mixtures = fixed_mixtures(plain(test, RATE), count, seed=100 + seed)
    separator = SpeechSeparator(device="cpu")
    pairs = [improvement(*mixed, separator.predict(mixed.mixture, RATE)) for mixed in mixtures]
    scores, gains = np.array(pairs).T
    note = f"{count} mixtures; improvement {gains.mean():.2f} dB, its median {np.median(gains):.2f} dB; {RENDERED}"
    return Measured(float(scores.mean()), float((scores - gains).mean()), note)


def plain(speakers: list[Speaker], rate: int, seconds: float = 4.0) -> DynamicMix:
    """Mixtures to measure on: no rooms, no noise, nobody faster or slower than they are."""
    return DynamicMix(speakers, rate, seconds, speed=0.0, reverb=0.0, noise=0.0)


def rendered(split: Split, rate: int, sentences: int = 40) -> list[Speaker] | None:
    """The talkers of a split, rendered once and kept in the cache; None where their voices are not installed."""
    from harmonia.data.render import write_talk

    folder = cache_folder("talk")
    try:
        write_talk(folder, split, sentences)
    except MissingDependency:
        return None
    return read_speakers(folder / split, rate)


def _conversation() -> tuple[np.ndarray, np.ndarray]:
    speakers = np.stack([speaker.resampled(RATE).samples[0] for speaker in demo_talk().speakers])
    return speakers, speakers.sum(0)
