"""Logistic probes in the eigenbasis of the features, started from ridge regression.

Softmax regression for classes, independent sigmoids for labels:

    min_W  1/n sum_i loss(y_i, z_i W + b) + a/2 |W|^2.

In the coordinates ``U = Z V / sqrt(s^2 / n + a)`` the problem is nearly round, so that L-BFGS needs a dozen steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from harmonia.parts.probing.ridge import Spectrum

STEPS = 300
TOLERANCE = 1e-6
"""Largest slope of the loss, in the round coordinates, at which the search ends."""

Fitted = tuple[Float64[ndarray, "d k"], Float64[ndarray, " k"]]


def logistic_weights(
    spectrum: Spectrum,
    features: Float[ndarray, "items d"],
    coded: Float64[ndarray, "items k"],
    alpha: float,
    exclusive: bool,
    start: Fitted | None = None,
) -> Fitted:
    """Weights on standardised features, and intercepts.

    Arguments:
        spectrum: Of the training items.
        features: Of the training items.
        coded: Their targets, +1 and -1.
        alpha: Penalty a.
        exclusive: One class of several (softmax) rather than labels (sigmoids).
        start: Weights and intercepts of another penalty to start from, rather than from ridge regression.

    Example:
        >>> from harmonia.parts.probing.ridge import FoldMoments
        >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
        >>> y = np.sign(x) * [[-1.0, 1.0]]
        >>> moments = FoldMoments(x, y, np.zeros(4, dtype=np.int64))
        >>> weights, _ = logistic_weights(moments.without(), x, y, 0.1, exclusive=True)
        >>> bool(weights[0, 1] > 1)
        True
    """
    n, k = coded.shape
    stretch = np.sqrt(spectrum.energy / n + alpha)
    u = spectrum.standard(features) @ spectrum.axes / stretch
    positive = coded > 0
    weights, intercept = start or (spectrum.weights([alpha])[0], _log_odds(positive, exclusive))
    first = np.concatenate([stretch[:, None] * (spectrum.axes.T @ weights), intercept[None]])
    penalty = (alpha / stretch**2)[:, None]

    options = {"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 1e-12}
    fixed = (u, positive, penalty, exclusive)
    found = minimize(_loss, first.ravel(), fixed, jac=True, method="L-BFGS-B", options=options).x.reshape(-1, k)
    return spectrum.axes @ (found[:-1] / stretch[:, None]), found[-1]


def logistic_predictions(
    spectrum: Spectrum,
    train: tuple[Float[ndarray, "items d"], Float64[ndarray, "items k"]],
    features: Float[ndarray, "others d"],
    alphas: Sequence[float],
    exclusive: bool,
) -> Float64[ndarray, "alphas others k"]:
    """Logits of `features` for each penalty."""
    standardised = spectrum.standard(features)
    strongest = sorted(set(alphas), reverse=True)
    fitted: dict[float, Fitted] = {}
    for alpha, before in zip(strongest, [None, *strongest]):
        start = None if before is None else fitted[before]
        fitted[alpha] = logistic_weights(spectrum, *train, alpha, exclusive, start)
    return np.stack([standardised @ weights + intercept for weights, intercept in (fitted[alpha] for alpha in alphas)])


def _loss(flat: ndarray, u: ndarray, positive: ndarray, penalty: ndarray, exclusive: bool) -> tuple[float, ndarray]:
    """The penalised loss and its slope."""
    n, k = positive.shape
    w = flat.reshape(-1, k)
    logits = u @ w[:-1] + w[-1]
    if exclusive:
        logs = log_softmax(logits, axis=1)
        value, residual = -logs[positive].sum() / n, (np.exp(logs) - positive) / n
    else:
        value = np.logaddexp(0, np.where(positive, -logits, logits)).sum() / n
        residual = (expit(logits) - positive) / n
    slope = np.concatenate([u.T @ residual + penalty * w[:-1], residual.sum(0, keepdims=True)])
    return float(value + 0.5 * (penalty * w[:-1] ** 2).sum()), slope.ravel()


def _log_odds(positive: ndarray, exclusive: bool) -> ndarray:
    share = np.clip(positive.mean(0), 1e-6, 1 - 1e-6)
    return np.log(share) if exclusive else np.log(share / (1 - share))
