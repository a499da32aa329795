"""Our classifier as a strategy of avalanche: its benchmarks and metrics agree with ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from harmonia.networks.gkcl import (
    KernelContinualClassifier,
    avalanche_strategy,
    learn_stream,
    permuted_tasks,
    split_classes,
)

pytest.importorskip("avalanche")


@pytest.mark.parametrize("aware", [True, False])
def test_metrics_are_ours(aware):
    from avalanche.benchmarks import tensors_benchmark
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    stream = permuted_tasks(x, y, 2) if aware else split_classes(x, y, 5)
    pairs = [[(torch.from_numpy(a), torch.from_numpy(b)) for a, b in part] for part in (
        [(task.x, task.y) for task in stream], [(task.x_test, task.y_test) for task in stream])]  # fmt: skip
    benchmark = tensors_benchmark(
        train_tensors=pairs[0], test_tensors=pairs[1], task_labels=[0, 1] if aware else [0, 0]
    )
    ours = KernelContinualClassifier(memory="statistics", task_aware=aware, random_state=0)
    expected = learn_stream(ours, stream).accuracies
    evaluator = EvaluationPlugin(accuracy_metrics(experience=True), loggers=[])
    learner = KernelContinualClassifier(memory="statistics", task_aware=aware, random_state=0)
    strategy = avalanche_strategy(learner, 10, evaluator=evaluator, eval_mb_size=100)
    for j, experience in enumerate(benchmark.train_stream):
        strategy.train(experience)
        found = strategy.eval(benchmark.test_stream)
        for i in range(j + 1):
            name = f"Top1_Acc_Exp/eval_phase/test_stream/Task{i if aware else 0:03d}/Exp{i:03d}"
            assert found[name] == pytest.approx(expected[j, i])
