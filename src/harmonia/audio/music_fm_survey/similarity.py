"""How alike two representations are, and directions of concepts in them.

Linear CKA (Kornblith et al. 2019), ``|X^T Y|^2 / (|X^T X| |Y^T Y|)`` of centred features: 1 for features that differ
by a rotation and a scale. RSA: the rank correlation of the distances between all pairs of clips.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from harmonia.core.errors import InputError
from harmonia.parts.probing import ProbeRegressor


def linear_cka(first: Float[ndarray, "clips d"], second: Float[ndarray, "others e"]) -> float:
    """Linear centred kernel alignment, 0 to 1; by features or by clips, whichever are fewer.

    Raises:
        InputError: different clips, or features that do not vary.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        >>> round(linear_cka(x, 3 * x @ rotation + 1), 6)
        1.0
    """
    x, y = _centred(first), _centred(second)
    if len(x) != len(y):
        raise InputError("representations are compared on the same clips", f"{len(x)} and {len(y)}", "Align them.")
    if len(x) < min(x.shape[1], y.shape[1]):
        k, m = x @ x.T, y @ y.T
        cross, own = float((k * m).sum()), float(np.linalg.norm(k) * np.linalg.norm(m))
    else:
        cross = float(np.square(x.T @ y).sum())
        own = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    if own == 0:
        raise InputError("a representation does not vary", "equal features of all clips", "Leave it out.")
    return cross / own


def rsa(first: Float[ndarray, "clips d"], second: Float[ndarray, "others e"]) -> float:
    """Rank correlation of the distances between clips (cosine) in both representations, -1 to 1."""
    if len(first) != len(second) or len(first) < 4:
        raise InputError("representations are compared on the same clips", f"{len(first)} and {len(second)}", "Align.")
    distances = (pdist(_centred(each), "cosine") for each in (first, second))
    return float(spearmanr(*distances).statistic)


def similarity_matrix(representations: dict[str, Float[ndarray, "clips _"]]) -> Float64[ndarray, "n n"]:
    """Linear CKA between all representations."""
    values = list(representations.values())
    return np.array([[linear_cka(a, b) for b in values] for a in values])


class Concept(NamedTuple):
    """A direction along which a quantity grows: a step of `direction` raises it by one standard deviation."""

    direction: Float64[ndarray, " d"]
    mean: float
    deviation: float


class Steered(NamedTuple):
    """What moving along a direction does, read by an independent probe: the share of the wanted change that it reads
    (1 is right), and the change of another quantity in its standard deviations (0 is right)."""

    effect: float
    leak: float


def concept_direction(features: Float[ndarray, "clips d"], values: ArrayLike) -> Concept:
    """The direction of a quantity (tempo, loudness, pitch): the smallest step that a ridge probe reads as one standard
    deviation of it.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> direction = concept_direction(x, 2 * x[:, 1]).direction
        >>> bool(np.abs(direction / np.linalg.norm(direction) - [0, 1, 0]).max() < 0.02)
        True
    """
    numbers = np.asarray(values, dtype=np.float64)
    deviation = float(numbers.std())
    if deviation == 0:
        raise InputError("the quantity does not vary", numbers[0], "Pass clips in which it does.")
    weights = ProbeRegressor().fit(features, numbers).coef_[:, 0]
    scale = features.std(0).astype(np.float64)
    # The smallest step in units of the features' own deviations, so that quiet features count as much as loud ones.
    lifted = scale**2 * weights
    return Concept(lifted * deviation / max(float(weights @ lifted), 1e-300), float(numbers.mean()), deviation)


def steer(
    features: Float[ndarray, "clips d"], values: ArrayLike, other: ArrayLike, *, steps: float = 1.0, seed: int = 0
) -> Steered:
    """Move features along a concept learnt on one half of the clips; read the change by probes learnt on the other.

    Arguments:
        features: Of clips.
        values: The quantity to change.
        other: A quantity that should stay.
        steps: How far to move, in standard deviations of the quantity.
        seed: Of the halves.
    """
    numbers, rest = np.asarray(values, dtype=np.float64), np.asarray(other, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(len(numbers))
    one, two = order[::2], order[1::2]
    concept = concept_direction(features[one], numbers[one])
    moved = features[one] + steps * concept.direction
    changes = []
    for target in (numbers, rest):
        probe = ProbeRegressor().fit(features[two], target[two])
        changes.append(float((probe.predict(moved) - probe.predict(features[one])).mean()))
    return Steered(changes[0] / (steps * concept.deviation), changes[1] / (steps * float(rest.std())))


def _centred(features: ndarray) -> Float64[ndarray, "clips d"]:
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise InputError("features are finite [clips, d]", rows.shape, "Choose a layer, drop NaN.")
    return rows - rows.mean(0)
