"""MERT's network: convolutions over the waveform, then a transformer over frames; the shape of HuBERT.

    frames = Linear(LN(conv(x)));   h_0 = LN(frames + pos(frames));   h_i = layer_i(h_{i-1})

The names of the parameters are those of the released models and of `transformers.HubertModel`
(`harmonia.audio.mert.checkpoint` reads the other layouts).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.encoder import Encoder
from harmonia.audio.mert.stem import ConvStem
from harmonia.core.errors import InputError
from harmonia.core.weights import write_safetensors
from harmonia.parts.constant_q import ConstantQ
from harmonia.parts.linear import Linear

Reduce = Literal["mean"]


class Hidden(TypedDict):
    """What a `MERTModel` gives back.

    Attributes:
        hidden: One tensor for each wanted layer, ``[batch, frames, dim]``, or ``[batch, dim]`` where reduced.
        lengths: Frames of each clip.
    """

    hidden: list[Tensor]
    lengths: Tensor


class FeatureProjection(nn.Module):
    """``Linear(LN(x))`` from channels to the transformer's width."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        inputs = config.conv_dim[-1] + config.cqt_bins
        self.layer_norm = nn.LayerNorm(inputs)
        self.projection = Linear(inputs, config.dim)
        nn.init.normal_(self.projection.weight, std=0.02)
        nn.init.zeros_(self.projection.bias)

    def forward(self, x: Float[Tensor, "batch frames channels"]) -> Float[Tensor, "batch frames dim"]:
        return self.projection(self.layer_norm(x))


