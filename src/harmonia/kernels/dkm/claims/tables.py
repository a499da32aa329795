"""Tables: what learning kernels is worth beside fixed kernels and beside a deep Gaussian process of gpytorch.

UCI tables with the splits of bayesfunc are read from the folder that the environment variable HARMONIA_UCI names; the
rest runs on tables that packages bring.
"""

from __future__ import annotations

import math
import os
import time
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import boston, digits
from harmonia.kernels.dkm.claims.deep_gp import fit_deep_gp
from harmonia.kernels.dkm.estimators import DeepKernelMachineClassifier, DeepKernelMachineRegressor
from harmonia.kernels.dkm.uci import Split, read_split

FOLDER = "HARMONIA_UCI"
DOFS = (0.01, 1.0, 10.0, 1000.0, math.inf)
SPLITS = 20


class Score(NamedTuple):
    """Root mean squared error in the targets' units, negative log density in nats, seconds of training."""

    rmse: float
    nll: float
    seconds: float


def machine_score(split: Split, dof: float, inducing: int, seed: int, max_iter: int = 200) -> Score:
    start = time.process_time()
    model = DeepKernelMachineRegressor(n_inducing=inducing, dof=dof, max_iter=max_iter, random_state=seed)
    model.fit(split.x, split.y)
    seconds = time.process_time() - start
    mean, std = model.predict(split.x_test, return_std=True)
    return _score(split.y_test, mean, std**2, seconds)


def deep_gp_score(split: Split, inducing: int, seed: int, steps: int = 600) -> Score:
    """The rival on the same split, inputs and targets standardised as ours."""
    spread = np.where(split.x.std(0) > 0, split.x.std(0), 1.0)
    centre, middle, size = split.x.mean(0), split.y.mean(), split.y.std()
    start = time.process_time()
    predict = fit_deep_gp((split.x - centre) / spread, (split.y - middle) / size, inducing, steps, 0, seed)
    seconds = time.process_time() - start
    mean, variance = predict((split.x_test - centre) / spread)
    return _score(split.y_test, mean * size + middle, variance * size**2, seconds)


def _score(y: np.ndarray, mean: np.ndarray, variance: np.ndarray, seconds: float) -> Score:
    error = (y - mean) ** 2
    nll = 0.5 * (error / variance + np.log(2 * np.pi * variance)).mean()
    return Score(float(np.sqrt(error.mean())), float(nll), seconds)


@lru_cache(maxsize=1)
def _yacht(seed: int) -> dict[float, float] | None:
    """Mean test error over splits 0 and 1 by dof, with 50 inducing points."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    splits = [read_split(folder, "yacht", k) for k in (0, 1)]
    return {dof: float(np.mean([machine_score(s, dof, 50, seed).rmse for s in splits])) for dof in DOFS}


def _told(errors: dict[float, float]) -> str:
    return ", ".join(f"{dof:g}: {error:.2f}" for dof, error in errors.items())


@claim(
    "A deep kernel machine with few degrees of freedom predicts the resistance of yachts",
    place="UCI yacht, splits 0 and 1; the gate of 1.6 is ours, from a run of the official package (1.27 to 1.52)",
    unit="RMSE at nu = 1",
    better="lower",
    tier="full",
    gate=1.6,
)
def yacht(seed: int) -> Measured | None:
    errors = _yacht(seed)
    if errors is None:
        return None
    return Measured(errors[1.0], baseline=errors[math.inf], note=f"RMSE by nu: {_told(errors)}; 50 inducing points")


@claim(
    "The NNGP does not learn the yachts",
    place="UCI yacht, splits 0 and 1; the gate of 4 is ours, from a run of the official package (4.92)",
    unit="RMSE of the NNGP",
    better="higher",
    tier="full",
    gate=4.0,
)
def yacht_nngp(seed: int) -> Measured | None:
    """Fails here: solved exactly, with learned noise, the fixed kernel comes to about 3.

    The official package's 4.92 owes something to its optimiser, which is 400 steps of Adam from a random posterior.
    The gap that the claim is about, fixed against learned, is eightfold here.
    """
    errors = _yacht(seed)
    return None if errors is None else Measured(errors[math.inf], baseline=errors[1.0], note=_told(errors))


@claim(
    "Errors on yachts grow with the degrees of freedom",
    place="UCI yacht, splits 0 and 1",
    unit="neighbouring pairs of nu in the wrong order, of 4",
    better="zero",
    tier="full",
)
def yacht_is_monotone(seed: int) -> Measured | None:
    errors = _yacht(seed)
    if errors is None:
        return None
    values = np.array(list(errors.values()))
    return Measured(float((np.diff(values) < 0).sum()), note=_told(errors))


@lru_cache(maxsize=1)
def _uci(seed: int) -> dict[str, dict[str, list[float]]] | None:
    """Test errors on 20 splits by table: learned and fixed kernels."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    found: dict[str, dict[str, list[float]]] = {}
    for table in ("boston", "concrete", "energy", "wine", "yacht"):
        splits = [read_split(folder, table, k) for k in range(SPLITS)]
        found[table] = {
            name: [machine_score(split, dof, 100, seed, 100).rmse for split in splits]
            for name, dof in (("DKM", 1.0), ("NNGP", math.inf))
        }
    return found


