"""What training the network shares between forecasts, classes and the detection of anomalies."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonia.core.errors import WeightsError
from harmonia.core.weights import Checkpoint, load_strictly, read_metadata, read_state_dict
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


def pack(estimator: str, model: ChimeraModel, described: dict[str, Any]) -> Checkpoint:
    """A fitted network as one medium: weights, configuration, and what else is needed to use it."""
    tensors = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    whole = {"estimator": estimator, "config": dataclasses.asdict(model.config), **described}
    return Checkpoint(tensors, {"chimera": json.dumps(whole)})


def unpack(path: str | Path, estimator: str) -> tuple[ChimeraModel, dict[str, Any]]:
    """What `pack` made, from a file.

    Raises:
        WeightsError: another file, that of another estimator, or weights that do not fit.
    """
    state = read_state_dict(path)
    try:
        described = json.loads(read_metadata(path)["chimera"])
        config = ChimeraConfig.of(described["config"])
    except Exception as error:
        mend = "Give a file that `save` wrote."
        raise WeightsError(f"{Path(path).name} holds no Chimera", type(error).__name__, mend) from error
    if described["estimator"] != estimator:
        raise WeightsError(f"this is no {estimator}", described["estimator"], "Load it with its own class.")
    model = ChimeraModel(config)
    load_strictly(model, {key: value.float() for key, value in state.items()})
    return model.eval(), described
