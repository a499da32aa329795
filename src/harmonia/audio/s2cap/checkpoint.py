"""The from-scratch captioner as one file: half precision, configuration, tokenizer, and how it was made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harmonia.audio.s2cap.network import Captioner
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.core.errors import WeightsError
from harmonia.core.weights import Checkpoint, load_strictly, read_metadata, read_state_dict

EMBEDDED = Path(__file__).parent / "weights" / "captioner.safetensors"


def save_captioner(network: Captioner, tokenizer: Tokenizer, made: Mapping[str, Any]) -> Checkpoint:
    """What `load_captioner` reads.

    Arguments:
        network: A captioner of the from-scratch profile.
        tokenizer: Its tokenizer.
        made: How it was made.
    """
    assert isinstance(network.encoder, LogMelEncoder)
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    tensors = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    config = dataclasses.asdict(network.encoder.config)
    texts = {"config": config, "merges": tokenizer.merges, "made": dict(made)}
    return Checkpoint(tensors, {name: json.dumps(value) for name, value in texts.items()})


def load_captioner(path: Path) -> tuple[Captioner, Tokenizer]:
    """A from-scratch captioner and its tokenizer from a file made by `SingingStyleCaptioner.checkpoint`.

    Raises:
        WeightsError: another kind of file, or keys that are missing, unexpected or of another shape.
    """
    state = read_state_dict(path)
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if not {"config", "merges"} <= set(metadata):
        raise WeightsError("these are no captioner's weights", path.name, "Pass a file made by the job train.")
    config = SmallConfig(**json.loads(metadata["config"]))
    network = Captioner(LogMelEncoder(config), SmallDecoder(config))
    load_strictly(network, {name: value.float() for name, value in state.items()})
    return network.eval(), Tokenizer(json.loads(metadata["merges"]))
