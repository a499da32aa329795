"""That scaling laws are recovered from noisy runs, and whether one holds for small models of melodies."""

from __future__ import annotations

from functools import cache

import numpy as np

from harmonia.audio.music_fm_survey.scaling import ScalingLaw
from harmonia.audio.music_fm_survey.tune_lm import Budget, scaling_runs
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import folk_tunes

TRUE_LAW = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 410.0, "b": 0.28}


@claim(
    "The exponents of a scaling law are recovered from 60 runs with 1 % noise",
    place="Sec. on scaling laws; arXiv 2203.15556, approach 3",
    unit="largest error of a or b in 25 repeats",
    better="lower",
    tier="quick",
    gate=0.02,
)
def exponents(seed: int) -> Measured:
    """L = 1.7 + 400 N^-0.34 + 410 D^-0.28, N in 1e5 to 1e9, D in 1e6 to 1e10, log-uniform."""
    laws = [_law(seed + repeat) for repeat in range(25)]
    a, b = (np.array([getattr(law, f"{name}_") for law in laws]) for name in "ab")
    worst = max(np.abs(a - TRUE_LAW["a"]).max(), np.abs(b - TRUE_LAW["b"]).max())
    note = f"a {a.mean():.4f} (sd {a.std(ddof=1):.4f}), b {b.mean():.4f} (sd {b.std(ddof=1):.4f})"
    return Measured(float(worst), note=note)


@claim(
    "The irreducible loss is recovered from 60 runs with 1 % noise",
    place="Sec. on scaling laws; arXiv 2203.15556, approach 3",
    unit="largest relative error of E in 25 repeats",
    better="lower",
    tier="quick",
    gate=0.08,
)
def irreducible(seed: int) -> Measured:
    """The same runs as for the exponents."""
    e = np.array([_law(seed + repeat).E_ for repeat in range(25)])
    worst = np.abs(e / TRUE_LAW["E"] - 1).max()
    return Measured(float(worst), note=f"E {e.mean():.3f} (sd {e.std(ddof=1):.3f})")


@claim(
    "Bootstrap intervals of 95 % cover the true exponents",
    place="Sec. on scaling laws",
    unit="share of 100 intervals, a and b of 50 repeats",
    better="higher",
    tier="full",
    gate=0.88,
)
def coverage(seed: int) -> Measured:
    """About a minute."""
    hits = []
    for repeat in range(50):
        intervals = _law(seed + repeat, resamples=200).confint()
        hits += [intervals[name][0] <= TRUE_LAW[name] <= intervals[name][1] for name in "ab"]
    return Measured(float(np.mean(hits)))


@claim(
    "A law fitted to small models of melodies predicts the largest run",
    place="abstract: scaling laws",
    unit="% error of the held-out loss",
    better="lower",
    tier="full",
    gate=3.0,
)
def melodies_scale(seed: int, budget: Budget | None = None) -> Measured | None:
    """Five sizes, four amounts of folk tunes; the run with most parameters and notes is predicted from the other 19.

    About 3 minutes on one core. The baseline is the best loss of the other runs, taken as the prediction.

    Not reproduced: 3.7 % at seed 0, the baseline 0.8 %; the runs are the example of the job ``scaling``. After 600
    steps the larger networks have not learnt what the most notes would teach them, so the law sees data matter too
    little and sets E too high. ``Budget(steps=2400)`` gives 2.8 %, within the bound and no better than the baseline's
    2.8 %: small data are then seen so often that larger networks do worse, for which the law has no term.
    """
    try:
        tunes = [tune for name in ("essen", "oneill", "ryan", "aird") for tune in folk_tunes(name)]
    except MissingDependency:
        return None
    runs = scaling_runs(tunes, seed=seed, budget=budget)
    *others, largest = runs.iter_rows()
    params, notes, loss = np.array(others).T
    law = ScalingLaw(resamples=0).fit(params, notes, loss)
    predicted = float(law.predict(largest[0], largest[1]))
    naive = 100 * abs(float(loss.min()) / largest[2] - 1)
    note = f"loss {largest[2]:.4f}, predicted {predicted:.4f}; E {law.E_:.3f}, a {law.a_:.3f}, b {law.b_:.3f}"
    return Measured(100 * abs(predicted / largest[2] - 1), naive, note)


@claim(
    "The best split of a budget has the lowest loss of all splits",
    place="arXiv 2203.15556, eq. 4",
    unit="loss above that of the best of 20,001 splits, relative",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def best_split(seed: int) -> Measured:
    law, budget = _law(seed), 1e19
    sizes = np.geomspace(1e6, 1e12, 20_001)
    along = law.predict(sizes, budget / 6 / sizes)
    return Measured(max(0.0, law.optimal(budget).loss / float(along.min()) - 1))


@cache
def _law(seed: int, resamples: int = 0) -> ScalingLaw:
    rng = np.random.default_rng(seed)
    size, data = 10 ** rng.uniform(5, 9, 60), 10 ** rng.uniform(6, 10, 60)
    loss = TRUE_LAW["E"] + TRUE_LAW["A"] * size ** -TRUE_LAW["a"] + TRUE_LAW["B"] * data ** -TRUE_LAW["b"]
    return ScalingLaw(resamples=resamples, random_state=seed).fit(size, data, loss * np.exp(0.01 * rng.normal(size=60)))
