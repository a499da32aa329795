"""The release's layout of weights: its names become ours, and every tensor must fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, read_state_dict
from harmonia.sequences.harmony.network import HarmonyConfig, HarmonyNetwork

_NAMES = (
    (r"^enc_embedding\.value_embedding\.", "embedding.projection."),
    (r"^encoder\.attn_layers\.(\d+)\.attention\.out_projection\.", r"layers.\1.attention.output."),
    (r"^encoder\.attn_layers\.(\d+)\.attention\.(query|key|value)_projection\.", r"layers.\1.attention.\2."),
    (r"^encoder\.attn_layers\.(\d+)\.conv1\.", r"layers.\1.expand."),
    (r"^encoder\.attn_layers\.(\d+)\.conv2\.", r"layers.\1.contract."),
    (r"^encoder\.attn_layers\.(\d+)\.(norm[12])\.", r"layers.\1.\2."),
    (r"^encoder\.norm\.", "norm."),
    (r"^projector_dis\.", "projection."),
    (r"^real_nvp\.layers\.", "head.flow.layers."),
)
_UNUSED = ("projector.weight", "projector.bias")
"""A layer that the release has and never uses."""


def ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the release; its 1x1 convolutions become matrices.

    Raises:
        WeightsError: a name that the release does not have.
    """
    found = {}
    for name, tensor in state.items():
        if name in _UNUSED:
            continue
        pattern = next(((old, new) for old, new in _NAMES if re.match(old, name)), None)
        if pattern is None:
            raise WeightsError(f"the release has no '{name}'", f"{len(state)} keys", "Pass a state dict of its Model.")
        found[re.sub(*pattern, name)] = tensor[..., 0] if tensor.ndim == 3 else tensor
    return found


def load_released(source: str | Path | Mapping[str, Tensor], config: HarmonyConfig) -> HarmonyNetwork:
    """A network with weights in the release's layout.

    Arguments:
        source: A file that ``torch.save(model.state_dict())`` wrote, or the tensors.
        config: Sizes, as from `HarmonyConfig.released`.

    Raises:
        WeightsError: a key that is missing, unknown or of another shape.
    """
    state = source if isinstance(source, Mapping) else read_state_dict(source)
    network = HarmonyNetwork(config)
    tensors = ours(state)
    tensors["quietest"] = network.quietest
    load_strictly(network, tensors, {"embedding": "lookback", "projection": "horizon", "head.flow": "horizon"})
    return network.eval()
