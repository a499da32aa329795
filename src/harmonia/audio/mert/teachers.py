"""What MERT learns to predict: discrete acoustic codes, and the constant-Q spectrum.

The paper's acoustic codes are EnCodec's (eight residual codebooks); its musical teacher is a constant-Q transform
(Sec. 3.2). EnCodec's weights are not ours to ship, so `RVQTeacher` learns residual codebooks on log-mel frames of the
user's own music in seconds; `EncodecTeacher` takes the real ones where the user has them; `KMeansTeacher` is what
HuBERT began with and MERT is compared to.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.fft import dct
from torch import Tensor, nn

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.network import constant_q
from harmonia.core.errors import InputError, require
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

_MOST_FRAMES = 40_000


class Teacher(nn.Module):
    """Gives every frame of a clip one class out of `classes` for each of `codebooks`."""

    codebooks: int
    classes: int

    @abstractmethod
    def forward(self, audio: Float[Tensor, "batch time"], frames: int) -> Int[Tensor, "batch frames codebooks"]:
        """Codes of the first `frames` frames of clips."""


class CodebookTeacher(Teacher):
    """Residual k-means on descriptors of frames: each codebook quantises what those before it leave.

    Arguments:
        config: Gives sample rate and frames.
        codebooks: Number of codebooks.
        classes: Entries of each.
    """

    centroids: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, config: MERTConfig, codebooks: int, classes: int, width: int) -> None:
        super().__init__()
        self.codebooks, self.classes = codebooks, classes
        filters = mel_filterbank(config.sample_rate, 2048, 80)
        self._mel = MelSpectrogram(STFT(2048, config.stride, pad_mode="constant"), filters, log_floor=1e-5)
        self.register_buffer("centroids", torch.zeros(codebooks, classes, width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @abstractmethod
    def describe(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch frames width"]:
        """What is quantised."""

    def fit(self, audio: Float[Tensor, "batch time"], seed: int = 0) -> CodebookTeacher:
        """Learn the codebooks from clips.

        Raises:
            InputError: fewer frames than classes.
        """
        from sklearn.cluster import MiniBatchKMeans

        frames = self.describe(audio).flatten(0, 1)
        if len(frames) < self.classes:
            got = f"{len(frames)} frames for {self.classes} classes"
            raise InputError("codebooks are learnt from more frames than they have entries", got, "Pass more music.")
        order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(seed))
        frames = frames[order[:_MOST_FRAMES]]
        self.mean.copy_(frames.mean(0))
        self.scale.copy_(frames.std(0).clamp(min=1e-3))
        residual = ((frames - self.mean) / self.scale).numpy()
        for book in range(self.codebooks):
            kmeans = MiniBatchKMeans(self.classes, batch_size=4096, n_init=1, max_iter=20, random_state=seed + book)
            nearest = kmeans.fit_predict(residual)
            self.centroids[book] = torch.from_numpy(kmeans.cluster_centers_)
            residual = residual - kmeans.cluster_centers_[nearest].astype(np.float32)
        return self

    @torch.no_grad()
    def forward(self, audio: Float[Tensor, "batch time"], frames: int) -> Int[Tensor, "batch frames codebooks"]:
        """Nearest entry of the first codebook, of the second to what is left, and so on."""
        residual = (self.describe(audio)[:, :frames] - self.mean) / self.scale
        codes = []
        for entries in self.centroids:
            nearest = (residual @ entries.T - 0.5 * entries.square().sum(1)).argmax(-1)
            residual = residual - entries[nearest]
            codes.append(nearest)
        return torch.stack(codes, -1)


class RVQTeacher(CodebookTeacher):
    """Residual codebooks on log-mel frames, in place of EnCodec's.

    Example:
        >>> config = MERTConfig.tiny()
        >>> music = torch.randn(4, 24000, generator=torch.Generator().manual_seed(0))
        >>> teacher = RVQTeacher(config, codebooks=2, classes=8).fit(music)
        >>> teacher(music, config.frames(24000)).shape
        torch.Size([4, 74, 2])
    """

    def __init__(self, config: MERTConfig, codebooks: int = 4, classes: int = 256) -> None:
        super().__init__(config, codebooks, classes, 80)

    def describe(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch frames width"]:
        return self._mel(audio).transpose(1, 2)


class KMeansTeacher(CodebookTeacher):
    """One codebook on 13 MFCCs with their first and second differences: the first teacher of HuBERT."""

    def __init__(self, config: MERTConfig, classes: int = 256) -> None:
        super().__init__(config, 1, classes, 39)
        self._dct = torch.from_numpy(dct(np.eye(80), norm="ortho")[:, :13]).float()

    def describe(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch frames width"]:
        cepstrum = self._mel(audio).transpose(1, 2) @ self._dct
        first = _slope(cepstrum)
        return torch.cat([cepstrum, first, _slope(first)], -1)


class EncodecTeacher(Teacher):
    """EnCodec's own codes, from a local folder of ``facebook/encodec_24khz`` (MIT) or the hub, through transformers.

    Arguments:
        model: The folder or hub repository, or an ``EncodecModel``.
        codebooks: The first so many of its codebooks; 8 are 6 kbit/s, which the paper uses.
    """

    def __init__(self, model: Any = "facebook/encodec_24khz", codebooks: int = 8) -> None:
        super().__init__()
        if isinstance(model, str | Path):
            model = require("transformers", extra="song").EncodecModel.from_pretrained(str(model))
        self.model = model.eval().requires_grad_(False)
        self.codebooks, self.classes = codebooks, int(model.config.codebook_size)
        if model.config.sampling_rate != 24000:
            raise InputError(
                "MERT's codes are those of EnCodec at 24 kHz", model.config.sampling_rate, "Pass that one."
            )

    @torch.no_grad()
    def forward(self, audio: Float[Tensor, "batch time"], frames: int) -> Int[Tensor, "batch frames codebooks"]:
        """The codes of 75 frames a second."""
        bandwidth = self.codebooks * 75 * (self.classes - 1).bit_length() / 1000
        codes = cast(Tensor, self.model.encode(audio[:, None], bandwidth=bandwidth).audio_codes)
        return codes[0].transpose(1, 2)[:, :frames, : self.codebooks]


class ConstantQTeacher:
    """Magnitudes of a constant-Q transform of seven octaves from 32.7 Hz, without logarithm: the musical teacher.

    The first norm of the network hides how loud a clip is, so a clip is brought to one level before its magnitudes are
    taken; the official code asks for those of the clip as it is, which cannot be known.

    Arguments:
        config: Gives sample rate and frames.
        bins: Number of bins.
        level: Root mean square of every clip; None leaves clips as they are, like the official code.

    Example:
        >>> ConstantQTeacher(MERTConfig())(torch.zeros(2, 24000), 74).shape
        torch.Size([2, 74, 336])
    """

    def __init__(self, config: MERTConfig, bins: int = 336, level: float | None = 1.0) -> None:
        self.bins, self.level = bins, level
        self._transform = constant_q(config, bins)

    def __call__(self, audio: Float[Tensor, "batch time"], frames: int) -> Float[Tensor, "batch frames bins"]:
        """The first `frames` frames of clips, at `level`."""
        return self.magnitudes(audio, frames) * self.gain(audio)[:, None]

    def magnitudes(self, audio: Float[Tensor, "batch time"], frames: int) -> Float[Tensor, "batch frames bins"]:
        """The first `frames` frames of clips as they are."""
        return self._transform(audio).abs().transpose(1, 2)[:, :frames]

    def gain(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 1"]:
        """What brings each clip to `level`."""
        if self.level is None:
            return torch.ones(len(audio), 1)
        return self.level / audio.square().mean(1, keepdim=True).sqrt().clamp(min=1e-5)


def _slope(x: Float[Tensor, "batch frames width"]) -> Float[Tensor, "batch frames width"]:
    """Least-squares slope over five frames; the ends are repeated."""
    padded = torch.cat([x[:, :1], x[:, :1], x, x[:, -1:], x[:, -1:]], 1)
    return (2 * (padded[:, 4:] - padded[:, :-4]) + padded[:, 3:-1] - padded[:, 1:-3]) / 10
