"""The probing benchmark: encoders times tasks, each cell a score with an interval, and what follows from the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray
from scipy.stats import kendalltau, rankdata

from harmonia.audio.music_fm_survey.encoders import Encoder
from harmonia.audio.music_fm_survey.marble import probe_mlp
from harmonia.audio.music_fm_survey.neighbours import probe_neighbours
from harmonia.audio.music_fm_survey.tasks import Task
from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.media import Figure, Table
from harmonia.parts.probing import Interval, Probed, paired_permutation, probe_layers

ProbeName = Literal["ridge", "logistic", "mlp", "knn"]


class Versatility(NamedTuple):
    """How well a representation does over all tasks: the mean of its scores rescaled so that chance is 0 and a perfect
    score 1, its worst rank, and in how many tasks it is best."""

    encoder: str
    mean: float
    worst_rank: float
    wins: int


@dataclass(frozen=True, eq=False)
class Cell:
    """One encoder on one task.

    Attributes:
        probed: Score, interval, layers, predictions.
        control: Score of the same probe on shuffled targets, where nothing can be known.
    """

    encoder: str
    task: Task
    probed: Probed
    control: float

    @property
    def selectivity(self) -> float:
        """Score minus that of the control task (Hewitt & Liang 2019): what is read off, not memorised."""
        return self.probed.score.score - self.control

    @property
    def above_chance(self) -> float:
        """The score rescaled so that chance is 0 and a perfect score 1."""
        return (self.probed.score.score - self.task.chance) / (1 - self.task.chance)


@dataclass(frozen=True, eq=False)
class Report:
    """What `ProbingBenchmark.run` found."""

    cells: tuple[Cell, ...]
    about: dict[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return list(dict.fromkeys(cell.task.name for cell in self.cells))

    @property
    def encoders(self) -> list[str]:
        """Names of the encoders."""
        return list(dict.fromkeys(cell.encoder for cell in self.cells))

    def cell(self, encoder: str, task: str) -> Cell:
        """One cell of the table."""
        return next(cell for cell in self.cells if (cell.encoder, cell.task.name) == (encoder, task))

    def scores(self) -> Float64[ndarray, "encoders tasks"]:
        """Scores as a matrix."""
        return np.array([[self.cell(e, t).probed.score.score for t in self.tasks] for e in self.encoders])

    def table(self) -> Table:
        """A row for each encoder and task: score, 95 % interval, layer, chance, control task."""
        rows = [
            {
                "task": cell.task.name,
                "encoder": cell.encoder,
                "metric": cell.task.score.name,
                "score": cell.probed.score.score,
                "low": cell.probed.score.low,
                "high": cell.probed.score.high,
                "layer": cell.probed.layer,
                "layers": len(cell.probed.curve),
                "chance": cell.task.chance,
                "control": cell.control,
                "selectivity": cell.selectivity,
                "clips": len(cell.probed.items),
                "source": cell.task.source,
            }
            for cell in self.cells
        ]
        return Table(polars.DataFrame(rows).sort("task", "score", descending=[False, True], maintain_order=True))

    def ranks(self) -> Float64[ndarray, "encoders tasks"]:
        """Rank of each encoder in each task; 1 is best, ties share."""
        return np.apply_along_axis(lambda column: rankdata(-column), 0, self.scores())

    def versatility(self) -> list[Versatility]:
        """Encoders by their mean score above chance."""
        ranks, best = self.ranks(), self.scores().max(0)
        found = []
        for number, encoder in enumerate(self.encoders):
            above = float(np.mean([self.cell(encoder, task).above_chance for task in self.tasks]))
            wins = int((self.scores()[number] >= best).sum())
            found.append(Versatility(encoder, above, float(ranks[number].max()), wins))
        return sorted(found, key=lambda each: -each.mean)

    def agreement(self) -> float:
        """Mean Kendall tau between the rankings of encoders that two tasks give; 1 where all tasks agree."""
        scores = self.scores()
        if min(scores.shape) < 2:
            return np.nan
        taus = [kendalltau(scores[:, a], scores[:, b]).statistic for a, b in combinations(range(scores.shape[1]), 2)]
        return float(np.nanmean(taus))

    def significance(self, *, resamples: int = 2000, seed: int = 0) -> Table:
        """Whether the best encoder of each task beats each other one: paired permutation, Holm's correction."""
        rows = []
        for task in self.tasks:
            order = [self.encoders[i] for i in np.argsort(-self.scores()[:, self.tasks.index(task)], kind="stable")]
            best, found = self.cell(order[0], task), []
            for other in order[1:]:
                rival = self.cell(other, task)
                truth = best.task.targets.values[best.probed.items]
                found.append(
                    paired_permutation(
                        best.task.score,
                        truth,
                        best.probed.predicted,
                        rival.probed.predicted,
                        groups=best.probed.groups,
                        resamples=resamples,
                        seed=seed,
                    )
                )
            for other, test, p in zip(order[1:], found, holm([test.p_value for test in found])):
                rows.append({"task": task, "best": order[0], "other": other, "difference": test.difference, "p": p})
        if not rows:
            raise InputError("there is nothing to compare", "one encoder", "Run at least two.")
        return Table(polars.DataFrame(rows))

    def plot(self) -> Figure:
        """Scores with intervals, task by task, and the curves over layers."""
        from harmonia.audio.music_fm_survey.report import probing

        return probing(self)