class MERTModel(nn.Module):
    """Audio to hidden states of every layer.

    MERT (arXiv 2306.00107), on HuBERT (arXiv 2106.07447).

    Arguments:
        config: A `MERTConfig`, or a mapping of its fields. The weights are random; `from_pretrained` reads others.

    Raises:
        InputError: an impossible configuration; in `forward`, clips that are too short or not finite, or layers that
            are not there.

    Example:
        >>> model = MERTModel(MERTConfig.tiny()).eval()
        >>> audio = torch.randn(2, 24000, generator=torch.Generator().manual_seed(0))
        >>> out = model(audio)
        >>> len(out["hidden"]), out["hidden"][-1].shape, out["lengths"]
        (5, torch.Size([2, 74, 128]), tensor([74, 74]))
        >>> model(audio, layers=[2], reduce="mean")["hidden"][0].shape        # layers 3 and 4 are not computed
        torch.Size([2, 128])
    """

    def __init__(self, config: MERTConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = MERTConfig.of(config)
        self.masked_spec_embed = nn.Parameter(torch.empty(config.dim).uniform_())
        self.feature_extractor = ConvStem(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    @classmethod
    def from_pretrained(
        cls, source: str | Path = "embedded", *, dtype: torch.dtype = torch.float32, trust_pickle: bool = False
    ) -> MERTModel:
        """Weights that are embedded, in a file, in a folder, or on the hub.

        See `harmonia.audio.mert.checkpoint.load_checkpoint`.
        """
        from harmonia.audio.mert.checkpoint import load_checkpoint

        return load_checkpoint(source, dtype=dtype, trust_pickle=trust_pickle)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` with the configuration in its metadata; gives back its path."""
        config = json.dumps(dataclasses.asdict(self.config))
        Path(folder).mkdir(parents=True, exist_ok=True)
        return write_safetensors(Path(folder) / "model.safetensors", self.state_dict(), {"config": config})

    def forward(
        self,
        audio: Float[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        layers: Sequence[int] | None = None,
        reduce: Reduce | None = None,
        *,
        spans: Bool[Tensor, "batch frames"] | None = None,
        compat: Literal["transformers"] | None = None,
    ) -> Hidden:
        """Hidden states of clips at the model's sample rate, channels mixed to one.

        Clips enter as they are: `MERTFeatures` normalises them where the weights expect it.

        Arguments:
            audio: The clips.
            mask: Samples that belong to a clip, when shorter clips are padded at the end. They come out as they would
                alone.
            layers: Wanted hidden states, 0 (before the first layer) to the number of layers (also counted from the
                end); all when None. Layers above the highest are not computed.
            reduce: ``mean`` over the frames of a clip; no layer's frames are kept.
            spans: Frames to be replaced by the mask vector, for pre-training.
            compat: ``transformers`` counts padding in the group norm of the first convolution, as that package does,
                and gives the last state of a pre-norm model before its final norm, as it does since version 5.
        """
        wanted = self.wanted(layers)
        lengths = self._checked(audio, mask)
        counted = None if mask is None or compat == "transformers" else lengths
        x = self.frames(audio, counted)
        frames = torch.tensor([self.config.frames(int(n)) for n in lengths], device=audio.device)
        keys = None if mask is None else torch.arange(x.shape[1], device=audio.device) < frames[:, None]
        normed = compat != "transformers"
        return {"hidden": self.contextual(x, keys, wanted, reduce, spans, normed), "lengths": frames}

    def frames(
        self, audio: Float[Tensor, "batch time"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames channels"]:
        """What comes out of the convolutions, with constant-Q bins beside it where the model has them."""
        x: Tensor = self.feature_extractor(audio, lengths)
        if self.config.cqt_bins:
            bins = constant_q(self.config)(audio).abs().transpose(1, 2)
            x = torch.cat([x, bins[:, : x.shape[1]].to(x.dtype)], -1)
        return x

    def contextual(
        self,
        frames: Float[Tensor, "batch frames channels"],
        keys: Bool[Tensor, "batch frames"] | None = None,
        layers: Sequence[int] | None = None,
        reduce: Reduce | None = None,
        spans: Bool[Tensor, "batch frames"] | None = None,
        normed: bool = True,
    ) -> list[Tensor]:
        """The transformer's hidden states of frames from `frames`; the last one `normed` where the model has a norm."""
        wanted = self.wanted(layers)
        x = self.feature_projection(frames)
        if spans is not None:
            x = torch.where(spans[..., None], self.masked_spec_embed, x)
        states: dict[int, Tensor] = {}
        for number, state in enumerate(self.encoder(x, keys, max(wanted), normed)):
            if number in wanted:
                states[number] = state if reduce is None else _mean(state, keys)
        return [states[number] for number in wanted]

    def wanted(self, layers: Sequence[int] | None = None) -> list[int]:
        """The numbers of the hidden states that `layers` asks for, all when None."""
        count = self.config.layers + 1
        wanted = list(range(count)) if layers is None else list(layers)
        if not wanted or not all(-count <= layer < count for layer in wanted):
            got = ", ".join(map(str, wanted)) or "none"
            raise InputError("there are no such layers", got, f"Choose from 0 to {self.config.layers}.")
        return [layer % count for layer in wanted]

    def _checked(self, audio: Tensor, mask: Tensor | None) -> Tensor:
        """Samples of every clip."""
        if mask is None:
            lengths = torch.full((len(audio),), audio.shape[1])
        else:
            lengths = mask.sum(1)
            if not torch.equal(mask, torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]):
                raise InputError("a mask marks the beginning of each clip", "gaps", "Pad clips at their end.")
        if not len(audio) or int(lengths.min()) < self.config.receptive:
            got = f"{int(lengths.min()) if len(audio) else 0} samples"
            mend = f"Pass at least {self.config.receptive} samples at {self.config.sample_rate} Hz."
            raise InputError("the clip is too short for this model", got, mend)
        if not audio.isfinite().all():
            raise InputError("the clip holds samples that are not finite", "NaN or infinity", "Mend or drop them.")
        return lengths.to(audio.device)


def constant_q(config: MERTConfig, bins: int | None = None) -> ConstantQ:
    """The constant-Q transform whose frames are the model's: 32.7 Hz and seven octaves above.

    Example:
        >>> constant_q(MERTConfig(), 336).hop_length
        320
    """
    bins = bins or config.cqt_bins
    return ConstantQ(config.sample_rate, config.stride, 32.7, bins, max(1, bins // 7))


def _mean(x: Tensor, keys: Tensor | None) -> Tensor:
    if keys is None:
        return x.mean(1)
    return (x * keys[..., None]).sum(1) / keys.sum(1, keepdim=True)
