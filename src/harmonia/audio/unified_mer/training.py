"""Training on several data sets with different labels at once, with or without a teacher for each (Sec. 3.3).

Every step takes a batch of each set; shorter sets recur. All batches go through the network together; each set's loss
is taken at the head that its labels belong to, and the losses are added:

    L = sum_sets [ (1 - w) task(set) + w distance(student, teacher of the set) ],    w = 0.8, or 0 without teachers
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.unified_mer.datasets import EmotionDataset
from harmonia.audio.unified_mer.features import FeatureTable
from harmonia.audio.unified_mer.losses import KD_WEIGHT, Distillation, distillation_loss, tag_loss, tag_weights
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork, TeacherNetwork
from harmonia.core.errors import InputError
from harmonia.core.weights import load_strictly, read_metadata, read_state_dict, write_safetensors
from harmonia.parts.training import Plan, Trained, train

M = TypeVar("M", EmotionNetwork, TeacherNetwork)
BEST = "best.safetensors"


def train_student(
    sets: Sequence[EmotionDataset],
    config: EmotionConfig,
    plan: Plan,
    *,
    validation: Sequence[EmotionDataset] = (),
    kd: Distillation | None = None,
    teachers: Mapping[str, TeacherNetwork] | None = None,
    batch: int = 16,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[EmotionNetwork]:
    """Train one network on all sets.

    Arguments:
        sets: With features; their names are distinct.
        config: Shape of the network.
        plan: Steps, rates, seed.
        validation: Sets on whose loss the best moment of the run is chosen; the last one without them.
        kd: How the student learns from teachers; None for labels alone.
        teachers: One for each set by name; trained here where they are needed and not given.
        batch: Songs of each set in a step.
        folder: Where checkpoints go; an unfinished run of the same plan is resumed.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: sets without features, of other widths or tags than the network, or of the same name.
    """
    _check(sets, config)
    network = _seeded(lambda: EmotionNetwork(config), plan.seed)
    _prepare(network, network.regression_branch, sets)
    if kd is not None:
        if not teachers:
            teachers = {}
            for each in sets:
                own = [other for other in validation if other.name == each.name]
                teachers[each.name] = train_teacher(
                    each, config, plan, validation=own, batch=batch, device=device
                ).model
        lacking = [each.name for each in sets if each.name not in teachers]
        if lacking:
            raise InputError("a set has no teacher", ", ".join(lacking), "Give one for each set, or none at all.")
    run = _Run(sets, kd, teachers or {}, batch)
    return _trained(network, run, validation, plan, folder, device)


def train_teacher(
    one: EmotionDataset,
    config: EmotionConfig,
    plan: Plan,
    *,
    validation: Sequence[EmotionDataset] = (),
    batch: int = 16,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[TeacherNetwork]:
    """Train a network with one head on one set: a teacher, and the rival that joint training must beat."""
    _check([one], config)
    network = _seeded(lambda: TeacherNetwork(config, one.labels.shape[1]), plan.seed)
    _prepare(network, network.output_proj, [one])
    return _trained(network, _Run([one], None, {}, batch), validation, plan, folder, device)


class _Run:
    """What one run draws and how it is judged."""

    def __init__(
        self,
        sets: Sequence[EmotionDataset],
        kd: Distillation | None,
        teachers: Mapping[str, TeacherNetwork],
        batch: int,
    ) -> None:
        self.sets, self.kd, self.batch = sets, kd, batch
        self.teachers = {name: teacher.eval() for name, teacher in teachers.items()}
        self.weights = {each.name: tag_weights(torch.from_numpy(each.labels)) for each in sets if each.kind == "tags"}

    def draw(self, generator: torch.Generator) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        inputs, labels = [], []
        for each in self.sets:
            rows = torch.randint(len(each), (self.batch,), generator=generator).numpy()
            inputs.append(_table(each).augmented(rows, generator))
            labels.append(torch.from_numpy(each.labels[rows]))
        return tuple(torch.cat(columns) for columns in zip(*inputs, strict=True)), labels

    def loss(self, network: nn.Module, drawn: tuple[tuple[Tensor, ...], list[Tensor]]) -> Tensor:
        inputs, labels = drawn
        outputs = network(*inputs)
        total = torch.zeros((), device=labels[0].device)
        for number, (each, target) in enumerate(zip(self.sets, labels, strict=True)):
            part = slice(number * self.batch, (number + 1) * self.batch)
            found = _head(outputs, each)[part]
            task = self.task(each, found, target)
            if self.kd is None:
                total = total + task
                continue
            with torch.no_grad():
                taught = self.teachers[each.name].to(target.device)(*(column[part] for column in inputs))
            distance = distillation_loss(found, taught, each.kind, self.kd)
            total = total + KD_WEIGHT * distance + (1 - KD_WEIGHT) * task
        return total

    def task(self, each: EmotionDataset, found: Tensor, target: Tensor) -> Tensor:
        if each.kind == "va":
            return F.mse_loss(found, target)
        positive, weight = (row.to(target.device) for row in self.weights[each.name])
        return tag_loss(found, target, (positive, weight))


class _Best:
    """The averaged weights at the lowest validation loss; kept on disk too, so that a resumed run knows them.

    Squared points and cross-entropies have different units, so each set's loss counts relative to that of saying the
    same of every song. (The release keeps two checkpoints instead, one for tags and one for ratings.)
    """

    def __init__(self, run: _Run, validation: Sequence[EmotionDataset], folder: Path | None) -> None:
        self.run, self.validation = run, validation
        self.path = None if folder is None else folder / BEST
        self.lowest, self.state = float("inf"), None
        if self.path is not None and self.path.is_file():
            self.state, self.lowest = read_state_dict(self.path), float(read_metadata(self.path)["loss"])

    def __call__(self, network: Any) -> dict[str, float]:
        device = next(network.parameters()).device
        losses, total = {}, 0.0
        for each in self.validation:
            outputs = network(*(column.to(device) for column in _table(each).inputs()))
            target = torch.from_numpy(each.labels).to(device)
            same = target.mean(0).expand_as(target) if each.kind == "va" else torch.zeros_like(target)
            found, constant = (float(self.run.task(each, said, target)) for said in (_head(outputs, each), same))
            losses[f"validation_{each.name}"] = found
            total += found / max(constant, 1e-9)
        if self.validation and total < self.lowest:
            self.lowest = total
            self.state = {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
            if self.path is not None:
                write_safetensors(self.path, self.state, {"loss": repr(total)})
        return losses


def _trained(
    network: M, run: _Run, validation: Sequence[EmotionDataset], plan: Plan, folder: Path | None, device: str
) -> Trained[M]:
    best = _Best(run, validation, folder)

    def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(model.parameters(), lr=plan.learning_rate, betas=plan.betas)]

    trained = train(
        network, run.draw, run.loss, plan, folder=folder, evaluate=best, make_optimizers=optimizers, device=device
    )
    if best.state is None:
        return trained
    model = copy.deepcopy(trained.model)
    load_strictly(model, best.state)
    return Trained(model, trained.history, trained.seconds)


def _prepare(network: Any, emotions: nn.Sequential, sets: Sequence[EmotionDataset]) -> None:
    """Start at what is known: the moments of the features, the mean of the ratings.

    Official training starts from random biases; with ratings around 5 that costs the first epochs.
    """
    rated = [torch.from_numpy(each.labels) for each in sets if each.kind == "va"]
    with torch.no_grad():
        if rated:
            emotions[-1].bias.copy_(torch.cat(rated).mean(0))  # type: ignore[operator]
        if network.config.standardize:
            music = torch.cat([torch.from_numpy(_table(each).music) for each in sets]).double()
            deviation = music.std(0, correction=0)
            network.music_mean.copy_(music.mean(0))
            network.music_scale.copy_(torch.where(deviation > 1e-8, deviation, 1.0))


def _head(outputs: Any, each: EmotionDataset) -> Tensor:
    if isinstance(outputs, Tensor):
        return outputs
    return outputs[0 if each.kind == "tags" else 1]


def _table(each: EmotionDataset) -> FeatureTable:
    assert each.table is not None, "checked when training begins"
    return each.table


def _check(sets: Sequence[EmotionDataset], config: EmotionConfig) -> None:
    if not sets:
        raise InputError("there is nothing to learn from", "no data sets", "Pass at least one.")
    names = [each.name for each in sets]
    if len(set(names)) < len(names):
        raise InputError("data sets have names of their own", ", ".join(names), "Rename one of them.")
    for each in sets:
        if each.table is None:
            raise InputError(f"the songs of '{each.name}' were not listened to", "no features", "Call listen first.")
        if each.table.segments.shape[1] != config.music_width:
            got = f"{each.table.segments.shape[1]} beside {config.music_width}"
            raise InputError(f"the features of '{each.name}' have another width", got, "Listen with one description.")
        if each.kind == "tags" and each.tags != config.tags:
            got = f"{len(each.tags)} tags beside {len(config.tags)}"
            raise InputError(f"'{each.name}' has other tags than the network", got, "Use one vocabulary.")


def _seeded(make: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
