"""Regression tables with fixed splits, in the layout of the package bayesfunc (LaurenceA/bayesfunc, folder ``uci``).

A folder per table holds ``data.txt``, ``index_features.txt``, ``index_target.txt`` and, for splits k = 0..19,
``index_train_k.txt`` and ``index_test_k.txt``. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from harmonia.core.errors import InputError

TABLES = ("boston", "concrete", "energy", "kin8nm", "naval", "power", "protein", "wine", "yacht")


class Split(NamedTuple):
    """Inputs (n, d) and targets (n,) to learn from, and those held out."""

    x: Float64[np.ndarray, "n d"]
    y: Float64[np.ndarray, " n"]
    x_test: Float64[np.ndarray, "m d"]
    y_test: Float64[np.ndarray, " m"]


def read_split(folder: str | Path, table: str, split: int) -> Split:
    """One split of one table, in original units.

    Raises:
        InputError: a folder without the files, or files that do not fit.
    """
    base = Path(folder) / table
    data = _numbers(base / "data.txt")
    features, target = (_numbers(base / f"index_{name}.txt").astype(int) for name in ("features", "target"))
    train, test = (_numbers(base / f"index_{part}_{split}.txt").astype(int).ravel() for part in ("train", "test"))
    largest = max(int(features.max()), int(target.max()))
    if data.ndim != 2 or largest >= data.shape[1] or max(train.max(), test.max()) >= len(data):
        raise InputError(f"the files of '{table}' do not fit each other", base, "Get the folder anew.")
    x, y = data[:, features.ravel()], data[:, int(target.ravel()[0])]
    return Split(x[train], y[train], x[test], y[test])


def _numbers(path: Path) -> np.ndarray:
    if not path.is_file():
        mend = "Point to the folder 'uci' of LaurenceA/bayesfunc; nothing is downloaded."
        raise InputError("the table is not there", path, mend)
    try:
        return np.loadtxt(path, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path.name} holds no numbers", error, "Get the file anew.") from None
