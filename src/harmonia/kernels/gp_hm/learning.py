"""The spectrum, learned by the evidence of the solution: Kronecker log-determinants, exact gradients, few steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.gp_hm.basis import AxisBasis
from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D

RATE = 0.2
"""Step of Adam for log w and log a."""

PHASE = 0.08
"""Its step for the frequencies, as the phase in radians by which a wave moves over the whole domain."""


def evidence(bases: Sequence[AxisBasis], z: Float[Tensor, "..."]) -> float:
    """``-log p(U)`` of the solution U on the grid under the prior, in nats and without its constant.

    ``1/2 log |K_1 x ... x K_d + jitter| + 1/2 |z|^2``, a Kronecker identity.
    """
    n = math.prod(len(basis.lags.x) for basis in bases)
    logdet = sum(
        n / len(basis.lags.x) * float((basis.cache.values + basis.jitter * basis.omega[0]).log().sum())
        for basis in bases
    )
    return 0.5 * (logdet + float(z.square().sum()))


def adjoint(bases: Sequence[AxisBasis], axis: int, z: Float[Tensor, "..."]) -> Float[Tensor, "n n"]:
    """``d evidence / d K_i`` for the kernel matrix of one axis, the solution's values held fixed.

    ``1/2 (n / n_i) (K_i + jitter)^{-1} - 1/2 S_i Z_(i) Z_(i)^T S_i^T`` with Z_(i) the unfolding of z along the axis.
    """
    basis = bases[axis]
    n = math.prod(len(other.lags.x) for other in bases)
    values, vectors = basis.cache.values, basis.cache.vectors
    inverse = (vectors / (values + basis.jitter * basis.omega[0])) @ vectors.T
    unfolded = basis.scale @ torch.movedim(z, axis, 0).reshape(basis.rank, -1)
    return 0.5 * (n / len(values) * inverse - unfolded @ unfolded.T)


class Spectra:
    """The kernels of all axes while they are learned.

    Arguments:
        kernels: One an axis, with parameters.
        lengths: Extent of each axis.
    """

    def __init__(self, kernels: Sequence[SpectralMixtureKernel1D], lengths: Sequence[float]) -> None:
        self._kernels = list(kernels)
        self._leaves: list[tuple[Tensor, Tensor, Tensor]] = []
        groups = []
        for kernel, length in zip(kernels, lengths):
            assert kernel.parameters is not None
            weight, rate, frequency = (values.detach().clone().requires_grad_() for values in kernel.parameters)
            self._leaves.append((weight, rate, frequency))
            groups += [
                {"params": [weight, rate], "lr": RATE},
                {"params": [frequency], "lr": PHASE / (2 * math.pi * length)},
            ]
        self._optimizer = torch.optim.Adam(groups)

    @property
    def kernels(self) -> list[SpectralMixtureKernel1D]:
        """The kernels as they are now."""
        return [
            kernel.with_parameters(*(leaf.detach().clone() for leaf in leaves))
            for kernel, leaves in zip(self._kernels, self._leaves)
        ]

    def rescale(self, bases: Sequence[AxisBasis], z: Float[Tensor, "..."]) -> None:
        """Give the prior the variance of the solution, in closed form: all weights times ``|z|^2 / n``."""
        n = math.prod(len(basis.lags.x) for basis in bases)
        share = float(z.square().sum()) / n
        if share > 0:
            with torch.no_grad():
                for weight, _, _ in self._leaves:
                    weight += math.log(share) / len(self._leaves)

    def step(self, bases: Sequence[AxisBasis], z: Float[Tensor, "..."]) -> None:
        """One step of Adam down the gradient of `evidence`."""
        self._optimizer.zero_grad()
        for axis, (basis, kernel, leaves) in enumerate(zip(bases, self._kernels, self._leaves)):
            found = basis.lags.gradient(kernel.with_parameters(*leaves), adjoint(bases, axis, z))
            found.backward()
        self._optimizer.step()
