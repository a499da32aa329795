"""A fitted classifier as one medium: named tensors and a description in JSON, so that reading it runs nothing.

The tensors are those of the networks (``backbone.*``, ``bases.*``), of the memory (``memory.*``, see
`SupportMemory.tensors`) and of each task's regression (``tasks.<number>.*``). No row is among them that the memory does
not keep.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import Checkpoint, load_strictly, read_metadata, read_state_dict
from harmonia.networks.gkcl.class_gaussians import GaussiansConfig
from harmonia.networks.gkcl.head import TaskHead
from harmonia.networks.gkcl.learner import Learner, LearntTask
from harmonia.networks.gkcl.recipe import Recipe
from harmonia.networks.gkcl.vae import VAEConfig
from harmonia.parts.gram import NormalEquations
from harmonia.parts.sequences import listed_classes

if TYPE_CHECKING:
    from harmonia.networks.gkcl.classifier import KernelContinualClassifier

_CONFIGS = {"generator": VAEConfig, "gaussians": GaussiansConfig}
_OBJECTS = ("backbone", "kernel")
_SUMS = ("gram", "cross", "sum", "target_sum", "energy")


def pack(model: KernelContinualClassifier) -> Checkpoint:
    """A fitted classifier.

    Raises:
        InputError: tasks or classes that are neither words nor numbers.
    """
    learner, given = model.learner_, model.get_params(deep=False)
    objects = [name for name in _OBJECTS if given[name] is not None and not isinstance(given[name], str)]
    plain = {name: value for name, value in given.items() if name not in (*objects, "generator", "random_state")}
    described = {
        "estimator": type(model).__name__,
        "objects": objects,
        "parameters": plain,
        "generator": None if model.generator is None else dataclasses.asdict(model.generator),
        "random_state": model.random_state if isinstance(model.random_state, (int, np.integer)) else None,
        "shape": model.shape_,
        "features": model.n_features_in_,
        "names": list(getattr(model, "feature_names_in_", [])),
        "seed": learner.seed,
        "tasks": [_described(task_id, task) for task_id, task in learner.tasks.items()],
    }
    tensors: dict[str, Tensor] = {}
    for part, network in _networks(learner).items():
        tensors |= {f"{part}.{key}": value for key, value in network.state_dict().items()}
    if learner.memory is not None:
        tensors |= {f"memory.{key}": value for key, value in learner.memory.tensors().items()}
    for i, task in enumerate(learner.tasks.values()):
        tensors |= {f"tasks.{i}.{key}": value for key, value in task.head.state_dict().items()}
        if task.statistics is not None:
            tensors |= {f"tasks.{i}.{name}": getattr(task.statistics, name) for name in _SUMS}
    kept = {key: value.detach().cpu().clone() for key, value in tensors.items()}
    return Checkpoint(kept, {"gkcl": json.dumps(described, default=lambda number: number.item())})


def unpack(model_class: type[KernelContinualClassifier], path: str | Path, given: Mapping[str, Any]) -> Any:
    """The classifier of a file, some of whose parameters are given anew.

    Raises:
        InputError: a backbone or kernel that has to be given, or parameters that do not go together.
        WeightsError: another file, that of another estimator, or weights that do not fit.
    """
    state = read_state_dict(path)
    try:
        described = json.loads(read_metadata(path)["gkcl"])
        wanted, name, memory = described["objects"], described["estimator"], described["parameters"]["memory"]
    except Exception as error:
        mend = "Give a file that `save` wrote; official weights go through load_official."
        raise WeightsError(f"{Path(path).name} holds no classifier", type(error).__name__, mend) from error
    if name != model_class.__name__:
        raise WeightsError(f"this is no {model_class.__name__}", name, "Load it with its own class.")
    missing = [each for each in wanted if each not in given]
    if missing:
        mend = f"Pass one like that of the saved classifier: load(path, {missing[0]}=...)."
        raise InputError(f"the {missing[0]} was an object, which a file does not hold", "none", mend)
    config = None if described["generator"] is None else _CONFIGS[memory](**described["generator"])
    own = {**described["parameters"], "generator": config, "random_state": described["random_state"]}
    model = model_class(**{**own, **given})
    shape = tuple(described["shape"])
    learner = Learner(Recipe(**model.get_params(deep=False)), torch.zeros(2, *shape), described["seed"])
    for part, network in _networks(learner).items():
        load_strictly(network, _below(state, part))
        network.eval()
    try:
        if learner.memory is not None:
            learner.memory.restore([task["id"] for task in described["tasks"]], _below(state, "memory"))
        for i, task in enumerate(described["tasks"]):
            learner.tasks[task["id"]] = _task(task, _below(state, f"tasks.{i}"), learner.device)
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsError(f"{Path(path).name} does not fit its description", error, "Save it again.") from error
    model.learner_, model.shape_, model._fits = learner, shape, {}
    model.n_features_in_ = described["features"]
    if described["names"]:
        model.feature_names_in_ = np.array(described["names"], dtype=object)
    return model


def _networks(learner: Learner) -> dict[str, nn.Module]:
    named = {"backbone": learner.backbone, "bases": learner.bases}
    return {part: network for part, network in named.items() if network is not None}


def _described(task_id: Hashable, task: LearntTask) -> dict[str, Any]:
    plain = task_id.item() if isinstance(task_id, np.generic) else task_id
    if not isinstance(plain, (str, int, float)):
        raise InputError("tasks are stored under words or numbers", repr(task_id), "Name them so.")
    count = None if task.statistics is None else task.statistics.count
    return {"id": plain, "classes": listed_classes(task.classes), "count": count}


def _task(described: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> LearntTask:
    head = TaskHead()
    head.load_state_dict({key: tensors[key] for key in head.state_dict()})
    sums = None
    if described["count"] is not None:
        sums = NormalEquations(**{name: tensors[name] for name in _SUMS}, count=described["count"])
    return LearntTask(np.array(described["classes"]), head.to(device), sums)


def _below(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
