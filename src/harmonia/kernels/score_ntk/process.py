"""The diffusion that turns data into noise: closed-form marginals, times, and noisy copies of data.

``dX = -g(t)/2 X dt + sqrt(g(t)) dB`` has the marginals ``X_t = alpha X_0 + sqrt(h) Z`` with ``alpha = exp(-G(t)/2)``,
``h = 1 - alpha^2`` and the clock ``G(t) = int_0^t g``, in which the process is the same for every schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harmonia.core.errors import InputError

_FIRST, _LAST = 0.1, 20.0
"""Rates at t = 0 and t = 1 of the linear schedule (Song et al. 2021, arXiv:2011.13456)."""


@dataclass(frozen=True)
class Process:
    """A variance-preserving diffusion.

    Arguments:
        schedule: ``"vp"``: g = 1; ``"linear"``: g rises from 0.1 at t = 0 to 20 at t = 1.

    Raises:
        InputError: an unknown schedule.

    Example:
        >>> process = Process()
        >>> t = torch.tensor([0.02, 4.0])
        >>> process.alpha(t), process.h(t)
        (tensor([0.9900, 0.1353]), tensor([0.0198, 0.9817]))
    """

    schedule: str = "vp"

    def __post_init__(self) -> None:
        if self.schedule not in ("vp", "linear"):
            raise InputError("no such schedule", repr(self.schedule), "Use 'vp' or 'linear'.")

    def clock(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """``G(t)``, the integral of g from 0 to t."""
        return t if self.schedule == "vp" else _FIRST * t + (_LAST - _FIRST) / 2 * t.square()

    def time(self, clock: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The time at which the clock shows that, the inverse of `clock`."""
        if self.schedule == "vp":
            return clock
        # The root of a quadratic, written so that nothing cancels near 0.
        return 2 * clock / (_FIRST + (_FIRST**2 + 2 * (_LAST - _FIRST) * clock).sqrt())

    def alpha(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Factor of the data at time t."""
        return torch.exp(-self.clock(t) / 2)

    def h(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Variance of the noise at time t."""
        return -torch.expm1(-self.clock(t))

    def snr(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """``alpha^2 / h``."""
        return 1 / torch.expm1(self.clock(t))

    def times(self, t_range: tuple[float, float], count: int) -> Float[Tensor, " moments"]:
        """`count` steps from the end of the range to its start, equal in the logarithm of the clock."""
        ends = self.clock(torch.tensor(t_range, dtype=torch.float64)).log()
        return self.time(torch.exp(torch.linspace(float(ends[1]), float(ends[0]), count + 1, dtype=torch.float64)))


@dataclass(frozen=True)
class NoisyPairs:
    """Noisy copies of data points: inputs and labels of the regression.

    Attributes:
        t: Times.
        x: Noisy points at these times.
        x0: The points they were made from.
        source: Index of that point; copies of one point belong into one fold.
    """

    t: Float[Tensor, " n"]
    x: Float[Tensor, "n d"]
    x0: Float[Tensor, "n d"]
    source: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.t)


def draw_pairs(
    process: Process,
    data: Float[Tensor, "points d"],
    draws: int,
    t_range: tuple[float, float],
    spacing: Literal["uniform", "log"],
    generator: torch.Generator,
) -> NoisyPairs:
    """Noisy copies of every point, those of one point in a row.

    Arguments:
        process: The diffusion.
        data: Points, one a row.
        draws: Copies of each point.
        t_range: First and last time.
        spacing: Times are uniform, or log-uniform on the process's clock.
        generator: Source of times and noise.

    Example:
        >>> pairs = draw_pairs(Process(), torch.ones(2, 3), 4, (0.1, 1.0), "log", torch.Generator().manual_seed(0))
        >>> pairs.x.shape, pairs.source.tolist()
        (torch.Size([8, 3]), [0, 0, 0, 0, 1, 1, 1, 1])
    """
    data = data.double()
    source = torch.arange(len(data)).repeat_interleave(draws)
    share = torch.rand(len(source), generator=generator, dtype=torch.float64)
    ends = torch.tensor(t_range, dtype=torch.float64)
    if spacing == "uniform":
        t = ends[0] + share * (ends[1] - ends[0])
    else:
        first, last = process.clock(ends).log()
        t = process.time(torch.exp(first + share * (last - first)))
    x0 = data[source]
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    x = process.alpha(t)[:, None] * x0 + process.h(t).sqrt()[:, None] * noise
    return NoisyPairs(t, x, x0, source)
