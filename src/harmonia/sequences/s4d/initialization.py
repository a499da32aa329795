"""Where the eigenvalues of a diagonal state space model start (arXiv 2206.11893, Sec. 4).

All are of the form ``a_n = -1/2 - i w_n`` for one of each conjugate pair, n = 0 .. N/2 - 1::

    lin    w_n = pi n                          damped Fourier modes
    inv    w_n = (N / pi) (N / (2n + 1) - 1)   what the spectrum of HiPPO-LegS tends to
    legs   the spectrum of HiPPO-LegS without its rank-one part, and its input vector
    quad   w_n = (2n + 1)^2 / pi
    inv2   w_n = (N / pi) (N / (n + 1) - 1)
    rand   w_n = exp(z), z standard normal: an ablation
    real   a_n = -(n + 1): an ablation, S4D-Real
    diag   half of the copies inv, half lin
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from harmonia.core.errors import InputError

Init = Literal["lin", "inv", "legs", "quad", "inv2", "rand", "real", "diag"]
DriveInit = Literal["constant", "random", "alternating", "unit-cw", "unit-ccw"]

_LEGS_CLIP = 2.0
"""Imaginary parts of LegS's input vector beyond this are clipped, as in the official initialisation."""


@dataclass(frozen=True)
class Legs:
    """HiPPO-LegS as a normal matrix minus a rank-one one: ``A = V diag(pole) V* - P P^T``.

    Attributes:
        pole: Eigenvalues of the normal part with negative imaginary part; the others are their conjugates.
        basis: Their eigenvectors, orthonormal.
        drive: The input vector in that basis, ``V* B``.
        low_rank: ``V* P``.
    """

    pole: Complex[Tensor, " modes"]
    basis: Complex[Tensor, "state modes"]
    drive: Complex[Tensor, " modes"]
    low_rank: Complex[Tensor, " modes"]


def hippo_legs(d_state: int) -> tuple[Float[Tensor, "state state"], Float[Tensor, " state"]]:
    """A and B of HiPPO-LegS: the state holds the Legendre coefficients of the whole past.

    ``A_nk = -sqrt((2n+1)(2k+1))`` below the diagonal and ``-(n+1)`` on it, ``B_n = sqrt(2n+1)``, in float64.

    Example:
        >>> hippo_legs(2)[0]
        tensor([[-1.0000, -0.0000],
                [-1.7321, -2.0000]], dtype=torch.float64)
    """
    n = torch.arange(d_state, dtype=torch.float64)
    drive = torch.sqrt(2 * n + 1)
    return -torch.tril(torch.outer(drive, drive), -1) - torch.diag(n + 1), drive


def legs(d_state: int) -> Legs:
    """The normal part of HiPPO-LegS, diagonalised.

    ``A + P P^T = -1/2 I + S`` with S skew-symmetric, so that ``-i S`` is Hermitian and its eigenvectors orthonormal;
    those of A itself are exponentially ill-conditioned.

    Example:
        >>> legs(64).pole.imag.abs().max().round(decimals=1)  # tends to N^2 / pi
        tensor(1303.3000, dtype=torch.float64)
    """
    a, drive = hippo_legs(d_state)
    low_rank = torch.sqrt(torch.arange(d_state, dtype=torch.float64) + 0.5)
    skew = a + torch.outer(low_rank, low_rank) + 0.5 * torch.eye(d_state, dtype=torch.float64)
    frequencies, basis = torch.linalg.eigh(-1j * skew)
    kept = basis[:, : d_state // 2]
    pole = torch.complex(torch.full((d_state // 2,), -0.5, dtype=torch.float64), frequencies[: d_state // 2])
    project = kept.conj().T
    return Legs(pole, kept, project @ drive.to(torch.cdouble), project @ low_rank.to(torch.cdouble))


def initial_poles(
    init: Init,
    d_state: int,
    copies: int,
    *,
    real_scale: float = 1.0,
    imag_scale: float = 1.0,
    real_random: bool = False,
) -> Complex[Tensor, "copies modes"]:
    """Eigenvalues with negative imaginary part, in float64; ``rand`` and `real_random` draw from torch's generator.

    Raises:
        InputError: an unknown initialisation, or an odd number of copies for ``diag``.

    Example:
        >>> initial_poles("lin", 6, 1).imag.numpy().round(2)
        array([[-0.  , -3.14, -6.28]])
    """
    if init == "diag":
        if copies % 2:
            raise InputError("'diag' needs an even number of copies", copies, "Change n_ssm, or use 'lin' or 'inv'.")
        scales = {"real_scale": real_scale, "imag_scale": imag_scale, "real_random": real_random}
        return torch.cat([initial_poles(kind, d_state, copies // 2, **scales) for kind in ("inv", "lin")])  # type: ignore[arg-type]
    modes = d_state // 2
    n = torch.arange(modes, dtype=torch.float64)
    frequency = {
        "lin": lambda: math.pi * n,
        "inv": lambda: d_state / math.pi * (d_state / (2 * n + 1) - 1),
        "legs": lambda: -legs(d_state).pole.imag,
        "quad": lambda: (2 * n + 1) ** 2 / math.pi,
        "inv2": lambda: d_state / math.pi * (d_state / (n + 1) - 1),
        "rand": lambda: torch.exp(torch.randn(copies, modes)).double(),
        "real": lambda: torch.zeros_like(n),
    }
    if init not in frequency:
        raise InputError("there is no such initialisation", repr(init), f"Use one of {', '.join(get_args(Init))}.")
    if real_random:
        decay = torch.rand(copies, modes).double() * (modes if init == "real" else 1)
    else:
        decay = n + 1 if init == "real" else torch.full_like(n, 0.5)
    return torch.complex(
        (-real_scale * decay).expand(copies, modes), (-imag_scale * frequency[init]()).expand(copies, modes)
    )


def initial_drive(init: Init, drive: DriveInit, d_state: int, copies: int) -> Complex[Tensor, "copies modes"]:
    """The input vector B; LegS has its own, everything else takes `drive`.

    Raises:
        InputError: an unknown `drive`.

    Example:
        >>> initial_drive("lin", "alternating", 8, 1).real
        tensor([[ 1., -1.,  1., -1.]], dtype=torch.float64)
    """
    modes = d_state // 2
    if init == "legs":
        found = legs(d_state).drive
        return torch.complex(found.real, found.imag.clamp(-_LEGS_CLIP, _LEGS_CLIP)).expand(copies, modes)
    n = torch.arange(modes, dtype=torch.float64)
    turn = 2 * math.pi * n / d_state
    vectors = {
        "constant": lambda: torch.ones(copies, modes, dtype=torch.cdouble),
        "random": lambda: torch.randn(copies, modes, dtype=torch.cfloat).to(torch.cdouble),
        "alternating": lambda: (1 - 2 * (n % 2)).to(torch.cdouble).expand(copies, modes),
        "unit-cw": lambda: torch.polar(torch.ones_like(n), -turn).expand(copies, modes),
        "unit-ccw": lambda: torch.polar(torch.ones_like(n), turn).expand(copies, modes),
    }
    if drive not in vectors:
        raise InputError("there is no such input vector", repr(drive), f"Use one of {', '.join(get_args(DriveInit))}.")
    return vectors[drive]()
