"""What infinitely wide networks predict after any amount of training, from kernels alone.

For the squared loss ``(1/2N) |f(X) - y|^2`` gradient flow in function space is the linear equation

    d f_t(x) / dt = -(1/N) Theta(x, X) (f_t(X) - y)

so an ensemble of networks, a Gaussian process N(0, K) at initialisation, stays one. With
``A_t = Theta(x, X) Theta^{-1} (I - e^{-Theta t / N})``

    mean       = A_t y
    covariance = K(x, x') + A_t K(X, X) A_t^T - A_t K(X, x') - (A_t K(X, x'))^T

(Jacot et al. 2018, Sec. 5; Lee et al. 2019, arXiv:1902.06720, Eqs. 14-16). Steps of gradient descent, with or without
momentum, replace ``e^{-lambda t / N}`` by another function of the eigenvalue: how much of the residual is left.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import EigenCache

RidgeMode = Literal["relative", "absolute"]


@runtime_checkable
class Training(Protocol):
    """A way to train, as it acts on one eigendirection of the kernel."""

    def residual(self, rate: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The share of the initial residual that is left along a direction that gradient flow learns at `rate`."""


@dataclass(frozen=True)
class GradientFlow:
    """Gradient descent with infinitely small steps for a time; ``residual = e^{-rate time}``.

    Arguments:
        time: Learning rate times number of steps, for the loss ``(1/2N) |f - y|^2`` with N rows times outputs.
    """

    time: float = math.inf

    def __post_init__(self) -> None:
        if not self.time >= 0:
            raise InputError("training time cannot be negative", self.time, "Give time >= 0; math.inf is allowed.")

    def residual(self, rate: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return torch.exp(-rate * self.time) if math.isfinite(self.time) else (rate <= 0).to(rate)


@dataclass(frozen=True)
class GradientDescent:
    """Full-batch gradient descent, ``residual = (1 - learning_rate rate)^steps``, or with heavy-ball momentum.

    Arguments:
        steps: Number of steps.
        learning_rate: Step size; converges only below `largest_learning_rate`.
        momentum: ``v <- momentum v + gradient``, ``theta <- theta - learning_rate v``, as in ``torch.optim.SGD``.
    """

    steps: int
    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise InputError(
                "this is no gradient descent",
                f"steps={self.steps}, learning_rate={self.learning_rate}, momentum={self.momentum}",
                "Give steps >= 0, learning_rate > 0 and 0 <= momentum < 1.",
            )

    def residual(self, rate: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        largest = 2 * (1 + self.momentum) / float(rate.max()) if float(rate.max()) > 0 else math.inf
        if self.learning_rate >= largest:
            raise InputError(
                "gradient descent diverges with this learning rate",
                self.learning_rate,
                f"Give less than {largest:.4g}.",
            )
        speed = self.learning_rate * rate
        if self.momentum == 0:
            return (1 - speed) ** self.steps
        # r_{t+1} = (1 + m - speed) r_t - m r_{t-1}: powers of the companion matrix stay exact at double roots.
        companion = torch.zeros(*rate.shape, 2, 2, dtype=rate.dtype, device=rate.device)
        companion[..., 0, 0] = 1 + self.momentum - speed
        companion[..., 0, 1] = -self.momentum
        companion[..., 1, 0] = 1
        start = rate.new_ones(2, 1)
        return (torch.linalg.matrix_power(companion, self.steps) @ start)[..., 0, 0]


class Prediction(NamedTuple):
    """Mean (m, k) of the outputs and their variance (m,) or covariance (m, m) over the ensemble, for each output."""

    mean: Tensor
    covariance: Tensor | None


class InfiniteEnsemble:
    """Infinitely wide networks trained on data: a Gaussian process at every moment of training.

    Arguments:
        nngp: Covariance K(X, X) of the outputs at initialisation.
        targets: Training targets (n, k) or (n,).
        ntk: Tangent kernel Theta(X, X). Without it only the last layer is trained, which at infinite time is Bayesian
            inference with the prior K.
        ridge: Weight of the pull ``ridge |theta - theta_0|^2 / 2N`` towards initialisation; without `ntk` the variance
            of the noise of the targets.
        ridge_mode: Whether `ridge` is a multiple of the mean of the kernel's diagonal or absolute.

    Example:
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)
        >>> kernel = 1 + x[:, None] * x
        >>> ensemble = InfiniteEnsemble(kernel, 3 * x, ridge=1e-9)
        >>> at = torch.tensor([[0.5]], dtype=torch.float64)
        >>> mean, covariance = ensemble.predict(1 + at * x, prior=1 + at * at)
        >>> round(float(mean), 4), round(float(covariance), 4)
        (1.5, 0.0)
    """

    def __init__(
        self,
        nngp: Float[Tensor, "n1 n2"],
        targets: Float[Tensor, " n *k"],
        ntk: Float[Tensor, "n3 n4"] | None = None,
        *,
        ridge: float = 0.0,
        ridge_mode: RidgeMode = "relative",
    ) -> None:
        if not ridge >= 0:
            raise InputError("the ridge cannot be negative", ridge, "Give ridge >= 0.")
        self.nngp = nngp.double()
        self.ntk = self.nngp if ntk is None else ntk.double()
        self.bayesian = ntk is None
        self.targets = targets.double().reshape(len(targets), -1)
        n = len(self.targets)
        for name, kernel in (("nngp", self.nngp), ("ntk", self.ntk)):
            if kernel.shape != (n, n):
                raise InputError(
                    f"the {name} kernel does not fit the targets", tuple(kernel.shape), f"Pass ({n}, {n})."
                )
            if not kernel.isfinite().all():
                row = int((~kernel.isfinite()).any(1).nonzero()[0])
                raise InputError(
                    f"the {name} kernel is not finite", f"row {row}", "Remove NaN or scale the inputs down."
                )
        self.ridge = ridge * float(self.ntk.diagonal().mean()) if ridge_mode == "relative" else ridge

    def with_ridge(self, ridge: float) -> InfiniteEnsemble:
        """The same ensemble with another absolute ridge; shares the eigendecomposition."""
        other = copy.copy(self)
        vars(other).update(eigen=self.eigen, ridge=ridge)
        for cached in ("_cholesky", "_infinite_weights"):
            vars(other).pop(cached, None)
        return other

    @property
    def size(self) -> int:
        """N = rows times outputs, which normalises the loss."""
        return self.targets.numel()

    @cached_property
    def eigen(self) -> EigenCache:
        """Principal components of Theta(X, X), without the ridge, largest first."""
        return EigenCache(self.ntk)

    @cached_property
    def _cholesky(self) -> Tensor | None:
        """Factor of Theta + ridge; None if that is singular in float64."""
        shifted = self.ntk + self.ridge * torch.eye(len(self.ntk), dtype=self.ntk.dtype, device=self.ntk.device)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        pivots = factor.diagonal().square()
        sound = not failed and pivots.min() > 10 * len(pivots) * torch.finfo(pivots.dtype).eps * pivots.max()
        return factor if sound else None

    @property
    def largest_learning_rate(self) -> float:
        """Gradient descent without momentum diverges from here on: ``2 N / lambda_max``."""
        return 2 * self.size / (float(self.eigen.values[0]) + self.ridge)

    def gains(self, training: Training) -> Float[Tensor, " n"]:
        """By component, how far training has gone towards the solution: ``(1 - residual) / (lambda + ridge)``."""
        rate = (self.eigen.values + self.ridge) / self.size
        floor = max(len(rate) * torch.finfo(rate.dtype).eps * float(rate[0]), torch.finfo(rate.dtype).tiny)
        null = rate <= floor
        rate = rate.clamp_min(floor)
        gains = (1 - training.residual(rate)) / (rate * self.size)
        if training == GradientFlow() and null.any():  # a null direction is never learnt; does the fit need it?
            self._refuse_contradictions()
            gains = torch.where(null, 0.0, gains)
        return gains

    def _refuse_contradictions(self) -> None:
        """Without a ridge, two rows that the kernel cannot tell apart must have one target."""
        diagonal = self.ntk.diagonal()
        distance = diagonal[:, None] + diagonal - 2 * self.ntk
        same = (distance <= 1e-12 * diagonal.mean()).triu(1)
        different = (self.targets[:, None] - self.targets).abs().amax(2) > 1e-12 * self.targets.abs().max()
        pairs = (same & different).nonzero().tolist()
        if pairs:
            shown = ", ".join(f"{i} and {j}" for i, j in pairs[:5]) + (", ..." if len(pairs) > 5 else "")
            raise InputError(
                "rows with equal inputs have different targets, which no network without a ridge can fit",
                f"rows {shown}, counted from 0",
                "Give ridge > 0, a finite time, or remove the rows.",
            )

    @cached_property
    def _infinite_weights(self) -> Tensor:
        return self._apply(self.targets.mT, GradientFlow()).mT

    def _apply(self, rows: Tensor, training: Training) -> Tensor:
        """``rows Theta^{-1} (I - residual)``: by Cholesky at infinite time, else in the eigenbasis."""
        factor = None if "eigen" in vars(self) or training != GradientFlow() else self._cholesky
        if factor is not None:
            return torch.cholesky_solve(rows.mT, factor).mT
        return (self.eigen.filter(self.gains(training)) @ rows.mT).mT

    def weights(self, training: Training = GradientFlow()) -> Float[Tensor, "n k"]:
        """alpha such that the mean prediction is ``Theta(x, X) alpha``."""
        return self._infinite_weights if training == GradientFlow() else self._apply(self.targets.mT, training).mT

    def predict(
        self,
        cross_ntk: Float[Tensor, "m n"],
        cross_nngp: Float[Tensor, "m n"] | None = None,
        prior: Float[Tensor, " m *m"] | None = None,
        training: Training = GradientFlow(),
    ) -> Prediction:
        """The Gaussian process of outputs at new inputs.

        Arguments:
            cross_ntk: Theta(x, X); K(x, X) when the ensemble was made without `ntk`.
            cross_nngp: K(x, X); needed for the covariance when the ensemble was made with `ntk`.
            prior: K(x, x), whole (m, m) or its diagonal (m,); gives the covariance in the same form.
            training: How the networks were trained.
        """
        cross_ntk = cross_ntk.double()
        mean = cross_ntk @ self.weights(training)
        if prior is None:
            return Prediction(mean, None)
        if cross_nngp is None and not self.bayesian:
            raise InputError("the covariance needs both kernels", "cross_nngp=None", "Pass K(x, X) as cross_nngp.")
        cross = cross_ntk if cross_nngp is None else cross_nngp.double()
        response = self._apply(cross_ntk, training)  # A_t
        initial = response @ self.nngp
        if self.bayesian:  # noise of the targets
            initial = initial + self.ridge * response
        if prior.ndim == 1:
            change = ((initial - 2 * cross) * response).sum(1)
            return Prediction(mean, (prior.double() + change).clamp_min(0))
        shared = response @ cross.mT
        return Prediction(mean, prior.double() + initial @ response.mT - shared - shared.mT)

    def leave_one_out(self, variance: bool = True) -> Prediction:
        """Predict every row from all the others at infinite time, exactly and without another decomposition.

        With ``G = (Theta + ridge)^{-1}`` the mean is ``y_i - (G y)_i / G_ii`` and the variance ``(G K G)_ii / G_ii^2``.

        Arguments:
            variance: Whether the variance over the ensemble is wanted, which takes longer.
        """
        factor = None if "eigen" in vars(self) else self._cholesky
        if factor is None:
            solver = self.eigen.filter(self.gains(GradientFlow()))
            share, inverse = solver.diagonal(), solver.dense() if variance else None
        else:
            inverse = torch.cholesky_inverse(factor)
            share = inverse.diagonal()
        mean = self.targets - self.weights() / share[:, None]
        if inverse is None or not variance:
            return Prediction(mean, None)
        if self.bayesian:  # of the output itself, without the noise of its target
            return Prediction(mean, (1 / share - self.ridge).clamp_min(0))
        return Prediction(mean, ((inverse @ self.nngp) * inverse).sum(1) / share.square())

    def out_of_fold(
        self,
        trainings: Sequence[Training],
        folds: int = 5,
        generator: torch.Generator | None = None,
        variance: bool = False,
    ) -> Prediction:
        """Predict every row from the other folds, for several ways to train at one decomposition per fold.

        Arguments:
            trainings: Ways to train; times count in the normalised loss, so they mean the same for every fold.
            folds: Number of folds, at most the number of rows.
            generator: Source of the random split.
            variance: Whether the variance over the ensemble is wanted, which takes longer.

        Returns:
            Mean (t, n, k) and variance (t, n).
        """
        n = len(self.targets)
        if not 2 <= folds <= n:
            raise InputError("the number of folds does not fit the data", f"{folds} for {n} rows", f"Give 2 to {n}.")
        order = torch.randperm(n, generator=generator or torch.Generator().manual_seed(0))
        means = self.targets.new_empty(len(trainings), *self.targets.shape)
        spreads = means.new_empty(len(trainings), n) if variance else None
        for held in order.chunk(folds):
            kept = torch.ones(n, dtype=torch.bool).index_fill(0, held, False)
            part = InfiniteEnsemble(
                self.nngp[kept][:, kept],
                self.targets[kept],
                None if self.bayesian else self.ntk[kept][:, kept],
                ridge=self.ridge,
                ridge_mode="absolute",
            )
            cross, cross_nngp = self.ntk[held][:, kept], self.nngp[held][:, kept]
            prior = self.nngp.diagonal()[held] if variance else None
            for step, training in enumerate(trainings):
                means[step, held], covariance = part.predict(cross, cross_nngp, prior, training)
                if spreads is not None and covariance is not None:
                    spreads[step, held] = covariance
        return Prediction(means, spreads)

    def log_marginal_likelihood(self) -> float:
        """log p(y | X) under the NNGP prior with noise variance `ridge`; for ensembles without `ntk`."""
        if not self.bayesian:
            raise InputError("only Bayesian inference has a marginal likelihood", "an NTK", "Leave out `ntk`.")
        shifted = self.eigen.values + self.ridge
        power = self.eigen.project(self.targets).square().sum(1)
        n, k = self.targets.shape
        return float(-0.5 * ((power / shifted).sum() + k * shifted.log().sum() + n * k * math.log(2 * math.pi)))
