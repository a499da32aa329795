"""Training the captioner: features computed once, then words, CRESCENDO, demix supervision and attributes together.

Vocals are needed in training only; what is captioned later is the mixture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.losses import (
    attribute_loss,
    caption_loss,
    crescendo_loss,
    crescendo_tokens_loss,
    demix_loss,
)
from harmonia.audio.s2cap.manifest import Clip, read_mono
from harmonia.audio.s2cap.network import (
    PRESENCE,
    AudioEncoder,
    Captioner,
    LogMelEncoder,
    SmallConfig,
    SmallDecoder,
    TextEncoder,
    masked_mean,
)
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.parts.linear import Linear
from harmonia.parts.training import Plan, Trained, train

Encode = Callable[[str], Sequence[int]]
M = TypeVar("M", bound=nn.Module)


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


@dataclass(frozen=True)
class Examples:
    """Captioned clips as tensors.

    Attributes:
        mix: Features of the mixtures, half precision.
        vocals: Features of the voices, or None where any clip lacks one.
        backing: Features of what is left, to learn what no voice sounds like; None without vocals.
        captions: Token ids of each clip's captions, without begin and end.
        labels: For each attribute the number of its value, -1 where unknown.
    """

    mix: Float[Tensor, "clips *shape"]
    vocals: Float[Tensor, "clips *shape"] | None
    backing: Float[Tensor, "clips *shape"] | None
    captions: list[list[list[int]]]
    labels: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.captions)


class Batch(NamedTuple):
    """What one step learns from; `tokens` begin and end with their marks."""

    mix: Tensor
    vocals: Tensor | None
    backing: Tensor | None
    tokens: Tensor
    labels: dict[str, Tensor]


def prepare(
    encoder: AudioEncoder, clips: Sequence[Clip], encode: Encode, *, seconds: float, max_length: int
) -> Examples:
    """Compute the features of clips once, in half precision.

    Arguments:
        encoder: Whose features.
        clips: Captioned clips.
        encode: Caption to token ids.
        seconds: The middle of longer clips is taken; shorter ones are continued by silence.
        max_length: Longest caption in tokens, end mark included; longer ones are refused.

    Raises:
        InputError: no clips, or a caption that is too long.
    """
    if not clips:
        raise InputError("there is nothing to learn from", "0 clips", "Pass captioned clips.")
    demixed = all(clip.vocals_path is not None for clip in clips)
    mix, vocals, backing, captions = [], [], [], []
    for clip in track(clips, "Reading clips"):
        sound = _middle(clip.path, clip, encoder.sample_rate, seconds)
        mix.append(_features(encoder, sound))
        if demixed and clip.vocals_path is not None:
            voice = _middle(clip.vocals_path, clip, encoder.sample_rate, seconds)
            vocals.append(_features(encoder, voice))
            backing.append(_features(encoder, sound - voice))
        captions.append([list(encode(caption)) for caption in clip.captions])
        longest = max(map(len, captions[-1])) + 1
        if longest > max_length:
            raise InputError("a caption is too long", f"{longest} tokens for {clip.path.name}", "Shorten it.")
    labels = {name: torch.tensor([_label(name, clip.attributes.get(name)) for clip in clips]) for name in LEXICON}
    voices = torch.stack(vocals) if demixed else None
    return Examples(torch.stack(mix), voices, torch.stack(backing) if demixed else None, captions, labels)


def _middle(path: Path, clip: Clip, rate: int, seconds: float) -> Float[np.ndarray, " time"]:
    sound, size = read_mono(path, rate, clip.begin, clip.end), round(seconds * rate)
    start = max(0, len(sound) - size) // 2
    piece = sound[start : start + size]
    return np.pad(piece, (0, size - len(piece)))


@torch.no_grad()
def _features(encoder: AudioEncoder, sound: np.ndarray) -> Tensor:
    return encoder.features(torch.from_numpy(sound)[None])[0].half()


def _label(name: str, value: str | None) -> int:
    return -1 if value is None else list(LEXICON[name]).index(value)


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
        heard, told = [z.mean(1)], [dict(batch.labels)]
        if voice is not None:
            heard.append(voice.mean(1))
            told.append({n: torch.full_like(label, -1) if n in _PLAYED else label for n, label in told[0].items()})
        if batch.backing is not None:
            sung = torch.ones_like(batch.tokens[:, 0])
            told = [labels | {PRESENCE: sung} for labels in told]
            heard.append(self.captioner.memory(batch.backing.float()).mean(1))
            nobody = torch.zeros(len(heard[-1]), dtype=torch.long, device=z.device)
            told.append(dict.fromkeys(batch.labels, nobody - 1) | {PRESENCE: nobody})
        labels = {name: torch.cat([each[name] for each in told]) for name in told[0]}
        if not self.weights.attributes:
            return attribute_loss(self.captioner.head(torch.cat(heard).detach()), labels)
        return self.weights.attributes * attribute_loss(self.captioner.head(torch.cat(heard)), labels)


BACKING = ("tempo", "mood", "genre", "volume")
"""Attributes that the backing tells too; the volume, since a backing is played as loud as its voice."""


@dataclass(frozen=True)
class Drawer:
    """Random batches of examples: each time another of a clip's captions, with a stretch of time and mels masked.

    Attributes:
        examples: What is drawn from.
        tokens: Ids of pad, begin and end.
        batch: Clips of a batch.
        nobody: Backings without a voice beside them.
        mask: Largest share of time, and of mels, that is set to the mean (SpecAugment); 0 masks nothing.
        mixed: Features of two sounds together; then voices are put over backings of other clips of the same tempo,
            mood, genre and volume, where all four are known.
    """

    examples: Examples
    tokens: tuple[int, int, int]
    batch: int = 32
    nobody: int = 8
    mask: float = 0.15
    mixed: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, generator: torch.Generator) -> Batch:
        """A batch."""
        rows = torch.randint(len(self.examples), (self.batch,), generator=generator)
        others = torch.randint(len(self.examples), (self.nobody,), generator=generator)
        pad, begin, end = self.tokens
        captions = []
        for row in rows.tolist():
            choices = self.examples.captions[row]
            words = choices[int(torch.randint(len(choices), (), generator=generator))]
            captions.append(torch.tensor([begin, *words, end]))
        vocals, backing = self.examples.vocals, self.examples.backing
        mix = self.examples.mix[rows]
        if self.mixed is not None and vocals is not None and backing is not None:
            mix = self.mixed(vocals[rows], backing[self._partners(rows, generator)])
        return Batch(
            self._masked(mix, generator),
            None if vocals is None else vocals[rows],
            None if backing is None or not self.nobody else backing[others],
            nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=pad),
            {name: label[rows] for name, label in self.examples.labels.items()},
        )

    def _partners(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """For each clip one whose backing tells the same."""
        told = torch.stack([self.examples.labels[name] for name in BACKING], dim=1)
        same = (told[rows][:, None] == told[None]).all(2) & (told[rows] >= 0).all(1)[:, None]
        same[torch.arange(len(rows)), rows] = True
        return torch.multinomial(same.float(), 1, generator=generator)[:, 0]

    def _masked(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if not self.mask or features.ndim != 3:
            return features
        masked = features.clone()
        for axis in (1, 2):
            size = features.shape[axis]
            width = int(torch.randint(int(self.mask * size) + 1, (), generator=generator))
            start = int(torch.randint(size - width + 1, (), generator=generator))
            masked.narrow(axis, start, width).fill_(float(features.float().mean()))
        return masked


def train_text_encoder(
    captions: Sequence[Sequence[int]], config: SmallConfig, plan: Plan, *, batch: int = 64, device: str = "auto"
) -> TextEncoder:
    """Train a text encoder as a caption autoencoder: one decoder layer must say the caption from the encoder's mean.

    Arguments:
        captions: Token ids, without begin and end.
        config: Sizes.
        plan: Steps, rate, seed.
        batch: Captions a step.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        model = _AutoEncoder(config)

    def draw(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(captions), (batch,), generator=generator).tolist()
        ids = [torch.tensor([SmallDecoder.begin_token, *captions[row], SmallDecoder.end_token]) for row in rows]
        return nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=SmallDecoder.pad_token)

    def loss(module: nn.Module, tokens: Tensor) -> Tensor:
        return caption_loss(module(tokens), tokens[:, 1:], SmallDecoder.pad_token, 0.0)

    return train(model, draw, loss, plan, device=device).model.text


