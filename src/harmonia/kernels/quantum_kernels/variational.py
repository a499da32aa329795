"""The variational quantum classifier: a short parametrised circuit after the feature map, trained on its read-out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.base import QuantumClassifier
from harmonia.kernels.quantum_kernels.circuit import VariationalCircuit
from harmonia.kernels.quantum_kernels.device import Reading, as_noise, check_shots
from harmonia.kernels.quantum_kernels.spsa import spsa
from harmonia.kernels.quantum_kernels.training import Training, adam

_STEPS = {"adam": 120, "spsa": 250}


class VariationalQuantumClassifier(ClassifierMixin, QuantumClassifier):
    """A circuit of depth l after the feature map; the label is the sign of ``<f> - b``.

    Havlicek et al. 2019, the quantum variational classifier. More than two classes are learned one against the rest,
    all at once.

    Arguments:
        depth: Entangling layers l of the circuit: ``2 n (l + 1)`` angles and a bias are trained.
        optimizer: ``"adam"``: gradients by automatic differentiation, or by the parameter-shift rule with shots;
            ``"spsa"``: as the paper, from two evaluations a step.
        max_iter: Steps; 120 of Adam and 250 of SPSA unless given.
        learning_rate: Of Adam.
        restarts: Random starts that are trained at once; the one with the least risk is kept.
        shots: Read-outs for each row and each evaluation, in training and prediction; None for exact expectations.
        noise: The device: a `DeviceNoise`, or the depolarising probability of a circuit. It shrinks expectations.
        readout: ``"parity"``: of all qubits; ``"last"``: the last bit alone, which qiskit-machine-learning's classifier
            reads under the name of parity.
        feature_map, reps, entanglement, bandwidth, scaling: As of `QuantumSVC`; the circuit's CZ gates couple the
            same pairs.
        random_state: Of the starts and the shots.

    Attributes:
        classes_: Labels.
        angles_: Of the circuits (circuits, depth + 1, qubits, 2); one circuit for two classes.
        bias_: Thresholds b (circuits,).
        loss_curve_: Mean risk of the kept starts at each step.
        n_iter_: Steps taken.

    Example:
        >>> from harmonia.kernels.quantum_kernels import make_ad_hoc
        >>> X, y = make_ad_hoc(80, random_state=1)
        >>> model = VariationalQuantumClassifier(scaling=None, max_iter=60, random_state=0).fit(X[:40], y[:40])
        >>> bool(model.score(X[40:], y[40:]) > 0.9), model.angles_.shape
        (True, (1, 3, 2, 2))
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        depth=2,
        *,
        optimizer="adam",
        max_iter=None,
        learning_rate=0.1,
        restarts=2,
        shots=None,
        noise=0.0,
        readout="parity",
        feature_map="zz",
        reps=2,
        entanglement="full",
        bandwidth=1.0,
        scaling="minmax",
        random_state=None,
    ):
        self.depth = depth
        self.optimizer = optimizer
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.restarts = restarts
        self.shots = shots
        self.noise = noise
        self.readout = readout
        self.feature_map = feature_map
        self.reps = reps
        self.entanglement = entanglement
        self.bandwidth = bandwidth
        self.scaling = scaling
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> VariationalQuantumClassifier:
        """Train the circuits.

        Arguments:
            X: ``(n, features)``; as many qubits as features.
            y: ``(n,)`` labels of any kind.

        Raises:
            InputError: settings that cannot be used, one class, or more features than are simulated.
        """
        if self.optimizer not in _STEPS:
            raise InputError("no such optimizer", repr(self.optimizer), "Use 'adam' or 'spsa'.")
        steps = _STEPS[self.optimizer] if self.max_iter is None else self.max_iter
        for name, value in (("max_iter", steps), ("restarts", self.restarts)):
            if value < 1:
                raise InputError(f"'{name}' is at least 1", value, "Leave it out.")
        check_shots(self.shots)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("a classifier needs two classes", f"one class, {self.classes_[0]}", "Add rows of others.")
        states = self._states(self._fit_kernel(X))
        circuits = len(self.classes_) if len(self.classes_) > 2 else 1
        wanted = np.arange(len(self.classes_))[-circuits:, None] == index
        seeds = check_random_state(self.random_state).randint(2**31, size=2).tolist()
        labels = torch.from_numpy(2.0 * wanted - 1)[:, None]
        training = Training(self._circuit(), states, labels, self._reading(seeds[0]))
        self._seed = seeds[1]
        generator = torch.Generator().manual_seed(seeds[0])
        size = math.prod(training.circuit.shape)
        start = torch.cat(
            [
                2 * math.pi * torch.rand(circuits, self.restarts, size, generator=generator, dtype=torch.float64),
                torch.zeros(circuits, self.restarts, 1, dtype=torch.float64),
            ],
            -1,
        )
        if self.optimizer == "spsa":
            with torch.no_grad():
                point, losses = spsa(training.risk, start, steps, generator)
        else:
            point, losses = adam(training, start, steps, self.learning_rate)
        with torch.no_grad():
            best = training.risk(point).argmin(1)
        rows = torch.arange(circuits)
        angles, bias = training.split(point[rows, best])
        self.angles_, self.bias_ = angles.numpy(), bias.numpy()
        self.loss_curve_ = losses[:, rows, best].mean(1).tolist()
        self.n_iter_ = steps
        return self

    def decision_function(self, X: Any) -> Float64[ndarray, " n *classes"]:
        """``<f> - b``, positive for the second of two classes; a column for each of more."""
        check_is_fitted(self)
        states = self._states(self._new_angles(X))
        with torch.no_grad():
            found = self._circuit().expectation(states, torch.from_numpy(self.angles_))
            scores = self._reading(self._seed)(found).numpy().T - self.bias_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> ndarray:
        """The label by the sign of the decision, or of the circuit with the largest."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def predict_proba(self, X: Any) -> Float64[ndarray, "n classes"]:
        """``p_y = (1 + y (<f> - b)) / 2``, cut to [0, 1]; of several circuits their shares."""
        scores = self.decision_function(X)
        own = ((1 + scores) / 2).clip(0, 1)
        if scores.ndim == 1:
            return np.stack([1 - own, own], 1)
        own = own.clip(1e-12)
        return own / own.sum(1, keepdims=True)

    def _states(self, angles: Float[Tensor, "n d"]) -> Tensor:
        return self.kernel_.states(angles).to(torch.complex128)

    def _circuit(self) -> VariationalCircuit:
        qubits = self.kernel_.feature_map.n_features
        return VariationalCircuit(qubits, self.depth, self.entanglement, self.readout)

    def _reading(self, seed: int) -> Reading:
        bits = self.kernel_.feature_map.n_features if self.readout == "parity" else 1
        return Reading(as_noise(self.noise), bits, self.shots, np.random.default_rng(seed))
