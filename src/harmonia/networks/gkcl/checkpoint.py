"""Networks under the names of the official code of kernel continual learning.

That code saves its network after every task as ``model-<trial>-<time>.pth``: the backbone and both inference networks,
without the phases of the random features and the numbers that tasks learn. No such file has been released.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, locate, read_state_dict
from harmonia.networks.gkcl.backbones import MLP, SlimResNet
from harmonia.networks.gkcl.variational import VariationalBases

_NAMES = (
    (re.compile(r"^W1\."), "first."),
    (re.compile(r"^W2\."), "second."),
    (re.compile(r"^layer([1-4])\."), lambda found: f"stages.{int(found[1]) - 1}."),
    (re.compile(r"\.IC([12])\."), r".ic\1."),
    (re.compile(r"^post\."), "posterior."),
    (re.compile(r"^(posterior|prior)\.weight_(mean|log_variance)\.module\."), r"\1.\2."),
)


class Pretrained(NamedTuple):
    """A backbone and its random features, as `KernelContinualClassifier` takes them: ``backbone=``, ``kernel=``."""

    backbone: MLP | SlimResNet
    bases: VariationalBases


def load_official(
    source: str | Path, *, bases: int = 1024, seed: int = 0, sha256: str | None = None, trust_pickle: bool = False
) -> Pretrained:
    """The networks of a file that the official code saved; every key and shape must agree.

    They compute what they did there: features of the perceptron are rescaled by the batch, blocks of residual networks
    have one convolution.

    Arguments:
        source: A file, or ``hub:<owner>/<name>/<file>``.
        bases: Random features; any number, since one distribution draws all frequencies.
        seed: Of their phases, which are not in the file.
        sha256: Expected checksum.
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Raises:
        WeightsError: a missing or corrupt file, another checksum, or the first key that does not fit.
    """
    state = read_state_dict(locate(source, sha256=sha256), trust_pickle=trust_pickle)
    return from_tensors(state, bases, torch.Generator().manual_seed(seed))


def from_tensors(state: Mapping[str, Tensor], bases: int, generator: torch.Generator) -> Pretrained:
    """The same from named tensors; see `load_official`.

    Example:
        >>> from_tensors({"fc.weight": torch.ones(1)}, 16, torch.Generator())
        Traceback (most recent call last):
        ...
        harmonia.core.errors.WeightsError: these are not the weights of a backbone (got fc.weight). Check the file.
    """
    renamed = {_renamed(key): value.float() if value.is_floating_point() else value for key, value in state.items()}
    inferred = {key: value for key, value in renamed.items() if key.startswith(("posterior.", "prior."))}
    try:
        backbone = _backbone(renamed)
    except (KeyError, ValueError) as error:
        got = ", ".join(list(state)[:3])
        raise WeightsError("these are not the weights of a backbone", got, "Check the file.") from error
    load_strictly(backbone, {key: value for key, value in renamed.items() if key not in inferred})
    features = VariationalBases(backbone.features, bases, generator)
    load_strictly(features, inferred | dict(features.named_buffers()))
    return Pretrained(backbone.eval(), features.eval())


def _renamed(key: str) -> str:
    for pattern, name in _NAMES:
        key = pattern.sub(name, key)
    return key


def _backbone(state: Mapping[str, Tensor]) -> MLP | SlimResNet:
    """The network of these shapes, still with other weights."""
    if "first.weight" in state:
        hidden, inputs = state["first.weight"].shape
        return MLP(inputs, hidden, len(state["second.weight"]), normalise="minmax")
    width, channels, stem, _ = state["conv1.weight"].shape
    widths = [len(state[f"stages.{i}.0.conv1.weight"]) for i in range(4)]
    # A stage has a shortcut of its own where it strides; of both official stems the larger one does.
    strides = [1 + (f"stages.{i}.0.shortcut.0.weight" in state) for i in range(4)]
    return SlimResNet(channels, (width, *widths), (1 + (stem == 7), *strides), stem, compat="kcl")
