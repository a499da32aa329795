"""Normalising flows: maps of a simple density whose inverse and log-determinant are known in closed form.

    RealNVP     affine couplings over a whole vector (arXiv 1605.08803): dependence between its parts
    Spline      monotone rational-quadratic splines (arXiv 1906.04032), one a number: exact quantiles and probabilities

Both map a base variable u to data y; ``log p(y) = log p_base(f^-1(y)) + log |det df^-1/dy|``. Both start as the
identity.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear


class AffineCoupling(nn.Module):
    """``y = m u + (1 - m) (u exp(s(m u)) + t(m u))``: one part of the vector scales and shifts the other.

    The scale is a tanh, so no number is scaled by more than e either way.

    Arguments:
        mask: 1 where the vector is kept, 0 where it is changed.
        width: Hidden units of both networks, which have two hidden ReLU layers.
    """

    mask: Tensor

    def __init__(self, mask: Float[Tensor, " dim"], width: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        dim = len(mask)
        self.scale_net = nn.Sequential(*_mlp(dim, width), nn.Tanh())
        self.translation_net = nn.Sequential(*_mlp(dim, width))

    def _nets(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        changed = 1 - self.mask
        return self.scale_net(kept) * changed, self.translation_net(kept) * changed

    def forward(self, u: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Data, and the log-determinant of the map."""
        scale, shift = self._nets(self.mask * u)
        return u * torch.exp(scale) + shift, scale.sum(-1)

    def inverse(self, y: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Base variable, and the log-determinant of the inverse."""
        scale, shift = self._nets(self.mask * y)
        return (y - shift) * torch.exp(-scale), -scale.sum(-1)


class RealNVP(nn.Module):
    """Pairs of affine couplings with complementary masks.

    Even and odd places alternate; where the dimension is odd, the first half with its middle and the rest.

    Arguments:
        dim: Length of the vector; at least 2.
        width: Hidden units of the couplings' networks.
        pairs: Pairs of couplings.

    Example:
        >>> flow = RealNVP(dim=4, width=8)
        >>> u = torch.randn(3, 4)
        >>> y, log_det = flow(u)      # the identity until it is trained
        >>> bool(torch.equal(y, u)), log_det.tolist()
        (True, [0.0, 0.0, 0.0])
    """

    def __init__(self, dim: int, width: int, pairs: int = 2) -> None:
        super().__init__()
        if dim < 2:
            raise InputError("a coupling needs a vector of at least two numbers", dim, "Use a spline instead.")
        mask = (torch.arange(dim) % 2).float()
        if dim % 2:
            mask = (torch.arange(dim) < dim // 2 + 1).float()
        self.layers = nn.ModuleList(AffineCoupling(m, width) for _ in range(pairs) for m in (mask, 1 - mask))

    def forward(self, u: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Data, and the log-determinant of the map."""
        total = u.new_zeros(u.shape[:-1])
        for layer in self.layers:
            u, log_det = layer(u)
            total = total + log_det
        return u, total

    def inverse(self, y: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Base variable, and the log-determinant of the inverse."""
        total = y.new_zeros(y.shape[:-1])
        for layer in reversed(self.layers):
            y, log_det = layer.inverse(y)  # type: ignore[operator]
            total = total + log_det
        return y, total


def _mlp(dim: int, width: int) -> list[nn.Module]:
    """Two hidden layers; the last one starts at zero, so that a coupling starts as the identity."""
    last = Linear(width, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return [Linear(dim, width), nn.ReLU(), Linear(width, width), nn.ReLU(), last]


class _Bin(NamedTuple):
    """Where a number falls: the ends of its bin, their images, and the slopes there."""

    left: Tensor
    width: Tensor
    low: Tensor
    height: Tensor
    slope_left: Tensor
    slope_right: Tensor


class Spline:
    """A monotone spline for each number, of rational quadratics between knots and straight lines outside of them.

    Between the knots (x_k, y_k) and (x_{k+1}, y_{k+1}) with slopes d_k and ``s = (y_{k+1} - y_k) / (x_{k+1} - x_k)``,
    at ``t = (x - x_k) / (x_{k+1} - x_k)``::

        y = y_k + (y_{k+1} - y_k) (s t^2 + d_k t (1 - t)) / (s + (d_{k+1} + d_k - 2 s) t (1 - t))

    Outside of [-bound, bound] the lines go on with the slope of the last knot, so that tails may be longer or shorter
    than those of the base.

    Arguments:
        parameters: ``3 bins + 1`` unconstrained numbers; zeros give the identity.
        bound: Where the lines begin, in base and data alike.

    Example:
        >>> spline = Spline(torch.zeros(25))
        >>> y, log_slope = spline(torch.tensor(0.7))
        >>> round(y.item(), 6), round(log_slope.exp().item(), 6)
        (0.7, 1.0)
    """

    smallest = 1e-3
    """Smallest share of a bin, and smallest slope."""

    def __init__(self, parameters: Float[Tensor, "*batch parameters"], bound: float = 3.0) -> None:
        bins, left = divmod(parameters.shape[-1] - 1, 3)
        if left or bins < 1:
            raise InputError("a spline has 3 bins + 1 parameters", parameters.shape[-1], "Pass 25 for eight bins.")
        widths, heights, slopes = parameters.split([bins, bins, bins + 1], dim=-1)
        self.bound = bound
        self._x, self._y = (self._knots(shares) for shares in (widths, heights))
        # softplus(0 + log(e - 1)) = 1
        self._slopes = self.smallest + (1 - self.smallest) * F.softplus(slopes + math.log(math.e - 1))

    def _knots(self, shares: Tensor) -> Tensor:
        count = shares.shape[-1]
        widths = self.smallest + (1 - self.smallest * count) * shares.softmax(-1)
        ends = 2 * self.bound * widths.cumsum(-1)[..., :-1] - self.bound
        edge = ends.new_full((*ends.shape[:-1], 1), self.bound)
        return torch.cat([-edge, ends, edge], -1)

    def _bin(self, values: Tensor, knots: Tensor) -> _Bin:
        inside = knots[..., 1:-1].expand(*values.shape, -1).contiguous()
        index = torch.searchsorted(inside, values[..., None].detach().contiguous(), right=True)

        def pick(table: Tensor, at: Tensor) -> Tensor:
            return table.expand(*values.shape, -1).gather(-1, at)[..., 0]

        left, right = pick(self._x, index), pick(self._x, index + 1)
        low, high = pick(self._y, index), pick(self._y, index + 1)
        slopes = pick(self._slopes, index), pick(self._slopes, index + 1)
        return _Bin(left, right - left, low, high - low, *slopes)

    def __call__(self, u: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Data, and the logarithm of the slope."""
        inside = u.clamp(-self.bound, self.bound)
        b = self._bin(inside, self._x)
        t = (inside - b.left) / b.width
        mean = b.height / b.width
        product = t * (1 - t)
        below = mean + (b.slope_left + b.slope_right - 2 * mean) * product
        y = b.low + b.height * (mean * t.square() + b.slope_left * product) / below
        slope = _slope(b, mean, t, product, below)
        end = torch.where(u < 0, self._slopes[..., 0], self._slopes[..., -1])
        outside = u.abs() > self.bound
        return torch.where(outside, inside + (u - inside) * end, y), torch.where(outside, end, slope).log()

    def inverse(self, y: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Base variable, and the logarithm of the inverse's slope."""
        inside = y.clamp(-self.bound, self.bound)
        b = self._bin(inside, self._y)
        mean = b.height / b.width
        rise = inside - b.low
        bend = b.slope_left + b.slope_right - 2 * mean
        # the root in [0, 1] of a t^2 + b t + c = 0, in the form without cancellation
        quadratic = b.height * (mean - b.slope_left) + rise * bend
        linear = b.height * b.slope_left - rise * bend
        constant = -mean * rise
        root = (linear.square() - 4 * quadratic * constant).clamp(min=0).sqrt()
        t = (2 * constant / (-linear - root)).clamp(0, 1)
        product = t * (1 - t)
        slope = _slope(b, mean, t, product, mean + bend * product)
        end = torch.where(y < 0, self._slopes[..., 0], self._slopes[..., -1])
        outside = y.abs() > self.bound
        return (
            torch.where(outside, inside + (y - inside) / end, b.left + t * b.width),
            -torch.where(outside, end, slope).log(),
        )


def _slope(b: _Bin, mean: Tensor, t: Tensor, product: Tensor, below: Tensor) -> Tensor:
    rise = b.slope_right * t.square() + 2 * mean * product + b.slope_left * (1 - t).square()
    return mean.square() * rise / below.square()
