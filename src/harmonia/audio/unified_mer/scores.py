"""How well tags and ratings are told."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from harmonia.core.errors import InputError
from harmonia.core.progress import say


def tag_scores(labels: Float32[ndarray, "n tags"], proba: Float32[ndarray, "n tags"]) -> dict[str, float]:
    """Macro average precision and macro ROC-AUC over the tags that some songs have and some have not.

    Raises:
        InputError: there is no such tag.

    Example:
        >>> tag_scores(np.float32([[1, 0], [0, 1], [0, 0]]), np.float32([[0.9, 0.2], [0.1, 0.3], [0.2, 0.1]]))
        {'pr_auc': 1.0, 'roc_auc': 1.0}
    """
    varying = (labels.min(0) == 0) & (labels.max(0) == 1)
    if not varying.any():
        raise InputError("no tag tells the songs apart", f"{labels.shape[1]} tags", "Pass songs with different tags.")
    if not varying.all():
        say(f"Scores leave out {int((~varying).sum())} tags that all songs have, or none.")
    truth, found = labels[:, varying], proba[:, varying]
    return {
        "pr_auc": float(average_precision_score(truth, found, average="macro")),
        "roc_auc": float(roc_auc_score(truth, found, average="macro")),
    }


def rating_scores(labels: Float32[ndarray, "n 2"], found: Float32[ndarray, "n 2"]) -> dict[str, float]:
    """R2 and root mean squared error of valence and arousal; R2 is not a number where all ratings are the same.

    Example:
        >>> rating_scores(np.float32([[1, 2], [3, 4]]), np.float32([[1, 3], [3, 5]]))
        {'r2_valence': 1.0, 'rmse_valence': 0.0, 'r2_arousal': 0.0, 'rmse_arousal': 1.0}
    """
    scores = {}
    for column, name in enumerate(("valence", "arousal")):
        truth, guess = labels[:, column], found[:, column]
        constant = len(truth) < 2 or float(np.ptp(truth)) == 0
        scores[f"r2_{name}"] = float("nan") if constant else float(r2_score(truth, guess))
        scores[f"rmse_{name}"] = float(np.sqrt(np.mean((truth - guess) ** 2)))
    return scores
