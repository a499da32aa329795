"""MossFormer2: separates speakers in the time domain by masking a learnt short-time code of the mixture.

    h = relu(encoder * x)                        frames of `kernel` samples every kernel / 2
    m_s = relu(D (tanh(V z_s) * sigmoid(G z_s)))  one mask a speaker, z from 24 blocks of attention and memory
    y_s = decoder (h * m_s)                      overlap-added

Linear in the length of the recording. The names of the parameters are our own; released weights are mapped to them by
`harmonia.audio.mossformer2.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mossformer2.blocks import GatedAttention, GatedMemory, prelu
from harmonia.audio.mossformer2.norms import Carried, GlobalNorm
from harmonia.core.errors import InputError
from harmonia.parts.attention import rotary_frequencies
from harmonia.parts.linear import Linear, linear

_FRAMES_AT_ONCE = 4096


@dataclass(frozen=True)
class MossFormer2Config:
    """Shape of a `MossFormer2`; the defaults are the released 16 kHz model for two speakers (55.7 M parameters).

    Attributes:
        n_speakers: Waveforms that come out.
        n_filters: Width N of the code and of the blocks.
        kernel: Samples of a frame of the code; frames overlap by half.
        depth: Number of blocks.
        group: Frames inside which attention is exact.
        qk_dim: Width of queries and keys.
        fsmn_dim: Width of the memory.
        order: Reach of its filters: ``2 order - 1`` taps.
        dropout: While training.
        mapping: Decode what comes out of the last layer itself instead of using it as a mask (the WHAMR! model).
        causal: Nothing looks ahead; normalisations use the frames so far.
        compat: ``clearvoice``: of a causal model only the attention is causal, as in the official code, whose filters
            and normalisations still look ahead.
        sample_rate: Of what the model was trained on, in hertz.
    """

    n_speakers: int = 2
    n_filters: int = 512
    kernel: int = 16
    depth: int = 24
    group: int = 256
    qk_dim: int = 128
    fsmn_dim: int = 256
    order: int = 20
    dropout: float = 0.1
    mapping: bool = False
    causal: bool = False
    compat: Literal["clearvoice"] | None = None
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        sizes = (self.n_speakers, self.n_filters, self.depth, self.group, self.qk_dim, self.fsmn_dim, self.order)
        if min(sizes) < 1 or self.n_filters % 2 or self.qk_dim % 2 or self.kernel < 2 or self.kernel % 2:
            mend = "Use positive numbers; n_filters, qk_dim and kernel are even."
            raise InputError("no network has this shape", self, mend)
        if self.compat not in (None, "clearvoice"):
            raise InputError("there is no such compat", self.compat, "Use None or 'clearvoice'.")

    @classmethod
    def of(cls, config: MossFormer2Config | Mapping[str, Any] | None) -> MossFormer2Config:
        """A config from itself, from its fields as they are read from ``config.json``, or the default.

        Raises:
            InputError: an unknown field.
        """
        if isinstance(config, MossFormer2Config):
            return config
        config = config or {}
        unknown = sorted(set(config) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError("the configuration has fields this model does not know", unknown, "Remove them.")
        return cls(**config)


class MossFormer2(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["speech-separation"],
    paper_url="https://arxiv.org/abs/2312.11825",
):
    """Separates the speakers of a single-channel recording.

    MossFormer2 (arXiv 2312.11825), on MossFormer (arXiv 2302.11824) and FLASH (arXiv 2202.10447).

    The scale of the outputs is arbitrary under the loss it is trained with, and their order too: see
    `harmonia.audio.mossformer2.SpeechSeparator`, which mends both.

    Arguments:
        config: A `MossFormer2Config`, a mapping of its fields, or None for the released shape.

    Raises:
        InputError: an impossible configuration; in `forward`, audio that is not ``[batch, time]``, or no samples.

    Example:
        >>> config = MossFormer2Config(n_filters=16, depth=1, qk_dim=8, fsmn_dim=8, order=3, sample_rate=8000)
        >>> model = MossFormer2(config).eval()
        >>> model(torch.randn(1, 8000)).shape      # batch, speakers, time
        torch.Size([1, 2, 8000])
    """

    def __init__(self, config: MossFormer2Config | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = config = MossFormer2Config.of(config)
        dim = config.n_filters
        causal = config.causal and config.compat is None
        self.encoder = nn.Parameter(
            torch.empty(dim, config.kernel).uniform_(-(config.kernel**-0.5), config.kernel**-0.5)
        )
        self.norm_in = GlobalNorm(dim, causal=causal)
        self.project = Linear(dim, dim, bias=False)
        self.position_scale = nn.Parameter(torch.ones(1))
        self.blocks = nn.ModuleList(Block(config, causal) for _ in range(config.depth))
        self.norm_blocks = nn.LayerNorm(dim, eps=1e-6)
        self.norm_out = GlobalNorm(dim, causal=causal)
        self.prelu = nn.Parameter(torch.full((1,), 0.25))
        self.to_speakers = Linear(dim, dim * config.n_speakers)
        self.value = Linear(dim, dim, activation="tanh")
        self.gate = Linear(dim, dim)
        self.to_mask = Linear(dim, dim, bias=False, activation="relu")
        self.decoder = nn.Parameter(torch.empty(dim, config.kernel).uniform_(-(dim**-0.5), dim**-0.5))

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        sample_rate: int | None = None,
        mapping: bool | None = None,
        sha256: str | None = None,
        trust_pickle: bool = False,
    ) -> MossFormer2:
        """The model of a released checkpoint, see `harmonia.audio.mossformer2.checkpoint.load_checkpoint`."""
        from harmonia.audio.mossformer2.checkpoint import load_checkpoint

        return load_checkpoint(path, sample_rate=sample_rate, mapping=mapping, sha256=sha256, trust_pickle=trust_pickle)

    def forward(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch speakers time"]:
        """The speakers of a mixture, each as long as the mixture."""
        if mixture.ndim != 2 or mixture.shape[1] == 0:
            mend = "Pass mono audio of shape (batch, time) with at least one sample."
            raise InputError("the mixture does not fit the model", f"shape {tuple(mixture.shape)}", mend)
        time, kernel = mixture.shape[1], self.config.kernel
        padded = F.pad(mixture, (0, max(0, kernel - time))).to(self.encoder.dtype)
        frames = padded.unfold(1, kernel, kernel // 2)
        speakers = self.decoded(frames)
        sounds = torch.stack([_overlap_added(each) for each in speakers.unbind(1)], dim=1)
        return F.pad(sounds, (0, max(0, time - sounds.shape[-1])))[..., :time]

    def decoded(
        self, frames: Float[Tensor, "batch frames kernel"], carried: Carried | None = None, position: int = 0
    ) -> Float[Tensor, "batch speakers frames kernel"]:
        """The speakers' frames of frames of the mixture, before they are overlap-added.

        Arguments:
            frames: Overlapping by half.
            carried: What a causal network keeps of frames before; changed to include these.
            position: Number of frames before.
        """
        z = self._blocks(self._code(frames), carried, position)
        return torch.stack([self._speaker(frames, z, number) for number in range(self.config.n_speakers)], dim=1)

    def _code(self, frames: Float[Tensor, "batch frames kernel"]) -> Float[Tensor, "batch frames dim"]:
        """The code of the mixture; made again for the masks, which is cheaper than to keep it."""
        return F.relu(frames @ self.encoder.t())

    def _blocks(
        self, code: Tensor, carried: Carried | None = None, position: int = 0
    ) -> Float[Tensor, "batch frames dim"]:
        x = self.project(self.norm_in(code, carried))
        del code
        places = _sinusoids(position, x.shape[1], x.shape[2], x.device)
        first = x + self.position_scale * places.to(x.dtype)
        x = first
        for block in self.blocks:
            x = block(x, carried)
        return prelu(self.norm_out(self.norm_blocks(x), carried) + first, self.prelu)

    def _speaker(self, frames: Tensor, z: Tensor, number: int) -> Float[Tensor, "batch frames kernel"]:
        """The decoded frames of one speaker; without gradients some frames at a time, so that masks take no memory."""
        if torch.is_grad_enabled() or z.shape[1] <= _FRAMES_AT_ONCE:
            return self._decoded(frames, z, number)
        pieces = zip(frames.split(_FRAMES_AT_ONCE, 1), z.split(_FRAMES_AT_ONCE, 1), strict=True)
        return torch.cat([self._decoded(*piece, number) for piece in pieces], dim=1)

    def _decoded(self, frames: Tensor, z: Tensor, number: int) -> Float[Tensor, "batch frames kernel"]:
        dim = self.config.n_filters
        rows = slice(number * dim, (number + 1) * dim)
        own = linear(z, self.to_speakers.weight[rows], self.to_speakers.bias[rows])
        mask = self.to_mask(self.value(own) * torch.sigmoid(self.gate(own)))
        return (mask if self.config.mapping else mask * self._code(frames)) @ self.decoder


class Block(nn.Module):
    """Attention, then memory."""

    def __init__(self, config: MossFormer2Config, causal: bool) -> None:
        super().__init__()
        dim, dropout = config.n_filters, config.dropout
        self.attention = GatedAttention(dim, config.group, config.qk_dim, dropout, config.causal, causal)
        self.memory: nn.Module = GatedMemory(dim, config.fsmn_dim, config.order, dropout, causal)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        x = self.attention(x, carried)
        return self.memory(x) if carried is None else self.memory(x, carried)


def _overlap_added(frames: Float[Tensor, "batch frames kernel"]) -> Float[Tensor, "batch time"]:
    """Frames that overlap by half, added up."""
    half = frames.shape[-1] // 2
    early, late = F.pad(frames[..., :half].flatten(1), (0, half)), F.pad(frames[..., half:].flatten(1), (half, 0))
    return early + late


@lru_cache(maxsize=4)
def _sinusoids(first: int, length: int, dim: int, device: torch.device) -> Float[Tensor, "length dim"]:
    """``(sin(n w), cos(n w))`` from n = `first`, with ``w_i = 10000^(-2i/dim)``: all sines, then all cosines."""
    # Made outside inference mode, so that a table first used there can serve training later.
    with torch.inference_mode(False), torch.no_grad():
        rates = rotary_frequencies(dim).to(device)
        angles = torch.outer(torch.arange(first, first + length, device=device, dtype=torch.float32), rates)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
