"""Reads the released weights of SpecTTTra: a ``config.json`` beside ``pytorch_model.bin``, or our own safetensors.

Every key and shape must agree. The two buffers of the front-end that the release stores along, its window and its mel
filters, are compared with ours and dropped. Without a configuration the shape follows from the tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harmonia.audio.sonics.front_end import RATE
from harmonia.audio.sonics.network import FRAMES, SpecTTTra, SpecTTTraConfig
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import load_strictly, read_metadata, read_state_dict
from harmonia.parts.log_mel import LogMel

_FILES = ("model.safetensors", "pytorch_model.bin")
_FIELDS = {
    "temporal_tokenizer": "input_shape, t_clip or dim",
    "spectral_tokenizer": "input_shape, f_clip or dim",
    "mlp": "mlp_ratio",
    "transformer": "depth or dim",
    "classifier": "dim",
}
_BUFFERS = "ft_extractor."

# Names in the released config.json, and ours.
_NAMES = {
    "t_clip": "t_clip",
    "f_clip": "f_clip",
    "embed_dim": "dim",
    "num_layers": "depth",
    "num_heads": "heads",
    "mlp_ratio": "mlp_ratio",
    "attn_drop_rate": "dropout",
}
# What every released model agrees on, and this front-end and network take for granted.
_GIVEN: dict[str, dict[str, Any]] = {
    "audio": {"sample_rate": RATE},
    "melspec": {
        "n_fft": 2048,
        "hop_length": 512,
        "win_length": 2048,
        "n_mels": 128,
        "f_min": 20,
        "f_max": 8000,
        "power": 2,
        "top_db": 80,
        "norm": "mean_std",
    },
    "model": {"name": "SpecTTTra", "pre_norm": True, "pe_learnable": True},
}


@dataclass(frozen=True)
class Loaded:
    """What a file of weights holds.

    Attributes:
        model: The network, in evaluation mode.
        metadata: Notes of our own files: what they learnt from, calibration.
    """

    model: SpecTTTra
    metadata: dict[str, str]


def load_checkpoint(source: str | Path, config: SpecTTTraConfig | Mapping[str, Any] | None = None) -> SpecTTTra:
    """A network with the weights of a file, or of a folder as the hub gives it; every key and shape must agree.

    Arguments:
        source: A folder, or a file ``.bin``, ``.pt`` or ``.safetensors``.
        config: Its configuration; None to take it from the file's metadata, from the ``config.json`` beside it, or from
            the shapes of the tensors.

    Raises:
        WeightsError: a missing or corrupt file, or the first key that does not fit, with the field it depends on.
        InputError: a configuration that cannot be read or is not of this model.
    """
    return read_detector(source, config).model


def read_detector(source: str | Path, config: SpecTTTraConfig | Mapping[str, Any] | None = None) -> Loaded:
    """Everything in a file of weights, see `load_checkpoint`."""
    path = weights_file(source)
    state = read_state_dict(path)
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if config is None and "config" in metadata:
        config = json.loads(metadata["config"])
    elif config is None and (beside := path.with_name("config.json")).is_file():
        config = read_config(beside)
    _check_buffers(state)
    own = {key: value for key, value in state.items() if not key.startswith(_BUFFERS)}
    with torch.device("meta"):
        model = SpecTTTra(infer_config(own) if config is None else config)
    load_strictly(model, {key: value.float() for key, value in own.items()}, _FIELDS)
    return Loaded(model.eval(), metadata)


def weights_file(source: str | Path) -> Path:
    """The file of weights that a path means: itself, or the one in a folder.

    Raises:
        WeightsError: there is none.
    """
    path = Path(source).expanduser()
    if not path.is_dir():
        return path
    found = [path / name for name in _FILES if (path / name).is_file()]
    if not found:
        raise WeightsError("the folder holds no weights", path, f"Put {' or '.join(_FILES)} into it.")
    return found[0]


def read_config(path: str | Path) -> SpecTTTraConfig:
    """The configuration in a released ``config.json``.

    Raises:
        InputError: unreadable, of another network, or of another front-end.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model, seconds = content["model"], content["audio"]["max_time"]
        fields = {ours: model[theirs] for theirs, ours in _NAMES.items() if theirs in model}
        shape = tuple(model["input_shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        mend = "Pass the config.json that came with the weights."
        raise InputError(f"{path.name} is no configuration of a SpecTTTra", repr(error), mend) from error
    for section, wanted in _GIVEN.items():
        for key, value in wanted.items():
            got = content.get(section, {}).get(key, value)
            if got != value:
                mend = f"Only {value} is known here: pass a released SpecTTTra."
                raise InputError(f"{path.name} asks for another '{section}.{key}'", got, mend)
    return SpecTTTraConfig.of({**fields, "input_shape": shape, "seconds": seconds})


def infer_config(state: Mapping[str, Tensor]) -> SpecTTTraConfig:
    """The configuration that names and shapes imply, with heads of 64 channels as in all released models.

    Raises:
        WeightsError: these are not the tensors of a SpecTTTra, or not of a released length.
    """

    def shape(key: str) -> tuple[int, ...]:
        if key not in state:
            raise WeightsError("these are not the weights of a SpecTTTra", f"no '{key}'", "Pass those of one.")
        return tuple(state[key].shape)

    tokenizer = "encoder.st_tokenizer."
    dim, bands, t_clip = shape(f"{tokenizer}temporal_tokenizer.conv1d.weight")
    _, frames, f_clip = shape(f"{tokenizer}spectral_tokenizer.conv1d.weight")
    hidden, _ = shape("encoder.transformer.blocks.0.mlp.fc1.weight")
    depth = 1 + max(
        int(found[1]) for key in state if (found := re.match(r"encoder\.transformer\.blocks\.(\d+)\.", key))
    )
    seconds = next((length for length, count in FRAMES.items() if count == frames), None)
    if seconds is None or dim % 64:
        raise WeightsError(
            "the shapes of the weights do not say all", f"{frames} frames, width {dim}", "Pass the configuration."
        )
    return SpecTTTraConfig(
        input_shape=(bands, frames),
        t_clip=t_clip,
        f_clip=f_clip,
        dim=dim,
        depth=depth,
        heads=dim // 64,
        mlp_ratio=2.67 if int(2.67 * dim) == hidden else (hidden + 0.5) / dim,
        seconds=seconds,
    )


def _check_buffers(state: Mapping[str, Tensor]) -> None:
    """Refuse weights whose front-end has another window or other mel filters than ours, or more than these."""
    ours = {
        f"{_BUFFERS}audio2melspec.spectrogram.window": torch.hann_window(2048),
        f"{_BUFFERS}audio2melspec.mel_scale.fb": LogMel("sonics").filters.T,
    }
    for key, tensor in state.items():
        if not key.startswith(_BUFFERS):
            continue
        if key not in ours:
            raise WeightsError(f"the weights have '{key}', which the front-end lacks", "an unknown buffer", "Check it.")
        if tensor.shape != ours[key].shape or (tensor.float() - ours[key]).abs().max() > 1e-4:
            raise WeightsError(f"'{key}' is of another front-end", "other values", "Pass a released SpecTTTra.")
