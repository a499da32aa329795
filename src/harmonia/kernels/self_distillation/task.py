"""Jobs of self-distillation: learn a table and tell whether its penalty is right, or look at the paper's example."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.data.tables import diabetes
from harmonia.kernels.self_distillation import figures
from harmonia.kernels.self_distillation.basis import Basis, InitialFit
from harmonia.kernels.self_distillation.figures import Steps
from harmonia.kernels.self_distillation.rows import KernelFunction
from harmonia.kernels.self_distillation.spectral import Smoother, target_shares, target_shares_along
from harmonia.kernels.self_distillation.table_model import FOLDS, Outputs, TableModel
from harmonia.kernels.self_distillation.toy import GAMMA, PENALTY, toy
from harmonia.kernels.self_distillation.tuning import follow
from harmonia.media import Figure, Table
from harmonia.parts.features import Features, Target

DRAWN = 6
"""Steps in the pictures, as in the paper's."""

PAPER_WEIGHT = 0.35


class Distilled(TypedDict):
    diagnosis: Annotated[str, Field("what the best weight says about the penalty")]
    predictions: Annotated[
        Table, Field("every row: target, left-out or new prediction of the ordinary fit and of the best step")
    ]
    steps: Annotated[Table, Field("every step: weight of the truth, degrees of freedom, held-out error")]
    score: Annotated[float, Field("R2 or accuracy of the best step on rows that were left out")]
    ordinary_score: Annotated[float, Field("the same of the ordinary fit")]
    penalty: Annotated[float, Field("the penalty, as scikit-learn's alpha of KernelRidge")]
    mixing: Annotated[Figure, Field("held-out error by the weight of the truth, best weights marked")]
    penalties: Annotated[Figure, Field("errors and best weights over penalties")]
    fits: Annotated[Figure, Field("fits along one input, step by step, and their limit")]
    filters: Annotated[Figure, Field("what each step keeps of the targets along each eigenvector of the kernel")]


def distil(
    table: Annotated[Table, Field("one example a row; rows without a target are predicted", example=diabetes)],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    goal: Annotated[Literal["auto", "regression", "classification"], Field("auto: words are classes")] = "auto",
    lam: Annotated[float | None, Field("penalty; the best one for the ordinary fit unless given", gt=0)] = None,
    alpha: Annotated[
        float | None, Field("weight of the truth; the best one at each step unless given", ge=0, le=1)
    ] = None,
    steps: Annotated[int, Field("fits in all, the ordinary one included", ge=2, le=50)] = 3,
    gamma: Annotated[float | None, Field("of the kernel exp(-gamma |x - z|²); 0.5 / inputs unless given", gt=0)] = None,
    seed: Annotated[int, Field("random seed of the folds", ge=0)] = 0,
) -> Distilled:
    """Learn a table by kernel ridge regression that is distilled into itself, and tell whether its penalty is right.

    Every step refits the model on a mixture of the truth and its own last predictions. The mixture that predicts
    left-out rows best has a closed form: if it leans on the model's own predictions, the penalty was too small; if it
    gives the truth more than its whole weight, too large. Rows with a target are predicted by folds that did not see
    them, other folds than those that tuned.
    """
    wanted = Target.of(table, target, goal)
    known = wanted.known
    features = Features.of(Table(table.frame.filter(polars.Series(known))), without=wanted.name)
    inputs, values = features.inputs(table), np.array(wanted.values, dtype=object)[known]
    if known.sum() < 2 * FOLDS:
        raise InputError("there are too few rows to learn from", int(known.sum()), f"Give at least {2 * FOLDS}.")
    say(f"{known.sum()} rows to learn from, {inputs.shape[1]} inputs, {(~known).sum()} rows to predict.")
    outputs = Outputs.of(wanted, values)
    model = TableModel(inputs[known], outputs.targets, gamma, seed)
    curve = model.over_penalties(steps)
    penalty = float(curve.penalties[curve.errors[0].argmin()]) if lam is None else lam
    tuned = follow(model.folds, Smoother(penalty), [alpha] * (steps - 1))
    diagnosis = f"{tuned.first} (The penalty is {penalty:.3g}.)"
    say(diagnosis)
    fit = dataclasses.replace(model.ordinary, smoother=tuned.smoother)
    shares = target_shares_along(fit.gain, tuned.alphas)
    used = [0, int(tuned.step) - 1]
    scores = torch.empty(len(used), len(known), outputs.targets.shape[1], dtype=torch.float64)
    scores[:, known] = model.left_out(tuned, seed + 1)[used]
    if not known.all():
        scores[:, ~known] = fit.predict(fit.basis.project(model.rows(inputs[~known])), shares[used])
    at, projected, number, name, column = _line(model, fit, features, inputs[known])
    shown = [_steps(fit, a, projected, column, outputs) for a in (0.0, PAPER_WEIGHT if alpha in (None, 0.0) else alpha)]
    around = [Smoother(penalty * factor) for factor in (0.1, 1.0, 10.0)]
    return {
        "diagnosis": diagnosis,
        "predictions": outputs.table(known, *scores),
        "steps": Table(
            polars.DataFrame(
                {
                    "step": np.arange(1, steps + 1),
                    "weight": [1.0, *tuned.alphas],
                    "degrees_of_freedom": ((fit.gain * shares).sum(1) + 1).numpy(),
                    "held_out_error": list(tuned.scores),
                }
            )
        ),
        "score": outputs.score(scores[1][known]),
        "ordinary_score": outputs.score(scores[0][known]),
        "penalty": penalty,
        "mixing": figures.mixing_figure(
            [(f"λ = {smoother.penalty:.3g}", model.folds.start(smoother).mixture()) for smoother in around], alpha
        ),
        "penalties": figures.penalties_figure(
            curve.penalties, curve.errors / outputs.scale, curve.weights, penalty, "held-out error / variance"
        ),
        "fits": figures.fits_figure(
            shown,
            at,
            (_raw(features, inputs[known], number), (outputs.targets[:, column] + outputs.mean[column]).numpy()),
            title=f"Fits along {name}" + ", the other inputs at their mean" * (inputs.shape[1] > 1),
            xlabel=name,
            ylabel=outputs.label(column),
        ),
        "filters": figures.filters_figure(shown, "Each step keeps less, least of small eigenvalues"),
    }


