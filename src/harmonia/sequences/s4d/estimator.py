"""S4D as scikit-learn estimators: sequences in, classes or numbers out, at any length and sampling rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import softmax
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.parts.sequences import Scaler, class_index, listed_classes
from harmonia.sequences.s4d.sequence_estimator import SequenceEstimator


class S4DClassifier(ClassifierMixin, SequenceEstimator):
    """Classify sequences by a network of diagonal state space models.

    S4D (arXiv 2206.11893). Takes ``(n, time)``, ``(n, time, channels)`` or a list of arrays of any lengths; inputs are
    standardised by channel. Training keeps the eigenvalues' learning rate small and undecayed.

    Arguments:
        d_model: Width of the network.
        n_layers: Layers.
        d_state: State size of a head.
        init: ``lin``, ``inv``, ``legs``, ... see `harmonia.sequences.s4d.initialization`.
        discretization: ``zoh`` or ``bilinear``.
        dt_min: Smallest initial step: a head remembers about ``2 / dt`` samples.
        dt_max: Largest initial step.
        bidirectional: Look ahead too: better for whole recordings, impossible for streams.
        bandlimit: Silence modes above this fraction of the Nyquist frequency; 0.5 for inputs that may later come at
            half the rate.
        n_ssm: Copies of A and B; None for one each head.
        dropout: Probability.
        norm: ``layer`` or ``batch``.
        prenorm: Normalise before layers.
        pooling: ``mean`` or ``last`` over time.
        epochs: Passes over the data.
        batch_size: Sequences a step.
        learning_rate: Peak.
        ssm_learning_rate: Peak for A, B and dt.
        weight_decay: For all but those.
        device: ``auto``, ``cpu`` or ``cuda``.
        checkpoints: Folder from which a stopped run is resumed, the same data and options given; None keeps nothing.
        random_state: Seed.

    Attributes:
        classes_: Labels.
        model_: The trained `S4DModel`.
        history_: Training loss over the run.

    Example:
        >>> time = np.arange(64)
        >>> X = np.stack([np.sin(0.3 * (1 + i % 2) * time + i) for i in range(40)])
        >>> model = S4DClassifier(d_model=8, n_layers=1, d_state=8, epochs=30, batch_size=8, learning_rate=0.02)
        >>> model.fit(X, np.arange(40) % 2).score(X, np.arange(40) % 2)
        1.0
        >>> model.stream().push(X[0])[-1].round(3).shape
        (2,)
    """

    def fit(self, X: Any, y: Any) -> S4DClassifier:
        """Train.

        Raises:
            InputError: sequences that are not finite or fit nowhere, fewer than two classes, impossible options, or
                a folder of checkpoints that holds another run.
        """
        sequences = self._read(X, reset=True)
        self.classes_, index = class_index(y, len(sequences))
        return self._fit(sequences, torch.from_numpy(index), len(self.classes_))

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "sequences classes"]:
        """Class probabilities."""
        return self._finished(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each."""
        found = self._outputs(X).argmax(1)
        return self.classes_[found]

    def _loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(found, wanted)

    def _finished(self, outputs: Float64[np.ndarray, "time outputs"]) -> Float64[np.ndarray, "time outputs"]:
        return softmax(outputs, axis=1)

    def _described(self) -> dict[str, Any]:
        return {"classes": listed_classes(self.classes_)}

    def _restore(self, described: dict[str, Any]) -> None:
        self.classes_ = np.array(described["classes"])


class S4DRegressor(MultiOutputMixin, RegressorMixin, SequenceEstimator):
    """Predict numbers from sequences by a network of diagonal state space models.

    As `S4DClassifier`, with the squared error of standardised targets as its loss; several targets a sequence are
    allowed.

    Attributes:
        model_: The trained `S4DModel`.
        history_: Training loss over the run.

    Example:
        >>> X = np.random.default_rng(0).standard_normal((60, 30))
        >>> y = X.mean(1)
        >>> model = S4DRegressor(d_model=8, n_layers=1, d_state=8, epochs=60, learning_rate=0.02, dropout=0.0)
        >>> model.fit(X, y).score(X, y) > 0.9
        True
    """

    def fit(self, X: Any, y: Any) -> S4DRegressor:
        """Train.

        Raises:
            InputError: sequences or targets that are no numbers, not finite or fit nowhere, impossible
                options, or a folder of checkpoints that holds another run.
        """
        sequences = self._read(X, reset=True)
        if y is None:
            raise InputError("a regressor requires y to be passed, but the target y is None", y, "Pass targets.")
        targets = as_numbers(y, "targets")
        if targets.ndim not in (1, 2) or len(targets) != len(sequences):
            got = f"{targets.shape} for {len(sequences)}"
            raise InputError("one target, or row of targets, belongs to each sequence", got, "Pass as many.")
        if not np.isfinite(targets).all():
            where = int(np.argwhere(~np.isfinite(targets))[0][0])
            raise InputError("the targets contain NaN or infinity", f"in sequence {where}", "Leave it out.")
        self.columns_ = 0 if targets.ndim == 1 else targets.shape[1]
        rows = targets[:, None] if targets.ndim == 1 else targets
        self.target_scaler_ = Scaler.of_rows(rows)
        return self._fit(sequences, self.target_scaler_.apply(torch.from_numpy(rows)), rows.shape[1])

    def predict(self, X: Any) -> Float64[np.ndarray, "sequences *targets"]:
        """The targets of each."""
        found = self._finished(self._outputs(X))
        return found if self.columns_ else found[:, 0]

    def _loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(found, wanted)

    def _finished(self, outputs: Float64[np.ndarray, "time outputs"]) -> Float64[np.ndarray, "time outputs"]:
        return outputs * self.target_scaler_.spread + self.target_scaler_.mean

    def _described(self) -> dict[str, Any]:
        scaler = self.target_scaler_
        return {"targets": {"mean": scaler.mean.tolist(), "spread": scaler.spread.tolist()}, "columns": self.columns_}

    def _restore(self, described: dict[str, Any]) -> None:
        targets = described["targets"]
        self.target_scaler_ = Scaler(np.array(targets["mean"]), np.array(targets["spread"]))
        self.columns_ = described["columns"]
