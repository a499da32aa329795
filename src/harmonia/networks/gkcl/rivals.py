"""Rivals: one network and one linear layer for all tasks, with or without replay; a ridge regression for each task.

nothing kept     fine-tuning: how much is forgotten when nothing is done about it
a memory         its samples are learnt again beside every batch, by the whole network (experience replay from a
                 `Coreset`, generative replay from a generator: Shin et al. 2017)
ridge            one ridge regression on the inputs of each task, penalty by leave-one-out: no network at all
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy import ndarray
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.backbones import MLP
from harmonia.networks.gkcl.memory import SupportMemory
from harmonia.networks.gkcl.recipe import rate_of_task
from harmonia.networks.gkcl.streams import checked
from harmonia.parts.gram import RidgePath

T = TypeVar("T")


class ReplayClassifier:
    """Softmax regression on a network's features, all of which goes on learning.

    Arguments:
        classes: All classes there will be.
        memory: What is replayed; None: nothing.
        per_class: Samples a class that are drawn from the memory of each past task, before every task.
        epochs, batch_size, learning_rate, decay: As of `KernelContinualClassifier`.
        random_state: Of everything random.

    Raises:
        InputError: rows that are not finite, classes that were not named, or a task that is not known.
        NotFittedError: predictions before anything was learnt.

    Example:
        >>> model = ReplayClassifier([0, 1], epochs=1)
        >>> x, y = np.random.default_rng(0).random((20, 5)), np.arange(20) % 2
        >>> model.partial_fit(x, y, "first").predict(x, "first").shape
        (20,)
    """

    def __init__(
        self,
        classes: Any,
        memory: SupportMemory | None = None,
        *,
        per_class: int = 20,
        epochs: int = 15,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        decay: float = 0.8,
        random_state: int = 0,
    ) -> None:
        self.classes = np.unique(np.asarray(classes))
        self.memory, self.per_class = memory, per_class
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.decay = learning_rate, decay
        self.random_state = random_state
        self.tasks: dict[Hashable, torch.Tensor] = {}
        self.network: nn.Module | None = None

    @property
    def memory_bytes_(self) -> int:
        """Bytes kept of past tasks."""
        return 0 if self.memory is None else self.memory.nbytes

    def partial_fit(self, X: Any, y: Any, task_id: Hashable) -> ReplayClassifier:
        """Learn a task beside samples of the past ones."""
        rows, truth = checked(X, y)
        unknown = np.setdiff1d(truth, self.classes)
        if len(unknown):
            raise InputError("rows have a class that was not named", unknown[0], "Name all classes there will be.")
        x = torch.tensor(rows, dtype=torch.float32)
        labels = torch.from_numpy(np.searchsorted(self.classes, truth))
        present, local = labels.unique(return_inverse=True)
        seed = self.random_state + len(self.tasks)
        draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.network is None:
                body = MLP(x[0].numel(), normalise="none")
                self.network = nn.Sequential(body, nn.Linear(body.features, len(self.classes)))
            old = [
                (support.x, self.tasks[name][support.y])
                for name in self.tasks
                if self.memory is not None
                for support in [self.memory.sample(name, self.per_class, draw)]
            ]
            self._train(x, labels, old, draw)
            self.tasks[task_id] = present
            if self.memory is not None:
                self.memory.learn(task_id, x, local, draw)
        return self

    def predict(self, X: Any, task_id: Hashable) -> ndarray:
        """The likeliest of the task's classes."""
        own = _known(self.tasks, task_id)
        assert self.network is not None
        rows, _ = checked(X)
        with torch.no_grad():
            logits = self.network(torch.tensor(rows, dtype=torch.float32))[:, own]
        return self.classes[own[logits.argmax(1)].numpy()]

    def _train(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        old: list[tuple[torch.Tensor, torch.Tensor]],
        draw: torch.Generator,
    ) -> None:
        assert self.network is not None
        past_x, past_y = (torch.cat(part) for part in zip(*old)) if old else (x[:0], y[:0])
        rate = rate_of_task(self.learning_rate, self.decay, len(self.tasks))
        optimizer = torch.optim.Adam(self.network.parameters(), rate, fused=True)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(y), generator=draw).split(self.batch_size):
                again = torch.randint(max(1, len(past_y)), (self.batch_size if len(past_y) else 0,), generator=draw)
                batch, labels = torch.cat([x[rows], past_x[again]]), torch.cat([y[rows], past_y[again]])
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(self.network(batch), labels).backward()
                optimizer.step()


class RidgePerTask:
    """A ridge regression on the inputs of each task, with an intercept: weights are all that is kept.

    Example:
        >>> x, y = np.eye(4).repeat(5, 0), np.arange(4).repeat(5)
        >>> bool((RidgePerTask().partial_fit(x, y, "first").predict(x, "first") == y).all())
        True
    """

    def __init__(self) -> None:
        self.tasks: dict[Hashable, tuple[ndarray, ndarray, ndarray]] = {}

    @property
    def memory_bytes_(self) -> int:
        """Bytes of the weights, in single precision."""
        return sum(4 * (weights.size + constant.size) for _, weights, constant in self.tasks.values())

    def partial_fit(self, X: Any, y: Any, task_id: Hashable) -> RidgePerTask:
        """Solve for a task."""
        rows, truth = checked(X, y)
        x = torch.tensor(rows, dtype=torch.float64).flatten(1)
        classes, labels = np.unique(truth, return_inverse=True)
        targets = F.one_hot(torch.from_numpy(labels)).double()
        path = RidgePath.of_features(x, targets, intercept=True)
        weights = (x - x.mean(0)).T @ path.dual(path.best())
        self.tasks[task_id] = (classes, weights.numpy(), (targets.mean(0) - x.mean(0) @ weights).numpy())
        return self

    def predict(self, X: Any, task_id: Hashable) -> ndarray:
        """The class with the highest score."""
        classes, weights, constant = _known(self.tasks, task_id)
        x, _ = checked(X)
        return classes[(x.reshape(len(x), -1) @ weights + constant).argmax(1)]


def _known(tasks: Mapping[Hashable, T], task_id: Hashable) -> T:
    """What a task left behind."""
    if not tasks:
        raise NotFittedError("no task has been learnt yet; call partial_fit first")
    if task_id not in tasks:
        known = f"Pass one of: {', '.join(map(repr, tasks))}."
        raise InputError("the task is not known", repr(task_id), known)
    return tasks[task_id]
