"""The Mel-band RoFormer: masks a spectrum after axial attention over time and over mel bands.

STFT -> bands of bins -> one vector per band and frame -> L times (attention along time, attention along bands) ->
one complex mask per band, averaged where bands overlap -> times the mixture's STFT -> inverse STFT.

Every band enters through an RMS normalisation and only a mask leaves, hence ``model(g x) = g model(x)`` for g > 0:
loud or quiet input needs no normalisation.

The names of the parameters are those of the public checkpoints (`harmonia.audio.mel_roformer.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.audio.mel_roformer.bands import Split, bands
from harmonia.audio.mel_roformer.blocks import BandSplit, FeatureAttention, MaskEstimator, Transformer
from harmonia.core.errors import InputError
from harmonia.parts.spectral import STFT


@dataclass(frozen=True)
class MelBandRoformerConfig:
    """Shape of a `MelBandRoformer`; the defaults are the widely used 44.1 kHz vocal model (228 M parameters).

    Attributes:
        sample_rate: In hertz.
        channels: 1 for mono, 2 for stereo.
        stems: Name of each separated part.
        n_fft: Length of the Fourier transform and of its window.
        hop_length: Samples between frames.
        num_bands: Number of bands K.
        split: How bins are grouped into bands, see `harmonia.audio.mel_roformer.bands`.
        dim: Width D of a band's vector.
        depth: Number of blocks L.
        heads: Attention heads.
        head_dim: Width of a head; need not be ``dim / heads``.
        time_depth: Layers along time in each block.
        band_depth: Layers along bands in each block.
        feature_depth: Layers of linear attention over all bands and frames in front of each block (rarely used).
        mask_depth: Hidden layers of the mask estimators.
        mask_expansion: Width of their hidden layers over `dim`.
        skip_connection: Add the outputs of all earlier blocks to the input of each block.
        dropout: In attention and feed-forward layers, while training.
        zero_dc: Set bin 0 of the output to zero.
    """

    sample_rate: int = 44100
    channels: int = 2
    stems: tuple[str, ...] = ("vocals",)
    n_fft: int = 2048
    hop_length: int = 441
    num_bands: int = 60
    split: Split = "mel"
    dim: int = 384
    depth: int = 6
    heads: int = 8
    head_dim: int = 64
    time_depth: int = 1
    band_depth: int = 1
    feature_depth: int = 0
    mask_depth: int = 2
    mask_expansion: int = 4
    skip_connection: bool = False
    dropout: float = 0.0
    zero_dc: bool = False

    @classmethod
    def of(cls, config: MelBandRoformerConfig | Mapping[str, Any]) -> MelBandRoformerConfig:
        """A config from itself or from its fields, as they are read from ``config.json``."""
        if isinstance(config, MelBandRoformerConfig):
            return config
        unknown = sorted(set(config) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(
                "the configuration has fields this model does not know", ", ".join(unknown), "Remove them."
            )
        return cls(**{**config, "stems": tuple(config.get("stems", cls.stems))})


class MelBandRoformer(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["music-source-separation"],
    paper_url="https://arxiv.org/abs/2409.04702",
):
    """Separates vocals (or other stems) from a mixture by masking its spectrum in mel bands.

    ``Y_n = X * sum_k M_{n,k} / #{k : bin in band k}``, M the complex masks, X the STFT of the mixture.

    Mel-RoFormer (arXiv 2409.04702), Mel-Band RoFormer (arXiv 2310.01809), on BS-RoFormer (arXiv 2309.02612).

    Arguments:
        config: A `MelBandRoformerConfig`, or a mapping of its fields.

    Raises:
        InputError: an impossible configuration; in `forward`, audio of another number of channels or too short.

    Example:
        >>> config = MelBandRoformerConfig(
        ...     sample_rate=16000, channels=1, n_fft=512, hop_length=160, num_bands=12,
        ...     dim=16, depth=1, heads=2, head_dim=8)
        >>> model = MelBandRoformer(config).eval()
        >>> mixture = torch.randn(1, 1, 8000)
        >>> model(mixture).shape               # batch, stems, channels, time
        torch.Size([1, 1, 1, 8000])
        >>> model.features(mixture).shape      # batch, frames, bands, dim
        torch.Size([1, 51, 12, 16])
    """

    def __init__(self, config: MelBandRoformerConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = MelBandRoformerConfig.of(config)
        self.stft = STFT(config.n_fft, config.hop_length, pad_mode="reflect")
        # The channels of a bin are neighbours, and so are its real and imaginary part: a band is a slice.
        width = 2 * config.channels
        ranges = bands(config.split, config.num_bands, config.sample_rate, config.n_fft)
        slices = [(width * band.start, width * band.stop) for band in ranges]
        self.band_split = BandSplit(slices, config.dim)
        self.layers = nn.ModuleList(nn.ModuleList(_block(config)) for _ in range(config.depth))
        self.mask_estimators = nn.ModuleList(
            MaskEstimator(slices, config.dim, config.dim * config.mask_expansion, config.mask_depth)
            for _ in config.stems
        )

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        config: MelBandRoformerConfig | Mapping[str, Any] | str | Path | None = None,
        *,
        sha256: str | None = None,
        dtype: torch.dtype = torch.float32,
        trust_pickle: bool = False,
    ) -> MelBandRoformer:
        """The model of a released checkpoint, see `harmonia.audio.mel_roformer.checkpoint.load_checkpoint`."""
        from harmonia.audio.mel_roformer.checkpoint import load_checkpoint

        return load_checkpoint(path, config, sha256=sha256, dtype=dtype, trust_pickle=trust_pickle)

    def forward(self, mixture: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch stems channels time"]:
        """The stems of a mixture, as long as the mixture."""
        spectrum = self._spectrum(mixture)
        x = self._features(spectrum)
        channels, time = mixture.shape[1:]
        stems = []
        for estimator in self.mask_estimators:
            mask = torch.view_as_complex(estimator(x).float().unflatten(-1, (-1, channels, 2)))
            masked = mask * torch.view_as_complex(spectrum.unflatten(-1, (-1, channels, 2)))
            stems.append(masked.permute(0, 3, 2, 1))
        del x  # a third of the memory of a chunk; the inverse transform needs some
        stem_spectra = torch.stack(stems, dim=1)
        if self.config.zero_dc:
            stem_spectra = torch.cat([torch.zeros_like(stem_spectra[..., :1, :]), stem_spectra[..., 1:, :]], dim=-2)
        return self.stft.inverse(stem_spectra, time)

    def features(self, mixture: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch frames bands dim"]:
        """What the blocks make of the mixture, before the masks: the input of further heads."""
        return self._features(self._spectrum(mixture))

    def _spectrum(self, mixture: Tensor) -> Float[Tensor, "batch frames numbers"]:
        if mixture.ndim != 3 or mixture.shape[1] != self.config.channels:
            raise InputError(
                "the mixture does not fit the model",
                f"shape {tuple(mixture.shape)}",
                f"Pass audio of shape (batch, {self.config.channels}, time).",
            )
        # The spectrum stays in float32: there is no Fourier transform in half precision.
        spectrum = self.stft(mixture.float())
        return torch.view_as_real(spectrum.permute(0, 3, 2, 1).contiguous()).flatten(-3)

    def _features(self, spectrum: Tensor) -> Tensor:
        x = self.band_split(spectrum)
        earlier: Tensor | float = 0.0
        for *feature, along_time, along_bands in cast("Iterable[Iterable[nn.Module]]", self.layers):
            if self.config.skip_connection:
                x = x + earlier
            for transformer in feature:
                x = transformer(x.flatten(1, 2).unsqueeze(1)).reshape(x.shape)
            x = along_time(x.transpose(1, 2)).transpose(1, 2)
            x = along_bands(x)
            if self.config.skip_connection:
                earlier = earlier + x
        return x


def _block(config: MelBandRoformerConfig) -> list[nn.Module]:
    shape = (config.dim, config.heads, config.head_dim, config.dropout)
    feature = [Transformer(config.feature_depth, *shape, FeatureAttention)] if config.feature_depth else []
    return [*feature, Transformer(config.time_depth, *shape), Transformer(config.band_depth, *shape)]
