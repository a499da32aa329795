"""The one training loop: accelerate, mixed precision, gradient clipping, averaged weights, exact resume.

All randomness of step ``n`` is a function of ``(seed, n, process)``: the generator handed to ``draw`` and the default
generator that dropout uses are seeded anew in every step. A checkpoint therefore needs no state of a data loader, and
a run that was killed at any moment, even by ``kill -9``, ends with the same weights as one that was not: checkpoints
are written beside the old one and renamed.

The averaged weights follow ``e <- d e + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))``, so that short runs
are not held back by their random start.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import Cancelled, InputError, WeightsError, require
from harmonia.core.media import whole_file
from harmonia.core.progress import say, track
from harmonia.core.weights import load_strictly
from harmonia.parts.run_identity import RunIdentity, agree, another_run, fingerprint, tensors_in

Draw = Callable[[torch.Generator], Any]
Loss = Callable[[nn.Module, Any], Tensor]
Evaluate = Callable[[Any], Mapping[str, float | int]]
MakeOptimizers = Callable[[nn.Module], Sequence[torch.optim.Optimizer]]

M = TypeVar("M", bound=nn.Module)
_Tensors = tuple[Tensor, ...] | list[Tensor]

STATE = "state.pt"
LOG = "log.jsonl"

WITNESSES = 256
"""Batches of a run, spread evenly over its steps, by which a checkpoint tells whether it saw the same data."""


@dataclass(frozen=True)
class Plan:
    """What a training run does; two runs of one plan on one machine end with the same weights.

    Attributes:
        steps: Optimizer steps of the whole run, resumed parts included.
        learning_rate: Peak of the schedule: linear warm-up, then half a cosine down to `final` of the peak.
        warmup: Steps of the linear warm-up.
        final: Fraction of the peak at the last step.
        weight_decay: AdamW's decoupled decay.
        betas: AdamW's averaging of the gradient and of its square.
        clip_norm: Largest norm of the gradient; longer ones are scaled down.
        ema_decay: Decay of the averaged weights; 0 keeps none.
        precision: ``no`` (float32), ``bf16`` or ``fp16``.
        evaluate_every: Steps between two evaluations; 0 evaluates only at the end.
        checkpoint_every: Steps between two checkpoints.
        seed: Seed of everything random in the run.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 100
    final: float = 0.01
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    precision: Literal["no", "bf16", "fp16"] = "no"
    evaluate_every: int = 0
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("a training run needs at least one step", self.steps, "Give `steps` of 1 or more.")

    def rate(self, step: int) -> float:
        """The learning rate of a step, as a fraction of the peak.

        Example:
            >>> plan = Plan(steps=101, warmup=1, final=0.0)
            >>> [round(plan.rate(n), 3) for n in (0, 1, 51, 101)]
            [1.0, 1.0, 0.5, 0.0]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Trained(Generic[M]):
    """What a run gives back.

    Attributes:
        model: The averaged model (the model itself where the plan keeps no average), in evaluation mode.
        history: One record per evaluation: ``step``, ``loss`` (mean since the last one) and what `evaluate` returned.
        seconds: Time spent training, over all resumed parts.
    """

    model: M
    history: tuple[Mapping[str, float | int], ...]
    seconds: float


def train(
    model: M,
    draw: Draw,
    loss: Loss,
    plan: Plan,
    *,
    folder: Path | None = None,
    evaluate: Evaluate | None = None,
    make_optimizers: MakeOptimizers | None = None,
    device: str = "auto",
) -> Trained[M]:
    """Train a model in place, and resume by itself where `folder` holds the same run, unfinished.

    The same run has the same plan, starting weights, settings of network and optimizers, and draws the same batches, of
    which up to 256 are drawn again to see. A finished run is given back as it ended.

    Says what the run will cost before it starts. Stopping it (ctrl-C, the stop button of the web page) writes a
    checkpoint first. Under ``accelerate launch`` every process draws its own batches and gradients are averaged.

    Arguments:
        model: The network; moved to the device.
        draw: Gives one batch (tensors, or containers of them), random only through the generator it is handed.
        loss: ``loss(model, batch)``, the scalar to minimise.
        plan: Steps, rates, precision, seed.
        folder: Where checkpoints and ``log.jsonl`` go; None keeps nothing.
        evaluate: Called with the averaged model in evaluation mode, without gradients.
        make_optimizers: Builds the optimizers, whose groups' rates the schedule scales; one AdamW by default.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: a folder that holds another run; a loss that is not finite.

    Example:
        >>> def draw(generator):
        ...     x = torch.randn(32, 1, generator=generator)
        ...     return x, 3 * x
        >>> line = nn.Linear(1, 1)
        >>> plan = Plan(steps=300, learning_rate=0.1, ema_decay=0.9)
        >>> trained = train(line, draw, lambda model, xy: (model(xy[0]) - xy[1]).square().mean(), plan, device="cpu")
        >>> round(trained.model.weight.item(), 1)
        3.0
    """
    run = _Run(model, plan, make_optimizers or _adamw(plan), folder, device)
    run.resume(draw)
    if run.step < plan.steps:
        _announce(run, draw, loss)
    losses: list[float] = []
    try:
        for _ in track(range(run.step, plan.steps), "Training"):
            losses.append(run.advance(draw, loss))
            due = plan.evaluate_every and run.step % plan.evaluate_every == 0
            if due or run.step == plan.steps:
                run.record(sum(losses) / len(losses), evaluate)
                losses.clear()
            if run.step % plan.checkpoint_every == 0 or run.step == plan.steps:
                run.save()
    except (Cancelled, KeyboardInterrupt):
        run.save()
        raise
    return Trained(run.averaged().eval(), tuple(run.history), run.seconds)


class _Run(Generic[M]):
    """A run in progress: everything a checkpoint holds."""

    def __init__(self, model: M, plan: Plan, make_optimizers: MakeOptimizers, folder: Path | None, device: str) -> None:
        self.plan, self.folder = plan, folder
        self.accelerator = _accelerator(plan.precision, device)
        self.bare = model.to(self.accelerator.device).train()
        optimizers = list(make_optimizers(self.bare))
        self.identity = None if folder is None else RunIdentity.of(self.bare, dataclasses.asdict(plan), optimizers)
        self.stride = math.ceil(plan.steps / WITNESSES)
        self.witnesses: list[list[float]] = []
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        self.model, *self.optimizers = self.accelerator.prepare(self.bare, *optimizers)
        self.average = _average(self.bare, plan.ema_decay) if plan.ema_decay else None
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, float | int]] = []

    def averaged(self) -> M:
        return self.bare if self.average is None else cast(M, self.average.module)

    def advance(self, draw: Draw, loss: Loss) -> float:
        """One optimizer step; its loss."""
        start = time.perf_counter()
        self.bare.train()
        value = self.gradient(self.model, draw, loss)
        if not math.isfinite(value):
            raise InputError(
                f"the loss of step {self.step} is not a finite number",
                value,
                "Lower the learning rate or check the data.",
            )
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.plan.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.plan.rate(self.step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.bare)
        self.step += 1
        self.seconds += time.perf_counter() - start
        return value

    def gradient(self, model: nn.Module, draw: Draw, loss: Loss) -> float:
        """Add the gradient of this step's batch; all randomness comes from (seed, step, process)."""
        with self.randomness(self.step, self.accelerator.process_index) as generator:
            drawn = draw(generator)
            if self.folder is not None and len(self.witnesses) * self.stride == self.step:
                self.witnesses.append(fingerprint(tensors_in(drawn)))
            batch = _send(drawn, self.accelerator.device)
            with self.accelerator.autocast():
                value = loss(model, batch)
            self.accelerator.backward(value)
        return float(value.detach())

    @contextmanager
    def randomness(self, step: int, process: int) -> Iterator[torch.Generator]:
        """Everything random in a step of a process; the caller's generators are left alone."""
        seed = hash((self.plan.seed, step, process)) & (2**63 - 1)
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield torch.Generator().manual_seed(seed)

    def record(self, loss: float, evaluate: Evaluate | None) -> None:
        """Evaluate the averaged model and append the result to history and log."""
        model = self.averaged().eval()
        with torch.no_grad():
            measured = dict(evaluate(model)) if evaluate is not None else {}
        record = {"step": self.step, "seconds": round(self.seconds, 1), "loss": loss, **measured}
        self.history.append(record)
        say(
            ", ".join(f"{key} {value:.4g}" if key != "step" else f"Step {value:.0f}" for key, value in record.items())
            + "."
        )
        if self.folder is not None and self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in self.history))

    def save(self) -> None:
        if self.folder is None or self.identity is None or not self.accelerator.is_main_process:
            return
        state = {
            "run": dataclasses.asdict(self.identity),
            "witnesses": self.witnesses,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.bare.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        with whole_file(self.folder / STATE) as temporary:
            torch.save(state, temporary)

    def resume(self, draw: Draw) -> None:
        if self.folder is None or self.identity is None or not (self.folder / STATE).exists():
            return
        path = self.folder / STATE
        try:
            state = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        except Exception as error:
            raise WeightsError("the checkpoint cannot be read", path, "Delete it to start afresh.") from error
        self.identity.refuse_other(state.get("run", {}), path)
        self.witnesses = state["witnesses"]
        for number, kept in enumerate(track(self.witnesses, "Checking the data")):
            # A checkpoint is that of the first process.
            with self.randomness(number * self.stride, 0) as generator:
                if not agree(fingerprint(tensors_in(draw(generator))), kept):
                    raise another_run("other data", f"another batch in step {number * self.stride}", path)
        load_strictly(self.bare, state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        say(f"Resuming at step {self.step:,} of {self.plan.steps:,}.")


def _adamw(plan: Plan) -> MakeOptimizers:
    def make(model: nn.Module) -> list[torch.optim.Optimizer]:
        trainable = [p for p in model.parameters() if p.requires_grad]
        return [torch.optim.AdamW(trainable, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay)]

    return make


def _average(model: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    @torch.no_grad()
    def update(averages: _Tensors, weights: _Tensors, count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averages, weights, 1 - now)

    return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=update)


def check_training(batch_size: Any, learning_rate: Any, weight_decay: Any) -> None:
    """Check what estimators that train take.

    Raises:
        InputError: a batch without sequences, a rate that is not positive, a negative decay.
    """
    check_whole("batch_size", batch_size)
    check_number("learning_rate", learning_rate, above=0)
    check_number("weight_decay", weight_decay, least=0)


def device_of(name: str) -> torch.device:
    """The device of ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.

    Raises:
        InputError: another name, or no CUDA device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("an unknown device", name, "Use auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device", "device='cuda'", "Use device='auto' or 'cpu'.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _accelerator(precision: str, device: str) -> Any:
    accelerate = require("accelerate", extra="audio")
    state = require("accelerate.state", extra="audio")
    # accelerate keeps one process-wide state; a second run may want another precision or device.
    alone = state.PartialState().num_processes == 1
    state.AcceleratorState._reset_state(reset_partial_state=alone)
    device_of(device)
    return accelerate.Accelerator(cpu=device == "cpu", mixed_precision=precision)


def _send(batch: Any, device: torch.device) -> Any:
    return require("accelerate.utils", extra="audio").send_to_device(batch, device)


def _announce(run: _Run[Any], draw: Draw, loss: Loss) -> None:
    """Time one step on a copy of the model, so that the run itself is not touched, and say what the rest will cost."""
    trial = copy.deepcopy(run.bare)
    seconds = math.inf
    for _ in range(2):
        start = time.perf_counter()
        run.gradient(trial, draw, loss)
        seconds = min(seconds, time.perf_counter() - start)
    left = run.plan.steps - run.step
    size = sum(p.numel() for p in run.bare.parameters() if p.requires_grad)
    say(
        f"Training {size:,} parameters for {left:,} steps at about {seconds:.2g} s each: "
        f"about {_spoken(left * seconds)} on {run.accelerator.device}."
    )


def _spoken(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> _spoken(12.3), _spoken(500.0), _spoken(9000.0)
        ('12 s', '8 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
