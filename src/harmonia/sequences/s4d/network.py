"""A network of S4D layers: encode every sample, pass residual layers, pool over time, decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear
from harmonia.sequences.s4d.kernel import KernelConfig, S4DKernel
from harmonia.sequences.s4d.layer import S4D, Mixing, drop_heads

Norm = Literal["layer", "batch", "none"]
Pooling = Literal["mean", "last", "none"]


NOT_SAVED = "Give a file that `save` wrote; official weights go through load_checkpoint."
"""What to do with a file that is not an estimator's."""


@dataclass(frozen=True)
class S4DConfig:
    """Shape of an `S4DModel`; the defaults are the minimal model of the official release.

    Attributes:
        d_input: Numbers a sample.
        d_output: Classes, or values to predict.
        d_model: Width H.
        n_layers: Layers.
        dropout: After the convolution and after each layer, one mask a head.
        norm: ``layer`` (over heads), ``batch`` or ``none``.
        prenorm: Normalise before each layer, and once at the end, rather than after each addition.
        pooling: ``mean`` or ``last`` over time; ``none`` gives one output a sample.
        mixing: What follows each convolution, see `S4D`.
        kernel: The kernels.
    """

    d_input: int = 1
    d_output: int = 10
    d_model: int = 128
    n_layers: int = 4
    dropout: float = 0.1
    norm: Norm = "layer"
    prenorm: bool = False
    pooling: Pooling = "mean"
    mixing: Mixing = "glu"
    kernel: KernelConfig = field(default_factory=KernelConfig)

    @classmethod
    def of(cls, config: S4DConfig | Mapping[str, Any]) -> S4DConfig:
        """A config from itself or from its fields; see `config_of`."""
        if not isinstance(config, S4DConfig):
            config = {**config, "kernel": KernelConfig.of(config.get("kernel", {}))}
        return config_of(cls, config)

    def __post_init__(self) -> None:
        for name in ("d_input", "d_output", "d_model", "n_layers"):
            count = getattr(self, name)
            if not isinstance(count, (int, np.integer)) or count < 1:
                raise InputError("widths and layers are counted from 1", f"{name}={count!r}", "Give a whole number.")
        if self.norm not in get_args(Norm) or self.pooling not in get_args(Pooling) or self.mixing == "none":
            got = f"norm={self.norm}, pooling={self.pooling}, mixing={self.mixing}"
            raise InputError("the network has no such choice", got, "See S4DConfig.")


@dataclass(frozen=True)
class StreamState:
    """Everything an `S4DModel` remembers of a signal: constant size, however long the signal is.

    Attributes:
        layers: State of every layer, (batch, width, modes).
        total: Sum of the last layer's outputs so far.
        count: Samples so far.
    """

    layers: tuple[Tensor, ...]
    total: Tensor
    count: int


