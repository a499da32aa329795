"""The kernel of S4D: a bank of diagonal state space models, its parameters and its discretisation.

One head is ``x'(t) = A x + B u``, ``y = 2 Re(C x)`` with A diagonal and complex, one mode of each conjugate pair kept
(arXiv 2206.11893, Sec. 3). Sampled every dt it is a `DiagonalSystem`: its impulse response is the kernel of a long
convolution, and the same numbers run as a recurrence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.parts.recurrence import DiagonalSystem, bilinear, diagonal_kernel, linear_scan, zero_order_hold
from harmonia.sequences.s4d.initialization import DriveInit, Init, initial_drive, initial_poles
from harmonia.sequences.s4d.transforms import Transform, inverse, positive

Discretization = Literal["zoh", "bilinear", "dss"]

T = TypeVar("T")


@dataclass(frozen=True)
class KernelConfig:
    """What an `S4DKernel` is, besides its width.

    Attributes:
        d_state: N, the size of a head's state; even, for N/2 conjugate pairs.
        init: Initialisation of A, see `harmonia.sequences.s4d.initialization`.
        drive_init: Initialisation of B, where `init` is not ``legs``.
        discretization: ``zoh``, ``bilinear``, or ``dss``: normalised over the length, as in Diagonal State Spaces.
        dt_min, dt_max: Bounds of the initial step, drawn log-uniformly, one a head.
        dt_tie: Whether all modes of a head share a step.
        dt_transform: How the step is kept positive.
        real_transform: How ``-Re A`` is kept positive.
        imag_transform: The same for ``-Im A``.
        real_scale, imag_scale: Factors of the initial real and imaginary parts.
        real_random: Draw the initial real parts uniformly.
        n_ssm: Copies of A and B, shared by the heads in turn; None for one each.
        channels: Outputs a head.
        bidirectional: Kernels for the past and for the future.
        exact_reverse: Whether the kernel for the future begins with the present; else, as in the official code, with
            the next input.
        bandlimit: Modes faster than this fraction of the Nyquist frequency are silent; None keeps all.
        l_max: Longest kernel in samples; None for that of the input.
        frozen: Which of ``A``, ``B``, ``dt`` are not trained.
    """

    d_state: int = 64
    init: Init = "lin"
    drive_init: DriveInit = "constant"
    discretization: Discretization = "zoh"
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    dt_tie: bool = True
    dt_transform: Transform = "exp"
    real_transform: Transform = "exp"
    imag_transform: Transform = "none"
    real_scale: float = 1.0
    imag_scale: float = 1.0
    real_random: bool = False
    n_ssm: int | None = None
    channels: int = 1
    bidirectional: bool = False
    exact_reverse: bool = False
    bandlimit: float | None = None
    l_max: int | None = None
    frozen: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: KernelConfig | Mapping[str, Any]) -> KernelConfig:
        """A config from itself or from its fields; see `config_of`."""
        if not isinstance(options, KernelConfig):
            options = {**options, "frozen": tuple(options.get("frozen", ()))}
        return config_of(cls, options)

    def __post_init__(self) -> None:
        if not isinstance(self.d_state, (int, np.integer)) or self.d_state < 2 or self.d_state % 2:
            raise InputError("the state holds conjugate pairs", f"d_state={self.d_state}", "Give an even number.")
        if not 0 < self.dt_min <= self.dt_max:
            raise InputError("steps lie between two positive bounds", (self.dt_min, self.dt_max), "Change dt_min.")
        if self.discretization not in get_args(Discretization):
            raise InputError("there is no such discretisation", self.discretization, "Use zoh, bilinear or dss.")
        optional = {name: getattr(self, name) for name in ("l_max", "n_ssm") if getattr(self, name) is not None}
        for name, count in {"channels": self.channels, **optional}.items():
            if not isinstance(count, (int, np.integer)) or count < 1:
                raise InputError(f"'{name}' is a positive whole number", repr(count), "Change it.")
        if self.bandlimit is not None and not self.bandlimit > 0:
            raise InputError("the band limit is positive", self.bandlimit, "Give e.g. 0.5, or None.")
        if set(self.frozen) - {"A", "B", "dt"}:
            raise InputError("only A, B and dt can be frozen", self.frozen, "Change `frozen`.")
        for name in (self.dt_transform, self.real_transform, self.imag_transform):
            if name not in get_args(Transform):
                raise InputError("there is no such transform", name, f"Use one of {', '.join(get_args(Transform))}.")


class S4DKernel(nn.Module):
    """Diagonal state space models of `d_model` heads, and every way to run them.

    ``K_l = 2 Re sum_n C_n dB_n dA_n^l``; ``dA = e^{dt a}``, ``dB = B (e^{dt a} - 1) / a`` by zero-order hold.

    The parameters are those of the official full kernel (``inv_dt``, ``A_real``, ``A_imag``, ``B``, ``C``); draw them
    reproducibly with `torch.manual_seed`, like those of any torch module.

    Arguments:
        d_model: Heads H.
        d_state: State size N of a head.
        options: Fields of `KernelConfig`.

    Raises:
        InputError: impossible options; a length of 0; state or step of what is bidirectional, ``dss`` or cut by l_max.

    Example:
        >>> kernel = S4DKernel(4, d_state=8)
        >>> kernel.kernel(100).shape
        torch.Size([1, 4, 100])
        >>> y, state = kernel.step(torch.ones(2, 4), kernel.default_state(2))
        >>> y.shape, state.shape
        (torch.Size([2, 1, 4]), torch.Size([2, 4, 4]))
    """

    def __init__(self, d_model: int, d_state: int = 64, **options: Any) -> None:
        super().__init__()
        self.config = config = KernelConfig.of({"d_state": d_state, **options})
        self.d_model = d_model
        copies = d_model if config.n_ssm is None else config.n_ssm
        if not isinstance(d_model, (int, np.integer)) or d_model < 1 or d_model % copies:
            raise InputError("the number of copies of A divides the width", f"{copies} and {d_model}", "Change n_ssm.")
        modes, rows = config.d_state // 2, config.channels * (2 if config.bidirectional else 1)
        low, high = math.log(config.dt_min), math.log(config.dt_max)
        dt = torch.exp(low + (high - low) * torch.rand(d_model, 1 if config.dt_tie else modes))
        scales = {name: getattr(config, name) for name in ("real_scale", "imag_scale", "real_random")}
        pole = initial_poles(config.init, config.d_state, copies, **scales)
        drive = initial_drive(config.init, config.drive_init, config.d_state, copies)
        readout = torch.randn(rows, d_model, modes, dtype=torch.cfloat)
        self.inv_dt = self._parameter("dt", inverse(dt, config.dt_transform, "dt_transform"))
        self.A_real = self._parameter("A", inverse(-pole.real, config.real_transform, "real_transform"))
        self.A_imag = self._parameter("A", inverse(-pole.imag, config.imag_transform, "imag_transform"))
        self.B = self._parameter("B", torch.view_as_real(drive.clone())[None])
        self.C = nn.Parameter(torch.view_as_real(readout))
        self._kept: dict[str, tuple[object, Any]] = {}
        self._warned = False

    def _parameter(self, group: str, value: Tensor) -> nn.Parameter:
        return nn.Parameter(value.float().contiguous(), requires_grad=group not in self.config.frozen)

    # ------------------------------------------------------------------------------------------------- parameters

    def step_size(self, rate: float = 1.0) -> Float[Tensor, "heads tied"]:
        """The step dt of every head (or mode), in the time unit of A, for inputs sampled `rate` times as sparsely."""
        return positive(self.inv_dt, self.config.dt_transform) * rate

    def pole(self) -> Complex[Tensor, "heads modes"]:
        """Eigenvalues A of every head."""
        real = -positive(self.A_real, self.config.real_transform)
        pole = torch.complex(real, -positive(self.A_imag, self.config.imag_transform))
        return pole.repeat(self.d_model // len(pole), 1)

    def audible(self, rate: float = 1.0) -> Float[Tensor, "heads modes"]:
        """1 for modes that are kept, 0 for those beyond `bandlimit` or, where the rate is lowered, beyond Nyquist.

        A mode turns ``dt |Im a| / 2 pi`` times a sample. Without `bandlimit` nothing is masked: the discretisation is
        exact for inputs that are held, however fast a mode is.
        """
        turns = self.step_size() * self.pole().imag.abs() / (2 * math.pi)
        limit = math.inf if self.config.bandlimit is None else min(self.config.bandlimit, 1 / rate) / 2
        return (turns < limit).to(turns.dtype)

    def system(self, rate: float = 1.0) -> DiagonalSystem:
        """The discretised system.

        Raises:
            InputError: ``dss``, whose readout depends on the length, or a rate that is not positive.
        """
        if self.config.discretization == "dss":
            raise InputError("a kernel normalised over its length is no recurrence", "dss", "Use zoh or bilinear.")
        return self._remembered("system", rate, lambda: self._system(rate))

    def _system(self, rate: float) -> DiagonalSystem:
        rule = bilinear if self.config.discretization == "bilinear" else zero_order_hold
        found = rule(self.pole(), self.step_size(rate))
        return DiagonalSystem(found.log_multiplier, found.gain * self._drive(), 2 * self._readout(rate))

    def _drive(self) -> Tensor:
        drive = torch.view_as_complex(self.B.contiguous())[0]
        return drive.repeat(self.d_model // len(drive), 1)

    def _readout(self, rate: float) -> Tensor:
        if not 0 < rate < math.inf:
            raise InputError("the sampling ratio is a positive number", rate, "Give 2.0 for inputs half as dense.")
        readout = torch.view_as_complex(self.C.contiguous())
        if self.config.bandlimit is None:
            return readout
        return readout * self.audible(rate)

    # ---------------------------------------------------------------------------------------------------- running

    def kernel(self, length: int, rate: float = 1.0) -> Float[Tensor, "rows heads length"]:
        """The kernel; with a bidirectional one, rows of the past come first and those of the future after them.

        Remembered in evaluation mode without gradients, until a parameter changes. Writes through ``.data`` go unseen:
        change parameters under `torch.no_grad` instead.
        """
        if length < 1:
            raise InputError("a kernel has at least one sample", length, "Pass a sequence that is not empty.")
        self._warn_of_aliases(rate)
        return self._remembered("kernel", (length, rate), lambda: self._kernel(length, rate))

    def _kernel(self, length: int, rate: float) -> Tensor:
        if self.config.l_max is not None and length > (longest := max(1, round(self.config.l_max / rate))):
            say(f"The kernel is cut to {longest:,} of {length:,} samples (l_max={self.config.l_max}).")
            length = longest
        if self.config.discretization == "dss":
            return self._normalised(length, rate)
        return self._system(rate).kernel(length)

    def _normalised(self, length: int, rate: float) -> Tensor:
        """``K_l = Re sum_n C_n B_n (e^{m_n} - 1) / (a_n (e^{L m_n} - 1)) e^{l m_n}``, m = dt a (arXiv 2203.14343).

        Modes that grow run backwards from the end, where they are largest, so that nothing overflows.
        """
        pole = self.pole()
        exponent = self.step_size(rate) * pole
        growing = pole.real > 0
        decaying = torch.where(growing, -exponent, exponent)
        denominator = (torch.exp(length * decaying) - 1) * pole
        reciprocal = denominator.conj() / (denominator.abs() ** 2 + 1e-7)
        weights = self._readout(rate) * self._drive() * (torch.exp(decaying) - 1) * reciprocal
        forwards = diagonal_kernel(weights * ~growing, decaying, length)
        if not growing.any():
            return forwards
        return forwards + diagonal_kernel(weights * growing, decaying, length).flip(-1)

    def recurrent(self, rate: float = 1.0) -> DiagonalSystem:
        """The system, where it can carry a state from one piece of input to the next.

        Raises:
            InputError: a bidirectional or cut kernel.
        """
        if self.config.bidirectional:
            raise InputError("a bidirectional kernel needs the whole input", "a state", "Use bidirectional=False.")
        if self.config.l_max is not None:
            raise InputError("a state reaches back without end", f"l_max={self.config.l_max}", "Use l_max=None.")
        self._warn_of_aliases(rate)
        return self.system(rate)

    def default_state(self, batch: int) -> Complex[Tensor, "batch heads modes"]:
        """The state of zeros."""
        return torch.view_as_complex(self.C.detach().contiguous()).new_zeros(batch, self.d_model, self.C.shape[-2])

    def step(
        self, u: Float[Tensor, "batch heads"], state: Complex[Tensor, "batch heads modes"], rate: float = 1.0
    ) -> tuple[Float[Tensor, "batch channels heads"], Complex[Tensor, "batch heads modes"]]:
        """One sample: the output and the next state."""
        return self.recurrent(rate).step(u, state)

    def forward_state(
        self, u: Float[Tensor, "batch heads time"], state: Complex[Tensor, "batch heads modes"], rate: float = 1.0
    ) -> Complex[Tensor, "batch heads modes"]:
        """The state after a whole piece of input."""
        return self.recurrent(rate).carry(u, state)

    def irregular(
        self, u: Float[Tensor, "batch heads time"], intervals: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch channels heads time"]:
        """The outputs for samples that are not evenly spaced: exact where each is held for its interval.

        ``s_k = e^{d_k dt a} s_{k-1} + B (e^{d_k dt a} - 1) / a u_k``, ``y_k = 2 Re(C s_k)``, by the scan of what
        changes over time. Even intervals of 1 give what the convolution gives.

        Arguments:
            u: Inputs.
            intervals: How long each is held, in sampling intervals of training; at 0 nothing happens.

        Raises:
            InputError: intervals that are negative, not finite or not one a sample, bidirectional kernels, or not
                zero-order hold.
        """
        if self.config.discretization != "zoh" or self.config.bidirectional:
            got = f"discretization='{self.config.discretization}', bidirectional={self.config.bidirectional}"
            raise InputError("uneven samples need causal kernels by zero-order hold", got, "Use zoh.")
        if intervals.shape != (u.shape[0], u.shape[2]):
            got = f"{tuple(intervals.shape)} for inputs {tuple(u.shape)}"
            raise InputError("one interval belongs to each sample", got, "Pass intervals (batch, time).")
        if not bool(((intervals >= 0) & torch.isfinite(intervals)).all()):
            raise InputError("intervals are finite and not negative", float(intervals.min()), "Sort the times.")
        found = zero_order_hold(self.pole(), self.step_size() * intervals[..., None, None])
        driven = found.gain * self._drive() * u.transpose(1, 2).unsqueeze(-1)
        states = linear_scan(torch.exp(found.log_multiplier), driven)
        return 2 * torch.einsum("bthn,chn->bcht", states, self._readout(1.0)).real

    def _warn_of_aliases(self, rate: float) -> None:
        if rate <= 1 or self._warned:
            return
        with torch.no_grad():
            turns = self.step_size(rate) * self.pole().imag.abs() / (2 * math.pi)
            fraction = float((turns >= 0.5).double().mean())
        if fraction > 0:
            self._warned = True
            fate = "alias: train with bandlimit=0.5" if self.config.bandlimit is None else "are silenced"
            say(f"Sampled {rate:g} times as sparsely, {fraction:.0%} of the modes pass the Nyquist rate and {fate}.")

    def _remembered(self, name: str, key: object, make: Callable[[], T]) -> T:
        parameters = tuple(self.parameters())
        if self.training or torch.is_grad_enabled() or any(p.is_inference() for p in parameters):
            return make()
        # A version counts changes in place, though not those of `.data`; the address changes when a parameter is
        # replaced or moved.
        full = (key, tuple((p.data_ptr(), p._version, p.dtype) for p in parameters))
        if name not in self._kept or self._kept[name][0] != full:
            self._kept[name] = (full, make())
        return self._kept[name][1]

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again: a copy or pickle is as small as the parameters."""
        return {**super().__getstate__(), "_kept": {}}
