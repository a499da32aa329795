"""Classes of sequences of many channels."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.sparse import issparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.checks import check_whole
from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.parts.saved_network import pack, unpack
from harmonia.parts.sequences import Scaler, SequenceInput, Sequences, class_index, listed_classes
from harmonia.parts.training import check_training
from harmonia.sequences.chimera.fitting import fit_model, new_model
from harmonia.sequences.chimera.network import ChimeraConfig, ChimeraModel

STEPS = 64
"""Steps of the grid that the longest sequence is cut into at most, where the patch is not given."""


class ChimeraClassifier(ClassifierMixin, SequenceInput, BaseEstimator):
    """Classify sequences of many channels by two-dimensional selective state spaces.

    Chimera (arXiv 2406.04320): states run along time and across channels at once; the means over time of all channels
    decide. Takes ``(n, time)``, ``(n, time, channels)`` or a list of arrays of any lengths; inputs are standardised by
    channel. Labels are one class a sequence, or a matrix of zeros and ones ``(n, labels)`` where a sequence has any
    number of them.

    Arguments:
        d_model: Channels of the network.
        d_state: Size of each of the two states.
        n_layers: Blocks.
        patch: Values a step of the grid; None for at most 64 steps.
        dropout: Probability.
        transition: ``diag`` (2-D Mamba) or ``scalar`` (2-D Mamba-2).
        coupled: Whether channels know of each other before the end.
        seasonal: Whether there is a seasonal head beside the trend head.
        variate_embedding: Whether each channel has a learned embedding, and weights in the decision, of its own.
            Without, their order alone tells channels apart, and attention weighs them.
        epochs: Passes over the data.
        batch_size: Sequences a step.
        learning_rate: Peak.
        weight_decay: For all but rates, steps, couplings and norms.
        device: ``auto``, ``cpu`` or ``cuda``.
        checkpoints: Folder from which a stopped run is resumed; None keeps nothing.
        random_state: Seed.

    Attributes:
        classes_: Labels; their numbers if they came as a matrix.
        several_: Whether a sequence has any number of labels.
        model_: The trained `ChimeraModel`.
        history_: Training loss over the run.

    Example:
        >>> time = np.arange(32)
        >>> X = np.stack([np.sin(0.4 * (1 + i % 2) * time + i) for i in range(24)])
        >>> model = ChimeraClassifier(d_model=8, d_state=4, n_layers=1, epochs=30, batch_size=8, learning_rate=0.02)
        >>> model.fit(X, np.arange(24) % 2).score(X, np.arange(24) % 2)
        1.0
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        *,
        d_model=32,
        d_state=8,
        n_layers=2,
        patch=None,
        dropout=0.1,
        transition="diag",
        coupled=True,
        seasonal=True,
        variate_embedding=True,
        epochs=30,
        batch_size=16,
        learning_rate=4e-3,
        weight_decay=0.01,
        device="auto",
        checkpoints=None,
        random_state=0,
    ):
        self.d_model = d_model
        self.d_state = d_state
        self.n_layers = n_layers
        self.patch = patch
        self.dropout = dropout
        self.transition = transition
        self.coupled = coupled
        self.seasonal = seasonal
        self.variate_embedding = variate_embedding
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.checkpoints = checkpoints
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any) -> ChimeraClassifier:
        """Train.

        Raises:
            InputError: sequences that are not finite or fit nowhere, fewer than two classes, impossible options.
        """
        width, state, layers, epochs = (
            check_whole(name, getattr(self, name)) for name in ("d_model", "d_state", "n_layers", "epochs")
        )
        check_training(self.batch_size, self.learning_rate, self.weight_decay)
        sequences = self._read(X, reset=True)
        self.classes_, targets, self.several_ = _targets(y, len(sequences))
        longest = sequences.values.shape[1]
        config = ChimeraConfig(
            d_model=width,
            d_state=state,
            n_layers=layers,
            patch=math.ceil(longest / STEPS) if self.patch is None else check_whole("patch", self.patch),
            dropout=self.dropout,
            transition=self.transition,
            coupled=self.coupled,
            bidirectional=sequences.channels > 1,
            seasonal=self.seasonal,
            classes=len(self.classes_),
            variates=sequences.channels if self.variate_embedding and sequences.channels > 1 else 0,
        )
        self.scaler_ = Scaler.of(sequences)
        values = Sequences(self._scaled(sequences.values, sequences.lengths), sequences.lengths)
        seed = int(check_random_state(self.random_state).randint(2**31))

        def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
            rows = torch.randperm(len(values), generator=generator)[: self.batch_size]
            return (*values.take(rows), targets[rows])

        def loss(network: ChimeraModel, batch: tuple[Tensor, ...]) -> Tensor:
            inputs, lengths, wanted = batch
            measure = F.binary_cross_entropy_with_logits if self.several_ else F.cross_entropy
            return measure(network.classify(inputs, lengths), wanted)

        trained = fit_model(
            new_model(config, seed),
            draw,
            loss,
            steps=epochs * math.ceil(len(values) / self.batch_size),
            learning_rate=float(self.learning_rate),
            weight_decay=float(self.weight_decay),
            seed=seed,
            device=self.device,
            folder=self.checkpoints,
        )
        self.model_, self.history_ = trained.model, trained.history
        return self

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "sequences classes"]:
        """Class probabilities; where a sequence has any number of labels, that of each label by itself."""
        logits = self._logits(X)
        return expit(logits) if self.several_ else softmax(logits, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each, or a matrix of its more than half probable labels."""
        logits = self._logits(X)
        return (logits > 0).astype(np.int64) if self.several_ else self.classes_[logits.argmax(1)]

    def _logits(self, X: Any) -> Float64[np.ndarray, "sequences classes"]:
        check_is_fitted(self)
        sequences = self._read(X, reset=False)
        # In float64, so that the company of a sequence in its batch changes no digit that counts.
        model = copy.deepcopy(self.model_).eval().double()
        device = model.embed.weight.device
        cells = sequences.channels * sequences.values.shape[1] * model.config.d_model * model.config.d_state
        size = max(1, (1 << 24) * model.config.patch // cells)
        # Sequences of like length together, so that little is padded.
        order = torch.argsort(sequences.lengths, stable=True)
        found = torch.empty(len(sequences), len(self.classes_), dtype=torch.float64)
        with torch.no_grad():
            for rows in order.split(size):
                values, lengths = sequences.take(rows)
                scaled = self._scaled(values, lengths).double()
                found[rows] = model.classify(scaled.to(device), lengths.to(device)).cpu()
        return found.numpy()

    def _scaled(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Standardised, zeros behind the end."""
        inside = torch.arange(values.shape[1]) < lengths[:, None]
        return self.scaler_.apply(values) * inside[..., None]

    def checkpoint(self) -> Checkpoint:
        """The fitted classifier as one medium.

        Raises:
            InputError: classes that are neither words nor numbers.
        """
        check_is_fitted(self)
        described = {
            "classes": listed_classes(self.classes_),
            "several": self.several_,
            "scaler": {"mean": self.scaler_.mean.tolist(), "spread": self.scaler_.spread.tolist()},
            "flat": self.flat_,
            "features": self.n_features_in_,
        }
        return pack("chimera", "ChimeraClassifier", self.model_, described)

    def save(self, path: str | Path) -> Path:
        """Write the fitted classifier as safetensors."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls, path: str | Path) -> ChimeraClassifier:
        """Read what `save` wrote.

        Raises:
            WeightsError: another file.
        """
        model, described, _ = unpack(path, "chimera", "ChimeraClassifier", ChimeraModel)
        known = cls._get_param_names()
        given = {name: value for name, value in vars(model.config).items() if name in known}
        found = cls(**given, variate_embedding=model.config.variates > 0)
        found.model_, found.history_ = model, ()
        found.classes_, found.several_ = np.array(described["classes"]), described["several"]
        found.scaler_ = Scaler(*(np.array(described["scaler"][name]) for name in ("mean", "spread")))
        found.flat_, found.n_features_in_ = described["flat"], described["features"]
        return found


def _targets(y: Any, count: int) -> tuple[np.ndarray, Tensor, bool]:
    """Classes, the place of each sequence's class or its row of a matrix of labels, and whether it is the latter."""
    if y is None or type_of_target(y) != "multilabel-indicator":
        classes, index = class_index(y, count)
        return classes, torch.from_numpy(index), False
    labels = y.toarray() if issparse(y) else np.asarray(y)
    if len(labels) != count:
        raise InputError("a row of labels belongs to each sequence", f"{len(labels)} for {count}", "Pass as many.")
    return np.arange(labels.shape[1]), torch.from_numpy(labels.astype(np.float32)), True
