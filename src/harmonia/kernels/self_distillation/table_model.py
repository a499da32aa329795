"""A table's rows and targets as the job needs them: kernel, folds, penalties, predictions of rows left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from harmonia.core.progress import say, track
from harmonia.kernels.self_distillation.basis import InitialFit
from harmonia.kernels.self_distillation.rows import KernelFunction, Rows
from harmonia.kernels.self_distillation.spectral import Smoother, target_shares_along
from harmonia.kernels.self_distillation.tuning import Folds, Split, Tuned, follow
from harmonia.media import Table
from harmonia.parts.features import Target

MOST_EXACT = 3000
"""Rows up to which the kernel is exact; beyond, it is approximated from a third as many landmarks."""

FOLDS = 5


@dataclass(frozen=True)
class Outputs:
    """What is predicted: a number, or a score for each class.

    Attributes:
        name: The target column.
        classes: Labels; None for numbers.
        mean: Of the targets' columns, which are centred.
        targets: Centred numbers, or centred one-hot rows, (n, k).
    """

    name: str
    classes: np.ndarray | None
    mean: np.ndarray
    targets: Tensor

    @classmethod
    def of(cls, wanted: Target, values: np.ndarray) -> Outputs:
        """From the values of the rows that have a target."""
        if wanted.is_class:
            classes, codes = np.unique(values.astype(str), return_inverse=True)
            columns = np.eye(len(classes))[codes]
        else:
            classes, columns = None, values.astype(np.float64)[:, None]
        mean = columns.mean(0)
        return cls(wanted.name, classes, mean, torch.from_numpy(columns - mean))

    @property
    def scale(self) -> float:
        """Mean squared error of predicting the mean."""
        return float(self.targets.square().mean())

    def label(self, column: int) -> str:
        """What a column of the targets is."""
        return self.name if self.classes is None else f"score of {self.name} = {self.classes[column]}"

    def read(self, scores: Tensor) -> np.ndarray:
        """Predictions from centred scores (m, k): numbers, or labels."""
        columns = scores.numpy() + self.mean
        return columns[:, 0] if self.classes is None else self.classes[columns.argmax(1)]

    def score(self, scores: Tensor) -> float:
        """R2, or accuracy, of centred scores of the rows that have a target."""
        if self.classes is None:
            return 1 - float((self.targets - scores).square().sum() / self.targets.square().sum())
        return float((self.read(self.targets) == self.read(scores)).mean())

    def table(self, known: np.ndarray, plain: Tensor, best: Tensor) -> Table:
        """Every row with its target and the centred scores of two steps."""
        column = np.full(len(known), None, dtype=object)
        column[known] = self.read(self.targets)
        return Table(
            polars.DataFrame(
                {
                    "row": np.arange(1, len(known) + 1),
                    self.name: column.tolist(),
                    "ordinary": self.read(plain).tolist(),
                    "distilled": self.read(best).tolist(),
                    "role": np.where(known, "left out", "new"),
                }
            )
        )


@dataclass(frozen=True)
class Curve:
    """Steps over penalties.

    Attributes:
        penalties: Ascending, (p,).
        errors: Held-out error of the best step up to each, (steps, p).
        weights: Best weight of the truth of step 2, not clipped, (p,).
    """

    penalties: np.ndarray
    errors: np.ndarray
    weights: np.ndarray


class TableModel:
    """An RBF kernel on standardised inputs, and the folds that tune what is distilled from it.

    Arguments:
        inputs: Rows to learn from.
        targets: Theirs.
        gamma: Of ``exp(-gamma |x - z|^2)``; 0.5 / inputs if None.
        seed: Of folds and landmarks.
    """

    def __init__(self, inputs: np.ndarray, targets: Tensor, gamma: float | None, seed: int) -> None:
        rows = len(inputs)
        kernel = KernelFunction("rbf", {"gamma": 0.5 / inputs.shape[1] if gamma is None else gamma})
        if rows > MOST_EXACT:
            say(f"The kernel is approximated from {MOST_EXACT // 3} of {rows} rows.")
            landmarks = np.random.default_rng(seed).permutation(rows)[: MOST_EXACT // 3]
            self.rows = Rows.nystrom(kernel, inputs, landmarks)
        else:
            self.rows = Rows.exact(kernel, inputs)
        self.targets = targets
        self.data = self.rows(inputs)
        self.folds = self.split(seed)
        self.ordinary = InitialFit.of(self.rows.basis(self.data, True), targets, Smoother(0.0))

    def split(self, seed: int) -> Folds:
        """Folds of the rows, each decomposed once."""
        return Folds.of(self.data, self.targets, self._splits(seed), intercept=True, features=self.rows.are_features)

    def _splits(self, seed: int) -> list[Split]:
        return list(KFold(FOLDS, shuffle=True, random_state=seed).split(self.data))

    def over_penalties(self, steps: int, points: int = 41) -> Curve:
        """Steps with their best weights, for many penalties."""
        unit = float(self.ordinary.basis.eigen.values.sum()) / len(self.targets)
        penalties = unit * np.geomspace(1e-5, 1e3, points)
        tuned = [follow(self.folds, Smoother(float(p)), [None] * (steps - 1)) for p in track(penalties, "Penalties")]
        errors = np.minimum.accumulate(np.array([one.scores for one in tuned]).T, axis=0)
        return Curve(penalties, errors, np.array([one.first.value for one in tuned]))

    def left_out(self, tuned: Tuned, seed: int) -> Tensor:
        """Predictions (steps, n, k) of all rows, by folds that did not see them, split anew."""
        shape = (len(tuned.alphas) + 1, *self.targets.shape)
        found = torch.empty(shape, dtype=torch.float64)
        folds = self.split(seed)
        held = [torch.from_numpy(part) for _, part in self._splits(seed)]
        for fit, projected, rows in zip(folds.fits_of(tuned.smoother), folds.projected, held):
            found[:, rows] = fit.predict(projected, target_shares_along(fit.gain, tuned.alphas))
        return found
