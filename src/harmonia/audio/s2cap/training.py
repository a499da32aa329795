"""Training: first the frozen text encoder of the alignment, then the captioner."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harmonia.audio.s2cap.examples import Batch, Drawer, Examples
from harmonia.audio.s2cap.losses import caption_loss
from harmonia.audio.s2cap.network import Captioner
from harmonia.audio.s2cap.objective import Objective
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder, TextEncoder
from harmonia.audio.s2cap.transformer import masked_mean
from harmonia.parts.training import Plan, Trained, train


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
    nobody: int | None = None,
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
        nobody: Backings without a voice beside them, for the attribute head; a quarter as many unless given.
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
    alone = max(1, batch // 4) if nobody is None else nobody
    drawer = Drawer(examples, marks, batch, alone, mask=mask, mixed=mixed)
    return train(
        objective, drawer, loss, plan, folder=folder, evaluate=measure, make_optimizers=make_optimizers, device=device
    )
