"""Where a network that learns in context stops being Bayesian: noise, covariates, length, flipped correlation.

Every experiment asks for targets at all prefixes of unseen prompts and compares the network with the exact posterior
under the prior it was trained on (what a Bayesian with its experience would say), with the posterior under the prior
that is true now, and with ridge regression and least squares. Only linear priors have an exact posterior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import polars
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq.network import InContextTransformer, Predicted
from harmonia.networks.icl_uq.prior import FlippedPrior, Prompts, Shift, TaskPrior, interval_of, shifted_covariance
from harmonia.networks.icl_uq.references import Reference, bayes, ridge
from harmonia.networks.icl_uq.training import gaussian_nll

NOISES = {"low": (80.0, 20.0), "large": (100.0, 400.0), "huge": (100.0, 1600.0)}
"""Gamma shape and rate of the precision of the noise, where training has (20, 20): sigma about 0.5, 2 and 4."""

NETWORK, BAYES, INFORMED = "network", "Bayes, training prior", "Bayes, true prior"


def shift_suite(
    model: InContextTransformer,
    prior: TaskPrior,
    *,
    tasks: int = 1000,
    longest: int | None = None,
    seed: int = 0,
) -> polars.DataFrame:
    """Curves over the number of pairs seen, in distribution and under each shift.

    Arguments:
        model: The network.
        prior: What it was trained on: linear tasks.
        tasks: Prompts per condition.
        longest: Pairs of the prompts of the length experiment; twice those of training, or as many as the table of
            positions has, unless given.
        seed: Of the prompts.

    Returns:
        Rows of ``experiment``, ``condition``, ``method``, ``pairs``, and means over tasks: ``mse``, ``nll`` (nats),
        ``std`` (predicted), ``mean_gap`` and ``std_gap`` (mean distance from Bayes with the training prior).

    Raises:
        InputError: a prior whose exact posterior is not known.
    """
    if not prior.is_linear:
        raise InputError("the exact posterior is known for linear tasks only", prior.family, "Use family='linear'.")
    context = model.config.context
    if longest is None:
        longest = 2 * context if model.config.positions == "none" else min(2 * context, model.config.rows // 2)
    unit = prior.b / prior.a
    conditions: list[tuple[str, str, TaskPrior, int]] = [("in distribution", "as trained", prior, context)]
    conditions += [("noise", name, replace(prior, a=a, b=b * unit), context) for name, (a, b) in NOISES.items()]
    for name in get_args(Shift):
        covariance = shifted_covariance(name, prior.dim, seed)
        conditions.append(("covariates", name, replace(prior, covariates=covariance), context))
    conditions.append(("length", f"to {longest} pairs", prior, longest))
    frames = []
    for index, (experiment, condition, truth, length) in enumerate(conditions):
        prompts = truth.sample(tasks, length, torch.Generator().manual_seed(seed * 100 + index))
        answers: dict[str, Predicted | Reference] = {
            NETWORK: predict_all(model, prompts),
            BAYES: bayes(prior, prompts.xs, prompts.ys),
            "ridge": ridge(prompts.xs, prompts.ys),
            "least squares": ridge(prompts.xs, prompts.ys, 0.0),
        }
        if (truth.a, truth.b) != (prior.a, prior.b):
            answers[INFORMED] = bayes(truth, prompts.xs, prompts.ys)
        for method, answer in answers.items():
            columns = curves(prompts, answer, answers[BAYES])
            labels = {"experiment": experiment, "condition": condition, "method": method}
            frames.append(
                polars.DataFrame({"pairs": np.arange(length), **columns}).with_columns(
                    *(polars.lit(value).alias(name) for name, value in labels.items())
                )
            )
    table = polars.concat(frames)
    return table.select("experiment", "condition", "method", "pairs", "mse", "nll", "std", "mean_gap", "std_gap")


@torch.no_grad()
def predict_all(model: InContextTransformer, prompts: Prompts, batch: int = 500) -> Predicted:
    """The network's answer at every prefix, some prompts at a time."""
    device = next(model.parameters()).device
    parts = [model(x.to(device), y.to(device)) for x, y in zip(prompts.xs.split(batch), prompts.ys.split(batch))]
    stds = [part.std for part in parts if part.std is not None]
    return Predicted(torch.cat([part.mean for part in parts]).cpu(), torch.cat(stds).cpu() if stds else None)


def curves(
    prompts: Prompts, answer: Predicted | Reference, exact: Predicted | Reference
) -> Mapping[str, Float64[ndarray, " length"]]:
    """Means over tasks, by position."""
    mean, std = answer.mean.double(), _std(answer)
    ys = prompts.ys.double()
    values = {
        "mse": (mean - ys).square(),
        "nll": gaussian_nll(mean, std.square(), ys),
        "std": std,
        "mean_gap": (mean - exact.mean.double()).abs(),
        "std_gap": (std - _std(exact)).abs(),
    }
    return {name: value.mean(0).numpy() for name, value in values.items()}


def _std(answer: Predicted | Reference) -> Tensor:
    if answer.std is None:
        raise InputError("the network gives no standard deviations", "n_out=1", "Use one with n_out=2.")
    return answer.std.double()


def flip_scores(
    model: InContextTransformer, *, pairs: int, swapped: bool, tasks: int = 400, seed: int = 0
) -> dict[str, float]:
    """Of a network trained on `FlippedPrior`: does it read the noise from the pairs, or from the sign of the weights?

    Arguments:
        model: The network.
        pairs: Pairs that it sees.
        swapped: Whether sign and noise go together as they never did in training.
        tasks: Number of tasks.
        seed: Of the tasks.

    Returns:
        ``accuracy``: share of predicted sigmas inside of the true interval. ``prior_share``: share inside of the
        interval that the sign suggested in training, of the same half.
    """
    prior = FlippedPrior(model.config.dim, swapped=swapped)
    prompts = prior.sample(tasks, pairs + 1, torch.Generator().manual_seed(seed))
    sigma = _std(predict_all(model, prompts))[:, -1]
    true = prompts.sigmas.double()
    upper, odd = true > 0.5, ((true * 10).floor().long() - 1) // 2 % 2 == 1
    shares = {}
    for name, which in {"accuracy": odd, "prior_share": odd != swapped}.items():
        low = interval_of(which, upper).double()
        shares[name] = ((low <= sigma) & (sigma <= low + 0.2)).double().mean().item()
    return shares
