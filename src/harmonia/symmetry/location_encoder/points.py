"""Points on the Earth: check them, spread them evenly, weigh them by area, split them in blocks.

A point is (longitude, latitude) in degrees. Latitudes are geodetic, as maps and GPS give them; the sphere of the
harmonics ignores the difference to geocentric latitude (at most 0.19 degrees).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harmonia.core.errors import InputError

CoordinateOrder = Literal["lonlat", "latlon"]
Points = NDArray[np.float64]
"""An array ``(n, 2)`` of longitudes in [-180, 180] and latitudes in [-90, 90]."""

GOLDEN_RATIO = (1 + 5**0.5) / 2


def check_points(points: ArrayLike, order: CoordinateOrder = "lonlat") -> Points:
    """Points as an array ``(n, 2)`` of longitude and latitude, or an error that names the rows.

    Longitudes from 180 to 360 are wrapped to -180 to 0.

    Arguments:
        points: Two columns of degrees; an array, list or data frame.
        order: Which column comes first.

    Raises:
        InputError: not two columns of numbers, no rows, missing values, values out of range, or columns that look
            swapped.

    Example:
        >>> check_points([[200.0, 10.0]])
        array([[-160.,   10.]])
        >>> check_points([[51.9, 105.6]])
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: latitude and longitude look swapped (got latitude 105.6 in row 1). Swap the
        columns, or name them: coordinate_order='latlon', or --lon and --lat.
    """
    if order not in ("lonlat", "latlon"):
        raise InputError("there is no such coordinate order", f"'{order}'", "Use 'lonlat' or 'latlon'.")
    if np.iscomplexobj(points):
        raise InputError("Complex data not supported", "complex numbers", "Give longitudes and latitudes in degrees.")
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("coordinates are numbers in degrees", error, "Convert or drop the other columns.") from None
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(
            "points have two columns, longitude and latitude", f"shape {array.shape}", "Reshape to (points, 2)."
        )
    if len(array) == 0:
        raise InputError("there are no points", "0 rows", "Give at least one point.")
    if order == "latlon":
        array = array[:, ::-1].copy()
    _refuse(~np.isfinite(array).all(axis=1), array, "a coordinate is missing or infinite", "Drop or fill these rows.")
    lon, lat = array.T
    beyond = np.abs(lat) > 90
    if beyond.any() and (np.abs(lon) <= 90).all() and (np.abs(lat) <= 360).all():
        other = "latlon" if order == "lonlat" else "lonlat"
        row = int(np.argmax(beyond))
        raise InputError(
            "latitude and longitude look swapped",
            f"latitude {lat[row]:g} in row {row + 1}",
            f"Swap the columns, or name them: coordinate_order='{other}', or --lon and --lat.",
        )
    _refuse(beyond, array, "latitudes run from -90 to 90 degrees", "Check the units and the order of the columns.")
    _refuse((lon < -180) | (lon > 360), array, "longitudes run from -180 to 180 degrees (or 0 to 360)", "Wrap them.")
    array[lon > 180, 0] -= 360.0
    return array


def checked_by(estimator: Any, points: ArrayLike, order: CoordinateOrder, *, reset: bool = False) -> Points:
    """`check_points` for a scikit-learn estimator, which also remembers or compares the names of the columns."""
    from sklearn.utils.validation import validate_data

    array = check_points(points, order)
    validate_data(estimator, points, reset=reset, skip_check_array=True)
    return array


def _refuse(bad: ArrayLike, points: Points, what: str, mend: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return
    named = ", ".join(str(row + 1) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    lon, lat = points[rows[0]]
    raise InputError(
        what,
        f"longitude {lon:g}, latitude {lat:g} in row {named.split(',')[0]}; row{'s' * (len(rows) > 1)} {named}{more}",
        mend,
    )


def unit_vectors(points: Points) -> NDArray[np.float64]:
    """Points of the unit sphere, ``(n, 3)``.

    Example:
        >>> unit_vectors(np.array([[0.0, 90.0], [0.0, 0.0]]))
        array([[0., 0., 1.],
               [1., 0., 0.]])
    """
    lon, lat = np.deg2rad(points).T
    around = np.sin(np.deg2rad(90 - np.abs(points[:, 1])))
    return np.stack([around * np.cos(lon), around * np.sin(lon), np.sin(lat)], axis=1)


def fibonacci_points(count: int) -> Points:
    r"""An even lattice on the sphere: every point stands for the same area.

    For i = -N, ..., N - 1 with N = count / 2:  sin(lat) = 2 i / (2 N + 1), lon = 360 i / golden ratio.

    Example:
        >>> fibonacci_points(1000).shape
        (1000, 2)
    """
    half = count // 2
    i = np.arange(-half, count - half)
    lat = np.rad2deg(np.arcsin(2 * i / (2 * half + 1)))
    lon = (i % GOLDEN_RATIO) * (360 / GOLDEN_RATIO)
    return np.stack([np.where(lon > 180, lon - 360, lon), lat], axis=1)


def random_points(count: int, seed: int = 0) -> Points:
    """Uniform random points on the sphere; uniform latitudes would crowd the poles.

    Example:
        >>> bool(abs(random_points(4000)[:, 1]).mean() < 34)  # 45 if latitudes were uniform
        True
    """
    x, y, z = np.random.default_rng(seed).normal(size=(3, count))
    return np.rad2deg(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))


def area_weights(points: Points) -> NDArray[np.float64]:
    """Weights cos(latitude) with mean one: they undo sampling that is uniform in degrees.

    Example:
        >>> area_weights(np.array([[0.0, 0.0], [0.0, 60.0]])).round(3)
        array([1.333, 0.667])
    """
    weights = np.cos(np.deg2rad(points[:, 1]))
    return weights / max(weights.mean(), 1e-12)


def nearest(points: Points, centres: Points) -> NDArray[np.intp]:
    """For each point, the index of the nearest centre by great circle."""
    from scipy.spatial import cKDTree

    return cKDTree(unit_vectors(centres)).query(unit_vectors(points))[1]


def checkerboard(points: Points, *, centres: int = 200, classes: int = 16) -> NDArray[np.intp]:
    """The paper's checkerboard: cells around a Fibonacci lattice, their classes in turn along it."""
    half = centres // 2
    return (np.arange(-half, centres - half) % classes)[nearest(points, fibonacci_points(centres))]


