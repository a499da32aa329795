"""Data as quantum states: feature maps and their exact simulation, all rows at once.

A feature map with Z rotations alone is a product of diagonal matrices between Hadamard gates. Nothing is simulated gate
by gate then: the phases of all 2^n amplitudes are a Walsh-Hadamard transform of the data's few coefficients, and the
Hadamard gates on all qubits are another. Qubit i is bit i of the index of an amplitude (little-endian).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float, Float64, Real
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.angles import as_angles
from harmonia.kernels.quantum_kernels.entanglement import Entanglement, coupled
from harmonia.parts.gram import refuse_too_large, walsh_hadamard

if TYPE_CHECKING:
    from harmonia.kernels.quantum_kernels.device import DeviceNoise

DataMap = Callable[[Tensor], Tensor]

MOST_QUBITS = {"cpu": 20, "cuda": 24}
"""More are refused: 2^20 amplitudes of one row are 16 MiB."""

_LARGEST = 1e12
"""Radians; of larger angles float64 keeps less than four digits of the phase."""

_AT_ONCE = 1 << 17
"""Amplitudes that a processor works on at once: few calls, and little memory besides the states themselves."""


class Rotations(NamedTuple):
    """Rotations ``exp(-i angle P)`` by Pauli strings of one kind, each on its own set of qubits.

    Attributes:
        sets: The qubits, whose features make the angle.
        flips: Bits of the index that each string flips: where its X and Y are.
        signs: Bits of the index that decide the sign: where its Y and Z are.
        ys: Number of Y in the string.
    """

    sets: tuple[tuple[int, ...], ...]
    flips: tuple[int, ...]
    signs: tuple[int, ...]
    ys: int

    @property
    def is_diagonal(self) -> bool:
        return not any(self.flips)


@dataclass(frozen=True)
class PauliFeatureMap:
    """States ``|Phi(x)> = (U(x) H)^reps |0>`` with ``U(x) = prod_S exp(-i alpha/2 phi_S(x) prod_{i in S} P_i)``.

    Havlicek et al. 2019, eq. (2) of the main text, in the convention of qiskit: with ``alpha = 2`` up to a global
    phase its circuit ``P(alpha phi_S)``. The paper writes ``exp(+i ...)``, which is the complex conjugate state for
    strings of Z: every kernel and every probability of a classifier is the same.

    Arguments:
        n_features: Features, and as many qubits.
        reps: How often the layer of Hadamard gates and rotations is repeated; 2 in the paper.
        entanglement: Which qubits are coupled, see `coupled`.
        data_map: ``phi_S`` of the values of the features in S, (..., sets, |S|) to (..., sets). By default ``x_i`` for
            one feature and ``prod (pi - x_i)`` for more.
        alpha: Factor of all angles.
        paulis: Strings of X, Y, Z in the order of their gates; the first letter acts on the last qubit of a set. A
            single feature has no pairs, for which a string of two is passed over.

    Raises:
        InputError: no features or too many, no repetition, a string of other letters or of more letters than
            features, no rotation at all, or an alpha that is not finite.

    References:
        V. Havlicek, A. D. Corcoles, K. Temme, A. W. Harrow, A. Kandala, J. M. Chow, J. M. Gambetta: Supervised
        learning with quantum enhanced feature spaces, Nature 567, 2019, https://arxiv.org/abs/1804.11326

    Example:
        >>> states = PauliFeatureMap(3, paulis=("Z", "YY")).state(torch.rand(5, 3, dtype=torch.float64))
        >>> states.shape, round(float(states.abs().square().sum(1).mean()), 12)
        (torch.Size([5, 8]), 1.0)
    """

    n_features: int
    reps: int = 2
    entanglement: Entanglement = "full"
    data_map: DataMap | None = None
    alpha: float = 2.0
    paulis: Sequence[str] = ("Z", "ZZ")

    def __post_init__(self) -> None:
        if self.n_features < 1:
            raise InputError("a feature map has a feature", f"{self.n_features} features", "Pass one for each qubit.")
        if self.n_features > MOST_QUBITS["cuda"]:
            raise _too_many(self.n_features, 1)
        if self.reps < 1:
            raise InputError("a feature map is repeated at least once", self.reps, "Use reps=2, as in the paper.")
        if not math.isfinite(self.alpha):
            raise InputError("the factor of all angles is finite", f"alpha={self.alpha}", "Use 2, as in the paper.")
        if isinstance(self.paulis, str):
            raise InputError("Pauli strings are given as a tuple", repr(self.paulis), f'Use ("{self.paulis}",).')
        for string in self.paulis:
            if not string or set(string) - set("XYZ"):
                raise InputError("a Pauli string consists of X, Y and Z", repr(string), 'Use e.g. ("Z", "ZZ").')
            if len(string) > max(2, self.n_features):  # pairs are passed over: the paper's map serves one feature
                got = f"{string!r} for {self.n_features} features"
                raise InputError("a Pauli string has no more letters than there are features", got, "Shorten it.")
        if not any(rotations.sets for layer in self._layers for group in layer for rotations in group):
            raise InputError("a feature map without rotations tells no rows apart", self.paulis, 'Use ("Z", "ZZ").')

    @cached_property
    def _layers(self) -> list[list[tuple[Rotations, ...]]]:
        """Of each repetition: groups of diagonal rotations, which commute, and single ones of other kinds."""
        layers = []
        for rep in range(self.reps):
            rotations = [self._rotations(string, rep) for string in self.paulis]
            layers.append([tuple(group) for _, group in groupby(rotations, lambda r: r.is_diagonal or id(r))])
        return layers

    def _rotations(self, string: str, rep: int) -> Rotations:
        sets = coupled(self.n_features, len(string), self.entanglement, rep)

        def bits(kinds: str) -> tuple[int, ...]:
            return tuple(sum(1 << q for q, letter in zip(one, string[::-1]) if letter in kinds) for one in sets)

        return Rotations(tuple(sets), bits("XY"), bits("YZ"), string.count("Y"))

    @property
    def dimension(self) -> int:
        """Amplitudes of a state: 2^n."""
        return 1 << self.n_features

    def state(self, x: Real[Tensor, "*batch features"]) -> Complex[Tensor, "*batch amplitudes"]:
        """The states of rows of angles, differentiable.

        Arguments:
            x: Angles in radians. Of float32 rows the amplitudes are complex64; their phases, which reach thousands of
                radians, are always summed in float64. Rows of other real kinds become float64.

        Raises:
            InputError: no rows, another number of features, angles that are not finite or beyond 1e12 radians, or
                states that do not fit into memory.
        """
        x = self._checked(x)
        rows = max(1, _AT_ONCE // self.dimension)
        if x.ndim == 2 and len(x) > rows and x.device.type == "cpu":
            return torch.cat([self._state(block) for block in x.split(rows)])
        return self._state(x)

    def _state(self, x: Tensor) -> Tensor:
        uniform = _complex(torch.tensor(self.dimension**-0.5, dtype=x.dtype, device=x.device))
        psi = uniform.expand(*x.shape[:-1], self.dimension)
        phases: dict[tuple[Rotations, ...], Tensor] = {}
        for rep, layer in enumerate(self._layers):
            psi = walsh_hadamard(psi, orthonormal=True) if rep else psi
            for group in layer:
                psi = self._rotate(psi, x, group, phases)
        return psi

    def undo(
        self, psi: Complex[Tensor, "*batch amplitudes"], x: Real[Tensor, "*batch features"]
    ) -> Complex[Tensor, "*batch amplitudes"]:
        """The inverse circuit ``((U(x) H)^reps)^dagger psi``: of ``state(x)`` it gives ``|0>``.

        What a device runs to estimate a kernel: `|<0| undo(state(z), x)>|^2 = k(x, z)`.
        """
        x = self._checked(x)
        phases: dict[tuple[Rotations, ...], Tensor] = {}
        for layer in reversed(self._layers):
            for group in reversed(layer):
                psi = self._rotate(psi, x, group, phases, inverse=True)
            psi = walsh_hadamard(psi, orthonormal=True)
        return psi

    def kernel(
        self,
        X: Any,
        Y: Any = None,
        shots: int | None = None,
        noise: float | DeviceNoise = 0.0,
        random_state: int | np.random.Generator | None = None,
    ) -> Float64[np.ndarray, "n m"]:
        """The kernel ``|<Phi(x)|Phi(y)>|^2`` of arrays, exact or as a device estimates it, see `estimate_kernel`.

        For tensors, gradients and bandwidths take `QuantumKernel`.

        Arguments:
            X: Angles in radians (n, features), of any real kind.
            Y: Others (m, features); None for the symmetric matrix of X with itself.
            shots, noise: As of `estimate_kernel`.
            random_state: Seed or generator of the shots.

        Raises:
            InputError: as of `state` and `estimate_kernel`.

        Example:
            >>> X = np.array([[0.5, 1.0], [2.0, 3.0]])
            >>> ZZFeatureMap(2).kernel(X, shots=100, random_state=0)
            array([[1.  , 0.54],
                   [0.54, 1.  ]])
        """
        from harmonia.kernels.quantum_kernels.device import estimate_kernel
        from harmonia.kernels.quantum_kernels.kernel import QuantumKernel

        return estimate_kernel(
            QuantumKernel(self), X, Y, shots=shots, noise=noise, generator=np.random.default_rng(random_state)
        )

    def _rotate(
        self,
        psi: Tensor,
        x: Tensor,
        group: tuple[Rotations, ...],
        phases: dict[tuple[Rotations, ...], Tensor],
        inverse: bool = False,
    ) -> Tensor:
        """Apply a group; `phases` keeps those of diagonal groups for the next repetition."""
        if group[0].is_diagonal:
            if group not in phases:
                phases[group] = self._phases(x, group)
            return (phases[group].conj() if inverse else phases[group]) * psi
        [rotations] = group
        index = torch.arange(self.dimension, device=x.device)
        angles = (-1.0 if inverse else 1.0) * self._angles(x, rotations)
        order = range(len(rotations.sets))
        for k in reversed(order) if inverse else order:
            source = index ^ rotations.flips[k]
            sign = _parity_sign(source & rotations.signs[k]).to(x.dtype)
            cosine, sine = (value.to(x.dtype)[..., k, None] for value in (angles.cos(), angles.sin()))
            psi = cosine * psi + (-1j * 1j**rotations.ys) * sine * sign * psi[..., source]  # exp(-i a P) = c - i s P
        return psi

    def _phases(self, x: Tensor, group: tuple[Rotations, ...]) -> Tensor:
        """``exp(-i sum_S angle_S prod_{i in S} s_i(b))``: the sum over S is a Walsh-Hadamard transform of angles."""
        coefficients = x.new_zeros(*x.shape[:-1], self.dimension, dtype=torch.float64)
        for rotations in group:
            index = torch.tensor(rotations.signs, device=x.device, dtype=torch.long)
            coefficients = coefficients.index_add(-1, index, self._angles(x, rotations))
        theta = walsh_hadamard(coefficients)
        return torch.complex(theta.cos().to(x.dtype), -theta.sin().to(x.dtype))

    def _angles(self, x: Tensor, rotations: Rotations) -> Float[Tensor, "*batch sets"]:
        """``alpha / 2 phi_S(x)`` for every set, in float64."""
        if not rotations.sets:
            return x.new_zeros(*x.shape[:-1], 0, dtype=torch.float64)
        columns = x.double()[..., torch.tensor(rotations.sets, device=x.device)]
        angles = (self.alpha / 2) * (self.data_map or paper_data_map)(columns)
        if not torch._C._are_functorch_transforms_active():  # under vmap values cannot be looked at
            _refuse_lost_phases(angles)
        return angles

    def _checked(self, x: Any) -> Tensor:
        x = as_angles(x)
        if x.ndim < 1 or x.shape[-1] != self.n_features:
            raise InputError(
                f"the feature map takes {self.n_features} features", tuple(x.shape), "Pass one column for each qubit."
            )
        rows = x[..., 0].numel()
        needed = 2 * rows * self.dimension * _complex(x[..., :0]).dtype.itemsize
        if self.n_features > MOST_QUBITS.get(x.device.type, MOST_QUBITS["cpu"]):
            raise _too_many(self.n_features, rows)
        if x.device.type == "cpu":
            what = f"a table of {rows} states of {self.n_features} qubits"
            refuse_too_large(what, needed, "Pass fewer rows at once, or fewer features, e.g. principal components.")
        return x


@dataclass(frozen=True)
class ZZFeatureMap(PauliFeatureMap):
    """The paper's feature map: rotations about Z by every feature, about ZZ by every coupled pair.

    Example:
        >>> x = torch.tensor([[0.5, 1.0], [2.0, 3.0]], dtype=torch.float64)
        >>> ZZFeatureMap(2).state(x).shape
        torch.Size([2, 4])
    """

    paulis: tuple[str, ...] = field(default=("Z", "ZZ"), init=False)


@dataclass(frozen=True)
class ZFeatureMap(PauliFeatureMap):
    """Rotations about Z alone: no entanglement, and with one repetition the kernel ``prod_i cos^2(x_i - z_i)``.

    Example:
        >>> psi = ZFeatureMap(1, reps=1).state(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
        >>> bool((psi[0].conj() @ psi[1]).abs() ** 2 - math.cos(1.0) ** 2 < 1e-15)
        True
    """

    paulis: tuple[str, ...] = field(default=("Z",), init=False)


def paper_data_map(values: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
    """``phi_S``: the feature itself, or ``prod_{i in S} (pi - x_i)`` (end of the main text's second page)."""
    return values[..., 0] if values.shape[-1] == 1 else (math.pi - values).prod(-1)


def _parity_sign(index: Tensor) -> Tensor:
    """-1 where the number of set bits is odd."""
    for shift in (16, 8, 4, 2, 1):
        index = index ^ (index >> shift)
    return 1 - 2 * (index & 1)


def _complex(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.complex64))


def _refuse_lost_phases(angles: Tensor) -> None:
    largest = float(angles.detach().abs().max())
    if not largest <= _LARGEST:
        raise InputError(
            f"angles of a feature map are finite and at most {_LARGEST:g} radians, beyond which they lose their phase",
            f"{largest:g}",
            "Check the features for NaN and infinity, or scale them to [0, 2 pi].",
        )


def _too_many(qubits: int, rows: int) -> InputError:
    gib = rows * 2.0**qubits * 16 / 2**30
    return InputError(
        f"at most {MOST_QUBITS['cpu']} qubits are simulated on a processor and {MOST_QUBITS['cuda']} on a GPU: "
        "every further one doubles time and memory",
        f"{qubits} features; states of {gib:.3g} GiB",
        "Use fewer features, e.g. principal components.",
    )
