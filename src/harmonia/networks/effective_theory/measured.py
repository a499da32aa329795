"""Finite-width tensors of real torch networks, by automatic differentiation: slow, general, and by their definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vmap

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.networks.effective_theory.ensemble import FUNCTIONALS, OBSERVABLES, jackknife
from harmonia.networks.effective_theory.graph import fan_in, units, weight_layers

Parameters = dict[str, Tensor]
Estimate = tuple[float, float]


def measure_ensemble(
    build_fn: Callable[[int], nn.Module],
    x: Float[Tensor, " *input"],
    n_nets: int,
    observables: Sequence[str] = ("K", "Theta", "V", "A", "B", "D", "F", "P", "Q"),
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> dict[str, Estimate]:
    """Measure the output layer's tensors over many networks.

    With outputs z, ``H = J diag(lambda) J^T`` and ``dH_abc = sum lambda lambda d2z_a dz_b dz_c`` from the network's own
    derivatives, each tensor is an average over pairs of different outputs and over networks, times the width n before
    the last layer; so ``V = n (E z_i^2 z_k^2 - (E z_i^2)^2)``.

    Arguments:
        build_fn: Makes a network, freshly initialised, from a seed; always the same layers, outputs alike in law.
        x: One input, without batch axis.
        n_nets: Number of networks.
        observables: Of `OBSERVABLES`; P and Q cost a second derivative for each output.
        lambda_b: Learning rate of biases and of whatever is no layer's weight.
        lambda_W: Learning rate of weights, times the fan-in.

    Returns:
        For each observable the estimate and its standard error.

    Raises:
        InputError: fewer than 50 networks, unknown observables, or networks with one output.

    Example:
        >>> def build(seed):
        ...     torch.manual_seed(seed)
        ...     return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8)).double()
        >>> measured = measure_ensemble(build, torch.ones(4).double(), 60, ("K", "Theta"))
        >>> sorted(measured)
        ['K', 'Theta']
    """
    if unknown := set(observables) - set(OBSERVABLES):
        raise InputError("unknown observables", ", ".join(sorted(unknown)), f"Use some of {', '.join(OBSERVABLES)}.")
    if n_nets < 50:
        raise InputError("error bars need at least 50 networks", n_nets, "Pass more.")
    if not x.isfinite().all():
        raise InputError("the input must be finite", "NaN or infinity", "Mend it.")
    first = build_fn(0)
    layers = weight_layers(first)
    width = units(layers[-2][1]) if len(layers) > 1 else int(fan_in(layers[-1][1]))
    rates = {name: lambda_b for name, _ in first.named_parameters()}
    rates |= {f"{name}.weight".lstrip("."): lambda_W / fan_in(layer) for name, layer in layers}
    rows = [
        _statistics(build_fn(seed), x, set(observables), rates) for seed in track(range(n_nets), "Measuring networks")
    ]
    statistics = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    found = {}
    for name in observables:
        mean, error = jackknife(statistics, FUNCTIONALS[name], width)
        found[name] = (float(mean), float(error))
    return found


def _statistics(model: nn.Module, x: Tensor, wanted: set[str], rates: dict[str, float]) -> dict[str, float]:
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(p: Parameters) -> Tensor:
        return functional_call(model, p, (x.unsqueeze(0),)).flatten()

    z = outputs(parameters).detach()
    if len(z) < 2:
        raise InputError("tensors are averages over pairs of outputs", f"{len(z)} output", "Use a network with more.")
    pairs = len(z) * (len(z) - 1)
    square = z.square()
    found = {
        "zz": square.mean(),
        "zzzz": (square.sum() ** 2 - square.square().sum()) / pairs,
        "zzz": (z.sum() * square.sum() - z.pow(3).sum()) / pairs,
    }
    if wanted & {"Theta", "A", "B", "D", "F", "P", "Q"}:
        jacobian = jacrev(outputs)(parameters)
        H = sum(rates[name] * j.flatten(1) @ j.flatten(1).T for name, j in jacobian.items())
        same = H.diagonal()
        found |= {
            "H": same.mean(),
            "HH": (same.sum() ** 2 - same.square().sum()) / pairs,
            "H_ik^2": (H.square().sum() - same.square().sum()) / pairs,
            "zzH": (square.sum() * same.sum() - square @ same) / pairs,
            "zHz": (z @ H @ z - square @ same) / pairs,
        }
        if wanted & {"P", "Q"}:
            steps = {name: rates[name] * j for name, j in jacobian.items()}  # of each output, the gradient's step
            along = {name: torch.tensordot(z, step, 1) for name, step in steps.items()}

            def bend(u: Parameters, v: Parameters) -> Tensor:
                return jvp(lambda p: jvp(outputs, (p,), (u,))[1], (parameters,), (v,))[1]

            same_last = vmap(lambda u: bend(u, u))(steps).T  # dH_akk
            first = vmap(lambda u: bend(u, along))(steps)  # sum_k dH_aik z_k, by i
            alone = same_last.diagonal() @ z
            found["P"] = (z @ same_last.sum(1) - alone) / pairs
            found["Q"] = (first.diagonal().sum() - alone) / pairs
    return {name: float(value) for name, value in found.items()}
