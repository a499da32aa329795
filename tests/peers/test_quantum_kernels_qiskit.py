"""Parity with qiskit and qiskit-machine-learning: states, kernels, artificial data, the variational circuit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.kernels.quantum_kernels import (
    AdHocProblem,
    PauliFeatureMap,
    QuantumKernel,
    VariationalCircuit,
    ZFeatureMap,
    ZZFeatureMap,
)
from harmonia.kernels.quantum_kernels.circuit import readout_signs

pytestmark = pytest.mark.peer
library = pytest.importorskip("qiskit.circuit.library")
info = pytest.importorskip("qiskit.quantum_info")
kernels = pytest.importorskip("qiskit_machine_learning.kernels")


def angles_of(n: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 2 * np.pi, (rows, n))


def their_states(circuit, x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([info.Statevector(circuit.assign_parameters(row)).data for row in x]))


def largest_difference(ours, circuit, n: int, rows: int) -> float:
    """Of the kernel, and of the states up to a phase, which their overlaps do not see."""
    x = angles_of(n, rows)
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


@pytest.mark.parametrize(("n", "sampling"), [(2, "grid"), (2, "sobol"), (3, "sobol")])
def test_artificial_data(n, sampling):
    """With one seed their V is ours: every point they label lies on that side of our boundary."""
    datasets = pytest.importorskip("qiskit_machine_learning.datasets")
    globals_ = pytest.importorskip("qiskit_machine_learning.utils").algorithm_globals
    globals_.random_seed = 5
    x, y, _, _ = datasets.ad_hoc_data(10, 0, n, gap=0.2, one_hot=False, sampling_method=sampling)
    problem = AdHocProblem.random(n, 0.2, convention="qiskit", generator=np.random.default_rng(5))
    values = problem.expectation(np.asarray(x, dtype=np.float64))
    assert np.abs(values).min() > 0.2 - 1e-9
    np.testing.assert_array_equal(values > 0, np.asarray(y) == 0)


def test_classifier_is_not_read_by_parity():
    """Their read-out of two classes, called parity, takes the last bit; ours has both."""
    vqc = pytest.importorskip("qiskit_machine_learning.algorithms").VQC
    interpret = vqc(num_qubits=3)._get_interpret(2)
    read = np.array([1 - 2 * interpret(outcome) for outcome in range(8)])
    np.testing.assert_array_equal(read, readout_signs(3, "last").numpy())
    assert (read != readout_signs(3, "parity").numpy()).any()


@pytest.mark.parametrize("depth", [0, 2])
def test_variational_circuit(depth):
    circuits = pytest.importorskip("qiskit")
    n, generator = 3, np.random.default_rng(0)
    circuit = VariationalCircuit(n, depth)
    angles = generator.uniform(0, 2 * np.pi, circuit.shape)
    x = angles_of(n, 4)
    found = circuit.expectation(ZZFeatureMap(n).state(torch.from_numpy(x)), torch.from_numpy(angles)).numpy()
    for row, expected in zip(x, found):
        whole = circuits.QuantumCircuit(n)
        whole.compose(library.zz_feature_map(n).assign_parameters(row), inplace=True)
        for layer in range(depth + 1):
            for qubit in range(n):
                whole.ry(-angles[layer, qubit, 1], qubit)
                whole.rz(-angles[layer, qubit, 0], qubit)
            for i, j in [(0, 1), (0, 2), (1, 2)] if layer < depth else []:
                whole.cz(i, j)
        value = info.Statevector(whole).expectation_value(info.Pauli("ZZZ")).real
        assert value == pytest.approx(expected, abs=1e-12)
