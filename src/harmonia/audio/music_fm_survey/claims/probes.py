"""Identities that the probes and their scores keep."""

from __future__ import annotations

import numpy as np

from harmonia.audio.music_fm_survey.tasks import key_gains
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import require
from harmonia.data.render.labelled import TONICS
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments


@claim(
    "Cross-validation from the folds' moments is that of refitting every fold",
    place="arXiv 2306.10548: probing protocol",
    unit="largest difference of a prediction",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def moments(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    x, y, fold = rng.normal(size=(200, 30)) + 5, rng.normal(size=(200, 3)), np.arange(200) % 5
    found, worst = FoldMoments(x, y, fold), 0.0
    for left_out in range(5):
        seen = fold != left_out
        z = (x - x[seen].mean(0)) / x[seen].std(0)
        predicted = found.without(left_out).predict(x, ALPHAS)
        for alpha, guess in zip(ALPHAS, predicted):
            centred = y[seen] - y[seen].mean(0)
            weights = np.linalg.solve(z[seen].T @ z[seen] + seen.sum() * alpha * np.eye(30), z[seen].T @ centred)
            worst = max(worst, float(np.abs(z @ weights + y[seen].mean(0) - guess).max()))
    return Measured(worst)


@claim(
    "The gains of keys are mir_eval's weighted score",
    place="MIREX key detection",
    unit="largest difference over 576 pairs of keys",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def key_scores(seed: int) -> Measured:
    weighted = require("mir_eval.key", extra="audio").weighted_score
    keys = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS]
    theirs = np.array([[weighted(truth, guess) for guess in keys] for truth in keys])
    return Measured(float(np.abs(key_gains(keys) - theirs).max()))