class S4DModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["state-space-model", "sequence-classification"],
    paper_url="https://arxiv.org/abs/2206.11893",
):
    """Long sequences in, class scores or values out: ``decode(pool(layers(encode(u))))``.

    S4D (arXiv 2206.11893, Sec. 5). A model whose kernels are causal also runs as a stream, with `start` and `advance`.
    Train it by the groups of `ssm_param_groups`: one rate and decay for all of ``model.parameters()`` ruins A and dt.

    Arguments:
        config: An `S4DConfig`, or a mapping of its fields.

    Raises:
        InputError: impossible options; inputs that are not finite (it names the first), empty, or of another width.

    Example:
        >>> model = S4DModel(S4DConfig(d_input=1, d_output=3, d_model=8, n_layers=2)).eval()
        >>> u = torch.randn(2, 100, 1)
        >>> y = model(u)
        >>> scores, state = model.advance(u[:, :60], model.start(2))
        >>> scores, state = model.advance(u[:, 60:], state)
        >>> y.shape, bool(torch.allclose(scores[:, -1], y, atol=1e-4))
        (torch.Size([2, 3]), True)
    """

    def __init__(self, config: S4DConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = S4DConfig.of(config)
        options = {f.name: getattr(config.kernel, f.name) for f in fields(KernelConfig)}
        self.encoder = Linear(config.d_input, config.d_model)
        self.layers = nn.ModuleList(
            S4D(config.d_model, dropout=config.dropout, mixing=config.mixing, **options) for _ in range(config.n_layers)
        )
        self.norms = nn.ModuleList(_norm(config) for _ in range(config.n_layers))
        self.norm = _norm(config) if config.prenorm else nn.Identity()
        self.decoder = Linear(config.d_model, config.d_output)

    def forward(
        self,
        u: Float[Tensor, "batch time inputs"],
        *,
        lengths: Int64[Tensor, " batch"] | None = None,
        rate: float = 1.0,
    ) -> Float[Tensor, "batch *outputs"]:
        """Outputs (batch, d_output), or (batch, time, d_output) without pooling.

        Arguments:
            u: Sequences.
            lengths: Samples of each; what is beyond is ignored.
            rate: How many times as sparsely they are sampled as in training.
        """
        self._check(u, lengths)
        x = self.encoder(u)
        for layer, norm in zip(self.layers, self.norms):
            z = layer(self._normed(norm, x) if self.config.prenorm else x, rate=rate, lengths=lengths)
            x = x + drop_heads(z, self.config.dropout, self.training)
            x = x if self.config.prenorm else self._normed(norm, x)
        return self.decoder(self._pooled(self._normed(self.norm, x), lengths))

    def start(self, batch: int = 1) -> StreamState:
        """The state before the first sample."""
        layers = tuple(layer.default_state(batch) for layer in self.layers)  # type: ignore[operator]
        weight = self.decoder.weight
        return StreamState(layers, weight.new_zeros(batch, self.config.d_model), 0)

    def advance(
        self, u: Float[Tensor, "batch time inputs"], state: StreamState, *, rate: float = 1.0
    ) -> tuple[Float[Tensor, "batch time outputs"], StreamState]:
        """The outputs after each sample of a piece, from all that came before, and the state for the next piece.

        With ``mean`` pooling the output is that for the signal so far.

        Raises:
            InputError: also a model that looks ahead: bidirectional kernels.
        """
        self._check(u, None)
        x, states = self.encoder(u), []
        for layer, norm, old in zip(self.layers, self.norms, state.layers):
            z, new = layer.run(self._normed(norm, x) if self.config.prenorm else x, old, rate=rate)  # type: ignore[operator]
            states.append(new)
            x = x + drop_heads(z, self.config.dropout, self.training)
            x = x if self.config.prenorm else self._normed(norm, x)
        x = self._normed(self.norm, x)
        count = state.count + x.shape[1]
        total = state.total
        if self.config.pooling == "mean":
            sums = total.unsqueeze(1) + x.cumsum(1)
            total = sums[:, -1]
            x = sums / torch.arange(state.count + 1, count + 1, device=x.device).unsqueeze(-1)
        return self.decoder(x), StreamState(tuple(states), total, count)

    def _normed(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x.transpose(1, 2)).transpose(1, 2) if isinstance(norm, nn.BatchNorm1d) else norm(x)

    def _pooled(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.config.pooling == "none":
            return x
        if lengths is None:
            return x.mean(1) if self.config.pooling == "mean" else x[:, -1]
        if self.config.pooling == "last":
            return x[torch.arange(len(x), device=x.device), lengths - 1]
        inside = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return (x * inside.unsqueeze(-1)).sum(1) / lengths.unsqueeze(-1)

    def _check(self, u: Tensor, lengths: Tensor | None) -> None:
        if u.shape[2] != self.config.d_input or u.shape[1] < 1:
            mend = f"Pass (batch, time, {self.config.d_input}) with time of 1 or more."
            raise InputError("the sequences do not fit the network", tuple(u.shape), mend)
        if not bool(torch.isfinite(u).all()):
            where = (~torch.isfinite(u)).nonzero()[0].tolist()
            got = f"{float(u[tuple(where)])} in sequence {where[0]}, sample {where[1]}, channel {where[2]}"
            raise InputError("the input is not finite", got, "Fill or cut what is missing.")
        if lengths is not None and not bool(((lengths >= 1) & (lengths <= u.shape[1])).all()):
            raise InputError("lengths lie between 1 and that of the batch", lengths.tolist(), f"At most {u.shape[1]}.")


def ssm_param_groups(
    model: nn.Module, lr: float = 1e-2, ssm_lr: float = 1e-3, weight_decay: float = 0.01
) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: A, B and dt learn slowly and never decay.

    A decay towards zero, or a fast rate, moves the eigenvalues away from where the initialisation put them and ruins
    the training silently (official configurations: ``lr = min(1e-3, lr)``, no decay). The groups are found in the model
    itself, so that copies of a model keep them.

    Example:
        >>> groups = ssm_param_groups(S4DModel(S4DConfig(n_layers=1)))
        >>> [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
        [(0.01, 0.01, 10), (0.001, 0.0, 4)]
    """
    kernels = [module for module in model.modules() if isinstance(module, S4DKernel)]
    slow = {id(p) for kernel in kernels for name, p in kernel.named_parameters() if name != "C"}
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) not in slow], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in slow], "lr": min(lr, ssm_lr), "weight_decay": 0.0},
    ]


def _norm(config: S4DConfig) -> nn.Module:
    if config.norm == "layer":
        return nn.LayerNorm(config.d_model)
    return nn.BatchNorm1d(config.d_model) if config.norm == "batch" else nn.Identity()
