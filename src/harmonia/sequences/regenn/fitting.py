"""Fit a network to windows: choose scale and linear rule to begin from, train, keep the best moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from harmonia.core.checks import check_number, check_whole
from harmonia.parts.training import Plan, train
from harmonia.sequences.regenn.network import ReGENN
from harmonia.sequences.regenn.scaling import Scaler, Scaling, Yardstick
from harmonia.sequences.regenn.start import LinearRule, drift, last_value, ridge
from harmonia.sequences.regenn.windows import Batch, PanelWindows

RULES = ("the last value", "the line", "one ridge", "a ridge for each variable")
"""What a network may begin from."""


def rule_of(name: str, scaler: Scaler, learn: Batch) -> LinearRule:
    """A rule of `RULES` for windows in a scale; ridges are solved on the windows to learn from."""
    window, variables = learn.past.shape[1:]
    if name in RULES[:2]:
        return (last_value if name == RULES[0] else drift)(window, learn.future.shape[1], variables)
    norm = scaler(learn.past)
    return ridge(norm.apply(learn.past), norm.apply(learn.future), learn.known, shared=name == RULES[2])


def error(predicted: Tensor, batch: Batch, yardstick: Yardstick) -> Float64[Tensor, ""]:
    """Mean absolute error of predictions in units of the data, as the yardstick measures it, where truth is known."""
    far = (predicted - batch.future).abs() / yardstick(batch.past)
    return far.where(batch.known, 0).sum() / batch.known.sum().clamp(min=1)


def best_start(
    learn: Batch, develop: Batch, scalings: Sequence[Scaling], names: Sequence[str], yardstick: Yardstick
) -> tuple[Scaler, str]:
    """The scale and linear rule with the least error on the windows to develop on."""
    found = {}
    for scaler in (Scaler.of(learn.past, kind) for kind in scalings):
        norm = scaler(develop.past)
        for name in names:
            predicted = norm.undo(rule_of(name, scaler, learn)(norm.apply(develop.past)))
            found[scaler.kind, name] = scaler, float(error(predicted, develop, yardstick))
    kind, name = min(found, key=lambda key: found[key][1])
    return found[kind, name][0], name


def predict(network: ReGENN, scaler: Scaler, past: Float64[Tensor, "windows window v"], scaled: bool = False) -> Tensor:
    """What follows windows, in units of the data or of the window; in pieces where samples do not meet."""
    norm, device = scaler(past), next(network.parameters()).device
    size = len(past) if network.config.attend == "samples" else 4096
    with torch.no_grad():
        inputs = norm.apply(past).float()
        found = torch.cat([network(piece.to(device)).double().cpu() for piece in inputs.split(max(1, size))])
    return found if scaled else norm.undo(found)


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        seed: Seed.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: steps or windows that are no whole positive numbers, a rate that is not positive.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    device: str

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch_size", self.batch_size)):
            check_whole(name, value)
        check_number("learning_rate", self.learning_rate, above=0)

    def run(
        self, network: ReGENN, scaler: Scaler, yardstick: Yardstick, learn: PanelWindows, develop: Batch | None
    ) -> tuple[list[Mapping[str, float | int]], int]:
        """Train in place; with windows to develop on, go back to the moment with the least error there.

        Returns:
            The errors over the run, and the step of that moment.
        """
        best: dict[str, Any] = {"error": float("inf"), "step": 0}
        history: list[Mapping[str, float | int]] = []

        def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            drawn = Batch(*batch)
            here = drawn.past.device
            norm = scaler.to(here)(drawn.past)
            return error(norm.undo(model(norm.apply(drawn.past).float())), drawn, yardstick.to(here))

        def judge(model: ReGENN) -> dict[str, float]:
            if develop is None:
                return {}
            now = float(error(predict(model, scaler, develop.past), develop, yardstick))
            step = min(len(history) * every, self.steps)
            if now < best["error"]:
                state = {key: value.clone() for key, value in model.state_dict().items()}
                best.update(error=now, step=step, state=state)
            history.append({"step": step, "error": now})
            return {"development error": now}

        every = max(1, self.steps // 20)
        judge(network.eval())
        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=max(1, self.steps // 20),
            weight_decay=1e-4,
            ema_decay=0.98,
            evaluate_every=every,
            seed=self.seed,
        )
        model = train(
            network,
            lambda generator: learn.draw(self.batch_size, generator),
            loss,
            plan,
            evaluate=judge,
            device=self.device,
        ).model
        network.load_state_dict(best["state"] if develop is not None else model.state_dict())
        network.cpu().eval()
        return history, int(best["step"])
