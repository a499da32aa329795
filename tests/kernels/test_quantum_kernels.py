"""Feature maps, kernels and devices: against gates as dense matrices, closed forms, invariances, statistics."""

from __future__ import annotations

import math
import pickle
from functools import reduce

import numpy as np
import polars
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from sklearn.decomposition import KernelPCA
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.svm import SVC

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels import (
    AdHocProblem,
    DeviceNoise,
    PauliFeatureMap,
    QuantumKernel,
    ZFeatureMap,
    ZZFeatureMap,
    concentration_report,
    coupled,
    effective_rank,
    estimate_kernel,
    geometric_difference,
    kernel_target_alignment,
    make_ad_hoc,
)
from harmonia.kernels.quantum_kernels.device import Reading
from harmonia.parts.gram import KernelOperator, Linear, Nystrom, SklearnKernel, kernel_matrix

PAULI = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def angles(n: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 2 * np.pi, (rows, n))


def tensor(n: int, rows: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(angles(n, rows, seed))


def on(n: int, letters: dict[int, str]) -> np.ndarray:
    """A Pauli string as a matrix; qubit 0 is the last factor."""
    return reduce(np.kron, [PAULI[letters.get(qubit, "I")] for qubit in reversed(range(n))])


def gate_by_gate(feature_map: PauliFeatureMap, x: np.ndarray) -> np.ndarray:
    """The paper's definition with dense matrices."""
    n = feature_map.n_features
    hadamard = reduce(np.kron, [np.array([[1, 1], [1, -1]]) / math.sqrt(2)] * n)
    psi = np.eye(2**n)[0]
    for rep in range(feature_map.reps):
        psi = hadamard @ psi
        for string in feature_map.paulis:
            for one in coupled(n, len(string), feature_map.entanglement, rep):
                phi = x[one[0]] if len(one) == 1 else math.prod(math.pi - x[q] for q in one)
                generator = on(n, dict(zip(one, string[::-1])))
                psi = expm(-0.5j * feature_map.alpha * phi * generator) @ psi
    return psi


@pytest.mark.parametrize("reps", [1, 3])
@pytest.mark.parametrize(
    "paulis", [("Z", "ZZ"), ("Z",), ("ZZZ", "Z"), ("X", "ZY"), ("Y", "XX", "Z")], ids=lambda p: "+".join(p)
)
def test_states_are_those_of_the_gates(paulis, reps):
    feature_map = PauliFeatureMap(3, reps=reps, entanglement="sca", paulis=paulis, alpha=1.7)
    x = angles(3, 4)
    states = feature_map.state(torch.from_numpy(x))
    np.testing.assert_allclose(states.numpy(), [gate_by_gate(feature_map, row) for row in x], atol=1e-12)
    back = feature_map.undo(states, torch.from_numpy(x))
    np.testing.assert_allclose(back.numpy(), np.tile(np.eye(8)[0], (4, 1)), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_single_qubit_rotations_have_a_product_kernel(n):
    x, z = angles(n, 20), angles(n, 15, 1)
    expected = np.cos(x[:, None] - z) ** 2
    np.testing.assert_allclose(ZFeatureMap(n, reps=1).kernel(x, z), expected.prod(-1), atol=1e-14)


def test_one_repetition_is_a_mean_of_phases():
    x, z = angles(4, 6), angles(4, 5, 1)
    signs = 1 - 2 * ((np.arange(16)[:, None] >> np.arange(4)) & 1)

    def theta(rows):
        pairs = [(math.pi - rows[:, [i]]) * (math.pi - rows[:, [j]]) * signs[:, i] * signs[:, j] for i, j in couples]
        return rows @ signs.T + sum(pairs)

    couples = coupled(4, 2, "full")
    overlap = np.exp(1j * (theta(x)[:, None] - theta(z))).mean(-1)
    np.testing.assert_allclose(ZZFeatureMap(4, reps=1).kernel(x, z), np.abs(overlap) ** 2, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3))
def test_kernels_are_kernels(seed, n, reps):
    """Symmetric, positive semi-definite, 1 on the diagonal, between 0 and 1; the order of features does not matter."""
    x = tensor(n, 12, seed)
    kernel = QuantumKernel(ZZFeatureMap(n, reps=reps))
    matrix = kernel(x)
    assert torch.equal(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), kernel.diagonal(x))
    assert ((matrix >= 0) & (matrix <= 1 + 1e-12)).all()
    assert torch.linalg.eigvalsh(matrix)[0] > -1e-12
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(kernel(x[:, order]), matrix, atol=1e-11, rtol=0)
    torch.testing.assert_close(kernel(x[:5], x), matrix[:5], atol=1e-12, rtol=0)


