"""Learn a stream and judge it: the matrix of accuracies, bytes and seconds."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from harmonia.core.progress import track
from harmonia.networks.gkcl.metrics import ContinualMetrics, continual_metrics
from harmonia.networks.gkcl.streams import Task


@runtime_checkable  # for the type checks of the tests, which cannot look into it otherwise
class ContinualLearner(Protocol):
    """Learns tasks one after another."""

    @property
    def memory_bytes_(self) -> int:
        """Bytes kept of past tasks."""

    def partial_fit(self, X: Any, y: Any, task_id: Hashable) -> Any:
        """Learn a task."""

    def predict(self, X: Any, task_id: Hashable) -> np.ndarray:
        """Classes of rows of a task."""


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What a learner made of a stream.

    Attributes:
        accuracies: Row j after learning task j, column i of task i; NaN above the diagonal.
        memory_bytes: Kept in the end.
        seconds: Spent learning; predicting is not counted.
    """

    accuracies: Float64[np.ndarray, "tasks tasks"]
    memory_bytes: int
    seconds: float

    @property
    def metrics(self) -> ContinualMetrics:
        """Average accuracy and forgetting."""
        return continual_metrics(self.accuracies)


def learn_stream(learner: ContinualLearner, tasks: Sequence[Task], label: str = "Tasks") -> StreamResult:
    """Learn all tasks in order, and after each judge all that were learnt.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from harmonia.networks.gkcl import KernelContinualClassifier, permuted_tasks
        >>> stream = permuted_tasks(*load_digits(return_X_y=True), tasks=2)
        >>> result = learn_stream(KernelContinualClassifier(memory="statistics", random_state=0), stream)
        >>> result.metrics.forgetting
        0.0
    """
    accuracies = np.full((len(tasks), len(tasks)), np.nan)
    seconds = 0.0
    for j, task in enumerate(track(tasks, label)):
        start = time.perf_counter()
        learner.partial_fit(task.x, task.y, task_id=task.name)
        seconds += time.perf_counter() - start
        for i, past in enumerate(tasks[: j + 1]):
            accuracies[j, i] = np.mean(learner.predict(past.x_test, task_id=past.name) == past.y_test)
    return StreamResult(accuracies, learner.memory_bytes_, seconds)
