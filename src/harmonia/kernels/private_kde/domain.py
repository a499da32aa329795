"""Where private rows may lie: a box or a ball, known to the public before any data are seen."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float64

from harmonia.core.errors import InputError

_PUBLIC = "bounds must come from public knowledge, never from the private rows"
_LARGEST = 1e50


@dataclass(frozen=True, eq=False)
class Domain:
    """A box ``lower <= x <= upper``, or the ball in it.

    Attributes:
        lower, upper: Corners of the box.
        radius: Of the ball; of a box the distance of its corners from the centre.
    """

    lower: Float64[np.ndarray, " d"]
    upper: Float64[np.ndarray, " d"]
    radius: float

    @classmethod
    def of(cls, bounds: Any, columns: int) -> Domain:
        """From what a user gives: one number, the radius of a ball around 0; or (lower, upper), numbers or vectors.

        Raises:
            InputError: no bounds, or bounds that are not finite, huge, or leave no room.

        Example:
            >>> Domain.of((0, [1.0, 2.0]), 2).widths.tolist(), Domain.of(2.0, 3).upper.tolist()
            ([1.0, 2.0], [2.0, 2.0, 2.0])
        """
        if bounds is None:
            raise InputError("bounds are missing", "none", f"Give bounds=(lower, upper) or a radius; {_PUBLIC}.")
        try:
            if isinstance(bounds, Real):
                ball = float(bounds)
                lower, upper = np.full(columns, -ball), np.full(columns, ball)
            else:
                lower, upper = (np.broadcast_to(np.asarray(end, np.float64), (columns,)) for end in bounds)
                ball = np.inf
        except (TypeError, ValueError):
            got = f"{bounds!r} for {columns} columns"
            raise InputError("bounds are a radius, or lower and upper", got, "Give e.g. bounds=(0.0, 1.0).") from None
        # Within these, squares of squared radii and shares of widths are finite.
        if not ((lower >= -_LARGEST).all() and (upper <= _LARGEST).all() and (upper - lower >= 1 / _LARGEST).all()):
            what = f"bounds must be finite, at most {_LARGEST:g}, the lower ones below the upper"
            raise InputError(what, repr(bounds), f"Note: {_PUBLIC}.")
        corner = float(np.linalg.norm(upper - lower)) / 2
        return cls(np.array(lower), np.array(upper), min(ball, corner))

    def state(self) -> dict[str, np.ndarray]:
        """What `restore` needs."""
        return {"lower": self.lower, "upper": self.upper, "radius": np.array(self.radius)}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> Domain:
        return cls(state["lower"], state["upper"], float(state["radius"]))

    @property
    def widths(self) -> Float64[np.ndarray, " d"]:
        return self.upper - self.lower

    @property
    def centre(self) -> Float64[np.ndarray, " d"]:
        return (self.lower + self.upper) / 2

    @property
    def largest_l1(self) -> float:
        """Largest l1 norm of a row, seen from the centre."""
        return min(float(self.widths.sum()) / 2, self.radius * len(self.lower) ** 0.5)

    def clip(self, x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """The rows seen from the centre, moved to the edge where they lie outside."""
        if self.radius >= np.linalg.norm(self.widths) / 2 * (1 - 1e-12):
            return np.clip(x, self.lower, self.upper) - self.centre
        # Squares of larger numbers overflow, and a row without a norm has no edge to be moved to.
        seen = np.clip(x, -1e150, 1e150) - self.centre
        norms = np.linalg.norm(seen, axis=1, keepdims=True)
        # The last bits of a norm must not carry a row past the edge.
        return seen * np.where(norms > self.radius, self.radius * (1 - 1e-12) / norms.clip(1e-300), 1.0)
