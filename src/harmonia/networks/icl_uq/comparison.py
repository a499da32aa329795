"""The network beside what people use on tables: every row is predicted by every method from the same other rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.networks.icl_uq.regressor import InContextRegressor

IN_CONTEXT, STATED = "in-context network", "in-context network, uncalibrated"
EXACT = "exact Bayes (NIG)"
RIDGE, PROCESS, MEAN = "Bayesian ridge", "Gaussian process", "mean of the rows"
MOST_FOR_PROCESS = 1000
"""Rows from which on the Gaussian process, cubic in them, is left out."""


class Answer(NamedTuple):
    """What a method says of rows it has not seen.

    Attributes:
        mean, std: Of every row.
        pit: Its distribution function at what was observed.
        log_density: At what was observed, in nats.
        low, high: Ends of the interval of the wanted coverage.
    """

    mean: Float64[ndarray, " rows"]
    std: Float64[ndarray, " rows"]
    pit: Float64[ndarray, " rows"]
    log_density: Float64[ndarray, " rows"]
    low: Float64[ndarray, " rows"]
    high: Float64[ndarray, " rows"]

    @classmethod
    def normal(cls, mean: ndarray, std: ndarray, y: ndarray, coverage: float) -> Answer:
        """A normal distribution's."""
        half = norm.ppf(0.5 + coverage / 2) * std
        return cls(mean, std, norm.cdf(y, mean, std), norm.logpdf(y, mean, std), mean - half, mean + half)


class Scores(NamedTuple):
    """Of one method on rows that were left out."""

    rmse: float
    nll: float
    coverage: float
    width: float
    seconds: float


class Compared(NamedTuple):
    """Answers for every row, in the rows' order, and the scores of every method."""

    answers: dict[str, Answer]
    scores: dict[str, Scores]
    gap: Float64[ndarray, " rows"]


def compare(
    model: InContextRegressor,
    X: Float64[ndarray, "rows inputs"],
    y: Float64[ndarray, " rows"],
    *,
    coverage: float = 0.9,
    folds: int = 5,
    context: int | None = None,
    seed: int = 0,
) -> Compared:
    """Cross-validate the network and its rivals.

    Arguments:
        model: The regressor; it is fitted anew in every fold.
        X, y: All rows.
        coverage: Of the intervals.
        folds: Parts of the rows.
        context: Rows that every method gets, drawn from the other folds; all of them unless given.
        seed: Of folds and contexts.

    Raises:
        InputError: a context of one row, which tells no method how far values spread.
    """
    if context is not None and context < 2:
        raise InputError("a context has two rows or more", context, "Give more rows of context.")
    count = len(y)
    found: dict[str, list[Answer]] = {}
    seconds: dict[str, float] = {}
    gaps, order = [], []
    random = np.random.default_rng(seed)
    parts = list(KFold(min(folds, count), shuffle=True, random_state=seed).split(X))
    for train, test in track(parts, "Cross-validation"):
        rows = train if context is None else random.choice(train, min(context, len(train)), replace=False)
        order.append(test)
        start = time.perf_counter()
        model.fit(X[rows], y[rows])
        mean, std = model.predict(X[test], return_std=True)
        low, high = model.predict_interval(X[test], coverage)
        stated = Answer.normal(mean, std, y[test], coverage)
        pit = model.pit(X[test], y[test])
        answers = {IN_CONTEXT: stated._replace(pit=pit, low=low, high=high), STATED: stated}
        for name in answers:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        for name, rival in _rivals(model, len(rows)).items():
            start = time.perf_counter()
            answers[name] = rival(model, X[rows], y[rows], X[test], y[test], coverage)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        if EXACT in answers:
            gaps.append(np.abs(mean - answers[EXACT].mean) / answers[EXACT].std)
        for name, answer in answers.items():
            found.setdefault(name, []).append(answer)
    back = np.argsort(np.concatenate(order))
    whole = {name: Answer(*(np.concatenate(c)[back] for c in zip(*each))) for name, each in found.items()}
    scores = {name: _scores(answer, y, seconds[name]) for name, answer in whole.items()}
    return Compared(whole, scores, np.concatenate(gaps)[back] if gaps else np.full(count, np.nan))


def _scores(answer: Answer, y: ndarray, seconds: float) -> Scores:
    inside = (answer.low <= y) & (y <= answer.high)
    return Scores(
        rmse=float(np.sqrt(np.mean(np.square(answer.mean - y)))),
        nll=float(-answer.log_density.mean()),
        coverage=float(inside.mean()),
        width=float((answer.high - answer.low).mean()),
        seconds=seconds,
    )


Rival = Callable[[InContextRegressor, ndarray, ndarray, ndarray, ndarray, float], Answer]


def _rivals(model: InContextRegressor, rows: int) -> Mapping[str, Rival]:
    rivals: dict[str, Rival] = {}
    if model.prior_ is not None and model.prior_.is_linear:
        rivals[EXACT] = _exact
    rivals[RIDGE] = _bayesian_ridge
    if rows <= MOST_FOR_PROCESS:
        rivals[PROCESS] = _gaussian_process
    return {**rivals, MEAN: _mean}


def _exact(model: InContextRegressor, X: ndarray, y: ndarray, new: ndarray, truth: ndarray, coverage: float) -> Answer:
    """The posterior that the network imitates: the same columns, scales and prior, all rows."""
    known = model.predictive_exact(new)
    mean, scale, df = known.location.numpy(), known.scale.numpy(), known.df.numpy()
    half = student.ppf(0.5 + coverage / 2, df) * scale
    z = (truth - mean) / scale
    density = student.logpdf(z, df) - np.log(scale)
    return Answer(mean, known.variance.sqrt().numpy(), student.cdf(z, df), density, mean - half, mean + half)


def _bayesian_ridge(
    model: InContextRegressor, X: ndarray, y: ndarray, new: ndarray, truth: ndarray, coverage: float
) -> Answer:
    scaler = StandardScaler().fit(X)
    mean, std = BayesianRidge().fit(scaler.transform(X), y).predict(scaler.transform(new), return_std=True)
    return Answer.normal(mean, std, truth, coverage)


def _gaussian_process(
    model: InContextRegressor, X: ndarray, y: ndarray, new: ndarray, truth: ndarray, coverage: float
) -> Answer:
    scaler = StandardScaler().fit(X)
    kernel = ConstantKernel() * RBF(np.sqrt(X.shape[1])) + WhiteKernel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(scaler.transform(X), y)
    mean, std = process.predict(scaler.transform(new), return_std=True)
    return Answer.normal(mean, std, truth, coverage)


def _mean(model: InContextRegressor, X: ndarray, y: ndarray, new: ndarray, truth: ndarray, coverage: float) -> Answer:
    ones = np.ones(len(new))
    return Answer.normal(y.mean() * ones, max(float(y.std(ddof=1)), 1e-12) * ones, truth, coverage)
