"""Reads emotion networks: our own safetensors files, and the release's Lightning checkpoints.

A Lightning checkpoint holds the network under ``model.``, beside the weights of its losses, which are left out; every
other key and shape must agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harmonia.audio.unified_mer.features import MusicFeatures, SoundStatistics
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork, TeacherNetwork
from harmonia.audio.unified_mer.tags import MOOD_TAGS
from harmonia.core.card import Card
from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, locate, read_metadata, read_state_dict

HERE = Path(__file__).parent
EMBEDDED = HERE / "weights" / "moods.safetensors"
RELEASED_SEGMENT = 30.0

_LOSSES = re.compile(r"(loss_fn_classification(_eval)?|loss_fn_regression|loss_kd|trn_loss|val_loss)\.")
_HINTS = {
    "input_proj": "music_width or width",
    "classification_branch": "tags or hidden",
    "regression_branch": "hidden",
    "output_proj": "tags or hidden",
    "chord_transformer": "heads",
}


def load_network(
    source: str | Path = "embedded", *, sha256: str | None = None, trust_pickle: bool = False
) -> tuple[EmotionNetwork, dict[str, str]]:
    """A student network, and what its file says of the features that it wants.

    Arguments:
        source: ``embedded``, a local file such as J_all.ckpt, or ``hub:<owner>/<name>/<file>``.
        sha256: Expected checksum.
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Returns:
        The network, and ``features`` (``statistics`` or ``mert``) with ``segment``, the seconds of a segment.

    Raises:
        WeightsError: a missing or corrupt file, a teacher's weights, or the first key that does not fit.
    """
    path = locate(source, embedded=EMBEDDED, sha256=sha256, released=Card.load(HERE / "card.toml").weights)
    state = network_weights(read_state_dict(path, trust_pickle=trust_pickle))
    if any(key.startswith("output_proj.") for key in state):
        mend = "Pass a student, such as J_all.ckpt; load_teacher reads teachers."
        raise WeightsError("these are the weights of a teacher with one head", path.name, mend)
    told = read_metadata(path) if path.suffix == ".safetensors" else {}
    config = EmotionConfig.of(json.loads(told["config"])) if "config" in told else infer_config(state)
    with torch.device("meta"):
        network = EmotionNetwork(config)
    load_strictly(network, {key: value.float() for key, value in state.items()}, _HINTS)
    wants = {"features": "mert", "segment": str(RELEASED_SEGMENT)}
    return network.eval(), {key: told.get(key, value) for key, value in wants.items()}


def load_teacher(source: str | Path, *, trust_pickle: bool = False) -> TeacherNetwork:
    """A teacher of the release, for tags or for valence and arousal.

    Raises:
        WeightsError: not a teacher's weights, or the first key that does not fit.
    """
    state = network_weights(read_state_dict(locate(source), trust_pickle=trust_pickle))
    with torch.device("meta"):
        teacher = TeacherNetwork(infer_config(state), len(_of(state, "output_proj.2.bias")))
    load_strictly(teacher, state, _HINTS)
    return teacher.eval()


def packed(
    network: EmotionNetwork, features: MusicFeatures, segment: float
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file from which `load_network` reads the network back."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    kind = "statistics" if isinstance(features, SoundStatistics) else "mert"
    return tensors, {"config": network.config.to_json(), "features": kind, "segment": repr(segment)}


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors: without Lightning's prefix and without the weights of losses.

    Example:
        >>> list(network_weights({"model.output_proj.0.bias": torch.zeros(2), "loss_kd.x": torch.zeros(1)}))
        ['output_proj.0.bias']
    """
    return {key.removeprefix("model."): value for key, value in state.items() if not _LOSSES.match(key)}


def infer_config(state: Mapping[str, Tensor]) -> EmotionConfig:
    """The shape that tensors imply, with the release's tags and its eight attention heads.

    Raises:
        WeightsError: not the weights of such a network, or not of 56 tags, whose names nobody can know.
    """
    width, columns = _of(state, "input_proj.0.weight").shape
    head = "output_proj" if "output_proj.0.weight" in state else "classification_branch"
    hidden = len(_of(state, f"{head}.0.bias"))
    outputs = len(_of(state, f"{head}.2.bias"))
    if outputs not in (2, len(MOOD_TAGS)):
        raise WeightsError("the tags of these weights are not named", f"{outputs} outputs", "Keep their configuration.")
    return EmotionConfig(music_width=columns - 9, width=width, hidden=hidden, standardize="music_mean" in state)


def _of(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        mend = "Pass a checkpoint of Music2Emo, such as J_all.ckpt."
        raise WeightsError("these are not the weights of Music2Emo", f"no '{key}'", mend)
    return state[key]
