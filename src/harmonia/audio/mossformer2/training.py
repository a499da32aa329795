"""Training MossFormer2 with permutation-invariant SI-SNR on mixtures drawn on the fly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.audio.mossformer2.mixing import Mixed
from harmonia.audio.mossformer2.network import MossFormer2
from harmonia.parts.metrics import si_sdr
from harmonia.parts.separation import best_order, pit_si_snr
from harmonia.parts.training import Plan, Trained, train

Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]


def train_separator(
    model: MossFormer2,
    draw: Draw,
    plan: Plan,
    *,
    held_out: Sequence[Mixed] = (),
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[MossFormer2]:
    """Minimise the negative SI-SNR under the best order of speakers (uPIT).

    Mixtures are brought to unit level before the network sees them, as `SpeechSeparator` does.

    Arguments:
        model: The network, trained in place.
        draw: Gives mixtures ``[batch, time]`` and their sources ``[batch, speakers, time]``.
        plan: Steps, rates and seed.
        held_out: Mixtures on which the averaged model is measured.
        folder: Where checkpoints go, see `harmonia.parts.training.train`.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        mixture, sources = batch
        level = mixture.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4)
        return pit_si_snr(network(mixture / level).float(), sources / level.unsqueeze(1))[0]

    def evaluate(network: MossFormer2) -> dict[str, float]:
        return separation_scores(network, held_out) if held_out else {}

    return train(
        model,
        draw,
        loss,
        plan,
        folder=folder,
        evaluate=evaluate,
        make_optimizers=lambda network: optimizers(network, plan),
        device=device,
    )


def optimizers(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else.

    Arguments:
        model: A MossFormer2.
        plan: Learning rate and weight decay.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        dense = name.startswith("blocks.") and name.endswith((".linear.weight", "reduce.weight", "expand.weight"))
        (matrices if dense or name.endswith("project.weight") else others).append(parameter)
    made: list[Any] = [torch.optim.AdamW(others, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay)]
    if matrices:
        made.append(
            torch.optim.Muon(
                matrices, plan.learning_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return made


@torch.no_grad()
def separation_scores(model: MossFormer2, mixtures: Sequence[Mixed]) -> dict[str, float]:
    """Mean SI-SDR over mixtures and sources under the best order, and its improvement over the mixture, in dB."""
    device = next(model.parameters()).device
    scores, gains = [], []
    for mixture, sources in mixtures:
        level = float(np.sqrt(np.square(mixture).mean())) or 1.0
        estimates = model(torch.from_numpy(mixture / level)[None].to(device))[0].cpu().numpy()
        score, gain = improvement(mixture, sources, estimates)
        scores.append(score)
        gains.append(gain)
    return {"si_sdr": float(np.mean(scores)), "gain": float(np.mean(gains))}


def improvement(mixture: np.ndarray, sources: np.ndarray, estimates: np.ndarray) -> tuple[float, float]:
    """Mean SI-SDR of the estimates under the best order, and how far it is above that of the mixture, in dB.

    Example:
        >>> a, b = np.random.default_rng(0).normal(size=(2, 8000))
        >>> score, gain = improvement(a + b, np.stack([a, b]), np.stack([b + 0.1 * a, a]))
        >>> bool(gain > 40), bool(score > 40)
        (True, True)
    """
    pairs = np.array([[si_sdr(source, estimate) for estimate in estimates] for source in sources])
    chosen = best_order(pairs).permutation
    score = float(pairs[np.arange(len(pairs)), chosen].mean())
    return score, score - float(np.mean([si_sdr(source, mixture) for source in sources]))
