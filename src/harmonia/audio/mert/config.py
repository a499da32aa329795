"""The shapes of MERT networks: two released sizes and small ones for a processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from harmonia.core.errors import InputError


@dataclass(frozen=True)
class MERTConfig:
    """Shape of a `MERTModel`; the defaults are those of MERT-v1-95M (Sec. 3.1 and appendix of arXiv 2306.00107).

    Attributes:
        sample_rate: In hertz; 24 kHz, and 16 kHz for the models called v0.
        dim: Width D of a frame.
        layers: Transformer layers.
        heads: Attention heads.
        feed_forward: Width of the layers' hidden part.
        norm: ``post``: layer norm after each residual sum (95M); ``pre``: before each branch (330M).
        conv_dim: Channels of the convolutions over the waveform.
        conv_kernel: Their lengths.
        conv_stride: Their strides; 320 in total, hence 75 frames a second at 24 kHz.
        pos_kernel: Length of the convolution that tells positions.
        pos_groups: Groups of its channels.
        cqt_bins: Constant-Q bins that are put beside the convolutions' channels; 0 in the released models.
        deepnorm: Residual branches weighted by ``(2 layers)^(1/4)`` (arXiv 2203.00555); with ``norm="post"`` only.
        attention_relax: Divide queries by this before the product with the keys and undo it after subtracting the
            maximum, which keeps half-precision training finite; 0 does not. It changes nothing else.
        dropout: In embeddings, attention and feed-forward layers, while training.
        layer_drop: Probability of skipping a layer, while training.
        feature_grad: What gradients into the convolutions are multiplied with.
        normalize: Whether clips enter with zero mean and unit variance.
    """

    sample_rate: int = 24000
    dim: int = 768
    layers: int = 12
    heads: int = 12
    feed_forward: int = 3072
    norm: Literal["post", "pre"] = "post"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    pos_kernel: int = 128
    pos_groups: int = 16
    cqt_bins: int = 0
    deepnorm: bool = False
    attention_relax: float = 0.0
    dropout: float = 0.1
    layer_drop: float = 0.05
    feature_grad: float = 0.1
    normalize: bool = True

    def __post_init__(self) -> None:
        counts = {len(self.conv_dim), len(self.conv_kernel), len(self.conv_stride)}
        if len(counts) != 1 or not self.conv_dim:
            raise InputError(
                "every convolution has channels, a length and a stride",
                f"{len(self.conv_dim)}, {len(self.conv_kernel)} and {len(self.conv_stride)} of them",
                "Make the three tuples equally long.",
            )
        if min(self.dim, self.layers, self.heads) < 1 or self.dim % self.heads or self.dim % self.pos_groups:
            got = f"dim {self.dim}, {self.heads} heads, {self.pos_groups} groups, {self.layers} layers"
            raise InputError("heads and position groups divide the width", got, "Change them.")
        if self.deepnorm and self.norm == "pre":
            raise InputError("deepnorm goes with norm='post'", "norm='pre'", "Drop one of them.")

    @classmethod
    def base(cls) -> MERTConfig:
        """MERT-v1-95M: 94,371,712 parameters."""
        return cls()

    @classmethod
    def large(cls) -> MERTConfig:
        """MERT-v1-330M: 315,428,992 parameters."""
        return cls(
            dim=1024,
            layers=24,
            heads=16,
            feed_forward=4096,
            norm="pre",
            attention_relax=32.0,
            dropout=0.0,
            layer_drop=0.0,
            feature_grad=1.0,
            normalize=False,
        )

    @classmethod
    def v0(cls) -> MERTConfig:
        """MERT-v0 and MERT-v0-public: the 95M shape at 16 kHz, 50 frames a second."""
        return cls(sample_rate=16000)

    @classmethod
    def tiny(cls) -> MERTConfig:
        """The network of the embedded weights: 1.1 million parameters, the released models' frames.

        It hears the constant-Q spectrum too, an option of the official code: convolutions of this size learn to tell
        pitches from waveforms only after far more music than a processor gets through.
        """
        return cls(
            dim=128,
            layers=4,
            heads=4,
            feed_forward=512,
            norm="pre",
            conv_dim=(32, 64, 96, 128, 128, 128, 128),
            pos_kernel=64,
            cqt_bins=336,
            dropout=0.0,
            layer_drop=0.0,
            feature_grad=1.0,
        )

    @classmethod
    def of(cls, config: MERTConfig | Mapping[str, Any]) -> MERTConfig:
        """A config from itself or from its fields, as they are read from ``config.json``."""
        if isinstance(config, MERTConfig):
            return config
        unknown = sorted(set(config) - {field.name for field in fields(cls)})
        if unknown:
            got = ", ".join(unknown)
            raise InputError("the configuration has fields this model does not know", got, "Remove them.")
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
        }
        return cls(**given)

    @property
    def stride(self) -> int:
        """Samples between frames.

        Example:
            >>> MERTConfig().stride
            320
        """
        total = 1
        for stride in self.conv_stride:
            total *= stride
        return total

    @property
    def receptive(self) -> int:
        """Samples that a frame sees before the transformer, and the shortest clip.

        Example:
            >>> MERTConfig().receptive
            400
        """
        length = 1
        for kernel, stride in zip(reversed(self.conv_kernel), reversed(self.conv_stride), strict=True):
            length = (length - 1) * stride + kernel
        return length

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.stride

    def frames(self, samples: int) -> int:
        """Frames of a clip.

        Example:
            >>> [MERTConfig().frames(seconds * 24000) for seconds in (1, 5, 30)]
            [74, 374, 2249]
        """
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return max(0, samples)
