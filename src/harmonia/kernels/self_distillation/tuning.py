"""Where weights of the truth are tuned: on rows held out, by folds, by leaving each row out, or by generalised CV.

Each criterion starts a `Chain` for a penalty. The chain stands at a step; `mixture` gives the errors of the two ends of
the next one, `accept` takes that step. Changing the penalty never decomposes anything anew.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation.basis import Basis, InitialFit
from harmonia.kernels.self_distillation.spectral import Smoother, target_shares
from harmonia.kernels.self_distillation.weight import Mixture, OptimalWeight, usable

Split = tuple[np.ndarray, np.ndarray]


@runtime_checkable
class Chain(Protocol):
    """Steps of self-distillation seen through their held-out errors."""

    def mixture(self) -> Mixture:
        """Errors of the two ends of the next step."""

    def accept(self, alpha: float) -> None:
        """Take the next step with that weight."""

    def limit(self, alpha: float) -> float:
        """The error that infinitely many steps of that weight end at."""


@runtime_checkable
class Criterion(Protocol):
    """A way to judge steps."""

    def start(self, smoother: Smoother) -> Chain:
        """A chain at step 1."""


@dataclass(frozen=True)
class Folds:
    """Rows predicted by fits that did not see them: one hold-out set, or each fold in turn.

    Attributes:
        fits: The ordinary fit of each fold's training rows.
        projected: The fold's held-out rows along its eigenvectors.
        truths: Their targets.
    """

    fits: Sequence[InitialFit]
    projected: Sequence[Tensor]
    truths: Sequence[Tensor]

    @classmethod
    def of(
        cls,
        data: Float[Tensor, "n columns"],
        targets: Float[Tensor, "n k"],
        splits: Sequence[Split],
        *,
        intercept: bool,
        features: bool = False,
    ) -> Folds:
        """Decompose the kernel of each fold's training rows.

        Arguments:
            data: Kernel matrix of all rows, or their features.
            targets: Of all rows.
            splits: Training and held-out rows of each fold.
            intercept: Whether there is one.
            features: Whether `data` are features.
        """
        fits, projected, truths = [], [], []
        for kept, held in ((torch.from_numpy(k), torch.from_numpy(h)) for k, h in splits):
            if features:
                basis, rows = Basis.of_features(data[kept], intercept), data[held]
            else:
                basis, rows = Basis.of_kernel(data[kept][:, kept], intercept), data[held][:, kept]
            fits.append(InitialFit.of(basis, targets[kept], Smoother(0.0)))
            projected.append(basis.project(rows))
            truths.append(targets[held].double())
        return cls(fits, projected, truths)

    def fits_of(self, smoother: Smoother) -> list[InitialFit]:
        """The ordinary fits by another smoother."""
        return [dataclasses.replace(fit, smoother=smoother) for fit in self.fits]

    def start(self, smoother: Smoother) -> Chain:
        return _FoldChain(self, self.fits_of(smoother))


class _FoldChain:
    def __init__(self, folds: Folds, fits: Sequence[InitialFit]) -> None:
        self.folds, self.fits = folds, fits
        self.shares = [torch.ones_like(fit.gain) for fit in fits]
        self.first = self._errors(self.shares)

    def _errors(self, shares: Sequence[Tensor]) -> Tensor:
        rows = zip(self.fits, self.folds.projected, self.folds.truths, shares)
        return torch.cat([truth - fit.predict(projected, share) for fit, projected, truth, share in rows])

    def _pure(self) -> list[Tensor]:
        return [fit.gain * share for fit, share in zip(self.fits, self.shares)]

    def mixture(self) -> Mixture:
        return Mixture(self.first, self._errors(self._pure()))

    def accept(self, alpha: float) -> None:
        self.shares = [alpha + (1 - alpha) * share for share in self._pure()]

    def limit(self, alpha: float) -> float:
        errors = self._errors([target_shares(fit.gain, alpha, math.inf) for fit in self.fits])
        return float(errors.square().mean())


@dataclass(frozen=True)
class GeneralizedCV:
    """``|(I - H) y|^2 / n / (1 - tr H / n)^2`` in the eigenbasis: linear in the number of rows, no split.

    Attributes:
        fit: The ordinary fit of all rows.
        rows: Their number.
    """

    fit: InitialFit
    rows: int

    def start(self, smoother: Smoother) -> Chain:
        return _GeneralizedChain(dataclasses.replace(self.fit, smoother=smoother), self.rows)


class _GeneralizedChain:
    def __init__(self, fit: InitialFit, rows: int) -> None:
        self.fit, self.rows = fit, rows
        self.shares = torch.ones_like(fit.gain)
        self.first = self._errors(self.shares)

    def _errors(self, shares: Tensor) -> tuple[Tensor, float]:
        kept = self.fit.gain * shares
        residual = torch.cat([(1 - kept)[:, None] * self.fit.coordinates, self.fit.rest[None]])
        # The mean of squares over `rows`, not over the coordinates.
        residual = residual * math.sqrt(len(residual) / self.rows)
        return residual, (float(kept.sum()) + self.fit.basis.intercept) / self.rows

    def mixture(self) -> Mixture:
        pure, dof = self._errors(self.fit.gain * self.shares)
        return Mixture(self.first[0], pure, self.first[1], dof)

    def accept(self, alpha: float) -> None:
        self.shares = alpha + (1 - alpha) * self.fit.gain * self.shares

    def limit(self, alpha: float) -> float:
        errors, dof = self._errors(target_shares(self.fit.gain, alpha, math.inf))
        return Mixture(errors, errors, dof, dof).score(1.0)


@dataclass(frozen=True)
class LeaveOneOut:
    """Each row predicted by fits that never saw it, at any step; exact, one matrix product a step and output.

    Without row i the fit of targets t has the weights ``w = Q t - Q_i (Q t)_i / Q_ii`` with ``Q = (K + penalty)^{-1}``
    (with an intercept its centred form). It predicts ``t_j - penalty w_j`` for the rows it saw, and for row i
    ``t_i - (Q t)_i / Q_ii``: column i of the matrices below, so that its students can be fitted the same way.

    Attributes:
        fit: The ordinary fit of all rows, from a kernel matrix.
        targets: Of all rows.
    """

    fit: InitialFit
    targets: Float[Tensor, "n k"]

    def start(self, smoother: Smoother) -> Chain:
        if not math.isinf(smoother.time) or smoother.penalty == 0:
            raise InputError(
                "leaving rows out one by one needs ridge regression",
                f"lam={smoother.penalty:g}, time={smoother.time:g}",
                "Use tune='cv', or lam > 0 and time=inf.",
            )
        return _LeaveOneOutChain(dataclasses.replace(self.fit, smoother=smoother), self.targets.double())


class _LeaveOneOutChain:
    def __init__(self, fit: InitialFit, targets: Tensor) -> None:
        self.fit, self.targets = fit, targets
        basis, self.penalty = fit.basis, fit.smoother.penalty
        self.inverse = basis.eigen.filter(fit.smoother.solve(basis.eigen.values)).dense()
        if basis.intercept:
            self.inverse = self.inverse - 1 / (len(targets) * self.penalty)
        # One matrix per output: column i holds what belongs to the fit without row i.
        self.truth = targets.T[:, :, None].expand(-1, -1, len(targets))
        self.first = self.current = self._distilled(self.truth)
        self.pure: Tensor | None = None

    def _distilled(self, targets: Tensor) -> Tensor:
        """Predictions (k, n, n) of all rows, by fits to the columns of `targets` without the row of that column."""
        solved = self.inverse @ targets
        left_out = solved.diagonal(dim1=1, dim2=2) / self.inverse.diagonal()
        predicted = targets - self.penalty * (solved - self.inverse * left_out[:, None, :])
        return predicted - torch.diag_embed(left_out)

    def _errors(self, predicted: Tensor) -> Tensor:
        return (self.truth - predicted).diagonal(dim1=1, dim2=2).T

    def mixture(self) -> Mixture:
        if self.pure is None:
            self.pure = self._distilled(self.current)
        return Mixture(self._errors(self.first), self._errors(self.pure))

    def accept(self, alpha: float) -> None:
        if self.pure is None:
            self.pure = self._distilled(self.current)
        self.current, self.pure = alpha * self.first + (1 - alpha) * self.pure, None

    def limit(self, alpha: float) -> float:
        target_shares(self.fit.gain, alpha, math.inf)  # refuses a weight without a limit
        smoother = Smoother(self.fit.smoother.penalty / alpha)
        chain = _LeaveOneOutChain(dataclasses.replace(self.fit, smoother=smoother), self.targets)
        return float(chain._errors(chain.first).square().mean())


@dataclass(frozen=True)
class Tuned:
    """Steps that were taken.

    Attributes:
        smoother: The fit they repeat.
        alphas: Weights of steps 2, 3, ...; of infinitely many steps the one weight.
        scores: Mean squared error, by the criterion, of steps 1, 2, ...; of infinitely many steps that of the limit.
        step: The step to use: the last one, or, if weights were tuned, the one with the least error.
        first: The best weight of step 2, not clipped.
    """

    smoother: Smoother
    alphas: tuple[float, ...]
    scores: tuple[float, ...]
    step: int | float
    first: OptimalWeight

    @property
    def score(self) -> float:
        """The error of the step to use."""
        return self.scores[-1 if self.step == math.inf else int(self.step) - 1]


def follow(criterion: Criterion, smoother: Smoother, alphas: Sequence[float | None], clip: bool = False) -> Tuned:
    """Take steps, each with the given weight, or with the best one given those before it.

    Arguments:
        criterion: Where errors are measured.
        smoother: The fit.
        alphas: Weights of steps 2, 3, ...; None to tune one.
        clip: Whether to keep tuned weights between 0 and 1.
    """
    chain = criterion.start(smoother)
    mixture = chain.mixture()
    first, chosen, scores = mixture.best(), [], [mixture.score(1.0)]
    for step, alpha in enumerate(alphas):
        if step:
            mixture = chain.mixture()
        chosen.append(usable(mixture.best().value, clip) if alpha is None else alpha)
        scores.append(mixture.score(chosen[-1]))
        chain.accept(chosen[-1])
    best = int(np.argmin(scores)) + 1 if None in alphas else len(scores)
    return Tuned(smoother, tuple(chosen), tuple(scores), best, first)


def follow_forever(criterion: Criterion, smoother: Smoother, alpha: float | None, clip: bool = False) -> Tuned:
    """Infinitely many steps with one weight, the given or, by a search along a line, the best one.

    Arguments:
        criterion, smoother, clip: As of `follow`.
        alpha: The weight; None to tune it.
    """
    chain = criterion.start(smoother)
    if alpha is None:
        top = 1.0 if clip else 1.99  # from 2 on the steps need not converge
        grid = np.geomspace(1e-4, top, 41)
        best = int(np.argmin([chain.limit(float(x)) for x in grid]))
        bounds = (float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)]))
        found = minimize_scalar(chain.limit, bounds=bounds, method="bounded", options={"xatol": 1e-4 * bounds[1]})
        alpha = min((float(found.x), float(grid[best])), key=chain.limit)
    return Tuned(smoother, (alpha,), (chain.limit(alpha),), math.inf, chain.mixture().best())
