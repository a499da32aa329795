"""Audits of what a representation can do beyond a clip: remember a theme over a lag, learn from examples.

Long sequences: a theme is heard, other music follows for the length of a lag, then the theme comes back, or music that
was not heard yet. A probe of the encoder's features of all that it can take in at once says which. Chance is 0.5, and
an encoder whose window is shorter than the lag cannot do better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray

from harmonia.audio.music_fm_survey.encoders import Encoder
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.parts.probing import Interval, Targets, probe_layers

LAGS_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 240.0)


class Recall(NamedTuple):
    """Accuracy of "was this heard before?" at a lag, with its interval."""

    lag_s: float
    accuracy: Interval


def long_sequence_audit(
    encoder: Encoder,
    themes: Float32[ndarray, "clips time"],
    rate: int,
    *,
    lags_s: Sequence[float] = LAGS_S,
    trials: int = 80,
    theme_s: float = 3.0,
    seed: int = 0,
) -> list[Recall]:
    """Whether an encoder tells a theme that returns after a lag from a new one.

    Arguments:
        encoder: Its `embed` hears the end of each sequence, as much as its window holds.
        themes: Excerpts to draw themes and the music between from.
        rate: Their sampling rate; must be the encoder's.
        lags_s: Seconds between the end of the theme and the question.
        trials: Sequences for each lag; half of them with a return.
        theme_s: Length of a theme.
        seed: Of the draws.

    Raises:
        InputError: another rate, themes that are too short or too few, or too few trials.
    """
    size = round(theme_s * rate)
    if rate != encoder.rate or themes.shape[1] < size or len(themes) < 12 or trials < 20:
        got = f"{len(themes)} themes of {themes.shape[1] / rate:.1f} s at {rate} Hz, {trials} trials"
        mend = f"Pass 12 or more themes of {theme_s} s at {encoder.rate} Hz and 20 or more trials."
        raise InputError("these themes cannot be used for the audit", got, mend)
    found = []
    for lag in track(list(lags_s), "Waiting out lags"):
        rng = np.random.default_rng([seed, round(1000 * lag)])
        returns = np.arange(trials) % 2
        rows = []
        for comes_back in returns:
            sequence = _sequence(rng, themes, size, round(lag * rate), bool(comes_back))
            heard = torch.from_numpy(sequence[-int(encoder.window_s * rate) :])
            with torch.inference_mode():
                rows.append(encoder.embed(heard[None])[0].numpy())
        probed = probe_layers(np.stack(rows), Targets.of(returns, "multiclass"), seed=seed, resamples=500)
        found.append(Recall(float(lag), probed.score))
    return found


def _sequence(rng: np.random.Generator, themes: ndarray, size: int, lag: int, comes_back: bool) -> ndarray:
    """Theme, other music, and the theme again or another that was not heard."""
    order = rng.permutation(len(themes))
    theme, new, between = themes[order[0], :size], themes[order[1], :size], themes[order[2:]]
    filler = np.concatenate([between[i % len(between)] for i in range(-(-lag // between.shape[1]))] or [theme[:0]])
    return np.concatenate([theme, filler[:lag], theme if comes_back else new])


def in_context(
    score: Callable[[Sequence[tuple[str, str]], str, str], float],
    examples: Sequence[tuple[str, str]],
    *,
    shots: int = 5,
    episodes: int = 100,
    seed: int = 0,
) -> Interval:
    """Accuracy of a language model that is shown labelled examples and asked for the label of another.

    Arguments:
        score: From examples (text, label), a text and a label to the log-probability of the label.
        examples: Texts, such as tunes in ABC, and labels.
        shots: Examples shown of each label.
        episodes: Questions asked.
        seed: Of the draws.

    Returns:
        Accuracy with a 95 % interval; compare with ``shots=0``.

    Raises:
        InputError: too few examples of a label.

    Example:
        >>> tunes = [("GGDG", "major"), ("GBDG", "major"), ("ACEA", "minor"), ("AECA", "minor")] * 4
        >>> def overlap(shown, text, label):
        ...     return sum(len(set(text) & set(other)) for other, its in shown if its == label)
        >>> in_context(overlap, tunes, shots=2, episodes=40).score
        1.0
    """
    labels = sorted({label for _, label in examples})
    members = {label: [i for i, (_, its) in enumerate(examples) if its == label] for label in labels}
    if len(labels) < 2 or min(map(len, members.values())) <= shots or episodes < 2:
        raise InputError("there are too few examples of a label", f"{shots} shots", "Pass more, or use fewer shots.")
    rng, hits = np.random.default_rng(seed), np.zeros(episodes)
    for episode in range(episodes):
        asked = int(rng.integers(len(examples)))
        text, truth = examples[asked]
        pools = {label: [i for i in rows if i != asked] for label, rows in members.items()}
        shown = [examples[i] for label in labels for i in rng.choice(pools[label], shots, replace=False)]
        shown = [shown[i] for i in rng.permutation(len(shown))]
        hits[episode] = max(labels, key=lambda label: score(shown, text, label)) == truth
    mean, half = float(hits.mean()), float(1.96 * hits.std(ddof=1) / np.sqrt(episodes))
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
