"""MERT's pre-training: guess the codes and the constant-Q spectrum of frames that were masked (Sec. 3).

    L = sum_j CE_j + 10 mean(conv^2) + MSE_cqt

over masked frames; codebook j is guessed by cosine similarity with its class vectors, divided by 0.1. Clips are now
and then disturbed by snippets of other clips of the batch; what is to be guessed is always that of the clean clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mert.network import MERTModel
from harmonia.core.errors import InputError


class Batch(NamedTuple):
    """A batch of clips and what is to be learnt of them.

    Attributes:
        audio: Clips, some of them disturbed.
        spans: Frames that are masked.
        codes: Classes of the clean clips' frames; without codebooks where there is no such teacher.
        cqt: Constant-Q magnitudes of the clean clips; without bins where there is no such teacher.
    """

    audio: Float[Tensor, "batch time"]
    spans: Bool[Tensor, "batch frames"]
    codes: Int[Tensor, "batch frames codebooks"]
    cqt: Float[Tensor, "batch frames bins"]


class Losses(NamedTuple):
    """Parts of the loss: cross-entropy and accuracy of each codebook, penalty of the convolutions, regression error."""

    codes: Float[Tensor, " codebooks"]
    accuracy: Float[Tensor, " codebooks"]
    penalty: Float[Tensor, ""]
    cqt: Float[Tensor, ""]

    def total(self, penalty: float = 10.0, cqt: float = 1.0) -> Float[Tensor, ""]:
        """The weighted sum; the weights are the paper's."""
        return self.codes.sum() + penalty * self.penalty + cqt * self.cqt


