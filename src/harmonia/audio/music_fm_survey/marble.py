"""MARBLE's own probe (arXiv 2306.10548, Sec. 3): a softmax-weighted sum of layers into a network of one hidden layer.

    logits = W2 dropout(relu(W1 sum_l softmax(a)_l x_l + b1)) + b2,    h = 512

trained by Adam on batches of 64 for at most 100 epochs; the learning rate is halved when the validation score stands
still and the training ends when it has not risen for 20 epochs; the learning rate is the best of a grid. Here it is
the rival of the closed form, and an option for those who want MARBLE's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor, nn

from harmonia.parts.probing import Metric, Probed, Targets, bootstrap_interval, check_features, fold_numbers, macro

BEST_LAYERS: dict[str, int | None] = {
    "GTZAN genre": 7,
    "GiantSteps key": 8,
    "EmoMusic": 5,
    "MTG genre": 7,
    "MTG mood": 6,
    "MTG top50": 6,
    "MTG instrument": None,
    "MagnaTagATune": None,
    "NSynth instrument": 6,
    "NSynth pitch": 1,
    "VocalSet singer": 2,
    "VocalSet technique": 9,
}
"""Layers of MERT-v1-95M in MARBLE's configurations; None for the weighted sum of all."""


class MarbleProbe(nn.Module):
    """MARBLE's probe network.

    Arguments:
        layers: Number of layers to weigh; 1 for a single layer.
        width: Features of a layer.
        outputs: Classes, labels or numbers.
        hidden: Width of the hidden layer.
        dropout: After the hidden layer.

    Example:
        >>> MarbleProbe(13, 768, 10)(torch.zeros(2, 13, 768)).shape
        torch.Size([2, 10])
    """

    def __init__(self, layers: int, width: int, outputs: int, hidden: int = 512, dropout: float = 0.2) -> None:
        super().__init__()
        self.aggregator = nn.Parameter(torch.randn(1, layers, 1))
        self.hidden_0 = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch outputs"]:
        """Logits, or numbers."""
        weighed = (features * self.aggregator.softmax(1)).sum(1)
        return self.output(self.dropout(self.hidden_0(weighed).relu()))


@dataclass(frozen=True)
class MarblePlan:
    """How a `MarbleProbe` is trained.

    Attributes:
        rates: Grid of learning rates.
        epochs: At most.
        batch: Clips a step.
        patience: Epochs without a better validation score before the rate is halved.
        stop: Epochs without a better validation score before the end.
        hidden: Width of the hidden layer.
        dropout: After it.
    """

    rates: Sequence[float] = (1e-2, 5e-3, 1e-3, 5e-4, 1e-4)
    epochs: int = 100
    batch: int = 64
    patience: int = 3
    stop: int = 20
    hidden: int = 512
    dropout: float = 0.2


def fit_marble(
    features: Float32[Tensor, "items layers width"],
    targets: Targets,
    validation: ndarray,
    metric: Metric,
    plan: MarblePlan,
    seed: int,
) -> MarbleProbe:
    """Train on the items outside of `validation` (booleans), keep the rate and the epoch that score best on it."""
    best, best_score = None, -np.inf
    for rate in plan.rates:
        probe, score = _trained(features, targets, validation, metric, plan, rate, seed)
        if score > best_score:
            best, best_score = probe, score
    assert best is not None
    return best


def probe_mlp(
    features: Float[ndarray, "items *layers d"],
    targets: Targets,
    *,
    test: ndarray | None = None,
    groups: ndarray | None = None,
    metric: Metric | None = None,
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    plan: MarblePlan | None = None,
) -> Probed:
    """As `harmonia.parts.probing.probe_layers`, by MARBLE's network over a weighted sum of all layers.

    Each fold's validation set is the next fold. The curve over layers is the single score.
    """
    layers, score = check_features(features), metric or targets.metric
    train = np.ones(len(targets), dtype=bool) if test is None else ~test
    fold = np.full(len(targets), -1)
    part = Targets(targets.goal, targets.values[train], targets.coded[train], targets.classes)
    fold[train] = fold_numbers(part, folds, None if groups is None else groups[train], seed=seed)
    x = torch.from_numpy(np.asarray(layers, dtype=np.float32))
    predicted = np.empty_like(targets.coded)
    for left_out in range(folds) if test is None else [-1]:
        where = fold == left_out
        seen = torch.from_numpy(np.flatnonzero(~where))
        known = Targets(targets.goal, targets.values[~where], targets.coded[~where], targets.classes)
        validation = fold[~where] == (left_out + 1) % folds
        mean, scale = x[seen].mean(0), x[seen].std(0).clamp(min=1e-6)
        probe = fit_marble((x[seen] - mean) / scale, known, validation, score, plan or MarblePlan(), seed)
        with torch.no_grad():
            predicted[where] = probe((x[where] - mean) / scale).double().numpy()
    items = np.arange(len(targets)) if test is None else np.flatnonzero(test)
    together = None if groups is None else groups[items]
    found = bootstrap_interval(
        score, targets.values[items], predicted[items], groups=together, resamples=resamples, seed=seed
    )
    return Probed(score, found, (found,), 0, np.array([1]), predicted[items], items, targets, together)


def _trained(
    features: Tensor, targets: Targets, validation: ndarray, metric: Metric, plan: MarblePlan, rate: float, seed: int
) -> tuple[MarbleProbe, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, layers, width = features.shape
        probe = MarbleProbe(layers, width, targets.coded.shape[1], plan.hidden, plan.dropout)
        optimizer = torch.optim.Adam(probe.parameters(), lr=rate)
        halving = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=plan.patience)
        loss, wanted = _loss(targets)
        rows, held = torch.from_numpy(np.flatnonzero(~validation)), torch.from_numpy(np.flatnonzero(validation))
        truth, ones = targets.values[validation], np.ones((1, int(validation.sum())))
        best, best_score, waited = {k: v.clone() for k, v in probe.state_dict().items()}, -np.inf, 0
        for _ in range(plan.epochs):
            probe.train()
            for batch in rows[torch.randperm(len(rows))].split(plan.batch):
                optimizer.zero_grad()
                loss(probe(features[batch]), wanted[batch]).backward()
                optimizer.step()
            probe.eval()
            with torch.no_grad():
                score = float(macro(metric(truth, probe(features[held]).double().numpy(), ones))[0])
            halving.step(score)
            waited += 1
            if score > best_score:
                best, best_score, waited = {k: v.clone() for k, v in probe.state_dict().items()}, score, 0
            if waited >= plan.stop:
                break
        probe.load_state_dict(best)
    return probe.eval(), best_score


def _loss(targets: Targets) -> tuple[nn.Module, Tensor]:
    if targets.goal == "multiclass":
        return nn.CrossEntropyLoss(), torch.from_numpy(np.asarray(targets.values))
    if targets.goal == "multilabel":
        return nn.BCEWithLogitsLoss(), torch.from_numpy(targets.values.astype(np.float32))
    return nn.MSELoss(), torch.from_numpy(targets.values.astype(np.float32))
