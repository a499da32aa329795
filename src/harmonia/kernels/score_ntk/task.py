"""Jobs of the early-stopped score: a table like a given one, its score as a field, the errors of the theory."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import numpy as np
import polars

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import iris
from harmonia.kernels.score_ntk import figures
from harmonia.kernels.score_ntk.codec import Constant
from harmonia.kernels.score_ntk.dissection import dissect as dissect_errors
from harmonia.kernels.score_ntk.estimator import NTKScoreEstimator
from harmonia.kernels.score_ntk.oracles import three_gaussians
from harmonia.kernels.score_ntk.quality import correlation_difference, marginal_distances, memorisation, usefulness
from harmonia.kernels.score_ntk.sampling import KernelDiffusion
from harmonia.kernels.score_ntk.synthesizer import TabularSynthesizer, default_estimator
from harmonia.media import Figure, Table

MOST_DRAWN = 400
"""Samples at each training time at which memorisation is measured."""


class Synthesised(TypedDict):
    table: Annotated[Table, Field("synthetic rows, with the columns of the table")]
    tau: Annotated[float, Field("training time at which the regression stops; leading directions have their own")]
    marginals: Annotated[
        float, Field("mean distance of the columns' distributions to held-out rows, 0 to 1 (KS, total variation)")
    ]
    marginals_real: Annotated[float, Field("the same of the real rows that were learnt from")]
    correlations: Annotated[float, Field("mean difference of correlations to those of the rows learnt from")]
    useful: Annotated[
        float, Field("a forest trained on synthetic rows predicts the target of held-out ones: AUC, or R2 of numbers")
    ]
    useful_real: Annotated[float, Field("the same forest trained on the real rows")]
    copies: Annotated[float, Field("share of synthetic rows that are copies of real ones")]
    stopping: Annotated[Figure, Field("error over training time, and when to stop by three rules")]
    spectrum: Annotated[Figure, Field("eigenvalues of the kernel, and which of them are learnt")]
    pairs: Annotated[Figure, Field("real and synthetic rows, pair by pair of columns")]
    memory: Annotated[Figure, Field("memorisation meter: distances to the rows learnt from, over training time")]


def synthesise(
    table: Annotated[Table, Field("numbers, words, dates, gaps; one example a row", example=iris)],
    *,
    rows: Annotated[int, Field("synthetic rows", ge=1, le=1_000_000)] = 1000,
    target: Annotated[str, Field("column whose prediction is tested; the last one unless given")] = "",
    stop: Annotated[Literal["cv", "loo", "rule"], Field("how the training time is chosen")] = "cv",
    hold_out: Annotated[float, Field("share of rows to test with, not learnt from", ge=0.05, le=0.5)] = 0.2,
    steps: Annotated[int, Field("steps of the sampler", ge=1, le=10_000)] = 100,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Synthesised:
    """Make rows like those of a table.

    The score of a diffusion of the rows is learnt by kernel regression, whose training is stopped before it memorises.
    Some rows are held out: what is written tells how near the synthetic rows come to these, how useful they are to
    train on, and whether they are copies.
    """
    frame = table.frame
    if target:
        table.column(target)
    order = np.random.default_rng(seed).permutation(len(frame))
    tests = max(1, round(hold_out * len(frame)))
    held_out, train = frame[order[:tests]], frame[order[tests:]]
    estimator = default_estimator().set_params(stop=stop)
    say(f"{len(train)} rows to learn from, {tests} held out.")
    model = TabularSynthesizer(estimator, steps=steps, random_state=seed).fit(train)
    codec, fitted = model.codec_, model.estimator_
    generator = np.random.default_rng(seed)
    points, left = codec.encode(train, generator), codec.encode(_known(held_out, train), generator)
    drawn = model.sample_points(rows, random_state=seed)
    synthetic = codec.decode(drawn)
    goal = target or next(column.name for column in reversed(codec.columns) if not isinstance(column, Constant))
    chosen = fitted.early_stop_.tau
    taus = np.geomspace(float(fitted.early_stop_.taus[0]), float(fitted.early_stop_.taus[-1]), 7).tolist()
    along = [
        memorisation(
            KernelDiffusion(fitted.stopped_at(tau)).sample(MOST_DRAWN, min(steps, 50), random_state=seed, denoise=True),
            points,
            left,
        )
        for tau in track(taus, "Measuring memorisation")
    ]
    found = memorisation(drawn, points, left)
    return {
        "table": Table(synthetic),
        "tau": chosen,
        "marginals": _mean(marginal_distances(held_out, synthetic, codec)),
        "marginals_real": _mean(marginal_distances(held_out, train, codec)),
        "correlations": correlation_difference(points, drawn),
        "useful": usefulness(synthetic.head(len(train)), _known(held_out, train), goal, codec, seed),
        "useful_real": usefulness(train, _known(held_out, train), goal, codec, seed),
        "copies": found.copies,
        "stopping": figures.stopping_figure(fitted.early_stop_, codec.width),
        "spectrum": figures.spectrum_figure(fitted.flow_.values, fitted.early_stop_),
        "pairs": figures.pair_figure(train, synthetic, codec),
        "memory": figures.memorisation_figure(found, taus, along, chosen),
    }


def _known(held_out: polars.DataFrame, train: polars.DataFrame) -> polars.DataFrame:
    """Held-out rows whose words were also learnt from."""
    words = [name for name, kind in train.schema.items() if not (kind.is_numeric() or kind.is_temporal())]
    learnt = [polars.col(name).is_in(train[name].unique().implode(), nulls_equal=True) for name in words]
    kept = held_out.filter(polars.all_horizontal(learnt)) if learnt else held_out
    return kept if len(kept) else train


def _mean(values: dict[str, float]) -> float:
    return float(np.mean(list(values.values())))


class Field2D(TypedDict):
    picture: Annotated[Figure, Field("the score as arrows at three times, and samples")]
    stopping: Annotated[Figure, Field("error over training time, and when to stop by three rules")]
    samples: Annotated[Table, Field("new points, and their log-density and score")]
    tau: Annotated[float, Field("training time at which the regression stops")]


def score_field(
    table: Annotated[Table, Field("at least two columns of numbers", example=iris)],
    *,
    x: Annotated[str, Field("first column; one of the two most related unless given")] = "",
    y: Annotated[str, Field("second column; the other unless given")] = "",
    stop: Annotated[Literal["cv", "loo", "rule"], Field("how the training time is chosen")] = "cv",
    rows: Annotated[int, Field("new points", ge=1, le=100_000)] = 500,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Field2D:
    """Draw the score of two columns: the field of arrows that leads noise back to the data."""
    numbers = [name for name in table.numeric_names() if table.frame[name].n_unique() > 2]
    numbers = figures.related(table.frame, numbers, 2)
    first = x or next((name for name in numbers if name != y), "")
    second = y or next((name for name in numbers if name != first), "")
    if not second or first == second:
        raise InputError("a field needs two columns of numbers", ", ".join(table.names), "Name them by x and y.")
    values = table.numeric([first, second])
    mean, scale = values.mean(0), values.std(0)
    if not (scale > 0).all():
        raise InputError("a column does not vary", f"{first} or {second}", "Choose others.")
    data = (values - mean) / scale
    model = NTKScoreEstimator(stop=stop, random_state=seed, max_pairs=2000).fit(data)
    diffusion = KernelDiffusion(model)
    samples = diffusion.sample(rows, random_state=seed)
    score = model.score(model.t_range_[0], samples)
    columns = {
        first: samples[:, 0] * scale[0] + mean[0],
        second: samples[:, 1] * scale[1] + mean[1],
        "log_density": diffusion.log_prob(samples, steps=25) - np.log(scale).sum(),
        f"score_{first}": score[:, 0] / scale[0],
        f"score_{second}": score[:, 1] / scale[1],
    }
    return {
        "picture": figures.field_figure(model, samples, data, [first, second]),
        "stopping": figures.stopping_figure(model.early_stop_, 2),
        "samples": Table(polars.DataFrame(columns)),
        "tau": model.early_stop_.tau,
    }


class Dissected(TypedDict):
    errors: Annotated[Table, Field("the four errors, and those of kernel and networks, by training time")]
    picture: Annotated[Figure, Field("the four errors over training time; trained networks beside the kernel")]
    best: Annotated[float, Field("training time of least error")]


def dissect(
    *,
    n: Annotated[int, Field("data points, one noisy copy each", ge=10, le=5000)] = 300,
    width: Annotated[int, Field("neurons of the widest network; even", ge=32, le=65536)] = 4096,
    last: Annotated[float, Field("longest training time", gt=1, le=1e5)] = 1000.0,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Dissected:
    """Measure the theory's four errors on three Gaussians, whose score is known, with real networks beside."""
    taus = np.geomspace(1.0, last, 13).tolist()
    widths = sorted({2 * max(8, width // share // 2) for share in (64, 8, 1)})
    found = dissect_errors(three_gaussians(), n, taus, widths, seed=seed)
    columns = {
        "tau": taus,
        "label_mismatch": [one.label_mismatch for one in found],
        "early_stopping": [one.early_stopping for one in found],
        "approximation": [one.approximation for one in found],
        "kernel_error": [one.kernel for one in found],
    }
    columns |= {f"coupling_{m}": [one.coupling[m] for one in found] for m in widths}
    columns |= {f"network_error_{m}": [one.network[m] for one in found] for m in widths}
    return {
        "errors": Table(polars.DataFrame(columns)),
        "picture": figures.dissection_figure(found),
        "best": taus[int(np.argmin([one.kernel for one in found]))],
    }


JOBS = (synthesise, score_field, dissect)
