"""Jobs: learn a table task after task with a memory of samples, or with sums that forget nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
import torch

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.media import Figure, Table
from harmonia.networks.gkcl import figures
from harmonia.networks.gkcl.arrays import read_stream
from harmonia.networks.gkcl.classifier import KernelContinualClassifier
from harmonia.networks.gkcl.memory import row_bytes
from harmonia.networks.gkcl.rivals import ReplayClassifier, RidgePerTask
from harmonia.networks.gkcl.streams import Task
from harmonia.networks.gkcl.study import StreamResult, learn_stream
from harmonia.networks.gkcl.tables import Pictures, TableStream, turned_digits
from harmonia.networks.gkcl.vae import VAEConfig

Stream = Annotated[Table, Field("one example a row; rows without a class are predicted", example=turned_digits)]
Target = Annotated[str, Field("column of classes; the last one unless given")]
Tasks = Annotated[
    str, Field("column:<name>, split:<classes a task>, or auto: a column called task, else two classes at a time")
]
PixelsOrNot = Annotated[
    Pictures, Field("whether columns are pixels of one scale; auto: where their ranges are evidently the same")
]
Memory = Annotated[
    Literal["generator", "gaussians", "coreset"],
    Field("one network that makes rows up; principal components of each class; stored rows"),
]
Kernel = Annotated[Literal["linear", "laplace", "poly", "gaussian", "rff", "vrf"], Field("kernel between features")]
PerClass = Annotated[int, Field("rows a class that are stored, or made up in a step", ge=1, le=1000)]
Epochs = Annotated[int, Field("passes of the classifier over a task", ge=1)]
Steps = Annotated[int, Field("training steps of the generator on a task", ge=1)]
Rivals = Annotated[bool, Field("also learn by stored rows of the same bytes, sums, fine-tuning and ridge")]
Seed = Annotated[int, Field("random seed", ge=0)]

ENOUGH_ROWS = 10_000
"""Rows that fine-tuning sees of a task at least."""

SUMS, FINE_TUNING, RIDGE = "sums, fixed features", "fine-tuning", "ridge on the inputs"


class Learnt(TypedDict):
    comparison: Annotated[Table, Field("every method: average accuracy, forgetting, bytes kept of past tasks, seconds")]
    accuracies: Annotated[Table, Field("accuracy on every task after every task")]
    predictions: Annotated[Table, Field("rows left out and rows without a class, by the task's classifier in the end")]
    samples: Annotated[Table, Field("rows of every class of every task that the memory made up or kept")]
    forgetting: Annotated[Figure, Field("the accuracies as a heat map; every method's average over time")]
    remembered: Annotated[Figure, Field("rows of the data beside rows from the memory")]


def learn(
    table: Stream,
    *,
    target: Target = "",
    tasks: Tasks = "auto",
    memory: Memory = "generator",
    kernel: Kernel = "linear",
    n_per_class: PerClass = 20,
    epochs: Epochs = 10,
    generator_steps: Steps = 1000,
    rivals: Rivals = True,
    pictures: PixelsOrNot = "auto",
    seed: Seed = 0,
) -> Learnt:
    """Learn tasks one after another without their data; see what is still known of each in the end.

    Every task has a kernel classifier on a support set that the memory gives back. Three of ten rows of every class are
    left out to judge it. With a generator no row of the past is kept. Bytes are those of the memory; the network that
    all tasks share is not counted, and a ridge regression keeps its weights alone.
    """
    stream = TableStream.of(table, target, tasks, seed, pictures=pictures)
    options: dict[str, object] = {"kernel": kernel, "n_per_class": n_per_class, "epochs": epochs, "random_state": seed}
    config = VAEConfig(steps=generator_steps) if memory == "generator" else None
    model, results = _learnt(stream.tasks, memory, config, options, rivals)
    support = {task.name: model.generate(task.name, n_per_class) for task in stream.tasks}
    return {
        "comparison": _comparison(results),
        "accuracies": _accuracies(next(iter(results.values())), stream.tasks),
        "predictions": _predictions(model, stream),
        "samples": _samples(support, stream),
        "forgetting": figures.forgetting_figure(results, [task.name for task in stream.tasks]),
        "remembered": _remembered(support, stream.tasks, (stream.side, stream.side) if stream.side else ()),
    }


class Summed(TypedDict):
    comparison: Annotated[Table, Field("accuracy, forgetting, bytes kept of past tasks, seconds; also of two rivals")]
    accuracies: Annotated[Table, Field("accuracy on every task after every task")]
    predictions: Annotated[Table, Field("rows left out and rows without a class, by the task's classifier in the end")]
    forgetting: Annotated[Figure, Field("the accuracies as a heat map; every method's average over time")]


def sums(
    table: Stream,
    *,
    target: Target = "",
    tasks: Tasks = "auto",
    features: Annotated[int, Field("random features of a row; their sums take their square in memory", ge=2)] = 256,
    forget: Annotated[
        str, Field("name of a task to be forgotten again: its sums go; its rows helped to choose the scales of inputs")
    ] = "",
    pictures: PixelsOrNot = "auto",
    seed: Seed = 0,
) -> Summed:
    """Learn tasks one after another by sums over fixed features: nothing is ever forgotten, nothing is trained.

    What is kept of a task is ``F^T F`` and ``F^T Y``: enough for its ridge regression, to add rows, and to take them
    away again. What is not taken away with a task is its part in the ranges of the columns and, of the first one, the
    features' lengthscale.
    """
    stream = TableStream.of(table, target, tasks, seed, pictures=pictures)
    if forget and forget not in {task.name for task in stream.tasks}:
        known = ", ".join(task.name for task in stream.tasks)
        raise InputError("there is no such task to forget", f"'{forget}'", f"The tasks are: {known}.")
    if forget and len(stream.tasks) == 1:
        raise InputError("the only task cannot be forgotten", f"'{forget}'", "Leave 'forget' out.")
    model = KernelContinualClassifier(memory="statistics", n_bases=features, random_state=seed)
    results: dict[str, StreamResult] = {SUMS: learn_stream(model, stream.tasks, "Sums")}
    results[RIDGE] = learn_stream(RidgePerTask(), stream.tasks, "Ridge")
    results[FINE_TUNING] = _fine_tuned(stream.tasks, 10, seed)
    _say(results)
    if forget:
        before = model.memory_bytes_
        model.forget(forget)
        say(f"Forgot '{forget}': {before - model.memory_bytes_:,} bytes fewer; the other tasks stay as they were.")
    return {
        "comparison": _comparison(results),
        "accuracies": _accuracies(results[SUMS], stream.tasks),
        "predictions": _predictions(model, stream),
        "forgetting": figures.forgetting_figure(results, [task.name for task in stream.tasks]),
    }


class Seen(TypedDict):
    comparison: Annotated[Table, Field("every method: average accuracy, forgetting, bytes kept of past tasks, seconds")]
    accuracies: Annotated[Table, Field("accuracy on every task after every task")]
    predictions: Annotated[Table, Field("rows to be judged by, by the task's classifier in the end")]
    forgetting: Annotated[Figure, Field("the accuracies as a heat map; every method's average over time")]
    remembered: Annotated[Figure, Field("pictures or rows of the data beside those from the memory")]


def arrays(
    data: Annotated[Path, Field(".npz of X, rows or pictures, and their classes y; perhaps X_test and y_test")],
    *,
    tasks: Annotated[str, Field("split:<classes a task>")] = "split:2",
    memory: Memory = "generator",
    layers: Annotated[Literal["auto", "mlp", "conv"], Field("of the generator; auto: conv for pictures")] = "auto",
    kernel: Kernel = "linear",
    n_per_class: PerClass = 20,
    epochs: Epochs = 10,
    generator_steps: Steps = 1000,
    rivals: Rivals = True,
    seed: Seed = 0,
) -> Seen:
    """Learn pictures, or rows, of an array a few classes at a time; see what is still known of each in the end.

    Pictures are seen by a residual network, rows by a perceptron. For the rest see the job for tables.
    """
    stream = read_stream(data, tasks, seed)
    pictures = stream[0].x.ndim == 4
    config = None
    if memory == "generator":
        config = VAEConfig(layers=layers if layers != "auto" else "conv" if pictures else "mlp", steps=generator_steps)
    options: dict[str, object] = {"kernel": kernel, "n_per_class": n_per_class, "epochs": epochs, "random_state": seed}
    model, results = _learnt(stream, memory, config, options, rivals)
    support = {task.name: model.generate(task.name, n_per_class) for task in stream}
    return {
        "comparison": _comparison(results),
        "accuracies": _accuracies(next(iter(results.values())), stream),
        "predictions": _judged(model, stream),
        "forgetting": figures.forgetting_figure(results, [task.name for task in stream]),
        "remembered": _remembered(support, stream, stream[0].x.shape[2:] if pictures else ()),
    }


def _learnt(
    tasks: Sequence[Task], memory: str, config: VAEConfig | None, options: dict[str, object], rivals: bool
) -> tuple[KernelContinualClassifier, dict[str, StreamResult]]:
    """A classifier that has learnt all tasks, and what became of it and of its rivals."""
    model = KernelContinualClassifier(memory=memory, generator=config, **options)
    results = {f"kernel, {memory}": learn_stream(model, tasks, f"Kernel, {memory}")}
    if rivals:
        results |= _rivals(tasks, next(iter(results.values())).memory_bytes, memory == "coreset", options)
    _say(results)
    return model, results


def _rivals(tasks: Sequence[Task], kept: int, is_coreset: bool, options: dict[str, Any]) -> dict[str, StreamResult]:
    results, epochs, seed = {}, options["epochs"], options["random_state"]
    if not is_coreset:
        counts = [np.unique(task.y, return_counts=True)[1] for task in tasks]
        one = sum(len(each) * row_bytes(torch.tensor(task.x).float()) for each, task in zip(counts, tasks))
        same = min(max(1, round(kept / one)), int(np.concatenate(counts).max()))
        learner = KernelContinualClassifier(memory="coreset", **{**options, "n_per_class": same})
        results[f"kernel, {same} stored rows a class"] = learn_stream(learner, tasks, "Kernel, stored rows")
    learner = KernelContinualClassifier(memory="statistics", random_state=seed)
    results[SUMS] = learn_stream(learner, tasks, "Sums")
    results[RIDGE] = learn_stream(RidgePerTask(), tasks, "Ridge")
    results[FINE_TUNING] = _fine_tuned(tasks, epochs, seed)
    return results


def _fine_tuned(tasks: Sequence[Task], epochs: int, seed: int) -> StreamResult:
    """One network for all; on small tables with more passes, for what was not learnt cannot be forgotten."""
    classes = np.unique(np.concatenate([task.y for task in tasks]))
    smallest = min(len(task.y) for task in tasks)
    learner = ReplayClassifier(classes, epochs=max(epochs, ENOUGH_ROWS // smallest), random_state=seed)
    return learn_stream(learner, tasks, "Fine-tuning")


def _say(results: dict[str, StreamResult]) -> None:
    for name, result in results.items():
        found = result.metrics
        say(f"{name}: accuracy {found.average:.3f}, forgetting {found.forgetting:.3f}, {result.memory_bytes:,} bytes.")


def _comparison(results: dict[str, StreamResult]) -> Table:
    rows = [
        {
            "method": name,
            "average accuracy": result.metrics.average,
            "forgetting": result.metrics.forgetting,
            "accuracy when learnt": result.metrics.learning,
            "bytes kept": result.memory_bytes,
            "seconds": round(result.seconds, 2),
        }
        for name, result in results.items()
    ]
    return Table(polars.DataFrame(rows))


def _accuracies(result: StreamResult, tasks: Sequence[Task]) -> Table:
    names = [task.name for task in tasks]
    columns = {"after task": names} | {name: result.accuracies[:, i] for i, name in enumerate(names)}
    return Table(polars.DataFrame(columns).with_columns(polars.col(names).fill_nan(None)))


def _predictions(model: KernelContinualClassifier, stream: TableStream) -> Table:
    parts, truth = [], _apart(stream.target, ("row", "task", "role", "prediction", "share"))
    for task, tested, new in zip(stream.tasks, stream.rows_test, stream.new):
        if task.name not in model.tasks_:
            continue
        rows = np.concatenate([tested, new])
        shares = model.predict_proba(stream.inputs[rows], task.name)
        parts.append(
            polars.DataFrame(
                {
                    "row": rows + 1,
                    "task": [task.name] * len(rows),
                    "role": ["left out"] * len(tested) + ["new"] * len(new),
                    truth: polars.Series([*task.y_test.tolist(), *[None] * len(new)], dtype=polars.String),
                    "prediction": model.tasks_[task.name].classes[shares.argmax(1)].tolist(),
                    "share": shares.max(1),
                }
            )
        )
    return Table(polars.concat(parts).sort("row"))


def _samples(support: dict[str, tuple[np.ndarray, np.ndarray]], stream: TableStream) -> Table:
    frames = []
    names, target = [_apart(column, ("task",)) for column in stream.names], _apart(stream.target, ("task",))
    for name, (x, y) in support.items():
        restored = stream.restored(x.reshape(len(x), -1).astype(np.float64))
        columns = {column: restored[:, i] for i, column in enumerate(names)}
        frames.append(polars.DataFrame(columns | {"task": [name] * len(y), target: y.astype(str).tolist()}))
    return Table(polars.concat(frames))


def _apart(name: str, ours: tuple[str, ...]) -> str:
    """A column of the user's beside ours, with a note where the names are the same."""
    return f"{name} (in the table)" if name in ours else name


