"""Sequences of tasks made from one data set, such as those of `harmonia.data` that are read from a user's disk:

data = harmonia.data.cifar100("cifar-100-python")
x, x_test = (pixels / np.float32(255) for pixels in (data.x, data.x_test))
split_classes(x, data.y, per_task=5, test=(x_test, data.y_test))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from scipy import ndimage
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError

Judges = tuple[Any, Any] | None


@dataclass(frozen=True, eq=False)
class Task:
    """Rows to learn and rows to be judged by.

    Attributes:
        name: What to call it; the task's id.
        x, y: Training rows and their classes.
        x_test, y_test: Rows that are never learnt.
    """

    name: str
    x: ndarray
    y: ndarray
    x_test: ndarray
    y_test: ndarray


def permuted_tasks(
    x: Any, y: Any, tasks: int = 8, *, test: Judges = None, test_size: float = 0.3, split_seed: int = 0
) -> tuple[Task, ...]:
    """The same rows with their inputs in another order in every task; the first as it is.

    Task t permutes by numpy's ``RandomState(t)``. All tasks have the same classes and the same split.

    Arguments:
        x: Rows, or images, whose pixels are permuted one by one.
        y: Classes.
        tasks: How many.
        test: Rows to be judged by and their classes, as published; None: some of `x`.
        test_size: Share of the rows kept for judging, the same from every class.
        split_seed: Of the split.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> stream = permuted_tasks(*load_digits(return_X_y=True), tasks=3)
        >>> [task.name for task in stream], stream[0].x.shape, stream[0].x_test.shape
        (['permutation 0', 'permutation 1', 'permutation 2'], (1257, 64), (540, 64))
    """
    base = _split(x, y, "permutation 0", test, test_size, split_seed)
    size = int(np.prod(base.x.shape[1:]))
    orders = [np.arange(size), *(np.random.RandomState(t).permutation(size) for t in range(1, _count(tasks)))]

    def permuted(rows: ndarray, order: ndarray) -> ndarray:
        return rows.reshape(len(rows), -1)[:, order].reshape(rows.shape)

    return tuple(
        Task(f"permutation {t}", permuted(base.x, order), base.y, permuted(base.x_test, order), base.y_test)
        for t, order in enumerate(orders)
    )


def rotated_tasks(
    images: Any,
    y: Any,
    tasks: int = 5,
    *,
    step: float = 10.0,
    jitter: float = 10.0,
    test: Judges = None,
    test_size: float = 0.3,
    seed: int = 0,
) -> tuple[Task, ...]:
    """The same images, turned further in every task: task t by ``t step - U(0, jitter)`` degrees, the first not at all.

    Arguments:
        images: (n, height, width) or (n, channels, height, width).
        y: Classes.
        tasks: How many.
        step: Degrees between tasks; 10 in the papers.
        jitter: Each image of a task is turned by the same random amount less, at most this.
        test: Images to be judged by and their classes, as published; None: some of these.
        test_size: Share of the rows kept for judging.
        seed: Of the split and of the angles.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> rotated_tasks(digits.images, digits.target, 2, step=90.0, jitter=0.0)[1].name
        'turned by 90°'
    """
    base = _split(images, y, "turned by 0°", test, test_size, seed)
    if base.x.ndim < 3:
        raise InputError("only images can be turned", f"rows of shape {base.x.shape[1:]}", "Pass (n, height, width).")
    draw = np.random.default_rng(seed)
    turned = [base]
    for t in range(1, _count(tasks)):
        angle = t * step - draw.uniform(0, jitter)
        pair = [
            ndimage.rotate(part, angle, axes=(-1, -2), reshape=False, order=1).clip(part.min(), part.max())
            for part in (base.x, base.x_test)
        ]
        turned.append(Task(f"turned by {angle:.0f}°", pair[0], base.y, pair[1], base.y_test))
    return tuple(turned)


def split_classes(
    x: Any,
    y: Any,
    per_task: int = 2,
    *,
    order: Sequence[Any] | None = None,
    test: Judges = None,
    test_size: float = 0.3,
    seed: int = 0,
) -> tuple[Task, ...]:
    """A few classes of one data set at a time.

    Arguments:
        x: Rows or images.
        y: Classes.
        per_task: Classes of a task; the last task may have fewer, but at least two: it joins the one before.
        order: The order in which classes come; sorted unless given.
        test: Rows to be judged by and their classes, as published; None: some of `x`.
        test_size: Share of the rows kept for judging, the same from every class.
        seed: Of the split.

    Raises:
        InputError: an order that does not name every class once.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> [task.name for task in split_classes(*load_digits(return_X_y=True), per_task=4)]
        ['0, 1, 2, 3', '4, 5, 6, 7, 8, 9']
    """
    base = _split(x, y, "all", test, test_size, seed)
    classes = np.unique(base.y)
    sequence = classes if order is None else np.asarray(order)
    if len(sequence) != len(classes) or not np.array_equal(np.unique(sequence), classes):
        raise InputError("the order names every class once", list(sequence), f"The classes are {list(classes)}.")
    groups = [sequence[i : i + _count(per_task)] for i in range(0, len(sequence), per_task)]
    if len(groups) > 1 and len(groups[-1]) < max(2, per_task):
        groups[-2:] = [np.concatenate(groups[-2:])]
    parts = []
    for group in groups:
        learnt, judged = np.isin(base.y, group), np.isin(base.y_test, group)
        name = ", ".join(map(str, group))
        parts.append(Task(name, base.x[learnt], base.y[learnt], base.x_test[judged], base.y_test[judged]))
    return tuple(parts)


def _count(value: int) -> int:
    if value < 1:
        raise InputError("tasks and their classes are counted from 1", value, "Give at least 1.")
    return value


def _split(x: Any, y: Any, name: str, test: Judges, test_size: float, seed: int) -> Task:
    rows, classes = checked(x, y)
    if test is not None:
        judges, truth = checked(*test)
        if judges.shape[1:] != rows.shape[1:] or not set(truth.tolist()) <= set(classes.tolist()):
            got = f"{judges.shape[1:]} and {rows.shape[1:]}"
            raise InputError("rows to be judged by have the shape and classes of the others", got, "Pass such rows.")
        return Task(name, rows, classes, judges, truth)
    if np.unique(classes, return_counts=True)[1].min() < 2:
        raise InputError("every class needs a row to learn and one to be judged by", "one row", "Merge or drop it.")
    try:
        parts = train_test_split(rows, classes, test_size=test_size, stratify=classes, random_state=seed)
    except ValueError as error:
        raise InputError("rows cannot be left out of every class", error, "Pass more, or change test_size.") from None
    return Task(name, parts[0], parts[2], parts[1], parts[3])


def checked(x: Any, y: Any = None) -> tuple[ndarray, ndarray]:
    """Rows as floats and their classes, of which there are none where `y` is None.

    Raises:
        InputError: rows that are not finite, or other than one class each.
    """
    rows = np.asarray(x)
    classes = np.zeros(rows.shape[:1]) if y is None else np.asarray(y)
    rows = rows if rows.dtype == np.float32 else rows.astype(np.float64)
    if rows.ndim < 2 or classes.ndim != 1 or len(rows) != len(classes):
        got = f"{rows.shape} and {classes.shape}"
        raise InputError("a stream is made of rows with one class each", got, "Pass x (n, ...) and y (n,).")
    if not np.isfinite(rows).all():
        raise InputError("rows are finite", "NaN or infinity", "Fill or drop such rows.")
    return rows, classes
