"""Rows like those of a table: encode it, learn its score, sample, decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from harmonia.core.errors import InputError
from harmonia.kernels.score_ntk.codec import TableCodec
from harmonia.kernels.score_ntk.estimator import NTKScoreEstimator
from harmonia.kernels.score_ntk.sampling import KernelDiffusion


class TabularSynthesizer(BaseEstimator):
    """A generator of rows like those of a table of numbers, words, dates and gaps, without anything to tune.

    Arguments:
        estimator: How the score is learnt; an `NTKScoreEstimator` with landmarks unless given.
        steps: Steps of the sampler.
        random_state: Seed of the encoding, the fit and, unless it has its own, the sampling.

    Attributes:
        codec_: How columns are encoded.
        estimator_: The fitted estimator.

    Raises:
        InputError: no table, fewer than ten rows, or no column to learn from.

    Example:
        >>> from harmonia.data.tables import iris
        >>> model = TabularSynthesizer(random_state=0).fit(iris().frame)
        >>> rows = model.sample(10, random_state=1)
        >>> rows.shape, rows.columns == iris().frame.columns
        ((10, 5), True)
    """

    def __init__(self, estimator=None, *, steps=100, random_state=None):
        self.estimator: NTKScoreEstimator | None = estimator
        self.steps: int = steps
        self.random_state: int | np.random.RandomState | None = random_state

    def fit(self, frame: Any, y: Any = None) -> TabularSynthesizer:
        """Learn from a polars or pandas frame, one example a row."""
        table, self._like = as_polars(frame), type(frame)
        if table.height < 10:
            raise InputError("there are too few rows to learn from", table.height, "Give at least ten.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.codec_ = TableCodec.of(table)
        points = self.codec_.encode(table, np.random.default_rng(seed))
        self.estimator_ = clone(self.estimator or default_estimator()).set_params(random_state=seed).fit(points)
        return self

    def sample(self, n: int, random_state: int | np.random.RandomState | None = None) -> Any:
        """New rows, in a frame of the kind that was learnt from."""
        check_is_fitted(self, "estimator_")
        points = self.sample_points(n, random_state)
        rows = self.codec_.decode(points)
        return rows if self._like is polars.DataFrame else self._like(rows.to_dict(as_series=False))

    def sample_points(self, n: int, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """New rows as points, before they are decoded."""
        check_is_fitted(self, "estimator_")
        seed = self.random_state if random_state is None else random_state
        return KernelDiffusion(self.estimator_).sample(n, self.steps, random_state=seed, denoise=True)


def default_estimator() -> NTKScoreEstimator:
    """Many noisy copies, landmarks so that it stays fast, and a stopping time for every direction of the table."""
    return NTKScoreEstimator(draws_per_point=20, max_pairs=20_000, landmarks=600, separate=True)


def as_polars(frame: Any) -> polars.DataFrame:
    """A polars frame of a polars or pandas one.

    Raises:
        InputError: neither.
    """
    if isinstance(frame, polars.DataFrame):
        return frame
    if hasattr(frame, "to_dict") and hasattr(frame, "columns"):
        return polars.DataFrame({str(name): polars.Series(frame[name].tolist(), strict=False) for name in frame})
    raise InputError("this is no table", type(frame).__name__, "Pass a polars or pandas DataFrame.")
