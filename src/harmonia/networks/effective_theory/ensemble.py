"""Ensembles of random finite networks, layer by layer, with error bars: what the recursions predict, measured.

A network's preactivations z and tangent kernel H are carried through the layer map with random weights,

    z' = W s(z) + b,    H' = (lambda_b + lambda_W mean s^2) I + W M W^T,    M = diag(s') H diag(s')

for thousands of networks at once. Given a layer, the units of the next are independent, so each tensor is the mean of a
conditional expectation, which has a smaller spread than the tensor's definition and the same mean; for instance
``V = n Var(C_b + C_W mean s^2)`` and ``F = n E[(C_W/n)^2 s^T M s]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars
import torch
from jaxtyping import Float64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.recursion import initialisation

OBSERVABLES = ("K", "Theta", "V", "A", "B", "D", "F", "P", "Q", "T")
KERNELS = ("K", "V", "T")
"""What needs no tangent kernel: cheap at any width."""

_BLOCKS = 25
_CHUNK_BYTES = 2**26
_WIDEST_CUBE = 64

Statistics = dict[str, Tensor]
Array = Float64[np.ndarray, "..."]


@dataclass(frozen=True)
class Ensemble:
    """Tensors measured over random networks, and their standard errors.

    Attributes:
        width: Units of the layers.
        nets: Number of networks.
        mean: Estimates per layer, by the names of `LayerTable`; K and Theta include what finite width adds.
        error: Standard errors, by the jackknife over blocks of networks.
    """

    width: int
    nets: int
    mean: dict[str, Float64[np.ndarray, " depth"]]
    error: dict[str, Float64[np.ndarray, " depth"]]

    @property
    def frame(self) -> polars.DataFrame:
        """One row per layer: every estimate and its error."""
        depth = len(self.mean["K"])
        columns = {"layer": np.arange(1, depth + 1)}
        for name, values in self.mean.items():
            columns |= {name: values, f"{name} error": self.error[name]}
        return polars.DataFrame(columns)


def sample_ensemble(
    activation: AnyActivation,
    depth: int,
    width: int,
    nets: int = 2000,
    C_b: float | None = None,
    C_W: float | None = None,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    K1: float | None = None,
    gamma: float = 0.0,
    observables: Sequence[str] = ("K", "Theta", "V", "A", "B", "D", "F"),
    seed: int = 0,
    device: str = "cpu",
) -> Ensemble:
    """Sample random networks of equal widths and measure their layers.

    Arguments:
        activation: As for `analyze`; so `depth`, `C_b`, `C_W`, `K1`, `gamma` and the rates as for `recursion`.
        width: Units of each layer.
        nets: Number of networks; V of ReLU networks is heavy-tailed and wants thousands.
        observables: Of `OBSERVABLES`. `KERNELS` alone need no matrices; ``P`` and ``Q`` need arrays of ``width^3``.
        seed: Random seed.
        device: Where to sample.

    Raises:
        InputError: unknown observables, fewer than 50 networks, ``P`` or ``Q`` at widths above 64, or tangent kernels
            with skips.

    Example:
        >>> found = sample_ensemble("relu", depth=3, width=32, nets=500, observables=("K", "V"))
        >>> bool(abs(found.mean["V"][-1] - 10) < 5 * found.error["V"][-1] + 2)
        True
    """
    pointwise = as_activation(activation)
    if unknown := set(observables) - set(OBSERVABLES):
        raise InputError("unknown observables", ", ".join(sorted(unknown)), f"Use some of {', '.join(OBSERVABLES)}.")
    if nets < 2 * _BLOCKS or width < 2 or depth < 1:
        got = f"{nets} networks of {depth} layers of width {width}"
        raise InputError("an ensemble needs 50 networks, of width 2 and depth 1 at least", got, "Pass more.")
    if not set(observables) <= set(KERNELS) and gamma:
        raise InputError("only K, V and T are sampled with skips", f"{observables}", f"Use some of {KERNELS}.")
    cubes = bool({"P", "Q"} & set(observables))
    if cubes and width > _WIDEST_CUBE:
        raise InputError(f"P and Q are sampled up to width {_WIDEST_CUBE}", width, "Pass a smaller width.")
    C_b, C_W, K1 = initialisation(pointwise, C_b, C_W, K1, gamma)
    walk = _Walk(pointwise, depth, width, C_b, C_W, lambda_b, lambda_W, K1, gamma, cubes)
    generator = torch.Generator(device).manual_seed(seed)
    sampler = walk.kernels if set(observables) <= set(KERNELS) else walk.matrices
    bytes_each = 8 * width if sampler == walk.kernels else 16 * width**2 * (width if cubes else 1)
    chunk = max(1, min(nets, _CHUNK_BYTES // bytes_each))
    sizes = [chunk] * (nets // chunk) + [nets % chunk] * (nets % chunk > 0)
    found = [sampler(size, generator) for size in track(sizes, "Sampling networks")]
    statistics = {name: torch.cat([each[name] for each in found], 1).cpu().numpy() for name in found[0]}
    mean, error = {}, {}
    for name in ("K", *(each for each in OBSERVABLES[1:] if each in observables)):
        mean[name], error[name] = jackknife(statistics, FUNCTIONALS[name], width)
    return Ensemble(width, nets, mean, error)


def jackknife(
    statistics: dict[str, Array], functional: Callable[[dict[str, Array], int], Array], width: int
) -> tuple[Array, Array]:
    """An estimate from means over networks (the last axis) and its standard error, leaving out blocks of networks."""
    nets = next(iter(statistics.values())).shape[-1]
    labels = np.arange(nets) * _BLOCKS // nets
    counts = np.bincount(labels, minlength=_BLOCKS)
    sums = {
        name: np.stack([values[..., labels == block].sum(-1) for block in range(_BLOCKS)])
        for name, values in statistics.items()
    }
    whole = functional({name: values.sum(0) / nets for name, values in sums.items()}, width)
    left_out = np.stack(
        [
            functional({name: (v.sum(0) - v[block]) / (nets - counts[block]) for name, v in sums.items()}, width)
            for block in range(_BLOCKS)
        ]
    )
    return np.asarray(whole), np.asarray(np.sqrt((_BLOCKS - 1) * left_out.var(0)))


FUNCTIONALS: dict[str, Callable[[dict[str, Array], int], Array]] = {
    "K": lambda m, n: m["zz"],
    "Theta": lambda m, n: m["H"],
    "V": lambda m, n: n * (m["zzzz"] - m["zz"] ** 2),
    "A": lambda m, n: n * (m["HH"] - m["H"] ** 2),
    "B": lambda m, n: n * m["H_ik^2"],
    "D": lambda m, n: n * (m["zzH"] - m["zz"] * m["H"]),
    "F": lambda m, n: n * m["zHz"],
    "P": lambda m, n: n * m["P"],
    "Q": lambda m, n: n * m["Q"],
    "T": lambda m, n: n * m["zzz"],
}
"""From means over networks of the statistics of one network (moments of different units) to tensors."""


@dataclass(frozen=True)
class _Walk:
    """One ensemble's setting, and its two ways through the layers."""

    activation: Pointwise
    depth: int
    width: int
    C_b: float
    C_W: float
    lambda_b: float
    lambda_W: float
    K1: float
    gamma: float
    cubes: bool

    def kernels(self, nets: int, generator: torch.Generator) -> Statistics:
        """K, V and T: given a layer, ``W s + b`` is exactly Gaussian, so no weights are needed."""
        n, skip = self.width, self.gamma
        wide: dict[str, Any] = {"dtype": torch.float64, "device": generator.device}
        z = math.sqrt(self.K1) * torch.randn(nets, n, generator=generator, **wide)
        zz = torch.full((nets,), self.K1, **wide)
        rows = {"zz": [zz], "zzzz": [zz**2], "zzz": [torch.zeros_like(zz)]}
        for layer in range(2, self.depth + 1):
            fresh = self.C_b + self.C_W * self.activation.function(z).square().mean(1)
            total, square, cube, fourth = (z.pow(k).sum(1) for k in (1, 2, 3, 4))
            pairs = n * (n - 1)
            rows["zz"].append(fresh + skip**2 * square / n)
            different = (square**2 - fourth) / pairs
            rows["zzzz"].append(fresh**2 + 2 * skip**2 * fresh * square / n + skip**4 * different)
            rows["zzz"].append(skip * fresh * total / n + skip**3 * (total * square - cube) / pairs)
            if layer < self.depth:
                z = fresh.sqrt()[:, None] * torch.randn(nets, n, generator=generator, **wide) + skip * z
        return {name: torch.stack(each) for name, each in rows.items()}

    def matrices(self, nets: int, generator: torch.Generator) -> Statistics:
        """Everything without skips: weights, tangent kernels and, if wanted, their derivatives."""
        n, C, lam = self.width, self.C_W, self.lambda_W
        options: dict[str, Any] = {"generator": generator, "device": generator.device}
        z = math.sqrt(self.K1) * torch.randn(nets, n, **options)
        Theta = self.lambda_b + lam * (self.K1 - self.C_b) / C
        H = Theta * torch.eye(n, device=generator.device).expand(nets, n, n)
        dH = torch.zeros(nets, n, n, n, device=generator.device) if self.cubes else None
        nothing = torch.zeros(nets, dtype=torch.float64, device=generator.device)
        zz, HH = nothing + self.K1, nothing + Theta
        names = ("zz", "zzzz", "H", "HH", "zzH", "H_ik^2", "zHz", *(("P", "Q") if self.cubes else ()))
        values = [zz, zz**2, HH, HH**2, zz * HH, *[nothing] * (len(names) - 5)]
        rows = {name: [value] for name, value in zip(names, values)}
        for layer in range(2, self.depth + 1):
            s, d = self.activation.function(z), self.activation.slope(z)
            M = d[:, :, None] * H * d[:, None, :]
            power = s.double().square().mean(1)
            zz = self.C_b + C * power
            HH = self.lambda_b + lam * power + C / n * M.diagonal(dim1=1, dim2=2).double().sum(1)
            sMs = (C / n) ** 2 * torch.einsum("bi,bij,bj->b", s, M, s).double()
            values = [zz, zz**2, HH, HH**2, zz * HH, (C / n) ** 2 * M.double().square().sum((1, 2)), sMs]
            bend = None
            if dH is not None:
                bend = self.activation.bend(z)
                values += self._changes(s, d, bend, H, dH, sMs)
            for name, value in zip(names, values):
                rows[name].append(value)
            if layer == self.depth:
                break
            W = math.sqrt(C / n) * torch.randn(nets, n, n, **options)
            if dH is not None and bend is not None:
                dH = self._next_dH(W, s, d, bend, H, dH)
            z = torch.einsum("bij,bj->bi", W, s) + math.sqrt(self.C_b) * torch.randn(nets, n, **options)
            H = W @ M @ W.mT
            H.diagonal(dim1=1, dim2=2).add_((self.lambda_b + lam * power).float()[:, None])
        return {name: torch.stack(each) for name, each in rows.items()}

    def _changes(self, s: Tensor, d: Tensor, bend: Tensor, H: Tensor, dH: Tensor, sMs: Tensor) -> list[Tensor]:
        """Conditional means of ``dH_ikk z_i`` and ``dH_iik z_k`` in the next layer."""
        scale, diagonal = (self.C_W / self.width) ** 2, H.diagonal(dim1=1, dim2=2)
        same_last, same_first = dH.diagonal(dim1=2, dim2=3), dH.diagonal(dim1=1, dim2=2).mT
        P = torch.einsum("bj,bm,bjm->b", s * bend, d * d, H * H)
        P = P + torch.einsum("bj,bm,bjm->b", s * d, d * d, same_last)
        Q = torch.einsum("bj,bm,bjm->b", d * bend * diagonal, s * d, H)
        Q = Q + torch.einsum("bj,bm,bjm->b", d * d, s * d, same_first)
        return [scale * P.double(), scale * Q.double() + self.lambda_W / self.C_W * sMs]

    def _next_dH(self, W: Tensor, s: Tensor, d: Tensor, bend: Tensor, H: Tensor, dH: Tensor) -> Tensor:
        """``dH'_abc`` from the layer map; what starts at 0 gains from bends and from the weights' own updates."""
        U = (H * d[:, None, :]) @ W.mT
        inner = torch.einsum("bjkm,bj,bk,bm->bjkm", dH, d, d, d)
        inner = torch.einsum("bjkm,bck,bdm->bjcd", inner, W, W) + torch.einsum("bj,bjc,bjd->bjcd", bend, U, U)
        found = torch.einsum("baj,bjcd->bacd", W, inner)
        v = (
            self.lambda_W
            / self.width
            * torch.einsum("baj,bj->ba", W * d[:, None, :], torch.einsum("bij,bj->bi", H, s * d))
        )
        eye = torch.eye(self.width, device=W.device)
        return found + torch.einsum("ac,bd->bacd", eye, v) + torch.einsum("ad,bc->bacd", eye, v)
