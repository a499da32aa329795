"""Ridge regression in closed form: on kernels and on features, at every penalty at once, and on rows that come and go.

Minimise ``|f(X) - Y|^2 + penalty |f|^2``; the penalty is not divided by the number of rows (scikit-learn's `alpha`).

    kernel:    f(x) = k(x, X) a,   a = (K + penalty I)^-1 Y
    features:  f(x) = x w,         w = (F^T F + penalty I)^-1 F^T Y = F^T (F F^T + penalty I)^-1 Y

`kernel_ridge` and `feature_ridge` are one solve, differentiable by everything. `RidgePath` decomposes once and then
knows all penalties, and what each row would be predicted without it. `NormalEquations` keep only sums over rows.

References:
    A prediction error's closed form without its row: Allen, 1974 (PRESS); Rifkin & Lippert, 2007, Notes on
    regularized least squares.
    Generalised cross-validation: Golub, Heath & Wahba, 1979.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from harmonia.core.errors import InputError
from harmonia.parts.gram.eigen import EigenCache

Number = int | float | Tensor

_HELD = 1 << 23
"""Numbers (rows times outputs times penalties) of which leave-one-out errors are in memory at once."""


def kernel_ridge(
    kernel: Float[Tensor, "*batch n n"], targets: Float[Tensor, "*batch n k"], penalty: Number
) -> Float[Tensor, "*batch n k"]:
    """Dual coefficients ``a``, with (first) gradients by kernel, targets and penalty, in their own precision.

    A float32 matrix that is too badly conditioned is solved in float64.

    Arguments:
        kernel: Symmetric positive semi-definite; only its lower triangle is read.
        targets: One column an output.
        penalty: Above 0, or 0 for a kernel matrix that is invertible; a number, or one each of a batch (..., 1, 1).

    Raises:
        InputError: a matrix that is not positive definite with this penalty, or not finite.

    Example:
        >>> kernel_ridge(torch.eye(2), torch.tensor([[2.0], [4.0]]), 1.0).flatten()
        tensor([1., 2.])
    """
    if kernel.dtype != torch.float64:
        try:
            return _solve(kernel, targets, penalty)
        except InputError:
            pass
    return _solve(kernel.double(), targets.double(), penalty).to(targets)


def feature_ridge(
    features: Float[Tensor, "*batch n d"], targets: Float[Tensor, "*batch n k"], penalty: Number
) -> Float[Tensor, "*batch d k"]:
    """Weights ``w``, by whichever of the two equal forms has the smaller matrix; differentiable.

    Raises:
        InputError: as of `kernel_ridge`.

    Example:
        >>> feature_ridge(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]]), 0.0)
        tensor([[4.]])
    """
    if features.shape[-2] < features.shape[-1]:
        return features.mT @ kernel_ridge(features @ features.mT, targets, penalty)
    return kernel_ridge(features.mT @ features, features.mT @ targets, penalty)


def _solve(kernel: Tensor, targets: Tensor, penalty: Number) -> Tensor:
    eye = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    solved: Tensor = _Solve.apply(kernel + penalty * eye, targets.to(kernel))
    return solved


class _Solve(torch.autograd.Function):
    """``S^-1 Y`` for a symmetric positive definite S. Its derivative is another solve with the same factor,

    ``dA = S^-1 (dY - dS A)``, a fraction of what differentiating the factorisation itself would cost.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, targets: Tensor) -> Tensor:
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed.any():
            what = "the matrix of a ridge regression is not positive definite"
            raise InputError(what, f"{matrix.shape[-1]} rows", "Raise the penalty; check for NaN.")
        solved = torch.cholesky_solve(targets, factor)
        ctx.save_for_backward(factor, solved)
        return solved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        factor, solved = ctx.saved_tensors
        back = torch.cholesky_solve(gradient, factor)
        outer = back @ solved.mT
        return -(outer + outer.mT) / 2, back


