"""Linear layers that use the fastest matrix product of the processor.

On x86 processors torch hands float32 products to MKL, which runs at half speed on processors of other makers; oneDNN,
which torch ships as well, does not, and also applies the activation while the product is still in the cache. Here
both the product and its two gradients go to oneDNN where it is there; elsewhere this is `torch.nn.functional.linear`.
"""

from __future__ import annotations

import platform
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["none", "gelu", "relu", "silu", "tanh"]

_ACTIVATIONS = {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": torch.tanh}


class Linear(nn.Linear):
    """``activation(W x + b)`` with the parameters of `torch.nn.Linear`.

    Arguments:
        in_features: Width of the input.
        out_features: Width of the output.
        bias: Whether there is a b.
        activation: ``none``, ``gelu`` (exact), ``relu``, ``silu`` or ``tanh``.

    Example:
        >>> layer = Linear(4, 3, activation="tanh")
        >>> x = torch.randn(2, 4)
        >>> bool(torch.allclose(layer(x), torch.tanh(x @ layer.weight.T + layer.bias), atol=1e-6))
        True
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, activation: Activation = "none") -> None:
        super().__init__(in_features, out_features, bias)
        self.activation = activation

    def reset_parameters(self) -> None:
        """Draw the initial weights, where there are any: on the meta device torch would load 80 MB of code for it."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """Apply to the last axis."""
        return linear(x, self.weight, self.bias, self.activation)

    def extra_repr(self) -> str:
        """The arguments, for `repr`."""
        return f"{super().extra_repr()}, activation={self.activation}"


def linear(
    x: Float[Tensor, "*batch inner"],
    weight: Float[Tensor, "outer inner"],
    bias: Float[Tensor, " outer"] | None = None,
    activation: Activation = "none",
) -> Float[Tensor, "*batch outer"]:
    """``activation(x W^T + b)``, differentiable once on the fast route.

    Example:
        >>> linear(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1))
        tensor([[4.],
                [4.]])
    """
    if not _suits_onednn(x, weight):
        return _ACTIVATIONS[activation](F.linear(x, weight, bias))
    # oneDNN falls back to plain loops, a thousand times slower, when the last axis is not the dense one.
    x, weight = (t if t.stride(-1) == 1 else t.contiguous() for t in (x, weight))
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        return _ACTIVATIONS[activation](_Product.apply(x, weight, bias))
    return _product(x, weight, bias, activation)


def matmul(a: Float[Tensor, "rows inner"], b: Float[Tensor, "inner columns"]) -> Float[Tensor, "rows columns"]:
    """``a b`` of two matrices in any memory layout; by oneDNN where no gradient is wanted.

    Example:
        >>> matmul(torch.ones(2, 3), torch.ones(3, 1))
        tensor([[3.],
                [3.]])
    """
    wanted = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    if wanted or not _suits_onednn(a, b):
        return a @ b
    a, b = (t if t.is_contiguous() or t.t().is_contiguous() else t.contiguous() for t in (a, b))
    return _product(a, b.t())


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        _ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        # Below this many products, 15 microseconds to call oneDNN are more than it saves.
        and x.numel() * weight.numel() >= _WORTH_A_CALL * max(1, x.shape[-1])
        and not torch.is_autocast_enabled("cpu")
        # What looks into a function (the compiler, torch.func, forward-mode derivatives) cannot see through ours.
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Activation = "none") -> Tensor:
    name = "swish" if activation == "silu" else activation
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], "none")


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad = grad.contiguous()
        rows, inputs = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        return (
            _product(grad, weight.t()) if needs_x else None,
            _outer(rows, inputs) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """``a^T b``; oneDNN is twice as fast when the result has fewer rows than columns."""
    return _product(a.t(), b.t()) if a.shape[1] <= b.shape[1] else _product(b.t(), a.t()).t()


def _onednn_works() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        return bool(torch.equal(_product(x, weight), F.linear(x, weight)))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


_ONEDNN = _onednn_works()
_WORTH_A_CALL = 1 << 19
