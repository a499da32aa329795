"""The classifiers: conformance, exact gradients, shots, noise, more classes, bad input."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels import (
    DeviceNoise,
    PauliFeatureMap,
    QuantumSVC,
    VariationalCircuit,
    VariationalQuantumClassifier,
    ZFeatureMap,
    ZZFeatureMap,
    empirical_risk,
    make_ad_hoc,
)
from harmonia.kernels.quantum_kernels.device import Reading
from harmonia.kernels.quantum_kernels.spsa import spsa
from harmonia.kernels.quantum_kernels.training import Training

X, Y = make_ad_hoc(240, random_state=0)
TRAIN, TEST = slice(40), slice(40, None)
SIMPLE = {"depth": 0, "restarts": 1, "max_iter": 4, "random_state": 0}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@parametrize_with_checks(
    [
        QuantumSVC(bandwidth=0.2),
        VariationalQuantumClassifier(**SIMPLE, bandwidth=0.2),
    ],
    expected_failed_checks=lambda estimator: (
        {
            "check_classifiers_train": "four steps are few",
        }
        if isinstance(estimator, VariationalQuantumClassifier)
        else {}
    ),
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def test_machine_is_that_of_the_exact_kernel():
    model = QuantumSVC(scaling=None).fit(X[TRAIN], Y[TRAIN])
    feature_map = ZZFeatureMap(2)
    theirs = SVC(C=1e4, kernel="precomputed").fit(feature_map.kernel(X[TRAIN]), Y[TRAIN])
    expected = theirs.decision_function(feature_map.kernel(X[TEST], X[TRAIN]))
    np.testing.assert_allclose(model.decision_function(X[TEST]), expected, atol=1e-6)
    assert model.score(X[TEST], Y[TEST]) > 0.98
    assert model.negative_mass_ == 0
    assert len(model.support_angles_) < 40


def test_scaling_is_that_of_the_training_rows():
    rows = X * [3.0, 0.1] + 5
    model = QuantumSVC(feature_map="z", reps=1, bandwidth=0.5).fit(rows[TRAIN], Y[TRAIN])
    by_hand = MinMaxScaler((0, 2 * np.pi)).fit(rows[TRAIN])
    again = QuantumSVC(feature_map=ZFeatureMap(2, reps=1), bandwidth=0.5, scaling=None)
    again.fit(by_hand.transform(rows[TRAIN]), Y[TRAIN])
    at = by_hand.transform(rows[TEST])
    np.testing.assert_allclose(model.decision_function(rows[TEST]), again.decision_function(at), atol=1e-9)


@pytest.mark.parametrize("psd", ["clip", "none"])
def test_shots(psd):
    model = QuantumSVC(C=10.0, scaling=None, shots=300, psd=psd, random_state=0).fit(X[TRAIN], Y[TRAIN])
    assert 0 < model.negative_mass_ < 0.3
    assert model.score(X[TEST], Y[TEST]) > 0.85
    np.testing.assert_array_equal(model.decision_function(X[TEST]), model.decision_function(X[TEST]))
    other = QuantumSVC(C=10.0, scaling=None, shots=300, psd=psd, random_state=1).fit(X[TRAIN], Y[TRAIN])
    assert (other.decision_function(X[TEST]) != model.decision_function(X[TEST])).any()


def test_noise_and_its_mitigation():
    """Depolarising noise scales the kernel: a hard margin finds the same boundary. Read-out errors cost more."""
    exact = QuantumSVC(scaling=None).fit(X[TRAIN], Y[TRAIN])
    for noise in (0.3, DeviceNoise(0.3, 0.1, "inverse")):
        model = QuantumSVC(scaling=None, noise=noise).fit(X[TRAIN], Y[TRAIN])
        assert (model.predict(X[TEST]) == exact.predict(X[TEST])).mean() > 0.96


def test_maps_of_any_kind():
    for feature_map in ("z", PauliFeatureMap(2, paulis=("Z", "YY")), lambda n: ZZFeatureMap(n, reps=3)):
        model = QuantumSVC(feature_map=feature_map, scaling=None).fit(X[TRAIN], Y[TRAIN])
        assert model.kernel_.feature_map.n_features == 2
        assert model.predict(X[TEST]).shape == (200,)


def test_more_than_twelve_qubits_use_single_precision():
    rows = load_wine().data
    model = QuantumSVC(C=10.0, bandwidth=0.1, entanglement="linear").fit(rows[::6], load_wine().target[::6])
    assert model.support_angles_.dtype == torch.float32
    angles = model.support_angles_
    double = model.kernel_(angles.double())
    torch.testing.assert_close(model.kernel_(angles).double(), double, atol=1e-5, rtol=0)


def test_pipelines_and_searches():
    rows, classes = load_iris(return_X_y=True)
    search = GridSearchCV(make_pipeline(QuantumSVC(10.0)), {"quantumsvc__bandwidth": [0.1, 0.25]}, cv=3)
    assert search.fit(rows, classes).best_score_ > 0.93


def test_concentration_is_warned_of():
    rows = np.random.default_rng(0).uniform(0, 2 * np.pi, (40, 8))
    with pytest.warns(UserWarning, match="concentrated"):
        QuantumSVC().fit(rows, np.arange(40) % 2)
    with pytest.warns(UserWarning, match="outside"):
        QuantumSVC(scaling=None).fit(rows * 5, np.arange(40) % 2)


@pytest.mark.parametrize("model", [QuantumSVC(scaling=None), VariationalQuantumClassifier(**SIMPLE, scaling=None)])
@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_new_rows_outside_are_warned_of(model, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = clone(model).fit(X[TRAIN], Y[TRAIN])
        getattr(fitted, method)(X[TEST])
    with pytest.warns(UserWarning, match="outside"):
        getattr(fitted, method)(np.degrees(X[TEST]))


@pytest.mark.parametrize("bandwidth", [[0.5, 1.0], np.array([0.5, 1.0])], ids=["list", "array"])
def test_a_bandwidth_for_each_feature(bandwidth):
    model = clone(QuantumSVC(bandwidth=bandwidth, scaling=None)).fit(X[TRAIN], Y[TRAIN])
    plain = QuantumSVC(scaling=None).fit(X[TRAIN] * bandwidth, Y[TRAIN])
    expected = plain.decision_function(X[TEST] * bandwidth)
    np.testing.assert_allclose(model.decision_function(X[TEST]), expected, atol=1e-6)


@pytest.mark.parametrize("model", [QuantumSVC(), VariationalQuantumClassifier(**SIMPLE)])
def test_shots_are_checked_before_anything_changes(model):
    fitted = clone(model).fit(X[TRAIN], Y[TRAIN])
    before = fitted.kernel_, fitted.classes_, fitted.scaler_
    fitted.set_params(shots=0, bandwidth=0.5)
    for again in (lambda: fitted.fit(X[TRAIN], Y[TRAIN]), lambda: fitted.predict(X[TEST])):
        with pytest.raises(InputError, match="at least once"):
            again()
    assert all(a is b for a, b in zip(before, (fitted.kernel_, fitted.classes_, fitted.scaler_)))


def test_predictions_that_do_not_fit_into_memory(monkeypatch):
    model = QuantumSVC(scaling=None).fit(X[TRAIN], Y[TRAIN])
    monkeypatch.setattr("harmonia.parts.gram.matrix.free_memory", lambda: 2.0**20)
    with pytest.raises(InputError, match=r"4000 rows with 40 training rows .*GiB needed"):
        model.predict(np.tile(X[:1], (4000, 1)))


# The variational circuit


def dense(circuit: VariationalCircuit, angles: np.ndarray) -> np.ndarray:
    """W as a matrix, from the definition, for two qubits."""
    z, y = np.diag([1, -1]), np.array([[0, -1j], [1j, 0]])

    def turn(pauli, angle):
        return np.cos(angle / 2) * np.eye(2) + 1j * np.sin(angle / 2) * pauli

    total = np.eye(4)
    for layer in range(circuit.depth + 1):
        local = [turn(z, angles[layer, m, 0]) @ turn(y, angles[layer, m, 1]) for m in range(2)]
        total = np.kron(local[1], local[0]) @ total
        if layer < circuit.depth:
            total = np.diag([1, 1, 1, -1]) @ total
    return total


@pytest.mark.parametrize("readout", ["parity", "last"])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("rows", [3, 9])
def test_circuit_is_its_definition(rows, depth, readout):
    circuit = VariationalCircuit(2, depth, readout=readout)
    generator = np.random.default_rng(0)
    angles = generator.uniform(0, 2 * np.pi, (5, *circuit.shape))
    states = ZZFeatureMap(2).state(torch.from_numpy(X[:rows]))
    found = circuit.expectation(states, torch.from_numpy(angles)).numpy()
    observable = np.diag([1, -1, -1, 1] if readout == "parity" else [1, -1, 1, -1])
    for k in range(5):
        out = states.numpy() @ dense(circuit, angles[k]).T
        expected = np.einsum("na,ab,nb->n", out.conj(), observable, out).real
        np.testing.assert_allclose(found[k], expected, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 3))
def test_circuits_are_unitary_and_read_between_bounds(seed, n, depth):
    circuit = VariationalCircuit(n, depth, "circular")
    generator = torch.Generator().manual_seed(seed)
    angles = 7 * torch.rand(circuit.shape, generator=generator, dtype=torch.float64)
    everything = circuit.expectation(torch.eye(2**n, dtype=torch.complex128), angles)
    assert float(everything.sum()) == pytest.approx(0, abs=1e-12)  # the trace of a product of Z
    assert (everything.abs() <= 1 + 1e-12).all()


def test_layers_computed_again_give_the_same_gradient(monkeypatch):
    circuit = VariationalCircuit(3, 2)
    states = ZZFeatureMap(3).state(torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    angles = torch.rand(circuit.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    plain = torch.autograd.grad(circuit.expectation(states, angles).sum(), angles)[0]
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.circuit._MOST_KEPT", 0)
    again = torch.autograd.grad(circuit.expectation(states, angles).sum(), angles)[0]
    torch.testing.assert_close(again, plain)


def training(shots: int | None, seed: int = 0) -> Training:
    states = ZZFeatureMap(2).state(torch.from_numpy(X[:30]))
    labels = torch.from_numpy(Y[:30].astype(float))[None, None]
    reading = Reading(DeviceNoise(), 2, shots, np.random.default_rng(seed))
    return Training(VariationalCircuit(2, 1), states, labels, reading)


def test_gradients_are_exact_and_parameter_shifts_agree(monkeypatch):
    point = 6 * torch.rand(1, 2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.training.SHARPNESS", 10**9)
    exact = training(None)
    assert torch.autograd.gradcheck(
        lambda p: exact.circuit.expectation(exact.states, exact.split(p)[0]), point.requires_grad_()
    )
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.training.SHARPNESS", 50)
    value, gradient = exact.gradient(point)
    assert torch.autograd.gradcheck(exact.risk, point, atol=1e-4)

    class Silent(Reading):
        """Infinitely many shots, told as 50."""

        def __call__(self, expectation):
            return expectation

    shifted = Training(
        exact.circuit, exact.states, exact.labels, Silent(DeviceNoise(), 2, 50, np.random.default_rng(0))
    )
    again, slopes = shifted.gradient(point)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(slopes, gradient, atol=1e-10, rtol=1e-8)


def test_risk_is_the_chance_of_a_wrong_majority():
    """The paper's sigmoid beside the binomial distribution it approximates."""
    f = torch.tensor([0.1, -0.2, 0.4], dtype=torch.float64)
    shots = 101
    found = empirical_risk(f[:, None], torch.ones(1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), shots)
    exact = binom.cdf(50, shots, (1 + f.numpy()) / 2)
    np.testing.assert_allclose(found.numpy(), exact, atol=0.2)
    assert (np.argsort(found.numpy()) == np.argsort(exact)).all()
    even = empirical_risk(torch.tensor([[0.3]]), torch.ones(1), torch.tensor([0.3]), shots)
    assert float(even) == pytest.approx(0.5, abs=1e-5)


