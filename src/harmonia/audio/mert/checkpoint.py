"""Reads weights of MERT in every layout they are published in.

The hub's layout is that of `transformers.HubertModel`; training checkpoints have fairseq's names. The positional
convolution's weight norm is stored as ``weight_g, weight_v`` or, by newer PyTorch, as ``parametrizations``. The shape
follows from the tensors, the sample rate from ``config.json`` where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.network import MERTModel
from harmonia.core.card import Card
from harmonia.core.errors import WeightsError
from harmonia.core.progress import say
from harmonia.core.weights import load_strictly, locate, read_metadata, read_state_dict

HERE = Path(__file__).parent
EMBEDDED = HERE / "weights" / "tiny.safetensors"
_FILES = ("model.safetensors", "pytorch_model.bin")

# Names of fairseq on the left, of the hub on the right.
_FAIRSEQ = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"^(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
    (r"^(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    (r"^(encoder\.layers\.\d+)\.fc1\.", r"\1.feed_forward.intermediate_dense."),
    (r"^(encoder\.layers\.\d+)\.fc2\.", r"\1.feed_forward.output_dense."),
)
_WEIGHT_NORM = (
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
)
# Heads of pre-training, and the fixed kernels of nnAudio that fairseq checkpoints carry along.
_HEADS = re.compile(r"^(final_proj|label_embs_concat|logit_temp_list|encoder_cqt_model\.fc|encoder_mel_model\.fc)")
_FIXED = re.compile(r"\.?(spec_layer\.|feature_extractor_cqt\.)")
_HINTS = {
    "feature_extractor": "conv_dim or conv_kernel",
    "feature_projection": "conv_dim, cqt_bins or dim",
    "pos_conv_embed": "pos_kernel or pos_groups",
    "feed_forward": "feed_forward",
    "encoder.layers": "layers or dim",
}


def load_checkpoint(
    source: str | Path,
    config: MERTConfig | Mapping[str, Any] | None = None,
    *,
    sha256: str | None = None,
    dtype: torch.dtype = torch.float32,
    trust_pickle: bool = False,
) -> MERTModel:
    """A model with the weights of a checkpoint; every key and shape must agree.

    Arguments:
        source: ``embedded`` (tiny), a file, a folder with ``model.safetensors`` or ``pytorch_model.bin``, or
            ``hub:<owner>/<name>``.
        config: A configuration; None to take it from the file's metadata, ``config.json`` and the tensors' shapes.
        sha256: Expected checksum.
        dtype: Type of the weights in memory.
        trust_pickle: Read a file that needs unpickling of arbitrary objects, as fairseq's do. Such a file can run any
            program.

    Raises:
        WeightsError: a missing or corrupt file, another checksum, or the first key that does not fit.
    """
    path = _found(source, sha256)
    state = encoder_weights(read_state_dict(path, trust_pickle=trust_pickle))
    if config is None:
        told = _hub_config(path) or ({"sample_rate": 16000} if "mert-v0" in str(source).lower() else None)
        config = _stored_config(path) or infer_config(state, told)
    with torch.device("meta"):
        model = MERTModel(config)
    if "masked_spec_embed" not in state:  # some exports leave it out; nothing but pre-training needs it
        state["masked_spec_embed"] = torch.zeros(model.config.dim)
    load_strictly(model, state, _HINTS)
    return model.to(dtype=dtype).eval()


def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors under our names, without the heads of pre-training.

    Example:
        >>> list(encoder_weights({"mask_emb": torch.zeros(2), "final_proj.bias": torch.zeros(2)}))
        ['masked_spec_embed']
    """
    return {key: value for key, value in _renamed(state).items() if not _HEADS.match(key)}


