"""Read a fitted estimator back from its file."""

from __future__ import annotations

import json
from pathlib import Path

from harmonia.core.errors import WeightsError
from harmonia.core.weights import Checkpoint
from harmonia.symmetry.location_encoder.classifier import LocationClassifier
from harmonia.symmetry.location_encoder.encoder import PROCESS, LocationEncoder
from harmonia.symmetry.location_encoder.estimator import LocationEstimator
from harmonia.symmetry.location_encoder.regressor import LocationRegressor
from harmonia.symmetry.location_encoder.species import PresenceOnlySpeciesModel
from harmonia.symmetry.location_encoder.uncertainty import SphereProcess

_ESTIMATORS: dict[str, type[LocationEstimator]] = {
    kind.__name__: kind for kind in (LocationClassifier, LocationRegressor, PresenceOnlySpeciesModel)
}


def load_model(source: str | Path | Checkpoint) -> LocationEstimator:
    """The estimator that ``model.checkpoint().write(path)`` wrote.

    Raises:
        WeightsError: no such file, or one without an estimator.

    Example:
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> X = random_points(100)
        >>> model = LocationClassifier(degree=3, max_epochs=2).fit(X, X[:, 0] > 0)
        >>> bool((load_model(model.checkpoint()).predict_proba(X) == model.predict_proba(X)).all())
        True
    """
    checkpoint = source if isinstance(source, Checkpoint) else Checkpoint.read(source)
    kind = _ESTIMATORS.get(checkpoint.metadata.get("estimator", ""))
    if kind is None:
        raise WeightsError(
            "the file holds no fitted location model",
            f"metadata {sorted(checkpoint.metadata) or 'none'}",
            "Use the model that the job 'fit' wrote.",
        )
    model = kind(**json.loads(checkpoint.metadata["parameters"]))
    model.encoder_ = LocationEncoder.from_checkpoint(checkpoint)
    model.n_features_in_ = 2
    learnt = json.loads(checkpoint.metadata["learnt"])
    model.restore(learnt)
    model.processes_ = [
        SphereProcess(checkpoint.tensors[f"{PROCESS}{i}"].double().numpy(), *numbers)
        for i, numbers in enumerate(learnt["processes"])
        if f"{PROCESS}{i}" in checkpoint.tensors
    ]
    return model