class RidgePath:
    """All ridge regressions of one data set, from one decomposition in float64.

    Arguments:
        cache: The decomposed matrix: ``EigenCache(k(X, X))`` or ``EigenCache.of_features(F)``. With an intercept it
            must be centred; `of_kernel` and `of_features` see to that.
        targets: One column an output.
        intercept: Whether the cache is of centred data and a constant is fitted that is not penalised.

    Example:
        >>> x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
        >>> path = RidgePath.of_features(torch.cat([x, x**2], 1), 3 * x + 1, intercept=True)
        >>> best = path.best()
        >>> bool(path.left_out(best).abs().max() < 1e-6)
        True
    """

    def __init__(self, cache: EigenCache, targets: Float[Tensor, "n k"], *, intercept: bool = False) -> None:
        if len(targets) != len(cache.vectors):
            got = f"{len(targets)} targets of {len(cache.vectors)} rows"
            raise InputError("every row has a target", got, "Pass as many targets as rows.")
        targets = targets.to(cache.vectors)
        if not len(targets) or not targets.isfinite().all():
            raise InputError("targets are finite numbers", "none, NaN or infinity", "Check the targets.")
        self.cache, self.intercept = cache, intercept
        self.mean = targets.mean(0) if intercept else torch.zeros_like(targets[0])
        self._targets = targets - self.mean
        self._along = cache.project(self._targets)
        self._outside = self._targets - cache.vectors @ self._along
        self._room = (1 - cache.vectors.square().sum(1)).clamp(min=0)

    @classmethod
    def of_kernel(
        cls, kernel: Float[Tensor, "n n"], targets: Float[Tensor, "m k"], *, intercept: bool = False
    ) -> RidgePath:
        """Of a kernel matrix, centred if there is an intercept."""
        if intercept:
            kernel = kernel.double()
            kernel = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
        return cls(EigenCache(kernel), targets, intercept=intercept)

    @classmethod
    def of_features(
        cls, features: Float[Tensor, "n d"], targets: Float[Tensor, "m k"], *, intercept: bool = False
    ) -> RidgePath:
        """Of features, centred if there is an intercept; one thin singular value decomposition."""
        centred = features.double() - features.double().mean(0) if intercept else features
        return cls(EigenCache.of_features(centred), targets, intercept=intercept)

    def dual(self, penalty: float) -> Float[Tensor, "n k"]:
        """Coefficients a of the (centred) kernel; features' weights are ``F^T a``. With an intercept they sum to 0."""
        return self._residual(penalty) / penalty

    def fitted(self, penalty: float) -> Float[Tensor, "n k"]:
        """What is predicted of the rows themselves."""
        return self.mean + self._targets - self._residual(penalty)

    def freedom(self, penalty: float) -> float:
        """Effective degrees of freedom, the trace of the map from targets to what is fitted; 1 for the intercept."""
        return float((self.cache.values / (self.cache.values + penalty)).sum()) + self.intercept

    def left_out(self, penalty: float) -> Float[Tensor, "n k"]:
        """Errors ``y_i - f_i(x_i)`` of fits ``f_i`` that did not see row i: residuals over ``1 - h_ii`` (exact).

        A row that alone decides what is predicted of it (``h_ii = 1``) has an infinite error, or none if it fits.
        """
        gains = self._shrunk(penalty)
        free = self.cache.vectors.square() @ gains + self._room - self.intercept / len(self._targets)
        return self._residual(penalty) / free[:, None]

    def errors(self, penalties: Float[Tensor, " p"]) -> Float[Tensor, "p k"]:
        """Mean squared leave-one-out errors of every output at every penalty: one matrix product for many of them."""
        vectors, squared = self.cache.vectors, self.cache.vectors.square()
        rows, outputs = self._targets.shape
        found = []
        for some in penalties.to(vectors).split(max(1, _HELD // (rows * outputs))):
            shrunk = torch.stack([self._shrunk(float(penalty)) for penalty in some], 1)
            free = squared @ shrunk + (self._room - self.intercept / rows)[:, None]
            residual = vectors @ (shrunk[:, :, None] * self._along[:, None]).flatten(1)
            residual = residual.unflatten(1, (len(some), outputs)) + self._outside[:, None]
            found.append((residual / free[:, :, None]).square().mean(0))
        return torch.cat(found)

    def best(self, penalties: Float[Tensor, " p"] | None = None) -> float:
        """The penalty of the smallest leave-one-out error over all outputs together.

        Arguments:
            penalties: To choose from; 49 from 1e-8 to 1e4 of the mean eigenvalue, evenly in logarithm, unless given.
        """
        if penalties is None:
            scale = float(self.cache.values.sum()) / len(self._targets) or 1.0
            penalties = scale * torch.logspace(-8, 4, 49, dtype=torch.float64)
        errors = self.errors(penalties).sum(1).nan_to_num(nan=torch.inf)
        return float(penalties[int(errors.argmin())])

    def _shrunk(self, penalty: float) -> Tensor:
        """The share of each direction that is left over by the fit."""
        if not 0 < penalty < float("inf"):
            raise InputError("a penalty is a positive number", penalty, "Give for instance 0.1.")
        return penalty / (self.cache.values + penalty)

    def _residual(self, penalty: float) -> Tensor:
        return self.cache.vectors @ (self._shrunk(penalty)[:, None] * self._along) + self._outside


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Sums over rows that determine every ridge regression on them; sets of rows add and subtract.

    Rows are not kept, and adding more takes no more memory. A set that was added can be taken away again, exactly but
    for rounding: what is left is what the other rows alone would have given.

    Attributes:
        gram: ``F^T F``.
        cross: ``F^T Y``.
        sum: Sum of the features.
        target_sum: Sum of the targets.
        energy: Sum of the squared targets, each output.
        count: Number of rows.

    Example:
        >>> x = torch.arange(6.0, dtype=torch.float64)[:, None]
        >>> all_rows = NormalEquations.of(x, 2 * x + 5)
        >>> some = all_rows - NormalEquations.of(x[:2], 2 * x[:2] + 5)
        >>> weights, constant = some.solve(1e-9, intercept=True)
        >>> some.count, round(float(weights), 6), round(float(constant), 6)
        (4, 2.0, 5.0)
    """

    gram: Float[Tensor, "d d"]
    cross: Float[Tensor, "d k"]
    sum: Float[Tensor, " d"]
    target_sum: Float[Tensor, " k"]
    energy: Float[Tensor, " k"]
    count: int

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], targets: Float[Tensor, "m k"]) -> NormalEquations:
        """Of rows, in float64.

        Raises:
            InputError: values that are not finite, or other numbers of features' and targets' rows.
        """
        f, y = features.double(), targets.double()
        if len(f) != len(y):
            got = f"{tuple(f.shape)} and {tuple(y.shape)}"
            raise InputError("every row of features has one of targets", got, "Pass as many targets as rows.")
        if not (f.isfinite().all() and y.isfinite().all()):
            raise InputError("features and targets are finite", "NaN or infinity", "Check the rows.")
        return cls(f.mT @ f, f.mT @ y, f.sum(0), y.sum(0), y.square().sum(0), len(f))

    @classmethod
    def over(cls, batches: Iterable[tuple[Tensor, Tensor]]) -> NormalEquations:
        """Of a stream of batches (features, targets), one in memory at a time.

        Raises:
            InputError: no batch.
        """
        total: NormalEquations | None = None
        for features, targets in batches:
            part = cls.of(features, targets)
            total = part if total is None else total + part
        if total is None:
            raise InputError("there are no rows", "no batch", "Pass at least one.")
        return total

    @property
    def nbytes(self) -> int:
        """Bytes it takes to keep them in single precision, of the symmetric matrix its lower triangle."""
        d, k = self.cross.shape
        return 4 * (d * (d + 1) // 2 + d * k + d + 2 * k + 1)

    def placed(self, columns: Int64[Tensor, " k"], outputs: int) -> NormalEquations:
        """The same rows with their targets as columns of more outputs, the others 0.

        Example:
            >>> x = torch.ones(2, 1, dtype=torch.float64)
            >>> NormalEquations.of(x, x).placed(torch.tensor([1]), 3).cross
            tensor([[0., 2., 0.]], dtype=torch.float64)
        """

        def spread(values: Tensor) -> Tensor:
            return values.new_zeros(*values.shape[:-1], outputs).index_copy(-1, columns, values)

        return NormalEquations(
            self.gram, spread(self.cross), self.sum, spread(self.target_sum), spread(self.energy), self.count
        )

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return self._combined(other, 1)

    def __sub__(self, other: NormalEquations) -> NormalEquations:
        if other.count > self.count:
            got = f"{other.count} of {self.count}"
            raise InputError("more rows are taken away than there are", got, "Subtract only rows that were added.")
        return self._combined(other, -1)

    def solve(self, penalty: float, *, intercept: bool = False) -> tuple[Float[Tensor, "d k"], Float[Tensor, " k"]]:
        """Weights, and the constant (0 without an intercept), which is not penalised.

        Raises:
            InputError: no rows, or sums that are not positive definite with this penalty.
        """
        gram, cross, _ = self._centred(intercept)
        weights = kernel_ridge(gram, cross, penalty)
        constant = (self.target_sum - self.sum @ weights) / self.count if intercept else 0 * self.target_sum
        return weights, constant

    def generalised_cv(self, penalties: Float[Tensor, " p"], *, intercept: bool = False) -> Float[Tensor, "p k"]:
        """``n |Y - f(X)|^2 / (n - freedom)^2`` of every output: a leave-one-out error that needs no rows."""
        gram, cross, energy = self._centred(intercept)
        cache = EigenCache(gram, scale=float(self.gram.diagonal().max()))
        # More directions than rows, and those lost in rounding, are none.
        rank = min(int((cache.values > 1e-12 * cache.values[0]).sum()), self.count - intercept)
        values = cache.values[:rank]
        inside = cache.project(cross)[:rank].square() / values[:, None]
        beyond = self.count - intercept - rank
        # Left over is a sum of squares: a difference of energies would be rounding where the fit is nearly exact.
        outside = (energy - inside.sum(0)).clamp(min=0) if beyond else 0 * energy
        penalties = penalties.to(values)[:, None]
        shrunk = penalties / (values + penalties)
        room = (shrunk.sum(1, keepdim=True) + beyond).clamp(min=1e-150)
        return self.count * (shrunk.square() @ inside + outside) / room.square()

    def _centred(self, intercept: bool) -> tuple[Tensor, Tensor, Tensor]:
        if self.count < 1:
            raise InputError("there are no rows", self.count, "Add some.")
        if not intercept:
            return self.gram, self.cross, self.energy
        mean, target_mean = self.sum / self.count, self.target_sum / self.count
        gram = self.gram - torch.outer(mean, self.sum)
        return gram, self.cross - torch.outer(self.sum, target_mean), self.energy - self.target_sum * target_mean

    def _combined(self, other: NormalEquations, sign: int) -> NormalEquations:
        if self.cross.shape != other.cross.shape:
            got = f"{tuple(self.cross.shape)} and {tuple(other.cross.shape)}"
            raise InputError("both sets have the same features and outputs", got, "Pass rows of the same kind.")
        return NormalEquations(
            self.gram + sign * other.gram,
            self.cross + sign * other.cross,
            self.sum + sign * other.sum,
            self.target_sum + sign * other.target_sum,
            self.energy + sign * other.energy,
            self.count + sign * other.count,
        )