def test_spsa_follows_noisy_losses():
    generator = torch.Generator().manual_seed(0)

    def loss(t):
        return (t - 0.5).square().sum(-1) + 0.01 * torch.randn(t.shape[:-1], generator=generator)

    found = spsa(loss, torch.zeros(2, 3, 4), 300, generator)
    assert found.losses.shape == (300, 2, 3)
    assert (found.point - 0.5).abs().max() < 0.1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "spsa"},
        {"shots": 500, "max_iter": 40},
        {"noise": DeviceNoise(0.1, 0.05, "inverse"), "shots": 2000, "max_iter": 40},
    ],
    ids=["adam", "spsa", "parameter shift", "noise undone"],
)
def test_variational_classifiers_learn(options):
    model = VariationalQuantumClassifier(2, scaling=None, random_state=0, **options).fit(X[TRAIN], Y[TRAIN])
    assert model.score(X[TEST], Y[TEST]) > 0.9
    assert model.angles_.shape == (1, 3, 2, 2)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert len(model.loss_curve_) == model.n_iter_
    shares = model.predict_proba(X[TEST])
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[shares.argmax(1)], model.predict(X[TEST]))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[TEST]), model.predict(X[TEST]))


def test_one_against_the_rest():
    rows, classes = load_iris(return_X_y=True)
    seen, unseen, y, truth = train_test_split(rows, classes, random_state=0, stratify=classes)
    model = VariationalQuantumClassifier(4, bandwidth=0.1, restarts=1, random_state=0, max_iter=60).fit(seen, y)
    assert model.angles_.shape == (3, 5, 4, 2)
    assert model.decision_function(unseen).shape == (len(unseen), 3)
    assert model.score(unseen, truth) > 0.85


