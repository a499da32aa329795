"""Kernel matrices beside qiskit-machine-learning and pennylane: the same feature map, the same rows, exact states.

Qiskit's side is its fastest kernel, which caches state vectors; pennylane's is the one its tutorial shows, a circuit
for every pair on default.qubit. Up to about ten qubits the peers' loops over pairs decide; from twelve on both sides
compute with long vectors, and of our time a third is one product of matrices at the processor's speed.
"""

import numpy as np

from harmonia.app.bench import Race


def rows(n, count):
    return np.random.default_rng(0).uniform(0, 2 * np.pi, (count, n))


def ours(n, count):
    from harmonia.kernels.quantum_kernels import ZZFeatureMap

    feature_map, x = ZZFeatureMap(n), rows(n, count)
    return lambda: feature_map.kernel(x)


def qiskit_statevector(n, count):
    from qiskit.circuit.library import zz_feature_map
    from qiskit_machine_learning.kernels import FidelityStatevectorKernel

    circuit, x = zz_feature_map(n, reps=2, entanglement="full"), rows(n, count)
    return lambda: FidelityStatevectorKernel(feature_map=circuit).evaluate(x)


def qiskit_circuits(n, count):
    from qiskit.circuit.library import zz_feature_map
    from qiskit_machine_learning.kernels import FidelityQuantumKernel

    kernel, x = FidelityQuantumKernel(feature_map=zz_feature_map(n, reps=2, entanglement="full")), rows(n, count)
    return lambda: kernel.evaluate(x)


def pennylane(n, count):
    import pennylane as qml

    device, x = qml.device("default.qubit", wires=n), rows(n, count)

    def embed(angles):
        for _ in range(2):
            for i in range(n):
                qml.Hadamard(i)
                qml.RZ(2 * angles[i], i)
            for i in range(n):
                for j in range(i + 1, n):
                    qml.IsingZZ(2 * (np.pi - angles[i]) * (np.pi - angles[j]), (i, j))

    @qml.qnode(device)
    def circuit(a, b):
        embed(a)
        qml.adjoint(embed)(b)
        return qml.probs(wires=range(n))

    def kernel(a, b):
        return circuit(a, b)[0]

    return lambda: np.array(qml.kernels.square_kernel_matrix(x, kernel, assume_normalized_kernel=True))


def our_circuit(n, count, depth):
    import torch

    from harmonia.kernels.quantum_kernels import VariationalCircuit, ZZFeatureMap

    circuit = VariationalCircuit(n, depth)
    angles = torch.from_numpy(np.random.default_rng(1).uniform(0, 2 * np.pi, circuit.shape)).requires_grad_()
    x, feature_map = torch.from_numpy(rows(n, count)), ZZFeatureMap(n)

    def step():
        value = circuit.expectation(feature_map.state(x), angles)
        slope = torch.autograd.grad(value.mean(), angles)[0]
        return np.concatenate([value.detach().numpy(), slope.numpy().ravel()])

    return step


def pennylane_circuit(n, count, depth):
    import pennylane as qml
    from pennylane import numpy as pnp

    start = np.random.default_rng(1).uniform(0, 2 * np.pi, (depth + 1, n, 2))
    device, x = qml.device("default.qubit", wires=n), rows(n, count)

    @qml.qnode(device, diff_method="backprop")
    def circuit(angles):
        for _ in range(2):
            for i in range(n):
                qml.Hadamard(i)
                qml.RZ(2 * x[:, i], i)
            for i in range(n):
                for j in range(i + 1, n):
                    qml.IsingZZ(2 * (np.pi - x[:, i]) * (np.pi - x[:, j]), (i, j))
        for layer in range(depth + 1):
            for i in range(n):
                qml.RY(-angles[layer, i, 1], i)
                qml.RZ(-angles[layer, i, 0], i)
            if layer < depth:
                for i in range(n):
                    for j in range(i + 1, n):
                        qml.CZ((i, j))
        parity = qml.PauliZ(0)
        for i in range(1, n):
            parity = parity @ qml.PauliZ(i)
        return qml.expval(parity)

    def step():
        angles = pnp.array(start, requires_grad=True)
        value = circuit(angles)
        slope = qml.grad(lambda a: pnp.mean(circuit(a)))(angles)
        return np.concatenate([np.array(value), np.array(slope).ravel()])

    return step


RACES = (
    Race(
        "qiskit-machine-learning",
        "kernel of 100 rows, 5 qubits, 2 repetitions",
        ours,
        qiskit_statevector,
        {"n": 5, "count": 100},
        tolerance=1e-12,
        threads=1,
        repeats=5,
    ),
    Race(
        "qiskit-machine-learning",
        "kernel of 200 rows, 8 qubits, 2 repetitions",
        ours,
        qiskit_statevector,
        {"n": 8, "count": 200},
        tolerance=1e-12,
        threads=1,
        repeats=3,
    ),
    Race(
        "qiskit-machine-learning",
        "kernel of 200 rows, 12 qubits, 2 repetitions",
        ours,
        qiskit_statevector,
        {"n": 12, "count": 200},
        tolerance=1e-12,
        threads=1,
        repeats=2,
    ),
    Race(
        "qiskit-machine-learning",
        "kernel of 20 rows, 2 qubits, by a circuit for every pair",
        ours,
        qiskit_circuits,
        {"n": 2, "count": 20},
        tolerance=1e-9,
        threads=1,
        repeats=3,
    ),
    Race(
        "pennylane",
        "kernel of 50 rows, 4 qubits, a circuit for every pair",
        ours,
        pennylane,
        {"n": 4, "count": 50},
        tolerance=1e-11,
        threads=1,
        repeats=2,
    ),
    Race(
        "pennylane",
        "read-out and gradient of 100 rows, 6 qubits, depth 4",
        our_circuit,
        pennylane_circuit,
        {"n": 6, "count": 100, "depth": 4},
        tolerance=1e-10,
        threads=1,
        repeats=3,
    ),
)
