"""Reads released checkpoints of the Mel-band RoFormer.

Public checkpoints are plain state dicts, some of them wrapped, with their shape in a YAML file beside them. The shape
also follows from the tensors, except what leaves no trace in them: the hop, and the switches `skip_connection` and
`zero_dc`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harmonia.audio.mel_roformer.bands import SPLITS, Split, bands
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.core.errors import InputError, WeightsError, require
from harmonia.core.progress import say
from harmonia.core.weights import load_strictly, locate, read_metadata, read_state_dict
from harmonia.parts.attention import rotary_frequencies

# Where a shape that does not fit comes from; the first part found in the key of a tensor counts.
_FIELDS = {
    "band_split": "dim, channels, num_bands, split, sample_rate or n_fft",
    "mask_estimators": "stems, mask_depth or mask_expansion",
    "rotary_embed": "head_dim, depth, time_depth, band_depth or feature_depth",
    "to_qkv": "heads or head_dim",
    "to_gates": "heads",
    "temperature": "feature_depth",
    "layers": "dim, depth, time_depth, band_depth or feature_depth",
}

# Names in the YAML files of Music-Source-Separation-Training, and ours.
_NAMES = {
    "dim": "dim",
    "depth": "depth",
    "heads": "heads",
    "dim_head": "head_dim",
    "num_bands": "num_bands",
    "sample_rate": "sample_rate",
    "stft_n_fft": "n_fft",
    "stft_hop_length": "hop_length",
    "time_transformer_depth": "time_depth",
    "freq_transformer_depth": "band_depth",
    "linear_transformer_depth": "feature_depth",
    "mask_estimator_depth": "mask_depth",
    "mlp_expansion_factor": "mask_expansion",
    "skip_connection": "skip_connection",
    "zero_dc": "zero_dc",
}
# What their files leave out means what their code takes then, which is not what ours does.
_THEIR_DEFAULTS = {
    "stft_hop_length": 512,
    "mask_estimator_depth": 1,
    "time_transformer_depth": 2,
    "freq_transformer_depth": 2,
}
# Switches that concern the loss, the speed, or a length that we always match.
_WITHOUT_EFFECT = re.compile(
    r"multi_stft_.*|flash_attn|linear_flash_attn|dim_freqs_in|match_input_audio_length|use_torch_checkpoint|"
    r"attn_dropout|ff_dropout|sage_attention|stereo|num_stems"
)


def load_checkpoint(
    path: str | Path,
    config: MelBandRoformerConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    sha256: str | None = None,
    dtype: torch.dtype = torch.float32,
    trust_pickle: bool = False,
) -> MelBandRoformer:
    """A model with the weights of a checkpoint; every key and shape must agree.

    The tensors are mapped from the file rather than copied where its format allows it.

    Arguments:
        path: ``.ckpt``, ``.pt`` or ``.safetensors``.
        config: A configuration, its fields, or a YAML or JSON file; None to take it from the file's metadata or the
            shapes of its tensors.
        sha256: Expected checksum.
        dtype: Type of the weights in memory; `torch.bfloat16` takes half as much.
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Raises:
        WeightsError: a missing or corrupt file, another checksum, or the first key that does not fit, with the
            field of the configuration it depends on.
        InputError: a configuration that cannot be read or is not of this model.
    """
    path = locate(path, sha256=sha256)
    state = read_state_dict(path, trust_pickle=trust_pickle)
    if isinstance(config, str | Path):
        config = read_config(config)
    elif config is None:
        config = _stored_config(path) or infer_config(state)
    with torch.device("meta"):
        model = MelBandRoformer(config)
    load_strictly(model, state, _FIELDS)
    _check_rotary(state)
    return model.to(dtype=dtype).eval()


def _stored_config(path: Path) -> MelBandRoformerConfig | None:
    """The configuration in the metadata of our own safetensors files."""
    if path.suffix != ".safetensors":
        return None
    stored = read_metadata(path).get("config")
    return MelBandRoformerConfig.of(json.loads(stored)) if stored else None


def _check_rotary(state: Mapping[str, Tensor]) -> None:
    for key, freqs in state.items():
        if key.endswith("rotary_embed.freqs") and not torch.allclose(
            freqs.float(), rotary_frequencies(2 * len(freqs)), rtol=1e-2
        ):
            raise WeightsError(
                f"'{key}' holds frequencies of another rotary embedding",
                f"{freqs[:2].tolist()}...",
                "Only those of base 10000 are known here.",
            )


def infer_config(state: Mapping[str, Tensor]) -> MelBandRoformerConfig:
    """The configuration that the names and shapes of a state dict imply.

    The hop leaves no trace; 10 ms is assumed, which all public 44.1 kHz vocal checkpoints use.

    Raises:
        WeightsError: the tensors are not those of a Mel-band RoFormer.
    """

    def count(pattern: str) -> int:
        found = {int(match[1]) for key in state if (match := re.match(pattern, key))}
        return max(found, default=-1) + 1

    def shape(key: str) -> tuple[int, ...]:
        if key not in state:
            raise WeightsError(
                "these are not the weights of a Mel-band RoFormer", f"no '{key}'", "Pass a checkpoint of that network."
            )
        return tuple(state[key].shape)

    axes = count(r"layers\.0\.(\d+)\.")
    time, band = axes - 2, axes - 1
    (dim,) = shape(f"layers.0.{band}.norm.gamma")
    (heads, _) = shape(f"layers.0.{band}.layers.0.0.to_gates.weight")
    mask_depth = count(r"mask_estimators\.0\.to_freqs\.0\.0\.(\d+)\.weight") // 2
    (hidden, _) = shape("mask_estimators.0.to_freqs.0.0.0.weight")
    num_bands = count(r"band_split\.to_features\.(\d+)\.")
    widths = [shape(f"band_split.to_features.{k}.0.gamma")[0] for k in range(num_bands)]
    split, channels, sample_rate, n_fft = _spectrum_of(widths)
    stems = count(r"mask_estimators\.(\d+)\.")
    say(f"The checkpoint does not say its hop; assuming 10 ms ({sample_rate // 100} samples).")
    return MelBandRoformerConfig(
        sample_rate=sample_rate,
        channels=channels,
        stems=("vocals",) if stems == 1 else tuple(f"stem{n + 1}" for n in range(stems)),
        n_fft=n_fft,
        hop_length=sample_rate // 100,
        num_bands=num_bands,
        split=split,
        dim=dim,
        depth=count(r"layers\.(\d+)\."),
        heads=heads,
        head_dim=shape(f"layers.0.{band}.layers.0.0.to_qkv.weight")[0] // (3 * heads),
        time_depth=count(rf"layers\.0\.{time}\.layers\.(\d+)\."),
        band_depth=count(rf"layers\.0\.{band}\.layers\.(\d+)\."),
        feature_depth=count(r"layers\.0\.0\.layers\.(\d+)\.") if axes == 3 else 0,
        mask_depth=mask_depth,
        mask_expansion=hidden // dim,
    )


def _spectrum_of(widths: list[int]) -> tuple[Split, int, int, int]:
    """The split, channels, sample rate and n_fft whose bands have these widths."""
    for sample_rate in (44100, 48000, 32000, 24000, 22050, 16000):
        for n_fft in (2048, 4096, 1024, 512):
            for split in SPLITS:
                try:
                    bins = [len(band) for band in bands(split, len(widths), sample_rate, n_fft)]
                except InputError:
                    continue
                for channels in (2, 1):
                    if widths == [2 * channels * n for n in bins]:
                        return split, channels, sample_rate, n_fft
    raise WeightsError(
        "the bands of these weights fit no known spectrum", f"{len(widths)} bands", "Pass the configuration."
    )


def read_config(path: str | Path) -> MelBandRoformerConfig:
    """The configuration in a file: our JSON, or the YAML that public checkpoints come with.

    The YAML may hold plain data and the tag ``!!python/tuple``; anything else, which could run programs, is refused.

    Raises:
        InputError: unreadable, of another model, or with switches this model does not have.
    """
    path = Path(path)
    yaml = require("yaml", extra="audio")

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        pass

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path.name} is not a configuration that is safe to read",
            str(error).splitlines()[0],
            "Pass the YAML or JSON file of a checkpoint; only plain data and tuples are allowed in it.",
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path.name} is not a configuration", type(content).__name__, "Pass a mapping of fields.")
    return _from_training_file(content) if "model" in content else MelBandRoformerConfig.of(content)


def _from_training_file(content: Mapping[str, Any]) -> MelBandRoformerConfig:
    model = {**_THEIR_DEFAULTS, **content["model"]}
    n_fft = model.get("stft_n_fft", 2048)
    unknown = sorted(key for key in model if key not in _NAMES and not _WITHOUT_EFFECT.fullmatch(key))
    for key, only in (("stft_win_length", n_fft), ("stft_normalized", False)):
        if model.get(key, only) == only and key in unknown:
            unknown.remove(key)
    if unknown:
        raise InputError(
            "the configuration switches on what this model does not have",
            ", ".join(f"{key}: {model[key]}" for key in unknown),
            "Pass a checkpoint of a plain Mel-band RoFormer.",
        )
    training = content.get("training") or {}
    target = training.get("target_instrument")
    names = (target,) if target else tuple(training.get("instruments") or ())
    stems = int(model.get("num_stems", 1))
    return MelBandRoformerConfig(
        channels=2 if model.get("stereo", False) else 1,
        stems=names if len(names) == stems else tuple(f"stem{n + 1}" for n in range(stems)),
        dropout=float(model.get("attn_dropout", 0.0)),
        **{ours: model[theirs] for theirs, ours in _NAMES.items() if theirs in model},
    )