def test_one_bit_alone_is_another_classifier():
    """With a product map the last bit knows only qubit 0, whatever the circuit of depth 0."""
    options = {"depth": 0, "feature_map": "z", "scaling": None, "random_state": 0, "max_iter": 5}
    model = VariationalQuantumClassifier(readout="last", **options).fit(X[TRAIN], Y[TRAIN])
    moved = X[TEST] + [0.0, 1.0]
    np.testing.assert_allclose(model.decision_function(moved), model.decision_function(X[TEST]), atol=1e-12)
    parity = VariationalQuantumClassifier(**options).fit(X[TRAIN], Y[TRAIN])
    assert np.abs(parity.decision_function(moved) - parity.decision_function(X[TEST])).max() > 0.05


WIDE = np.random.default_rng(0).uniform(size=(6, 22))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: QuantumSVC().fit(WIDE, [0, 1] * 3), "at most 20 qubits.*22 features"),
        (lambda: QuantumSVC(psd="hope").fit(X, Y), "repair"),
        (lambda: QuantumSVC(scaling="log").fit(X, Y), "scaling"),
        (lambda: QuantumSVC(feature_map="w").fit(X, Y), "feature map"),
        (lambda: QuantumSVC(feature_map=ZZFeatureMap(3)).fit(X, Y), "3 features"),
        (lambda: QuantumSVC(bandwidth=-1.0).fit(X, Y), "bandwidth"),
        (lambda: QuantumSVC(shots=0).fit(X, Y), "at least once"),
        (lambda: QuantumSVC(shots=1.5).fit(X, Y), "whole number"),
        (lambda: VariationalQuantumClassifier(-1).fit(X, Y), "depth"),
        (lambda: VariationalQuantumClassifier(optimizer="sgd").fit(X, Y), "optimizer"),
        (lambda: VariationalQuantumClassifier(max_iter=0).fit(X, Y), "max_iter"),
        (lambda: VariationalQuantumClassifier(shots=0).fit(X, Y), "at least once"),
        (lambda: VariationalQuantumClassifier(restarts=0).fit(X, Y), "restarts"),
        (lambda: VariationalQuantumClassifier(readout="all").fit(X, Y), "read-out"),
        (lambda: VariationalQuantumClassifier().fit(X, np.ones(240)), "two classes"),
        (
            lambda: VariationalCircuit(2).expectation(torch.eye(4, dtype=torch.complex128), torch.zeros(1, 2, 2)),
            "angles",
        ),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(InputError, match=message):
        run()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(bad):
    rows = X.copy()
    rows[0, 0] = bad
    for model in (QuantumSVC(), VariationalQuantumClassifier()):
        with pytest.raises(ValueError, match="Input X contains"):
            model.fit(rows, Y)
