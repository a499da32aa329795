"""The embedded network on a real table: whether its error bars are true, and who predicts better."""

from __future__ import annotations

from functools import cache

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import diabetes
from harmonia.networks.icl_uq.checkpoint import load_checkpoint
from harmonia.networks.icl_uq.claims.embedded import excess
from harmonia.networks.icl_uq.comparison import EXACT, IN_CONTEXT, MEAN, PROCESS, RIDGE, STATED, Compared, compare
from harmonia.networks.icl_uq.regressor import InContextRegressor

CONTEXT = 100
"""Rows of context that every method gets."""


@cache
def diabetes_compared(seed: int) -> Compared:
    """All 442 patients, each predicted from 100 others."""
    table = diabetes()
    x, y = table.numeric(table.names[:-1]), table.numeric(table.names[-1:])[:, 0]
    model = InContextRegressor(excess="select", members=8, random_state=seed)
    return compare(model, x, y, context=CONTEXT, seed=seed)


def _losses(compared: Compared) -> str:
    names = (IN_CONTEXT, EXACT, RIDGE, PROCESS, MEAN)
    return ", ".join(f"{name} {compared.scores[name].nll:.3f}" for name in names)


@claim(
    "The embedded network for tables is near Bayes on its own prior",
    place="abstract; four inputs or fewer, correlated, weights around 0",
    unit="nats a target above the exact posterior",
    better="lower",
    tier="quick",
    gate=0.06,
)
def near_bayes(seed: int) -> Measured:
    model, prior = load_checkpoint("embedded")
    assert prior is not None
    return excess(model, prior, model.config.context)


@claim(
    "Calibrated intervals of 90 % hold 90 % of patients that were left out",
    place="specification: real rows, contexts of 20 to 100",
    unit="distance of the coverage from 0.9",
    better="lower",
    tier="quick",
    gate=0.03,
)
def coverage(seed: int) -> Measured:
    scores = diabetes_compared(seed).scores
    note = ", ".join(f"{name} {scores[name].coverage:.3f}" for name in (IN_CONTEXT, STATED, EXACT, RIDGE, PROCESS))
    return Measured(abs(scores[IN_CONTEXT].coverage - 0.9), note=f"diabetes, {CONTEXT} rows of context: {note}")


@claim(
    "On patients that were left out it loses little to the exact Bayesian answer from the same rows and columns",
    place="specification: real rows, contexts of 20 to 100",
    unit="nats a row behind exact Bayes",
    better="lower",
    tier="quick",
    gate=0.05,
)
def behind_bayes(seed: int) -> Measured:
    compared = diabetes_compared(seed)
    behind = compared.scores[IN_CONTEXT].nll - compared.scores[EXACT].nll
    gap = float(np.median(compared.gap))
    return Measured(behind, note=f"diabetes, {CONTEXT} rows: {_losses(compared)}; median distance {gap:.2f} deviations")


@claim(
    "It beats a Gaussian process with learnt scales on the same patients",
    place="no claim of the paper: what a user would ask",
    unit="nats a row",
    better="lower",
    tier="quick",
)
def against_process(seed: int) -> Measured:
    compared = diabetes_compared(seed)
    return Measured(compared.scores[IN_CONTEXT].nll, compared.scores[PROCESS].nll, _losses(compared))
