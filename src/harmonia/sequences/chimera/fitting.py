"""What training the network shares between forecasts, classes and the detection of anomalies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from harmonia.parts.training import Draw, Plan, Trained, train
from harmonia.sequences.chimera.network import ChimeraConfig, ChimeraModel, parameter_groups


def new_model(config: ChimeraConfig, seed: int) -> ChimeraModel:
    """A network with random weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ChimeraModel(config)


def fit_model(
    model: ChimeraModel,
    draw: Draw,
    loss: Callable[[ChimeraModel, tuple[Tensor, ...]], Tensor],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    device: str,
    folder: str | Path | None = None,
    ema_decay: float = 0.95,
) -> Trained[ChimeraModel]:
    """Train by AdamW with a cosine schedule; rates, steps and couplings are not decayed."""

    def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(parameter_groups(network, learning_rate, weight_decay))]

    plan = Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=max(1, steps // 20),
        ema_decay=ema_decay,
        evaluate_every=max(1, steps // 10),
        checkpoint_every=max(1, steps // 4),
        seed=seed,
    )
    return train(
        model,
        draw,
        loss,  # type: ignore[arg-type]
        plan,
        folder=None if folder is None else Path(folder),
        make_optimizers=optimizers,
        device=device,
    )
