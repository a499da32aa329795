r"""Fundamental frequency of one voice: probabilistic YIN with its thresholds integrated in closed form.

YIN (de Cheveigné and Kawahara 2002) measures how badly a frame repeats itself after a lag:

    d(l)  = sum_{j < W} (x_j - x_{j + l})^2        d'(l) = d(l) / mean_{1 <= k <= l} d(k)

and takes the first dip of d' below a threshold for the period. pYIN (Mauch and Dixon 2014) draws the threshold from a
Beta(2, b) distribution and lets a hidden Markov model choose among the dips. With C the distribution function of the
threshold, the dip i is the first one below it with probability

    p_i = max(0, C(min_{j < i} d'_j) - C(d'_i)),       sum_i p_i = 1 - C(min_j d'_j)

so no thresholds need to be tried one by one. Lags are refined between samples, the frames go through the FFT in
batches, and the states of the Markov model are the few dips of a frame instead of a grid of pitches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError

_BATCH = 1024
"""Frames that are transformed together."""

_UNVOICED = -1


class Pitch(NamedTuple):
    """A pitch track, one value a frame.

    Attributes:
        times: Middle of each frame in seconds.
        f0: Fundamental frequency in Hz; 0 where nothing voiced sounds.
        probability: That the frame is voiced, judged by itself: ``1 - C(min d')``.
    """

    times: Float64[ndarray, " frames"]
    f0: Float64[ndarray, " frames"]
    probability: Float64[ndarray, " frames"]

    @property
    def voiced(self) -> Bool[ndarray, " frames"]:
        """Where a pitch was found."""
        return self.f0 > 0

    @property
    def midi(self) -> Float64[ndarray, " frames"]:
        """The pitch as a MIDI number, ``69 + 12 log2(f0 / 440)``; NaN where there is none."""
        return 69 + 12 * np.log2(np.where(self.voiced, self.f0, np.nan) / 440)


@dataclass(frozen=True)
class PitchTracker:
    """Tracks the pitch of one voice.

    Arguments:
        low_hz: Lowest pitch.
        high_hz: Highest pitch.
        hop_s: Seconds between frames.
        window_s: Seconds that are compared with their shifted copy; two periods of the lowest pitch or more.
        candidates: Dips of a frame that the Markov model chooses among.
        threshold: Mean of the threshold, pYIN's 0.1, 0.15 or 0.2; more prefers higher octaves of rough voices.
        glide: Octaves a second at which a change of pitch becomes less likely by a factor of e per frame.
        switch: Probability that voicing begins or ends from one frame to the next.
        silence: Weight of silence against a pitch; more leaves more frames unvoiced.

    Raises:
        InputError: frequencies that do not rise from above 0, or a hop or window that is not positive.

    Example:
        >>> rate = 16000
        >>> tone = sum(np.sin(2 * np.pi * 220 * k * np.arange(rate) / rate) / k for k in (1, 2, 3))
        >>> pitch = PitchTracker()(tone, rate)
        >>> len(pitch.f0), round(float(np.median(pitch.f0)), 1)
        (100, 220.0)
    """

    low_hz: float = 65.0
    high_hz: float = 1100.0
    hop_s: float = 0.01
    window_s: float = 0.04
    candidates: int = 6
    threshold: float = 0.2
    glide: float = 8.0
    switch: float = 0.01
    silence: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.low_hz < self.high_hz:
            raise InputError("pitches range from low to high", f"{self.low_hz} to {self.high_hz} Hz", "Swap them.")
        if not min(self.hop_s, self.window_s, self.glide, self.silence, self.candidates) > 0:
            got = f"hop {self.hop_s} s, window {self.window_s} s, glide {self.glide}, silence {self.silence}"
            raise InputError("a pitch tracker needs positive times and weights", got, "Change them.")
        if not (0 < self.switch < 1 and 0 < self.threshold < 1):
            got = f"switch {self.switch}, threshold {self.threshold}"
            raise InputError("switch and threshold lie between 0 and 1", got, "Change them.")

    def __call__(self, samples: Float[ndarray, "*time"], rate: int) -> Pitch:
        """The pitch track of a mono signal; its level does not matter.

        Arguments:
            samples: Mono, at least one hop long; of several voices the most periodic is followed.
            rate: Sampling rate in hertz, at least four times `high_hz`. 16 kHz is plenty.

        Raises:
            InputError: samples that are not finite, not a line, shorter than one hop, or a rate too low.
        """
        samples = np.asarray(samples, dtype=np.float64)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise InputError("a pitch track is made of finite mono samples", f"shape {samples.shape}", "Mix it down.")
        if rate < 4 * self.high_hz:
            mend = f"Resample to {4 * self.high_hz:.0f} Hz or more, or lower high_hz."
            raise InputError("the sampling rate is too low for this pitch range", f"{rate} Hz", mend)
        hop = self.hop_s * rate
        count = int(len(samples) / hop + 1e-9)
        if not count:
            raise InputError("the sound is shorter than one frame", f"{len(samples)} samples", "Pass a longer sound.")
        middles = (np.arange(count) + 0.5) * hop
        lag, probability = self._dips(samples, np.round(middles).astype(np.int64), rate)
        f0 = np.divide(rate, lag, out=np.zeros_like(lag), where=lag > 0)
        path = self._path(f0, probability)
        chosen = np.where(path == _UNVOICED, 0.0, np.take_along_axis(f0, path.clip(0)[:, None], axis=1)[:, 0])
        return Pitch(middles / rate, chosen, probability.sum(1).clip(0, 1))

    def _dips(
        self, samples: Float64[ndarray, " time"], middles: ndarray, rate: int
    ) -> tuple[Float64[ndarray, "frames dips"], Float64[ndarray, "frames dips"]]:
        """Lag in samples and probability of the likeliest dips of each frame; lag 0 where there are fewer."""
        size, longest = round(self.window_s * rate), int(rate / self.low_hz) + 2
        shortest = max(2, int(rate / self.high_hz))
        reach = size + longest
        padded = np.pad(samples, (reach, reach))
        frames = np.lib.stride_tricks.sliding_window_view(padded, reach)
        # A piece and its copy after lag l are centred on (W + l) / 2: right for a lag in the middle of the range.
        starts = middles + reach - (size + round((shortest * longest) ** 0.5)) // 2
        found = [
            _likeliest(
                normalised_difference(frames[starts[i : i + _BATCH]], size),
                shortest,
                self.candidates,
                2 / self.threshold - 2,
            )
            for i in range(0, len(starts), _BATCH)
        ]
        lags, probabilities = zip(*found)
        return np.concatenate(lags), np.concatenate(probabilities)

    def _path(self, f0: Float64[ndarray, "frames dips"], probability: Float64[ndarray, "frames dips"]) -> ndarray:
        """Viterbi over the dips of each frame and silence: the index of the dip, or `_UNVOICED`."""
        frames, dips = f0.shape
        octaves = np.log2(np.where(f0 > 0, f0, 1.0))
        silent = self.silence * (1 - probability.sum(1)).clip(1e-6)
        observed = np.log(np.concatenate([np.where(f0 > 0, probability, 0).clip(1e-12), silent[:, None]], axis=1))
        stay, switch = np.log(1 - self.switch), np.log(self.switch)
        step = np.full((frames, dips + 1, dips + 1), switch)
        step[:, dips, dips] = stay
        glide = np.abs(octaves[1:, None, :] - octaves[:-1, :, None]) / (self.glide * self.hop_s)
        step[1:, :dips, :dips] = stay - glide
        score, back = observed[0], np.zeros((frames, dips + 1), dtype=np.int64)
        for frame in range(1, frames):
            total = score[:, None] + step[frame]
            back[frame] = total.argmax(0)
            score = total.max(0) + observed[frame]
        path = np.empty(frames, dtype=np.int64)
        path[-1] = score.argmax()
        for frame in range(frames - 1, 0, -1):
            path[frame - 1] = back[frame, path[frame]]
        return np.where(path == dips, _UNVOICED, path)


def normalised_difference(frames: Float64[ndarray, "frames reach"], size: int) -> Float64[ndarray, "frames lags"]:
    """YIN's cumulative mean normalised difference d' for lags from 0 to ``reach - size``; d'(0) = 1, as is silence.

    Arguments:
        frames: Pieces of the signal.
        size: Samples W that are compared with their shifted copy.

    Example:
        >>> period = np.tile([1.0, 0.0, -1.0, 0.0], 5)
        >>> normalised_difference(period[None], 12).round(2)[0, :5]
        array([1.  , 1.  , 1.33, 0.75, 0.  ])
    """
    reach = frames.shape[1]
    fast = scipy.fft.next_fast_len(reach + size, real=True)
    head = scipy.fft.rfft(frames[:, :size], fast, axis=1)
    whole = scipy.fft.rfft(frames, fast, axis=1)
    correlation = scipy.fft.irfft(head.conj() * whole, fast, axis=1)[:, : reach - size + 1]
    energy = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, axis=1)], axis=1)
    shifted = energy[:, size:] - energy[:, : reach - size + 1]
    difference = (shifted[:, :1] + shifted - 2 * correlation).clip(0)
    # What the transform leaves of a perfect repetition is rounding, not a difference.
    difference[difference < 1e-12 * shifted[:, :1]] = 0
    lags = np.arange(1, difference.shape[1])
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    normalised = np.divide(difference[:, 1:], mean, out=np.ones_like(mean), where=mean > 0)
    return np.concatenate([np.ones((len(frames), 1)), normalised], axis=1)


def _likeliest(
    difference: Float64[ndarray, "frames lags"], shortest: int, count: int, strictness: float
) -> tuple[Float64[ndarray, "frames dips"], Float64[ndarray, "frames dips"]]:
    """The `count` likeliest dips of d': refined lags and their probabilities under a Beta(2, strictness) threshold."""
    left, here, right = difference[:, :-2], difference[:, 1:-1], difference[:, 2:]
    dip = (here < left) & (here <= right)
    dip[:, : shortest - 1] = False
    curvature = left - 2 * here + right
    offset = np.divide(0.5 * (left - right), curvature, out=np.zeros_like(here), where=curvature > 0)
    depth = np.where(dip, (here - 0.25 * (left - right) * offset).clip(0, 1), 1.0)
    reached = _threshold(depth, strictness)
    before = np.minimum.accumulate(np.concatenate([np.ones((len(depth), 1)), reached[:, :-1]], axis=1), axis=1)
    probability = (before - reached).clip(0)
    # A threshold below every dip takes the deepest one, with a hundredth of its weight.
    deepest = np.argmin(depth, axis=1)[:, None]
    unsure = np.take_along_axis(probability + 0.01 * reached, deepest, axis=1)
    np.put_along_axis(probability, deepest, unsure, axis=1)
    probability[~dip] = 0.0
    best = np.argpartition(-probability, count, axis=1)[:, :count]
    lag = np.take_along_axis(np.arange(1, difference.shape[1] - 1) + offset, best, axis=1)
    probability = np.take_along_axis(probability, best, axis=1)
    return np.where(probability > 0, lag, 0.0), probability


def _threshold(s: Float64[ndarray, "*shape"], b: float) -> Float64[ndarray, "*shape"]:
    """Distribution function of Beta(2, b): ``1 - (1 - s)^b (1 + b s)``; its mean is 2 / (2 + b)."""
    return 1 - (1 - s) ** b * (1 + b * s)
