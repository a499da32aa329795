"""The S4D layer: convolution with the kernel, skip connection, GELU, and a mixing of the heads."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear, linear
from harmonia.parts.recurrence import fft_convolve
from harmonia.sequences.s4d.kernel import S4DKernel

Mixing = Literal["glu", "linear", "none"]


class S4D(nn.Module):
    """A sequence-to-sequence layer: H state space models side by side, then mixed at every position.

    ``y = GLU(W dropout(GELU(K * u + D u)) + b)``, K the kernel of `S4DKernel` (arXiv 2206.11893, Sec. 3). Trained as a
    convolution over the whole sequence (call it), run in pieces (`run`) or sample by sample (`step`): the same numbers.

    Arguments:
        d_model: Width H.
        d_state: State size N of a head.
        dropout: Probability; one mask a head, over the whole length.
        mixing: ``glu``, ``linear``, or ``none``, which leaves the channels side by side.
        transposed: Sequences are (batch, width, time) rather than (batch, time, width).
        options: Fields of `KernelConfig`.

    Raises:
        InputError: impossible options; sequences that are empty or of another width. Values are not looked at: NaN
            gives NaN, and `S4DModel` checks its inputs once for all layers.

    Example:
        >>> layer = S4D(8, d_state=16).eval()
        >>> u = torch.randn(2, 50, 8)
        >>> y = layer(u)
        >>> first, state = layer.run(u[:, :20], layer.default_state(2))
        >>> rest, state = layer.run(u[:, 20:], state)
        >>> bool(torch.allclose(torch.cat([first, rest], 1), y, atol=1e-4))
        True
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        *,
        dropout: float = 0.0,
        mixing: Mixing = "glu",
        transposed: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if mixing not in get_args(Mixing):
            raise InputError("there is no such mixing of heads", mixing, "Use glu, linear or none.")
        if not 0 <= dropout < 1:
            raise InputError("dropout is a probability below 1", dropout, "Give e.g. 0.1.")
        self.d_model, self.mixing, self.transposed, self.dropout = d_model, mixing, transposed, dropout
        self.kernel = S4DKernel(d_model, d_state, **options)
        self.channels = self.kernel.config.channels
        self.D = nn.Parameter(torch.randn(self.channels, d_model))
        width = self.channels * d_model
        self.d_output = width if mixing == "none" else d_model
        if mixing != "none":
            self.output = Linear(width, 2 * d_model if mixing == "glu" else d_model)

    def forward(
        self,
        u: Float[Tensor, "batch first second"],
        *,
        rate: float = 1.0,
        lengths: Int64[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch third fourth"]:
        """The whole sequence at once.

        Arguments:
            u: (batch, time, width), or (batch, width, time) if `transposed`.
            rate: How many times as sparsely the input is sampled as in training; 2.0 for half the sampling rate.
            lengths: Samples of each sequence; what is beyond is taken for zero.
        """
        u = self._heads_first(u)
        if lengths is not None:
            u = u * (torch.arange(u.shape[-1], device=u.device) < lengths[:, None])[:, None]
        return self._mixed(self._convolved(u, rate))

    def run(
        self,
        u: Float[Tensor, "batch first second"],
        state: Complex[Tensor, "batch width modes"],
        *,
        rate: float = 1.0,
    ) -> tuple[Float[Tensor, "batch third fourth"], Complex[Tensor, "batch width modes"]]:
        """A piece of a sequence from a state on: its outputs, and the state for the next piece."""
        u = self._heads_first(u)
        system = self.kernel.recurrent(rate)
        with torch.autocast(u.device.type, enabled=False):
            wide = u.to(self.D.dtype)
            y = self._convolved(u, rate) + system.decay(state, u.shape[-1])
            state = system.carry(wide, state)
        return self._mixed(y), state

    def step(
        self, u: Float[Tensor, "batch width"], state: Complex[Tensor, "batch width modes"], *, rate: float = 1.0
    ) -> tuple[Float[Tensor, "batch output"], Complex[Tensor, "batch width modes"]]:
        """One sample of every sequence: the output and the next state."""
        y, state = self.kernel.step(u, state, rate)
        y = F.gelu(y + self.D * u.unsqueeze(1)).flatten(1)
        return self._projected(y), state

    def default_state(self, batch: int) -> Complex[Tensor, "batch width modes"]:
        """The state before the first sample."""
        return self.kernel.default_state(batch)

    def _heads_first(self, u: Tensor) -> Tensor:
        width, length = (u.shape[1], u.shape[2]) if self.transposed else (u.shape[2], u.shape[1])
        if width != self.d_model or length < 1:
            order = "(batch, width, time)" if self.transposed else "(batch, time, width)"
            mend = f"Pass {order} of width {self.d_model}."
            raise InputError("the sequences do not fit the layer", tuple(u.shape), mend)
        return u if self.transposed else u.transpose(1, 2)

    def _convolved(self, u: Tensor, rate: float) -> Tensor:
        """K * u + D u, in full precision also under autocast: (batch, channels, heads, time)."""
        with torch.autocast(u.device.type, enabled=False):
            kernel = self.kernel.kernel(u.shape[-1], rate)
            future = None
            if self.kernel.config.bidirectional:
                kernel, future = kernel.chunk(2)
                if self.kernel.config.exact_reverse:
                    kernel = kernel + F.pad(future[..., :1], (0, kernel.shape[-1] - 1))
                    future = future[..., 1:]
            # The skip connection is one more weight at lag 0.
            kernel = torch.cat([kernel[..., :1] + self.D.unsqueeze(-1), kernel[..., 1:]], -1)
            return fft_convolve(u.to(kernel.dtype), kernel, future)

    def _mixed(self, y: Tensor) -> Tensor:
        # Element-wise gradients are several times slower on tensors that are not laid out alike.
        y = F.gelu(y.flatten(1, 2).transpose(1, 2).contiguous())
        y = self._projected(drop_heads(y, self.dropout, self.training))
        return y.transpose(1, 2) if self.transposed else y

    def _projected(self, y: Tensor) -> Tensor:
        if self.mixing != "glu":
            return y if self.mixing == "none" else self.output(y)
        # Two products rather than one: halves of a row are slow to work on, and so is their gradient.
        (weight, gate), (bias, offset) = self.output.weight.chunk(2), self.output.bias.chunk(2)
        return linear(y, weight, bias) * torch.sigmoid(linear(y, gate, offset))


def drop_heads(x: Float[Tensor, "batch time width"], p: float, training: bool) -> Float[Tensor, "batch time width"]:
    """Dropout with one mask a head over the whole length."""
    if not (p and training):
        return x
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p)
