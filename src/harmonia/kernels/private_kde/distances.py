"""Sums of distances to private rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from harmonia.core.checks import check_whole, is_number
from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.directions import DirectionSketch
from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.haar import HaarSketch, Power
from harmonia.kernels.private_kde.moments import MomentSketch
from harmonia.kernels.private_kde.shells import ShellSketch
from harmonia.kernels.private_kde.sketch import Sketch
from harmonia.kernels.private_kde.structure import PrivateStructure
from harmonia.parts.gram import draw_directions

METRICS = ("l1", "l2", "sqeuclidean", "lp")


class PrivateDistanceSum(PrivateStructure):
    """Sums of distances from any query to private rows, released once under (eps, delta) differential privacy.

    ``l1`` distances are sums over coordinates, each answered by a tree of signed counts (`haar`): unbiased, with a
    standard error of about ``5 R d^1.5 / eps`` for d coordinates of width R, whatever the number of rows.
    ``sqeuclidean`` is exact from three noisy sums, ``lp`` is the sum of ``|x_j - y_j|^p``, and ``l2`` averages l1 along
    random directions.

    Arguments:
        metric: ``l1``, ``l2``, ``sqeuclidean``, ``lp``, or a function f of arrays: ``sum_j f(|x_j - y_j|)``.
        eps, delta: The guarantee for adding or removing one row. delta = 0: Laplace noise.
        bounds: (lower, upper), numbers or one for each column; or a radius. From public knowledge only: rows outside
            are moved to the edge, silently, for their number is private.
        ranges: Public (lower, upper) of the columns, numbers or one for each: rows and queries are scaled so that these
            are 0 and 1, and rows outside are moved to the end. Bounds and distances are in those units.
        p: Of ``lp``.
        method: ``hierarchical``, or for ``l1`` the paper's own ``shells``.
        alpha: Relative width of a shell.
        depth: Levels of a tree: ``2^depth`` cells. Public: do not choose it by the number of rows.
        n_directions: Of ``l2``; the error from the directions falls with its root, that from the noise grows with it.
            Standard errors of answers are of the noise; `expected_error` tells the other.
        neighbours: ``add-remove`` one row, or ``replace-one``: then sensitivities, and the noise, double.
        noise: ``laplace``, ``gaussian``, or whichever has the lower variance.
        secure: Exact noise on a grid; False: floating-point noise, faster and open to an attack on its low bits.
        post_process: Whether negative answers become 0, which biases small ones.
        accountant: A `PrivacyAccountant` that all releases on these rows share.
        random_state: Seed of the directions, which are public. The noise does not depend on it.
        unsafe_reproducible: Let `random_state` seed the noise too. Who knows the seed removes the noise: tests only.

    Attributes:
        released_: The noisy sums: all that is kept.
        n_rows_: The noisy number of rows.
        ledger_: What was spent.

    Example:
        >>> rows = np.random.default_rng(0).beta(2, 5, (10_000, 1))
        >>> structure = PrivateDistanceSum(eps=1.0, bounds=(0.0, 1.0)).fit(rows)
        >>> found, std = structure.query([[0.2], [0.9]], return_std=True)
        >>> exact = np.abs(rows - [0.2, 0.9]).sum(0)
        >>> bool((np.abs(found - exact) < 6 * std).all()), bool((std < 10).all())
        (True, True)
        >>> structure.privacy_spent()
        Spent(epsilon=1.0, delta=0.0, rho=0.5)
    """

    sketches = (HaarSketch, ShellSketch, MomentSketch, DirectionSketch)

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        metric="l1",
        *,
        eps=1.0,
        delta=0.0,
        bounds=None,
        ranges=None,
        p=1.5,
        method="hierarchical",
        alpha=0.1,
        depth=14,
        n_directions=32,
        neighbours="add-remove",
        noise="auto",
        secure=True,
        post_process=False,
        accountant=None,
        random_state=None,
        unsafe_reproducible=False,
    ):
        self.metric = metric
        self.eps = eps
        self.delta = delta
        self.bounds = bounds
        self.ranges = ranges
        self.p = p
        self.method = method
        self.alpha = alpha
        self.depth = depth
        self.n_directions = n_directions
        self.neighbours = neighbours
        self.noise = noise
        self.secure = secure
        self.post_process = post_process
        self.accountant = accountant
        self.random_state = random_state
        self.unsafe_reproducible = unsafe_reproducible

    def score_samples(self, Y: Any) -> Float64[np.ndarray, " q"]:
        """Minus the mean distance of every query to the private rows: high for queries among them."""
        return -self.query(Y) / self.n_rows_

    def _draw_sketch(self, columns: int) -> Sketch:
        domain = Domain.of(self.bounds, columns)
        depth = check_whole("depth", self.depth, 1, 24)
        if self.method not in ("hierarchical", "shells"):
            raise InputError("no such method", repr(self.method), "Use 'hierarchical' or 'shells'.")
        if self.method == "shells":
            if self.metric != "l1" or not (is_number(self.alpha) and 0 < self.alpha <= 10):
                got = f"metric {self.metric!r}, alpha {self.alpha!r}"
                raise InputError("shells are for l1 distances, of a width alpha > 0", got, "Use 'hierarchical'.")
            return ShellSketch(domain.lower, domain.upper, depth, float(self.alpha))
        if callable(self.metric):
            return HaarSketch(domain.lower, domain.upper, depth, self.metric)
        match self.metric:
            case "l1":
                return HaarSketch(domain.lower, domain.upper, depth)
            case "lp":
                if not (is_number(self.p) and 0 < self.p <= 16):
                    raise InputError("'p' is a number above 0, at most 16", repr(self.p), "Change it.")
                return HaarSketch(domain.lower, domain.upper, depth, None if self.p == 1 else Power(float(self.p)))
            case "sqeuclidean":
                return MomentSketch(domain)
            case "l2":
                count = check_whole("n_directions", self.n_directions, 1, 100_000)
                if columns == 1:
                    return HaarSketch(domain.lower, domain.upper, depth)
                generator = torch.Generator().manual_seed(self._public_seed())
                drawn = draw_directions(columns, count, "orthogonal", generator=generator)
                return DirectionSketch(drawn(torch.eye(columns, dtype=torch.float64)).T.numpy(), domain, depth)
        names = ", ".join(METRICS)
        raise InputError("no such metric", repr(self.metric), f"Use a function of the distance, or one of: {names}.")

    def _sampling_error(self) -> float:
        if self.metric != "l2":
            return 0.0
        # Of |g| for a standard normal g: standard deviation over mean is sqrt(pi / 2 - 1).
        return math.sqrt((math.pi / 2 - 1) / self.n_directions)
