"""The estimator: a stream of tasks by `partial_fit`, each with a kernel classifier on its support set."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.backbones import MLP, RandomBackbone, SlimResNet
from harmonia.networks.gkcl.class_gaussians import GaussiansConfig
from harmonia.networks.gkcl.head import SupportFit, TaskHead, kernel_of
from harmonia.networks.gkcl.memory import Coreset, Support, SupportMemory
from harmonia.networks.gkcl.vae import VAEConfig
from harmonia.networks.gkcl.variational import VariationalBases
from harmonia.parts.gram import FourierFeatures, Linear, NormalEquations, SquaredExponential, squared_distances

MemoryName = Literal["coreset", "generator", "gaussians", "statistics"]
Adapt = Literal["auto", "always", "first", "never"]

PENALTIES = torch.logspace(-6, 3, 37, dtype=torch.float64)


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


class KernelContinualClassifier(ClassifierMixin, BaseEstimator):
    """Kernel continual learning (arXiv:2107.05757) and its generative form (arXiv:2112.13410).

    Every task has a classifier of its own, kernel ridge regression on a small support set, over features of a network
    that all tasks share and that goes on learning. The support sets are what is remembered:

    ========== ============================================ =========================================================
    memory     what is kept                                 what is forgotten
    ========== ============================================ =========================================================
    coreset    rows of every class of every task            what features that move on do to few rows
    generator  one variational autoencoder for all tasks    the same, and what the generator blurs
    gaussians  a few principal components of every class    the same, and what is not Gaussian
    statistics sums of squares of frozen features           nothing: predictions of a task never change
    ========== ============================================ =========================================================

    Arguments:
        backbone: A module from rows to features (n, d), copied. None: an `MLP`, a `SlimResNet` for rows of shape
            (channels, height, width), random Fourier features where nothing adapts.
        kernel: ``linear``, ``laplace``, ``poly``, ``gaussian``, ``rff`` (fixed random Fourier features), ``vrf``
            (variational ones), or a kernel of `harmonia.parts.gram`.
        memory: See above.
        n_per_class: Rows a class of a coreset, or made up a step while training.
        n_test_per_class: Rows a class made up for predictions; they cost no memory.
        generator: A `VAEConfig` or `GaussiansConfig` of the generator.
        contrastive: Weight of the supervised contrastive loss of the generator.
        task_aware: Whether predictions are told the task. Otherwise one classifier of all classes is made from the
            support sets of all tasks.
        adapt: When the backbone learns: ``always``, with the ``first`` task only, or ``never``. ``auto``: always, but
            never for statistics, whose features must not move.
        n_bases: Random Fourier features of ``rff`` and ``vrf``, and of the random backbone.
        penalty: Of the ridge regression, to begin with; learnt by gradient, or by generalised cross-validation from
            the statistics.
        scale: Of the scores, to begin with; learnt.
        kl_weight: Of the divergence of ``vrf``.
        epochs: Passes over a task.
        batch_size: Rows a step.
        learning_rate: Of Adam.
        decay: The rate of task t is ``learning_rate decay^t``.
        random_state: Of everything random.

    Attributes:
        tasks_: `LearntTask` by id.
        classes_: All classes so far.
        backbone_: The network.
        memory_: The `SupportMemory`; None for statistics.
        memory_bytes_: Bytes kept of past tasks.

    Example:
        >>> from harmonia.networks.gkcl import permuted_tasks
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> model = KernelContinualClassifier(memory="statistics", random_state=0)
        >>> stream = permuted_tasks(X / 16, y, tasks=3)
        >>> for task in stream:
        ...     _ = model.partial_fit(task.x, task.y, task_id=task.name)
        >>> bool(model.score(stream[0].x_test, stream[0].y_test, task_id="permutation 0") > 0.93)
        True
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        backbone=None,
        *,
        kernel="linear",
        memory="coreset",
        n_per_class=20,
        n_test_per_class=50,
        generator=None,
        contrastive=0.1,
        task_aware=True,
        adapt="auto",
        n_bases=256,
        penalty=0.1,
        scale=8.0,
        kl_weight=0.01,
        epochs=15,
        batch_size=32,
        learning_rate=1e-3,
        decay=0.8,
        random_state=None,
    ):
        self.backbone = backbone
        self.kernel = kernel
        self.memory = memory
        self.n_per_class = n_per_class
        self.n_test_per_class = n_test_per_class
        self.generator = generator
        self.contrastive = contrastive
        self.task_aware = task_aware
        self.adapt = adapt
        self.n_bases = n_bases
        self.penalty = penalty
        self.scale = scale
        self.kl_weight = kl_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.decay = decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> KernelContinualClassifier:
        """Learn one task, forgetting all others."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("__")]:
            delattr(self, name)
        return self.partial_fit(X, y)

    def partial_fit(self, X: Any, y: Any, task_id: Hashable = None, classes: Any = None) -> KernelContinualClassifier:
        """Learn a task.

        Arguments:
            X: Rows (n, d) or images (n, channels, height, width).
            y: Their classes.
            task_id: Name of the task; the next number unless given. Rows can be added to a known task where the
                memory is statistics.
            classes: Classes of the task of which it may have no row here; only statistics can wait for them.

        Raises:
            InputError: a task that is known already, a class without rows, rows of another shape or out of range.
        """
        first = not hasattr(self, "tasks_")
        X, y = validate_data(self, X, y, dtype=np.float64, allow_nd=True, reset=first)
        check_classification_targets(y)
        if first:
            self._start(X)
        self._check_shape(X)
        task_id = self._next_id() if task_id is None else task_id
        known = self.tasks_.get(task_id)
        if known is not None and self.memory != "statistics":
            mend = "Give it another id; only memory='statistics' adds rows to a task."
            raise InputError("the task has been learnt already", task_id, mend)
        named = np.unique(y if classes is None else np.asarray(classes)) if known is None else known.classes
        unknown = np.setdiff1d(y, named)
        if len(unknown):
            raise InputError("rows have a class that was not named", unknown[0], "Name all classes of the task.")
        missing = np.setdiff1d(named, y)
        if len(missing) and self.memory != "statistics":
            raise InputError("a class of the task has no rows", missing[0], "Pass some, or leave the class out.")
        self._learn(task_id, named, _tensor(X), torch.from_numpy(np.searchsorted(named, y)))
        self.classes_ = np.unique(np.concatenate([task.classes for task in self.tasks_.values()]))
        self._fits: dict[Hashable, SupportFit] = {}
        return self

    def decision_function(self, X: Any, task_id: Hashable = None) -> Float64[ndarray, "n ..."]:
        """Scores of the task's classes (of all classes without tasks); of two classes the second's minus the first's."""
        scores = self._scores(X, task_id)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any, task_id: Hashable = None) -> Float64[ndarray, "n classes"]:
        """Softmax of the scores: what training made likely, not calibrated."""
        return torch.from_numpy(self._scores(X, task_id)).softmax(1).numpy()

    def predict(self, X: Any, task_id: Hashable = None) -> ndarray:
        """The class of every row.

        Raises:
            InputError: a task that is not known, or none where there are several.
        """
        scores = self._scores(X, task_id)
        return self._classes_of(self._resolve(task_id))[scores.argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None, task_id: Hashable = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X, task_id) == np.asarray(y), weights=sample_weight))

    def generate(self, task_id: Hashable, n_per_class: int = 20) -> tuple[ndarray, ndarray]:
        """A support set of a past task: rows and their classes.

        Raises:
            InputError: no such task, or a memory of sums, which has no rows.
        """
        check_is_fitted(self)
        task = self.tasks_[self._resolve(task_id, named=True)]
        if self.memory_ is None:
            raise InputError("sums over rows hold no rows", "memory='statistics'", "Use a generator or a coreset.")
        x, y = self.memory_.sample(self._resolve(task_id, named=True), n_per_class, self._drawing("generate", task_id))
        return x.numpy(), task.classes[y.numpy()]

    def forget(self, task_id: Hashable, X: Any = None, y: Any = None) -> KernelContinualClassifier:
        """Remove a task, or rows of it from the sums that were its memory: exact where the backbone never learnt.

        Raises:
            InputError: no such task, rows of it without statistics, or a generator, which cannot be taken apart.
        """
        check_is_fitted(self)
        task = self.tasks_[self._resolve(task_id, named=True)]
        if X is not None:
            if task.statistics is None:
                raise InputError("single rows are removed from sums only", self.memory, "Use memory='statistics'.")
            X, y = validate_data(self, X, y, dtype=np.float64, allow_nd=True, reset=False)
            task.statistics = task.statistics - self._sums(_tensor(X), np.searchsorted(task.classes, y), task.classes)
            self._choose_penalty(task)
        else:
            if self.memory_ is not None:
                self.memory_.forget(task_id)
            del self.tasks_[task_id]
        self._fits = {}
        return self

    @property
    def memory_bytes_(self) -> int:
        """Bytes kept of past tasks: rows, generator or sums (the symmetric one by its half), in single precision."""
        check_is_fitted(self)
        if self.memory_ is not None:
            return self.memory_.nbytes
        sums = [task.statistics for task in self.tasks_.values() if task.statistics is not None]
        return sum(
            4 * (len(s.gram) * (len(s.gram) + 1) // 2 + s.cross.numel() + len(s.sum) + 2 * s.cross.shape[1] + 1)
            for s in sums
        )

    # ---------------------------------------------------------------------------------------------- learning

    def _start(self, X: ndarray) -> None:
        self._check_parameters()
        self.tasks_: dict[Hashable, LearntTask] = {}
        self.shape_ = X.shape[1:]
        self.kernel_ = kernel_of(self.kernel)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.adapt_ = ("never" if self.memory == "statistics" else "always") if self.adapt == "auto" else self.adapt
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed_)
            self.backbone_ = self._make_backbone(_tensor(X))
            config = self.generator or (GaussiansConfig() if self.memory == "gaussians" else VAEConfig())
            made: dict[str, Callable[[], SupportMemory]] = {
                "coreset": lambda: Coreset(self.n_per_class),
                "generator": lambda: config.build(self.shape_, self.contrastive),
                "gaussians": lambda: config.build(self.shape_, self.contrastive),
            }
            self.memory_ = made[self.memory]() if self.memory in made else None
            with torch.no_grad():
                width = self.backbone_.eval()(_tensor(X[:2])).shape[1]
            self.bases_: VariationalBases | None = None
            self._embed: Callable[[Tensor], Tensor] = _same
            if self.kernel == "vrf":
                self.bases_ = VariationalBases(width, self.n_bases, self._drawing("bases"))
            elif self.kernel == "rff":
                self._embed = FourierFeatures.draw(
                    SquaredExponential(),
                    width,
                    self.n_bases,
                    generator=self._drawing("bases"),
                    phases=True,
                    dtype=torch.float32,
                )

    def _check_parameters(self) -> None:
        for name, value, choices in (("memory", self.memory, MemoryName), ("adapt", self.adapt, Adapt)):
            if value not in get_args(choices):
                raise InputError(f"no such '{name}'", repr(value), f"Use one of: {', '.join(get_args(choices))}.")
        counts = ("n_per_class", "n_test_per_class", "n_bases", "epochs", "batch_size")
        rates = ("scale", "learning_rate", "decay")
        for name in (*counts, *rates):
            least = 1 if name in counts else 0
            value = getattr(self, name)
            if not (value >= least and value > 0):
                raise InputError(f"'{name}' is positive", value, "Change it.")
        for name in ("penalty", "contrastive", "kl_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"'{name}' is not negative", getattr(self, name), "Change it.")
        if self.memory == "statistics":
            if self.adapt == "always":
                raise InputError(
                    "sums hold for features that stay as they are", "adapt='always'", "Use 'first' or 'never'."
                )
            if self.kernel == "vrf" or not isinstance(kernel_of(self.kernel), Linear):
                mend = "Use 'linear' or 'rff'; with n_bases random features a Gaussian kernel is near."
                raise InputError("sums of features are enough for linear kernels only", self.kernel, mend)
        if self.kernel in ("rff", "vrf") and self.n_bases < 2:
            raise InputError("there are too few random features", self.n_bases, "Give n_bases >= 2.")

    def _make_backbone(self, x: Tensor) -> nn.Module:
        if self.backbone is not None:
            return copy.deepcopy(self.backbone)
        if self.adapt_ == "never":
            some = x[:500].flatten(1).double()
            distances = squared_distances(some).sqrt()
            lengthscale = float(distances[distances > 0].median()) if (distances > 0).any() else 1.0
            return RandomBackbone(some.shape[1], 2 * -(-self.n_bases // 2), lengthscale, self._drawing("backbone"))
        if x.ndim == 4:
            return SlimResNet(x.shape[1])
        return MLP(x[0].numel())

    def _learn(self, task_id: Hashable, classes: ndarray, x: Tensor, y: Tensor) -> None:
        first = not self.tasks_
        draw = self._drawing("learn", len(self.tasks_))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed_ + len(self.tasks_))
            left = torch.ones(len(y), dtype=torch.bool)
            if self.memory_ is not None:
                left = self.memory_.learn(task_id, x, y, draw)
            task = self.tasks_.setdefault(task_id, LearntTask(classes, TaskHead(self.penalty, self.scale)))
            if self.adapt_ == "always" or (self.adapt_ == "first" and first):
                self._train(task_id, task, x[left], y[left], draw)
            self.backbone_.eval()
        if self.memory_ is None:
            sums = self._sums(x, y.numpy(), classes)
            task.statistics = sums if task.statistics is None else task.statistics + sums
            self._choose_penalty(task)
        elif not isinstance(self.memory_, Coreset):
            self._warn_of_a_poor_generator(task_id, task, x, y, draw)

    def _train(self, task_id: Hashable, task: LearntTask, x: Tensor, y: Tensor, draw: torch.Generator) -> None:
        modules = nn.ModuleList([m for m in (self.backbone_, self.bases_, task.head) if m is not None])
        rate = self.learning_rate * self.decay ** (len(self.tasks_) - 1)
        optimizer = torch.optim.Adam(modules.parameters(), rate)
        names, columns = self._columns(task_id)
        modules.train()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(y), generator=draw).split(self.batch_size):
                if len(rows) < 2 and len(y) > 1:
                    continue  # a batch of one has no batch statistics
                support = self._training_support(names, columns, x, y, draw)
                features, queries = self.backbone_(support.x), self.backbone_(x[rows])
                targets = F.one_hot(support.y, int(torch.cat([*columns.values()]).max()) + 1).to(features)
                fit = SupportFit.of(self.kernel_, features, targets, task.head.penalty, self._embedding(features))
                loss = F.cross_entropy(task.head.scale * fit(queries), columns[task_id][y[rows]])
                if self.bases_ is not None:
                    loss = loss + self.kl_weight * self.bases_.divergence(features, queries)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        modules.eval()

    def _columns(self, task_id: Hashable) -> tuple[list[Hashable], dict[Hashable, Tensor]]:
        """Tasks whose support sets are used, and the columns of the scores where their classes are."""
        names = [task_id] if self.task_aware else list(self.tasks_)
        together = np.unique(np.concatenate([self.tasks_[name].classes for name in names]))
        return names, {name: torch.from_numpy(np.searchsorted(together, self.tasks_[name].classes)) for name in names}

    def _training_support(
        self, names: list[Hashable], columns: dict[Hashable, Tensor], x: Tensor, y: Tensor, draw: torch.Generator
    ) -> Support:
        if self.memory_ is None:  # rows of the task itself, others in every step
            chosen = torch.randperm(len(y), generator=draw)[: self.n_per_class * len(y.unique())]
            return Support(x[chosen], y[chosen])
        return self._support(names, columns, self.n_per_class, draw)

    def _support(
        self, names: list[Hashable], columns: dict[Hashable, Tensor], per_class: int, draw: torch.Generator
    ) -> Support:
        assert self.memory_ is not None
        parts = [self.memory_.sample(name, per_class, draw) for name in names]
        return Support(
            torch.cat([part.x for part in parts]),
            torch.cat([columns[name][part.y] for name, part in zip(names, parts)]),
        )

    def _embedding(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        return self._embed if self.bases_ is None else self.bases_(features)

    @torch.no_grad()
    def _sums(self, x: Tensor, y: ndarray, classes: ndarray) -> NormalEquations:
        targets = F.one_hot(torch.from_numpy(np.asarray(y)), len(classes))
        batches = zip(x.split(1024), targets.split(1024))
        return NormalEquations.over((self._embed(self.backbone_(rows)), each) for rows, each in batches)

    def _choose_penalty(self, task: LearntTask) -> None:
        """By generalised cross-validation over all classes together, from the sums alone."""
        assert task.statistics is not None
        if task.statistics.count < 1:
            return
        scale = float(task.statistics.gram.diagonal().mean()) or 1.0
        errors = task.statistics.generalised_cv(scale * PENALTIES).sum(1)
        best = float(scale * PENALTIES[int(errors.argmin())])
        with torch.no_grad():
            task.head.raw_penalty.fill_(best)

    def _warn_of_a_poor_generator(
        self, task_id: Hashable, task: LearntTask, x: Tensor, y: Tensor, draw: torch.Generator
    ) -> None:
        """Compare support sets that are made up with real ones, on rows of the task."""
        assert self.memory_ is not None
        order = torch.randperm(len(y), generator=draw)
        real = torch.cat([order[y[order] == label][: self.n_per_class] for label in y.unique()])
        rows = order[:500]
        made = self.memory_.sample(task_id, self.n_per_class, draw)
        scores = []
        with torch.no_grad():
            for support in (made, Support(x[real], y[real])):
                features = self.backbone_(support.x)
                targets = F.one_hot(support.y, len(task.classes)).to(features)
                fit = SupportFit.of(self.kernel_, features, targets, task.head.penalty, self._embedding(features))
                scores.append(float((fit(self.backbone_(x[rows])).argmax(1) == y[rows]).float().mean()))
        if scores[0] < 0.5 * scores[1]:
            warnings.warn(
                f"rows made up of task {task_id!r} classify {scores[0]:.0%} of it correctly, real ones {scores[1]:.0%}; "
                "train the generator longer or make it larger",
                stacklevel=4,
            )

    # -------------------------------------------------------------------------------------------- predicting

    @torch.no_grad()
    def _scores(self, X: Any, task_id: Hashable) -> Float64[ndarray, "n classes"]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, allow_nd=True, reset=False)
        self._check_shape(X)
        name = self._resolve(task_id)
        fit = self._fits.get(name)
        if fit is None:
            fit = self._fits[name] = self._fit_of(name)
        scale = self.tasks_[self._last(name)].head.scale
        scores = [fit(self.backbone_(rows).to(fit.coefficients.dtype)) for rows in _tensor(X).split(1024)]
        return (scale * torch.cat(scores)).double().numpy()

    def _fit_of(self, name: Hashable) -> SupportFit:
        """The classifier of a task, or of all of them (None); made once after each `partial_fit`."""
        last = self._last(name)
        head = self.tasks_[last].head
        names, columns = self._columns(last)
        if self.memory_ is None:
            count = int(torch.cat([*columns.values()]).max()) + 1
            sums = None
            for each in names:
                own = self.tasks_[each].statistics
                assert own is not None
                placed = _placed(own, columns[each], count)
                sums = placed if sums is None else sums + placed
            assert sums is not None
            penalty = float(sum(self.tasks_[each].head.penalty for each in names))
            return SupportFit(Linear(), None, sums.solve(penalty)[0], self._embed)
        draw = self._drawing("support", *names)
        support = self._support(names, columns, self.n_test_per_class, draw)
        features = self.backbone_(support.x)
        targets = F.one_hot(support.y, int(torch.cat([*columns.values()]).max()) + 1).to(features)
        return SupportFit.of(self.kernel_, features, targets, head.penalty, self._embedding(features))

    def _last(self, name: Hashable) -> Hashable:
        """The task whose penalty and scale count: for all tasks together those of the last one."""
        return name if self.task_aware else next(reversed(self.tasks_))

    def _resolve(self, task_id: Hashable, named: bool = False) -> Hashable:
        known = ", ".join(map(repr, self.tasks_)) or "none"
        if not self.tasks_:
            raise InputError("all tasks have been forgotten", "no task", "Learn one.")
        if not self.task_aware and not named:
            return None
        if task_id is None:
            if len(self.tasks_) > 1:
                raise InputError("several tasks are known", "no task_id", f"Pass one of: {known}.")
            return next(iter(self.tasks_))
        if task_id not in self.tasks_:
            raise InputError("the task is not known", repr(task_id), f"Pass one of: {known}.")
        return task_id

    def _classes_of(self, name: Hashable) -> ndarray:
        if self.task_aware:
            return self.tasks_[name].classes
        return np.unique(np.concatenate([task.classes for task in self.tasks_.values()]))

    def _next_id(self) -> int:
        return next(i for i in range(len(self.tasks_) + 1) if i not in self.tasks_)

    def _check_shape(self, X: ndarray) -> None:
        if X.shape[1:] != self.shape_:
            raise InputError("rows have another shape", X.shape[1:], f"Pass rows of shape {self.shape_}.")

    def _drawing(self, *purpose: Hashable) -> torch.Generator:
        """A generator of its own for every purpose, so that no use of one changes another."""
        words = [self.seed_, *"/".join(map(str, purpose)).encode()]
        return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))


def _same(features: Tensor) -> Tensor:
    return features


def _tensor(rows: ndarray) -> Float[Tensor, "n *shape"]:
    return torch.from_numpy(rows).float()


def _placed(sums: NormalEquations, columns: Tensor, count: int) -> NormalEquations:
    """The same sums with the targets in other columns, 0 elsewhere."""

    def spread(values: Tensor) -> Tensor:
        out = values.new_zeros(*values.shape[:-1], count)
        out[..., columns] = values
        return out

    return NormalEquations(
        sums.gram, spread(sums.cross), sums.sum, spread(sums.target_sum), spread(sums.energy), sums.count
    )
