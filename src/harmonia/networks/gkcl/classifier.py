"""The estimator: a stream of tasks by `partial_fit`, each with a kernel classifier on its support set."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.networks.gkcl.backbones import RandomBackbone
from harmonia.networks.gkcl.head import SupportFit
from harmonia.networks.gkcl.learner import Learner, LearntTask
from harmonia.networks.gkcl.privacy import private_sums
from harmonia.networks.gkcl.recipe import Recipe
from harmonia.networks.gkcl.storage import pack, unpack
from harmonia.parts.privacy import Randomness


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
        backbone: A module from rows to features (n, d), copied. ``encoder``: the generator's latent means, nothing
            else is trained. None: an `MLP`, a `SlimResNet` for rows of shape (channels, height, width), random Fourier
            features where nothing adapts.
        kernel: ``linear``, ``laplace``, ``poly``, ``gaussian``, ``rff`` (fixed random Fourier features), ``vrf``
            (variational ones), `VariationalBases` that have been trained already, which are copied, or a kernel of
            `harmonia.parts.gram`.
        memory: See above.
        n_per_class: Rows a class of a coreset, or made up a step while training.
        n_test_per_class: Rows a class made up for predictions, which cost no memory; of a coreset all rows count.
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
        batch_size: Rows a step, from 2; the last one of a pass is left out where it is alone.
        learning_rate: Of Adam.
        decay: The rate of task t is ``learning_rate decay^t``, but no less than 5e-5.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Of everything random.

    Attributes:
        learner_: The state: ``backbone`` (None for the encoder), ``memory`` (None for statistics).
        tasks_: `LearntTask` by id.
        classes_: All classes so far.
        memory_bytes_: Bytes kept of past tasks, without the network.

    A class may come in several tasks. Told the task, each of its classifiers knows the class from that task's rows
    alone; without tasks, rows of one label are one class, whichever tasks they came with.

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
        device="auto",
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
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> KernelContinualClassifier:
        """Learn one task, forgetting all others; what is refused changes nothing."""
        learnt = copy.copy(self)
        learnt._learn(X, y, None, None, first=True)
        self.__dict__ = learnt.__dict__
        return self

    def partial_fit(self, X: Any, y: Any, task_id: Hashable = None, classes: Any = None) -> KernelContinualClassifier:
        """Learn a task, wholly or not at all: what is refused or interrupted changes nothing.

        Arguments:
            X: Rows (n, d) or images (n, channels, height, width).
            y: Their classes.
            task_id: Name of the task; the next number unless given. Rows can be added to a known task where the
                memory is statistics.
            classes: Classes of the task of which it may have no row here; only statistics can wait for them.

        Raises:
            InputError: a task that is known already, a class without rows, rows of another shape or out of range.
        """
        learnt = copy.copy(self)
        learnt._learn(X, y, task_id, classes, first=not hasattr(self, "learner_"))
        self.__dict__ = learnt.__dict__
        return self

    def _learn(self, X: Any, y: Any, task_id: Hashable, classes: Any, *, first: bool) -> None:
        """Learn a task on a copy of the learner, which takes its place."""
        X, y = validate_data(self, X, y, dtype=np.float64, allow_nd=True, reset=first)
        check_classification_targets(y)
        x = _tensor(X)
        if first:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            self.learner_ = Learner(Recipe(**self.get_params(deep=False)), x, seed)
            self.shape_ = X.shape[1:]
        else:
            self.learner_ = copy.deepcopy(self.learner_)
        self._check_shape(X)
        if task_id is None:
            task_id = next(i for i in range(len(self.tasks_) + 1) if i not in self.tasks_)
        known = self.tasks_.get(task_id)
        if known is not None and self.memory != "statistics":
            mend = "Give it another id; only memory='statistics' adds rows to a task."
            raise InputError("the task has been learnt already", task_id, mend)
        named = known.classes if known is not None else np.unique(y if classes is None else np.asarray(classes))
        unknown, missing = np.setdiff1d(y, named), np.setdiff1d(named, y)
        if len(unknown):
            raise InputError("rows have a class that was not named", unknown[0], "Name all classes of the task.")
        if len(missing) and self.memory != "statistics":
            raise InputError("a class of the task has no rows", missing[0], "Pass some, or leave the class out.")
        self._fits: dict[Hashable, SupportFit] = {}
        self.learner_.learn(task_id, named, x, torch.from_numpy(np.searchsorted(named, y)))

    def decision_function(self, X: Any, task_id: Hashable = None) -> Float64[ndarray, "n ..."]:
        """Scores of the task's classes, or of all classes; where there are two the second's minus the first's."""
        scores = self._scores(X, self._resolve(task_id))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any, task_id: Hashable = None) -> Float64[ndarray, "n classes"]:
        """Softmax of the scores: what training made likely, not calibrated."""
        return torch.from_numpy(self._scores(X, self._resolve(task_id))).softmax(1).numpy()

    def predict(self, X: Any, task_id: Hashable = None) -> ndarray:
        """The class of every row.

        Raises:
            InputError: a task that is not known, or none where there are several.
        """
        name = self._resolve(task_id)
        return self.learner_.columns(name)[0][self._scores(X, name).argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None, task_id: Hashable = None) -> float:
        """Accuracy."""
        return float(np.average(self.predict(X, task_id) == np.asarray(y), weights=sample_weight))

    def generate(self, task_id: Hashable, n_per_class: int = 20) -> tuple[ndarray, ndarray]:
        """A support set of a past task: rows and their classes.

        Arguments:
            task_id: The task.
            n_per_class: Rows a class; of a coreset no more than it keeps.

        Raises:
            NotFittedError: nothing has been learnt.
            InputError: no such task or number of rows, or a memory of sums, which has no rows.
        """
        task_id = self._known(task_id)
        task, memory = self.tasks_[task_id], self.learner_.memory
        if memory is None:
            raise InputError("sums over rows hold no rows", "memory='statistics'", "Use a generator or a coreset.")
        if not (isinstance(n_per_class, Integral) and n_per_class >= 1):
            raise InputError("'n_per_class' counts rows", n_per_class, "Give a whole number, from 1.")
        x, y = memory.sample(task_id, int(n_per_class), self.learner_.drawing("generate", task_id))
        return x.cpu().numpy(), task.classes[y.numpy()]

    def forget(self, task_id: Hashable, X: Any = None, y: Any = None) -> KernelContinualClassifier:
        """Remove a task, or rows of it from the sums that were its memory.

        Exact, but for rounding, where no row has shaped the features: with sums and a `RandomBackbone` of your own
        nothing is left of what was removed. The default random backbone takes its lengthscale, the median distance of
        rows, from the first task, and keeps that one number of it; a backbone that learns keeps more.

        Raises:
            NotFittedError: nothing has been learnt.
            InputError: no such task, rows of it without statistics, or a generator, which cannot be taken apart.
        """
        task_id = self._known(task_id)
        task = self.tasks_[task_id]
        if X is None:
            if self.learner_.memory is not None:
                self.learner_.memory.forget(task_id)
            del self.tasks_[task_id]
        elif task.statistics is None:
            raise InputError("single rows are removed from sums only", self.memory, "Use memory='statistics'.")
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, allow_nd=True, reset=False)
            unknown = np.setdiff1d(y, task.classes)
            if len(unknown):
                raise InputError("rows have a class that the task has not", unknown[0], "Pass rows that it learnt.")
            labels = torch.from_numpy(np.searchsorted(task.classes, y))
            task.statistics = task.statistics - self.learner_.sums(_tensor(X), labels, len(task.classes))
            self.learner_.choose_penalty(task)
        self._fits = {}
        return self

    def release(self, epsilon: float, delta: float = 1e-6, seed: int | None = None) -> KernelContinualClassifier:
        """A copy to be given away: its sums carry noise that makes them (epsilon, delta) differentially private.

        No event is more than ``e^epsilon`` times likelier, but for delta, when one row is added to a task or taken
        away. A task's classes are public, and so must be the backbone's lengthscale; rows of one person in several
        tasks, or several releases, add up (see `harmonia.parts.privacy.compose`). What the copy learns
        afterwards is not protected.

        Arguments:
            epsilon, delta: The budget of each task.
            seed: Makes the noise predictable, for tests; None: the operating system's randomness.

        Raises:
            InputError: a memory of rows, features that data have shaped or whose length is not bounded, or too small
                a budget.

        Example:
            >>> from harmonia.networks.gkcl import RandomBackbone
            >>> from sklearn.datasets import load_digits
            >>> X, y = load_digits(return_X_y=True)
            >>> features = RandomBackbone(64, 64, 2.0, torch.Generator().manual_seed(0))
            >>> model = KernelContinualClassifier(features, memory="statistics").fit(X / 16, y)
            >>> bool(model.release(epsilon=8.0, seed=0).score(X / 16, y) > 0.7)
            True
        """
        check_is_fitted(self, "learner_")
        learner = self.learner_
        drawn = isinstance(self.backbone, RandomBackbone) and self.adapt in ("auto", "never") and learner.bases is None
        if learner.memory is not None or not drawn:
            mend = "Use memory='statistics', kernel='linear' and a RandomBackbone of your own."
            raise InputError("only sums over features that no row has shaped can be released", self, mend)
        noise, copied = Randomness(seed), copy.deepcopy(self)
        for task in copied.tasks_.values():
            assert task.statistics is not None
            task.statistics, penalty = private_sums(task.statistics, epsilon, delta, noise)
            task.head.raw_penalty.data.fill_(penalty)
        copied._fits = {}
        return copied

    def checkpoint(self) -> Checkpoint:
        """The fitted classifier as one medium: networks, memory and tasks, and no other rows than the memory's.

        Raises:
            NotFittedError: nothing has been learnt.
            InputError: tasks or classes that are neither words nor numbers.
        """
        check_is_fitted(self, "learner_")
        return pack(self)

    def save(self, path: str | Path) -> Path:
        """Write the fitted classifier as safetensors; see `checkpoint`."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls, path: str | Path, **parameters: Any) -> KernelContinualClassifier:
        """Read what `save` wrote; it predicts the same, and learns on.

        Arguments:
            path: The file.
            parameters: Those to be changed, such as ``device``. A backbone or kernel that was an object has to be
                given again, of the same sizes; its weights come from the file.

        Raises:
            InputError: such an object is missing.
            WeightsError: another file.
        """
        found: KernelContinualClassifier = unpack(cls, path, parameters)
        return found

    @property
    def memory_bytes_(self) -> int:
        """Bytes kept of past tasks: rows, generator or sums (the symmetric one by its half), in single precision.

        The backbone, which all tasks share, and the two numbers of each task's regression are not counted.
        """
        if not hasattr(self, "learner_"):
            return 0
        if self.learner_.memory is not None:
            return self.learner_.memory.nbytes
        return sum(task.statistics.nbytes for task in self.tasks_.values() if task.statistics is not None)

    @property
    def tasks_(self) -> dict[Hashable, LearntTask]:
        """What every task left behind, in the order they were learnt."""
        return self.learner_.tasks

    @property
    def classes_(self) -> ndarray:
        """All classes so far, sorted; none where all tasks have been forgotten."""
        return np.unique(np.concatenate([task.classes for task in self.tasks_.values()] or [np.empty(0)]))

    @torch.no_grad()
    def _scores(self, X: Any, name: Hashable) -> Float64[ndarray, "n classes"]:
        X = validate_data(self, X, dtype=np.float64, allow_nd=True, reset=False)
        self._check_shape(X)
        fit = self._fits.get(name)
        if fit is None:
            fit = self._fits[name] = self.learner_.classifier(name)
        backbone, scale = self.learner_.precise(name).backbone, self.tasks_[name].head.scale.double()
        batches = (rows.to(self.learner_.device) for rows in _tensor(X).double().split(1024))
        return torch.cat([(scale * fit(backbone(rows))).cpu() for rows in batches]).numpy()

    def _resolve(self, task_id: Hashable) -> Hashable:
        """The task whose classifier is asked: without tasks the last one's, which knows all classes."""
        check_is_fitted(self, "learner_")
        if not self.tasks_:
            raise InputError("all tasks have been forgotten", "no task", "Learn one.")
        if not self.task_aware:
            return next(reversed(self.tasks_))
        if task_id is None and len(self.tasks_) == 1:
            return next(iter(self.tasks_))
        return self._known(task_id)

    def _known(self, task_id: Hashable) -> Hashable:
        check_is_fitted(self, "learner_")
        known = f"Pass one of: {', '.join(map(repr, self.tasks_)) or 'none is left'}."
        if task_id is None:
            raise InputError("several tasks are known", "no task_id", known)
        if task_id not in self.tasks_:
            raise InputError("the task is not known", repr(task_id), known)
        return task_id

    def _check_shape(self, X: ndarray) -> None:
        if X.shape[1:] != self.shape_:
            raise InputError("rows have another shape", X.shape[1:], f"Pass rows of shape {self.shape_}.")


def _tensor(rows: ndarray) -> Float[Tensor, "n *shape"]:
    """Rows in single precision.

    Raises:
        InputError: rows that are too long for it; it names the largest value.
    """
    x = torch.tensor(rows, dtype=torch.float32)
    if not x.square().sum().isfinite():
        mend = "Scale the columns, for instance by sklearn.preprocessing.StandardScaler."
        raise InputError("values are too large for single precision", f"{np.abs(rows).max():.3g}", mend)
    return x
