"""State dicts of the official package: its names for our tensors.

Fully connected models (``FCDKM``) name their parts; convolutional ones are numbered sequences, with or without the
whitening in front. No weights were released; these are for models that users trained with that package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.conv import ConvGramMixup, GramMixup, ImagePatches, NystromPool, WholeImageMixup
from harmonia.kernels.dkm.gram_kernels import ScaledGramKernel
from harmonia.kernels.dkm.gram_layer import GramLayer
from harmonia.kernels.dkm.images import ImageWhitening
from harmonia.kernels.dkm.network import InnerProducts, Machine
from harmonia.kernels.dkm.norm import GramNorm
from harmonia.kernels.dkm.triple import Mean, Stack

Named = Iterator[tuple[str, Tensor]]


def load_official(machine: Machine, state: Mapping[str, Tensor]) -> None:
    """Fill a machine with the state dict of an official model of the same sizes, strictly.

    The machine has ``relative=False`` and, as the official one, norms with ``t_scale`` other than ``"inducing"``. Give
    it ``batch_stats=True`` too: the official models keep no statistics of their training.

    Raises:
        InputError: keys that are missing or not known, tensors of another shape, or a machine with relative
            parameters or without scales of its own for the points. The machine then stays as it was.

    Example:
        >>> from harmonia.kernels.dkm.network import DeepKernelMachine, DeepKernelMachineConfig
        >>> config = DeepKernelMachineConfig(2, 1, 3, n_layers=1, t_norm="global", t_scale="global", relative=False)
        >>> load_official(DeepKernelMachine(config), {"f2g.Xi": torch.zeros(3, 2)})
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: the state dict does not fit (got ...
    """
    if machine.output.relative:
        raise InputError("official parameters are not relative", "relative=True", "Build it with relative=False.")
    if any(isinstance(layer, GramNorm) and layer.t_scale == "inducing" for layer in machine.modules()):
        got = "t_scale='inducing'"
        raise InputError("official points have learned scales of their own", got, "Build it with t_scale='global'.")
    wanted = dict(official_names(machine, whitened="0.W_zca" in state))
    missing, unknown = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted) - _ignored(state, wanted))
    if missing or unknown:
        got = f"missing {', '.join(missing[:4]) or 'none'}; unknown {', '.join(unknown[:4]) or 'none'}"
        raise InputError("the state dict does not fit", got, "Check sizes, layers, kernel, top and dof.")
    fitting = []
    for name, target in wanted.items():
        found = state[name]
        if name.endswith(".X"):
            found = found.permute(0, 3, 1, 2)
        if name.endswith("W_zca"):
            found = found.mT
        if found.numel() != target.numel() or (found.ndim == target.ndim and found.shape != target.shape):
            raise InputError(f"'{name}' has another shape", tuple(found.shape), f"It needs {tuple(target.shape)}.")
        fitting.append((target, found.reshape(target.shape)))
    with torch.no_grad():
        for target, found in fitting:
            target.copy_(found)


def official_names(machine: Machine, whitened: bool = False) -> Named:
    """Our tensors under their official names."""
    if isinstance(machine.entry, InnerProducts):
        yield "f2g.Xi", machine.entry.Xi
        seen = {"kernels": 0, "grams": 0, "norms": 0}
        for layer in machine.stack:
            group = "grams" if isinstance(layer, GramLayer) else "norms" if isinstance(layer, GramNorm) else "kernels"
            yield from _layer(layer, f"{group}.{seen[group]}")
            seen[group] += 1
        yield from _posterior(machine, "output")
        return
    assert isinstance(machine.entry, ImagePatches)
    offset = int(whitened)
    if whitened:
        yield from _whitening(machine.entry.whitening)
    yield f"{offset}.X", machine.entry.patches
    for index, layer in enumerate(machine.stack):
        yield from _layer(layer, str(offset + 2 + index))
    yield from _posterior(machine, str(offset + 2 + len(machine.stack.layers)))


def _layer(layer: nn.Module, prefix: str) -> Named:
    if isinstance(layer, Mean):
        for index, branch in enumerate(layer):
            yield from _layer(branch, f"{prefix}.kernels.{index}")
    elif isinstance(layer, Stack):
        pools = any(isinstance(part, NystromPool) for part in layer)  # one layer there
        for index, part in enumerate(layer):
            yield from _layer(part, prefix if pools else f"{prefix}.{index}")
    elif isinstance(layer, GramLayer):
        yield f"{prefix}.V", layer.V
    elif isinstance(layer, GramNorm):
        yield f"{prefix}.i_scale.i_logscale", layer.i_logscale
        yield f"{prefix}.t_scale.t_logscale", layer.t_logscale
    elif isinstance(layer, ScaledGramKernel):
        yield f"{prefix}.log_bias_var", layer.log_bias_var
        yield f"{prefix}.log_weight_var", layer.log_weight_var
    elif isinstance(layer, ConvGramMixup | GramMixup | WholeImageMixup):
        yield f"{prefix}.latent_learned_weights", layer.weights


def _posterior(machine: Machine, prefix: str) -> Named:
    yield f"{prefix}.mu", machine.output.mu
    yield f"{prefix}.V", machine.output.V


def _whitening(whitening: nn.Module | None) -> Named:
    if not isinstance(whitening, ImageWhitening):
        raise InputError("the state dict has a whitening", "a machine without", "Build it with ImageWhitening.")
    ours = (whitening.mean, whitening.scale, whitening.matrix, whitening.mean_after, whitening.scale_after)
    yield from zip([f"0.{name}" for name in ("Xmean", "Xstd", "W_zca", "WXmean", "WXstd")], ours, strict=True)


def _ignored(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> set[str]:
    """An unused scalar of every Gram layer, and the weights of residual sums, which are equal."""
    grams = {name[: -len("V")] + "latent_Gscale" for name in wanted if name.endswith(".V")}
    sums = {name for name, value in state.items() if name.endswith("weights.lw") and value.unique().numel() == 1}
    return grams | sums