def test_only_the_single_qubit_map_is_periodic():
    x, z = angles(3, 4), angles(3, 4, 1)
    moved = z + 2 * np.pi * np.array([1, 0, -2])
    np.testing.assert_allclose(ZFeatureMap(3).kernel(x, moved), ZFeatureMap(3).kernel(x, z), atol=1e-12)
    assert np.abs(ZZFeatureMap(3).kernel(x, moved) - ZZFeatureMap(3).kernel(x, z)).max() > 0.1


def test_overlaps_do_not_see_the_sign_of_the_phases():
    x = angles(3, 8)
    one, other = (PauliFeatureMap(3, alpha=alpha).kernel(x) for alpha in (2.0, -2.0))
    np.testing.assert_allclose(one, other, atol=1e-13)


def test_single_precision_keeps_phases():
    x = tensor(10, 30)
    single, double = QuantumKernel(ZZFeatureMap(10))(x.float()), QuantumKernel(ZZFeatureMap(10))(x.float().double())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, atol=2e-6, rtol=0)


def test_data_maps():
    plain = PauliFeatureMap(2, data_map=lambda values: values.prod(-1)).state(tensor(2, 3))
    x = angles(2, 3)
    theta = x[:, [0]] * [1, -1, 1, -1] + x[:, [1]] * [1, 1, -1, -1] + (x[:, [0]] * x[:, [1]]) * [1, -1, -1, 1]
    hadamard = np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]]) / 2
    expected = np.exp(-1j * theta) * ((np.exp(-1j * theta) / 2) @ hadamard)
    np.testing.assert_allclose(plain.numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("paulis", [("Z", "ZZ"), ("X", "ZY")], ids="+".join)
def test_gradients_by_inputs_and_bandwidths(paulis):
    x, z = tensor(2, 3).requires_grad_(), tensor(2, 2, 1)
    bandwidth = torch.tensor([0.7, 0.4], dtype=torch.float64, requires_grad=True)
    feature_map = PauliFeatureMap(2, paulis=paulis)
    assert torch.autograd.gradcheck(lambda a, c: QuantumKernel(feature_map, c)(a, z), (x, bandwidth))
    assert torch.autograd.gradcheck(
        lambda c: QuantumKernel(feature_map, c)(z), bandwidth, check_forward_ad=True, check_batched_grad=False
    )


def test_kernels_join_the_algebra():
    kernel, x = QuantumKernel(ZZFeatureMap(3), bandwidth=0.3), tensor(3, 30)
    matrix = kernel(x)
    torch.testing.assert_close((2.0 * kernel + Linear())(x), 2 * matrix + x @ x.T)
    torch.testing.assert_close(kernel_matrix(kernel, x, block=7), matrix)
    torch.testing.assert_close(KernelOperator(kernel, x, block=7) @ x, matrix @ x)
    assert set((kernel * Linear()).hyperparameters()) == {"first.bandwidth"}
    batch = kernel(x.reshape(5, 6, 3))
    torch.testing.assert_close(batch[2], matrix[12:18, 12:18])
    assert pickle.loads(pickle.dumps(kernel)) == kernel


def test_nystrom_of_all_states_is_exact():
    """Kernels of n qubits have rank 4^n at most, so as many landmarks know everything."""
    kernel, x = QuantumKernel(ZZFeatureMap(1, reps=1)), tensor(1, 40)
    features = Nystrom(kernel, x[:6]).features(x)
    torch.testing.assert_close(features @ features.T, kernel(x), atol=1e-6, rtol=0)


def test_scikit_learn_takes_the_kernel():
    X, y = make_ad_hoc(60, random_state=2)
    kernel = SklearnKernel(QuantumKernel(ZZFeatureMap(2)), limits=(0.5, 2.0))
    assert SVC(kernel=kernel, C=1e4).fit(X[:40], y[:40]).score(X[40:], y[40:]) > 0.9
    assert GaussianProcessClassifier(kernel, optimizer=None).fit(X[:40], y[:40]).score(X[40:], y[40:]) > 0.9
    assert KernelPCA(2, kernel="precomputed").fit_transform(kernel(X)).shape == (60, 2)


def test_marginal_likelihood_finds_the_bandwidth():
    generator = np.random.default_rng(0)
    X = angles(2, 60)
    truth = QuantumKernel(ZZFeatureMap(2), bandwidth=0.4)
    y = np.linalg.cholesky(truth(torch.from_numpy(X)).numpy() + 1e-6 * np.eye(60)) @ generator.standard_normal(60)
    start = SklearnKernel(QuantumKernel(ZZFeatureMap(2), bandwidth=0.45), limits=(0.35, 0.5))
    fitted = GaussianProcessRegressor(start, alpha=1e-4).fit(X, y).kernel_.kernel
    assert fitted.bandwidth == pytest.approx(0.4, abs=0.01)


def test_shots_are_binomial():
    x = angles(2, 12)
    exact, shots = ZZFeatureMap(2).kernel(x), 400
    generator = np.random.default_rng(0)
    draws = np.stack([ZZFeatureMap(2).kernel(x, shots=shots, random_state=generator) for _ in range(300)])
    assert (draws == draws.transpose(0, 2, 1)).all()
    assert (draws[:, range(12), range(12)] == 1).all()
    upper = np.triu_indices(12, 1)
    deviation = np.sqrt(exact * (1 - exact) / shots)[upper]
    assert np.abs(draws.mean(0)[upper] - exact[upper]).max() < 5 * deviation.max() / math.sqrt(300)
    np.testing.assert_allclose(draws.std(0)[upper], deviation, rtol=0.25)
    np.testing.assert_allclose(draws * shots, np.round(draws * shots))


def noisy_by_hand(feature_map, x, z, depolarizing, readout):
    """Density matrices, flips by matrices: an independent route."""
    n = feature_map.n_features
    ideal = (gate_by_gate(feature_map, x).conj(), gate_by_gate(feature_map, z))
    unitary = circuit_matrix(feature_map, x)
    psi = unitary.conj().T @ ideal[1]
    rho = (1 - depolarizing) * np.outer(psi, psi.conj()) + depolarizing * np.eye(2**n) / 2**n
    flip = reduce(np.kron, [np.array([[1 - readout, readout], [readout, 1 - readout]])] * n)
    return (flip @ rho.diagonal().real)[0]


def circuit_matrix(feature_map, x):
    n = feature_map.n_features
    hadamard = reduce(np.kron, [np.array([[1, 1], [1, -1]]) / math.sqrt(2)] * n)
    total = np.eye(2**n)
    for rep in range(feature_map.reps):
        total = hadamard @ total
        for string in feature_map.paulis:
            for one in coupled(n, len(string), feature_map.entanglement, rep):
                phi = x[one[0]] if len(one) == 1 else math.prod(math.pi - x[q] for q in one)
                total = expm(-0.5j * feature_map.alpha * phi * on(n, dict(zip(one, string[::-1])))) @ total
    return total


@pytest.mark.parametrize(("depolarizing", "readout"), [(0.2, 0.0), (0.0, 0.1), (0.3, 0.05)])
def test_noise_is_that_of_density_matrices(depolarizing, readout):
    feature_map, x, z = ZZFeatureMap(3), angles(3, 3), angles(3, 2, 1)
    noise = DeviceNoise(depolarizing, readout)
    expected = [[noisy_by_hand(feature_map, a, b, depolarizing, readout) for b in z] for a in x]
    np.testing.assert_allclose(feature_map.kernel(x, z, noise=noise), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("noise", "tolerance"),
    [
        (DeviceNoise(0.3, 0.0, "inverse"), 1e-12),
        (DeviceNoise(0.0, 0.1, "inverse"), 1e-12),
        (DeviceNoise(0.3, 0.1, "inverse"), 1e-12),
        (DeviceNoise(0.0, 0.1, "extrapolate"), 1e-12),
        (DeviceNoise(0.05, 0.1, "extrapolate"), 2e-3),  # second order: 1.5 p^2 / 2
    ],
)
def test_mitigation_gives_the_kernel_back(noise, tolerance):
    x, z = angles(3, 5), angles(3, 4, 1)
    exact = ZZFeatureMap(3).kernel(x, z)
    assert np.abs(ZZFeatureMap(3).kernel(x, z, noise=noise) - exact).max() < tolerance
    plain = DeviceNoise(noise.depolarizing, noise.readout)
    assert np.abs(ZZFeatureMap(3).kernel(x, z, noise=plain) - exact).max() > 0.03
    shots = ZZFeatureMap(3).kernel(x, z, shots=200_000, noise=noise, random_state=0)
    assert np.abs(shots - exact).max() < 0.02


def test_expectations_of_a_device():
    f, generator = torch.tensor([0.8, -0.5, 1.0], dtype=torch.float64), np.random.default_rng(0)
    noisy = Reading(DeviceNoise(0.2, 0.1), 3, None, generator)(f)
    torch.testing.assert_close(noisy, f * 0.8 * 0.8**3)
    torch.testing.assert_close(Reading(DeviceNoise(0.2, 0.1, "inverse"), 3, None, generator)(f), f)
    extrapolated = Reading(DeviceNoise(0.02, 0.1, "extrapolate"), 3, None, generator)(f)
    torch.testing.assert_close(extrapolated, f, atol=4e-4, rtol=0)
    read = Reading(DeviceNoise(), 1, 100, generator)(f.expand(2000, 3))
    torch.testing.assert_close(read.std(0), (2 * ((1 - f * f) / 4 / 100).sqrt()), atol=0.01, rtol=0)
    torch.testing.assert_close(read * 50, (read * 50).round())


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("convention", ["haar", "qiskit"])
def test_ad_hoc_labels(n, convention):
    problem = AdHocProblem.random(n, 0.2, convention=convention, generator=np.random.default_rng(1))
    size = 2**n
    np.testing.assert_allclose(problem.observable, problem.observable.conj().T, atol=1e-12)
    np.testing.assert_allclose(problem.observable @ problem.observable, np.eye(size), atol=1e-9)
    X, y = problem.sample(15, np.random.default_rng(2))
    psi = np.stack([gate_by_gate(problem.feature_map, row) for row in X])
    value = np.array([(row.conj() @ problem.observable @ row).real for row in psi])
    assert (y * value > 0.2).all()
    assert (y == 1).sum() == 15
    assert ((X > 0) & (2 * np.pi >= X)).all()
    again = make_ad_hoc(30, n, 0.2, random_state=1, convention=convention)
    assert (again[0] == make_ad_hoc(30, n, 0.2, random_state=1, convention=convention)[0]).all()


def test_haar_unitaries_have_no_direction():
    """The expectation in any state has the variance ``1 / (d + 1)``; qiskit's V puts ``|0..0>`` at the boundary."""
    found = {}
    for convention in ("haar", "qiskit"):
        generator = np.random.default_rng(0)
        draws = [AdHocProblem.random(2, convention=convention, generator=generator).observable for _ in range(300)]
        found[convention] = np.std([one[0, 0].real for one in draws])
    assert found["haar"] == pytest.approx(5**-0.5, rel=0.1)
    assert found["qiskit"] < found["haar"] / 2


def test_alignment_rank_and_difference():
    y = np.array([0, 0, 1, 1])
    t = np.where(y[:, None] == y, 1.0, -1.0)
    assert kernel_target_alignment(t, y) == pytest.approx(1)
    assert kernel_target_alignment(np.ones((4, 4)), y) == pytest.approx(0)
    assert effective_rank(t) == pytest.approx(1)
    generator = np.random.default_rng(0)
    a, b = (np.cov(generator.standard_normal((5, 50))) for _ in range(2))
    assert geometric_difference(a, 3 * a) == pytest.approx(1, abs=1e-6)
    scaled = [5 * m / np.trace(m) for m in (a, b)]
    expected = max(np.linalg.eigvals(np.linalg.solve(scaled[0], scaled[1])).real)
    assert geometric_difference(a, b) == pytest.approx(math.sqrt(expected), rel=1e-6)


def test_concentration_of_many_qubits():
    """Random inputs behave as random states: overlaps of 2^-n."""
    report = concentration_report(QuantumKernel(ZZFeatureMap(9)), angles(9, 60))
    assert 2.0**-9 < report.mean < 2 * 2.0**-9
    assert report.concentrated
    smooth = concentration_report(QuantumKernel(ZZFeatureMap(9), bandwidth=0.02), angles(9, 60))
    assert not smooth.concentrated
    assert smooth.shots < report.shots


@pytest.mark.gpu
def test_devices_agree():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    kernel, x = QuantumKernel(ZZFeatureMap(8)), tensor(8, 100)
    torch.testing.assert_close(kernel(x.cuda()).cpu(), kernel(x), atol=1e-12, rtol=0)
    for noise in (0.1, DeviceNoise(readout=0.1)):
        found, expected = (
            estimate_kernel(kernel, rows[:9], noise=noise, generator=np.random.default_rng(0)) for rows in (x.cuda(), x)
        )
        np.testing.assert_allclose(found, expected, atol=1e-12)


WHOLE = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize(
    "rows",
    [
        WHOLE.astype(int),
        WHOLE.astype(np.float32),
        WHOLE.tolist(),
        polars.DataFrame(WHOLE),
        np.asfortranarray(WHOLE[::-1])[::-1],
        torch.from_numpy(WHOLE).int(),
    ],
    ids=["integers", "single", "lists", "frame", "reversed", "tensor"],
)
def test_real_numbers_of_any_kind_are_angles(rows):
    feature_map = ZZFeatureMap(2)
    exact = feature_map.kernel(WHOLE)
    np.testing.assert_allclose(feature_map.kernel(rows), exact, atol=1e-14)
    np.testing.assert_allclose(feature_map.kernel(rows, WHOLE[:2]), exact[:, :2], atol=1e-14)
    report = concentration_report(QuantumKernel(feature_map), rows)
    assert report.mean == pytest.approx(concentration_report(QuantumKernel(feature_map), WHOLE).mean, abs=1e-14)


def test_tensors_of_whole_numbers_are_not_rounded():
    kernel, whole = QuantumKernel(ZZFeatureMap(2), bandwidth=0.5), torch.from_numpy(WHOLE)
    assert kernel.diagonal(whole.int()).dtype == kernel(whole.int()).dtype == torch.float64
    torch.testing.assert_close(kernel(whole.int()), kernel(whole), atol=0, rtol=0)


@pytest.mark.parametrize("bandwidth", [[0.5, 2], np.array([0.5, 2.0]), torch.tensor([0.5, 2.0])], ids=type)
def test_a_bandwidth_for_each_feature(bandwidth):
    kernel, x = QuantumKernel(ZZFeatureMap(2), bandwidth), tensor(2, 5)
    expected = ZZFeatureMap(2).kernel(x * torch.tensor([0.5, 2.0], dtype=torch.float64))
    np.testing.assert_allclose(kernel(x), expected, atol=1e-14)
    assert kernel(x.float()).dtype == torch.float32
    device, generator = DeviceNoise(readout=0.1), np.random.default_rng(0)
    plain = QuantumKernel(ZZFeatureMap(2))
    measured = estimate_kernel(kernel, x, noise=device, generator=generator)
    expected = estimate_kernel(plain, kernel.angles(x), noise=device, generator=generator)
    np.testing.assert_allclose(measured, expected, atol=1e-14)


def test_one_feature_has_no_pairs():
    x = angles(1, 4)
    np.testing.assert_allclose(ZZFeatureMap(1).kernel(x), ZFeatureMap(1).kernel(x), atol=1e-14)


def test_transforms_of_functions_pass_through():
    kernel, x = QuantumKernel(ZZFeatureMap(2)), tensor(2, 6).reshape(2, 3, 2)
    torch.testing.assert_close(torch.vmap(kernel)(x), kernel(x))
    assert torch.func.jacrev(kernel)(x[0]).shape == (3, 3, 3, 2)


X2 = angles(2, 3)
BAD = [np.nan, np.inf, 1e300]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: ZZFeatureMap(0), "0 features"),
        (lambda: ZZFeatureMap(25), "at most 20 qubits .* 24 on a GPU.*0.5 GiB"),
        (lambda: ZZFeatureMap(21).state(torch.zeros(3, 21, dtype=torch.float64)), "0.0938 GiB"),
        (lambda: ZZFeatureMap(20).state(torch.zeros(1, 20).expand(10**8, 20)), "fewer rows"),
        (lambda: ZZFeatureMap(2, reps=0), "repeated"),
        (lambda: PauliFeatureMap(2, paulis=("Z", "AB")), "Pauli string"),
        (lambda: PauliFeatureMap(2, paulis=("",)), "Pauli string"),
        (lambda: PauliFeatureMap(2, paulis="ZZ"), "tuple"),
        (lambda: PauliFeatureMap(2, paulis=()), "without rotations"),
        (lambda: PauliFeatureMap(1, paulis=("ZZ",)), "without rotations"),
        (lambda: PauliFeatureMap(2, paulis=("Z", "ZZZ")), "no more letters"),
        (lambda: PauliFeatureMap(2, alpha=np.nan), "alpha=nan"),
        *[(lambda bad=bad: ZZFeatureMap(2).kernel(np.array([[bad, 1.0]])), "finite and at most") for bad in BAD],
        *[(lambda bad=bad: QuantumKernel(ZZFeatureMap(2))(tensor(2, 3) * bad), "finite and at most") for bad in BAD],
        (lambda: PauliFeatureMap(2, paulis=("X",)).kernel(X2 * np.nan), "finite and at most"),
        (lambda: ZZFeatureMap(2).kernel(X2[:0]), "at least one row"),
        (lambda: ZZFeatureMap(2).kernel(X2 * 1j), "real numbers"),
        (lambda: ZZFeatureMap(2).kernel([["a", "b"]]), "real numbers"),
        (lambda: ZZFeatureMap(2).kernel([[1.0, 2.0], [3.0]]), "real numbers"),
        (lambda: ZZFeatureMap(2).kernel(X2[0]), r"\(n, features\)"),
        (lambda: ZZFeatureMap(1, entanglement="star"), "entanglement"),
        (lambda: PauliFeatureMap(4, entanglement="pairwise", paulis=("ZZZ",)), "sets of 3"),
        (lambda: ZZFeatureMap(3, entanglement="star"), "entanglement"),
        (lambda: ZZFeatureMap(3, entanglement=[(0, 3)]), "0 to 2"),
        (lambda: ZZFeatureMap(3, entanglement=[(1, 1)]), "distinct"),
        (lambda: ZZFeatureMap(3).kernel(X2), "3 features"),
        (lambda: ZZFeatureMap(2).kernel(X2, shots=0), "at least once"),
        (lambda: Reading(DeviceNoise(), 1, 0, np.random.default_rng(0)), "at least once"),
        (lambda: ZFeatureMap(1).kernel(np.zeros((10**6, 1))), "kernel matrix of 1000000 x 1000000 .*GiB needed"),
        (lambda: ZZFeatureMap(2).kernel(X2, noise=1.0), "probability"),
        (lambda: DeviceNoise(readout=0.5), "probability"),
        (lambda: DeviceNoise(mitigation="hope"), "mitigation"),
        (lambda: QuantumKernel(ZZFeatureMap(2), bandwidth=0.0), "positive"),
        (lambda: QuantumKernel(ZZFeatureMap(2), bandwidth=[1.0, np.inf]), "positive"),
        (lambda: QuantumKernel(ZZFeatureMap(2), bandwidth=[1.0, 1.0, 1.0]), "one for each feature"),
        (lambda: make_ad_hoc(1), "two or more"),
        (lambda: make_ad_hoc(10, gap=1.0), "gap"),
        (lambda: make_ad_hoc(10, 4, gap=0.95, random_state=0), "too wide"),
        (lambda: make_ad_hoc(10, convention="dice"), "convention"),
        (lambda: kernel_target_alignment(np.ones((2, 2)), np.ones(3)), "label"),
        (lambda: kernel_target_alignment(np.ones((2, 2)), np.ones(2)), "two classes"),
        (lambda: effective_rank(np.array([[np.nan]])), "not finite"),
        (lambda: geometric_difference(np.eye(2), np.eye(3)), "same rows"),
        (lambda: geometric_difference(np.zeros((2, 2)), np.eye(2)), "positive trace"),
        (lambda: kernel_target_alignment(np.zeros((2, 2)), np.arange(2)), "positive trace"),
        (lambda: effective_rank(np.zeros((2, 2))), "positive trace"),
        (lambda: concentration_report(QuantumKernel(ZZFeatureMap(2)), X2[:1]), "two rows"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(InputError, match=message):
        run()


def test_estimate_without_device_is_exact():
    x = tensor(3, 5)
    kernel = QuantumKernel(ZZFeatureMap(3))
    found = estimate_kernel(kernel, x, generator=np.random.default_rng(0))
    np.testing.assert_allclose(found, kernel(x).numpy(), atol=1e-14)