class _AutoEncoder(nn.Module):
    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.text = TextEncoder(config)
        self.decoder = SmallDecoder(dataclasses.replace(config, decoder_layers=1))

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch _ vocabulary"]:
        words = tokens[:, 1:]
        pooled = masked_mean(self.text(words), words != SmallDecoder.pad_token)
        return self.decoder(tokens[:, :-1], pooled[:, None])


def train_captioner(
    objective: Objective,
    examples: Examples,
    plan: Plan,
    *,
    batch: int = 32,
    encoder_rate: float = 1.0,
    mask: float = 0.15,
    remix: bool = True,
    evaluate: Callable[[Captioner], Mapping[str, float | int]] | None = None,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[Objective]:
    """Train a captioner.

    Arguments:
        objective: The captioner and its losses; trained in place.
        examples: What it learns from.
        plan: Steps, rate, seed.
        batch: Clips a step.
        encoder_rate: Learning rate of the encoder over that of the rest; 0.1 for a pretrained one, 0 freezes it.
        mask: See `Drawer`.
        remix: Put voices over the backings of other clips, where the encoder can (`LogMelEncoder.mixed`).
        evaluate: Called with the averaged captioner.
        folder: Where checkpoints go.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    decoder = objective.captioner.decoder
    marks = (decoder.pad_token, decoder.begin_token, decoder.end_token)
    objective.captioner.encoder.requires_grad_(encoder_rate > 0)

    def loss(model: nn.Module, drawn: Batch) -> Tensor:
        return model(drawn)

    def make_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                groups[name.startswith("captioner.encoder.")].append(parameter)
        settings = [
            {"params": groups[True], "lr": plan.learning_rate * encoder_rate},
            {"params": groups[False], "lr": plan.learning_rate},
        ]
        used = [setting for setting in settings if setting["params"]]
        return [torch.optim.AdamW(used, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay)]

    def measure(model: Objective) -> Mapping[str, float | int]:
        return evaluate(model.captioner) if evaluate is not None else {}

    encoder = objective.captioner.encoder
    mixed = encoder.mixed if remix and isinstance(encoder, LogMelEncoder) else None
    drawer = Drawer(examples, marks, batch, max(1, batch // 4), mask, mixed)
    return train(
        objective, drawer, loss, plan, folder=folder, evaluate=measure, make_optimizers=make_optimizers, device=device
    )
