"""Identities that must hold to rounding: product means, the dual's conditions, the bias bound, limits, MMD."""

from __future__ import annotations

import numpy as np
import torch

from harmonia.core.claim import Measured, claim
from harmonia.parts.gram import SquaredExponential, product_mean_embedding
from harmonia.tables.kernel_balancing.anchors import random_anchors
from harmonia.tables.kernel_balancing.dual import balance_moments
from harmonia.tables.kernel_balancing.factors import Factors, Observed, fit_factors
from harmonia.tables.kernel_balancing.ideal_loss import estimate_ideal_loss
from harmonia.tables.kernel_balancing.pairs import PairKernel
from harmonia.tables.kernel_balancing.semi_synthetic import SemiSynthetic, semi_synthetic

_TOL = 1e-3


def _small(seed: int, users: int = 30, items: int = 20) -> tuple[SemiSynthetic, PairKernel]:
    truth = semi_synthetic(seed, users, items)
    return truth, PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features)


@claim(
    "The mean of a Gaussian kernel over all pairs is a product of two means",
    place="spec: the kernel factorises over user and item",
    unit="largest difference from the mean over all pairs listed",
    better="zero",
    tier="quick",
    tolerance=1e-12,
)
def product_mean(seed: int) -> Measured:
    truth, pairs = _small(seed)
    anchors = random_anchors(pairs, 50, np.random.default_rng(seed))
    every = np.indices(pairs.shape).reshape(2, -1)
    x = np.concatenate([truth.user_features[every[0]], truth.item_features[every[1]]], 1)
    listed = SquaredExponential()(torch.from_numpy(x), torch.from_numpy(x)).numpy().mean(0)
    kernels = [SquaredExponential()] * 2
    sets = [torch.from_numpy(truth.user_features), torch.from_numpy(truth.item_features)]
    found = product_mean_embedding(kernels, sets, [s[torch.from_numpy(a)] for s, a in zip(sets, anchors.T)]).numpy()
    scaled = np.abs(pairs.features(every[0], every[1], anchors).mean(0) - pairs.mean(anchors)).max()
    worst = max(float(np.abs(found - listed[anchors[:, 0] * pairs.shape[1] + anchors[:, 1]]).max()), float(scaled))
    return Measured(worst, note="600 pairs listed; the kernel of the concatenated covariates, and with two scales")


def _solved(seed: int, tol: float, ridge: float = 0.0) -> tuple[np.ndarray, np.ndarray, object]:
    truth = semi_synthetic(seed)
    pairs = PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features)
    anchors = random_anchors(pairs, 100, np.random.default_rng(seed))
    features = pairs.features(truth.users, truth.items, anchors)
    return features, pairs.mean(anchors), balance_moments(features, pairs.mean(anchors), tol=tol, ridge=ridge)