class SpatialBlocks:
    """Cross-validation that keeps neighbours together, a scikit-learn splitter.

    A random split puts a test point a few kilometres from a training point and measures memory. Here the sphere is cut
    into cells of equal area and whole cells are held out.

    Arguments:
        n_splits: Number of folds.
        block: Width of a cell in degrees.
        random_state: Seed of the assignment of cells to folds.

    Example:
        >>> points = random_points(500)
        >>> [(len(train), len(test)) for train, test in SpatialBlocks(2, block=30.0).split(points)]
        [(274, 226), (226, 274)]
    """

    def __init__(self, n_splits: int = 5, *, block: float = 10.0, random_state: int = 0) -> None:
        if not 0 < block <= 90:
            raise InputError("a block's width is between 0 and 90 degrees", block, "Use for example 10.")
        if n_splits < 2:
            raise InputError("cross-validation needs at least two folds", n_splits, "Use n_splits=5.")
        self.n_splits, self.block, self.random_state = n_splits, block, random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds."""
        return self.n_splits

    def split(
        self, X: ArrayLike, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Indices of training and held-out points, fold by fold."""
        points = check_points(X)
        cells = max(2 * self.n_splits, round(4 * np.pi / np.deg2rad(self.block) ** 2))
        occupied, cell = np.unique(nearest(points, fibonacci_points(cells)), return_inverse=True)
        if len(occupied) < self.n_splits:
            raise InputError(
                "there are fewer occupied blocks than folds", f"{len(occupied)} blocks", "Use smaller blocks."
            )
        fold = np.random.default_rng(self.random_state).permutation(len(occupied)) % self.n_splits
        for k in range(self.n_splits):
            held_out = fold[cell] == k
            yield np.flatnonzero(~held_out), np.flatnonzero(held_out)
