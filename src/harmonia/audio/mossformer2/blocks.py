"""The two halves of a MossFormer2 block, channels last: gated attention, and a gated memory instead of recurrence.

Attention (FLASH, arXiv 2202.10447) looks at all frames: exactly inside groups of frames, through a linear summary
between them. The memory (a feed-forward sequential memory network, FSMN) looks at neighbouring frames through long
depthwise filters, and needs no step from frame to frame.

    attention    x + ff(1024 -> 512)((au * v) * sigmoid(av * u)),   v, u = ff(512 -> 2 * 1024)(shifted x)
    memory       x + W2 ln(V * F(U) + y),   y = ln(prelu(W1 x)),   U, V = ff(y)

with ``ff(x) = z + depthwise_17(z)``, ``z = silu(W norm(x) + b)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mossformer2.norms import Carried, ScaleNorm, TimeNorm
from harmonia.parts.attention import rotate
from harmonia.parts.depthwise import depthwise_conv
from harmonia.parts.linear import Linear, matmul

TAPS = 17
ROTARY = 32

Heads = tuple[Tensor, Tensor, Tensor, Tensor]

# Without gradients, wide activations are made for so many frames at a time, which stay in the processor's cache.
_FRAMES_AT_ONCE = 512


class DepthwiseConv(nn.Module):
    """Depthwise filters over frames.

    Arguments:
        channels: Number of filters.
        taps: Length of each.
        dilation: Frames between neighbouring taps.
        causal: Whether the last tap, instead of the middle one, lies on the present frame.
        residual: Add the input, which is one more on the tap of the present frame.
    """

    present: Tensor

    def __init__(
        self, channels: int, taps: int, *, dilation: int = 1, causal: bool = False, residual: bool = False
    ) -> None:
        super().__init__()
        self.dilation, self.causal, self.residual = dilation, causal, residual
        present = torch.zeros(taps, device="cpu")
        present[-1 if causal else taps // 2] = 1
        self.register_buffer("present", present, persistent=False)
        self.weight = nn.Parameter(torch.empty(channels, taps).uniform_(-(taps**-0.5), taps**-0.5))

    def forward(
        self, x: Float[Tensor, "batch time channels"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time channels"]:
        """Filter each channel; frames that were `carried` lie before the first one, else silence."""
        weight = self.weight + self.present if self.residual else self.weight
        if carried is None:
            return depthwise_conv(x, weight, dilation=self.dilation, causal=self.causal)
        reach = (weight.shape[1] - 1) * self.dilation
        before = carried.get(self, x.new_zeros(len(x), reach, x.shape[2]))
        joined = torch.cat([before, x], dim=1)
        carried[self] = joined[:, joined.shape[1] - reach :]
        return depthwise_conv(joined, weight, dilation=self.dilation, causal=True)[:, reach:]


class ConvFeedForward(nn.Module):
    """``z + depthwise(z)`` with ``z = silu(W norm(x) + b)``, dropout at the end."""

    def __init__(self, norm: nn.Module, inner: int, outer: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.norm = norm
        self.linear = Linear(inner, outer, activation="silu")
        self.conv = DepthwiseConv(outer, TAPS, causal=causal, residual=True)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time inner"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time outer"]:
        """Apply to every frame and its neighbours."""
        at_once = torch.is_grad_enabled() or x.device.type != "cpu" or x.shape[1] <= _FRAMES_AT_ONCE
        if at_once or carried is not None:
            return self.dropout(self.conv(self.linear(self.norm(x)), carried))
        out = x.new_empty(*x.shape[:2], self.linear.out_features)
        before, after = (TAPS - 1, 0) if self.conv.causal else (TAPS // 2, TAPS // 2)
        for start in range(0, x.shape[1], _FRAMES_AT_ONCE):
            # With the neighbours that the filters see, whose own results are wrong at the inner ends and dropped.
            first, stop = max(0, start - before), min(start + _FRAMES_AT_ONCE, x.shape[1])
            piece = self.conv(self.linear(self.norm(x[:, first : stop + after])))
            out[:, start:stop] = piece[:, start - first : stop - first]
        return out


class GatedAttention(nn.Module):
    """Joint local and global attention of one head over shared queries and keys, gated twice.

    Inside a group of g frames ``relu(q k^T / g)^2``; over all L frames ``q (k^T v / L)``, or, causally, over all groups
    before with 1/g for 1/L.

    Arguments:
        dim: Width of the frames.
        group: Frames of a group.
        qk_dim: Width of queries and keys.
        dropout: While training.
        causal: Nothing looks ahead.
        causal_convs: Whether that holds for the depthwise filters too.
    """

    def __init__(self, dim: int, group: int, qk_dim: int, dropout: float, causal: bool, causal_convs: bool) -> None:
        super().__init__()
        self.group, self.causal = group, causal
        self.to_hidden = ConvFeedForward(ScaleNorm(dim), dim, 4 * dim, dropout, causal_convs)
        self.to_qk = ConvFeedForward(ScaleNorm(dim), dim, qk_dim, dropout, causal_convs)
        self.to_out = ConvFeedForward(ScaleNorm(2 * dim), 2 * dim, dim, dropout, causal_convs)
        self.gamma = nn.Parameter(0.02 * torch.randn(4, qk_dim))
        self.beta = nn.Parameter(torch.zeros(4, qk_dim))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Attend along the second axis."""
        half = x.shape[-1] // 2
        past = None if carried is None else carried.get(self) or _Past.none(x, self.gamma.shape[1])
        early = F.pad(x[..., :half], (0, 0, 1, -1))
        if past is not None:
            early[:, :1] = past.last
        shifted = torch.cat([early, x[..., half:]], dim=-1)
        heads = self._queries_and_keys(self.to_qk(shifted, carried), 0 if past is None else past.count)
        vu = self.to_hidden(shifted, carried)
        del early, shifted  # a tenth of the memory of a separation
        if carried is not None and past is not None:
            gated = self._attend_onwards(heads, vu, past)
            past.last, past.count = x[:, -1:, :half], past.count + x.shape[1]
            carried[self] = past
        else:
            gated = self._attend(heads, vu) if torch.is_grad_enabled() else self._attend_in_place(heads, vu)
        return _added(self.to_out(gated, carried), x)

    def _queries_and_keys(self, qk: Tensor, first: int = 0) -> Heads:
        """Queries and keys of groups and of everything: (local q, global q, local k, global k), with positions."""
        width = min(ROTARY, qk.shape[-1])
        heads = []
        for gamma, beta in zip(self.gamma, self.beta, strict=True):
            head = torch.addcmul(beta, qk, gamma)
            turned = rotate(head[..., None, :width], pairing="adjacent", first=first).squeeze(-2)
            heads.append(torch.cat([turned, head[..., width:]], dim=-1))
        local_q, global_q, local_k, global_k = heads
        return local_q, global_q, local_k, global_k

    def _attend(self, heads: Heads, vu: Tensor) -> Float[Tensor, "batch time hidden"]:
        """All groups at once, differentiable."""
        length, group = vu.shape[1], self.group
        missing = (0, 0, 0, -length % group)
        local_q, global_q, local_k, global_k = (F.pad(head, missing).unflatten(1, (-1, group)) for head in heads)
        values = F.pad(vu, missing).unflatten(1, (-1, group))
        weights = self.dropout(F.relu(local_q @ local_k.transpose(-1, -2) / group).square())
        if self.causal:
            weights = weights.tril()
            summary = (global_k.transpose(-1, -2) @ values / group).cumsum(1)
            summary = F.pad(summary, (0, 0, 0, 0, 1, -1))
        else:
            summary = (global_k.flatten(1, 2).transpose(1, 2) @ values.flatten(1, 2) / length).unsqueeze(1)
        attended = (weights @ values + global_q @ summary).flatten(1, 2)[:, :length]
        return _gated(attended, vu)

    def _attend_in_place(self, heads: Heads, vu: Tensor) -> Float[Tensor, "batch time hidden"]:
        """Group by group, in the memory of `vu`: no array of all attention weights, or of all that was attended to."""
        out = vu[..., : vu.shape[2] // 2]
        for batch in range(len(vu)):
            local_q, global_q, local_k, global_k = (head[batch] for head in heads)
            if self.causal:
                summary = vu.new_zeros(global_k.shape[-1], vu.shape[2])
            else:
                summary = matmul(global_k.t(), vu[batch]) / vu.shape[1]
            for start in range(0, vu.shape[1], self.group):
                at = slice(start, start + self.group)
                values = vu[batch, at]
                weights = matmul(local_q[at], local_k[at].t()).div_(self.group).relu_().square_()
                if self.causal:
                    weights = weights.tril_()
                attended = matmul(weights, values).add_(matmul(global_q[at], summary))
                if self.causal:
                    summary += matmul(global_k[at].t(), values) / self.group
                out[batch, at] = _gated(attended, values)
        return out

    def _attend_onwards(self, heads: Heads, vu: Tensor, past: _Past) -> Float[Tensor, "batch time hidden"]:
        """Causally, after the frames of the `past`: its unfinished group, and a summary of all groups before."""
        local_q, global_q, *new_keys = heads
        local_k, global_k, values = (torch.cat(pair, dim=1) for pair in zip(past.group, (*new_keys, vu), strict=True))
        known = past.group[2].shape[1]
        out = []
        for start in range(0, values.shape[1], self.group):
            at = slice(start, start + self.group)
            rows = slice(max(start, known) - known, max(0, start + self.group - known))
            weights = (F.relu(local_q[:, rows] @ local_k[:, at].transpose(1, 2)) / self.group).square()
            weights = weights.tril(max(0, known - start))
            out.append(weights @ values[:, at] + global_q[:, rows] @ past.summary)
            if start + self.group <= values.shape[1]:
                past.summary = past.summary + global_k[:, at].transpose(1, 2) @ values[:, at] / self.group
        past.group = tuple(x[:, values.shape[1] // self.group * self.group :] for x in (local_k, global_k, values))
        return _gated(torch.cat(out, dim=1), vu)


@dataclass
class _Past:
    """What attention keeps of a recording that comes piece by piece.

    Attributes:
        count: Frames so far.
        last: The shifted half of the last one.
        group: Local keys, global keys and values of the unfinished group.
        summary: Sum over all groups before.
    """

    count: int
    last: Tensor
    group: tuple[Tensor, ...]
    summary: Tensor

    @classmethod
    def none(cls, x: Tensor, qk_dim: int) -> _Past:
        batch, _, dim = x.shape
        group = tuple(x.new_zeros(batch, 0, width) for width in (qk_dim, qk_dim, 4 * dim))
        return cls(0, x.new_zeros(batch, 1, dim // 2), group, x.new_zeros(batch, qk_dim, 4 * dim))


def _gated(attended: Float[Tensor, "*batch both"], vu: Float[Tensor, "*batch both"]) -> Float[Tensor, "*batch hidden"]:
    """``(a_u * v) * sigmoid(a_v * u)``; without gradients in the memory of what was attended to."""
    (av, au), (v, u) = attended.chunk(2, dim=-1), vu.chunk(2, dim=-1)
    if torch.is_grad_enabled():
        return (au * v) * torch.sigmoid(av * u)
    return au.mul_(v).mul_(av.mul_(u).sigmoid_())


class DilatedMemory(nn.Module):
    """The FSMN: two depthwise filters, the second dilated and over the first one's output too.

    ``x + o2``, ``p = P relu(A x + b)``, ``o1 = prelu(in(w1 * p))``, ``o2 = prelu(in(w2 * (o1, p)))``.

    Channel c of the second filter reads channels 2c and 2c + 1 of the concatenation (o1, p), so its first half reads o1
    only and its second half p only: what a grouped convolution over the concatenation does, and the released weights
    were trained with.

    Arguments:
        dim: Number of channels.
        order: Reach of the filters in frames: ``2 order - 1`` taps.
        causal: The taps lie on this frame and the ones before.
    """

    def __init__(self, dim: int, order: int, causal: bool) -> None:
        super().__init__()
        taps = 2 * order - 1
        self.linear = Linear(dim, dim, activation="relu")
        self.project = Linear(dim, dim, bias=False)
        self.conv1 = DepthwiseConv(dim, taps, causal=causal)
        self.conv2 = DepthwiseConv(2 * dim, taps, dilation=2, causal=causal)
        self.norm1, self.norm2 = TimeNorm(dim, causal=causal), TimeNorm(dim, causal=causal)
        self.prelu1, self.prelu2 = nn.Parameter(torch.full((dim,), 0.25)), nn.Parameter(torch.full((dim,), 0.25))

    def forward(
        self, x: Float[Tensor, "batch time dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Add the memory of neighbouring frames."""
        p = self.project(self.linear(x))
        o1 = prelu(self.norm1(self.conv1(p, carried), carried), self.prelu1)
        pairs = self.conv2(torch.cat([o1, p], dim=-1), carried).unflatten(-1, (-1, 2))
        o2 = prelu(self.norm2(pairs.sum(-1), carried), self.prelu2)
        return _added(o2, x)


class GatedMemory(nn.Module):
    """The recurrent module without recurrence: a bottleneck, an FSMN gated by a second branch, and back.

    Arguments:
        dim: Width of the frames.
        inner: Width of the bottleneck.
        order: See `DilatedMemory`.
        dropout: While training.
        causal: Nothing looks ahead.
    """

    def __init__(self, dim: int, inner: int, order: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.reduce = Linear(dim, inner)
        self.prelu = nn.Parameter(torch.full((1,), 0.25))
        self.norm_in = nn.LayerNorm(inner)
        self.to_u = ConvFeedForward(nn.LayerNorm(inner), inner, inner, dropout, causal)
        self.to_v = ConvFeedForward(nn.LayerNorm(inner), inner, inner, dropout, causal)
        self.memory = DilatedMemory(inner, order, causal)
        self.norm_out = nn.LayerNorm(inner)
        self.expand = Linear(inner, dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Add what the neighbouring frames say."""
        y = self.norm_in(prelu(self.reduce(x), self.prelu))
        z = torch.addcmul(y, self.to_v(y, carried), self.memory(self.to_u(y, carried), carried))
        return _added(self.expand(self.norm_out(z)), x)


def prelu(x: Float[Tensor, "*batch channels"], slope: Float[Tensor, " slopes"]) -> Float[Tensor, "*batch channels"]:
    """``max(x, 0) + slope min(x, 0)`` over the last axis, with one slope or one a channel."""
    return F.prelu(x.movedim(-1, 1), slope).movedim(1, -1)


def _added(fresh: Tensor, x: Tensor) -> Tensor:
    """``fresh + x``; without gradients in the memory of `fresh`, which nobody else holds."""
    return fresh + x if torch.is_grad_enabled() else fresh.add_(x)
