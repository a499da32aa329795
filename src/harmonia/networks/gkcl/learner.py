"""How tasks are learnt: first the memory, then the backbone, through ridge regression on what the memory gives back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.head import SupportFit, TaskHead, kernel_of
from harmonia.networks.gkcl.memory import Coreset, Support
from harmonia.networks.gkcl.recipe import Recipe, rate_of_task
from harmonia.networks.gkcl.vae import ConditionalPriorVAE, EncoderFeatures
from harmonia.networks.gkcl.variational import FixedBases, VariationalBases
from harmonia.parts.gram import Linear, NormalEquations

PENALTIES = torch.logspace(-6, 3, 37, dtype=torch.float64)
"""What generalised cross-validation chooses from, in units of the features' mean sum of squares."""


@dataclass(eq=False)
class LearntTask:
    """What a task leaves behind besides its part of the memory.

    Attributes:
        classes: Its classes, sorted.
        head: Its penalty and scale.
        statistics: Sums over its rows, where these are the memory.
    """

    classes: ndarray
    head: TaskHead
    statistics: NormalEquations | None = None


class Networks(NamedTuple):
    """What turns rows into the features that kernels compare."""

    backbone: nn.Module
    bases: FixedBases | VariationalBases | None

    def embedding(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        """From the backbone's features, given those of a support set."""
        return _same if self.bases is None else self.bases(features)


class Learner:
    """A stream's state: backbone, memory, tasks. Rows are float32 tensors, classes numbers within their task.

    Arguments:
        recipe: The parameters.
        x: Rows of the first task, from which sizes are read.
        seed: Of everything random.

    Rows, and sums over them, are on the CPU between calls; networks, and what is being computed, on ``device``. All
    numbers that decide what is learnt are drawn on the CPU, but for the noise inside of training steps.
    """

    def __init__(self, recipe: Recipe, x: Tensor, seed: int) -> None:
        self.recipe, self.seed, self.device = recipe, seed, recipe.torch_device
        self.kernel = kernel_of(recipe.kernel)
        self.tasks: dict[Hashable, LearntTask] = {}
        with self._seeded(seed):
            self.backbone = recipe.make_backbone(x, self.drawing("backbone"))
            self.memory = recipe.make_memory(tuple(x.shape[1:]))
            if self.backbone is None:
                width = self._generator.config.latent
            else:
                with torch.no_grad():
                    width = self.backbone.eval()(x[:2]).shape[1]
            self.bases = recipe.make_bases(width, self.drawing("bases"))
        for network in (self.backbone, self.memory, self.bases):
            if isinstance(network, nn.Module):
                network.to(self.device)
        self._precise: dict[Hashable, Networks] = {}

    def drawing(self, *purpose: Hashable) -> torch.Generator:
        """A generator of its own for every purpose, so that no use of one changes another."""
        words = [self.seed, *"/".join(map(str, purpose)).encode()]
        return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Torch's default generators seeded, and afterwards as they were."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    @property
    def _generator(self) -> ConditionalPriorVAE:
        assert isinstance(self.memory, ConditionalPriorVAE)
        return self.memory

    def networks(self, task_id: Hashable) -> Networks:
        """Those of a task: the same of all unless the generator's encoder is the backbone."""
        if self.backbone is not None:
            return Networks(self.backbone, self.bases)
        return Networks(EncoderFeatures(self._generator, self._generator.tasks.index(task_id)), self.bases)

    def precise(self, task_id: Hashable = None) -> Networks:
        """The networks in double precision, so that a row's scores do not depend on the rows it came with."""
        key = task_id if self.backbone is None else None
        if key not in self._precise:
            self._precise[key] = copy.deepcopy(self.networks(task_id))
            for network in self._precise[key]:
                if network is not None:
                    network.double().eval()
        return self._precise[key]

    def learn(self, task_id: Hashable, classes: ndarray, x: Tensor, y: Tensor) -> None:
        """A new task; where sums are the memory also more rows of a known one.

        A call that fails leaves a learner that is of no use: callers teach a copy.
        """
        first, draw = not self.tasks, self.drawing("learn", len(self.tasks))
        left = torch.ones(len(y), dtype=torch.bool)
        with self._seeded(self.seed + len(self.tasks)):
            if self.memory is not None:
                left = self.memory.learn(task_id, x, y, draw)
            head = TaskHead(self.recipe.penalty, self.recipe.scale).to(self.device)
            task = self.tasks.setdefault(task_id, LearntTask(classes, head))
            if self.recipe.learns(first):
                self._train(task_id, task, x[left], y[left], draw)
        self._precise = {}
        if self.memory is None:
            sums = self.sums(x, y, len(classes))
            task.statistics = sums if task.statistics is None else task.statistics + sums
            self.choose_penalty(task)
        elif not isinstance(self.memory, Coreset):
            self._warn_of_a_poor_generator(task_id, task, x, y, draw)

    @torch.no_grad()
    def sums(self, x: Tensor, y: Tensor, classes: int) -> NormalEquations:
        """Sums over rows of features and classes."""
        batches = zip(x.double().split(1024), F.one_hot(y, classes).double().split(1024))
        features = ((self.precise().backbone(rows.to(self.device)), each) for rows, each in batches)
        return NormalEquations.over((self.precise().embedding(f)(f).cpu(), each) for f, each in features)

    @torch.no_grad()
    def choose_penalty(self, task: LearntTask) -> None:
        """By generalised cross-validation over all classes together, from the sums alone."""
        if task.statistics is None or task.statistics.count < 1:
            return
        scale = float(task.statistics.gram.diagonal().mean()) or 1.0
        errors = task.statistics.generalised_cv(scale * PENALTIES).sum(1)
        task.head.raw_penalty.fill_(float(scale * PENALTIES[int(errors.argmin())]))

    def columns(self, task_id: Hashable) -> tuple[ndarray, dict[Hashable, Tensor]]:
        """Classes that are told apart, and which of them are those of each task whose support set is used."""
        names = [task_id] if self.recipe.task_aware else list(self.tasks)
        together = np.unique(np.concatenate([self.tasks[name].classes for name in names]))
        return together, {name: torch.from_numpy(np.searchsorted(together, self.tasks[name].classes)) for name in names}

    @torch.no_grad()
    def classifier(self, task_id: Hashable) -> SupportFit:
        """Of a task, or of all tasks where they are not told apart; then the last one's penalty counts."""
        together, columns = self.columns(task_id)
        head = self.tasks[task_id].head
        if self.memory is None:
            parts = [(self.tasks[name], where) for name, where in columns.items()]
            penalty = float(sum(task.head.penalty for task, _ in parts))
            total: NormalEquations | None = None
            for task, where in parts:
                assert task.statistics is not None
                placed = task.statistics.placed(where, len(together))
                total = placed if total is None else total + placed
            assert total is not None
            weights = total.solve(penalty)[0].to(self.device)
            return SupportFit(Linear(), None, weights, self.precise().embedding(torch.empty(0, 0)))
        support = self._support(columns, self.recipe.n_support, self.drawing("support", *columns))
        return self._fit(Support(support.x.double(), support.y), len(together), head, self.precise(task_id))[0]

    def _train(self, task_id: Hashable, task: LearntTask, x: Tensor, y: Tensor, draw: torch.Generator) -> None:
        recipe = self.recipe
        modules = nn.ModuleList([m for m in (self.backbone, self.bases, task.head) if m is not None])
        rate = rate_of_task(recipe.learning_rate, recipe.decay, len(self.tasks) - 1)
        optimizer = torch.optim.Adam(modules.parameters(), rate, fused=True)
        together, columns = self.columns(task_id)
        networks = self.networks(task_id)
        x, labels = x.to(self.device), columns[task_id][y].to(self.device)
        self._check_batches(len(y), recipe.n_per_class * len(together))
        modules.train()
        for _ in range(recipe.epochs):
            for rows in torch.randperm(len(y), generator=draw).split(recipe.batch_size):
                if len(rows) < 2 < len(y):
                    continue  # there is no variance in a batch of one
                if self.memory is None:  # rows of the task itself, others in every step
                    chosen = torch.randperm(len(y), generator=draw)[: recipe.n_per_class * len(task.classes)]
                    support = Support(x[chosen], labels[chosen])
                else:
                    support = self._support(columns, recipe.n_per_class, draw)
                fit, features = self._fit(support, len(together), task.head, networks)
                queries = networks.backbone(x[rows])
                loss = F.cross_entropy(task.head.scale * fit(queries), labels[rows])
                if isinstance(self.bases, VariationalBases):
                    loss = loss + recipe.kl_weight * self.bases.divergence(features, queries)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        modules.eval()

    def _check_batches(self, rows: int, support: int) -> None:
        """That batch normalisation has something to average over."""
        normed = self.backbone is not None and any(isinstance(m, _BatchNorm) for m in self.backbone.modules())
        if normed and min(rows, support) < 2:
            got = f"1 sample, beside {support} of support" if rows < 2 else "a support set of 1 sample"
            mend = "Pass more rows, raise n_per_class, or use adapt='never'."
            raise InputError("batch normalisation learns from two rows at least", got, mend)

    def _fit(self, support: Support, classes: int, head: TaskHead, networks: Networks) -> tuple[SupportFit, Tensor]:
        features = networks.backbone(support.x)
        targets = F.one_hot(support.y, classes).to(features)
        penalty = head.penalty.to(features)
        return SupportFit.of(self.kernel, features, targets, penalty, networks.embedding(features)), features

    def _support(self, columns: dict[Hashable, Tensor], per_class: int, draw: torch.Generator) -> Support:
        assert self.memory is not None
        parts = {name: self.memory.sample(name, per_class, draw) for name in columns}
        labels = [columns[name][part.y] for name, part in parts.items()]
        x = torch.cat([part.x for part in parts.values()])
        return Support(x.to(self.device), torch.cat(labels).to(self.device))

    @torch.no_grad()
    def _warn_of_a_poor_generator(
        self, task_id: Hashable, task: LearntTask, x: Tensor, y: Tensor, draw: torch.Generator
    ) -> None:
        """Compare support sets that are made up with real ones, on rows of the task."""
        assert self.memory is not None
        order = torch.randperm(len(y), generator=draw)
        real = torch.cat([order[y[order] == label][: self.recipe.n_per_class] for label in y.unique()])
        made, networks = self.memory.sample(task_id, self.recipe.n_per_class, draw), self.networks(task_id)
        rows, shares = order[:500], []
        queries, truth = x[rows].to(self.device), y[rows]
        for support in (made, Support(x[real], y[real])):
            support = Support(*(part.to(self.device) for part in support))
            fit, _ = self._fit(support, len(task.classes), task.head, networks)
            shares.append(_share(fit(networks.backbone(queries)).argmax(1), truth))
        if shares[0] < 0.5 * shares[1]:
            nearest = ""
            if isinstance(self.memory, ConditionalPriorVAE):
                found = self.memory.nearest_prior(task_id, queries)
                nearest = f", its nearest class of latents {_share(found, truth):.0%}"
            warnings.warn(
                f"rows made up of task {task_id!r} classify {shares[0]:.0%} of it rightly, real ones {shares[1]:.0%}"
                f"{nearest}; train the generator longer or make it larger",
                stacklevel=6,
            )


def _share(found: Tensor, truth: Tensor) -> float:
    return float((found.cpu() == truth).double().mean())


def _same(features: Tensor) -> Tensor:
    return features
