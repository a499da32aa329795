"""Coat: the released algorithm reproduced, its gain taken apart, and time.

Coat is read from the folder that the environment variable HARMONIA_COAT names; without it these claims are skipped,
for the data state no licence and cannot be shipped. The released covariates (``coat_user.pth``, ``coat_item.pth``) are
read from the same folder where they are there, for the claims about the released algorithm.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy import ndarray

from harmonia.core.claim import Measured, claim
from harmonia.core.progress import say
from harmonia.data.ratings import ExposureStudy, load_coat
from harmonia.parts.ranking import auc, ranking_scores
from harmonia.tables.kernel_balancing.balancer import KernelBalancer
from harmonia.tables.kernel_balancing.debiased import DebiasedMF
from harmonia.tables.kernel_balancing.propensity import naive_bayes_weights
from harmonia.tables.kernel_balancing.released import read_embedding
from harmonia.tables.kernel_balancing.sampled import SampledKernelBalancing

COAT = "HARMONIA_COAT"

SETTINGS: dict[str, dict[str, object]] = {
    "KBIPS": {},
    "WKBIPS": {"anchors": "worst", "weight_lr": 3e-3, "tol": 1e-3},
    "AKBIPS": {"anchors": "adaptive", "weight_lr": 3e-3, "search_lr": 3e-3},
    "KBDR": {"loss": "dr", "decay": 3e-3, "weight_lr": 1e-2, "weight_decay": 0.1, "tol": 1e-4},
}
"""Settings of the released notebook."""


@lru_cache(maxsize=1)
def _study() -> ExposureStudy | None:
    folder = os.environ.get(COAT)
    if not folder:
        say(f"Skipped: {COAT} does not name a folder with Coat (train.ascii, test.ascii).")
        return None
    return load_coat(folder)


@lru_cache(maxsize=1)
def _released() -> tuple[ndarray, ndarray] | None:
    paths = [Path(os.environ.get(COAT, "")) / f"coat_{side}.pth" for side in ("user", "item")]
    if _study() is None or not all(path.is_file() for path in paths):
        say(f"Skipped: the folder {COAT} lacks the released covariates coat_user.pth and coat_item.pth.")
        return None
    user, item = (read_embedding(path).astype(np.float64) for path in paths)
    return user, item


def _split(study: ExposureStudy, seed: int) -> tuple[ndarray, ndarray]:
    """Random ratings for the prior (5 %), and those that judge: the others, where the released code takes all."""
    order = np.random.default_rng(seed).permutation(len(study.at_random.values))
    cut = int(0.05 * len(order))
    return order[:cut], order[cut:]


def _inverse(study: ExposureStudy, labels: ndarray, prior: ndarray) -> ndarray:
    users, items = study.chosen.pairs.T
    return naive_bayes_weights(labels, prior, study.shape, users=users, items=items, compat="official")


@lru_cache(maxsize=64)
def _sampled(name: str, seed: int) -> tuple[float, float, float]:
    """AUC, NDCG@5 and seconds of the released algorithm."""
    study, covariates = _study(), _released()
    assert study is not None
    assert covariates is not None
    prior, judge = _split(study, seed)
    positive = study.at_random.positive(study.threshold)
    model = SampledKernelBalancing(**SETTINGS[name], compat="official", random_state=seed)  # type: ignore[arg-type]
    start = time.perf_counter()
    labels = study.chosen.positive(study.threshold)
    weights = _inverse(study, labels, positive[prior])
    model.fit(study.chosen.pairs, labels, *covariates, base_weights=weights)
    seconds = time.perf_counter() - start
    pairs = study.at_random.pairs[judge]
    scores = model.predict(pairs).astype(np.float64)
    ndcg = ranking_scores(pairs[:, 0], positive[judge], scores, 5, empty="one").ndcg
    return auc(positive[judge], scores), ndcg, seconds


def _over_seeds(name: str, seed: int, seeds: int = 5) -> Measured | None:
    if _released() is None:
        return None
    runs = np.array([_sampled(name, seed + j) for j in range(seeds)])
    mean, spread = runs.mean(0), runs.std(0)
    note = f"{seeds} seeds: AUC {mean[0]:.4f} ± {spread[0]:.4f}, NDCG@5 {mean[1]:.4f}, {mean[2]:.0f} s each"
    return Measured(float(mean[0]), note=note)


@claim(
    "The released algorithm KBIPS, rebuilt, has the AUC of the released code on Coat",
    place="our run of the official code, seed 0",
    unit="AUC on random exposures",
    better="near",
    tier="full",
    paper=0.73,
    tolerance=0.01,
)
def official_kbips(seed: int) -> Measured | None:
    return _over_seeds("KBIPS", seed)


@claim(
    "The released algorithm KBDR, rebuilt, has the AUC of the released code on Coat",
    place="our run of the official code, seed 0",
    unit="AUC on random exposures",
    better="near",
    tier="full",
    paper=0.745,
    tolerance=0.01,
)
def official_kbdr(seed: int) -> Measured | None:
    return _over_seeds("KBDR", seed)


@lru_cache(maxsize=64)
def _tuned(name: str, seed: int) -> tuple[float, float, float]:
    """AUC, NDCG@5 and seconds of ours with the weight decay chosen by cross-validation."""
    study = _study()
    assert study is not None
    prior, judge = _split(study, seed)
    positive = study.at_random.positive(study.threshold)
    side = {"user_features": study.user_features, "item_features": study.item_features}
    start = time.perf_counter()
    model = _MODELS[name](positive[prior]).set_params(random_state=seed)
    model.fit(study.chosen.pairs, study.chosen.positive(study.threshold), **side)
    seconds = time.perf_counter() - start
    pairs = study.at_random.pairs[judge]
    scores = model.predict(pairs)
    ndcg = ranking_scores(pairs[:, 0], positive[judge], scores, 5, empty="one").ndcg
    return auc(positive[judge], scores), ndcg, seconds


_MODELS = {
    "uniform": lambda prior: DebiasedMF("naive"),
    "propensities": lambda prior: DebiasedMF(balancer=KernelBalancer(tol=np.inf), propensity_prior=prior),
    "balanced": lambda prior: DebiasedMF(),
    "balanced from propensities": lambda prior: DebiasedMF(propensity_prior=prior),
    "worst case": lambda prior: DebiasedMF(balancer=KernelBalancer(anchors="worst")),
    "adaptive": lambda prior: DebiasedMF(balancer=KernelBalancer(anchors="adaptive")),
    "doubly robust": lambda prior: DebiasedMF("dr"),
}


@claim(
    "With weight decay tuned for each, balancing ranks Coat's random exposures better than uniform weights",
    place="main tables; uniform weights with a tuned decay are not in them",
    unit="AUC on random exposures",
    better="higher",
    tier="full",
)
def tuned_gain(seed: int) -> Measured | None:
    """It does not: uniform weights, biases and a decay chosen by cross-validation beat all released variants.

    AUC with seed 0: uniform .769, balanced .763, worst case .762, doubly robust .755, beside .73 to .75 as released.
    Much of the published gain is one of loss scale: inverse propensities multiply the loss by 12.5, and with the
    released weight decay an unweighted loss is regularised to death (`uniform_times` shows it).
    """
    if _study() is None:
        return None
    runs = {name: np.array([_tuned(name, seed + j) for j in range(3)]).mean(0) for name in _MODELS}
    table = "; ".join(f"{name} {auc_:.4f}, NDCG@5 {ndcg:.4f}, {s:.1f} s" for name, (auc_, ndcg, s) in runs.items())
    return Measured(float(runs["balanced"][0]), baseline=float(runs["uniform"][0]), note=f"3 seeds; {table}")


@claim(
    "Uniform weights times 12.5, at the released weight decay, gain most of what KBIPS gains over plain factorisation",
    place="the confound of loss scale and weight decay",
    unit="share of the gain in AUC",
    better="higher",
    tier="full",
    gate=0.5,
)
def uniform_times(seed: int) -> Measured | None:
    """The released factorisation and optimiser, no balancing at all: only the loss is multiplied."""
    study, covariates = _study(), _released()
    if study is None or covariates is None:
        return None
    labels, positive = study.chosen.positive(study.threshold), study.at_random.positive(study.threshold)
    found: dict[float, list[float]] = {1.0: [], 12.5: []}
    for times, values in found.items():
        for j in range(3):
            model = SampledKernelBalancing(anchors="none", compat="official", random_state=seed + j)
            model.fit(study.chosen.pairs, labels, *covariates, base_weights=np.full(len(labels), times))
            scores = model.predict(study.at_random.pairs)
            values.append(auc(positive, scores.astype(np.float64)))
    plain, scaled = np.mean(found[1.0]), np.mean(found[12.5])
    balanced = np.mean([_sampled("KBIPS", seed + j)[0] for j in range(3)])
    note = f"AUC, 3 seeds: uniform {plain:.4f}, times 12.5 {scaled:.4f}, KBIPS {balanced:.4f}"
    return Measured(float((scaled - plain) / (balanced - plain)), note=note)


@claim(
    "Worst-case balancing and the recommender take at most 10 seconds on Coat",
    place="our run of the official code: WKBIPS 344 s",
    unit="s, end to end with cross-validation of the decay",
    better="lower",
    tier="full",
    gate=10.0,
)
def speed(seed: int) -> Measured | None:
    if _study() is None:
        return None
    _, ndcg, seconds = _tuned("worst case", seed)
    return Measured(seconds, baseline=344.0, note=f"NDCG@5 {ndcg:.4f}; official code 344 s on the same data, on CPU")


@claim(
    "On Coat balancing brings the largest imbalance from .030 to .0002 and leaves most ratings effective",
    place="spec: measured with an exact solver",
    unit="largest imbalance of 200 functions",
    better="lower",
    tier="full",
    gate=3e-4,
)
def coat_balance(seed: int) -> Measured | None:
    study, covariates = _study(), _released()
    if study is None or covariates is None:
        return None
    users, items = study.chosen.pairs.T
    model = KernelBalancer(random_state=seed).fit(users, items, covariates[0], covariates[1])
    before, after = (float(np.abs(each).max()) for each in (model.imbalance_before_, model.imbalance_))
    note = f"{before:.4f} before; {model.ess_:.0f} effective ratings of {len(model.weights_)}; released covariates"
    return Measured(after, baseline=before, note=note)
