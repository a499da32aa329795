"""Weights with the prior they were trained on, and the layout of the parent project's releases."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from harmonia.core.errors import WeightsError
from harmonia.core.weights import Checkpoint, load_strictly, locate, read_metadata, read_state_dict
from harmonia.networks.icl_uq.network import InContextConfig, InContextTransformer
from harmonia.networks.icl_uq.prior import TaskPrior
from harmonia.parts.gpt import from_gpt2

WEIGHTS = Path(__file__).parent / "weights"
EMBEDDED = {"tables": WEIGHTS / "tables.safetensors", "linear": WEIGHTS / "linear.safetensors"}
"""`tables`: four inputs, for tables; `linear`: the paper's prior with two inputs."""

_PUBLIC = re.compile(r"^_(read_in|backbone|read_out)\.")
_TABLE = "backbone.wpe.weight"
_HINTS = {"read_in": "dim or d_model", "read_out": "n_out", "wpe": "positions or context", "backbone.h": "n_layers"}


class Pretrained(NamedTuple):
    """A network and the prior it was trained on; None where the file does not say."""

    model: InContextTransformer
    prior: TaskPrior | None


def load_checkpoint(
    source: str | Path = "embedded",
    *,
    heads: int | None = None,
    positions: Literal["none", "learned"] | None = None,
    sha256: str | None = None,
    trust_pickle: bool = False,
) -> Pretrained:
    """A network with the weights of a file; every key and shape must agree.

    Ours carry their configuration and prior. Files of dtsip/in-context-learning (``model_<step>.pt``, or ``state.pt``
    with its ``model_state_dict``) and of TurquoiseKitty/ICL_UQ have the keys ``_read_in``, ``_backbone`` and
    ``_read_out``. Inputs, width, layers and outputs follow from their shapes; heads do not, nor whether a table of
    positions was in use. Tokens are taken as ``split``; a network without a table as trained on 101 pairs; and our
    1e-4 is added to deviations.

    Arguments:
        source: ``embedded`` (that for tables), ``embedded:linear`` (the paper's prior), a file, or
            ``hub:<owner>/<name>/<file>``.
        heads: Attention heads, of files that do not say; a head of width 32 (the official choice) unless given.
        positions: Of files that do not say: ``none`` leaves their table out, as TurquoiseKitty/ICL_UQ does by default
            (its GPT-2 keeps one and suppresses it in the call); ``learned`` where there is a table unless given.
        sha256: Expected checksum.
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Raises:
        WeightsError: a missing or corrupt file, another checksum, or the first key that does not fit.
    """
    name, _, which = str(source).partition(":")
    if name == "embedded":
        if (which or "tables") not in EMBEDDED:
            raise WeightsError("there are no such embedded weights", source, f"Use one of: {', '.join(EMBEDDED)}.")
        source = "embedded"
    path = locate(source, embedded=EMBEDDED[which or "tables"] if source == "embedded" else None, sha256=sha256)
    state = read_state_dict(path, trust_pickle=trust_pickle)
    told = read_metadata(path) if path.suffix == ".safetensors" else {}
    return from_tensors(state, told, heads, positions)


def from_tensors(
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    heads: int | None = None,
    positions: Literal["none", "learned"] | None = None,
) -> Pretrained:
    """A network from named tensors and the metadata beside them, see `load_checkpoint`."""
    if any(_PUBLIC.match(key) for key in state):
        state = _ours(state)
    try:
        if "config" in metadata:
            config = InContextConfig.of(json.loads(metadata["config"]))
        else:
            config = infer(state, heads, positions)
            if config.positions == "none":
                state = {key: value for key, value in state.items() if key != _TABLE}
        prior = prior_of(json.loads(metadata["prior"])) if "prior" in metadata else None
    except (TypeError, json.JSONDecodeError) as error:
        raise WeightsError("the file's metadata cannot be read", error, "Fetch it again.") from error
    model = InContextTransformer(config)
    load_strictly(model, {key: value.float() for key, value in state.items()}, _HINTS)
    return Pretrained(model.eval(), prior)


def _ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the official ones; words' embeddings and stored masks fall away."""
    renamed = {_PUBLIC.sub(r"\1.", key): value for key, value in state.items()}
    backbone = {key.removeprefix("backbone."): value for key, value in renamed.items() if key.startswith("backbone.")}
    rest = {key: value for key, value in renamed.items() if not key.startswith("backbone.")}
    return rest | {f"backbone.{key}": value for key, value in from_gpt2(backbone).items()}


def infer(
    state: Mapping[str, Tensor], heads: int | None = None, positions: Literal["none", "learned"] | None = None
) -> InContextConfig:
    """The configuration that tensors' shapes imply, with what they do not say from the caller.

    Raises:
        WeightsError: they are not those of such a network.
    """
    try:
        width, dim = state["read_in.weight"].shape
        table = state.get(_TABLE)
        return InContextConfig(
            dim=dim,
            context=len(table) // 2 if table is not None else InContextConfig.context,
            d_model=width,
            n_layers=1 + max(int(key.split(".")[2]) for key in state if key.startswith("backbone.h.")),
            n_heads=heads or max(1, width // 32),
            positions=positions or ("none" if table is None else "learned"),
            n_out=len(state["read_out.weight"]),
        )
    except (KeyError, ValueError) as error:
        got = ", ".join(list(state)[:3])
        raise WeightsError("these are not the weights of an in-context regressor", got, "Check the file.") from error


def prior_of(told: Mapping[str, Any]) -> TaskPrior:
    """A prior from its fields, as they are read from JSON."""
    covariates = told.get("covariates", "normal")
    if not isinstance(covariates, str):
        covariates = tuple(tuple(row) for row in covariates)
    return TaskPrior(**{**told, "covariates": covariates})


def checkpoint(model: InContextTransformer, prior: TaskPrior, made: Mapping[str, Any]) -> Checkpoint:
    """Weights to keep: matrices in half precision, with configuration, prior and how they came about."""
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    told = {"config": asdict(model.config), "prior": asdict(prior), "made": dict(made)}
    return Checkpoint(tensors, {key: json.dumps(value) for key, value in told.items()})
