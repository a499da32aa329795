"""Parity with pennylane's kernel module: matrices by circuits, alignment, repair and mitigation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.kernels.quantum_kernels import DeviceNoise, ZZFeatureMap, kernel_target_alignment
from harmonia.parts.gram.psd import nearest_psd

pytestmark = pytest.mark.peer
qml = pytest.importorskip("pennylane")

X = np.random.default_rng(0).uniform(0, 2 * np.pi, (6, 3))


def test_kernel_by_circuits():
    device = qml.device("default.qubit", wires=3)

    def embed(angles):
        for _ in range(2):
            for i in range(3):
                qml.Hadamard(i)
                qml.RZ(2 * angles[i], i)
            for i, j in [(0, 1), (0, 2), (1, 2)]:
                qml.IsingZZ(2 * (np.pi - angles[i]) * (np.pi - angles[j]), (i, j))

    @qml.qnode(device)
    def circuit(a, b):
        embed(a)
        qml.adjoint(embed)(b)
        return qml.probs(wires=range(3))

    theirs = qml.kernels.square_kernel_matrix(X, lambda a, b: circuit(a, b)[0])
    np.testing.assert_allclose(ZZFeatureMap(3).kernel(X), theirs, atol=1e-12)


def test_alignment_repair_and_mitigation():
    y = np.array([1, -1, 1, -1, 1, 1])
    matrix = ZZFeatureMap(3).kernel(X)
    theirs = qml.kernels.target_alignment(
        X, y, lambda a, b: ZZFeatureMap(3).kernel(a[None], b[None])[0, 0], rescale_class_labels=False
    )
    assert kernel_target_alignment(matrix, y) == pytest.approx(float(theirs), abs=1e-12)
    measured = ZZFeatureMap(3).kernel(X, shots=20, random_state=0)
    np.testing.assert_allclose(
        nearest_psd(torch.from_numpy(measured)).numpy(), qml.kernels.threshold_matrix(measured), atol=1e-12
    )
    noisy = DeviceNoise(0.2).expected(matrix, 8)  # with its diagonal, from which they learn the rate
    undone = qml.kernels.mitigate_depolarizing_noise(noisy, 3, "average")
    ours = ZZFeatureMap(3).kernel(X, noise=DeviceNoise(0.2, mitigation="inverse"))
    np.testing.assert_allclose(ours, undone, atol=1e-12)
