"""Places in a user's table: find the coordinates, choose what to learn, hold some out, score by latitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars
from numpy.typing import NDArray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Table
from harmonia.symmetry.location_encoder.points import Points, SpatialBlocks, check_points, unit_vectors

_LONGITUDE = ("longitude", "lon", "long", "lng", "x")
_LATITUDE = ("latitude", "lat", "y")
BAND = 15
"""Height of a band of latitude in degrees."""


@dataclass(frozen=True)
class Places:
    """Checked points of a table, and the names of their columns."""

    points: Points
    lon: str
    lat: str

    @classmethod
    def of(cls, table: Table, lon: str = "", lat: str = "") -> Places:
        """Find and check the coordinates.

        Raises:
            InputError: no such columns, or bad coordinates, with their rows.

        Example:
            >>> Places.of(Table(polars.DataFrame({"Lat": [51.9], "Lng": [5.6], "name": ["Ede"]}))).points
            array([[ 5.6, 51.9]])
        """
        lon, lat = lon or _found(table, _LONGITUDE, "longitude"), lat or _found(table, _LATITUDE, "latitude")
        return cls(check_points(table.numeric([lon, lat])), lon, lat)


def _found(table: Table, names: tuple[str, ...], what: str) -> str:
    by_lower = {name.lower().strip(): name for name in reversed(table.names)}
    for name in names:
        if name in by_lower:
            return by_lower[name]
    raise InputError(f"no column is named like a {what}", ", ".join(table.names[:12]), f"Say which: --{what[:3]} NAME.")


def target_of(table: Table, places: Places, name: str = "") -> polars.Series:
    """The column to learn: the named one, or the last that is no coordinate.

    Raises:
        InputError: no such column, or missing values, with their rows.
    """
    others = [column for column in table.names if column not in (places.lon, places.lat)]
    if not name and not others:
        raise InputError(
            "there is nothing to learn", f"the columns {table.names}", "Add a column of classes or values."
        )
    column = table.column(name or others[-1])
    if column.name in (places.lon, places.lat):
        raise InputError("a coordinate cannot be learnt from itself", column.name, "Choose another target.")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        more = f" and {len(missing) - 1} rows more" if len(missing) > 1 else ""
        raise InputError(
            f"column '{column.name}' lacks values", f"row {missing[0] + 1}{more}", "Drop or fill these rows."
        )
    if not name:
        say(f"Learning '{column.name}'; another column is chosen by --target.")
    return column


def hold_out(
    points: Points, share: float, how: Literal["random", "blocks"], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from and rows to test on: at random, or whole blocks of 10 degrees."""
    if how == "blocks":
        return next(SpatialBlocks(max(2, round(1 / share)), random_state=seed).split(points))
    order = np.random.default_rng(seed).permutation(len(points))
    cut = max(1, round(share * len(points)))
    return np.sort(order[cut:]), np.sort(order[:cut])


def nearest_rows(train: Points, test: Points, count: int) -> NDArray[np.intp]:
    """The nearest training points of each test point, ``(test, count)``."""
    from scipy.spatial import cKDTree

    count = min(count, len(train))
    return cKDTree(unit_vectors(train)).query(unit_vectors(test), k=np.arange(1, count + 1))[1]


def scores_by_latitude(points: Points, errors: dict[str, NDArray[np.float64]], *, root: bool = False) -> Table:
    """Mean of each column of errors in bands of latitude from north to south, and over the whole Earth.

    Arguments:
        errors: Name to one number a point: 1 for a hit and 0 for a miss, or squared errors.
        root: Take roots of the means.
    """
    rows: list[dict[str, Any]] = []
    for north in range(90, -90, -BAND):
        inside = (points[:, 1] <= north) & ((points[:, 1] > north - BAND) | (north - BAND == -90))
        rows.append(_row(f"{north - BAND} to {north}", inside, errors, root))
    rows.append(_row("all", np.ones(len(points), dtype=bool), errors, root))
    return Table(polars.DataFrame(rows))


def _row(band: str, inside: NDArray[np.bool_], errors: dict[str, NDArray[np.float64]], root: bool) -> dict[str, Any]:
    means = {name: float(values[inside].mean()) if inside.any() else None for name, values in errors.items()}
    shown = {name: value**0.5 if root and value is not None else value for name, value in means.items()}
    return {"latitude": band, "points": int(inside.sum()), **shown}
