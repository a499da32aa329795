"""What the published evaluation measures: normalisation by maxima of the whole data, the future among them.

The release divides every value by the largest variable of its sample and time (or by the largest value over all times,
or over all samples), and multiplies predictions by the scale *of the times that are predicted*. That scale is part of
the truth, so a rule that learns nothing looks good. Here this protocol is kept to be measured beside the honest one;
no forecast can be made with it, because it needs what is to be forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.data.panel import Panel
from harmonia.parts.forecasting import Drift, Persistence
from harmonia.parts.training import Plan, train
from harmonia.sequences.regenn.evaluation import PanelScores
from harmonia.sequences.regenn.graph import cooccurrence
from harmonia.sequences.regenn.network import ReGENN
from harmonia.sequences.regenn.windows import PanelWindows

Axis = Literal["variables", "times", "samples"]
_AXES = {"samples": 0, "times": 1, "variables": 2}


class Published(NamedTuple):
    """Errors on the last steps under the published protocol, with knowledge of the future, and of rules without it.

    Attributes:
        network: ReGENN as released, with the future's scale.
        nothing_learned: The last ratio to the scale, times the future's scale.
        line: The line through the first and last value of the window, without any knowledge of the future.
        last: The last value, likewise.
    """

    network: PanelScores
    nothing_learned: PanelScores
    line: PanelScores
    last: PanelScores


def leaking_scale(values: Float64[ndarray, "samples time v"], axis: Axis = "variables") -> Float64[ndarray, "s t w"]:
    """The release's scale: the largest value along an axis of the whole tensor, at least 1.

    Example:
        >>> leaking_scale(np.array([[[2.0, 4.0], [8.0, 0.0]]])).ravel().tolist()
        [4.0, 8.0]
    """
    if axis not in _AXES:
        raise InputError("there is no such axis", f"'{axis}'", f"Use {', '.join(_AXES)}.")
    return np.maximum(values.max(_AXES[axis], keepdims=True), 1.0)


def published_protocol(
    panel: Panel,
    window: int,
    horizon: int,
    *,
    axis: Axis = "variables",
    steps: int = 300,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    feedforward: int = 2048,
    seed: int = 0,
    device: str = "auto",
) -> Published:
    """Train and judge as published: the last `horizon` steps of every sample, the future's scale given.

    The network is the released one: attention over samples, rectified output, mean absolute error in units of the
    data. Batches are random pairs of sample and time, where the release walks through them.

    Arguments:
        panel: Values that are not negative, without gaps.
        window: Steps of the past.
        horizon: Steps that are predicted.
        axis: Over which the largest value is taken; the release's default is ``variables``.
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        feedforward: Units of the encoder's network.
        seed: Seed.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: gaps, negative values, too few times.
    """
    if not panel.present.all() or panel.values.min() < 0:
        raise InputError("the published protocol needs counts", "gaps or negative values", "Pass a panel of counts.")
    if panel.length < window + 2 * horizon:
        raise InputError(f"it needs window + 2 horizons = {window + 2 * horizon} times", panel.length, "Pass more.")
    values, variables = panel.values, len(panel.names)
    scale = np.broadcast_to(leaking_scale(values, axis), values.shape)
    both = Panel(np.concatenate([values / scale, scale], axis=2))
    there = torch.ones(both.values.shape, dtype=torch.bool)
    cut = panel.length - horizon
    learn = PanelWindows(both, there, window, horizon, 0, cut)
    test = PanelWindows(both, there, window, horizon, cut, panel.length).all()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ReGENN(
            window=window,
            stride=horizon,
            n_variables=variables,
            bidirectional=False,
            autoregression=False,
            bias=False,
            attend="samples",
            feedforward=feedforward,
            output="relu",
        )
    assert network.source is not None
    network.source.adjacency.copy_(cooccurrence(learn.all().past[..., :variables].float(), block=32))

    def error(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        past, future, _ = batch
        predicted = model(past[..., :variables].float()) * future[..., variables:]  # the scale of the future
        return (predicted - future[..., :variables] * future[..., variables:]).abs().mean()

    plan = Plan(steps=steps, learning_rate=learning_rate, weight_decay=0.0, clip_norm=10.0, ema_decay=0.0, seed=seed)
    model = train(network, lambda generator: learn.draw(batch_size, generator), error, plan, device=device).model

    ratios, ahead = test.past[..., :variables], test.future[..., variables:]
    with torch.no_grad():
        found = model.cpu().eval()(ratios.float()).double() * ahead
    past = values[:, cut - window : cut]
    line, last = Drift(horizon, window).point(past), Persistence(horizon).point(past)
    change = np.abs(np.diff(values[:, :cut], axis=1)).mean(1)

    def judged(predicted: ndarray) -> PanelScores:
        truth = values[:, cut:]
        return PanelScores.of(predicted, truth, np.ones(truth.shape, bool), np.where(change > 0, change, np.nan))

    return Published(judged(found.numpy()), judged((ratios[:, -1:] * ahead).numpy()), judged(line), judged(last))
