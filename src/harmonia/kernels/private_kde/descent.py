"""Private gradient descent by opacus: what classification by similarity is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from harmonia.core.errors import require


def train_privately(
    x: Float64[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    eps: float,
    delta: float,
    epochs: int,
    seed: int,
    batch: int = 512,
    rate: float = 4.0,
    clip: float = 1.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """Train a linear classifier with clipped, noisy gradients; returns its predictions as a function."""
    engine = require("opacus", extra="peers").PrivacyEngine()
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)  # opacus draws from the global generator
        data = TensorDataset(torch.from_numpy(x).float(), torch.from_numpy(labels))
        model: nn.Module = nn.Linear(x.shape[1], int(labels.max()) + 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        model, optimizer, loader = engine.make_private_with_epsilon(
            module=model,
            optimizer=optimizer,
            data_loader=DataLoader(data, batch_size=batch),
            target_epsilon=eps,
            target_delta=delta,
            epochs=epochs,
            max_grad_norm=clip,
        )
        for _ in range(epochs):
            for inputs, wanted in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), wanted).backward()
                optimizer.step()

    def predict(new: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(new).float()).argmax(1).numpy()

    return predict
