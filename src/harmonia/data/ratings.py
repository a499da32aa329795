"""Ratings that people chose to give, beside ratings at random: data sets on disk, in the layouts they are published in.

    Coat            <folder>/train.ascii, test.ascii: 290 x 300 whole numbers, 0 for none; user_item_features/*.ascii
    Yahoo! R3       <folder>/ydata-ymusic-rating-study-v1_0-train.txt, -test.txt: user, song, rating
    KuaiRec         <folder>/user.txt, random.txt: user, video, watch ratio; or big_matrix.csv, small_matrix.csv

None of them is shipped or downloaded. Coat states no licence; Yahoo! R3 comes with a signed agreement that forbids
passing it on; KuaiRec is under CC BY-SA as far as could be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars
from jaxtyping import Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Table


@dataclass(frozen=True)
class Ratings:
    """Ratings of pairs of user and item.

    Attributes:
        pairs: User and item of each, as names or numbers.
        values: The ratings.
    """

    pairs: Int64[ndarray, "n 2"]
    values: Float64[ndarray, " n"]

    def positive(self, threshold: float) -> Float64[ndarray, " n"]:
        """1 for ratings of at least the threshold, 0 for others."""
        return (self.values >= threshold).astype(np.float64)


@dataclass(frozen=True)
class ExposureStudy:
    """Ratings that users chose to give, and others of items that were shown to them at random.

    Attributes:
        name: The data set.
        chosen: What users rated of their own accord, for training.
        at_random: What they rated when shown random items, for evaluation.
        shape: Numbers of users and items, numbered from 0.
        threshold: From which value on a rating counts as positive.
        user_features, item_features: Side information, where there is some.
    """

    name: str
    chosen: Ratings
    at_random: Ratings
    shape: tuple[int, int]
    threshold: float
    user_features: Float64[ndarray, "users p"] | None = None
    item_features: Float64[ndarray, "items q"] | None = None


def load_coat(folder: str | Path) -> ExposureStudy:
    """Coats that 290 people chose to rate, 24 each, and 16 random ones each.

    Arguments:
        folder: Where ``train.ascii`` and ``test.ascii`` are; features are read where they are.

    Raises:
        InputError: files that are missing, or no matrices of one shape.
    """
    folder = Path(folder).expanduser()
    train, test = (_matrix(folder / name) for name in ("train.ascii", "test.ascii"))
    if train.shape != test.shape or train.min() < 0 or test.min() < 0:
        raise InputError("Coat's two matrices differ in shape", f"{train.shape}, {test.shape}", "Pass the release.")
    sides = [folder / "user_item_features" / f"{side}_features.ascii" for side in ("user", "item")]
    features = [_matrix(path) if path.is_file() else None for path in sides]
    for table, count in zip(features, train.shape):
        if table is not None and len(table) != count:
            raise InputError("Coat's features do not fit its ratings", f"{len(table)} of {count}", "Pass the release.")
    return ExposureStudy("Coat", _of_matrix(train), _of_matrix(test), (len(train), train.shape[1]), 3.0, *features)


def load_yahoo_r3(folder: str | Path) -> ExposureStudy:
    """Songs that 15,400 listeners chose to rate, and 10 random ones for each of 5,400 of them.

    The agreement asks to delete the data after use and forbids passing them on: get them from Yahoo!.

    Arguments:
        folder: Where ``ydata-ymusic-rating-study-v1_0-train.txt`` and ``-test.txt`` are.

    Raises:
        InputError: files that are missing, or rows that are not user, song, rating.
    """
    folder = Path(folder).expanduser()
    names = (f"ydata-ymusic-rating-study-v1_0-{part}.txt" for part in ("train", "test"))
    chosen, at_random = (_rows(folder / name) for name in names)
    for rows in (chosen, at_random):
        if rows[:, :2].min() < 1:
            raise InputError("Yahoo! R3 numbers users and songs from 1", rows[:, :2].min(), "Pass the release.")
        rows[:, :2] -= 1
    shape = tuple(int(max(r[:, side].max() for r in (chosen, at_random))) + 1 for side in (0, 1))
    return ExposureStudy("Yahoo! R3", _of_rows(chosen), _of_rows(at_random), (shape[0], shape[1]), 3.0)


def load_kuairec(folder: str | Path) -> ExposureStudy:
    """Videos that users were shown by a recommender, and nearly all pairs of some users and videos; watch ratios.

    Users and videos are numbered anew, in order.

    Arguments:
        folder: Where ``user.txt`` and ``random.txt``, or ``big_matrix.csv`` and ``small_matrix.csv``, are.

    Raises:
        InputError: files that are missing, or rows that are not user, video, watch ratio.
    """
    folder = Path(folder).expanduser()
    if (folder / "user.txt").is_file():
        chosen, at_random = _rows(folder / "user.txt"), _rows(folder / "random.txt")
    else:
        columns = ["user_id", "video_id", "watch_ratio"]
        files = (folder / name for name in ("big_matrix.csv", "small_matrix.csv"))
        chosen, at_random = (Table.read(_present(path)).numeric(columns) for path in files)
    both, shape = np.concatenate([chosen, at_random]), []
    for side in (0, 1):
        ids, code = np.unique(both[:, side], return_inverse=True)
        both[:, side] = code
        shape.append(len(ids))
    cut = len(chosen)
    return ExposureStudy("KuaiRec", _of_rows(both[:cut]), _of_rows(both[cut:]), (shape[0], shape[1]), 2.0)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"there is no {path.name}", path.parent, "Pass the folder of the published files.")
    return path


def _matrix(path: Path) -> Float64[ndarray, "rows columns"]:
    try:
        return np.loadtxt(_present(path), dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path.name} is no matrix", error, "Pass the published file.") from None


def _rows(path: Path) -> Float64[ndarray, "n 3"]:
    """Users, items and values, with commas or white space between."""
    text = _present(path).read_text(encoding="utf-8", errors="replace").replace("\t", ",").replace(" ", ",")
    try:
        frame = polars.read_csv(text.encode(), has_header=False, schema_overrides=[polars.Float64] * 3)
    except (polars.exceptions.PolarsError, ValueError) as error:
        raise InputError(
            f"{path.name} holds no ratings", str(error).split("\n")[0], "Pass user, item, value."
        ) from None
    rows = frame.to_numpy()
    if rows.shape[1] != 3 or not np.isfinite(rows).all() or (rows[:, :2] != np.round(rows[:, :2])).any():
        raise InputError(f"{path.name} holds no ratings", f"shape {rows.shape}", "Pass user, item, value.")
    return rows.copy()


def _of_rows(rows: ndarray) -> Ratings:
    return Ratings(rows[:, :2].astype(np.int64), rows[:, 2].astype(np.float64))


def _of_matrix(matrix: ndarray) -> Ratings:
    users, items = np.nonzero(matrix)
    return Ratings(np.stack([users, items], 1).astype(np.int64), matrix[users, items])
