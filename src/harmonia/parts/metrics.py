"""How good is a separation, how good is a transcription: SDR, SI-SDR, chunked SDR, note F1.

Wraps fast_bss_eval and mir_eval and adds what they leave open: several channels count as one long signal, and the
three numbers of the transcription literature come from one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike

from harmonia.core.errors import InputError, require

NoteRows = Sequence[Sequence[float | int]] | ndarray
"""Notes as rows (onset_s, offset_s, midi)."""


def sdr(
    reference: Float[ndarray, "*channels time"], estimate: Float[ndarray, "*others length"], eps: float = 1e-8
) -> float:
    """Signal-to-distortion ratio in dB over all channels and samples ("uSDR").

    ``10 log10((|s|^2 + eps) / (|s - s'|^2 + eps))``

    Raises:
        InputError: signals of different shapes, or values that are not finite.

    Example:
        >>> s = np.sin(np.arange(1000.0))
        >>> round(sdr(s, 0.9 * s), 3)
        20.0
    """
    s, e = _pair(reference, estimate)
    return float(10 * np.log10((np.square(s).sum() + eps) / (np.square(s - e).sum() + eps)))


def si_sdr(reference: Float[ndarray, "*channels time"], estimate: Float[ndarray, "*others length"]) -> float:
    """Scale-invariant SDR in dB over all channels and samples (arXiv 1811.02508), by fast_bss_eval.

    ``10 log10(|a s|^2 / |a s - s'|^2)`` with ``a = <s, s'> / |s|^2``; not defined where the reference is silent.

    Raises:
        InputError: signals of different shapes, values that are not finite, or a silent reference.

    Example:
        >>> s = np.sin(np.arange(1000.0))
        >>> round(si_sdr(s, 0.5 * s + 0.05 * np.cos(np.arange(1000.0))), 1)
        20.0
    """
    s, e = _pair(reference, estimate)
    if not s.any():
        raise InputError("SI-SDR is not defined for a silent reference", "only zeros", "Leave silent parts out.")
    measure = require("fast_bss_eval", extra="audio").si_sdr
    return float(measure(s.reshape(1, -1), e.reshape(1, -1), clamp_db=120.0)[0])


def chunked_sdr(
    reference: Float[ndarray, "*channels time"], estimate: Float[ndarray, "*others length"], rate: int
) -> float:
    """Median of the SDR of one-second windows in dB; windows with a silent reference are left out.

    The shape of the "cSDR" of the separation literature, without museval's distortion filter.

    Example:
        >>> s = np.sin(np.arange(3000.0))
        >>> round(chunked_sdr(s, 0.9 * s, rate=1000), 3)
        20.0
    """
    s, e = _pair(reference, estimate)
    windows = [slice(start, start + rate) for start in range(0, max(1, s.shape[-1] - rate + 1), rate)]
    heard = [sdr(s[..., window], e[..., window]) for window in windows if s[..., window].any()]
    if not heard:
        raise InputError("every window of the reference is silent", "only zeros", "Give a reference that sounds.")
    return float(np.median(heard))


class NoteScores(NamedTuple):
    """F1 of transcribed notes: onset; onset and pitch; onset, pitch and offset."""

    onset: float
    onset_pitch: float
    onset_pitch_offset: float


def note_f1(reference: NoteRows, estimate: NoteRows) -> NoteScores:
    """F1 of notes by mir_eval: onsets within 50 ms, pitch within 50 cents, offsets within max(50 ms, 20 %).

    The numbers of the literature called COn, COnP and COnPOff.

    Arguments:
        reference: Rows (onset_s, offset_s, midi).
        estimate: The same.

    Example:
        >>> truth = [(0.0, 0.5, 60), (0.5, 1.0, 62)]
        >>> note_f1(truth, [(0.02, 0.5, 60), (0.5, 0.7, 62)])
        NoteScores(onset=1.0, onset_pitch=1.0, onset_pitch_offset=0.5)
    """
    transcription = require("mir_eval.transcription", extra="audio")
    (spans, hz), (found_spans, found_hz) = _intervals(reference), _intervals(estimate)
    if not len(spans) or not len(found_spans):
        equal = float(len(spans) == len(found_spans))
        return NoteScores(equal, equal, equal)
    onset = transcription.onset_precision_recall_f1(spans, found_spans)[2]
    pitch = transcription.precision_recall_f1_overlap(spans, hz, found_spans, found_hz, offset_ratio=None)[2]
    offset = transcription.precision_recall_f1_overlap(spans, hz, found_spans, found_hz)[2]
    return NoteScores(float(onset), float(pitch), float(offset))


def _pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[ndarray, ndarray]:
    s, e = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if s.shape != e.shape or not s.size:
        raise InputError("reference and estimate differ in shape", f"{s.shape} and {e.shape}", "Align them first.")
    if not (np.isfinite(s).all() and np.isfinite(e).all()):
        raise InputError("the signals hold values that are not finite", "NaN or infinity", "Repair the audio first.")
    return s, e


def _intervals(notes: NoteRows) -> tuple[ndarray, ndarray]:
    rows = np.asarray(notes, dtype=np.float64).reshape(-1, 3)
    rows = rows[rows[:, 1] > rows[:, 0]]
    return rows[:, :2], 440.0 * 2.0 ** ((rows[:, 2] - 69) / 12)
