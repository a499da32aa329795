"""The neural tangent kernel of a real network of finite width.

    Theta(x, x') = J(x) J(x')^T,    J(x) = d f(x) / d theta

over all parameters that are trained (``requires_grad``). Four ways to the same numbers, and `empirical_ntk` picks the
cheapest by counting operations: the Gram trick of `layers`, contraction of Jacobians, and NTK-vector products, the
last two by `torch.func`; `sketched_ntk` estimates the kernel with error bars when all of them are too dear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.jacobians import (
    Parameters,
    by_vectors,
    jacobian_of,
    refuse_coupled,
    trained_parameters,
)
from harmonia.kernels.ntk.layers import Layers, Outputs, capture, contract, contribution, readable_layers
from harmonia.parts.differentiation import forward_differentiable

Method = Literal["auto", "layers", "jacobian", "vectors"]

_BUDGET_BYTES = 2**29


def empirical_ntk(
    model: nn.Module,
    x1: Shaped[Tensor, "n1 ..."],
    x2: Shaped[Tensor, "n2 ..."] | None = None,
    *,
    outputs: Outputs = "trace",
    method: Method = "auto",
    block: int | None = None,
) -> Float[Tensor, "n1 n2 *k"]:
    """The empirical NTK of any network in evaluation mode.

    ``Theta(x, x')[c, e] = <d f_c(x) / d theta, d f_e(x') / d theta>`` over the parameters with ``requires_grad``.

    Arguments:
        model: Network whose forward takes a batch; its output is flattened to k numbers per sample.
        x1: Inputs, first axis the samples.
        x2: Other inputs; `x1` again by default.
        outputs: ``trace`` for the mean over outputs (n1, n2), ``diag`` for each output with itself (n1, n2, k),
            ``full`` for all pairs of outputs (n1, n2, k, k).
        method: ``layers`` (Gram trick where layers allow it, Jacobians for the other parameters), ``jacobian``,
            ``vectors`` (little memory), or ``auto``: whichever needs fewest operations.
        block: Samples per block of the kernel; chosen from the memory they need by default.

    Raises:
        InputError: samples that are coupled (batch normalisation in training mode), random layers in training mode,
            no trained parameter, or inputs the network cannot take.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2)).eval()
        >>> x = torch.linspace(-1, 1, 12).reshape(4, 3)
        >>> empirical_ntk(model, x).shape, empirical_ntk(model, x, outputs="full").shape
        (torch.Size([4, 4]), torch.Size([4, 4, 2, 2]))
    """
    if outputs not in get_args(Outputs) or method not in get_args(Method):
        raise InputError(
            "this kind of empirical NTK does not exist",
            f"outputs={outputs!r}, method={method!r}",
            f"outputs is one of {get_args(Outputs)}, method one of {get_args(Method)}.",
        )
    refuse_coupled(model)
    parameters = trained_parameters(model)
    with forward_differentiable():
        plan = _Plan(model, parameters, x1, x1 if x2 is None else x2, outputs)
        run = plan.cheapest() if method == "auto" else method
        if run == "vectors":
            kernel = by_vectors(model, parameters, x1, x2, outputs)
        else:
            layers = plan.layers if run == "layers" else {}
            kernel = _by_blocks(model, parameters, layers, x1, x2, outputs, block or plan.block(layers))
    return kernel / plan.k if outputs == "trace" else kernel


class _Plan:
    """What the network costs per sample, measured on the first one, and which layers the Gram trick may read."""

    def __init__(self, model: nn.Module, parameters: Parameters, x1: Tensor, x2: Tensor, outputs: Outputs) -> None:
        for x in (x1, x2):
            if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
                raise InputError(
                    "the kernel needs a batch of inputs", f"{getattr(x, 'shape', x)}", "Pass n >= 1 samples."
                )
            if x.is_floating_point() and not x.isfinite().all():
                row = int((~x.isfinite()).reshape(len(x), -1).any(1).nonzero()[0])
                raise InputError(
                    "the inputs must be finite", f"NaN or infinity in row {row}", "Remove or impute the row."
                )
        self.outputs, self.rows, self.columns = outputs, len(x1), len(x2)
        self.parameters = parameters
        try:
            with torch.no_grad():
                self.k = model(x1[:1]).numel()
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                "the network does not take these inputs",
                f"{tuple(x1.shape)} {x1.dtype}: {error}",
                "Check shape and dtype.",
            ) from error
        self.layers = _verified(model, readable_layers(model), x1[:1])
        self.factors, _ = capture(model, self.layers, x1[:1])
        read = sum(factor.forward_cost for factor in self.factors.values())
        self.flops = 2 * (read + self.size(_others(parameters, self.layers)))

    @staticmethod
    def size(parameters: Parameters) -> int:
        return sum(p.numel() for p in parameters.values())

    def cheapest(self) -> Method:
        pairs = self.rows * self.columns
        spread = self.k**2 if self.outputs == "full" else self.k
        passes = (self.rows + self.columns) * self.flops * (1 + 2 * self.k)
        jacobian = passes + 2 * pairs * spread * self.size(self.parameters)
        layers = passes + 2 * pairs * spread * self.size(_others(self.parameters, self.layers))
        for factor in self.factors.values():
            each, pair = factor.gradient_cost(self.outputs)
            explicit = (self.rows + self.columns) * each + pairs * pair
            layers += 2 * min(explicit, pairs * factor.pair_cost(self.outputs))
        vectors = self.columns * self.k * self.flops * (3 + 4 * self.rows)
        costs: dict[Method, float] = {"layers": layers, "jacobian": jacobian, "vectors": vectors}
        return min(costs, key=costs.__getitem__)

    def block(self, layers: Layers) -> int:
        """The largest number of samples whose block of the kernel fits into the memory budget."""
        other = self.size(_others(self.parameters, layers))
        n = max(self.rows, self.columns)
        while n > 1:
            numbers = sum(self.factors[name].elements(n, n, self.outputs) for name in layers) + 2 * n * self.k * other
            if 4 * numbers <= _BUDGET_BYTES:
                return n
            n = (n + 1) // 2
        return 1


def _verified(model: nn.Module, layers: Layers, x: Tensor) -> Layers:
    """Keep the layers whose parameters act through the layer's own call and nowhere else.

    Layers that are called never or twice are left out. A weight that is also used behind the layer's back cannot be
    seen, but shows in the length of the gradient.
    """
    factors, _ = capture(model, layers, x, outputs=[0])
    layers = {name: layers[name] for name in factors}
    if not layers:
        return layers
    own = [p for layer in layers.values() for p in layer.parameters(recurse=False) if p.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(model(x).reshape(-1)[0], own, materialize_grads=True)
    true = sum(float(g.double().square().sum()) for g in gradients)
    ours = sum(float(contribution(f, f, "trace").double()) for f in factors.values())
    return layers if abs(ours - true) <= 1e-3 * abs(true) + 1e-30 else {}


def _others(parameters: Parameters, layers: Layers) -> Parameters:
    covered = {
        f"{name}.{own}".lstrip(".")
        for name, layer in layers.items()
        for own, _ in layer.named_parameters(recurse=False)
    }
    return {name: p for name, p in parameters.items() if name not in covered}


def _by_blocks(
    model: nn.Module,
    parameters: Parameters,
    layers: Layers,
    x1: Tensor,
    x2: Tensor | None,
    outputs: Outputs,
    block: int,
) -> Tensor:
    """Assemble the kernel from blocks: the Gram trick for `layers`, Jacobians for all other parameters."""
    others = _others(parameters, layers)
    jacobian = jacobian_of(model, others) if others else None

    def side(x: Tensor) -> tuple[dict, Tensor | None]:
        factors = capture(model, layers, x)[0] if layers else {}
        return factors, jacobian(x) if jacobian else None

    def tile(left: tuple[dict, Tensor | None], right: tuple[dict, Tensor | None]) -> Tensor:
        parts = [contribution(factor, right[0][name], outputs) for name, factor in left[0].items()]
        if left[1] is not None and right[1] is not None:
            parts.append(contract(left[1], right[1], outputs))
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    columns = x1 if x2 is None else x2
    kernel: Tensor | None = None
    for i, rows_i in _slices(len(x1), block):
        left = side(x1[rows_i])
        for j, columns_j in _slices(len(columns), block):
            if x2 is None and j < i:
                continue
            values = tile(left, left if x2 is None and i == j else side(columns[columns_j]))
            if kernel is None:
                kernel = values.new_empty(len(x1), len(columns), *values.shape[2:])
            kernel[rows_i, columns_j] = values
            if x2 is None and j > i:
                kernel[columns_j, rows_i] = values.permute(1, 0, 3, 2) if outputs == "full" else values.transpose(0, 1)
    assert kernel is not None
    return kernel


def _slices(n: int, block: int) -> Iterator[tuple[int, slice]]:
    for index, start in enumerate(range(0, n, block)):
        yield index, slice(start, min(start + block, n))
