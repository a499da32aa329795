"""Beats from how much each frame sounds like one: the best path through tempo and phase.

A hidden Markov model whose states are pairs of a period (frames a beat) and a place in it, as Krebs, Boeck and Widmer
2015 (ISMIR) and the tracker that MARBLE uses. The place moves on by one each frame; the period changes only at beats,

    log P(p' | p) = -c |p' / p - 1|,

and the first 60 ms of a period are the beat, where a frame has likelihood a, elsewhere (1 - a) / 15. (Theirs is the
first sixteenth of a period, which is longer than what a probe is taught to call a beat where bars are slow.)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError

BEATS_BPM = (55.0, 215.0)
DOWNBEATS_BPM = (18.0, 72.0)
"""Bars a minute; both ranges are those of MARBLE."""

_BEAT_S = 0.06
_ELSEWHERE = 15
_FLOOR = 0.02


def track_beats(
    activation: Float[ndarray, " frames"],
    rate_hz: float,
    bpm: tuple[float, float] = BEATS_BPM,
    *,
    change: float = 100.0,
) -> Float64[ndarray, " beats"]:
    """Times of beats in seconds.

    Arguments:
        activation: How much each frame sounds like a beat, on any scale; the piece's own quiet level counts as 0 and
            its peaks as 1.
        rate_hz: Frames a second.
        bpm: Slowest and fastest tempo.
        change: c; more keeps the tempo steadier.

    Raises:
        InputError: values that are not finite, or tempi that the frames cannot tell apart.

    Example:
        >>> frames = np.zeros(300)
        >>> frames[10::25] = 1.0
        >>> track_beats(frames, 50.0)[:4].tolist()
        [0.2, 0.7, 1.2, 1.7]
    """
    shortest, longest = int(np.floor(60 * rate_hz / bpm[1])), int(np.ceil(60 * rate_hz / bpm[0]))
    if shortest < 2 or longest <= shortest or not np.isfinite(activation).all():
        got = f"{shortest} to {longest} frames a beat at {rate_hz:g} Hz"
        raise InputError("beats need finite frames and two frames a beat", got, "Use more frames or slower tempi.")
    level = _scaled(np.asarray(activation, dtype=np.float64))
    periods, places = np.arange(shortest, longest + 1), np.arange(longest)
    width = max(1, round(_BEAT_S * rate_hz))
    outside = places >= periods[:, None]
    moving = -change * np.abs(periods / periods[:, None] - 1)
    ends = (np.arange(len(periods)), periods - 1)
    score = np.where(outside, -np.inf, -np.log(periods[:, None]))
    before = np.zeros((len(level), len(periods)), dtype=np.int64)
    for frame, a in enumerate(level):
        if frame:
            arriving = score[ends][:, None] + moving
            before[frame] = arriving.argmax(0)
            score[:, 1:] = score[:, :-1]
            score[:, 0] = arriving.max(0)
        score[:, :width] += np.log(a)
        score[:, width:] += np.log((1 - a) / _ELSEWHERE)
        score[outside] = -np.inf
    return _path(score, before, periods, level, width) / rate_hz


def _scaled(activation: Float64[ndarray, " frames"]) -> Float64[ndarray, " frames"]:
    quiet, loud = np.quantile(activation, [0.2, 0.99]) if len(activation) else (0.0, 1.0)
    return np.clip((activation - quiet) / max(loud - quiet, 1e-9), _FLOOR, 1 - _FLOOR)


def _path(
    score: Float64[ndarray, "periods places"], before: ndarray, periods: ndarray, level: ndarray, width: int
) -> Float64[ndarray, " beats"]:
    """Back from the best last state; each beat lies where its frames are loudest."""
    if not len(level):
        return np.zeros(0)
    row, place = (int(i) for i in np.unravel_index(score.argmax(), score.shape))
    frame, found = len(level) - 1, []
    while frame - place >= 0:
        start = frame - place
        found.append(start + int(level[start : start + width].argmax()))
        row = int(before[start, row])
        frame, place = start - 1, int(periods[row]) - 1
    return np.array(found[::-1], dtype=np.float64)
