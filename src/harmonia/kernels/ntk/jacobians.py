"""Products with the Jacobian of a network by its parameters, by `torch.func`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.layers import Outputs
from harmonia.parts.differentiation import forward_differentiable

Parameters = dict[str, Tensor]


def ntk_matvec(
    model: nn.Module, x1: Shaped[Tensor, "n1 ..."], x2: Shaped[Tensor, "n2 ..."], v: Float[Tensor, "n2 ..."]
) -> Float[Tensor, "n1 ..."]:
    """Multiply the empirical NTK by a vector at the cost of one backward and one forward pass.

    ``Theta(x1, x2) v = J(x1) (J(x2)^T v)``.

    Arguments:
        model: Network in evaluation mode.
        x1: Inputs of the rows.
        x2: Inputs of the columns.
        v: One number per sample of `x2` and output, in the shape of ``model(x2)``.

    Example:
        >>> model = nn.Linear(2, 1, bias=False).eval()
        >>> ntk_matvec(model, torch.eye(2), torch.ones(1, 2), torch.tensor([[3.0]]))
        tensor([[3.],
                [3.]])
    """
    refuse_coupled(model)
    parameters = trained_parameters(model)
    with forward_differentiable():
        pullback = vjp(lambda p: functional_call(model, p, (x2,)), parameters)[1]
        product = jvp(lambda p: functional_call(model, p, (x1,)), (parameters,), (pullback(v)[0],))[1]
    return product


def sketched_ntk(
    model: nn.Module,
    x1: Shaped[Tensor, "n1 ..."],
    x2: Shaped[Tensor, "n2 ..."] | None = None,
    *,
    size: int = 256,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "n1 n2"], Float[Tensor, "n1 n2"]]:
    """Estimate the trace NTK from random directions in parameter space, with standard errors.

    ``Theta = E[(J r)(J r)^T]`` for Rademacher r; unbiased, memory O(n k), time `size` forward passes.

    Arguments:
        model: Network in evaluation mode.
        x1: Inputs.
        x2: Other inputs; `x1` again by default.
        size: Number of random directions; the error falls with its square root.
        generator: Source of the directions.

    Returns:
        The estimate and its standard error.

    Example:
        >>> model = nn.Linear(2, 1, bias=False).eval()
        >>> kernel, error = sketched_ntk(model, torch.eye(2), size=64, generator=torch.Generator().manual_seed(0))
        >>> bool(((kernel - torch.eye(2)).abs() <= 4 * error + 1e-6).all())
        True
    """
    if size < 2:
        raise InputError("an error bar needs at least two random directions", size, "Give `size` >= 2.")
    refuse_coupled(model)
    parameters = trained_parameters(model)
    generator = generator or torch.Generator(x1.device).manual_seed(0)

    def push(x: Tensor, direction: Parameters) -> Tensor:
        product = jvp(lambda p: functional_call(model, p, (x,)), (parameters,), (direction,))[1]
        return product.reshape(len(x), -1)

    mean = square = torch.zeros((), device=x1.device)
    for done in range(1, size + 1):
        direction = {
            name: torch.randint(0, 2, p.shape, generator=generator, device=p.device).to(p) * 2 - 1
            for name, p in parameters.items()
        }
        with forward_differentiable():
            left = push(x1, direction)
            right = left if x2 is None else push(x2, direction)
        sample = left @ right.mT / left.shape[1]
        step = sample - mean  # Welford: differences of large squares would lose the error bar
        mean = mean + step / done
        square = square + step * (sample - mean)
    return mean, (square / (size * (size - 1))).sqrt()


def refuse_coupled(model: nn.Module) -> None:
    """Refuse layers whose output for a sample depends on the other samples or on chance.

    Raises:
        InputError: batch normalisation or dropout in training mode.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise InputError(
                "batch normalisation in training mode couples the samples, so they have no kernel",
                f"layer '{name}' ({type(module).__name__})",
                "Call model.eval() first (and keep running statistics).",
            )
        if isinstance(module, _DropoutNd) and module.training and module.p > 0:
            raise InputError(
                "dropout in training mode makes the network random",
                f"layer '{name}' ({type(module).__name__})",
                "Call model.eval() first.",
            )


def trained_parameters(model: nn.Module) -> Parameters:
    """The parameters with ``requires_grad``, detached.

    Raises:
        InputError: there is none.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise InputError(
            "the tangent kernel is taken over trained parameters and the network has none",
            "no parameter with requires_grad",
            "Call model.requires_grad_() or pass another network.",
        )
    return parameters


def jacobian_of(model: nn.Module, parameters: Parameters) -> Callable[[Tensor], Tensor]:
    """Jacobians (n, k, p) of the outputs by some of the parameters."""

    def single(p: Parameters, x: Tensor) -> Tensor:
        return functional_call(model, p, (x.unsqueeze(0),)).reshape(-1)

    def jacobian(x: Tensor) -> Tensor:
        by_name = vmap(jacrev(single), (None, 0))(parameters, x)
        return torch.cat([j.flatten(2) for j in by_name.values()], 2)

    return jacobian


def by_vectors(model: nn.Module, parameters: Parameters, x1: Tensor, x2: Tensor | None, outputs: Outputs) -> Tensor:
    """Column by column: pull a unit vector back to parameter space at x2, push it forward at all of x1."""
    columns = []
    for x in x1 if x2 is None else x2:
        f, pullback = vjp(lambda p, x=x: functional_call(model, p, (x.unsqueeze(0),)), parameters)[:2]

        def column(unit: Tensor, pullback: Callable[[Tensor], tuple[Parameters]] = pullback) -> Tensor:
            product = jvp(lambda p: functional_call(model, p, (x1,)), (parameters,), pullback(unit))[1]
            return product.reshape(len(x1), -1)

        units = torch.eye(f.numel(), dtype=f.dtype, device=f.device).reshape(-1, *f.shape)
        columns.append(vmap(column, chunk_size=1)(units))  # e, n1, c
    full = torch.stack(columns).permute(2, 0, 3, 1)  # n1, n2, c, e
    if outputs == "full":
        return full
    diagonal = full.diagonal(dim1=2, dim2=3)
    return diagonal.sum(-1) if outputs == "trace" else diagonal
