"""What tells one training run from another: where the network starts, how it is built and stepped, what it is shown.

Tensors are compared by fingerprints, to five digits: another number of threads changes last digits of what was computed
before training, and makes no other run.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError, require

_PLAIN = (bool, int, float, str, tuple)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_OTHER = {"plan": "another plan", "network": "another network", "optimizers": "other optimizers"}


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint and the run that resumes it have in common, beside the data.

    Attributes:
        plan: Steps, rates, seed.
        network: Numbers, words and configurations that its modules hold beside their tensors.
        optimizers: Rates, decays and sizes of their groups.
        weights: Fingerprint of the starting weights.
    """

    plan: list[str]
    network: list[str]
    optimizers: list[str]
    weights: list[float]

    @classmethod
    def of(cls, model: nn.Module, plan: Mapping[str, Any], optimizers: Iterable[torch.optim.Optimizer]) -> RunIdentity:
        """That of a run that has not begun."""
        return cls(
            plan=[f"{name}={value}" for name, value in plan.items()],
            network=_settings(model),
            optimizers=[
                f"{len(group['params'])} tensors, "
                + ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
                for optimizer in optimizers
                for group in optimizer.param_groups
            ],
            weights=fingerprint(model.state_dict().values()),
        )

    def refuse_other(self, kept: Mapping[str, Any], path: Path) -> None:
        """Check what a checkpoint kept.

        Raises:
            InputError: that of another run; it says in what the two differ.
        """
        for name, other in _OTHER.items():
            ours, theirs = getattr(self, name), kept.get(name, [])
            if ours != theirs:
                raise another_run(other, next((each for each in theirs if each not in ours), "fewer options"), path)
        if not agree(self.weights, kept["weights"]):
            raise another_run("other starting weights", "another fingerprint", path)


def another_run(what: str, got: str, path: Path) -> InputError:
    """The error for a checkpoint that is not of this run."""
    return InputError(f"the folder holds a run of {what}", got, f"Choose another folder, or delete {path}.")


def fingerprint(tensors: Iterable[Tensor]) -> list[float]:
    """The logarithm of the norm, and the share along one fixed vector, of each tensor.

    Example:
        >>> [round(each, 3) for each in fingerprint([torch.tensor([3.0, 4.0])])]
        [1.609, 1.032]
    """
    return [number for each in tensors for number in _two_numbers(each)]


def _two_numbers(tensor: Tensor) -> tuple[float, float]:
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    values = plain.detach().cpu().double().flatten()
    norm = float(values.norm())
    if not norm:
        return 0.0, float(len(values))
    return math.log(norm), float(values @ torch.arange(len(values), dtype=torch.float64).cos()) / norm


def agree(found: Sequence[float], kept: Sequence[float]) -> bool:
    """Whether two fingerprints are those of the same tensors."""
    return len(found) == len(kept) and all(abs(a - b) <= 1e-5 for a, b in zip(found, kept))


def tensors_in(batch: Any) -> list[Tensor]:
    """The tensors of a batch, whatever containers they are in."""
    found: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    require("accelerate.utils", extra="audio").recursively_apply(collect, batch)
    return found


def _settings(model: nn.Module) -> list[str]:
    """What the modules of a network hold beside their tensors.

    Example:
        >>> _settings(nn.Dropout(0.2))
        ['.inplace=False', '.p=0.2']
    """
    return sorted(
        f"{place}.{name}={_ADDRESS.sub('', repr(value))}"
        for place, module in model.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training"
        if isinstance(value, _PLAIN) or dataclasses.is_dataclass(value)
    )
