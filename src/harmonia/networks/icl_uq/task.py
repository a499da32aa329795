"""Jobs of in-context regression: predict a table, report where a network stops being Bayesian, pretrain one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data.tables import diabetes
from harmonia.media import Figure, Table
from harmonia.networks.icl_uq import figures
from harmonia.networks.icl_uq.checkpoint import checkpoint, load_checkpoint
from harmonia.networks.icl_uq.comparison import IN_CONTEXT, Compared, compare
from harmonia.networks.icl_uq.network import InContextConfig, InContextTransformer
from harmonia.networks.icl_uq.prior import FlippedPrior, TaskPrior
from harmonia.networks.icl_uq.regressor import InContextRegressor
from harmonia.networks.icl_uq.shifts import flip_scores, shift_suite
from harmonia.networks.icl_uq.training import pretrain as train_network
from harmonia.networks.icl_uq.training import schedule
from harmonia.parts.features import Features, Target

Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]
Weights = Annotated[
    str, Field("embedded (tables, four inputs), embedded:linear (the paper's tasks, two inputs), a file, or hub:...")
]


OUTPUTS = ("row", "role", "mean", "std", "low", "high", "gap_from_exact")
"""Columns of `predict` beside the target: what a row is, and what is said of it."""


class Predicted(TypedDict):
    predictions: Annotated[
        Table,
        Field(
            "every row: mean, standard deviation and interval in the target's unit; gap_from_exact: distance of the "
            "mean from the exact Bayesian one, in exact standard deviations"
        ),
    ]
    scores: Annotated[
        Table,
        Field(
            "error, loss (nats a row), coverage and time of the network and its rivals on left-out rows; calibration "
            "changes the network's intervals, not its loss"
        ),
    ]
    quality: Annotated[Figure, Field("left-out rows with their intervals; who predicts best")]
    calibration: Annotated[Figure, Field("whether the error bars are true, and whether the network is Bayesian here")]


def predict(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=diabetes)],
    *,
    target: Annotated[str, Field("column of numbers to predict; the last one unless given")] = "",
    coverage: Annotated[float, Field("probability that an interval states", unit="fraction", gt=0, lt=1)] = 0.9,
    weights: Weights = "embedded",
    members: Annotated[int, Field("orders or parts of the rows that are read", ge=1, le=256)] = 16,
    context: Annotated[
        int, Field("rows that every method gets in the comparison, at least 2; 0: all there are", ge=0)
    ] = 0,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Predicted:
    """Predict a table with error bars in one forward pass: the rows that have a target are the prompt.

    Nothing is trained. Rows with a target are predicted from other rows (five folds), and compared with the exact
    Bayesian answer, Bayesian ridge regression and a Gaussian process. Of more columns than the network reads, those
    that correlate most with the target are taken.
    """
    wanted = Target.of(table, target, "regression")
    known = wanted.known
    if wanted.name in OUTPUTS:
        raise InputError("the target is named like a column of the result", wanted.name, "Rename it.")
    if known.sum() < 5:
        raise InputError("there are too few rows to learn from", int(known.sum()), "Give five with a target.")
    features = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name)
    x = features.inputs(table)
    y = np.array([value for value in wanted.values if value is not None], dtype=np.float64)
    model = InContextRegressor(weights=weights, members=members, excess="select", random_state=seed)
    compared = compare(model, x[known], y, coverage=coverage, context=context or None, seed=seed)
    model.fit(x[known], y)
    read = model.model_.config.dim
    say(f"{len(y)} rows to learn from, {(~known).sum()} to predict.")
    if x.shape[1] > read:
        names = [*features.numbers, *(f"{name}={value}" for name, values in features.words.items() for value in values)]
        say(f"Of {len(names)} inputs the network reads {', '.join(names[i] for i in model.scaling_.columns)}.")
    scores = [{"method": name, **score._asdict()} for name, score in compared.scores.items()]
    return {
        "predictions": Table(_rows(model, x, wanted, compared, coverage)),
        "scores": Table(polars.DataFrame(scores)),
        "quality": figures.prediction_figure(compared, y, wanted.name, coverage),
        "calibration": figures.calibration_figure(compared),
    }


def _rows(
    model: InContextRegressor, x: np.ndarray, wanted: Target, compared: Compared, coverage: float
) -> polars.DataFrame:
    """Left-out predictions of the known rows, and predictions of the others."""
    known, answer = wanted.known, compared.answers[IN_CONTEXT]
    columns = {name: np.full(len(x), np.nan) for name in OUTPUTS[2:]}
    for name in ("mean", "std", "low", "high"):
        columns[name][known] = getattr(answer, name)
    columns["gap_from_exact"][known] = compared.gap
    if not known.all():
        new = x[~known]
        columns["mean"][~known], columns["std"][~known] = model.predict(new, return_std=True)
        columns["low"][~known], columns["high"][~known] = model.predict_interval(new, coverage)
        if model.prior_ is not None and model.prior_.is_linear:
            columns["gap_from_exact"][~known] = model.predict_exact(new).gap
    first = {
        "row": polars.Series(np.arange(1, len(x) + 1)),
        wanted.name: polars.Series(wanted.values, dtype=polars.Float64),
        "role": polars.Series(np.where(known, "left out", "new")),
    }
    frame = polars.DataFrame({**first, **{name: polars.Series(value) for name, value in columns.items()}})
    return frame.with_columns(polars.col(list(columns)).fill_nan(None))


class Shifted(TypedDict):
    curves: Annotated[Table, Field("errors, deviations and distances from Bayes by condition, method and pairs seen")]
    picture: Annotated[Figure, Field("the same as a picture")]


def shift_report(
    *,
    weights: Weights = "embedded",
    tasks: Annotated[int, Field("prompts a condition", ge=10, le=100000)] = 1000,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Shifted:
    """Show where a network stops being Bayesian: other noise, other covariates, longer prompts."""
    model, prior = load_checkpoint(weights)
    if prior is None:
        raise InputError("the weights do not say what they were trained on", weights, "Use weights made by pretrain.")
    table = shift_suite(model, prior, tasks=tasks, seed=seed)
    return {"curves": Table(table), "picture": figures.shift_figure(table)}


class Flipped(TypedDict):
    scores: Annotated[Table, Field("shares of predicted deviations in the true interval and in that of the sign")]
    picture: Annotated[Figure, Field("the same over the run")]


def flip(
    *,
    dim: Annotated[int, Field("inputs of a task; the paper's is 8", ge=1, le=64)] = 2,
    context: Annotated[int, Field("pairs of a prompt", ge=4, le=500)] = 24,
    tokens: Annotated[Literal["split", "joint"], Field("split: the paper's; joint learns sooner")] = "joint",
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 1000,
    batch: Annotated[int, Field("prompts a step", ge=1)] = 64,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Flipped:
    """Train where the sign of the weights tells the noise, then swap the pairing: which of both does it read?

    The paper's experiment on in-context against in-weight learning, at a size that takes a few minutes.
    """
    plan = schedule(steps, evaluate_every=max(1, steps // 10), seed=seed)
    model = InContextTransformer(InContextConfig(dim, context, 64, 3, 2, tokens=tokens), seed)

    def evaluate(network: InContextTransformer) -> dict[str, float]:
        both: dict[str, float] = {}
        for name, swapped in (("trained", False), ("swapped", True)):
            found = flip_scores(network, pairs=context - 1, swapped=swapped, seed=seed)
            both |= {f"{name}_{key}": value for key, value in found.items()}
        return both

    folder = Path(keep).expanduser() if keep else None
    prior = FlippedPrior(dim)
    trained = train_network(model, prior, plan, batch=batch, evaluate=evaluate, folder=folder, device=device)
    table = Table(polars.DataFrame(list(trained.history)).drop("trained_prior_share"))
    return {"scores": table, "picture": figures.flip_figure(trained.history, context - 1)}


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
    start: Annotated[
        str, Field("weights to continue, whose shape stays: none, embedded, embedded:linear, or a file")
    ] = "none",
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
    plan = schedule(steps, learning_rate=learning_rate, evaluate_every=evaluate_every, seed=seed)
    config = InContextConfig(dim, context, width, layers, heads, positions, tokens)
    model = InContextTransformer(config, seed) if start == "none" else _continued(start, config)
    folder = Path(keep).expanduser() if keep else None
    trained = train_network(model, prior, plan, batch=batch, length=context, folder=folder, device=device)
    made = {"plan": dataclasses.asdict(plan), "batch": batch, "context": context, "scores": trained.history[-1]}
    return {"weights": checkpoint(trained.model, prior, made), "report": figures.training_figure(trained.history)}


def _continued(start: str, asked: InContextConfig) -> InContextTransformer:
    """The network of some weights, now for prompts of the length that is asked for."""
    known = load_checkpoint(start).model
    if known.config.dim != asked.dim:
        mend = f"Pass dim={known.config.dim}."
        raise InputError("the weights are for other tasks", f"{known.config.dim} inputs", mend)
    same = dataclasses.replace(known.config, context=asked.context)
    other = same.departures(asked)
    if other:
        raise InputError("the weights to continue have another shape", other, "Leave it to them, or start from none.")
    if same.rows != known.config.rows:
        mend = f"Pass context={known.config.context}."
        raise InputError("the weights have positions for prompts of another length", asked.context, mend)
    model = InContextTransformer(same)
    model.load_state_dict(known.state_dict())
    return model


JOBS = (predict, shift_report, flip, pretrain)