def _judged(model: KernelContinualClassifier, tasks: Sequence[Task]) -> Table:
    frames = []
    for task in tasks:
        shares = model.predict_proba(task.x_test, task.name)
        found = model.tasks_[task.name].classes[shares.argmax(1)]
        columns = {"task": [task.name] * len(found), "class": task.y_test, "prediction": found, "share": shares.max(1)}
        frames.append(polars.DataFrame(columns))
    return Table(polars.concat(frames))


def _remembered(
    support: dict[str, tuple[np.ndarray, np.ndarray]], tasks: Sequence[Task], sides: tuple[int, ...]
) -> Figure:
    """Of pictures of these sides, or of rows where there are none."""
    names = [task.name for task in tasks]
    if not sides:
        return figures.rows_figure(
            [task.x_test for task in tasks], [support[name] for name in names], [task.y_test for task in tasks], names
        )
    classes = [np.unique(task.y) for task in tasks]

    def first(x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """One grey picture of every class: the mean over channels."""
        chosen = np.stack([x[y == label][0] for label in labels])
        return chosen.reshape(len(labels), -1, *sides).mean(1)

    real = [first(task.x_test, task.y_test, labels) for task, labels in zip(tasks, classes)]
    made = [first(*support[name], labels) for name, labels in zip(names, classes)]
    return figures.pictures_figure(real, made, names, [[str(label) for label in labels] for labels in classes])


JOBS = (learn, sums, arrays)
