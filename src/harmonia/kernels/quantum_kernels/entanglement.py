"""Which qubits a feature map couples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from harmonia.core.errors import InputError

Entanglement = str | Sequence[tuple[int, ...]]
"""``"full"``: every pair; ``"linear"``: neighbours; ``"reverse_linear"``: those backwards; ``"circular"``: a ring;
``"sca"``: a ring that moves on at each repetition; ``"pairwise"``: even, then odd pairs; or a list of pairs."""

_PATTERNS = ("full", "linear", "reverse_linear", "circular", "sca", "pairwise")


def coupled(n_qubits: int, size: int, entanglement: Entanglement, repetition: int = 0) -> list[tuple[int, ...]]:
    """Sets of `size` qubits that are coupled, in the order of their gates.

    Arguments:
        n_qubits: Number of qubits.
        size: Qubits in a set; 1 gives every qubit once.
        entanglement: The pattern, or the sets themselves, of which those of this size count.
        repetition: Which one it is, from 0; only ``"sca"`` asks.

    Raises:
        InputError: an unknown pattern, or sets that name qubits that are not there.

    Example:
        >>> coupled(3, 2, "linear"), coupled(3, 2, "circular")
        ([(0, 1), (1, 2)], [(2, 0), (0, 1), (1, 2)])
    """
    if not isinstance(entanglement, str):
        return _given(n_qubits, size, entanglement)
    if entanglement not in _PATTERNS or (entanglement == "pairwise" and size > 2):
        raise InputError(
            "no such entanglement",
            f"{entanglement!r} for sets of {size}",
            "Use full, linear, reverse_linear, circular, sca, pairwise (of pairs), or a list of pairs.",
        )
    if size > n_qubits:
        return []
    if size == 1:
        return [(qubit,) for qubit in range(n_qubits)]
    if entanglement == "full":
        return list(combinations(range(n_qubits), size))
    line = [tuple(range(start, start + size)) for start in range(n_qubits - size + 1)]
    if entanglement == "linear":
        return line
    if entanglement == "reverse_linear":
        return line[::-1]
    if entanglement == "pairwise":
        return line[::2] + line[1::2]
    around = range(n_qubits - size + 1, n_qubits) if n_qubits > size else ()
    ring = [tuple(qubit % n_qubits for qubit in range(start, start + size)) for start in around] + line
    if entanglement == "circular":
        return ring
    turn = repetition % len(ring)
    moved = ring[len(ring) - turn :] + ring[: len(ring) - turn]
    return [one[::-1] for one in moved] if repetition % 2 else moved


def _given(n_qubits: int, size: int, sets: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    found = [tuple(int(qubit) for qubit in one) for one in sets]
    for one in found:
        if len(set(one)) < len(one) or not all(0 <= qubit < n_qubits for qubit in one):
            raise InputError(
                f"a coupling names distinct qubits from 0 to {n_qubits - 1}", one, "Correct the entanglement."
            )
    chosen = [one for one in found if len(one) == size]
    return chosen or [(qubit,) for qubit in range(n_qubits)] if size == 1 else chosen
