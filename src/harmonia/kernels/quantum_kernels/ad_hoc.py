"""The paper's artificial data: labels made by the feature map itself, so that its kernel can separate them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex128, Float64, Int64
from scipy.stats import unitary_group

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.angles import as_angles
from harmonia.kernels.quantum_kernels.circuit import readout_signs
from harmonia.kernels.quantum_kernels.feature_maps import PauliFeatureMap, ZZFeatureMap

_DRAWN_AT_ONCE = 1024
_MOST_DRAWN = 1 << 18
"""Points after which a gap is called too wide: then fewer than one in some ten thousand lies outside."""


@dataclass(frozen=True)
class AdHocProblem:
    """Labels ``sign <Phi(x)|V^dagger f V|Phi(x)>`` with the parity f and a random unitary V, where that exceeds a gap.

    Arguments:
        feature_map: Of the states.
        observable: ``V^dagger f V``, Hermitian.
        gap: Points whose expectation is not larger are not drawn.
    """

    feature_map: PauliFeatureMap
    observable: Complex128[np.ndarray, "d d"]
    gap: float = 0.3

    @classmethod
    def random(
        cls,
        n_qubits: int = 2,
        gap: float = 0.3,
        *,
        convention: str = "haar",
        generator: np.random.Generator,
    ) -> AdHocProblem:
        """Draw V.

        Arguments:
            n_qubits: Qubits and features.
            gap: Smallest absolute expectation of a point, in [0, 1).
            convention: ``"haar"``: V is uniform over all unitaries, as the paper says. ``"qiskit"``: V holds the
                eigenvectors of ``A^dagger A`` where the entries of A are uniform in the unit square, so the first is
                close to the uniform superposition and ``|0..0>`` always near the boundary; with the same generator it
                is the V of ``ad_hoc_data``.
            generator: Source of V.
        """
        if not 0 <= gap < 1:
            raise InputError("the gap is a number from 0 to below 1", gap, "Use 0.3, as in the paper.")
        feature_map = ZZFeatureMap(n_qubits)
        size = feature_map.dimension
        signs = readout_signs(n_qubits, "parity").numpy()
        if convention == "haar":
            v = unitary_group.rvs(size, random_state=generator)
            observable = v.conj().T @ (signs[:, None] * v)
        elif convention == "qiskit":
            a = generator.random((size, size)) + 1j * generator.random((size, size))
            values, v = np.linalg.eig(a.conj().T @ a)  # not eigh: the phases of its columns are part of V
            v = v[:, values.argsort()[::-1]]
            # Its states are conjugates of ours, and its first qubit is the highest bit.
            turned = np.arange(size).reshape([2] * n_qubits).T.ravel()
            observable = (v.conj().T @ (signs[:, None] * v)).conj()[turned][:, turned]
        else:
            raise InputError("no such convention", repr(convention), "Use 'haar' or 'qiskit'.")
        return cls(feature_map, observable, gap)

    def expectation(self, X: Any) -> Float64[np.ndarray, " n"]:
        """``<Phi(x)|V^dagger f V|Phi(x)>``, between -1 and 1, of rows (n, features); its sign is the label."""
        psi = self.feature_map.state(as_angles(X)).numpy()
        return np.einsum("na,ab,nb->n", psi.conj(), self.observable, psi, optimize=True).real

    def sample(
        self, per_label: int, generator: np.random.Generator
    ) -> tuple[Float64[np.ndarray, "n features"], Int64[np.ndarray, " n"]]:
        """Points uniform on (0, 2 pi]^n outside the gap, `per_label` of each label -1 and 1, in random order.

        Raises:
            InputError: a gap that hardly any point exceeds.
        """
        found: dict[int, list[np.ndarray]] = {-1: [], 1: []}
        counts = dict.fromkeys(found, 0)
        drawn = 0
        while min(counts.values()) < per_label:
            if drawn >= _MOST_DRAWN:
                raise InputError(
                    f"a gap of {self.gap:g} is too wide for {self.feature_map.n_features} qubits",
                    f"{min(counts.values())} of {per_label} points of a label in {drawn} draws",
                    "Expectations are about 2^(-n/2); use a smaller gap or fewer qubits.",
                )
            x = 2 * np.pi * (1 - generator.random((_DRAWN_AT_ONCE, self.feature_map.n_features)))
            value = self.expectation(x)
            for label, rows in found.items():
                rows.append(x[label * value > self.gap])
                counts[label] += len(rows[-1])
            drawn += len(x)
        X = np.concatenate([np.concatenate(found[label])[:per_label] for label in (-1, 1)])
        y = np.repeat(np.array([-1, 1]), per_label)
        order = generator.permutation(len(y))
        return X[order], y[order]


def make_ad_hoc(
    n_samples: int = 100,
    n_qubits: int = 2,
    gap: float = 0.3,
    random_state: int | np.random.Generator | None = None,
    convention: str = "haar",
) -> tuple[Float64[np.ndarray, "n features"], Int64[np.ndarray, " n"]]:
    """Points and labels of a problem drawn at random, half of each label; split them for a test set.

    Arguments:
        n_samples: Points; one more where it is odd.
        n_qubits: Qubits and features.
        gap: Smallest absolute expectation of a point.
        random_state: Seed or generator of the problem and of the points.
        convention: See `AdHocProblem.random`.

    Example:
        >>> X, y = make_ad_hoc(6, random_state=0)
        >>> X.shape, sorted(y.tolist())
        ((6, 2), [-1, -1, -1, 1, 1, 1])
    """
    if n_samples < 2:
        raise InputError("there is at least one point of each label", n_samples, "Ask for two or more.")
    generator = np.random.default_rng(random_state)
    problem = AdHocProblem.random(n_qubits, gap, convention=convention, generator=generator)
    return problem.sample((n_samples + 1) // 2, generator)
