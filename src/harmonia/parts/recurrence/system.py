"""A bank of diagonal systems that do not change over time, run as a convolution, a recurrence, or in pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from harmonia.parts.recurrence.convolution import fft_convolve
from harmonia.parts.recurrence.kernel import Powers


@dataclass(frozen=True)
class DiagonalSystem:
    """``s_t = e^m s_{t-1} + b u_t``, ``y_t = Re(c s_t)``, for every head; one input and some output channels each.

    Where the modes stand for pairs of complex conjugates, c is twice the weight of one.

    Attributes:
        log_multiplier: m, the logarithm of the state's multiplier.
        drive: b, what the input is multiplied by.
        readout: c.

    Example:
        >>> pole, one = torch.log(torch.tensor([[0.5]])), torch.ones(1, 1)
        >>> system = DiagonalSystem(pole, one, one[None])
        >>> y, state = system.run(torch.tensor([[[1.0, 0.0, 0.0]]]), system.rest(1))
        >>> y, state
        (tensor([[[[1.0000, 0.5000, 0.2500]]]]), tensor([[[0.2500]]]))
    """

    log_multiplier: Inexact[Tensor, "heads modes"]
    drive: Inexact[Tensor, "heads modes"]
    readout: Inexact[Tensor, "channels heads modes"]
    _powers: dict[int, Powers] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def multiplier(self) -> Inexact[Tensor, "heads modes"]:
        """What the state is multiplied by in every step."""
        return torch.exp(self.log_multiplier)

    def kernel(self, length: int) -> Float[Tensor, "channels heads length"]:
        """The impulse response."""
        return self._reaching(length).kernel(self.readout * self.drive)

    def rest(self, batch: int) -> Inexact[Tensor, "batch heads modes"]:
        """The state of zeros."""
        return self.drive.new_zeros(batch, *self.drive.shape)

    def run(
        self, u: Float[Tensor, "batch heads time"], state: Inexact[Tensor, "batch heads modes"]
    ) -> tuple[Float[Tensor, "batch channels heads time"], Inexact[Tensor, "batch heads modes"]]:
        """A whole piece of input from a state on: the outputs, and the state after it."""
        length = u.shape[-1]
        y = fft_convolve(u, self.kernel(length)) + self.decay(state, length)
        return y, self.carry(u, state)

    def carry(
        self, u: Float[Tensor, "batch heads time"], state: Inexact[Tensor, "batch heads modes"]
    ) -> Inexact[Tensor, "batch heads modes"]:
        """The state after a whole piece of input, without its outputs."""
        old = torch.exp(u.shape[-1] * self.log_multiplier) * state
        return old + self.drive * self._reaching(u.shape[-1]).accumulate(u)

    def decay(
        self, state: Inexact[Tensor, "batch heads modes"], length: int
    ) -> Float[Tensor, "batch channels heads length"]:
        """The outputs without input: ``Re sum_n c_n e^{(l + 1) m_n} s_n``."""
        weights = self.readout * (self.multiplier * state).unsqueeze(1)
        return self._reaching(length).kernel(weights)

    def step(
        self, u: Float[Tensor, "batch heads"], state: Inexact[Tensor, "batch heads modes"]
    ) -> tuple[Float[Tensor, "batch channels heads"], Inexact[Tensor, "batch heads modes"]]:
        """One sample: the output and the next state."""
        state = torch.addcmul(self.drive * u.unsqueeze(-1), self.multiplier, state)
        y = (self.readout * state.unsqueeze(1)).sum(-1)
        return (y.real if y.is_complex() else y), state

    def _reaching(self, length: int) -> Powers:
        """The powers over a length; those of the last one are kept, for pieces of a stream are alike."""
        if length not in self._powers:
            self._powers.clear()
            self._powers[length] = Powers.of(self.log_multiplier, length)
        return self._powers[length]
