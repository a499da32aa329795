"""The regression tables of the paper's experiments, under the file names that its official code gives them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars
from jaxtyping import Float64

from harmonia.core.errors import InputError, require


class Regression(NamedTuple):
    """Inputs (n, d) and target (n,)."""

    x: Float64[np.ndarray, "n d"]
    y: Float64[np.ndarray, " n"]


class _Layout(NamedTuple):
    """A file, which of its columns are inputs and target, and how it is written."""

    file: str
    inputs: int
    target: int
    skip: int = 0
    separator: str | None = None


UCI: dict[str, _Layout] = {
    "concrete": _Layout("Concrete_Data.xls", 8, 8, skip=1),
    "energy": _Layout("ENB2012_data.xlsx", 8, 8, skip=1),
    "kin8nm": _Layout("dataset_2175_kin8nm.csv", 8, 8, skip=1, separator=","),
    "naval": _Layout("UCI CBM Dataset/data.txt", 16, 16),
    "plant": _Layout("CCPP/Folds5x2_pp.xlsx", 4, 4, skip=1),
    "wine-red": _Layout("winequality-red.csv", 11, 11, skip=1, separator=";"),
    "wine-white": _Layout("winequality-white.csv", 11, 11, skip=1, separator=";"),
    "yacht": _Layout("yacht_hydrodynamics.data", 6, 6),
    "airfoil": _Layout("airfoil_self_noise.dat", 5, 5),
}
"""Data sets by the names of the official code; files lie in the given folder, or in one named after the data set."""


def read_uci(folder: str | Path, name: str) -> Regression:
    """Read one of the tables from a folder; nothing is downloaded.

    Excel files need the package fastexcel; saved as ``.csv`` under the same stem they do not.

    Raises:
        InputError: an unknown name, a file that is not there, or one of another shape.
    """
    if name not in UCI:
        raise InputError("no such data set", f"'{name}'", f"Use one of: {', '.join(UCI)}.")
    layout = UCI[name]
    found = _find(Path(folder), name, layout.file)
    separator = "," if found.suffix == ".csv" and layout.separator is None else layout.separator
    rows = _excel(found) if found.suffix in (".xls", ".xlsx") else _text(found, layout.skip, separator)
    if rows.ndim != 2 or rows.shape[1] <= layout.target or not len(rows):
        got = f"shape {rows.shape} in {found.name}"
        raise InputError(f"'{name}' has {layout.target + 1} columns", got, "Get the file anew.")
    if not np.isfinite(rows[:, : layout.target + 1]).all():
        raise InputError("the table has values that are no numbers", found.name, "Get the file anew.")
    return Regression(rows[:, : layout.inputs], rows[:, layout.target])


def _find(folder: Path, name: str, file: str) -> Path:
    for base in (folder, folder / name, folder / name.split("-")[0]):
        for candidate in (base / file, (base / file).with_suffix(".csv")):
            if candidate.is_file():
                return candidate
    raise InputError(f"'{name}' is not there", f"no {file} in {folder}", "Put the file there; nothing is downloaded.")


def _text(path: Path, skip: int, separator: str | None) -> Float64[np.ndarray, "n d"]:
    try:
        return np.loadtxt(path, delimiter=separator, skiprows=skip, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path.name} is no table of numbers", error, "Get the file anew.") from None


def _excel(path: Path) -> Float64[np.ndarray, "n d"]:
    require("fastexcel", extra="peers")
    frame = polars.read_excel(path, engine="calamine")
    return frame.select(polars.selectors.numeric()).to_numpy().astype(np.float64)
