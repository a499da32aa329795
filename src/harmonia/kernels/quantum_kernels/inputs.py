"""A table as inputs and classes of a quantum classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
from jaxtyping import Float64, Int64
from numpy import ndarray
from sklearn.model_selection import train_test_split

from harmonia.core.progress import say
from harmonia.media import Table
from harmonia.parts.features import Features, Target

Scale = Literal["auto", "minmax", "angles"]

MOST_ROWS = 600
"""Rows with a class that are compared on, drawn at random from more."""


@dataclass(frozen=True)
class Inputs:
    """A table as inputs and classes.

    Attributes:
        name: Of the target.
        x: Inputs of all rows.
        index: Rows with a class that are used.
        y: Their classes.
        values: Classes as given, None where missing.
        angles: Whether inputs are used as angles.
        axes: Names of the inputs.
    """

    name: str
    x: Float64[ndarray, "rows inputs"]
    index: Int64[ndarray, " n"]
    y: ndarray
    values: list[str | None]
    angles: bool
    axes: tuple[str, ...]

    @classmethod
    def of(cls, table: Table, target: str, qubits: int, scale: Scale, seed: int) -> Inputs:
        wanted = Target.of(table, target, "classification")
        features = Features.of(Table(table.frame.filter(polars.Series(wanted.known))), without=wanted.name)
        x = features.inputs(table)
        names = (*features.numbers, *(f"{name} = {word}" for name, words in features.words.items() for word in words))
        raw = x * features.scale + features.mean
        fits = (
            not features.words and len(names) <= qubits and bool((raw >= 0).all() and (raw <= 2 * np.pi + 1e-9).all())
        )
        angles = scale == "angles" or (scale == "auto" and fits and bool((raw.max(0) > np.pi).all()))
        if scale == "auto":
            say("Inputs are taken as angles in radians." if angles else "Inputs are scaled to angles from 0 to 2 pi.")
        if len(names) > qubits:
            say(f"{len(names)} inputs become {qubits} principal components, one for each qubit.")
        values = [None if value is None else str(value) for value in wanted.values]
        index = np.flatnonzero(wanted.known)
        y = np.array([values[i] for i in index])
        if len(index) > MOST_ROWS:
            say(f"{MOST_ROWS} of {len(index)} rows with a class are used.")
            index, _, y, _ = train_test_split(index, y, train_size=MOST_ROWS, stratify=_common(y), random_state=seed)
        return cls(wanted.name, raw if angles else x, index, y, values, angles, names)

    @property
    def known(self) -> Float64[ndarray, "n inputs"]:
        return self.x[self.index]


def _common(y: ndarray) -> ndarray | None:
    """Classes to keep in proportion; None if one of them is a single row."""
    return y if np.unique(y, return_counts=True)[1].min() > 1 else None
