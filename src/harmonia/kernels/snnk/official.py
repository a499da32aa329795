"""Checkpoints and projections of the authors' code.

Its ReLU layer saves only ``weights`` (out, m): the projection is no buffer, and a reloaded model draws another. A
checkpoint is therefore of use only with the projection itself, or with the seed that torch was given right before the
layer was made.

    weights                                             a layer
    [adapter_down.<0 or 1>.weights], [adapter_up.*] or [modulating_vector],
    [adapter_norm_before.*, adapter_down.0.*], [adapter_norm_after.*]          an adapter

The norm after an adapter is made and saved, but never applied; it is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.adapters import SNNKAdapter
from harmonia.kernels.snnk.feature_maps import ReluFeatures
from harmonia.kernels.snnk.layers import SNNKLinear


def official_projection(
    m: int,
    inputs: int,
    seed: int | None = None,
    *,
    orthogonal: bool = False,
    scaling: Literal[0, 1] = 0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "m inputs"]:
    """The directions that the authors' code draws right after ``torch.manual_seed(seed)``, without touching that seed.

    Orthogonal blocks are those of QR without a sign convention, transposed, each row scaled by the norm of an
    independent Gaussian vector, or with ``scaling=1`` by the root of `inputs`.

    Example:
        >>> official_projection(4, 3, seed=0).shape
        torch.Size([4, 3])
    """
    if generator is None:
        if seed is None:
            raise InputError("a projection is drawn from a seed", "None", "Give seed, or a generator.")
        generator = torch.Generator().manual_seed(seed)
    if not orthogonal:
        return torch.randn(m, inputs, generator=generator)
    blocks = [torch.linalg.qr(torch.randn(inputs, inputs, generator=generator)).Q.T for _ in range(-(-m // inputs))]
    rows = torch.cat(blocks)[:m]
    return rows * (inputs**0.5 if scaling else torch.randn(m, inputs, generator=generator).norm(dim=1)[:, None])


def load_official_layer(
    state: Mapping[str, Tensor],
    *,
    projection: Float[Tensor, "m inputs"] | None = None,
    seed: int | None = None,
    inputs: int | None = None,
    orthogonal: bool = False,
    threshold: float = 0.0,
    normalize: bool = False,
) -> SNNKLinear:
    """The authors' ReLU layer.

    Arguments:
        state: Its state dict: ``weights``.
        projection: The directions; or `seed` and `inputs`, by which they are drawn again.
        seed, inputs, orthogonal: See `official_projection`.
        threshold: Its ``constant``.
        normalize: Whether it normalised rows.

    Raises:
        InputError: other keys, no way to know the projection, or one of another shape.
    """
    if set(state) != {"weights"}:
        raise InputError("a layer's checkpoint has the key 'weights'", ", ".join(sorted(state)), "Pass its state dict.")
    weights = state["weights"]
    if projection is None:
        if seed is None or inputs is None:
            what = "the checkpoint does not hold the projection, without which its weights mean nothing"
            raise InputError(what, "neither projection nor seed and inputs", "Give projection=, or seed= and inputs=.")
        projection = official_projection(weights.shape[1], inputs, seed, orthogonal=orthogonal)
    if len(projection) != weights.shape[1]:
        got = f"{tuple(projection.shape)} for weights {tuple(weights.shape)}"
        raise InputError("the projection does not fit the weights", got, "Pass one row for each of the features.")
    features = ReluFeatures(projection, None, threshold)
    start = torch.zeros(len(weights), projection.shape[1], dtype=projection.dtype)
    layer = SNNKLinear.of(features, start, bias=False, normalize="row" if normalize else None)
    with torch.no_grad():
        layer.weight.copy_(weights)
    return layer


def load_official_adapter(
    state: Mapping[str, Tensor], *, projection: Float[Tensor, "m inputs"], threshold: float = 0.0
) -> SNNKAdapter:
    """The authors' ReLU adapter, in each of its layouts.

    Arguments:
        state: Its state dict.
        projection: The directions, which it does not hold.
        threshold: Its ``constant``.

    Raises:
        InputError: keys that are missing or unknown, or shapes that do not fit.
    """
    state = dict(state)
    before = "adapter_norm_before.weight" in state
    names = {f"adapter_down.{int(before)}.weights": "down.weight"}
    for name in ("weight", "bias"):
        if before:
            state.pop(f"adapter_down.0.{name}", None)  # the same norm, listed twice
            names[f"adapter_norm_before.{name}"] = f"norm_before.{name}"
        if "adapter_up.weight" in state:
            names[f"adapter_up.{name}"] = f"up.{name}"
        state.pop(f"adapter_norm_after.{name}", None)
    if "adapter_up.weight" not in state:
        names["modulating_vector"] = "scale"
    wrong = sorted(set(names) ^ set(state))
    if wrong:
        raise InputError("keys of an adapter's checkpoint are missing or unknown", ", ".join(wrong[:4]), "Check it.")
    weights = state[f"adapter_down.{int(before)}.weights"]
    m, inputs = projection.shape
    adapter = SNNKAdapter(
        inputs,
        m,
        state["adapter_up.weight"].shape[1] if "adapter_up.weight" in state else None,
        norm_before=before,
        threshold=threshold,
    )
    features: nn.Module = adapter.down.features
    features.get_buffer("projection").copy_(projection)
    target = dict(adapter.named_parameters())
    for key, name in names.items():
        if target[name].shape != state[key].shape:
            got = f"{tuple(state[key].shape)}, expected {tuple(target[name].shape)}"
            raise InputError(f"'{key}' does not fit the projection {tuple(projection.shape)}", got, "Check both.")
    assert weights.shape[1] == m
    with torch.no_grad():
        for key, name in names.items():
            target[name].copy_(state[key])
    return adapter
