"""A table as a stream of tasks: by a column that names them, or a few classes at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.data.tables import digits
from harmonia.media import Table
from harmonia.networks.gkcl.streams import Task, rotated_tasks
from harmonia.parts.features import Features, Target

Pictures = Literal["auto", "yes", "no"]

IMAGE = 16
"""Columns of the smallest picture that is recognised without being told."""


@dataclass(frozen=True, eq=False)
class TableStream:
    """Tasks, and what it takes to speak of them in the table's own terms.

    Attributes:
        tasks: In the order in which they are learnt; inputs from 0 to 1.
        rows_test: Where the rows that each task is judged by are in the table.
        new: Rows without a class, by task.
        inputs: All rows, scaled.
        low, high: What 0 and 1 stand for, for every input.
        names: Of the inputs.
        target: Name of the column of classes.
        side: Of a picture; 0 where rows are none.
    """

    tasks: tuple[Task, ...]
    rows_test: tuple[ndarray, ...]
    new: tuple[ndarray, ...]
    inputs: Float64[ndarray, "rows inputs"]
    low: Float64[ndarray, " inputs"]
    high: Float64[ndarray, " inputs"]
    names: tuple[str, ...]
    target: str
    side: int

    @classmethod
    def of(
        cls, table: Table, target: str = "", tasks: str = "auto", seed: int = 0, *, pictures: Pictures = "auto"
    ) -> TableStream:
        """Read a table.

        Arguments:
            table: One example a row.
            target: Column of classes; the last one unless given.
            tasks: ``column:<name>``; ``split:<k>``: k classes at a time; ``auto``: a column called task if there is
                one, else two classes at a time.
            seed: Of the rows left out, three of ten from every class of every task.
            pictures: Whether columns are the pixels of a square, which share one scale; otherwise each column has its
                own. ``auto``: where they all have the same lowest value and most of them span half of the range at
                least.

        Raises:
            InputError: no such column, too few classes or rows, values that are missing, or no pictures where there
                should be some.
        """
        wanted = Target.of(table, target, "classification")
        column, per_task = _how(table, wanted.name, tasks)
        frame = table.frame.drop(column) if column else table.frame
        features = Features.of(Table(frame), without=wanted.name)
        raw = features.inputs(Table(frame)) * features.scale + features.mean
        picture = _are_pictures(raw, bool(features.words), pictures)
        low, high = (raw.min(), raw.max()) if picture else (raw.min(0), raw.max(0))
        low, high = (np.broadcast_to(limit, raw.shape[1]).astype(np.float64) for limit in (low, high))
        x = (raw - low) / np.where(high > low, high - low, 1.0)
        y = np.array([str(value) for value in wanted.values])
        names = np.array([*features.numbers, *(f"{n}={v}" for n, values in features.words.items() for v in values)])
        groups = _groups(table, column, per_task, y, wanted.known)
        parts, tests, new = [], [], []
        for name, chosen in groups.items():
            known, unknown = chosen[wanted.known[chosen]], chosen[~wanted.known[chosen]]
            classes, counts = np.unique(y[known], return_counts=True)
            if len(classes) < 2 or counts.min() < 4:
                got = f"{len(classes)} classes, the smallest of {counts.min() if len(counts) else 0} rows"
                raise InputError(
                    f"task '{name}' cannot be learnt and judged", got, "Give two classes of four rows, or merge."
                )
            train, test = train_test_split(known, test_size=0.3, stratify=y[known], random_state=seed)
            parts.append(Task(name, x[train], y[train], x[test], y[test]))
            tests.append(test)
            new.append(unknown)
        where = f"by '{column}'" if column else f"{per_task} classes at a time"
        say(f"{len(parts)} tasks, {where}; {len(y)} rows of {x.shape[1]} inputs{', pictures' if picture else ''}.")
        return cls(
            tuple(parts),
            tuple(tests),
            tuple(new),
            x,
            low,
            high,
            tuple(map(str, names)),
            wanted.name,
            math.isqrt(raw.shape[1]) if picture else 0,
        )

    def restored(self, x: Float64[ndarray, "n inputs"]) -> Float64[ndarray, "n inputs"]:
        """Inputs in the table's own units."""
        return self.low + x * (self.high - self.low)


