"""Maps of classes learnt from labelled points."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder.estimator import LocationEstimator
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import WorldMap
from harmonia.symmetry.location_encoder.points import checked_by
from harmonia.symmetry.location_encoder.targets import check_labels, check_weights
from harmonia.symmetry.location_encoder.uncertainty import SphereProcess


class LocationClassifier(ClassifierMixin, LocationEstimator):
    """Classes as a function of longitude and latitude: land or ocean, countries, biomes, soil types.

    softmax(network(encoding(lon, lat))), or a sigmoid for two classes, fitted by cross entropy.

    Arguments:
        encoding: ``sh`` (spherical harmonics) or a baseline, see `LocationEncoder`.
        network: ``siren``, ``fcnet`` or ``linear``.
        degree: Degrees L of the harmonics; details are about 180 / L degrees.
        hidden: Units of a hidden layer.
        layers: Hidden layers of ``siren``.
        num_scales, min_radius, max_radius: Of the multi-scale encodings.
        learning_rate, weight_decay, batch_size, max_epochs, patience: Of the training with Adam.
        weight_average: Decay of the running mean of the weights; 0 keeps the last ones, as the paper does.
        val_fraction: Share of the points that is held out to stop the training; 0 runs all epochs.
        coordinate_order: Columns of X: ``lonlat`` or ``latlon``.
        random_state: Seed of weights, split and batches.

    Example:
        >>> import numpy as np
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> X = random_points(400)
        >>> model = LocationClassifier(degree=4, max_epochs=20, learning_rate=5e-3).fit(X, X[:, 1] > 0)
        >>> bool(model.score(X, X[:, 1] > 0) > 0.9)
        True
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> LocationClassifier:
        """Learn from points and their classes.

        Arguments:
            X: ``(n, 2)`` degrees.
            y: ``(n,)`` labels.
            sample_weight: ``(n,)``; `area_weights` undo sampling that is uniform in degrees.
            X_val, y_val: Points that stop the training, instead of a random part of X.

        Raises:
            InputError: bad points (with their rows), missing labels, a single class, labels that are measurements.
        """
        points = checked_by(self, X, self.coordinate_order, reset=True)
        labels = check_labels(y, len(points))
        self.classes_, indices = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("there is one class only", repr(self.classes_[0]), "Give points of two classes or more.")
        binary = len(self.classes_) == 2
        weights = check_weights(sample_weight, len(points))
        held_out = self._validation(X_val, y_val, lambda y, n: torch.from_numpy(self._indices(check_labels(y, n))))
        loss = _binary_cross_entropy if binary else _cross_entropy
        self._fit(points, torch.from_numpy(indices), weights, held_out, 1 if binary else len(self.classes_), loss)
        self.shares_ = np.bincount(indices) / len(indices)
        commonest = (indices == self.shares_.argmax()).astype(np.float64)
        self.processes_ = [SphereProcess.fit(points, commonest, self.seed_)]
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, ``(n, classes)``."""
        return self._probabilities(self._outputs(X)).numpy()

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits: one a point for two classes, else one for each class."""
        logits = self._outputs(X).numpy()
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of each point."""
        outputs = self._outputs(X)
        return self.classes_[self._probabilities(outputs).argmax(1).numpy()]

    def _map(  # type: ignore[override]
        self,
        grid: Grid,
        outputs: Tensor,
        *,
        of: Literal["class", "probability", "entropy"] = "class",
        label: Any = None,
    ) -> WorldMap:
        """`of`: the class, the probability of `label` (of the last class unless given), or the entropy in bits.

        The entropy is that of the network's probabilities mixed with the shares of the classes, as far as the points
        leave a place unknown (`SphereProcess.ignorance`); where they do, classes are drawn pale.
        """
        probabilities = self._probabilities(outputs.to(torch.float64)).numpy()
        names = tuple(str(name) for name in self.classes_)
        ignorance = self._ignorance(grid)[..., None]
        if of == "class":
            return WorldMap(grid, probabilities.argmax(-1), "class", names, (probabilities * (1 - ignorance)).max(-1))
        if of == "entropy":
            mixed = (1 - ignorance) * probabilities + ignorance * self.shares_
            bits = -(mixed * np.log2(np.maximum(mixed, 1e-300))).sum(-1)
            return WorldMap(grid, bits, "uncertainty (bits)")
        if of == "probability":
            index = len(names) - 1 if label is None else int(self._indices(np.array([label]))[0])
            return WorldMap(grid, probabilities[..., index], f"probability of {names[index]}")
        raise InputError("there is no such map", f"'{of}'", "Use 'class', 'probability' or 'entropy'.")

    def _probabilities(self, outputs: Tensor) -> Tensor:
        if outputs.shape[-1] == 1:
            return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], dim=-1)
        return torch.softmax(outputs, dim=-1)

    def _indices(self, labels: NDArray[Any]) -> NDArray[np.intp]:
        known = {label: i for i, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in labels.tolist() if label not in known]
        if unknown:
            raise InputError(
                "a label does not occur in the training data", repr(unknown[0]), f"Known: {list(known)[:8]}."
            )
        return np.array([known[label] for label in labels.tolist()])

    def learnt(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "shares": self.shares_.tolist()}

    def restore(self, learnt: dict[str, Any]) -> None:
        self.classes_, self.shares_ = np.array(learnt["classes"]), np.array(learnt["shares"])


def _binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), reduction="none")


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")
