"""Sequential CIFAR-10, the release's own example, where a user has the data and a graphics processor."""

from __future__ import annotations

import os

import numpy as np
import torch

from harmonia.core.claim import Measured, claim
from harmonia.data.long_range_arena import cifar10
from harmonia.sequences.s4d.estimator import S4DClassifier

FOLDER = "HARMONIA_CIFAR10"
"""Environment variable that names the folder of CIFAR-10's binary files."""


@claim(
    "Pictures read pixel by pixel: the minimal model on sequential CIFAR-10",
    place="official README: 88 % with 200,000 parameters",
    unit="% accuracy",
    better="higher",
    tier="gpu",
    paper=88.0,
    tolerance=2.0,
)
def sequential_cifar(seed: int) -> Measured | None:
    """30 epochs instead of 100, on pixels in colour, row by row."""
    folder = os.environ.get(FOLDER)
    if not folder or not torch.cuda.is_available():
        return None
    (X_train, y_train), (X_test, y_test) = (cifar10(folder, "train"), cifar10(folder, "test"))
    model = S4DClassifier(
        d_model=128, n_layers=4, epochs=30, batch_size=64, learning_rate=0.01, device="cuda", random_state=seed
    )
    model.fit(X_train.astype(np.float32) / 255, y_train)
    return Measured(100 * model.score(X_test.astype(np.float32) / 255, y_test), note="30 epochs instead of 100")