def _line(
    model: TableModel, fit: InitialFit, features: Features, inputs: np.ndarray
) -> tuple[np.ndarray, Tensor, int, str, int]:
    """The input that moves the ordinary fit most: values, projections, number and name; and the output it moves."""
    names = list(features.numbers) or [
        f"{name} is {value}" for name, values in features.words.items() for value in values
    ]
    best: tuple[float, np.ndarray, Tensor, int, str, int] | None = None
    for number, name in enumerate(names[:100]):
        low, high = np.quantile(inputs[:, number], [0.0, 1.0] if inputs.shape[1] == 1 else [0.01, 0.99])
        line = np.zeros((121, inputs.shape[1]))
        line[:, number] = np.linspace(low, high, len(line))
        projected = fit.basis.project(model.rows(line))
        spread = fit.predict(projected, torch.ones_like(fit.gain)).std(0)
        if best is None or float(spread.max()) > best[0]:
            best = float(spread.max()), _raw(features, line, number), projected, number, name, int(spread.argmax())
    assert best is not None
    return best[1:]


def _raw(features: Features, inputs: np.ndarray, number: int) -> np.ndarray:
    """An input in the units of the table."""
    return inputs[:, number] * features.scale[number] + features.mean[number]


def _steps(fit: InitialFit, alpha: float, projected: Tensor, column: int, outputs: Outputs) -> Steps:
    shares = target_shares_along(fit.gain, [alpha] * (DRAWN - 1))
    limit = target_shares(fit.gain, alpha, math.inf) if alpha else torch.zeros_like(fit.gain)
    curves = fit.predict(projected, torch.cat([shares, limit[None]]))[..., column].numpy() + outputs.mean[column]
    return Steps(alpha, curves[:-1], curves[-1], (fit.gain * shares).numpy(), (fit.gain * limit).numpy())


class Example(TypedDict):
    errors: Annotated[Table, Field("mean squared error to the true sine, by step and weight of the truth")]
    fits: Annotated[Figure, Field("fits step by step and their limit (the paper's Fig. 1)")]
    filters: Annotated[Figure, Field("what each step keeps along each eigenvector of the kernel")]


def example(
    *,
    alpha: Annotated[float, Field("weight of the truth, beside 0", gt=0, le=1)] = PAPER_WEIGHT,
    lam: Annotated[float, Field("penalty", gt=0)] = PENALTY,
    gamma: Annotated[float, Field("of the kernel exp(-gamma |x - z|²)", gt=0)] = GAMMA,
) -> Example:
    """The paper's example: a noisy sine at eleven points, fitted again and again."""
    data = toy()
    kernel = KernelFunction("rbf", {"gamma": gamma})
    targets = torch.from_numpy(data.y)[:, None]
    fit = InitialFit.of(Basis.of_kernel(kernel(data.x, data.x), False), targets, Smoother(lam))
    projected = fit.basis.project(kernel(data.at, data.x))
    outputs = Outputs("y", None, np.zeros(1), targets)
    shown = [_steps(fit, weight, projected, 0, outputs) for weight in (0.0, alpha)]
    columns: dict[str, list[str] | list[float]] = {"step": [*map(str, range(1, DRAWN + 1)), "infinity"]}
    for one in shown:
        errors = np.square(np.vstack([one.curves, one.limit]) - data.truth).mean(1)
        columns[f"alpha_{one.alpha:g}"] = errors.round(5).tolist()
    return {
        "errors": Table(polars.DataFrame(columns)),
        "fits": figures.fits_figure(
            shown,
            data.at[:, 0],
            (data.x[:, 0], data.y),
            title="Distilled into itself, a fit fades; some truth in the mixture stops it",
            xlabel="x",
            ylabel="y",
            truth=data.truth,
        ),
        "filters": figures.filters_figure(shown, "Each step keeps less, least of small eigenvalues"),
    }


JOBS = (distil, example)