@claim(
    "The weights keep every constraint, and no feasible weights are nearer: duality gap",
    place="convexity of the dual",
    unit="excess over C, or gap in nats, the larger",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def dual_is_solved(seed: int) -> Measured:
    features, target, found = _solved(seed, _TOL)
    w, a = found.weights, found.multipliers  # type: ignore[attr-defined]
    imbalance = w @ features / len(w) - target
    dual = float(a @ target) - float(np.log(np.exp(features @ a).mean())) - _TOL * float(np.abs(a).sum())
    gap = float((w * np.log(w)).mean()) - dual
    worst = max(float(np.abs(imbalance).max()) - _TOL, abs(float(w.mean()) - 1), gap)
    active = int((np.abs(imbalance) > 0.99 * _TOL).sum())
    return Measured(worst, note=f"C = {_TOL:g}, 100 anchors, {active} constraints active; both sides recomputed here")


@claim(
    "Errors that are a combination of balanced functions have a bias of at most C times its coefficients' sizes",
    place="bias bound for the span of balanced functions",
    unit="largest bias relative to the bound, less 1 where it is larger",
    better="zero",
    tier="quick",
    tolerance=1e-7,
)
def bias_bound(seed: int) -> Measured:
    features, target, found = _solved(seed, _TOL)
    imbalance = found.weights @ features / len(features) - target  # type: ignore[attr-defined]
    random = np.random.default_rng(seed).standard_normal((1000, len(target)))
    coefficients = np.concatenate([random, np.sign(imbalance)[None]])
    errors, ideal = features @ coefficients.T, coefficients @ target
    bias = np.abs(found.weights @ errors / len(features) - ideal)  # type: ignore[attr-defined]
    share = bias / (_TOL * np.abs(coefficients).sum(1))
    note = f"1000 random combinations, at most {share[:-1].max():.2f} of the bound; the worst one {share[-1]:.4f}"
    return Measured(max(0.0, float(share.max()) - 1), note=note)


@claim(
    "Balancing only the constant function is self-normalised inverse propensity weighting",
    place="J = 1",
    unit="largest relative difference",
    better="zero",
    tier="quick",
    tolerance=1e-12,
)
def constant_is_self_normalised(seed: int) -> Measured:
    truth = semi_synthetic(seed)
    inverse, errors = 1 / truth.propensity[truth.observed], truth.errors[truth.observed]
    found = balance_moments(np.ones((len(errors), 1)), np.ones(1), base_weights=inverse, tol=0.0)
    estimate = float((found.weights * errors).mean())
    return Measured(abs(estimate / estimate_ideal_loss(errors, inverse) - 1), note="true propensities")


@claim(
    "As C grows the weights become those they start from",
    place="C to infinity",
    unit="largest difference of weights",
    better="zero",
    tier="quick",
    tolerance=1e-7,
)
def loose_constraints(seed: int) -> Measured:
    truth, pairs = _small(seed)
    anchors = random_anchors(pairs, 20, np.random.default_rng(seed))
    base = np.random.default_rng(seed).uniform(0.5, 2, len(truth.users))
    features, target = pairs.features(truth.users, truth.items, anchors), pairs.mean(anchors)
    worst = 0.0
    for tol in (1.0, np.inf):
        found = balance_moments(features, target, base_weights=base, tol=tol)
        worst = max(worst, float(np.abs(found.weights - base / base.mean()).max()))
    return Measured(worst, note="C = 1 and infinity; kernel values are at most 1")


@claim(
    "MMD by Kronecker factors is that of all pairs listed",
    place="MMD^2 = w' K w / n^2 - 2 w' k / n + k",
    unit="largest relative difference",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def mmd_is_exact(seed: int) -> Measured:
    truth, pairs = _small(seed)
    every = np.indices(pairs.shape).reshape(2, -1)
    gram = pairs.features(every[0], every[1], every.T)
    rows = truth.users * pairs.shape[1] + truth.items
    w = np.random.default_rng(seed).uniform(0, 2, len(rows))
    n = len(rows)
    own = w @ gram[np.ix_(rows, rows)] @ w / n**2
    brute = own - 2 * (w @ gram[rows].mean(1)) / n + gram.mean()
    return Measured(abs(pairs.mmd(truth.users, truth.items, w) ** 2 / float(brute) - 1), note="600 pairs")


@claim(
    "Weights times c with weight decay d train the model of the weights with decay d / c",
    place="the confound of loss scale and weight decay",
    unit="largest difference of logits",
    better="zero",
    tier="quick",
    tolerance=1e-3,
)
def scale_is_decay(seed: int) -> Measured:
    """Why a debiased loss must have weights of mean 1: otherwise it is compared at another regularisation.

    The minimum is found to the tolerance of L-BFGS, hence the bound.
    """
    truth = semi_synthetic(seed, 60, 50)
    labels = (truth.liking[truth.observed] > 0).astype(np.float64)
    start = Factors.start(60, 50, 2, np.random.default_rng(seed))
    found = []
    for times in (1.0, 12.5):
        observed = Observed(truth.users, truth.items, labels, np.full(len(labels), times))
        found.append(fit_factors(start, observed, 3e-3 * times, iterations=3000, precision=1e-13).all_logits())
    return Measured(float(np.abs(found[0] - found[1]).max()), note="uniform weights of 1 and of 12.5")
