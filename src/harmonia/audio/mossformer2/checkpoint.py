"""Reads released checkpoints of MossFormer2: the keys of the authors' standalone code and those of ClearVoice.

Both name the same network. Either layout may carry the constants of the positions, which must be the known ones, and
its depthwise filters as images of one column. What leaves no trace in the tensors is the sampling rate, whether the
model masks or maps, and the size of a group of frames (256 in all releases).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from harmonia.audio.mossformer2.network import MossFormer2, MossFormer2Config
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say
from harmonia.core.weights import load_strictly, locate, read_metadata, read_state_dict
from harmonia.parts.attention import rotary_frequencies

Layout = Literal["standalone", "clearvoice"]

# What each layout puts before the parts of the network, in the order of _PARTS.
_ROOTS: dict[Layout, tuple[str, ...]] = {
    "standalone": (
        "encoder.conv1d.weight",
        "decoder.weight",
        "masknet.",
        "masknet.dual_mdl.0.intra_mdl.mdl.flashT.",
        "masknet.dual_mdl.0.intra_mdl.mdl.norm.norm.",
        "masknet.dual_mdl.0.intra_norm.",
    ),
    "clearvoice": (
        "enc.conv1d.weight",
        "dec.weight",
        "mask_net.",
        "mask_net.mdl.intra_mdl.mossformerM.",
        "mask_net.mdl.intra_mdl.norm.",
        "mask_net.mdl.intra_norm.",
    ),
}
_RATES: dict[Layout, int] = {"standalone": 8000, "clearvoice": 16000}

# Our names on the left; on the right theirs, after the root of that number.
_PARTS: tuple[tuple[str, int, str], ...] = (
    (r"encoder", 0, ""),
    (r"decoder", 1, ""),
    (r"norm_in\.(.*)", 2, r"norm.\1"),
    (r"project\.(.*)", 2, r"conv1d_encoder.\1"),
    (r"position_scale", 2, "pos_enc.scale"),
    (r"prelu", 2, "prelu.weight"),
    (r"to_speakers\.(.*)", 2, r"conv1d_out.\1"),
    (r"value\.(.*)", 2, r"output.0.\1"),
    (r"gate\.(.*)", 2, r"output_gate.0.\1"),
    (r"to_mask\.(.*)", 2, r"conv1_decoder.\1"),
    (r"norm_blocks\.(.*)", 4, r"\1"),
    (r"norm_out\.(.*)", 5, r"\1"),
    (r"blocks\.(\d+)\.attention\.(gamma|beta)", 3, r"layers.\1.qk_offset_scale.\2"),
    (r"blocks\.(\d+)\.attention\.(to_\w+)\.norm\.g", 3, r"layers.\1.\2.mdl.0.g"),
    (r"blocks\.(\d+)\.attention\.(to_\w+)\.linear\.(.*)", 3, r"layers.\1.\2.mdl.1.\3"),
    (r"blocks\.(\d+)\.attention\.(to_\w+)\.conv\.weight", 3, r"layers.\1.\2.mdl.3.sequential.1.conv.weight"),
    (r"blocks\.(\d+)\.memory\.reduce\.(.*)", 3, r"fsmn.\1.conv1.0.\2"),
    (r"blocks\.(\d+)\.memory\.prelu", 3, r"fsmn.\1.conv1.1.weight"),
    (r"blocks\.(\d+)\.memory\.norm_in\.(.*)", 3, r"fsmn.\1.norm1.\2"),
    (r"blocks\.(\d+)\.memory\.norm_out\.(.*)", 3, r"fsmn.\1.norm2.\2"),
    (r"blocks\.(\d+)\.memory\.expand\.(.*)", 3, r"fsmn.\1.conv2.\2"),
    (r"blocks\.(\d+)\.memory\.(to_[uv])\.norm\.(.*)", 3, r"fsmn.\1.gated_fsmn.\2.mdl.0.\3"),
    (r"blocks\.(\d+)\.memory\.(to_[uv])\.linear\.(.*)", 3, r"fsmn.\1.gated_fsmn.\2.mdl.1.\3"),
    (
        r"blocks\.(\d+)\.memory\.(to_[uv])\.conv\.weight",
        3,
        r"fsmn.\1.gated_fsmn.\2.mdl.3.sequential.1.conv.weight",
    ),
    (r"blocks\.(\d+)\.memory\.memory\.((?:linear|project)\..*)", 3, r"fsmn.\1.gated_fsmn.fsmn.\2"),
    (r"blocks\.(\d+)\.memory\.memory\.(prelu\d)", 3, r"fsmn.\1.gated_fsmn.fsmn.conv.\2.weight"),
    (r"blocks\.(\d+)\.memory\.memory\.((?:conv|norm)\d\..*)", 3, r"fsmn.\1.gated_fsmn.fsmn.conv.\2"),
)


def official_name(name: str, layout: Layout) -> str:
    """What a release calls one of our tensors.

    Example:
        >>> official_name("blocks.3.memory.reduce.bias", "clearvoice")
        'mask_net.mdl.intra_mdl.mossformerM.fsmn.3.conv1.0.bias'
    """
    for pattern, root, theirs in _PARTS:
        if match := re.fullmatch(pattern, name):
            return _ROOTS[layout][root] + match.expand(theirs)
    raise KeyError(name)


def load_checkpoint(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    mapping: bool | None = None,
    sha256: str | None = None,
    trust_pickle: bool = False,
) -> MossFormer2:
    """A model with the weights of a checkpoint; every key and shape must agree.

    Arguments:
        path: A file (our own ``.safetensors``, or a release's), ``hub:<repo>/<file>``, or the folder of a release: with
            ``encoder.ckpt``, ``decoder.ckpt`` and ``masknet.ckpt``, or with a text ``last_best_checkpoint`` that names
            the file.
        sample_rate: Of what the model was trained on, in hertz; None for what our own file says, 16000 for a file in
            ClearVoice's layout and 8000 for a standalone one, as all releases have it.
        mapping: Whether the output is no mask; None for what our own file says, or whether the name tells of WHAMR!.
        sha256: Expected checksum of a file.
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Raises:
        WeightsError: a missing or corrupt file, the first key that is missing, unknown or of another shape, or
            positions of another kind.
        InputError: a rate that contradicts our own file's.
    """
    source = Path(path).expanduser()
    state, stored = (
        (_read_folder(source, trust_pickle), None)
        if source.is_dir()
        else _read_file(locate(path, sha256=sha256), trust_pickle)
    )
    if stored is not None:
        if sample_rate not in (None, stored.sample_rate) or mapping not in (None, stored.mapping):
            got = f"sample_rate {sample_rate}, mapping {mapping}"
            raise InputError(f"the file says {stored.sample_rate} Hz, mapping {stored.mapping}", got, "Leave them out.")
        own, config = state, stored
    else:
        layout = layout_of(state)
        config = infer_config(
            state,
            layout,
            sample_rate=sample_rate or _assumed_rate(layout),
            mapping="whamr" in str(path).lower() if mapping is None else mapping,
        )
        own = renamed(state, config, layout)
    with torch.device("meta"):
        model = MossFormer2(config)
    load_strictly(model, own)
    return model.float().eval()


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """Which of the two layouts the keys are in.

    Raises:
        WeightsError: neither.
    """
    for layout, roots in _ROOTS.items():
        if roots[0] in state:
            return layout
    expected = " or ".join(roots[0] for roots in _ROOTS.values())
    raise WeightsError("these are not the weights of a MossFormer2", f"no {expected}", "Pass such a checkpoint.")


def infer_config(
    state: Mapping[str, Tensor], layout: Layout, *, sample_rate: int, mapping: bool = False
) -> MossFormer2Config:
    """The configuration that names and shapes imply.

    Raises:
        WeightsError: a tensor that tells of the shape is missing.
    """

    def shape(name: str) -> tuple[int, ...]:
        key = official_name(name, layout)
        if key not in state:
            raise WeightsError("the weights of a MossFormer2 are not complete", f"no '{key}'", "Fetch them again.")
        return tuple(state[key].shape)

    depth = sum(key.endswith("qk_offset_scale.gamma") for key in state)
    n_filters, kernel = shape("encoder")[0], shape("encoder")[-1]
    return MossFormer2Config(
        n_speakers=shape("to_speakers.bias")[0] // n_filters,
        n_filters=n_filters,
        kernel=kernel,
        depth=depth,
        qk_dim=shape("blocks.0.attention.gamma")[1],
        fsmn_dim=shape("blocks.0.memory.reduce.bias")[0],
        order=(shape("blocks.0.memory.memory.conv1.weight")[2] + 1) // 2,
        mapping=mapping,
        sample_rate=sample_rate,
    )


def renamed(state: Mapping[str, Tensor], config: MossFormer2Config, layout: Layout) -> dict[str, Tensor]:
    """The tensors of a release under our names, filters without their empty axes.

    Raises:
        WeightsError: a key that is missing or unknown, a shape that does not fit, or positions of another kind.
    """
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in MossFormer2(config).state_dict().items()}
    names = {official_name(name, layout): name for name in shapes}
    for key, tensor in state.items():
        if key not in names:
            _check_constant(key, tensor, config)
    own = {}
    for key, name in names.items():
        if key not in state:
            raise WeightsError(f"the weights lack '{key}'", f"{len(state)} other keys", "Fetch them again.")
        wanted, tensor = shapes[name], state[key]
        if tensor.numel() != wanted.numel() or [n for n in tensor.shape if n > 1] != _core(wanted, name):
            raise WeightsError(
                f"'{key}' has another shape", f"{tuple(tensor.shape)} instead of {tuple(wanted)}", "Fetch them again."
            )
        own[name] = tensor.reshape(wanted)
    return own


def _core(wanted: torch.Size, name: str) -> list[int]:
    """The axes above one of the official tensor; the paired filters are [channels, 2, taps] there."""
    axes = (wanted[0] // 2, 2, wanted[1]) if name.endswith("conv2.weight") else wanted
    return [n for n in axes if n > 1]


def _check_constant(key: str, tensor: Tensor, config: MossFormer2Config) -> None:
    if key.endswith("rotary_pos_emb.freqs"):
        expected = rotary_frequencies(min(32, config.qk_dim))
    elif key.endswith("pos_enc.inv_freq"):
        expected = rotary_frequencies(config.n_filters)
    else:
        raise WeightsError(f"the weights have '{key}', which the network lacks", "an unknown key", "Check the file.")
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, rtol=1e-2):
        raise WeightsError(f"'{key}' holds other frequencies", f"{tensor[:2].tolist()}...", "Check the file.")


def _read_file(path: Path, trust_pickle: bool) -> tuple[dict[str, Tensor], MossFormer2Config | None]:
    state = read_state_dict(path, trust_pickle=trust_pickle)
    stored: dict[str, Any] | None = None
    if path.suffix == ".safetensors" and (text := read_metadata(path).get("config")):
        stored = json.loads(text)
    return state, None if stored is None else MossFormer2Config.of(stored)


def _read_folder(folder: Path, trust_pickle: bool) -> dict[str, Tensor]:
    """The tensors of a folder of the hub, in one of the forms the authors use."""
    pointer = folder / "last_best_checkpoint"
    if pointer.is_file():
        return read_state_dict(folder / pointer.read_text().strip(), trust_pickle=trust_pickle)
    parts = {name: folder / f"{name}.ckpt" for name in ("encoder", "decoder", "masknet")}
    if all(path.is_file() for path in parts.values()):
        return {
            f"{name}.{key}": tensor
            for name, path in parts.items()
            for key, tensor in read_state_dict(path, trust_pickle=trust_pickle).items()
        }
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_state_dict(folder / name, trust_pickle=trust_pickle)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
    mend = "Pass a folder with last_best_checkpoint, or with encoder.ckpt, decoder.ckpt and masknet.ckpt."
    raise WeightsError(f"'{folder.name}' holds no MossFormer2", found, mend)


def _assumed_rate(layout: Layout) -> int:
    say(f"The checkpoint does not say its sampling rate; assuming {_RATES[layout]} Hz, as all in this layout have.")
    return _RATES[layout]
