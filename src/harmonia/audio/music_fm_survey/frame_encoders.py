"""Representations that keep time: a vector for every frame of a sound, on a grid of any rate.

Those of this library that have frames: the spectra of `harmonia.audio.music_fm_survey.encoders`, and MERT with all of
its layers side by side. Spectra come with their neighbours on both sides; a transformer has heard them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from torch import Tensor

from harmonia.audio.mert import MERTModel
from harmonia.audio.music_fm_survey.encoders import HOP, NetworkEncoder, SpectralEncoder, mert
from harmonia.core.errors import InputError
from harmonia.media import Audio

_WINDOW_S = 30.0
_SHORTEST_S = 0.1


@dataclass(frozen=True)
class FrameEncoder:
    """Vectors over time.

    Attributes:
        about: What it is.
        rate: Sampling rate it hears, Hz.
        hop_s: Seconds between its frames.
        first_s: Time of the first.
        frames: From a sound ``[1, time]`` to its frames ``[frames, d]``.
        context: Which frames of the grid are put side by side, relative to each.
    """

    about: str
    rate: int
    hop_s: float
    first_s: float
    frames: Callable[[Float32[Tensor, "1 time"]], Float32[Tensor, "frames d"]]
    context: tuple[int, ...] = (0,)

    def on_grid(self, sound: Audio, rate_hz: float, count: int) -> Float32[ndarray, "count d"]:
        """The first `count` frames at times i / rate_hz, read off between its own; half a minute is heard at once.

        Raises:
            InputError: frames that are not finite.
        """
        samples = sound.mono().resampled(self.rate).samples[0]
        grid = np.concatenate(list(self._windows(samples, np.arange(count) / rate_hz)))
        if not np.isfinite(grid).all():
            raise InputError("the frames of a sound are not finite", self.about, "Drop or mend the sound.")
        near = np.clip(np.arange(count)[:, None] + np.array(self.context), 0, count - 1)
        return grid[near].reshape(count, -1).astype(np.float32)

    def _windows(self, samples: Float32[ndarray, " time"], times: ndarray) -> Iterator[ndarray]:
        size, shortest = round(_WINDOW_S * self.rate), round(_SHORTEST_S * self.rate)
        for number in range(int(times[-1] // _WINDOW_S) + 1):
            inside = (times >= number * _WINDOW_S) & (times < (number + 1) * _WINDOW_S)
            heard = samples[number * size : (number + 1) * size]
            heard = np.pad(heard, (0, max(0, shortest - len(heard))))
            with torch.inference_mode():
                frames = self.frames(torch.from_numpy(heard)[None]).double().numpy()
            place = (times[inside] - number * _WINDOW_S - self.first_s) / self.hop_s
            low = np.clip(np.floor(place), 0, max(0, len(frames) - 2)).astype(np.int64)
            share = np.clip(place - low, 0, 1)[:, None]
            yield frames[low] * (1 - share) + frames[np.minimum(low + 1, len(frames) - 1)] * share


def _spectral(kind: str) -> FrameEncoder:
    encoder = SpectralEncoder(kind)  # type: ignore[arg-type]

    def frames(sound: Tensor) -> Tensor:
        return encoder.frames(sound)[0].T

    return FrameEncoder(_ABOUT[kind], encoder.rate, HOP / encoder.rate, 0.0, frames, (-2, 0, 2))


def _transformer(encoder: NetworkEncoder) -> FrameEncoder:
    assert isinstance(encoder.network, MERTModel)
    model, config = encoder.network, encoder.network.config

    def frames(sound: Tensor) -> Tensor:
        spread, mean = torch.std_mean(sound, -1, keepdim=True)
        heard = (sound - mean) / (spread + 1e-5) if config.normalize else sound
        return torch.cat([state[0] for state in model(heard)["hidden"]], -1)

    steps = np.cumprod([1, *config.conv_stride]).tolist()
    heard = 1 + sum((length - 1) * step for length, step in zip(config.conv_kernel, steps, strict=False))
    return FrameEncoder(encoder.about, encoder.rate, steps[-1] / encoder.rate, heard / 2 / encoder.rate, frames)


_ABOUT = {
    "log-mel": "128 log-mel bands",
    "mfcc": "20 cepstral coefficients",
    "chroma": "12 pitch classes",
    "cqt": "84 constant-Q bins",
}
FRAME_ENCODERS: dict[str, Callable[[], FrameEncoder]] = {
    "log-mel": lambda: _spectral("log-mel"),
    "mfcc": lambda: _spectral("mfcc"),
    "chroma": lambda: _spectral("chroma"),
    "cqt": lambda: _spectral("cqt"),
    "mert-random": lambda: _transformer(mert("random")),
    "mert": lambda: _transformer(mert()),
}
"""Representations with frames, by name; each is made when it is asked for."""


def load_frame_encoders(names: Sequence[str] | None = None) -> dict[str, FrameEncoder]:
    """Representations with frames by name, all of them unless named.

    Raises:
        InputError: an unknown name.

    Example:
        >>> load_frame_encoders(["cqt"])["cqt"].on_grid(Audio(np.zeros(22050), 22050), 10.0, 10).shape
        (10, 252)
    """
    wanted = list(names) if names is not None else list(FRAME_ENCODERS)
    unknown = [name for name in wanted if name not in FRAME_ENCODERS]
    if unknown:
        raise InputError("there is no such representation with frames", unknown[0], f"Use {', '.join(FRAME_ENCODERS)}.")
    return {name: FRAME_ENCODERS[name]() for name in wanted}
