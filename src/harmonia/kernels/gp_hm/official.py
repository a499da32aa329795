"""The official training loop: values, noise and spectrum all by one Adam.

Kept to compare with, in the algebra of the release: the kernel matrices are so ill-conditioned that Adam follows their
rounding, and other products lead elsewhere. Of the committed logs it gives all digits in one dimension and three in two
(results/gp-hm.json). It starts at u = 0, weighs the boundary's likelihood by a factor, and reports the smallest of
twenty test errors, which `lowest` repeats and nothing else here does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.gp_hm.basis import Lags
from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.operators import Derivatives, Equation
from harmonia.parts.gram import along


@dataclass
class OfficialLoop:
    """Joint optimisation of U, log tau, log v and the spectra, as the official code does it.

    Arguments:
        equation: N of ``N[u] = f``.
        axes: Points of the grid, axis by axis.
        kernels: With parameters.
        source: f on the grid.
        sides: Values on the sides, in the order first axis first, first, last; second axis first, last; ...
        boundary_weight: Factor of the boundary's log-likelihood.
        jitter: Added to the diagonals of the kernel matrices.
        learning_rate: Of Adam.
    """

    equation: Equation
    axes: Sequence[Tensor]
    kernels: Sequence[SpectralMixtureKernel1D]
    source: Tensor
    sides: Tensor
    boundary_weight: float = 200.0
    jitter: float = 1e-6
    learning_rate: float = 1e-2
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lags = [Lags(x) for x in self.axes]
        self._points = torch.meshgrid(*self.axes, indexing="ij")
        self._u = torch.zeros(self.source.shape, dtype=torch.float64, requires_grad=True)
        self._noise = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        parameters = [kernel.parameters or () for kernel in self.kernels]
        self._leaves = [tuple(p.clone().requires_grad_() for p in each) for each in parameters]
        leaves = [leaf for each in self._leaves for leaf in each]
        self._adam = torch.optim.Adam([self._u, self._noise, *leaves], lr=self.learning_rate)

    def _now(self) -> list[SpectralMixtureKernel1D]:
        return [kernel.with_parameters(*leaves) for kernel, leaves in zip(self.kernels, self._leaves)]

    def _covariances(self, kernels: Sequence[SpectralMixtureKernel1D]) -> list[Tensor]:
        return [
            lags.matrix(kernel, 0) + self.jitter * torch.eye(len(lags.x), dtype=torch.float64)
            for lags, kernel in zip(self._lags, kernels)
        ]

    def loss(self) -> Float[Tensor, ""]:
        """``-log p(U, boundary, equation)`` with the official weights; the solves are those of dense matrices."""
        kernels = self._now()
        covariances = self._covariances(kernels)
        n = self._u.numel()
        solved = [_solved(matrix, self._u, axis) for axis, matrix in enumerate(covariances)]

        def derivative(order: tuple[int, ...]) -> Tensor:
            # U_xx = K1'' K1^-1 U: an axis that is not differentiated is left alone. To solve along it and multiply
            # back is the same on paper only.
            found = None
            for axis, (lags, kernel, m) in enumerate(zip(self._lags, kernels, order)):
                if m:
                    lines = solved[axis] if found is None else _solved(covariances[axis], found, axis)
                    found = along(lines, lags.matrix(kernel, m), axis)
            return self._u if found is None else found

        residual = self.equation(Derivatives(len(self.axes), derivative), *self._points) - self.source
        logdet = sum(n / len(matrix) * torch.linalg.slogdet(matrix)[1] for matrix in covariances)
        ends = [torch.stack([self._u.select(axis, 0), self._u.select(axis, -1)]) for axis in range(len(self.axes))]
        gap = (torch.cat([end.reshape(-1) for end in ends]) - self.sides).square().sum()
        log_tau, log_v = self._noise
        # <K1^-1 U, U K2^-1>: each side is solved along its own axes.
        across = solved[1] if len(solved) > 1 else self._u
        for axis in range(2, len(solved)):
            across = _solved(covariances[axis], across, axis)
        boundary = 0.5 * len(self.sides) * log_tau - 0.5 * log_tau.exp() * gap
        inside = 0.5 * n * log_v - 0.5 * log_v.exp() * residual.square().sum()
        return 0.5 * logdet + 0.5 * (solved[0] * across).sum() - self.boundary_weight * boundary - inside

    def run(self, steps: int, watch: Callable[[OfficialLoop], None] | None = None, every: int = 0) -> OfficialLoop:
        """Take steps of Adam; `watch` is called after the first of every `every` steps, as the official code does.

        Raises:
            InputError: a loss that is not finite.
        """
        for step in track(range(steps), "Adam"):
            self._adam.zero_grad()
            loss = self.loss()
            if not loss.isfinite():
                raise InputError("the official loop diverged", f"step {step}", "Use another solver.")
            loss.backward()
            self._adam.step()
            self.losses.append(float(loss.detach()))
            if watch is not None and every and step % every == 0:
                watch(self)
        return self

    def predict(self, axes: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "..."]:
        """The conditional mean on another tensor grid."""
        with torch.no_grad():
            kernels = self._now()
            found = self._u
            for axis, (lags, kernel, matrix, x) in enumerate(
                zip(self._lags, kernels, self._covariances(kernels), axes)
            ):
                found = along(_solved(matrix, found, axis), kernel.k(x[:, None] - lags.x), axis)
            return found


def _solved(matrix: Float[Tensor, "n n"], values: Float[Tensor, "..."], axis: int) -> Float[Tensor, "..."]:
    """``K^-1`` along one axis."""
    lines = torch.movedim(values, axis, 0)
    found = torch.linalg.solve(matrix, lines.reshape(len(lines), -1)).reshape(lines.shape)
    return torch.movedim(found, 0, axis)


def lowest(
    loop: OfficialLoop, steps: int, test_axes: Sequence[Float[Tensor, "_"]], truth: Float[Tensor, "..."]
) -> float:
    """Run the loop and give the number the official code reports: the least of twenty errors on the test points."""
    errors: list[float] = []

    def watch(loop: OfficialLoop) -> None:
        errors.append(float((loop.predict(test_axes) - truth).norm() / truth.norm()))

    loop.run(steps, watch, max(1, steps // 20))
    return min(errors)


def official_kernels(
    count: int, q: int, freq_scale: float, envelope: str = "matern52"
) -> list[SpectralMixtureKernel1D]:
    """The official start: w = 1/Q, a = 1, mu evenly from 0 to `freq_scale`."""
    weight = torch.full((q,), -math.log(q), dtype=torch.float64)
    frequency = torch.linspace(0, 1, q, dtype=torch.float64) * freq_scale
    kernel = SpectralMixtureKernel1D(q, "gaussian" if envelope == "gaussian" else "matern52", freq_scale)
    return [kernel.with_parameters(weight, torch.zeros_like(weight), frequency.clone()) for _ in range(count)]
