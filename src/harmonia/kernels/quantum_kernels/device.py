"""Kernels as a quantum computer would estimate them: shots, depolarising noise, wrong read-outs, and their mitigation.

The device runs the circuit of z, then that of x backwards, and counts how often it reads only zeros: the kernel is the
probability of that (Havlicek et al. 2019, methods on the kernel estimator).
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.angles import as_angles
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel, refuse_large_matrix

_STRETCH = 1.5
"""By how much noise is stretched to extrapolate to none; as in the paper's device experiment."""

_AT_ONCE = 1 << 22
"""Amplitudes of pair circuits that are held at once."""


@dataclass(frozen=True)
class DeviceNoise:
    """What a device does to a circuit.

    Arguments:
        depolarizing: Probability that the state of a whole circuit is replaced by the maximally mixed one, so that an
            outcome's probability K becomes ``(1 - p) K + p / 2^n``.
        readout: Probability that a bit is read wrongly, the same for all qubits, independently.
        mitigation: ``"none"``; ``"inverse"``: undo both by their known rates; ``"extrapolate"``: undo read-out errors,
            and measure a second time with depolarising noise stretched 1.5 times to extrapolate it away to first
            order, as the paper does, without knowing its rate.

    Raises:
        InputError: a probability outside [0, 1), read-out errors of a half or more, an unknown mitigation.

    Example:
        >>> DeviceNoise(depolarizing=0.1).expected(np.array([1.0, 0.0]), dimension=4).round(6).tolist()
        [0.925, 0.025]
    """

    depolarizing: float = 0.0
    readout: float = 0.0
    mitigation: str = "none"

    def __post_init__(self) -> None:
        for name, most in (("depolarizing", 1.0), ("readout", 0.5)):
            if not 0 <= getattr(self, name) < most:
                raise InputError(
                    f"'{name}' is a probability below {most:g}", getattr(self, name), "Use 0 for an ideal device."
                )
        if self.mitigation not in ("none", "inverse", "extrapolate"):
            raise InputError("no such mitigation", repr(self.mitigation), "Use none, inverse or extrapolate.")

    def expected(
        self, probabilities: Float64[np.ndarray, "*shape"], dimension: int, stretch: float = 1.0
    ) -> Float64[np.ndarray, "*shape"]:
        """Outcomes' probabilities after depolarising noise `stretch` times as long."""
        kept = (1 - self.depolarizing) ** stretch
        return kept * probabilities + (1 - kept) / dimension


def as_noise(noise: float | DeviceNoise) -> DeviceNoise:
    """A device as it is; a number as the depolarising probability."""
    return noise if isinstance(noise, DeviceNoise) else DeviceNoise(depolarizing=float(noise))


def check_shots(shots: int | float | None) -> None:
    """That a circuit is run so often, None standing for exact probabilities.

    Raises:
        InputError: less than one shot, or no whole number of them.
    """
    if shots is not None and not (isinstance(shots, Integral) and shots >= 1):
        what = "a circuit is run at least once, a whole number of times"
        raise InputError(what, f"{shots} shots", "Use e.g. 1000, or None for exact.")


def estimate_kernel(
    kernel: QuantumKernel,
    x: Any,
    z: Any = None,
    *,
    shots: int | None = None,
    noise: float | DeviceNoise = 0.0,
    generator: np.random.Generator,
) -> Float64[np.ndarray, "n m"]:
    """The kernel matrix that a device reports; exact if there are neither shots nor noise.

    Arguments:
        kernel: The exact kernel.
        x: Rows of angles (n, features): a tensor, or numbers that `as_angles` makes one of.
        z: Other rows (m, features); None for the symmetric matrix of `x` with itself, of which every pair is measured
            once and the diagonal, which is known, not at all: it is 1.
        shots: Repetitions of each pair's circuit; None for the probabilities themselves.
        noise: The device, or its depolarising probability.
        generator: Source of the shots.

    Returns:
        Estimates. Unless mitigated they lie in [0, 1]; with shots, those of x with itself are not positive
        semi-definite.

    Raises:
        InputError: less than one shot, what are no rows of angles (see `PauliFeatureMap.state`), or a matrix that does
            not fit into memory.
    """
    check_shots(shots)
    x, z = as_angles(x), None if z is None else as_angles(z)
    for rows in (x,) if z is None else (x, z):
        if rows.ndim != 2:
            raise InputError("a device compares rows of angles", tuple(rows.shape), "Pass (n, features).")
    device, dimension = as_noise(noise), kernel.feature_map.dimension
    symmetric, other = z is None, x if z is None else z
    stretches = (1.0, _STRETCH) if device.mitigation == "extrapolate" else (1.0,)
    measured = []
    with torch.no_grad():
        outcomes = None if not device.readout else _Outcomes(kernel, x, other)
        exact = kernel(x, z).double().clamp(0, 1).cpu().numpy() if outcomes is None else None
        for stretch in stretches:
            if outcomes is None:
                assert exact is not None
                measured.append(_counted(device.expected(exact, dimension, stretch), shots, generator))
            else:
                measured.append(outcomes.estimate(device, shots, stretch, generator))
    found = measured[0]
    if device.mitigation == "inverse":
        kept = 1 - device.depolarizing
        found = (found - (1 - kept) / dimension) / kept
    elif device.mitigation == "extrapolate":
        found = (_STRETCH * measured[0] - measured[1]) / (_STRETCH - 1)  # Richardson: linear in the stretch
    if symmetric:
        upper = np.triu(found, 1)
        found = upper + upper.T + np.eye(len(found))
    return found