def _are_pictures(raw: Float64[ndarray, "rows inputs"], words: bool, pictures: Pictures) -> bool:
    """Whether columns are the pixels of a square: as the user says, or as their ranges do."""
    square = not words and math.isqrt(raw.shape[1]) ** 2 == raw.shape[1]
    if pictures == "yes" and not square:
        got = "columns of words" if words else f"{raw.shape[1]} columns"
        raise InputError("pictures are squares of numbers", got, "Leave columns out, or use pictures=no.")
    if pictures != "auto":
        return pictures == "yes"
    if not square or raw.shape[1] < IMAGE:
        return False
    low, spans = raw.min(0), np.ptp(raw, 0)
    rounding, whole = 1e-9 * np.abs(raw).max(), np.ptp(raw)
    varied = spans[spans > rounding]
    return bool(len(varied) and np.ptp(low) <= rounding and np.median(varied) >= whole / 2)


def turned_digits() -> Table:
    """Handwritten digits in five tasks, each turned by 36 degrees more: 64 grey values, ``task`` and ``digit``."""
    images, labels = digits()
    frames = []
    for task in rotated_tasks(images, labels, 5, step=36.0, jitter=0.0):
        x = np.concatenate([task.x, task.x_test]).reshape(-1, 64).round(1)
        y = np.concatenate([task.y, task.y_test])
        columns = {f"pixel_{i // 8}_{i % 8}": x[:, i] for i in range(64)}
        frames.append(polars.DataFrame(columns | {"task": [task.name] * len(x), "digit": y}))
    return Table(polars.concat(frames))


def _how(table: Table, target: str, tasks: str) -> tuple[str, int]:
    """The column of tasks, or how many classes make one."""
    kind, _, value = tasks.partition(":")
    if kind == "auto" and not value:
        return ("task", 0) if "task" in table.names and target != "task" else ("", 2)
    if kind == "column" and value:
        if value == target:
            raise InputError("the tasks and the classes are the same column", value, "Name another one.")
        return table.column(value).name, 0
    return "", classes_per_task(tasks, "auto, column:<name> or ")


def classes_per_task(tasks: str, others: str = "") -> int:
    """How many classes ``split:<k>`` takes at a time.

    Arguments:
        tasks: What the user wrote.
        others: What else could have been written, for the message.

    Raises:
        InputError: anything else, or fewer than two.
    """
    kind, _, value = tasks.partition(":")
    if kind != "split" or not value.isdigit() or int(value) < 2:
        raise InputError("'tasks' cannot be read", f"'{tasks}'", f"Use {others}split:<classes>, from 2.")
    return int(value)


def _groups(table: Table, column: str, per_task: int, y: ndarray, known: ndarray) -> dict[str, ndarray]:
    """Rows of every task; tasks come in the order of their first row, classes in their sorted order."""
    if column:
        values = table.column(column)
        if values.null_count():
            raise InputError(f"column '{column}' has rows without a task", values.null_count(), "Fill or drop them.")
        names = values.cast(polars.String).to_numpy()
        return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names)}
    if not known.all():
        got = f"{(~known).sum()} such rows"
        raise InputError("rows without a class belong to no task", got, "Give a column of tasks, or drop them.")
    classes = sorted(set(y), key=lambda name: (not _is_number(name), float(name) if _is_number(name) else 0.0, name))
    parts = [classes[i : i + per_task] for i in range(0, len(classes), per_task)]
    if len(parts) > 1 and len(parts[-1]) < 2:
        parts[-2:] = [parts[-2] + parts[-1]]
    return {", ".join(part): np.flatnonzero(np.isin(y, part)) for part in parts}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
