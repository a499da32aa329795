"""A trained network made smaller without backpropagation: each hidden layer replaced, fitted, multiplied out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn

from harmonia.core.progress import track
from harmonia.kernels.snnk.bundle import bundle
from harmonia.kernels.snnk.comparison import BATCH, EPOCHS, HeldOut, as_torch
from harmonia.kernels.snnk.replacement import replace_ffn


@dataclass(frozen=True)
class Compressed:
    """A network at one width of features.

    Attributes:
        features: m of every layer; 0: the network as it was trained.
        parameters: Trainable numbers after bundling.
        errors: Relative error of every replaced layer.
        score: Accuracy or R^2 on rows to judge by.
        narrow: The same of a network of one hidden layer, trained from scratch, of as many parameters.
        hidden: Its hidden units.
    """

    features: int
    parameters: int
    errors: tuple[float, ...]
    score: float
    narrow: float
    hidden: int


def compress(split: HeldOut, hidden: Sequence[int], widths: Sequence[int], seed: int = 0) -> list[Compressed]:
    """Train a network with backpropagation, then replace all of its hidden layers, at every width.

    Arguments:
        split: Rows.
        hidden: Units of its hidden layers.
        widths: Features that replace each of them.
        seed: Of the network and the features.
    """
    trained = _train(split, hidden, seed)
    network = as_torch(trained)
    rows = torch.from_numpy(split.x).float()
    found = [Compressed(0, _count(network), (), _score(network, split, trained), float("nan"), 0)]
    inputs, outputs = rows.shape[1], len(trained.intercepts_[-1])
    for m in track(widths, "Compressing"):
        smaller = copy.deepcopy(network)
        replaced = replace_ffn(smaller, m, sample=[rows], seed=seed)
        bundled = bundle(smaller)
        parameters = _count(nn.Sequential(bundled[-1]))
        units = max(1, round((parameters - outputs) / (inputs + 1 + outputs)))
        narrow = float(_train(split, (units,), seed).score(split.test_x, split.test_y))
        errors = tuple(one.error for one in replaced)
        found.append(Compressed(m, parameters, errors, _score(bundled, split, trained), narrow, units))
    return found


def _train(split: HeldOut, hidden: Sequence[int], seed: int) -> MLPClassifier | MLPRegressor:
    kind = MLPClassifier if split.is_class else MLPRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        rows = min(BATCH, len(split.x))
        network = kind(hidden_layer_sizes=tuple(hidden), batch_size=rows, max_iter=EPOCHS, random_state=seed)
        return network.fit(split.x, split.y)


@torch.no_grad()
def _score(network: nn.Module, split: HeldOut, trained: MLPClassifier | MLPRegressor) -> float:
    answers: Float64[ndarray, "n k"] = network(torch.from_numpy(split.test_x).float()).double().numpy()
    if not split.is_class:
        return float(r2_score(split.test_y, answers[:, 0]))
    index = answers.argmax(1) if answers.shape[1] > 1 else (answers[:, 0] > 0).astype(np.int64)
    return float(accuracy_score(split.test_y, trained.classes_[index]))


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
