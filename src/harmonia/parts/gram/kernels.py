"""Kernel functions that can be added and multiplied: frozen, differentiable, of any dtype and device.

``k(x1, x2)`` is the matrix of all pairs, ``k(x)`` that of `x` with itself (exactly symmetric), ``k.diagonal(x)`` its
diagonal without the rest. Leading dimensions are batches. Hyperparameters are numbers, or tensors to be differentiated
by; a lengthscale may have one entry per feature.

Example:
    >>> kernel = 2.0 * SquaredExponential(lengthscale=0.5) + Linear() * Matern(nu=1.5) + 0.1
    >>> x = torch.linspace(0, 1, 3, dtype=torch.float64)[:, None]
    >>> kernel(x).shape, kernel.diagonal(x)
    (torch.Size([3, 3]), tensor([2.1000, 2.3500, 3.1000], dtype=torch.float64))
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.angles import safe_atan2, safe_sqrt, sine

Number = int | float | Tensor


class KernelFunction(ABC):
    """A positive semi-definite function of two inputs; subclasses are frozen dataclasses of their hyperparameters."""

    fixed: ClassVar[frozenset[str]] = frozenset()
    """Fields that choose the family and are not learned."""

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "*batch n1 n2"]:
        """The matrix ``k(x1, x2)``; of `x1` with itself if `x2` is None.

        Arguments:
            x1: Inputs (..., n1, features).
            x2: Other inputs (..., n2, features).

        Raises:
            InputError: inputs that are no matrices, or of different numbers of features.
        """
        for x in (x1, x2):
            if x is not None and (x.ndim < 2 or x.shape[-1] != x1.shape[-1]):
                shapes = f"{tuple(x1.shape)} and {tuple(x.shape)}"
                raise InputError("a kernel compares rows with the same features", shapes, "Pass (n, d) and (m, d).")
        return self.matrix(x1, x2)

    @abstractmethod
    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        """``k(x1, x2)`` of inputs that fit."""

    @abstractmethod
    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        """``k(x_i, x_i)``."""

    def __add__(self, other: KernelFunction | Number) -> Sum:
        return Sum(self, as_kernel(other))

    def __mul__(self, other: KernelFunction | Number) -> Product:
        return Product(self, as_kernel(other))

    def __radd__(self, other: Number) -> Sum:
        return Sum(as_kernel(other), self)

    def __rmul__(self, other: Number) -> Product:
        return Product(as_kernel(other), self)

    def hyperparameters(self) -> dict[str, Number]:
        """The numbers that can be learned, all positive, by name; those of sums and products under ``first.`` etc.

        Example:
            >>> (2.0 * Matern(lengthscale=3.0)).hyperparameters()
            {'first.value': 2.0, 'second.lengthscale': 3.0}
        """
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, Number]]:
        for name, value in self._fields():
            if isinstance(value, KernelFunction):
                yield from ((f"{name}.{inner}", number) for inner, number in value._named())
            elif isinstance(value, int | float | Tensor) and name not in self.fixed:
                yield name, value

    def _fields(self) -> Iterator[tuple[str, object]]:
        return ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]

    def with_hyperparameters(self, values: Mapping[str, Number]) -> KernelFunction:
        """The same kernel with other numbers under the names of `hyperparameters`.

        Raises:
            InputError: a name that this kernel does not have.
        """
        unknown = set(values) - set(self.hyperparameters())
        if unknown:
            names = ", ".join(self.hyperparameters())
            raise InputError("the kernel has no such hyperparameter", ", ".join(sorted(unknown)), f"It has {names}.")
        changed: dict[str, object] = {}
        for name, value in self._fields():
            if isinstance(value, KernelFunction):
                inner = {key[len(name) + 1 :]: number for key, number in values.items() if key.startswith(f"{name}.")}
                changed[name] = value.with_hyperparameters(inner)
            elif name in values:
                changed[name] = values[name]
        return dataclasses.replace(self, **changed)  # type: ignore[type-var]


def as_kernel(value: KernelFunction | Number) -> KernelFunction:
    """A kernel as it is; a number as a constant kernel."""
    return value if isinstance(value, KernelFunction) else Constant(value)


@dataclass(frozen=True)
class Sum(KernelFunction):
    """``k1 + k2``."""

    first: KernelFunction
    second: KernelFunction

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        return self.first.matrix(x1, x2) + self.second.matrix(x1, x2)

    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        return self.first.diagonal(x) + self.second.diagonal(x)


@dataclass(frozen=True)
class Product(KernelFunction):
    """``k1 k2``."""

    first: KernelFunction
    second: KernelFunction

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        return self.first.matrix(x1, x2) * self.second.matrix(x1, x2)

    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        return self.first.diagonal(x) * self.second.diagonal(x)


@dataclass(frozen=True)
class Constant(KernelFunction):
    """``k(x, x') = value >= 0``."""

    value: Number = 1.0

    def __post_init__(self) -> None:
        _check(self, "value", zero=True)

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        other = x1 if x2 is None else x2
        batch = torch.broadcast_shapes(x1.shape[:-2], other.shape[:-2])
        return x1.new_ones(*batch, x1.shape[-2], other.shape[-2]) * self.value

    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        return x.new_ones(x.shape[:-1]) * self.value


class Stationary(KernelFunction):
    """A function of the difference of two inputs in units of `lengthscale`, 1 where they are equal."""

    lengthscale: Number

    def __post_init__(self) -> None:
        _check(self, *(name for name in self.hyperparameters()))

    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        return x.new_ones(x.shape[:-1])


@dataclass(frozen=True)
class SquaredExponential(Stationary):
    """``exp(-r^2 / 2)`` with ``r = |x - x'| / lengthscale``: the Gaussian kernel."""

    lengthscale: Number = 1.0

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        return torch.exp(-0.5 * squared_distances(x1, x2, self.lengthscale))


@dataclass(frozen=True)
class RationalQuadratic(Stationary):
    """``(1 + r^2 / (2 alpha))^-alpha``: a gamma mixture of Gaussian kernels of all lengthscales."""

    lengthscale: Number = 1.0
    alpha: Number = 1.0

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        return (1 + squared_distances(x1, x2, self.lengthscale) / (2 * self.alpha)) ** -self.alpha


@dataclass(frozen=True)
class Matern(Stationary):
    """Matern's kernel of smoothness ``nu`` = 1/2, 3/2 or 5/2 (Rasmussen & Williams 2006, eq. 4.17).

    With ``s = sqrt(2 nu) r``: ``exp(-s)``, ``(1 + s) exp(-s)`` and ``(1 + s + s^2 / 3) exp(-s)``.
    """

    lengthscale: Number = 1.0
    nu: float = 2.5

    fixed: ClassVar[frozenset[str]] = frozenset({"nu"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu not in (0.5, 1.5, 2.5):
            raise InputError("Matern's smoothness is 0.5, 1.5 or 2.5", self.nu, "Choose one of them.")

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        if self.nu == 0.5:
            return torch.exp(-_distances(x1, x2, self.lengthscale, 2.0))
        s = math.sqrt(2 * self.nu) * safe_sqrt(squared_distances(x1, x2, self.lengthscale))
        return (1 + s if self.nu == 1.5 else 1 + s + s * s / 3) * torch.exp(-s)


@dataclass(frozen=True)
class Laplace(Stationary):
    """``exp(-|x - x'|_1 / lengthscale)``: a product over features. For the Euclidean norm take ``Matern(nu=0.5)``."""

    lengthscale: Number = 1.0

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        return torch.exp(-_distances(x1, x2, self.lengthscale, 1.0))


class DotProduct(KernelFunction):
    """A function of ``x . x'`` and of the squared lengths of both."""

    @abstractmethod
    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        """The kernel by inner products `k` and squared lengths `q1`, `q2`, which broadcast to it."""

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        other = x1 if x2 is None else x2
        products = x1 @ other.mT
        own = products.diagonal(dim1=-2, dim2=-1) if x2 is None else None
        q1, q2 = (_lengths(x1), _lengths(other)) if own is None else (own, own)
        return self.of_products(products, q1[..., :, None], q2[..., None, :])

    def diagonal(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        q = _lengths(x)
        return self.of_products(q, q, q)


@dataclass(frozen=True)
class Linear(DotProduct):
    """``x . x'``; add a number for a bias."""

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return k


@dataclass(frozen=True)
class Polynomial(DotProduct):
    """``(scale x . x' + offset)^degree``."""

    degree: int = 2
    scale: Number = 1.0
    offset: Number = 1.0

    fixed: ClassVar[frozenset[str]] = frozenset({"degree"})

    def __post_init__(self) -> None:
        _check(self, "scale")
        _check(self, "offset", zero=True)
        if self.degree < 1:
            raise InputError("the degree of a polynomial kernel is at least 1", self.degree, "Change it.")

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return (self.scale * k + self.offset) ** self.degree


@dataclass(frozen=True)
class ArcCosine(DotProduct):
    """The arc-cosine kernel of order 0, 1 or 2 (Cho & Saul 2009): ``2 E[s(w.x) s(w.x')]``, w standard normal.

    s is the step, the ReLU or its square: infinitely wide layers of such units. With the angle ``t`` it is
    ``1 - t / pi``, ``|x| |x'| (sin t + (pi - t) cos t) / pi``, or
    ``|x|^2 |x'|^2 (3 sin t cos t + (pi - t)(1 + 2 cos^2 t)) / pi``.
    """

    order: int = 1

    fixed: ClassVar[frozenset[str]] = frozenset({"order"})

    def __post_init__(self) -> None:
        if self.order not in (0, 1, 2):
            raise InputError("the order of an arc-cosine kernel is 0, 1 or 2", self.order, "Choose one of them.")

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        y = sine(k, q1, q2)
        share = 1 - safe_atan2(y, k) / math.pi
        if self.order == 0:
            return share
        if self.order == 1:
            return y / math.pi + share * k
        return 3 * y * k / math.pi + share * (q1 * q2 + 2 * k * k)


def squared_distances(x1: Tensor, x2: Tensor | None = None, lengthscale: Number = 1.0) -> Float[Tensor, "*batch n1 n2"]:
    """``|x1_i - x2_j|^2 / lengthscale^2`` by one matrix product, 0 on the diagonal of `x1` with itself.

    Inputs are centred first, so that what cancels is small; the absolute error is a rounding error of the spread.
    """
    centre = x1.mean(-2, keepdim=True).detach()
    a = (x1 - centre) / lengthscale
    b = a if x2 is None else (x2 - centre) / lengthscale
    products = a @ b.mT
    if x2 is None:
        q1 = q2 = products.diagonal(dim1=-2, dim2=-1)
    else:
        q1, q2 = _lengths(a), _lengths(b)
    return (q1[..., :, None] + q2[..., None, :] - 2 * products).clamp(min=0)


def _distances(x1: Tensor, x2: Tensor | None, lengthscale: Number, p: float) -> Tensor:
    """Pair by pair, for kernels with a kink at 0, where a rounding error of the square would show."""
    a = x1 / lengthscale
    b = a if x2 is None else x2 / lengthscale
    return torch.cdist(a, b, p=p, compute_mode="donot_use_mm_for_euclid_dist")


def _lengths(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _check(kernel: KernelFunction, *names: str, zero: bool = False) -> None:
    """That hyperparameters are positive, or not negative."""
    for name in names:
        value = getattr(kernel, name)
        smallest = float(value.detach().min()) if isinstance(value, Tensor) else float(value)
        if not (smallest >= 0 if zero else smallest > 0) or not math.isfinite(smallest):
            kind = type(kernel).__name__
            raise InputError(f"'{name}' of {kind} is {'not negative' if zero else 'positive'}", value, "Change it.")
