"""A table as inputs and classes of a quantum classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
from jaxtyping import Float64, Int64
from numpy import ndarray

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
        values = [None if value is None else str(value) for value in wanted.values]
        index = np.flatnonzero(wanted.known)
        y = np.array([values[i] for i in index])
        if len(index) > MOST_ROWS:
            say(f"{MOST_ROWS} of {len(index)} rows with a class are used.")
            drawn = _sample(y, MOST_ROWS, seed)
            index, y = index[drawn], y[drawn]
        return cls(wanted.name, raw if angles else x, index, y, values, angles, names)

    @property
    def known(self) -> Float64[ndarray, "n inputs"]:
        return self.x[self.index]

    def qubits(self, most: int, rows: int) -> int:
        """Qubits of models that are trained on `rows` rows or more: one for each input, or principal component.

        Centred rows span one dimension fewer than there are rows; further components would be rounding errors.

        Arguments:
            most: More inputs become as many components, or fewer where the rows are few.
            rows: Of the smallest training set.
        """
        inputs = self.x.shape[1]
        if inputs <= most:
            return inputs
        found = max(1, min(most, rows - 1))
        say(f"{inputs} inputs become {found} principal components, one for each qubit.")
        return found


def _sample(y: ndarray, count: int, seed: int) -> Int64[ndarray, " count"]:
    """Rows drawn at random, of all classes in proportion and at least one of each that there is room for."""
    _, code, counts = np.unique(y, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(y))
    by_class = order[np.argsort(code[order], kind="stable")]
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return by_class[np.argsort(place / np.repeat(counts, counts), kind="stable")[:count]]
