"""Normalisation of Gram matrices: sizes divided out, then learned scales; each point for itself unless asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.triple import TripleLayer

InducingNorm = Literal["none", "global", "local"]
PointNorm = Literal["none", "inducing", "global", "local", "location", "image"]
PointScale = Literal["none", "global", "location"]

MOMENTUM = 0.1
"""Share of a batch in the running statistics."""


class Sizes(NamedTuple):
    """Norms of inducing points, (1,) or (P,), and what they are multiplied by after division."""

    norm: Tensor
    scale: Tensor


class GramNorm(TripleLayer):
    """Divide features by their size, then multiply by a learned scale: ``G_ij s_i s_j / (n_i n_j)``.

    Arguments:
        i_norm: Size of inducing points: ``"global"``: the root of the mean of their squared lengths; ``"local"``: of
            each its own; ``"none"``.
        t_norm: Size of the other points: ``"inducing"``: that of the inducing points; ``"global"``: the root of the
            mean over training; ``"location"``: the same for each position; ``"image"``: over the positions of each
            image; ``"local"``: of each its own; ``"none"``.
        i_scale: Learned scale of inducing points: ``"global"``: one; ``"local"``: one each; ``"none"``.
        t_scale: Of the others: ``"global"``, ``"location"``, ``"none"``, or ``"inducing"``: that of inducing points.
        size: Inducing points, for local scales.
        positions: Height and width, for location scales.
        batch_stats: Take global and location sizes from the rows at hand also after training, as the official code
            does: a prediction then depends on what else is predicted.

    Raises:
        InputError: an unknown choice.
    """

    square: Tensor

    def __init__(
        self,
        i_norm: str = "global",
        t_norm: str = "inducing",
        i_scale: str = "global",
        t_scale: str = "inducing",
        *,
        size: int = 1,
        positions: tuple[int, int] | None = None,
        batch_stats: bool = False,
    ) -> None:
        super().__init__()
        for what, value, known in (
            ("i_norm", i_norm, get_args(InducingNorm)),
            ("t_norm", t_norm, get_args(PointNorm)),
            ("i_scale", i_scale, get_args(InducingNorm)),
            ("t_scale", t_scale, ("inducing", *get_args(PointScale))),
        ):
            if value not in known:
                raise InputError(f"no such '{what}'", repr(value), f"Use one of: {', '.join(known)}.")
        if t_norm == "inducing" and i_norm == "local":
            raise InputError("local inducing norms fit no other point", "t_norm='inducing'", "Use t_norm='local'.")
        if "location" in (t_norm, t_scale) and positions is None:
            raise InputError("locations need the size of the image", "positions=None", "Pass height and width.")
        self.i_norm, self.t_norm, self.i_scale, self.t_scale = i_norm, t_norm, i_scale, t_scale
        self.batch_stats = batch_stats
        self.i_logscale = _scale((size,) if i_scale == "local" else (1,), i_scale != "none")
        shape = (1, *positions, 1) if t_scale == "location" and positions else (1,)
        self.t_logscale = _scale(shape, t_scale not in ("none", "inducing"))
        running = (1, *positions) if t_norm == "location" and positions else ()
        self.register_buffer("square", torch.full(running, math.nan, dtype=torch.float64))

    def inducing(self, ii: Tensor) -> tuple[Tensor, Sizes]:
        squares = ii.diagonal()
        one = squares.new_ones(1)
        square = {"none": one, "global": squares.mean() * one, "local": squares}[self.i_norm]
        known = Sizes(square.sqrt(), self.i_logscale.exp())
        factor = (known.scale / known.norm).expand(len(ii))
        return ii * factor[:, None] * factor, known

    def points(self, ti: Tensor, t: Tensor, known: Sizes) -> tuple[Tensor, Tensor]:
        square = known.norm.square() if self.t_norm == "inducing" else self._square(t)
        scale = known.scale if self.t_scale == "inducing" else self.t_logscale.exp()
        own = scale / square.sqrt()
        return ti * own * (known.scale / known.norm), t * own.square().squeeze(-1)

    def _square(self, t: Tensor) -> Tensor:
        """Mean squared lengths, with one more dimension at the end."""
        if self.t_norm in ("global", "location"):
            return self._running(t.mean() if self.t_norm == "global" else t.mean(0, keepdim=True))[..., None]
        return _OWN[self.t_norm](t)[..., None]

    def _running(self, square: Tensor) -> Tensor:
        """Of the batch in training, and its average over training afterwards."""
        if not self.training and not self.batch_stats:
            if self.square.isnan().any():
                raise InputError("the norm was never trained", "no statistics", "Train it, or pass batch_stats=True.")
            return self.square
        if self.training:
            with torch.no_grad():
                first = self.square.isnan().any()
                self.square = square.detach() if first else self.square + MOMENTUM * (square.detach() - self.square)
        return square


_OWN: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "local": lambda t: t,
    "image": lambda t: t.mean(tuple(range(1, t.ndim)), keepdim=True) if t.ndim > 1 else t,
}


def _scale(shape: tuple[int, ...], learned: bool) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape, dtype=torch.float64), requires_grad=learned)
