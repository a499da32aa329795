"""Parity with qiskit and qiskit-machine-learning: states, kernels, artificial data, the variational circuit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.kernels.quantum_kernels import PauliFeatureMap, QuantumKernel, ZFeatureMap, ZZFeatureMap

pytestmark = pytest.mark.peer
library = pytest.importorskip("qiskit.circuit.library")
info = pytest.importorskip("qiskit.quantum_info")
kernels = pytest.importorskip("qiskit_machine_learning.kernels")


def angles(n: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 2 * np.pi, (rows, n))


def their_states(circuit, x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([info.Statevector(circuit.assign_parameters(row)).data for row in x]))


def largest_difference(ours, circuit, n: int, rows: int) -> float:
    """Of the kernel, and of the states up to a phase, which their overlaps do not see."""
    x = angles(n, rows)
    theirs = kernels.FidelityStatevectorKernel(feature_map=circuit).evaluate(x)
    states = ours.state(torch.from_numpy(x))
    np.testing.assert_allclose(
        (states.conj() * their_states(circuit, x)).sum(1).abs().numpy(), 1, atol=1e-12, err_msg="states"
    )
    return float(np.abs(QuantumKernel(ours)(torch.from_numpy(x)).numpy() - theirs).max())


@pytest.mark.parametrize(("n", "rows"), [(1, 10), (2, 100), (5, 60), (8, 30)])
def test_paper_map(n, rows):
    circuit = library.zz_feature_map(n, reps=2, entanglement="full") if n > 1 else library.z_feature_map(1)
    assert largest_difference(ZZFeatureMap(n), circuit, n, rows) < 1e-12


@pytest.mark.parametrize("reps", [1, 2, 3])
@pytest.mark.parametrize("entanglement", ["linear", "reverse_linear", "circular", "sca", "pairwise", "full"])
def test_entanglement(entanglement, reps):
    circuit = library.zz_feature_map(4, reps=reps, entanglement=entanglement)
    assert largest_difference(ZZFeatureMap(4, reps=reps, entanglement=entanglement), circuit, 4, 8) < 1e-12


def test_given_pairs_and_alpha():
    pairs = {1: [(0,), (1,), (2,), (3,)], 2: [(0, 2), (3, 1)]}
    circuit = library.zz_feature_map(4, entanglement=pairs, alpha=0.7)
    assert largest_difference(ZZFeatureMap(4, entanglement=[(0, 2), (3, 1)], alpha=0.7), circuit, 4, 8) < 1e-12


@pytest.mark.parametrize("reps", [1, 3])
def test_z_map(reps):
    assert largest_difference(ZFeatureMap(4, reps=reps), library.z_feature_map(4, reps=reps), 4, 10) < 1e-12


@pytest.mark.parametrize("entanglement", ["full", "linear", "circular", "sca"])
@pytest.mark.parametrize("paulis", [("Z", "YY"), ("X", "ZY"), ("Y",), ("XYZ", "Z"), ("Z", "ZX", "ZZ"), ("ZYX", "XY")])
def test_other_paulis(paulis, entanglement):
    circuit = library.pauli_feature_map(4, reps=2, entanglement=entanglement, paulis=list(paulis))
    ours = PauliFeatureMap(4, entanglement=entanglement, paulis=paulis)
    assert largest_difference(ours, circuit, 4, 6) < 1e-12
