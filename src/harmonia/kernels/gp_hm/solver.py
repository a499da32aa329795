"""Differential equations solved by Gaussian processes that learn the spectrum of the solution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.gp_hm import evaluation, galerkin, least_squares
from harmonia.kernels.gp_hm.basis import AxisBasis, Lags
from harmonia.kernels.gp_hm.boundary import Boundary, Row, lacking, rows_of
from harmonia.kernels.gp_hm.inputs import axes_of, kernels_of, scattered, source_on
from harmonia.kernels.gp_hm.kernel import Component, SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.learning import Spectra, evidence
from harmonia.kernels.gp_hm.least_squares import Measurements, Posterior
from harmonia.kernels.gp_hm.operators import Equation, Laplace, Order, orders_of
from harmonia.kernels.gp_hm.parameters import Number, Whole, numbers
from harmonia.parts.gram import Kronecker

Method = Literal["galerkin", "least-squares"]

_FRACTIONS = (0.08, 0.15, 0.25, 0.4, 0.6)
"""Frequency scales that are tried, as fractions of the highest frequency of the grid."""

_UNRESOLVED = 1e-2
"""A relative residual that says that the grid or the prior does not hold the solution."""


class Step(NamedTuple):
    """One iteration: relative residual, negative log evidence in nats, and coordinates along each axis."""

    residual: float
    evidence: float
    ranks: tuple[int, ...]


class GPPDESolver:
    """Solve ``N[u] = f`` on a box by a Gaussian process whose spectrum is learned (GP-HM, arXiv:2311.04465).

    The prior of u is a product of one `SpectralMixtureKernel1D` an axis, so that high and mixed frequencies are found
    instead of smoothed away. For given spectra the solution is computed at once (`galerkin`, a direct solver for sums
    of operators of one axis; Newton and GMRES for the rest), boundary conditions exactly; the spectra then climb the
    evidence of the solution. Twenty such iterations stand where the official code takes 10^5 to 10^6 steps of Adam.

    On a regular grid with a known operator a spectral or finite-element code does as well. What this adds: any grid,
    any equation typed as a function, noisy measurements, error bars, and the spectrum itself.

    Arguments:
        operator: N: `Laplace`, `Helmholtz`, `AllenCahn`, `Advection`, `LinearOperator`, or any function of the
            solution's derivatives and the coordinates, e.g. ``lambda u, x, t: u[0, 1] + u[0, 0] * u[1, 0]``.
        grid: Increasing points along each axis (one to three); even spacing is faster.
        boundary: A number or a function for all sides, or conditions by side: see `boundary.rows_of`.
        kernel: Prior of every axis, or one an axis; a Gaussian mixture of 30 components unless given.
        noise: Standard deviation of the equation's residual, for ``"least-squares"``; learned unless given.
        solver: ``"galerkin"``; ``"least-squares"``: the paper's objective minimised exactly, with a full covariance,
            for small grids and for measurements. The paper's joint Adam is `OfficialLoop`.
        max_iter: Iterations of the spectrum; 0 keeps the one it starts with.
        tolerance: It stops when the relative residual is below.
        jitter: Relative size of the kernel's eigenvalues that are dropped; its inverse root limits the accuracy.

    Attributes:
        spectrum_: The learned waves of each axis, largest weight first.
        kernels_: The learned kernels.
        residual_: ``N[u] - f`` on the grid.
        relative_residual_: Its size relative to the largest term of the equation (`galerkin.Measured.size`).
        error_: Estimated relative error of u: how far the solution moves when all lines are twice as wide.
        coef_: Whitened coordinates of the solution.
        history_: One `Step` an iteration; the one with the least residual is kept.

    Raises:
        InputError: grids, operators, conditions or kernels that do not fit together; see `fit`.

    Example:
        >>> import torch
        >>> x = np.linspace(0, 1, 60)
        >>> solver = GPPDESolver(Laplace(), [x], boundary=0.0, max_iter=0)
        >>> solver = solver.fit(lambda x: -((9 * math.pi) ** 2) * torch.sin(9 * math.pi * x))
        >>> u = solver.predict(np.array([0.5, 0.25]))
        >>> bool(np.allclose(u, np.sin(9 * math.pi * np.array([0.5, 0.25])), atol=1e-3))
        True
    """

    def __init__(
        self,
        operator: Equation | None = None,
        grid: Sequence[Any] = (),
        boundary: Boundary = 0.0,
        kernel: SpectralMixtureKernel1D | Sequence[SpectralMixtureKernel1D] | None = None,
        *,
        noise: Number | None = None,
        solver: Method = "galerkin",
        max_iter: Whole = 20,
        tolerance: Number = 1e-8,
        jitter: Number = 1e-10,
    ) -> None:
        self.operator: Equation = Laplace() if operator is None else operator
        self.grid, self.boundary, self.noise = grid, boundary, noise
        self.kernel = SpectralMixtureKernel1D() if kernel is None else kernel
        self.solver, self.max_iter, self.tolerance, self.jitter = solver, max_iter, tolerance, jitter
        self._measurements: Measurements | None = None

    def observe(self, X: Any, y: Any, noise: Any = 1e-3) -> GPPDESolver:
        """Add measurements of u at scattered points to those there are; every later `fit` fits them by least squares.

        Arguments:
            X: Points, one a row.
            y: Values.
            noise: Their standard deviation: a number, or one a point.

        Raises:
            InputError: shapes that do not fit, values that are not finite, a noise that is not positive.
        """
        points = scattered(X, len(self.grid))
        values = numbers("measurements", y, "Give one value a point.").reshape(-1)
        deviations = numbers("the noise of measurements", noise, "Give its standard deviation.").reshape(-1)
        if len(points) != len(values) or not len(values):
            raise InputError("one value a point", f"{len(values)} values, {len(points)} points", "Pass as many.")
        if not values.isfinite().all():
            raise InputError("measurements are finite", "NaN or infinity", "Drop such rows.")
        if not (deviations > 0).all() or not deviations.isfinite().all():
            raise InputError("the noise of measurements is positive", noise, "Give its standard deviation.")
        if len(deviations) not in (1, len(values)):
            got = f"{len(deviations)} for {len(values)} points"
            raise InputError("the noise of measurements is one number, or one a point", got, "Pass as many.")
        given = Measurements(points, values, deviations.expand(len(values)))
        self._measurements = given.with_others(self._measurements)
        return self

    def fit(self, source: Any = 0.0, boundary_values: Boundary | None = None) -> GPPDESolver:
        """Solve the equation and learn the spectrum.

        Arguments:
            source: f: a number, an array on the grid, or a function of the coordinates (torch tensors).
            boundary_values: In place of `boundary`.

        Raises:
            InputError: what does not fit, is not finite, cannot be resolved by the grid, or does not fit into memory.
        """
        if self.solver not in get_args(Method):
            raise InputError("no such solver", repr(self.solver), f"Use one of {', '.join(get_args(Method))}.")
        iterations = check_whole("max_iter", self.max_iter, 0)
        check_number("jitter", self.jitter, above=0, below=1)
        check_number("tolerance", self.tolerance, above=0)
        if self.noise is not None:
            check_number("noise", self.noise, above=0)
        axes = axes_of(self.grid)
        orders = orders_of(self.operator, len(axes))
        kernels = kernels_of(self.kernel, axes, orders)
        rows = rows_of(self.boundary if boundary_values is None else boundary_values, axes)
        values = source_on(axes, source)
        lags = [Lags(x) for x in axes]
        if any(kernel.parameters is None and kernel.freq_scale == "auto" for kernel in kernels):
            kernels = self._scaled(kernels, lags, orders, rows, values)
        kernels = [kernel.on(len(x), float(x[-1] - x[0])) for kernel, x in zip(kernels, axes)]
        spectra = Spectra(kernels, [float(x[-1] - x[0]) for x in axes])
        history: list[Step] = []
        best: tuple[float, list[AxisBasis], galerkin.Solution | Posterior] | None = None
        previous: Tensor | None = None
        for iteration in track(range(iterations + 1), "Learning the spectrum"):
            bases = self._bases(lags, spectra.kernels, rows)
            found = self._solve(orders, bases, values, previous)
            history.append(
                Step(found.relative, evidence(bases, found.z), tuple(basis.rank for basis in bases)),
            )
            if best is None or found.relative < best[0]:
                best = found.relative, bases, found
            if found.relative <= self.tolerance or iteration == iterations:
                break
            if iteration == 0:
                spectra.rescale(bases, found.z)
            spectra.step(bases, found.z)
            previous = galerkin.Fields(bases).of(found.z, (0,) * len(bases))
        assert best is not None
        _, bases, solution = best
        error = self._sensitivity(orders, rows, values, bases, solution.z)
        self._basis, self._solution, self.history_, self.error_ = bases, solution, history, error
        self._spread_: evaluation.Spread | None = None
        self.kernels_ = [basis.kernel for basis in bases]
        self.spectrum_: list[list[Component]] = [kernel.components() for kernel in self.kernels_]
        self.coef_, self.relative_residual_ = solution.z, solution.relative
        self.residual_ = solution.residual.numpy()
        self._warn(orders, rows)
        return self

    def _warn(self, orders: list[Order], rows: list[Row]) -> None:
        """Of a solution that the grid does not resolve, or that the conditions do not determine."""
        if self.relative_residual_ > _UNRESOLVED:
            warnings.warn(
                f"the relative residual is still {self.relative_residual_:.2g}: the solution may have frequencies "
                "above those of the prior, or a jump; take more points, or another 'freq_scale' (in a file "
                "'max_frequency'; doubled, or 'auto')",
                stacklevel=3,
            )
        if self._measurements is None and (missing := lacking(orders, rows)):
            warnings.warn(
                f"the conditions leave directions of the solution open ({missing}): what lies along them means nothing",
                stacklevel=3,
            )
        elif isinstance(self._solution, galerkin.Solution) and self._solution.undecided:
            warnings.warn(
                "the equation and its conditions leave a direction of the solution open, or nearly so "
                "(a constant, if only slopes are given; a resonance): what lies along it means nothing",
                stacklevel=3,
            )

    def _solve(
        self, orders: list[Order], bases: list[AxisBasis], source: Tensor, near: Tensor | None = None
    ) -> galerkin.Solution | Posterior:
        if self.solver == "least-squares" or self._measurements is not None:
            noise = None if self.noise is None else float(self.noise)
            return least_squares.solve(self.operator, orders, bases, source, self._measurements, noise)
        start = None if near is None else Kronecker(*(basis.scale.T for basis in bases)).on_grid(near)
        return galerkin.solve(self.operator, orders, bases, source, start)

    def _sensitivity(
        self, orders: list[Order], rows: list[Row], source: Tensor, found: list[AxisBasis], z: Tensor
    ) -> float:
        """How far the solution moves, relative to itself, when every line of the spectrum is twice as wide."""
        wider = []
        for kernel in (basis.kernel for basis in found):
            assert kernel.parameters is not None
            weight, rate, frequency = kernel.parameters
            factor = 4.0 if kernel.envelope == "gaussian" else 2.0
            wider.append(kernel.with_parameters(weight, rate + math.log(factor), frequency))
        lags = [basis.lags for basis in found]
        bases = self._bases(lags, wider, rows)
        near = galerkin.Fields(found).of(z, (0,) * len(bases))
        other = self._solve(orders, bases, source, near)
        middles = [(x[1:] + x[:-1]) / 2 for x in (each.x for each in lags)]
        order = (0,) * len(bases)
        here = evaluation.on_grid(found, z, middles, order)
        moved = float((evaluation.on_grid(bases, other.z, middles, order) - here).norm())
        return moved / (float(here.norm()) or 1.0)

    def predict(
        self, points: Any, deriv: Any = None, return_std: bool = False
    ) -> Float64[np.ndarray, " m"] | tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """The solution, or one of its derivatives, at scattered points.

        Arguments:
            points: One a row; in one dimension also a plain list.
            deriv: Orders of the derivative along each axis, e.g. ``(2, 0)``; none by default.
            return_std: Also the standard deviation of the solution (not of derivatives).

        Raises:
            InputError: not fitted yet, or points that do not fit.
        """
        self._check_fitted()
        x = scattered(points, len(self._basis))
        order = self._order(deriv)
        mean = evaluation.at_points(self._basis, self.coef_, x, order).numpy()
        if not return_std:
            return mean
        if any(order):
            raise InputError("only the solution itself has a standard deviation here", deriv, "Leave 'deriv' out.")
        if isinstance(self._solution, Posterior):
            rows = least_squares.pointwise(self._basis, x, order)
            unseen = (evaluation.prior_variance(self._basis) - rows.square().sum(1)).clamp(min=0)
            return mean, (unseen + (rows @ self._solution.root).square().sum(1)).sqrt().numpy()
        return mean, self._spread().at_points(x).numpy()

    def predict_grid(self, axes: Sequence[Any] | None = None, deriv: Any = None) -> Float64[np.ndarray, "..."]:
        """The same on a tensor grid, much faster; on that of the solver unless given."""
        self._check_fitted()
        found = self._points(axes)
        return evaluation.on_grid(self._basis, self.coef_, found, self._order(deriv)).numpy()

    def std_grid(self, axes: Sequence[Any] | None = None) -> Float64[np.ndarray, "..."]:
        """Standard deviations on a tensor grid."""
        self._check_fitted()
        found = self._points(axes)
        if isinstance(self._solution, Posterior):
            return evaluation.posterior_on_grid(self._basis, self._solution.root, found).numpy()
        return self._spread().on_grid(found).numpy()

    def _points(self, axes: Sequence[Any] | None) -> list[Tensor]:
        if axes is None:
            return [basis.lags.x for basis in self._basis]
        if len(axes) != len(self._basis):
            raise InputError("one list of points an axis", f"{len(axes)}", f"Pass {len(self._basis)}.")
        return [scattered(x, 1)[:, 0] for x in axes]

    def _spread(self) -> evaluation.Spread:
        """Made when first asked for: it costs some dozen solves."""
        if self._spread_ is None:
            assert isinstance(self._solution, galerkin.Solution)
            self._spread_ = evaluation.Spread(self._basis, self.coef_, self._solution.respond, self.error_)
        return self._spread_

    def _order(self, deriv: Any) -> Order:
        dimensions = len(self._basis)
        given = (0,) * dimensions if deriv is None else deriv
        order = tuple(given) if isinstance(given, (Sequence, np.ndarray)) else (given,)
        if len(order) != dimensions or not all(isinstance(times, (int, np.integer)) and times >= 0 for times in order):
            raise InputError("'deriv' has one order an axis", deriv, f"Give {dimensions} whole numbers.")
        return tuple(int(times) for times in order)

    def _check_fitted(self) -> None:
        if not hasattr(self, "_solution"):
            raise InputError("there is no solution yet", "an unfitted solver", "Call fit(source) first.")

    def _bases(
        self, lags: Sequence[Lags], kernels: Sequence[SpectralMixtureKernel1D], rows: list[Row]
    ) -> list[AxisBasis]:
        return [
            AxisBasis(each, kernel, [row for row in rows if row.axis == axis], float(self.jitter))
            for axis, (each, kernel) in enumerate(zip(lags, kernels))
        ]

    def _scaled(
        self,
        kernels: list[SpectralMixtureKernel1D],
        lags: list[Lags],
        orders: list[Order],
        rows: list[Row],
        source: Tensor,
    ) -> list[SpectralMixtureKernel1D]:
        """Frequency scales where they are to be found: those that leave the least residual."""
        tried: list[tuple[float, int, list[SpectralMixtureKernel1D]]] = []
        failure = InputError("no frequency scale gives a solution", "infinite residuals", "Give 'freq_scale'.")
        for fraction in track(_FRACTIONS, "Choosing the frequency scale"):
            here = []
            for kernel, each in zip(kernels, lags):
                n, length = len(each.x), float(each.x[-1] - each.x[0])
                if kernel.freq_scale == "auto":
                    kernel = replace(kernel, freq_scale=max(fraction * (n - 1) / 2, 1.0) / length)
                here.append(kernel.on(n, length))
            try:
                found = self._solve(orders, self._bases(lags, here, rows), source).relative
            except InputError as error:
                failure = error
                continue
            if math.isfinite(found):
                tried.append((found, len(tried), here))
        if not tried:
            raise failure
        return min(tried)[2]
