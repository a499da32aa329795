"""Where species live, from records of presence alone, and that knowledge as a prior for an image classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder.classifier import LocationClassifier
from harmonia.symmetry.location_encoder.estimator import LocationEstimator
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import WorldMap
from harmonia.symmetry.location_encoder.points import checked_by
from harmonia.symmetry.location_encoder.targets import check_labels, check_weights

EPSILON = 1e-5


class PresenceOnlySpeciesModel(LocationEstimator):
    r"""Ranges of species from places where they were seen; nobody notes where they are not.

    The full "assume negative" loss (Cole et al. 2023), with p_k = sigmoid(network(encoding(lon, lat)))_k, for a record
    of species s among K and a point r drawn uniformly on the sphere:

        (lambda (-log p_s) + sum_{k != s} -log(1 - p_k) + sum_k -log(1 - p_k(r))) / K.

    The outputs rank places for one species; they are not probabilities of presence.

    Arguments:
        positive_weight: lambda; the paper uses 2048 for 8142 species. A quarter of the number of species (at least 1)
            unless given.
        Others: as `LocationClassifier`.

    Example:
        >>> import numpy as np
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> X = random_points(600)
        >>> species = np.where(X[:, 1] > 0, "bear", "penguin")
        >>> model = PresenceOnlySpeciesModel(degree=4, max_epochs=15, learning_rate=5e-3).fit(X, species)
        >>> north, south = model.suitability([[0.0, 60.0], [0.0, -60.0]])[:, 0]
        >>> bool(north > south)
        True
    """

    def __init__(
        self,
        encoding: str = "sh",
        network: str = "siren",
        *,
        positive_weight: float | None = None,
        degree: int = 10,
        hidden: int = 64,
        layers: int = 2,
        num_scales: int = 16,
        min_radius: float = 10.0,
        max_radius: float = 360.0,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.0,
        batch_size: int = 500,
        max_epochs: int = 500,
        patience: int = 30,
        weight_average: float = 0.99,
        val_fraction: float = 0.2,
        coordinate_order: Any = "lonlat",
        random_state: int | None = 0,
    ) -> None:
        super().__init__(
            encoding,
            network,
            degree=degree,
            hidden=hidden,
            layers=layers,
            num_scales=num_scales,
            min_radius=min_radius,
            max_radius=max_radius,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            batch_size=batch_size,
            max_epochs=max_epochs,
            patience=patience,
            weight_average=weight_average,
            val_fraction=val_fraction,
            coordinate_order=coordinate_order,
            random_state=random_state,
        )
        self.positive_weight = positive_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> PresenceOnlySpeciesModel:
        """Learn from the places of records and their species.

        Raises:
            InputError: bad points or missing names, with their rows.
        """
        points = checked_by(self, X, self.coordinate_order, reset=True)
        self.classes_, indices = np.unique(check_labels(y, len(points)), return_inverse=True)
        count = len(self.classes_)
        weight = max(1.0, count / 4) if self.positive_weight is None else self.positive_weight

        def presence(outputs: Tensor, targets: Tensor) -> Tensor:
            absent = _minus_log(-outputs)
            here = outputs.gather(1, targets[:, None])[:, 0]
            others = absent.sum(1) - _minus_log(-here)
            return (weight * _minus_log(here) + others) / count

        self._fit(
            points,
            torch.from_numpy(indices),
            check_weights(sample_weight, len(points)),
            None,
            count,
            presence,
            background=lambda outputs: _minus_log(-outputs).mean(),
        )
        self.processes_ = []
        return self

    def suitability(self, X: ArrayLike) -> NDArray[np.float64]:
        """How well each place suits each species, between 0 and 1, ``(n, species)``."""
        return torch.sigmoid(self._outputs(X)).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The species that each place suits best."""
        best = self._outputs(X).argmax(1).numpy()
        return self.classes_[best]

    def _map(self, grid: Grid, outputs: Tensor, *, species: Any = None) -> WorldMap:  # type: ignore[override]
        """Suitability for `species`, or of every place the species it suits best."""
        scores = torch.sigmoid(outputs.to(torch.float64)).numpy()
        if species is None:
            names = tuple(str(name) for name in self.classes_)
            return WorldMap(grid, scores.argmax(-1), "most suited species", names, scores.max(-1))
        known = self.classes_.tolist()
        if species not in known:
            raise InputError("this species is not in the records", repr(species), f"Known: {known[:8]}.")
        return WorldMap(grid, scores[..., known.index(species)], f"suitability for {species}")

    def learnt(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    def restore(self, learnt: dict[str, Any]) -> None:
        self.classes_ = np.array(learnt["classes"])


class GeoPriorCombiner:
    """An image classifier's probabilities times what the place makes likely: p(class | image) p(class | place).

    Arguments:
        model: A fitted `PresenceOnlySpeciesModel` or `LocationClassifier`.
        classes: Classes of the image classifier, in the order of its columns; a class that the model does not know
            keeps its probability from the image. Those of the model unless given.

    Example:
        >>> import numpy as np
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> X = random_points(400)
        >>> model = LocationClassifier(degree=4, max_epochs=15, learning_rate=5e-3).fit(X, X[:, 1] > 0)
        >>> GeoPriorCombiner(model).combine([[0.5, 0.5]], [[0.0, 80.0]]).argmax(1)
        array([1])
    """

    def __init__(self, model: PresenceOnlySpeciesModel | LocationClassifier, classes: ArrayLike | None = None) -> None:
        known = model.classes_.tolist()
        names = known if classes is None else np.asarray(classes).tolist()
        self.model = model
        self.columns = np.array([known.index(name) if name in known else -1 for name in names])
        if (self.columns < 0).all():
            raise InputError("the classifiers share no class", f"{names[:5]} and {known[:5]}", "Name classes alike.")

    def combine(self, image_probabilities: ArrayLike, X: ArrayLike) -> NDArray[np.float64]:
        """Normalised products, ``(n, classes)``.

        Raises:
            InputError: not one row for each point, or not one column for each class.
        """
        probabilities = np.asarray(image_probabilities, dtype=np.float64)
        place = self.model.suitability(X) if hasattr(self.model, "suitability") else self.model.predict_proba(X)
        if probabilities.shape != (len(place), len(self.columns)):
            raise InputError(
                "image probabilities are one row a point and one column a class",
                f"{probabilities.shape} instead of {(len(place), len(self.columns))}",
                "Match points and classes.",
            )
        prior = np.where(self.columns >= 0, place[:, self.columns], 1.0)
        product = probabilities * prior
        return product / np.maximum(product.sum(axis=1, keepdims=True), 1e-300)


def _minus_log(logits: Tensor) -> Tensor:
    """-log(sigmoid(logits) + epsilon), the official code's bound on the loss of one point."""
    return -torch.log(F.sigmoid(logits) + EPSILON)
