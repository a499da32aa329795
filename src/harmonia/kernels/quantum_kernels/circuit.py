"""The variational circuit behind a feature map, simulated for many parameters and all rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.entanglement import Entanglement, coupled

_MOST_KEPT = 1 << 30
"""Bytes of intermediate states above which backward passes compute them again, layer by layer."""


@dataclass(frozen=True)
class VariationalCircuit:
    """``W = U_l C U_(l-1) C ... C U_0`` with ``U = prod_m exp(i z_m Z_m / 2) exp(i y_m Y_m / 2)`` and CZ gates C.

    Havlicek et al. 2019, the separator of the variational classifier.

    Arguments:
        n_qubits: Number of qubits n.
        depth: Number l of entangling layers; 0 leaves single-qubit rotations.
        entanglement: Which pairs a layer of CZ gates couples, see `coupled`.
        readout: ``"parity"``: ``f = prod_i Z_i``; ``"last"``: the Z of qubit 0 alone, the last bit of the string that
            is read.

    Example:
        >>> circuit = VariationalCircuit(2, depth=1)
        >>> states = torch.eye(4, dtype=torch.complex128)
        >>> circuit.expectation(states, torch.zeros(circuit.shape, dtype=torch.float64))
        tensor([ 1., -1., -1.,  1.], dtype=torch.float64)
    """

    n_qubits: int
    depth: int = 2
    entanglement: Entanglement = "full"
    readout: str = "parity"

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise InputError("the depth of a circuit is not negative", self.depth, "Use 0 to 4, as in the paper.")
        readout_signs(1, self.readout)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the angles: layers, qubits, (z, y)."""
        return self.depth + 1, self.n_qubits, 2

    def expectation(
        self, states: Complex[Tensor, "rows amplitudes"], angles: Float[Tensor, "*batch layers qubits 2"]
    ) -> Float[Tensor, "*batch rows"]:
        """``<psi| W^dagger f W |psi>``, between -1 and 1, for every row and every set of angles."""
        if angles.shape[-3:] != self.shape:
            raise InputError("the angles do not fit the circuit", tuple(angles.shape), f"Pass (..., {self.shape}).")
        size = states.shape[-1]
        signs = readout_signs(self.n_qubits, self.readout).to(states.device, angles.dtype)
        if len(states) <= size:
            psi = self._evolve(states, angles)
        else:  # fewer basis states than rows: build W^T itself
            psi = states @ self._evolve(torch.eye(size, dtype=states.dtype, device=states.device), angles)
        return torch.view_as_real(psi).square().sum(-1) @ signs

    def _evolve(self, psi: Tensor, angles: Tensor) -> Tensor:
        kept = psi.numel() * angles[..., 0, 0, 0].numel() * psi.dtype.itemsize * self.n_qubits * (self.depth + 1)
        entangle = self._entangle(psi)
        for layer in range(self.depth + 1):
            # The last rotations about Z do not move a read-out along Z.
            arguments = psi, angles[..., layer, :, :], None if layer == self.depth else entangle
            if torch.is_grad_enabled() and angles.requires_grad and kept > _MOST_KEPT:
                psi = checkpoint(self._layer, *arguments, use_reentrant=False)
            else:
                psi = self._layer(*arguments)
        return psi

    def _layer(self, psi: Tensor, angles: Tensor, entangle: tuple[Tensor, Tensor] | None) -> Tensor:
        cosine, sine = (angles[..., 1] / 2).cos(), (angles[..., 1] / 2).sin()
        for qubit in range(self.n_qubits):
            c, s = (value[..., qubit, None, None, None] for value in (cosine, sine))
            pairs = psi.unflatten(-1, (-1, 2, 1 << qubit))
            zero, one = pairs[..., 0, :], pairs[..., 1, :]
            psi = torch.stack([c * zero + s * one, c * one - s * zero], -2).flatten(-3)
        if entangle is None:
            return psi
        halves, signs = entangle
        turns = angles[..., 0] @ halves
        return psi * torch.complex(signs * turns.cos(), signs * turns.sin())[..., None, :]

    def _entangle(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Half the eigenvalues of every Z (qubits, amplitudes), and the diagonal of all CZ gates together."""
        index = torch.arange(psi.shape[-1], device=psi.device)
        bits = torch.stack([(index >> qubit) & 1 for qubit in range(self.n_qubits)])
        together = torch.zeros_like(index)
        for i, j in coupled(self.n_qubits, 2, self.entanglement):
            together = together + bits[i] * bits[j]
        real = psi.real.dtype
        return (0.5 - bits.to(real)), (1 - 2 * (together % 2)).to(real)


def readout_signs(n_qubits: int, readout: str) -> Float[Tensor, " amplitudes"]:
    """The diagonal of the observable that is read.

    Example:
        >>> readout_signs(2, "parity"), readout_signs(2, "last")
        (tensor([ 1., -1., -1.,  1.], dtype=torch.float64), tensor([ 1., -1.,  1., -1.], dtype=torch.float64))
    """
    if readout not in ("parity", "last"):
        raise InputError("no such read-out", repr(readout), "Use 'parity' or 'last'.")
    flip = torch.tensor([1.0, -1.0], dtype=torch.float64)
    signs = flip
    for _ in range(n_qubits - 1):
        signs = torch.cat([signs, -signs if readout == "parity" else signs])
    return signs
