"""Log-mel spectrograms as released networks expect them, by the name of the release.

What they disagree about beyond the spectrum itself is the logarithm: its floor, whether quiet parts are cut below the
loudest, and an affine map at the end. The cut is always taken for each sound on its own, so that a sound in a batch
gives what it gives alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts.spectral import STFT, MelScale, PadMode, mel_filterbank


@dataclass(frozen=True)
class LogMelConfig:
    """What a release means by a log-mel spectrogram.

    Attributes:
        rate: Sampling rate in hertz.
        n_fft: Length of the transform and of its Hann window.
        hop_length: Samples between frames.
        num_mels: Number of mel bands.
        low_hz: Lowest corner of the filters.
        high_hz: Highest corner.
        scale: Mel scale.
        norm: Normalisation of the triangles.
        pad_mode: How the sound is continued at its ends.
        floor: Least power in a band.
        range_db: Decibels below the loudest value of a sound at which the rest is cut; None for no cut.
        gain: Factor of the decibels in the result.
        offset: Added to them then.
        last_frame: Whether the last frame is kept.
        filter_dtype: Precision in which the release computed its filters.
    """

    rate: int = 16000
    n_fft: int = 2048
    hop_length: int = 512
    num_mels: int = 128
    low_hz: float = 0.0
    high_hz: float = 8000.0
    scale: MelScale = "slaney"
    norm: Literal["slaney"] | None = "slaney"
    pad_mode: PadMode = "reflect"
    floor: float = 1e-10
    range_db: float | None = 80.0
    gain: float = 1.0
    offset: float = 0.0
    last_frame: bool = True
    filter_dtype: torch.dtype = torch.float64


PRESETS: dict[str, LogMelConfig] = {
    # torchaudio's MelSpectrogram and AmplitudeToDB with the settings of SONICS
    "sonics": LogMelConfig(low_hz=20.0, scale="htk", norm=None, filter_dtype=torch.float32),
    # power_to_db(melspectrogram(y)) with librosa's defaults
    "librosa": LogMelConfig(rate=22050, high_hz=11025.0, pad_mode="constant"),
    # (max(log10 M, max - 8) + 4) / 4 without the last frame
    "whisper": LogMelConfig(n_fft=400, hop_length=160, num_mels=80, gain=1 / 40, offset=1.0, last_frame=False),
}


class LogMel(nn.Module):
    """Log-mel spectrogram ``D = 10 log10(max(M |STFT(x)|^2, floor))``, cut at ``max D - range_db`` of each sound.

    Arguments:
        config: The name of a release (``sonics``, ``librosa``, ``whisper``), or settings of one's own.

    Raises:
        InputError: an unknown name.

    Example:
        >>> front_end = LogMel("sonics")
        >>> audio = torch.randn(2, 80000, generator=torch.Generator().manual_seed(0))
        >>> front_end(audio).shape
        torch.Size([2, 128, 157])
        >>> bool((front_end(10 * audio) - front_end(audio) - 20).abs().max() < 1e-3)   # ten times is 20 dB
        True
    """

    filters: Tensor

    def __init__(self, config: str | LogMelConfig = "sonics") -> None:
        super().__init__()
        if isinstance(config, str):
            if config not in PRESETS:
                raise InputError("there is no such log-mel spectrogram", config, f"Use one of {', '.join(PRESETS)}.")
            config = PRESETS[config]
        self.config = config
        self.stft = STFT(config.n_fft, config.hop_length, pad_mode=config.pad_mode)
        filters = mel_filterbank(
            config.rate,
            config.n_fft,
            config.num_mels,
            low_hz=config.low_hz,
            high_hz=config.high_hz,
            scale=config.scale,
            norm=config.norm,
            dtype=config.filter_dtype,
        )
        self.register_buffer("filters", filters.float(), persistent=False)

    def frames(self, samples: int) -> int:
        """Frames of a sound of that many samples."""
        return samples // self.config.hop_length + self.config.last_frame

    def forward(self, audio: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch num_mels frames"]:
        """The log-mel spectrogram of sounds at the configured rate."""
        return self.cut(self.level(self.power(audio))) * self.config.gain + self.config.offset

    def power(self, audio: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch num_mels frames"]:
        """Power in mel bands; linear, so that frames may be computed apart and joined."""
        spectrum = self.stft(audio)
        power = spectrum.real.square() + spectrum.imag.square()
        power = self.filters.to(power.dtype) @ power
        return power if self.config.last_frame else power[..., :-1]

    def level(self, power: Float[Tensor, "*batch num_mels frames"]) -> Float[Tensor, "*batch num_mels frames"]:
        """Mel power in decibels, not cut."""
        return 10.0 * torch.log10(power.clamp(min=self.config.floor))

    def cut(self, level: Float[Tensor, "*batch num_mels frames"]) -> Float[Tensor, "*batch num_mels frames"]:
        """Decibels with what lies too far below the maximum of an item raised to that limit."""
        if self.config.range_db is None:
            return level
        return torch.maximum(level, level.amax((-2, -1), keepdim=True) - self.config.range_db)
