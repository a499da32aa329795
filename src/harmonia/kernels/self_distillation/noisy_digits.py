"""Digits with wrong labels: does the estimate of the weight do as well as a grid over it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.core.progress import say
from harmonia.data.tables import digits
from harmonia.kernels.self_distillation.many import ManyNetworks
from harmonia.kernels.self_distillation.weight import optimal_alpha

GRID = tuple(np.linspace(0, 1, 11).round(1).tolist())
WRONG = 0.3
"""Share of labels that are replaced by another digit."""


@dataclass(frozen=True)
class Trial:
    """Test accuracies, one entry or row per seed.

    Attributes:
        teacher: Of the first network.
        alphas: The estimated weights.
        estimated: Of the student with that weight; of the teacher or the pure student where it is (nearly) 1 or 0.
        fresh: Of a student trained with it in any case.
        grid: Of the students with the weights of `GRID`, (seeds, 11).
        chosen_by_grid: Of the one with the best accuracy on the validation rows.
        chosen_inside: The same among weights strictly between 0 and 1.
    """

    teacher: np.ndarray
    alphas: np.ndarray
    estimated: np.ndarray
    fresh: np.ndarray
    grid: np.ndarray
    chosen_by_grid: np.ndarray
    chosen_inside: np.ndarray


@dataclass(frozen=True)
class _Part:
    x: Tensor
    y: Tensor
    labels: Tensor
    """With wrong ones among them."""

    def repeated(self, times: int) -> _Part:
        """Each seed's rows as often, one seed after the other."""
        return _Part(*(part.repeat_interleave(times, 0) for part in (self.x, self.y, self.labels)))


def trial(seed: int, seeds: int = 5, width: int = 32, epochs: int = 15, rows: int = 1000) -> Trial:
    """Teachers, pure students, grids, and what the estimated weight gives, for several seeds side by side.

    Training as in the official code (Adam, learning rate 1e-3, batches of 16), 15 epochs, one distillation step.

    Arguments:
        seed: Of splits, wrong labels and weights.
        seeds: How many repetitions.
        width: Channels of the two convolutions.
        epochs: Passes over the training rows.
        rows: Training rows; 300 validate, the rest tests.
    """
    train, validation, test = _data(seed, seeds, rows)
    generator = torch.Generator().manual_seed(seed)

    def network() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(4 * width, 10)),
        )

    def trained(soft: Tensor, alphas: Tensor, stage: int) -> ManyNetworks:
        times = len(alphas) // seeds
        data = train.repeated(times)
        many = ManyNetworks(network, [1_000_000 * seed + 1_000 * stage + i for i in range(len(alphas))])
        soft = soft.repeat_interleave(times, 0)
        return many.train(data.x, data.labels, soft, alphas, epochs=epochs, generator=generator)

    say(f"{seeds * (3 + len(GRID))} trainings of a small convolutional network, at about 1.5 s each.")
    onehot = torch.eye(10)
    teachers = trained(onehot[train.labels], torch.ones(seeds), 0)
    soft = teachers.probabilities(train.x)
    pure = trained(soft, torch.zeros(seeds), 1)
    ends = (teachers.probabilities(validation.x), pure.probabilities(validation.x))
    alphas = np.array([optimal_alpha(onehot[v], f, g, clip=True) for v, f, g in zip(validation.labels, *ends)])
    students = trained(soft, torch.from_numpy(alphas).float(), 2)
    grid = trained(soft, torch.tensor(GRID * seeds), 3)

    def accuracy(many: ManyNetworks, part: _Part, labels: Tensor) -> np.ndarray:
        return (many.probabilities(part.x).argmax(-1) == labels).double().mean(1).numpy()

    on_test, on_validation = test.repeated(len(GRID)), validation.repeated(len(GRID))
    tested = accuracy(grid, on_test, on_test.y).reshape(seeds, -1)
    validated = accuracy(grid, on_validation, on_validation.labels).reshape(seeds, -1)
    each = np.arange(seeds)
    of_teacher, of_pure, of_student = (accuracy(many, test, test.y) for many in (teachers, pure, students))
    return Trial(
        teacher=of_teacher,
        alphas=alphas,
        # As `SelfDistiller`: an estimate at either end needs no third training.
        estimated=np.where(alphas > 0.95, of_teacher, np.where(alphas < 0.05, of_pure, of_student)),
        fresh=of_student,
        grid=tested,
        chosen_by_grid=tested[each, validated.argmax(1)],
        chosen_inside=tested[each, 1 + validated[:, 1:-1].argmax(1)],
    )


def _data(seed: int, seeds: int, rows: int) -> tuple[_Part, _Part, _Part]:
    """Training, validation and test rows of each seed; wrong labels in the first two."""
    loaded = digits()
    images = torch.from_numpy(loaded.images).float()[:, None] / 16
    y = torch.from_numpy(loaded.labels)
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(y), generator=generator) for _ in range(seeds)])
    wrong = torch.rand(orders.shape, generator=generator) < WRONG
    labels = (y[orders] + wrong * torch.randint(1, 10, orders.shape, generator=generator)) % 10
    whole = _Part(images[orders], y[orders], labels)
    train, validation, test = (
        _Part(whole.x[:, part], whole.y[:, part], whole.labels[:, part])
        for part in (slice(rows), slice(rows, rows + 300), slice(rows + 300, None))
    )
    return train, validation, test
