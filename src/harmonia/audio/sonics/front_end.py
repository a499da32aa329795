"""What SpecTTTra sees of a window of sound: its log-mel spectrogram, standardised and resized.

    D = 10 log10(max(M |STFT x|^2, 1e-10)), cut 80 dB below its maximum
    Z = (D - mean D) / (std D + 1e-6), over the whole window, with the unbiased standard deviation
    Z resized to the shape of the network, bilinear with half-pixel centres, not antialiased

The level of the sound adds a constant to D, which leaves Z alone: loud or quiet input needs no normalisation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.log_mel import LogMel

RATE = 16000
"""Sampling rate of everything here, in hertz."""


class SonicsFrontEnd(nn.Module):
    """From windows of sound at 16 kHz to what `harmonia.audio.sonics.SpecTTTra` takes.

    Arguments:
        shape: Bands and frames of the result.
        compat_batch_topdb: Cut the whole batch below one common maximum, as the official release does with its batches;
            the spectrogram of a quiet sound then depends on the sounds beside it.

    Example:
        >>> import torch
        >>> front_end = SonicsFrontEnd((128, 128))
        >>> windows = torch.randn(2, 80000, generator=torch.Generator().manual_seed(0))
        >>> front_end(windows).shape
        torch.Size([2, 128, 128])
    """

    def __init__(self, shape: tuple[int, int], *, compat_batch_topdb: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.compat_batch_topdb = compat_batch_topdb
        self.log_mel = LogMel("sonics")

    def forward(self, windows: Float[Tensor, "batch time"]) -> Float[Tensor, "batch bands frames"]:
        """Standardised, resized log-mel spectrograms.

        Raises:
            InputError: sounds that are not a batch, or shorter than half a Fourier transform.
        """
        if windows.ndim != 2:
            raise InputError(
                "windows are a batch of mono sounds", f"shape {tuple(windows.shape)}", "Pass (batch, time)."
            )
        level = self.log_mel.level(self.log_mel.power(windows.float()))
        return resized(self.standardised(level), self.shape)

    def standardised(self, level: Float[Tensor, "batch mels time"]) -> Float[Tensor, "batch mels time"]:
        """Windows of decibels, cut and standardised, before they are resized."""
        if self.compat_batch_topdb:
            level = self.log_mel.cut(level.flatten(0, 1)).view_as(level)
        else:
            level = self.log_mel.cut(level)
        spread, mean = torch.std_mean(level, (1, 2), keepdim=True)
        return (level - mean) / (spread + 1e-6)


def resized(
    spectrogram: Float[Tensor, "batch mels time"], shape: tuple[int, int]
) -> Float[Tensor, "batch bands frames"]:
    """Bilinear interpolation with half-pixel centres; nothing changes where the shape is right already.

    Example:
        >>> import torch
        >>> resized(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), (1, 2))
        tensor([[[0.5000, 2.5000]]])
    """
    return F.interpolate(spectrogram[:, None], size=shape, mode="bilinear", align_corners=False)[:, 0]
