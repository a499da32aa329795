"""A fitted network as one file: weights, configuration, and what else is needed to use it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

from harmonia.core.errors import WeightsError
from harmonia.core.weights import Checkpoint, load_strictly, read_metadata, read_state_dict

Plain = bool | int | float | str | None
N = TypeVar("N", bound=nn.Module)

_ASIDE = "aside."
"""Before the names of tensors that are not the network's."""


def pack(
    method: str,
    estimator: str,
    model: nn.Module,
    described: Mapping[str, Any],
    aside: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """A fitted network as one medium.

    Arguments:
        method: Name under which the file describes itself.
        estimator: Name of the class.
        model: The network; its ``config`` is a dataclass.
        described: What else belongs to it, as JSON can hold it.
        aside: Tensors that are not the network's.
    """
    tensors = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    tensors |= {_ASIDE + key: value for key, value in (aside or {}).items()}
    config: Any = model.config
    whole = {"estimator": estimator, "config": dataclasses.asdict(config), **described}
    # The default is for numbers of numpy.
    return Checkpoint(tensors, {method: json.dumps(whole, default=lambda number: number.item())})


def unpack(
    path: str | Path,
    method: str,
    estimator: str,
    build: Callable[[Mapping[str, Any]], N],
    mend: str = "Give a file that `save` wrote.",
) -> tuple[N, dict[str, Any], dict[str, Tensor]]:
    """What `pack` made, from a file: the network, what was described, and the tensors aside.

    Arguments:
        path: The file.
        method: As it was packed.
        estimator: Class that is to be loaded.
        build: The network of a configuration's fields.
        mend: What to do with another file.

    Raises:
        WeightsError: another file, that of another estimator, or weights that do not fit.
    """
    state = read_state_dict(path)
    try:
        described = json.loads(read_metadata(path)[method])
        model = build(described["config"])
    except Exception as error:
        raise WeightsError(f"{Path(path).name} holds no estimator", type(error).__name__, mend) from error
    if described["estimator"] != estimator:
        raise WeightsError(f"this is no {estimator}", described["estimator"], "Load it with its own class.")
    aside = {key.removeprefix(_ASIDE): state.pop(key) for key in list(state) if key.startswith(_ASIDE)}
    load_strictly(model, {key: value.float() for key, value in state.items()})
    return model.eval(), described, aside


def plain(options: Mapping[str, Any]) -> dict[str, Plain]:
    """Those options that a file can hold: a generator that stands for a seed is left out, numbers lose numpy's types.

    Example:
        >>> plain({"steps": np.int64(3), "random_state": np.random.RandomState(0), "init": "lin"})
        {'steps': 3, 'init': 'lin'}
    """
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    given |= {name: str(value) for name, value in given.items() if isinstance(value, Path)}
    return {name: value for name, value in given.items() if isinstance(value, Plain)}
