"""The quantum kernel estimator: a support vector machine on the kernel of states, exact or from shots."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from sklearn.base import ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.base import QuantumClassifier
from harmonia.kernels.quantum_kernels.device import check_shots, estimate_kernel
from harmonia.kernels.quantum_kernels.diagnostics import concentration_of
from harmonia.parts.gram import nearest_psd, refuse_too_large


class QuantumSVC(ClassifierMixin, QuantumClassifier):
    """A support vector machine with the kernel ``|<Phi(x)|Phi(z)>|^2``, one against one for more than two classes.

    Havlicek et al. 2019, the quantum kernel estimator. With `shots` the kernel is estimated as a device would: for
    training every pair once, for a prediction only pairs with the support vectors.

    Arguments:
        C: Penalty of the margin. The default leaves practically none inside, right for noiseless separable data as the
            paper's; tune it, and the bandwidth, on other data.
        feature_map: ``"zz"``: the paper's; ``"z"``: without entanglement; or a `PauliFeatureMap`, or a function that
            makes one for a number of features.
        reps: Repetitions of a named feature map.
        entanglement: Which qubits a named feature map couples, see `coupled`.
        bandwidth: Factor of all angles after scaling, or one for each feature; 0.1 to 1.
        scaling: ``"minmax"``: every feature is scaled to [0, 2 pi]; None: features are angles in radians.
        shots: Runs of the circuit for each pair; None for the exact kernel.
        noise: The device: a `DeviceNoise`, or the depolarising probability of a circuit.
        psd: ``"clip"``: a kernel from shots is replaced by the nearest positive semi-definite one; ``"none"``: used as
            it is, though training may then not converge.
        class_weight: As of `sklearn.svm.SVC`.
        random_state: Of the shots. Predictions of one fitted model repeat; for fresh shots fit with another seed.

    Attributes:
        classes_: Labels.
        kernel_: The exact `QuantumKernel`.
        svc_: The fitted `sklearn.svm.SVC` on the kernel matrix.
        support_angles_: Angles of the support vectors.
        negative_mass_: Share of the absolute eigenvalues of the measured kernel that are negative; 0 if it is exact.

    Example:
        >>> from harmonia.kernels.quantum_kernels import make_ad_hoc
        >>> X, y = make_ad_hoc(240, random_state=0)
        >>> model = QuantumSVC(scaling=None).fit(X[:40], y[:40])
        >>> bool(model.score(X[40:], y[40:]) > 0.97)
        True
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        C=1e4,
        *,
        feature_map="zz",
        reps=2,
        entanglement="full",
        bandwidth=1.0,
        scaling="minmax",
        shots=None,
        noise=0.0,
        psd="clip",
        class_weight=None,
        random_state=None,
    ):
        self.C = C
        self.feature_map = feature_map
        self.reps = reps
        self.entanglement = entanglement
        self.bandwidth = bandwidth
        self.scaling = scaling
        self.shots = shots
        self.noise = noise
        self.psd = psd
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> QuantumSVC:
        """Measure the kernel and train the machine.

        Arguments:
            X: ``(n, features)``; as many qubits as features.
            y: ``(n,)`` labels of any kind.

        Raises:
            InputError: settings that cannot be used, or more features or rows than are simulated.
        """
        if self.psd not in ("clip", "none"):
            raise InputError("no such repair", repr(self.psd), "Use 'clip' or 'none'.")
        check_shots(self.shots)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        angles = self._fit_kernel(X)
        generator = check_random_state(self.random_state)
        seed, self._seed = generator.randint(2**31, size=2).tolist()
        matrix = self._measured(angles, None, seed)
        self._warn_if_concentrated(matrix)
        self.negative_mass_ = 0.0
        if self.shots is not None or self.noise:
            values = np.linalg.eigvalsh(matrix)
            self.negative_mass_ = float(-values[values < 0].sum() / np.abs(values).sum())
            matrix = nearest_psd(torch.from_numpy(matrix)).numpy() if self.psd == "clip" else matrix
        self.svc_ = SVC(C=self.C, kernel="precomputed", class_weight=self.class_weight).fit(matrix, y)
        self.classes_ = self.svc_.classes_
        self._rows = len(X)
        self.support_angles_ = angles[self.svc_.support_]
        return self

    def decision_function(self, X: Any) -> Float64[ndarray, " n *classes"]:
        """Distance from the boundary, positive for the second of two classes; a column for each of more."""
        matrix = self._against_training(X)
        return self.svc_.decision_function(matrix)

    def predict(self, X: Any) -> ndarray:
        """Labels."""
        matrix = self._against_training(X)
        return self.svc_.predict(matrix)

    def _against_training(self, X: Any) -> Float64[ndarray, "m n"]:
        """The kernel with the support vectors; 0 stands for all other training rows, which do not count."""
        check_is_fitted(self)
        angles = self._new_angles(X)
        what = f"the kernel of {len(angles)} rows with {self._rows} training rows"
        refuse_too_large(what, 8 * len(angles) * self._rows, "Predict fewer rows at once.")
        matrix = np.zeros((len(angles), self._rows))
        matrix[:, self.svc_.support_] = self._measured(angles, self.support_angles_, self._seed)
        return matrix

    def _measured(self, x: Any, z: Any, seed: int) -> Float64[ndarray, "n m"]:
        generator = np.random.default_rng(seed)
        return estimate_kernel(self.kernel_, x, z, shots=self.shots, noise=self.noise, generator=generator)

    def _warn_if_concentrated(self, matrix: Float64[ndarray, "n n"]) -> None:
        if len(matrix) > 1 and (found := concentration_of(matrix, self.kernel_.feature_map.dimension)).concentrated:
            warnings.warn(
                f"the kernel is concentrated: rows overlap by {found.mean:.2g} on average, hardly more than random "
                "states; use a smaller bandwidth or fewer features",
                stacklevel=3,
            )
