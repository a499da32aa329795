"""Kernel sums over private rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from harmonia.core.checks import check_whole
from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.bandwidth import check_bandwidth
from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.fourier import FourierSketch
from harmonia.kernels.private_kde.hermite import HermiteSketch
from harmonia.kernels.private_kde.similarity import Similarity
from harmonia.kernels.private_kde.sketch import Sketch
from harmonia.kernels.private_kde.structure import PrivateStructure


class PrivateKDE(PrivateStructure):
    """Kernel sums from any query to private rows, released once under (eps, delta) differential privacy.

    The rows' random Fourier features are summed, and noise is added (`fourier`): an answer's noise is the same for
    every query and does not depend on the number of rows, so that of the mean similarity falls with it. delta > 0
    lowers the noise from ``2 sqrt(F) / eps`` to about ``4 / eps`` (F frequencies).

    Numbers of rows and queries beyond 1e7 bandwidths are moved there, silently, for features of larger ones would be
    rounding errors. Subtract a public centre from rows that lie so far from 0.

    Arguments:
        kernel: ``gaussian``, ``exponential``, ``laplace``, ``cauchy``, ``inverse``, ``inverse-l1`` (`similarity`), or a
            completely monotone function of a distance, which is met to 1e-3 at every distance, or an `ExponentialSum`.
        bandwidth: s, a number. Choosing it by the private rows leaks: see `private_rms_distance` for a private choice.
        eps, delta: The guarantee for adding or removing one row. delta = 0: Laplace noise.
        n_features: Random features, even: the error from them is at most ``1 / sqrt(n_features / 2)`` of a mean
            similarity. With Laplace noise no more than about rows times eps are of use.
        project_dim: Project rows to so many numbers first, at random: faster queries on wide tables.
        method: ``fourier``, or ``hermite``: the fast Gauss transform, for the Gaussian kernel of at most three columns.
        bounds: (lower, upper) for ``hermite``, from public knowledge; features need none.
        ranges: Public (lower, upper) of the columns, numbers or one for each: rows and queries are scaled so that these
            are 0 and 1, and rows outside are moved to the end. Bandwidth and bounds are in those units.
        order: Terms an axis of ``hermite``.
        directions: ``gaussian``, ``orthogonal`` (less error from few features) or ``sorf`` (faster for rows of 1000
            numbers or more).
        distance: Of which the function `kernel` is: ``sqeuclidean``, ``euclidean`` or ``l1``.
        neighbours, noise, secure, post_process, accountant, random_state, unsafe_reproducible: As of
            `PrivateDistanceSum`.

    Attributes:
        released_: The noisy sums: all that is kept.
        n_rows_: The noisy number of rows.
        ledger_: What was spent.

    Example:
        >>> rows = np.random.default_rng(0).standard_normal((20_000, 5))
        >>> kde = PrivateKDE(bandwidth=3.0, eps=1.0, delta=1e-6, random_state=0).fit(rows)
        >>> near, far = kde.score_samples([[0.0] * 5, [4.0] * 5])
        >>> exact = np.exp(-(rows**2).sum(1) / 9).mean()
        >>> bool(abs(near - exact) < 0.05), bool(far < 0.1)
        (True, True)
    """

    sketches = (FourierSketch, HermiteSketch)

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        kernel="gaussian",
        *,
        bandwidth=1.0,
        eps=1.0,
        delta=0.0,
        n_features=1000,
        project_dim=None,
        method="fourier",
        bounds=None,
        ranges=None,
        order=8,
        directions="gaussian",
        distance="sqeuclidean",
        neighbours="add-remove",
        noise="auto",
        secure=True,
        post_process=False,
        accountant=None,
        random_state=None,
        unsafe_reproducible=False,
    ):
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.eps = eps
        self.delta = delta
        self.n_features = n_features
        self.project_dim = project_dim
        self.method = method
        self.bounds = bounds
        self.ranges = ranges
        self.order = order
        self.directions = directions
        self.distance = distance
        self.neighbours = neighbours
        self.noise = noise
        self.secure = secure
        self.post_process = post_process
        self.accountant = accountant
        self.random_state = random_state
        self.unsafe_reproducible = unsafe_reproducible

    def score_samples(self, Y: Any) -> Float64[np.ndarray, " q"]:
        """The mean similarity of every query to the private rows; divided by their noisy number."""
        found = self.query(Y) / self.n_rows_
        assert isinstance(self.sketch_, (FourierSketch, HermiteSketch))
        return found.clip(0, self.sketch_.total) if self.post_process else found

    def _draw_sketch(self, columns: int) -> Sketch:
        if self.method == "hermite":
            if self.kernel != "gaussian" or self.project_dim is not None:
                raise InputError("the fast Gauss transform has a Gaussian kernel", self.kernel, "Use 'fourier'.")
            order, domain = check_whole("order", self.order, 1, 20), Domain.of(self.bounds, columns)
            return HermiteSketch(domain.lower, domain.upper, check_bandwidth(self.bandwidth), order)
        if self.method != "fourier":
            raise InputError("no such method", repr(self.method), "Use 'fourier' or 'hermite'.")
        return draw_fourier(self, columns)

    def _std(self, Y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        if isinstance(self.sketch_, FourierSketch):
            return self.sketch_.spread(self.released_, Y)
        return super()._std(Y)

    def _sampling_error(self) -> float:
        return 1 / math.sqrt(self.n_features / 2) if self.method == "fourier" else 0.0


def draw_fourier(estimator: Any, columns: int) -> FourierSketch:
    """The sketch of an estimator's kernel, after checking its parameters."""
    features, project_dim = check_whole("n_features", estimator.n_features, 2, 10_000_000), estimator.project_dim
    if features % 2:
        raise InputError("'n_features' is even: cosines and sines", features, "Add one.")
    if project_dim is not None:
        project_dim = check_whole("project_dim", project_dim, 1, 1_000_000)
    return FourierSketch.draw(
        Similarity.of(estimator.kernel, estimator.distance),
        check_bandwidth(estimator.bandwidth),
        columns,
        features,
        project_dim=project_dim,
        directions=estimator.directions,
        seed=estimator._public_seed(),
    )
