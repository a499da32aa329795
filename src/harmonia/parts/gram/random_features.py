"""Random projections, and random features whose inner products are a stationary kernel in expectation.

A stationary kernel is ``E cos(w . (x - x'))`` over its spectral distribution of frequencies w (Bochner's theorem). The
kernels of `harmonia.parts.gram.kernels` are mixtures of Gaussians over their width, so a frequency is a Gaussian
direction times an independent radius; only Laplace's kernel, a product over features, has frequencies of its own.

References:
    Random Features for Large-Scale Kernel Machines, Rahimi & Recht, 2007.
    Orthogonal Random Features, Yu, Suresh, Choromanski, Holtmann-Rice & Kumar, 2016 (arXiv:1610.09072).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import gammaincinv
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.kernels import (
    KernelFunction,
    Laplace,
    Matern,
    Number,
    RationalQuadratic,
    SquaredExponential,
    Stationary,
)
from harmonia.parts.gram.walsh_hadamard import walsh_hadamard
from harmonia.parts.linear import linear

Directions = Literal["gaussian", "orthogonal", "sorf"]

_CACHED = 1 << 16
"""Numbers that a structured projection transforms at once on a processor: what it makes of them stays in its cache."""


class Projection(ABC):
    """A linear map of the last axis."""

    @abstractmethod
    def __call__(
        self, x: Float[Tensor, "*batch inputs"], shift: Float[Tensor, " outputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        """Project, and add a constant; into new memory."""

    @abstractmethod
    def scaled(self, factors: Float[Tensor, " outputs"]) -> Projection:
        """The same map with every output multiplied by a number of its own."""

    @abstractmethod
    def to(self, dtype: torch.dtype) -> Projection:
        """The same map in another precision."""


@dataclass(frozen=True, eq=False)
class DenseProjection(Projection):
    """``x W^T`` with a matrix that is stored.

    Attributes:
        weight: The matrix W.
    """

    weight: Float[Tensor, "outputs inputs"]

    def __call__(
        self, x: Float[Tensor, "*batch inputs"], shift: Float[Tensor, " outputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        return linear(x, self.weight, shift)

    def scaled(self, factors: Float[Tensor, " outputs"]) -> DenseProjection:
        return DenseProjection(self.weight * factors[:, None])

    def to(self, dtype: torch.dtype) -> DenseProjection:
        return DenseProjection(self.weight.to(dtype))


@dataclass(frozen=True, eq=False)
class StructuredProjection(Projection):
    """``sqrt(n) H D1 H D2 H D3`` blocks of signs D and orthonormal Walsh-Hadamard transforms H (SORF).

    n is the number of inputs padded to a power of two. Costs O(outputs log n) and three signs an output, where a dense
    matrix costs and stores outputs times inputs. Rows of a block are orthogonal, of norm sqrt(n), as rows of n numbers:
    exactly if there are n inputs, and only nearly where inputs are padded.

    Attributes:
        signs: The diagonals.
        factors: What each output is multiplied by; their number is that of the outputs.
        inputs: Length of the last axis.
    """

    signs: Float[Tensor, "blocks 3 n"]
    factors: Float[Tensor, " outputs"]
    inputs: int

    def __call__(
        self, x: Float[Tensor, "*batch inputs"], shift: Float[Tensor, " outputs"] | None = None
    ) -> Float[Tensor, "*batch outputs"]:
        if x.shape[-1] != self.inputs:
            raise InputError("a projection takes rows of one length", x.shape[-1], f"Pass {self.inputs} numbers a row.")
        rows = x.reshape(-1, self.inputs)
        step = max(1, _CACHED // self.signs[:, 0].numel()) if x.device.type == "cpu" else max(1, len(rows))
        blocks = [self._project(block, shift) for block in rows.split(step)]
        return (blocks[0] if len(blocks) == 1 else torch.cat(blocks)).view(*x.shape[:-1], len(self.factors))

    def _project(self, rows: Tensor, shift: Tensor | None) -> Tensor:
        size = self.signs.shape[-1]
        z = torch.nn.functional.pad(rows[:, None] * self.signs[:, 0, : self.inputs], (0, size - self.inputs))
        for step in (1, 2):
            z = walsh_hadamard(z, orthonormal=True) * self.signs[:, step]
        z = walsh_hadamard(z).flatten(1)[:, : len(self.factors)]
        return z * self.factors if shift is None else torch.addcmul(shift, z, self.factors)

    def scaled(self, factors: Float[Tensor, " outputs"]) -> StructuredProjection:
        return StructuredProjection(self.signs, self.factors * factors, self.inputs)

    def to(self, dtype: torch.dtype) -> StructuredProjection:
        return StructuredProjection(self.signs.to(dtype), self.factors.to(dtype), self.inputs)


def draw_directions(
    inputs: int,
    outputs: int,
    kind: Directions = "gaussian",
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> DenseProjection | StructuredProjection:
    """Random directions, each distributed as a standard Gaussian vector (``sorf``: nearly).

    Arguments:
        inputs: Length of the vectors.
        outputs: How many.
        kind: ``gaussian``: independent; ``orthogonal``: exactly orthogonal in blocks of `inputs`, with independent
            norms, which lowers the variance of what is averaged over them; ``sorf``: a `StructuredProjection`.
        generator: On the device where they are to live.
        dtype: Of the result.

    Example:
        >>> w = draw_directions(4, 6, "orthogonal", generator=torch.Generator().manual_seed(0)).weight
        >>> bool((w[:4] @ w[:4].T).fill_diagonal_(0).abs().max() < 1e-12)
        True
    """
    if inputs < 1 or outputs < 1:
        raise InputError("a projection has inputs and outputs", f"{inputs} and {outputs}", "Ask for at least one.")
    options: dict[str, Any] = {"generator": generator, "dtype": dtype, "device": generator.device}
    if kind not in get_args(Directions):
        raise InputError("no such directions", repr(kind), "Use 'gaussian', 'orthogonal' or 'sorf'.")
    if kind == "gaussian":
        return DenseProjection(torch.randn(outputs, inputs, **options))
    if kind == "orthogonal":
        bases = torch.linalg.qr(torch.randn(-(-outputs // inputs), inputs, inputs, **options))
        # The sign makes the basis uniform among all of them (Haar's measure).
        basis = bases.Q * bases.R.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
        norms = torch.randn(outputs, inputs, **options).norm(dim=1)
        return DenseProjection(basis.mT.reshape(-1, inputs)[:outputs] * norms[:, None])
    padded = 1 << (inputs - 1).bit_length()
    shape = (-(-outputs // padded), 3, padded)
    bits = torch.randint(0, 2, shape, generator=generator, device=generator.device)
    ones = torch.ones(outputs, dtype=dtype, device=generator.device)
    return StructuredProjection((2 * bits - 1).to(dtype), ones, inputs)


def johnson_lindenstrauss(
    inputs: int,
    outputs: int,
    kind: Directions = "gaussian",
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> DenseProjection | StructuredProjection:
    """A random projection that keeps squared lengths in expectation: directions over ``sqrt(outputs)``.

    Example:
        >>> project = johnson_lindenstrauss(1000, 200, generator=torch.Generator().manual_seed(0))
        >>> bool(0.8 < project(torch.full((1000,), 1000**-0.5, dtype=torch.float64)).norm() < 1.2)
        True
    """
    directions = draw_directions(inputs, outputs, kind, generator=generator, dtype=dtype)
    return directions.scaled(torch.full((outputs,), outputs**-0.5, dtype=dtype, device=generator.device))


@dataclass(frozen=True, eq=False)
class FourierFeatures:
    """``phi(x)`` with ``E phi(x) . phi(x') = k(x, x')``.

    Without phases ``phi(x) = [cos(W x), sin(W x)] / sqrt(F)`` for F frequencies: 2F features, of norm exactly 1, so
    that ``phi(x) . phi(x) = k(x, x)`` without error. With phases b uniform in [0, 2 pi) ``phi(x) = sqrt(2 / F)
    cos(W x + b)``: F features, whose norm is at most sqrt(2).

    Attributes:
        frequencies: The map to ``W x``, of inputs in units of the lengthscale.
        lengthscale: What inputs are divided by: a number, or one for each input.
        phases: b, or None.

    Example:
        >>> kernel = SquaredExponential(2.0)
        >>> phi = FourierFeatures.draw(kernel, inputs=3, features=20_000, generator=torch.Generator().manual_seed(0))
        >>> x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
        >>> bool((phi(x) @ phi(x).T - kernel(x)).abs().max() < 0.02)
        True
    """

    frequencies: Projection
    lengthscale: Number = 1.0
    phases: Float[Tensor, " frequencies"] | None = None

    @classmethod
    def draw(
        cls,
        kernel: KernelFunction,
        inputs: int,
        features: int,
        *,
        generator: torch.Generator,
        directions: Directions = "gaussian",
        phases: bool = False,
        dtype: torch.dtype = torch.float64,
    ) -> FourierFeatures:
        """Features of a kernel.

        Arguments:
            kernel: `SquaredExponential`, `Matern`, `RationalQuadratic` or `Laplace`.
            inputs: Numbers a row.
            features: Numbers ``phi(x)`` has; even without phases.
            generator: On the device where they are to live.
            directions: See `draw_directions`; of Laplace's kernel only ``gaussian``, which has no orthogonal kin.
            phases: Whether to draw phases instead of pairs. Pairs have the lower variance nearly everywhere.
            dtype: Of the frequencies.

        Raises:
            InputError: another kernel, or an odd number of features without phases.
        """
        if features < 1 or (features % 2 and not phases):
            raise InputError("features come in pairs of a cosine and a sine", features, "Ask for an even number.")
        if not isinstance(kernel, Stationary):
            raise _unknown(kernel)
        count = features if phases else features // 2
        if isinstance(kernel, Laplace):
            if directions != "gaussian":
                raise InputError("Laplace's kernel has independent frequencies", directions, "Use 'gaussian'.")
            drawn = _uniform((count, inputs), generator, dtype)
            frequencies: Projection = DenseProjection(torch.tan(math.pi * (drawn - 0.5)))
        else:
            radii = radius_quantile(kernel, _uniform((count,), generator, dtype))
            frequencies = draw_directions(inputs, count, directions, generator=generator, dtype=dtype).scaled(radii)
        shifts = 2 * math.pi * _uniform((count,), generator, dtype) if phases else None
        return cls(frequencies, kernel.lengthscale, shifts)

    def __call__(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch features"]:
        angles = self.frequencies(x / self.lengthscale, self.phases)
        if self.phases is not None:
            return torch.cos(angles) * math.sqrt(2 / angles.shape[-1])
        return torch.cat([angles.cos(), angles.sin()], -1) * angles.shape[-1] ** -0.5


def radius_quantile(kernel: KernelFunction, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Radii by which Gaussian directions become frequencies of an isotropic kernel, at probabilities u.

    Independent uniform u give independent radii; evenly spaced ones a quadrature.

    Raises:
        InputError: a kernel that is no mixture of Gaussians over their width, as far as is known here.

    Example:
        >>> radius_quantile(SquaredExponential(), torch.tensor([0.1, 0.9]))
        tensor([1., 1.])
    """
    probabilities = u.double().cpu().numpy()
    match kernel:
        case SquaredExponential():
            return torch.ones_like(u)
        case Matern(nu=nu):  # multivariate t with 2 nu degrees of freedom
            precision = gammaincinv(nu, 1 - probabilities) / nu
            return torch.from_numpy(precision**-0.5).to(u)
        case RationalQuadratic(alpha=alpha):
            precision = gammaincinv(float(alpha), probabilities) / float(alpha)
            return torch.from_numpy(np.sqrt(precision)).to(u)
    raise _unknown(kernel)


def _unknown(kernel: KernelFunction) -> InputError:
    mend = "Use SquaredExponential, Matern, RationalQuadratic or Laplace."
    return InputError("the frequencies of this kernel are not known", type(kernel).__name__, mend)


def _uniform(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """In (0, 1): the ends, where quantiles may be infinite, are left out."""
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.clamp(2.0**-53, 1 - 2.0**-53).to(dtype)
