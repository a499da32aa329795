"""How good and how private are samples: energy distance, marginals, correlations, usefulness, memorisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from harmonia.core.errors import InputError
from harmonia.kernels.score_ntk.codec import Constant, Numbers, TableCodec

COPY = 0.05
"""A sample nearer to a training row than this share of the usual distance of new rows counts as a copy."""


def energy_distance(x: Float[ndarray, "n d"], y: Float[ndarray, "m d"]) -> float:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|``; 0 only for equal distributions (Szekely & Rizzo 2013).

    Of samples it is biased upwards by about ``E|X - X'| (1/n + 1/m)``.

    Example:
        >>> energy_distance(np.zeros((3, 1)), np.ones((2, 1)))
        2.0
    """
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


class Memorisation(NamedTuple):
    """Distances to the nearest training row.

    Attributes:
        copies: Share of samples nearer to one than `COPY` times the median of left-out rows.
        samples, held_out: These distances, of samples and of left-out real rows.
    """

    copies: float
    samples: Float[ndarray, " n"]
    held_out: Float[ndarray, " m"]


def memorisation(
    samples: Float[ndarray, "n d"], train: Float[ndarray, "k d"], held_out: Float[ndarray, "m d"]
) -> Memorisation:
    """Whether samples are copies of training rows, measured by how near left-out real rows come to these.

    Example:
        >>> train, new = np.array([[0.0], [1.0]]), np.array([[0.4]])
        >>> memorisation(np.array([[1.001], [0.5]]), train, new).copies
        0.5
    """
    tree = cKDTree(train)
    near, usual = tree.query(samples)[0], tree.query(held_out)[0]
    return Memorisation(float((near < COPY * np.median(usual)).mean()), near, usual)


def marginal_distances(real: polars.DataFrame, synthetic: polars.DataFrame, codec: TableCodec) -> dict[str, float]:
    """Of each column: the Kolmogorov-Smirnov distance of numbers, the total variation of words; 0 is best, 1 worst.

    Example:
        >>> real = polars.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["u", "v", "u"]})
        >>> fake = polars.DataFrame({"a": [1.0, 2.0, 9.0], "b": ["u", "u", "u"]})
        >>> {k: round(v, 3) for k, v in marginal_distances(real, fake, TableCodec.of(real)).items()}
        {'a': 0.333, 'b': 0.333}
    """
    found = {}
    for column in codec.columns:
        one, other = real[column.name], synthetic[column.name]
        if isinstance(column, Numbers):
            values = [each.to_physical().cast(polars.Float64).drop_nulls().drop_nans() for each in (one, other)]
            found[column.name] = float(ks_2samp(*values).statistic) if all(map(len, values)) else 1.0
        elif not isinstance(column, Constant):
            shares = [each.value_counts(normalize=True, name="share") for each in (one, other)]
            both = shares[0].join(shares[1], on=column.name, how="full", nulls_equal=True)
            apart = both["share"].fill_null(0) - both["share_right"].fill_null(0)
            found[column.name] = float(apart.abs().sum()) / 2
    return found


def correlation_difference(real: Float[ndarray, "n d"], synthetic: Float[ndarray, "m d"]) -> float:
    """Mean absolute difference of the correlations between coordinates.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((500, 2))
        >>> correlation_difference(x, x[:, [0, 0]] + 1e-9 * x) > 0.9
        True
    """
    d = real.shape[1]
    if d < 2:
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.nan_to_num(np.corrcoef(real.T)) - np.nan_to_num(np.corrcoef(synthetic.T))
    return float(np.abs(apart[np.triu_indices(d, 1)]).mean())


def usefulness(train: polars.DataFrame, test: polars.DataFrame, target: str, codec: TableCodec, seed: int = 0) -> float:
    """How well a random forest that learns from one table predicts a column of another.

    Train it on synthetic rows and test on real ones ("TSTR"), beside one that is trained on real rows.

    Returns:
        Area under the ROC curve for words (mean over classes, each against the others), R2 for numbers.

    Raises:
        InputError: a target that does not vary, or is not in the tables.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    column = next((one for one in codec.columns if one.name == target), None)
    if column is None or isinstance(column, Constant):
        names = ", ".join(one.name for one in codec.columns)
        raise InputError(f"column '{target}' cannot be predicted", names, "Choose one that varies.")
    rest = TableCodec(tuple(one for one in codec.columns if one is not column))
    generator = np.random.default_rng(seed)
    frames = [frame.filter(polars.col(target).is_not_null()) for frame in (train, test)]
    x, at = (rest.encode(frame, generator) for frame in frames)
    if isinstance(column, Numbers):
        y, truth = (frame[target].to_physical().cast(polars.Float64).to_numpy() for frame in frames)
        forest = RandomForestRegressor(200, min_samples_leaf=3, random_state=seed).fit(x, y)
        return float(r2_score(truth, forest.predict(at)))
    y, truth = (frame[target].cast(polars.String).to_numpy() for frame in frames)
    model = RandomForestClassifier(200, min_samples_leaf=3, random_state=seed).fit(x, y)
    shares = model.predict_proba(at)
    known = [k for k, label in enumerate(model.classes_) if 0 < (truth == label).mean() < 1]
    if not known:
        return float("nan")
    return float(np.mean([roc_auc_score(truth == model.classes_[k], shares[:, k]) for k in known]))
