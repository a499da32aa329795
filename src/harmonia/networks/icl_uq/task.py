"""Jobs of in-context regression: predict a table, report where a network stops being Bayesian, pretrain one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from harmonia.core.errors import InputError
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure
from harmonia.networks.icl_uq import figures
from harmonia.networks.icl_uq.checkpoint import checkpoint, load_checkpoint
from harmonia.networks.icl_uq.network import InContextConfig, InContextTransformer
from harmonia.networks.icl_uq.prior import TaskPrior
from harmonia.networks.icl_uq.training import pretrain as train_network
from harmonia.parts.training import Plan

Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("averaged weights with their configuration and prior")]
    report: Annotated[Figure, Field("loss above Bayes over the run")]


def pretrain(
    *,
    dim: Annotated[int, Field("inputs of a task", ge=1, le=256)] = 4,
    context: Annotated[int, Field("pairs of a prompt", ge=2, le=2000)] = 32,
    family: Annotated[
        Literal["linear", "relu_net", "tree", "mixed"], Field("functions; mixed: a third of each")
    ] = "linear",
    mean: Annotated[float, Field("prior mean of every weight; the paper's is 1")] = 0.0,
    a: Annotated[float, Field("shape of the noise's prior; the paper's is 20", gt=1)] = 3.0,
    b: Annotated[float, Field("rate of the noise's prior; the paper's is 20", gt=0)] = 1.0,
    covariates: Annotated[
        Literal["normal", "scaled", "correlated"], Field("distribution of the inputs; the paper's is normal")
    ] = "correlated",
    drop_inputs: Annotated[bool, Field("let a task use only some of its inputs")] = True,
    tokens: Annotated[
        Literal["split", "joint"], Field("split: the paper's; joint: a target's token carries its inputs too")
    ] = "joint",
    positions: Annotated[Literal["none", "learned", "floating"], Field("position embeddings")] = "none",
    width: Annotated[int, Field("width of the network", ge=4)] = 64,
    layers: Annotated[int, Field("layers of the network", ge=1)] = 3,
    heads: Annotated[int, Field("attention heads", ge=1)] = 2,
    start: Annotated[str, Field("weights to continue: none, embedded, embedded:linear, or a file")] = "none",
    steps: Annotated[int, Field("optimizer steps of the whole run", ge=1)] = 4000,
    batch: Annotated[int, Field("prompts a step", ge=1)] = 64,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 2e-3,
    evaluate_every: Annotated[int, Field("steps between two measurements", ge=1)] = 250,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Pretrain a network on simulated tasks, so that it can then read tables as context.

    Every prompt is new. The held-out number is the loss above that of the exact Bayesian answer. With `keep`, a run
    that was stopped or killed continues where it was and ends with the same weights.
    """
    third = {"linear": 1.0, "relu_net": 1.0, "tree": 1.0}
    prior = TaskPrior(
        dim,
        family=third if family == "mixed" else family,
        a=a,
        b=b,
        mean=mean,
        covariates=covariates,
        drop_inputs=drop_inputs,
    )
    plan = Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=min(100, 1 + steps // 10),
        weight_decay=0.0,
        ema_decay=0.99,
        evaluate_every=evaluate_every,
        checkpoint_every=evaluate_every,
        seed=seed,
    )
    if start == "none":
        config = InContextConfig(dim, context, width, layers, heads, positions, tokens)
        model = InContextTransformer(config, seed)
    else:
        model = load_checkpoint(start).model
        if model.config.dim != dim:
            raise InputError(
                "the weights are for other tasks", f"{model.config.dim} inputs", f"Pass dim={model.config.dim}."
            )
    folder = Path(keep).expanduser() if keep else None
    trained = train_network(model, prior, plan, batch=batch, length=context, folder=folder, device=device)
    made = {"plan": dataclasses.asdict(plan), "batch": batch, "context": context, "scores": trained.history[-1]}
    return {"weights": checkpoint(trained.model, prior, made), "report": figures.training_figure(trained.history)}


JOBS = (pretrain,)