def head_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The heads of pre-training that a fairseq checkpoint keeps: projections, class vectors, constant-Q regression.

    Example:
        >>> list(head_weights({"mask_emb": torch.zeros(2), "final_proj.bias": torch.zeros(2)}))
        ['final_proj.bias']
    """
    return {key: value for key, value in _renamed(state).items() if _HEADS.match(key)}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    rules = [*_WEIGHT_NORM, *(_FAIRSEQ if any(".self_attn." in key or key == "mask_emb" for key in state) else ())]
    renamed = {}
    for key, value in state.items():
        if _FIXED.search(key):
            continue
        name = key.removeprefix("hubert.")
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def infer_config(state: Mapping[str, Tensor], told: Mapping[str, Any] | None = None) -> MERTConfig:
    """The configuration that tensors imply, with what leaves no trace in them from a ``config.json``.

    Heads of width 64, norm (pre for 24 layers), sample rate (24 kHz) and the strides are assumed where nothing is told.

    Raises:
        WeightsError: the tensors are not those of a MERT model.
    """

    def shape(key: str) -> tuple[int, ...]:
        if key not in state:
            raise WeightsError("these are not the weights of a MERT model", f"no '{key}'", "Pass such a checkpoint.")
        return tuple(state[key].shape)

    told = told or {}
    dim, _ = shape("feature_projection.projection.weight")
    count = 1 + max((int(m[1]) for key in state if (m := re.match(r"encoder\.layers\.(\d+)\.", key))), default=-1)
    convs = 1 + max(int(m[1]) for key in state if (m := re.match(r"feature_extractor\.conv_layers\.(\d+)", key)))
    kernels = [shape(f"feature_extractor.conv_layers.{n}.conv.weight") for n in range(convs)]
    _, per_group, kernel = shape("encoder.pos_conv_embed.conv.weight_v")
    (feed_forward, _) = shape("encoder.layers.0.feed_forward.intermediate_dense.weight")
    (projected,) = shape("feature_projection.layer_norm.weight")
    pre = bool(told.get("do_stable_layer_norm", count >= 24))
    sample_rate = told.get("sample_rate")
    if sample_rate is None:
        sample_rate = 24000
        say("The checkpoint does not say its sample rate; assuming 24000 Hz (MERT-v0 has 16000).")
    return MERTConfig(
        sample_rate=int(sample_rate),
        dim=dim,
        layers=count,
        heads=int(told.get("num_attention_heads", max(1, dim // 64))),
        feed_forward=feed_forward,
        norm="pre" if pre else "post",
        conv_dim=tuple(kernel[0] for kernel in kernels),
        conv_kernel=tuple(kernel[2] for kernel in kernels),
        conv_stride=tuple(told.get("conv_stride", (5, *[2] * (convs - 1)))),
        pos_kernel=kernel,
        pos_groups=dim // per_group,
        cqt_bins=projected - kernels[-1][0],
        deepnorm=bool(told.get("deepnorm", False)),
        attention_relax=max(0.0, float(told.get("attention_relax", 0.0))),
        dropout=0.0 if pre else 0.1,
        layer_drop=0.0 if pre else 0.05,
        feature_grad=1.0 if pre else 0.1,
        normalize=not pre,
    )


def read_source(source: str | Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """All tensors of a checkpoint, under the names it has."""
    return read_state_dict(_found(source), trust_pickle=trust_pickle)


def _found(source: str | Path, sha256: str | None = None) -> Path:
    folder = Path(source).expanduser()
    if str(source) == "embedded" or not folder.is_dir():
        return locate(source, embedded=EMBEDDED, sha256=sha256, released=Card.load(HERE / "card.toml").weights)
    found = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if found is None:
        raise WeightsError("the folder holds no weights", folder.name, f"Put {' or '.join(_FILES)} there.")
    return found


def _stored_config(path: Path) -> MERTConfig | None:
    """The configuration in the metadata of our own safetensors files."""
    if path.suffix != ".safetensors":
        return None
    stored = read_metadata(path).get("config")
    return MERTConfig.of(json.loads(stored)) if stored else None


def _hub_config(path: Path) -> dict[str, Any] | None:
    """The ``config.json`` beside the weights, as the hub has it."""
    beside = path.with_name("config.json")
    if not beside.is_file():
        return None
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError("config.json beside the weights cannot be read", error, "Fetch it again.") from None
    return content if isinstance(content, dict) else None
