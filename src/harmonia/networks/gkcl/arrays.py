"""Arrays of rows or pictures and their classes, from one ``.npz`` file, as a stream of tasks."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.networks.gkcl.streams import Task, split_classes
from harmonia.networks.gkcl.tables import classes_per_task

CHANNELS = (1, 3, 4)
"""What the last axis of pictures may have where channels come last."""


def read_stream(path: str | Path, tasks: str = "split:2", seed: int = 0) -> tuple[Task, ...]:
    """A few classes at a time.

    Arguments:
        path: ``X`` with one row, (n, d), or picture, (n, height, width) or with channels before or behind, for each
            class of ``y``; perhaps ``X_test`` and ``y_test`` to be judged by. Bytes become numbers from 0 to 1, and so
            do other numbers beyond that range, all by the same scale. Nothing in the file is executed.
        tasks: ``split:<k>``: k classes at a time.
        seed: Of the rows left out where there is no ``X_test``, three of ten from every class.

    Returns:
        Tasks of rows (n, d) or pictures (n, channels, height, width), in single precision.

    Raises:
        InputError: no such file, arrays that are missing or do not fit, or too few rows of a class.
    """
    arrays = _arrays(Path(path))
    parts = [name for name in ("X", "X_test") if name in arrays]
    rows = [_channels_first(arrays[name]) for name in parts]
    low, high = min(float(each.min()) for each in rows), max(float(each.max()) for each in rows)
    if rows[0].dtype == np.uint8:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    else:
        say(f"Values from {low:g} to {high:g} are scaled to 0 to 1.")
    x, *others = ((each.astype(np.float32) - np.float32(low)) / np.float32(high - low or 1) for each in rows)
    test = (others[0], arrays["y_test"]) if others else None
    known, judged = (set(np.unique(arrays[name])) for name in ("y", "y_test" if others else "y"))
    if len(known) < 2 or judged != known:
        got = f"{len(known)} classes to learn, {len(judged & known)} of them to be judged by"
        raise InputError("a stream has two classes at least, all of them judged", got, "Pass rows of more classes.")
    stream = split_classes(x, arrays["y"], classes_per_task(tasks), test=test, seed=seed)
    shape = " by ".join(map(str, x.shape[1:]))
    say(f"{len(stream)} tasks; {len(x)} {'pictures' if x.ndim == 4 else 'rows'} of {shape}.")
    return tuple(Task(each.name, each.x, each.y.astype(str), each.x_test, each.y_test.astype(str)) for each in stream)


def _arrays(path: Path) -> dict[str, ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("X", "y", "X_test", "y_test") if name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        mend = "Save arrays of numbers or words by numpy.savez(path, X=..., y=...)."
        raise InputError(f"{path.name} is no file of arrays", error, mend) from None
    for x, y in (("X", "y"), *((("X_test", "y_test"),) if {"X_test", "y_test"} & set(arrays) else ())):
        if x not in arrays or y not in arrays:
            got = ", ".join(arrays) or "neither"
            raise InputError(f"the file needs '{x}' and '{y}'", got, f"Save both by numpy.savez: {x}=..., {y}=....")
        if arrays[x].dtype.kind not in "buif" or arrays[x].ndim not in (2, 3, 4) or not arrays[x].size:
            got = f"{arrays[x].dtype} {arrays[x].shape}"
            raise InputError(f"'{x}' is numbers, (n, d) or pictures", got, "Reshape it.")
        if arrays[y].shape != arrays[x].shape[:1]:
            raise InputError(f"'{y}' has one class for each of '{x}'", arrays[y].shape, "Reshape it.")
        if not np.isfinite(arrays[x]).all():
            raise InputError(f"'{x}' is finite", "NaN or infinity", "Fill or drop such rows.")
    return arrays


def _channels_first(x: ndarray) -> ndarray:
    if x.ndim == 3:
        return x[:, None]
    last = x.ndim == 4 and x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS
    return np.moveaxis(x, 3, 1) if last else x
