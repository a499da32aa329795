"""How many shots a device needs before its kernel classifies as well as the exact one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars
from jaxtyping import Float64
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.quantum_kernels.device import DeviceNoise
from harmonia.kernels.quantum_kernels.inputs import Inputs
from harmonia.kernels.quantum_kernels.study import with_components
from harmonia.kernels.quantum_kernels.svm import QuantumSVC

SHOTS = (10, 30, 100, 300, 1000, 3000, 10_000, 50_000)
"""Runs of each pair's circuit; the last is the paper's."""


@dataclass(frozen=True)
class ShotsCurve:
    """Accuracy on rows left out.

    Attributes:
        shots: Runs of each circuit.
        accuracy: (shots, repeats), with fresh shots in each.
        negative: Mean share of negative eigenvalues in the measured kernel, before its repair, by shots.
        exact: With the exact kernel of an ideal device.
    """

    shots: tuple[int, ...]
    accuracy: Float64[np.ndarray, "shots repeats"]
    negative: Float64[np.ndarray, " shots"]
    exact: float

    def shots_within(self, loss: float) -> float:
        """The fewest runs from which on the mean accuracy stays within `loss` of the exact one; inf if none do."""
        short = self.accuracy.mean(1) < self.exact - loss - 1e-12
        last = np.flatnonzero(short)
        first = 0 if not len(last) else last[-1] + 1
        return float(self.shots[first]) if first < len(self.shots) else math.inf

    def frame(self) -> polars.DataFrame:
        """One row for each number of shots, and one for the exact kernel."""
        rows = {
            "shots": [*map(float, self.shots), math.inf],
            "accuracy": [*self.accuracy.mean(1), self.exact],
            "standard_deviation": [*self.accuracy.std(1), 0.0],
            "negative_mass": [*self.negative, 0.0],
        }
        return polars.DataFrame(rows)


def accuracy_by_shots(
    data: Inputs, machine: QuantumSVC, noise: DeviceNoise, repeats: int, qubits: int, seed: int
) -> ShotsCurve:
    """Train on kernels measured with ever more shots; half of the rows is left out.

    Arguments:
        data: Inputs and classes.
        machine: Settings, without a device.
        noise: The device.
        repeats: Fresh sets of shots.
        qubits: Columns beyond this number become principal components.
        seed: Of the rows left out and of the shots.

    Raises:
        InputError: a class with a single row.
    """
    if np.unique(data.y, return_counts=True)[1].min() < 2:
        raise InputError("every class needs at least two rows", "one", "Merge it with another class or drop it.")
    x, at, y, truth = train_test_split(data.known, data.y, test_size=0.5, stratify=data.y, random_state=seed)
    qubits = data.qubits(qubits, len(x))

    def fitted(**options: object) -> tuple[float, float]:
        model = with_components(clone(machine).set_params(**options), x.shape[1], qubits, seed).fit(x, y)
        return float(model.score(at, truth)), model[-1].negative_mass_

    accuracy, negative = np.empty((2, len(SHOTS), repeats))
    for row, shots in enumerate(track(SHOTS, "Shots")):
        for k in range(repeats):
            found = fitted(shots=shots, noise=noise, random_state=seed * repeats + k)
            accuracy[row, k], negative[row, k] = found
    return ShotsCurve(SHOTS, accuracy, negative.mean(1), fitted()[0])