class ProbingBenchmark:
    """Probes encoders on tasks, in the protocol of MARBLE (arXiv 2306.10548) with certainties added.

    Encoders stay frozen; a probe is fitted on their features, averaged over time. Layer and penalty are chosen by
    nested cross-validation, never on what is scored. Groups (songs, artists) are never split.

    Arguments:
        probe: ``ridge`` (closed form), ``logistic``, ``mlp`` (MARBLE's network) or ``knn``.
        folds: Of the cross-validation.
        resamples: Of the bootstrap.
        control: Whether the control task is run as well, which doubles the time of probing.
        cached: Whether features are kept on disk.
        seed: Of folds, bootstrap and control.

    Example:
        >>> from harmonia.audio.music_fm_survey import ClipSet, SpectralEncoder
        >>> from harmonia.media import Audio
        >>> from harmonia.parts.probing import Targets
        >>> time = np.arange(8000) / 16000
        >>> tones = [Audio(np.sin(2 * np.pi * hz * time), 16000) for hz in np.linspace(200, 800, 20)]
        >>> task = Task("high or low", ClipSet("tones", tones), Targets.of(["low"] * 10 + ["high"] * 10))
        >>> benchmark = ProbingBenchmark(folds=3, cached=False).add_task(task)
        >>> report = benchmark.run({"log-mel": SpectralEncoder("log-mel")})
        >>> report.cell("log-mel", "high or low").probed.score.score > 0.8
        True
    """

    def __init__(
        self,
        probe: ProbeName = "ridge",
        *,
        folds: int = 5,
        resamples: int = 500,
        control: bool = True,
        cached: bool = True,
        seed: int = 0,
    ) -> None:
        if probe not in ("ridge", "logistic", "mlp", "knn"):
            raise InputError("there is no such probe", probe, "Use ridge, logistic, mlp or knn.")
        self.probe, self.folds, self.resamples = probe, folds, resamples
        self.control, self.cached, self.seed = control, cached, seed
        self.tasks: list[Task] = []

    def add_task(self, task: Task) -> ProbingBenchmark:
        """Add a task; gives the benchmark back."""
        if any(task.name == other.name for other in self.tasks):
            raise InputError("there are two tasks of one name", f"'{task.name}'", "Rename one.")
        self.tasks.append(task)
        return self

    def run(self, encoders: Mapping[str, Encoder], tasks: Sequence[str] | None = None) -> Report:
        """Probe every encoder on every task, or on those named.

        Raises:
            InputError: no encoders, or an unknown task.
        """
        chosen = [task for task in self.tasks if tasks is None or task.name in tasks]
        missing = set(tasks or ()) - {task.name for task in self.tasks}
        if not encoders or not chosen or missing:
            got = ", ".join(sorted(missing)) or "no encoder or no task"
            known = ", ".join(task.name for task in self.tasks)
            raise InputError("there is nothing to probe", got, f"Tasks are {known}.")
        cells = []
        for name, encoder in track(list(encoders.items()), "Probing encoders"):
            for task in chosen:
                features = task.clips.features(encoder, cached=self.cached)
                cells.append(Cell(name, task, self._probe(task, features), self._controlled(task, features)))
        rates = {encoder.rate for encoder in encoders.values()}
        if len(rates) > 1:
            say(f"The encoders hear the clips at {', '.join(map(str, sorted(rates)))} Hz, each at its own rate.")
        return Report(tuple(cells), {name: encoder.about for name, encoder in encoders.items()})

    def _probe(self, task: Task, features: ndarray, shuffled: ndarray | None = None) -> Probed:
        targets = task.targets if shuffled is None else task.targets.shuffled(shuffled)
        resamples = self.resamples if shuffled is None else 20
        if self.probe in ("ridge", "logistic"):
            return probe_layers(
                features,
                targets,
                test=task.test,
                groups=task.groups,
                probe=self.probe,
                metric=task.score,
                folds=self.folds,
                resamples=resamples,
                seed=self.seed,
            )
        other = probe_mlp if self.probe == "mlp" else probe_neighbours
        return other(
            features,
            targets,
            test=task.test,
            groups=task.groups,
            metric=task.score,
            folds=self.folds,
            resamples=resamples,
            seed=self.seed,
        )

    def _controlled(self, task: Task, features: ndarray) -> float:
        if not self.control:
            return np.nan
        order = np.random.default_rng(self.seed).permutation(len(task.targets))
        return self._probe(task, features, order).score.score


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected by Holm's step-down rule.

    Example:
        >>> holm([0.01, 0.04, 0.02])
        [0.03, 0.04, 0.04]
    """
    order = np.argsort(p_values, kind="stable")
    corrected, largest = np.empty(len(p_values)), 0.0
    for step, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[index]))
        corrected[index] = largest
    return [float(p) for p in corrected]


def interval_text(interval: Interval) -> str:
    """A score and its interval as people write them.

    Example:
        >>> interval_text(Interval(0.812, 0.79, 0.834))
        '0.812 (0.790 to 0.834)'
    """
    return f"{interval.score:.3f} ({interval.low:.3f} to {interval.high:.3f})"
