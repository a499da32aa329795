"""Accuracy against trainable parameters and against time: bundled models beside networks that are trained."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from torch import nn

from harmonia.core.progress import track
from harmonia.kernels.snnk.estimators import BundledSNNKClassifier, BundledSNNKRegressor

WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
HIDDEN = (2, 4, 8, 16, 32, 64, 128, 256)
EPOCHS = 80
"""Passes of Adam over the rows; 10 in a row without progress end it earlier."""

BATCH = 64
"""Rows a step: scikit-learn's 200 leave narrow networks far from trained after so many passes."""

ONE, TWO, NARROW, FOURIER, LINEAR = (
    "bundled, 1 layer",
    "bundled, 2 layers",
    "MLP by backpropagation",
    "RBFSampler and ridge",
    "linear model",
)


@dataclass(frozen=True)
class HeldOut:
    """Rows to learn from and rows to judge by; targets are numbers, or labels."""

    x: Float64[ndarray, "n d"]
    y: ndarray
    test_x: Float64[ndarray, "m d"]
    test_y: ndarray

    @property
    def is_class(self) -> bool:
        return self.y.dtype.kind not in "fc"


@dataclass(frozen=True)
class Trial:
    """One fitted model.

    Attributes:
        model: Its kind.
        width: Features or hidden units.
        parameters: Trainable numbers.
        score: Accuracy, or R^2, on the rows to judge by.
        seconds: Of processors, for the fit.
    """

    model: str
    width: int
    parameters: int
    score: float
    seconds: float


def trial(split: HeldOut, name: str, width: int, seed: int = 0, **options: Any) -> Trial:
    """Fit and judge one model.

    Arguments:
        split: The rows.
        name: One of the names above.
        width: Features or hidden units.
        seed: Of what is random.
        options: Further ones of a bundled model.
    """
    model = _make(name, width, seed, split, options)
    start = time.process_time()  # what else runs on the machine does not count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(split.x, split.y)
    seconds = time.process_time() - start
    return Trial(name, width, _parameters(model), float(model.score(split.test_x, split.test_y)), seconds)


def trials(
    split: HeldOut, seed: int = 0, widths: Sequence[int] = WIDTHS, hidden: Sequence[int] = HIDDEN
) -> list[Trial]:
    """All models at all widths."""
    plan = [(LINEAR, 0), *((name, m) for name in (ONE, TWO, FOURIER) for m in widths), *((NARROW, h) for h in hidden)]
    return [trial(split, name, width, seed) for name, width in track(plan, "Comparing models")]


def _make(name: str, width: int, seed: int, split: HeldOut, options: dict[str, Any]) -> Any:
    alphas = np.logspace(-6, 3, 19)
    ridge = RidgeClassifierCV(alphas) if split.is_class else RidgeCV(alphas)
    if name == LINEAR:
        return ridge
    if name == FOURIER:
        return make_pipeline(RBFSampler(gamma="scale", n_components=width, random_state=seed), ridge)
    if name == NARROW:
        kind: Callable[..., Any] = MLPClassifier if split.is_class else MLPRegressor
        rows = min(BATCH, len(split.x))
        return kind(hidden_layer_sizes=(width,), batch_size=rows, max_iter=EPOCHS, random_state=seed, **options)
    made = BundledSNNKClassifier if split.is_class else BundledSNNKRegressor
    return made(width, depth=2 if name == TWO else 1, standardize=False, random_state=seed, **options)


def _parameters(model: Any) -> int:
    if hasattr(model, "n_parameters_"):
        return int(model.n_parameters_)
    if hasattr(model, "coefs_"):
        return int(sum(part.size for part in [*model.coefs_, *model.intercepts_]))
    last = model[-1] if hasattr(model, "steps") else model
    return int(np.size(last.coef_) + np.size(last.intercept_))


def as_torch(model: MLPClassifier | MLPRegressor) -> nn.Sequential:
    """A fitted multilayer perceptron of scikit-learn as a torch module, without its last non-linearity.

    Of two classes scikit-learn keeps one logit.
    """
    modules: list[nn.Module] = []
    for number, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_)):
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        modules += [nn.ReLU(), layer] if number else [layer]
    return nn.Sequential(*modules)