@claim(
    "Learned kernels beat the NNGP on UCI tables",
    place="table of UCI regression; its numbers were not at hand, the gate of more than half is ours",
    unit="share of 5 tables on which the mean error over 20 splits is lower",
    better="higher",
    tier="full",
    gate=0.6,
)
def uci_tables(seed: int) -> Measured | None:
    found = _uci(seed)
    if found is None:
        return None
    means = {table: {name: float(np.mean(errors)) for name, errors in by.items()} for table, by in found.items()}
    note = "; ".join(f"{table} {m['DKM']:.3f} beside {m['NNGP']:.3f}" for table, m in means.items())
    won = float(np.mean([m["DKM"] < m["NNGP"] for m in means.values()]))
    return Measured(won, note=f"RMSE, nu = 1 beside the NNGP, 100 inducing points: {note}")


@claim(
    "On Boston's housing values a deep kernel machine is as good as a deep Gaussian process",
    place="table of UCI regression; 3 splits of our own",
    unit="RMSE, $1000",
    better="lower",
    tier="full",
)
def boston_beside_deep_gp(seed: int) -> Measured:
    values = boston().frame.to_numpy().astype(np.float64)
    ours, fixed, rival = [], [], []
    for split in range(3):
        parts = train_test_split(values[:, :-1], values[:, -1], test_size=0.1, random_state=seed + split)
        held = Split(parts[0], parts[2], parts[1], parts[3])
        ours.append(machine_score(held, 1.0, 100, seed, 100))
        fixed.append(machine_score(held, math.inf, 100, seed, 100))
        rival.append(deep_gp_score(held, 100, seed))
    columns = {"DKM": ours, "NNGP": fixed, "deep GP of gpytorch": rival}
    means = {name: np.mean(np.array(scores), 0) for name, scores in columns.items()}
    note = "; ".join(f"{n} RMSE {m[0]:.2f}, {m[1]:.2f} nats, {m[2]:.0f} s" for n, m in means.items())
    return Measured(
        float(means["DKM"][0]), baseline=float(means["deep GP of gpytorch"][0]), note=f"processor time; {note}"
    )


@claim(
    "On digits a deep kernel machine is as good as a deep Gaussian process",
    place="classification, arXiv:2309.09814",
    unit="share of digits that are wrong",
    better="lower",
    tier="full",
)
def digits_beside_deep_gp(seed: int) -> Measured:
    images, labels = digits()
    x = images.reshape(len(images), -1) / 16
    train, test, y, truth = train_test_split(x, labels, test_size=0.2, random_state=seed, stratify=labels)
    told: list[str] = []
    wrong: dict[str, float] = {}
    for name, dof in (("DKM", 1.0), ("NNGP", math.inf)):
        start = time.process_time()
        model = DeepKernelMachineClassifier(n_inducing=100, dof=dof, max_iter=100, random_state=seed).fit(train, y)
        told.append(_classified(name, model.predict_proba(test), truth, time.process_time() - start, wrong))
    start = time.process_time()
    centre, spread = train.mean(0), np.where(train.std(0) > 0, train.std(0), 1.0)
    predict = fit_deep_gp((train - centre) / spread, y, 100, 150, 10, seed)
    shares = predict((test - centre) / spread)
    told.append(_classified("deep GP of gpytorch", shares, truth, time.process_time() - start, wrong))
    return Measured(wrong["DKM"], baseline=wrong["deep GP of gpytorch"], note=f"processor time; {'; '.join(told)}")


def _classified(name: str, shares: np.ndarray, truth: np.ndarray, seconds: float, wrong: dict[str, float]) -> str:
    wrong[name] = float((shares.argmax(1) != truth).mean())
    nll = -np.log(shares[np.arange(len(truth)), truth].clip(1e-12)).mean()
    return f"{name} {100 * wrong[name]:.1f}% wrong, {nll:.3f} nats, {seconds:.0f} s"
