"""Kernel continual learning as a strategy of avalanche: its benchmarks, metrics and loggers around our classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from harmonia.core.errors import require
from harmonia.networks.gkcl.classifier import KernelContinualClassifier


def avalanche_strategy(classifier: KernelContinualClassifier, classes: int, **options: Any) -> Any:
    """A strategy whose ``train`` and ``eval`` take experiences.

    Every experience is a task. A classifier that is told tasks is told avalanche's task labels; to others experiences
    come in their order. Outputs are logarithms of probabilities, of tasks that have not been learnt yet all alike.

    Arguments:
        classifier: Ours, to be trained.
        classes: How many classes the benchmark has, numbered from 0.
        options: Of avalanche's ``SupervisedTemplate``: ``plugins``, ``evaluator``, ``eval_mb_size``, ...

    Raises:
        MissingDependency: without the package avalanche-lib.

    Example:
        ``strategy = avalanche_strategy(KernelContinualClassifier(memory="generator"), classes=10)``, and then
        ``strategy.train(experience)`` and ``strategy.eval(benchmark.test_stream)``.
    """
    template: Any = require("avalanche.training.templates", extra="avalanche").SupervisedTemplate

    class KernelStrategy(template):
        """Learns by `KernelContinualClassifier.partial_fit` and answers by its probabilities."""

        def check_model_and_optimizer(self, **_: Any) -> None:
            """Networks and their optimizers are the classifier's own."""

        def _train_exp(self, experience: Any, *_: Any, **__: Any) -> None:
            x, y, labels = (torch.cat(part) for part in zip(*DataLoader(self.adapted_dataset, 512)))
            if not classifier.task_aware:
                classifier.partial_fit(x.numpy(), y.numpy(), experience.current_experience)
                return
            for label in labels.unique().tolist():
                own = labels == label
                classifier.partial_fit(x[own].numpy(), y[own].numpy(), label)

        def forward(self) -> Tensor:
            scores = torch.zeros(len(self.mb_x), classes)
            learnt = classifier.tasks_ if hasattr(classifier, "learner_") else {}
            if not classifier.task_aware and learnt:
                return _placed(classifier.predict_proba(self.mb_x.numpy()), classifier.classes_, classes)
            for label in learnt.keys() & set(self.mb_task_id.tolist()):
                own = self.mb_task_id == label
                shares = classifier.predict_proba(self.mb_x[own].numpy(), label)
                scores[own] = _placed(shares, learnt[label].classes, classes)
            return scores

    return KernelStrategy(model=nn.Identity(), optimizer=None, **options)


def _placed(shares: np.ndarray, own: np.ndarray, classes: int) -> Tensor:
    """Logarithms of probabilities of some classes among all."""
    scores = torch.full((len(shares), classes), -torch.inf)
    scores[:, torch.from_numpy(own)] = torch.from_numpy(shares).float().log()
    return scores
