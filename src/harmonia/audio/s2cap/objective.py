"""What a captioner is trained for: words, CRESCENDO, demix supervision and attributes together.

Vocals are needed in training only; what is captioned later is the mixture.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.audio.s2cap.examples import Batch
from harmonia.audio.s2cap.losses import (
    attribute_loss,
    caption_loss,
    crescendo_loss,
    crescendo_tokens_loss,
    demix_loss,
)
from harmonia.audio.s2cap.network import PRESENCE, Captioner
from harmonia.audio.s2cap.transformer import masked_mean
from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear


@dataclass(frozen=True)
class Weights:
    """Weights of the terms of the loss; the paper states none.

    Attributes:
        crescendo: Of the alignment with the caption.
        demix: Of the demix supervision.
        attributes: Of the attribute head; with 0 it is trained beside the network, without touching it.
        alignment: ``pooled`` embeddings, or each word's with its nearest frame.
        supervision: ``align`` pulls the mixture's embedding towards the voice's, ``words`` captions the voice too.
        smoothing: Label smoothing of the words.
    """

    crescendo: float = 1.0
    demix: float = 1.0
    attributes: float = 0.0
    alignment: Literal["pooled", "tokens"] = "pooled"
    supervision: Literal["align", "words"] = "align"
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if min(self.crescendo, self.demix, self.attributes) < 0 or not 0 <= self.smoothing < 1:
            raise InputError("weights of a loss are not negative", dataclasses.asdict(self), "Change them.")


_PLAYED = ("tempo", "mood", "genre")
"""Attributes that a voice alone does not tell."""


class Objective(nn.Module):
    """A captioner with what it is trained by: predictor and frozen text encoder.

    Arguments:
        captioner: What is trained.
        text: Token ids to embeddings of the decoder's width; it is frozen.
        weights: Of the terms of the loss.
    """

    def __init__(self, captioner: Captioner, text: nn.Module, weights: Weights) -> None:
        super().__init__()
        self.captioner, self.weights = captioner, weights
        dim = captioner.decoder.dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.predictor = nn.Sequential(Linear(dim, dim, activation="gelu"), Linear(dim, dim))
        self.text = text.requires_grad_(False)

    def train(self, mode: bool = True) -> Objective:
        """Switch to training; the text encoder stays as it is."""
        super().train(mode)
        self.text.eval()
        return self

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """The loss of a batch."""
        weights, decoder = self.weights, self.captioner.decoder
        z = self.captioner.memory(batch.mix.float())
        inputs, targets = batch.tokens[:, :-1], batch.tokens[:, 1:]
        loss = caption_loss(decoder(inputs, z), targets, decoder.pad_token, weights.smoothing)
        if weights.crescendo:
            loss = loss + weights.crescendo * self._alignment(z, targets)
        voice = None
        if weights.demix and batch.vocals is not None:
            voice = self.captioner.memory(batch.vocals.float())
            if weights.supervision == "align":
                loss = loss + weights.demix * demix_loss(z, voice)
            else:
                words = caption_loss(decoder(inputs, voice), targets, decoder.pad_token, weights.smoothing)
                loss = loss + weights.demix * words
        return loss + self._attributes(z, voice, batch)

    def _alignment(self, z: Tensor, targets: Tensor) -> Tensor:
        kept = targets != self.captioner.decoder.pad_token
        with torch.no_grad():
            words = self.text(targets)
        if self.weights.alignment == "tokens":
            return crescendo_tokens_loss(self.predictor(z), words, kept)
        return crescendo_loss(self.predictor(z.mean(1)), masked_mean(words, kept))

    def _attributes(self, z: Tensor, voice: Tensor | None, batch: Batch) -> Tensor:
        """Name the attributes of the mixture, those of the voice alone, and nobody in the backing alone."""
        heard, told = [z], [dict(batch.labels)]
        if voice is not None:
            heard.append(voice)
            told.append({n: torch.full_like(label, -1) if n in _PLAYED else label for n, label in told[0].items()})
        if batch.backing is not None:
            sung = torch.ones_like(batch.tokens[:, 0])
            told = [labels | {PRESENCE: sung} for labels in told]
            heard.append(self.captioner.memory(batch.backing.float()))
            nobody = torch.zeros(len(heard[-1]), dtype=torch.long, device=z.device)
            told.append(dict.fromkeys(batch.labels, nobody - 1) | {PRESENCE: nobody})
        labels = {name: torch.cat([each[name] for each in told]) for name in told[0]}
        if not self.weights.attributes:
            return attribute_loss(self.captioner.head(torch.cat(heard).detach()), labels)
        return self.weights.attributes * attribute_loss(self.captioner.head(torch.cat(heard)), labels)
