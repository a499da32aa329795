"""Universal random features as a scikit-learn transformer: inputs here, weights there, one dot product."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.feature_maps import Split, UniversalFeatures, warn_of_noise
from harmonia.kernels.snnk.fourier_series import FourierSeries, as_function
from harmonia.kernels.snnk.normalising import check_normalize, scaled, scaled_weights
from harmonia.kernels.snnk.power_series import PowerSeriesFeatures, power_series


class UniversalRandomFeatures(TransformerMixin, BaseEstimator):
    """Features with ``transform(X) @ transform_weights(W, b).T`` an unbiased estimate of ``f(X W^T + b)``.

    f is written as a sum of waves (`FourierSeries`), and each wave ``e^{i omega x . w}`` as a product of random
    features of x and of w. The variance grows like ``e^{2 omega |x| |w|}``: keep ``|x| |w|`` near 1, for instance by
    ``normalize="row"``, or use ReLU features, which need no such care.

    Arguments:
        f: A name in `FUNCTIONS`, a function of tensors, or a `FourierSeries`.
        n_features: Numbers a row; of waves an even number, and one more where f has a mean.
        method: ``"fourier"``: waves; ``"maclaurin"``: powers, as products of random signs, which vary less where f is
            nearly a polynomial of low degree, and far more where it is not.
        radius: Largest ``|w . x + b|``; sines and cosines as waves need none.
        orthogonal: Directions are orthogonal in blocks.
        split: Of waves: ``"symmetric"``, ``"one-sided"``, or ``"adaptive"``: chosen with spreads by `fit` from rows and
            weights.
        normalize: ``"row"``: rows and weights get length 1, and a bias is divided by the length of its row of weights;
            ``"dim"``: rows and weights are divided by ``inputs ** 0.25``; None.
        tolerance: Largest relative error of the series; None: waves are traded for less variance.
        random_state: Seed.

    Attributes:
        series_: The sum of waves, or coefficients of powers.
        features_: The `UniversalFeatures` or `PowerSeriesFeatures`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, W = rng.standard_normal((50, 8)) / 3, rng.standard_normal((5, 8)) / 3
        >>> phi = UniversalRandomFeatures("sin", 20_000, random_state=0).fit(X)
        >>> estimate = phi.transform(X) @ phi.transform_weights(W).T
        >>> bool(np.abs(estimate - np.sin(X @ W.T)).mean() < 0.05)
        True
    """

    series_: FourierSeries | ndarray
    features_: UniversalFeatures | PowerSeriesFeatures

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        f="cos",
        n_features=256,
        *,
        method="fourier",
        radius=None,
        orthogonal=True,
        split="symmetric",
        normalize=None,
        tolerance=0.01,
        random_state=None,
    ):
        self.f = f
        self.n_features = n_features
        self.method = method
        self.radius = radius
        self.orthogonal = orthogonal
        self.split = split
        self.normalize = normalize
        self.tolerance = tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, weights: Any = None) -> UniversalRandomFeatures:
        """Draw features for rows like these.

        Arguments:
            X: ``(n, d)``.
            y: Not used.
            weights: ``(o, d)``, of which split, spreads and chances are chosen when ``split="adaptive"``.

        Warns:
            UserWarning: with these rows, and these weights or others of length 1, one layer's estimate has a relative
                error above 1.

        Raises:
            InputError: a parameter that is no such thing, a function that is not known or not finite, or weights of
                another length than rows.
        """
        check_normalize(self.normalize)
        if not isinstance(self.n_features, Integral):
            raise InputError("'n_features' is a whole number", repr(self.n_features), "Give e.g. 256.")
        if self.method not in ("fourier", "maclaurin"):
            raise InputError("no such method", repr(self.method), "Use 'fourier' or 'maclaurin'.")
        if self.split not in ("symmetric", "one-sided", "adaptive"):
            raise InputError("no such split", repr(self.split), "Use 'symmetric', 'one-sided' or 'adaptive'.")
        x = self._rows(X, first=True)
        rng = check_random_state(self.random_state)
        generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
        if weights is None:
            w = torch.nn.functional.normalize(torch.randn(64, x.shape[1], generator=generator, dtype=torch.float64))
        else:
            w, _ = self._weights(weights)
        x = x[:256]
        product = float(x.norm(dim=1).mean() * w.norm(dim=1).mean())
        radius = math.nan if self.radius is None else float(self.radius)
        draw = self._waves if self.method == "fourier" else self._powers
        self.features_ = draw(x, w, product, radius, generator)
        self._warn(x, w)
        return self

    def _waves(
        self, x: torch.Tensor, w: torch.Tensor, product: float, radius: float, generator: torch.Generator
    ) -> UniversalFeatures:
        if self.tolerance is None:
            options: dict[str, Any] = {"features": self.n_features}
        else:
            options = {"tolerance": float(self.tolerance)}
        adaptive = self.split == "adaptive"
        series = self.series_ = FourierSeries.of(self.f, radius, product=product, **options)
        return UniversalFeatures.draw(
            series,
            x.shape[1],
            int(self.n_features),
            generator=generator,
            orthogonal=bool(self.orthogonal),
            split=None if adaptive else Split.named(self.split),
            product=product,
            sample=(x, w) if adaptive else None,
        )

    def _powers(
        self, x: torch.Tensor, w: torch.Tensor, product: float, radius: float, generator: torch.Generator
    ) -> PowerSeriesFeatures:
        tolerance = 0.01 if self.tolerance is None else float(self.tolerance)
        coefficients = self.series_ = power_series(self.f, radius, tolerance=tolerance)
        return PowerSeriesFeatures.draw(
            coefficients, x.shape[1], int(self.n_features), generator=generator, product=product
        )

    def transform(self, X: Any) -> Float64[ndarray, "n m"]:
        """Phi of rows."""
        check_is_fitted(self)
        return self.features_(self._rows(X)).numpy()

    def transform_weights(self, W: Any, b: Any = None) -> Float64[ndarray, "o m"]:
        """Psi of rows of weights, with a bias each."""
        check_is_fitted(self)
        return self.features_.of_weights(*self._weights(W, b)).numpy()

    def predicted_std(self, X: Any, W: Any) -> Float64[ndarray, "n o"]:
        """Standard deviation of each estimate of f, before it is made: at most this, for independent directions.

        From the exact second moment of every feature.
        """
        check_is_fitted(self)
        return self.features_.std(self._rows(X), self._weights(W)[0]).numpy()

    def _warn(self, x: torch.Tensor, w: torch.Tensor) -> None:
        error = float(self.features_.std(x, w).square().mean().sqrt())
        size = float(as_function(self.f)(x @ w.T).square().mean().sqrt())
        warn_of_noise(error, size)

    def _rows(self, X: Any, *, first: bool = False) -> torch.Tensor:
        rows = np.array(validate_data(self, X, dtype=np.float64, reset=first), order="C")
        return scaled(torch.from_numpy(rows), self.normalize)

    def _weights(self, W: Any, b: Any = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        w = torch.from_numpy(np.array(check_array(W, dtype=np.float64, input_name="W"), order="C"))
        if w.shape[1] != self.n_features_in_:
            got = f"{w.shape[1]} instead of {self.n_features_in_}"
            raise InputError("weights have another length than rows", got, "Pass one row of weights an output.")
        bias = None if b is None else torch.from_numpy(np.asarray(b, dtype=np.float64))
        if bias is not None and bias.shape != (len(w),):
            raise InputError("every row of weights has one bias", tuple(bias.shape), f"Pass {len(w)} numbers.")
        return scaled_weights(w, bias, self.normalize)