@dataclass(frozen=True)
class Reading:
    """Expectations of a product of Z operators as a device reports them; exact and differentiable without shots.

    Arguments:
        noise: The device.
        bits: How many bits are read; a wrong one turns the sign.
        shots: Runs of the circuit; None for exact.
        generator: Source of the shots.

    Raises:
        InputError: less than one shot.

    Example:
        >>> reading = Reading(DeviceNoise(depolarizing=0.5, readout=0.25), 1, None, np.random.default_rng(0))
        >>> reading(torch.tensor([1.0]))
        tensor([0.2500])
    """

    noise: DeviceNoise
    bits: int
    shots: int | None
    generator: np.random.Generator

    def __post_init__(self) -> None:
        check_shots(self.shots)

    def __call__(self, expectation: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What is read of exact expectations."""
        turned = (1 - 2 * self.noise.readout) ** self.bits
        found = self._read(expectation, turned, 1.0)
        if self.noise.mitigation == "none":
            return found
        if self.noise.mitigation == "inverse":
            return found / (turned * (1 - self.noise.depolarizing))
        return (_STRETCH * found - self._read(expectation, turned, _STRETCH)) / ((_STRETCH - 1) * turned)

    def _read(self, expectation: Tensor, turned: float, stretch: float) -> Tensor:
        noisy = expectation * (turned * (1 - self.noise.depolarizing) ** stretch)
        if self.shots is None:
            return noisy
        odds = ((1 + noisy.detach()) / 2).clamp(0, 1).cpu().numpy()
        return torch.from_numpy(2 * _counted(odds, self.shots, self.generator) - 1).to(expectation)


def _counted(
    probabilities: Float64[np.ndarray, "*shape"], shots: int | None, generator: np.random.Generator
) -> Float64[np.ndarray, "*shape"]:
    return probabilities if shots is None else generator.binomial(shots, probabilities) / shots


@dataclass(frozen=True)
class _Outcomes:
    """All outcomes of every pair's circuit, where bits may be read wrongly."""

    kernel: QuantumKernel
    x: Tensor
    z: Tensor

    def estimate(
        self, device: DeviceNoise, shots: int | None, stretch: float, generator: np.random.Generator
    ) -> Float64[np.ndarray, "n m"]:
        refuse_large_matrix(len(self.x), len(self.z))
        dimension = self.kernel.feature_map.dimension
        psi = self.kernel.states(self.z)
        wrong = _weights(dimension, 1 - device.readout, device.readout)
        scale = 1 - 2 * device.readout
        undone = _weights(dimension, (1 - device.readout) / scale, -device.readout / scale)
        rows = max(1, _AT_ONCE // (len(self.z) * dimension))
        found = []
        for start in range(0, len(self.x), rows):
            angles = self.kernel.angles(self.x[start : start + rows])
            pairs = len(angles), len(self.z)
            amplitudes = self.kernel.feature_map.undo(
                psi.expand(*pairs, dimension), angles[:, None].expand(*pairs, angles.shape[1])
            )
            share = device.expected(amplitudes.abs().square().double().cpu().numpy(), dimension, stretch)
            if device.mitigation == "none":
                found.append(_counted((share @ wrong).clip(0, 1), shots, generator))
            else:
                read = _flipped(share, device.readout)
                if shots is not None:
                    read = generator.multinomial(shots, read / read.sum(-1, keepdims=True)) / shots
                found.append(read @ undone)
        return np.concatenate(found)


def _weights(dimension: int, zero: float, one: float) -> Float64[np.ndarray, " dimension"]:
    """``zero`` for each bit that is 0 times ``one`` for each that is 1."""
    weights = np.ones(1)
    while len(weights) < dimension:
        weights = np.concatenate([zero * weights, one * weights])
    return weights


def _flipped(
    probabilities: Float64[np.ndarray, "*batch dimension"], rate: float
) -> Float64[np.ndarray, "*batch dimension"]:
    """Outcomes as they are read, when every bit flips with probability `rate`."""
    dimension = probabilities.shape[-1]
    width = 1
    while width < dimension:
        bits = probabilities.reshape(*probabilities.shape[:-1], -1, 2, width)
        probabilities = ((1 - rate) * bits + rate * bits[..., ::-1, :]).reshape(probabilities.shape)
        width *= 2
    return probabilities