class Pretraining(nn.Module):
    """A MERT model with the heads that pre-training needs; the names of their parameters are the released ones.

    Arguments:
        encoder: The model, fresh or to be continued.
        classes: Classes of each codebook; empty for none.
        bins: Constant-Q bins; 0 for no regression.
        width: Width of the projections and class vectors: 64 in the 95M model, 128 in the 330M one.
        temperature: What cosine similarities are divided by.
    """

    def __init__(
        self, encoder: MERTModel, classes: Sequence[int], bins: int = 336, width: int = 64, temperature: float = 0.1
    ) -> None:
        super().__init__()
        if not classes and not bins:
            raise InputError("nothing is to be learnt", "no teachers", "Choose at least one.")
        self.encoder, self.classes, self.bins, self.temperature = encoder, list(classes), bins, temperature
        dim = encoder.config.dim
        if classes:
            self.final_proj = nn.Linear(dim, width * len(classes))
            self.label_embs_concat = nn.Parameter(torch.empty(sum(classes), width).uniform_())
        if bins:
            self.encoder_cqt_model = nn.ModuleDict({"fc": nn.Linear(dim, bins)})

    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch."""
        config = self.encoder.config
        frames = scale_gradient(self.encoder.frames(batch.audio), config.feature_grad)
        penalty = frames[..., : config.conv_dim[-1]].float().square().mean()
        (last,) = self.encoder.contextual(frames, layers=[config.layers], spans=batch.spans)
        masked = last[batch.spans]
        zero = masked.new_zeros(())
        codes, accuracy = masked.new_zeros(0), masked.new_zeros(0)
        if self.classes:
            targets = batch.codes[batch.spans].T
            logits = self.logits(masked)
            codes = torch.stack([F.cross_entropy(x, y) for x, y in zip(logits, targets, strict=True)])
            hits = [(x.argmax(1) == y).float().mean() for x, y in zip(logits, targets, strict=True)]
            accuracy = torch.stack(hits)
        cqt = F.mse_loss(self.encoder_cqt_model["fc"](masked), batch.cqt[batch.spans]) if self.bins else zero
        return Losses(codes, accuracy, penalty, cqt)

    def logits(self, frames: Float[Tensor, "masked dim"]) -> list[Tensor]:
        """``cos(projection, class vector) / temperature`` for each codebook."""
        projected = self.final_proj(frames).chunk(len(self.classes), -1)
        vectors = F.normalize(self.label_embs_concat, dim=-1).split(self.classes)
        return [F.normalize(p, dim=-1) @ v.T / self.temperature for p, v in zip(projected, vectors, strict=True)]


def scale_gradient(x: Float[Tensor, "*shape"], factor: float) -> Float[Tensor, "*shape"]:
    """The same values, with a gradient of `factor` times the usual one.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> scale_gradient(x, 0.1).backward()
        >>> round(x.grad.item(), 6)
        0.1
    """
    return x if factor == 1 else x * factor + x.detach() * (1 - factor)


def span_mask(
    batch: int,
    frames: int,
    generator: torch.Generator,
    *,
    probability: float = 0.8,
    length: int = 5,
    least: int = 2,
) -> Bool[Tensor, "batch frames"]:
    """Spans of masked frames as wav2vec 2.0 and HuBERT draw them, as many frames in every clip.

    ``int(probability frames / length + u)`` spans start at different places, drawn without replacement, and may
    overlap: ``1 - (1 - probability / length)^length`` of the frames are covered, 58 % with the defaults. Clips with
    more covered frames than the fewest of the batch lose some at random.

    Arguments:
        batch: Clips.
        frames: Frames of each.
        generator: Where all randomness comes from.
        probability: Of a frame to begin a span, times `length`.
        length: Frames of a span.
        least: Fewest spans.

    Raises:
        InputError: clips shorter than a span.

    Example:
        >>> mask = span_mask(2, 100, torch.Generator().manual_seed(0))
        >>> mask.shape, bool(mask[0].sum() == mask[1].sum())
        (torch.Size([2, 100]), True)
    """
    if frames < length:
        raise InputError("the clips are shorter than a masked span", f"{frames} frames", f"Use at least {length}.")
    places = frames - length + 1
    count = int(probability * frames / length + float(torch.rand((), generator=generator)))
    count = min(max(count, least), places)
    starts = torch.rand(batch, places, generator=generator).argsort(1)[:, :count]
    covered = (starts[:, :, None] + torch.arange(length)).flatten(1)
    mask = torch.zeros(batch, frames, dtype=torch.bool).scatter_(1, covered, True)
    # Rank the covered frames of each clip at random and keep as many as the clip with the fewest has.
    rank = torch.where(mask, torch.rand(batch, frames, generator=generator), 2.0).argsort(1).argsort(1)
    return mask & (rank < int(mask.sum(1).min()))


def mix_in_batch(
    audio: Float[Tensor, "batch time"],
    generator: torch.Generator,
    *,
    probability: float = 0.5,
    lengths: tuple[int, int] = (12_000, 24_000),
    counts: tuple[int, int] = (1, 3),
    volume: float = 1.0,
) -> Float[Tensor, "batch time"]:
    """Clips with snippets of other clips of the batch added at random places (in-batch noise mixture, Sec. 3.3).

    Arguments:
        audio: Clean clips.
        generator: Where all randomness comes from.
        probability: That a clip is disturbed.
        lengths: Shortest and longest snippet in samples; at most as long as a clip.
        counts: Fewest and most snippets.
        volume: What snippets are multiplied with.

    Example:
        >>> clips = torch.stack([torch.zeros(100), torch.ones(100)])
        >>> mixed = mix_in_batch(clips, torch.Generator().manual_seed(0), probability=1.0, lengths=(10, 20))
        >>> bool(mixed[0].max() >= 1), torch.equal(mixed[1], clips[1])       # ones into zeros, zeros into ones
        (True, True)
    """
    batch, time = audio.shape
    mixed = audio.clone()
    if batch < 2:
        return mixed

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    shortest, longest = (min(length, time) for length in lengths)
    for clip in range(batch):
        if float(torch.rand((), generator=generator)) >= probability:
            continue
        for _ in range(draw(*counts)):
            other = (clip + draw(1, batch - 1)) % batch
            length = draw(shortest, longest)
            source, place = draw(0, time - length), draw(0, time - length)
            mixed[clip, place : place + length] += volume * audio[other, source : source + length]
    return mixed
