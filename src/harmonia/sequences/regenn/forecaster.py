"""Forecasts of panels by ReGENN: fit to what is known, predict what comes next, look at the graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import polars
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.data.panel import Panel, copies, typical_values
from harmonia.media import Figure, Series, Table
from harmonia.parts.forecasting import Forecaster, SampleForecast
from harmonia.sequences.regenn.figures import graphs
from harmonia.sequences.regenn.fitting import RULES, Training, best_start, predict, rule_of
from harmonia.sequences.regenn.graph import cooccurrence
from harmonia.sequences.regenn.network import ReGENN, ReGENNConfig, WhichGraph
from harmonia.sequences.regenn.scaling import Scaler, Scaling, Yardstick
from harmonia.sequences.regenn.windows import Batch, PanelWindows

DEVELOPMENT = 0.1
"""Share of the times, at the end, that is held back at first; one horizon at least."""


class ReGENNForecaster(Forecaster):
    """Forecast the next steps of every sample of a panel, with one network and one graph between variables for all.

    Every window is scaled by itself and by what was learnt from; nothing of the future enters. The last times of the
    panel are held back to develop on. The network begins as a linear rule, the best there of four (the last value
    stays, the line goes on, one ridge regression or one for each variable), and is trained for the mean absolute
    error; the step with the least error there is found, and the network trained as long again on all times. Where no
    step is better than the rule, the rule is what is left. Intervals are made of the errors on the times held back.

    Arguments:
        window: Steps of the past that a forecast sees.
        horizon: Steps to predict.
        scaling: ``window``, ``maximum`` or ``standard``, see `Scaler`; ``auto`` takes what suits the linear rules best.
        log: Take logarithms, log(1 + x), first; for values that grow by factors.
        loss: ``scaled``: every sample counts alike. ``data``: large samples count more, as they do in errors in units
            of the data; each variable counts in units of its own mean spread.
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        draws: Errors that are kept for intervals.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed.
        network: Fields of `ReGENNConfig`, such as ``graph=False`` for the paper's ablation.

    Attributes:
        network_: The trained `ReGENN`.
        start_: The linear rule it began from.
        steps_: Steps it was trained for.
        scaler_: How windows are scaled.
        history_: Errors on the times held back over the run; the first is that of the linear rule.
        panel_: What was fitted to.

    Example:
        >>> t = np.arange(80)
        >>> waves = np.stack([[np.sin(t / 4 + s), np.cos(t / 4 + s)] for s in range(8)]).swapaxes(1, 2)
        >>> model = ReGENNForecaster(window=12, horizon=3, steps=40, feedforward=16).fit(waves)
        >>> model.predict().shape, model.graph_("source").shape
        ((8, 3, 2), (2, 3))
        >>> bool(abs(model.predict()[0, :, 0] - np.sin(np.arange(80, 83) / 4)).max() < 0.2)
        True
    """

    def __init__(
        self,
        window: int,
        horizon: int,
        *,
        scaling: Scaling | Literal["auto"] = "auto",
        log: bool = False,
        loss: Literal["scaled", "data"] = "scaled",
        steps: int = 400,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        draws: int = 200,
        device: str = "auto",
        random_state: int = 0,
        **network: Any,
    ) -> None:
        for value, allowed in ((loss, ("scaled", "data")), (scaling, ("auto", *get_args(Scaling)))):
            if value not in allowed:
                raise InputError("the forecaster has no such choice", f"'{value}'", f"Use {', '.join(allowed)}.")
        self.lookback, self.horizon = window, horizon
        self.scaling, self.log, self.loss = scaling, log, loss
        self.training = Training(steps, batch_size, learning_rate, random_state, device)
        self.draws = draws
        self.network = {"feedforward": 64, "own_maps": True, **network}
        ReGENNConfig.of(
            {"window": window, "stride": horizon, "n_variables": 2, **self.network}
        )  # refuses what does not fit

    def fit(
        self, series: Panel | polars.DataFrame | Sequence[Series] | Float[ndarray, "samples time v"]
    ) -> ReGENNForecaster:
        """Learn from a panel: a `Panel`, a long frame, an array, or series with the same variables and times.

        Raises:
            InputError: too few times, a single variable, logarithms of negative values.
        """
        panel = as_panel(series)
        self._refuse(panel)
        for copy, original in copies(panel).items():
            say(f"Variable '{copy}' is a copy of '{original}': it adds nothing; leave it out.")
        cut = panel.length - max(self.horizon, round(DEVELOPMENT * panel.length))
        self.panel_, self.typical_ = panel, typical_values(panel.values[:, :cut])
        self.positive_ = bool(np.nanmin(panel.values) >= 0)
        filled, present = self._ready(panel), torch.from_numpy(panel.present)
        learn = PanelWindows(filled, present, self.lookback, self.horizon, 0, cut)
        develop = PanelWindows(filled, present, self.lookback, self.horizon, cut, panel.length).all()
        seen = learn.all()
        yardstick = Yardstick.of(seen.past, self.loss == "scaled")
        kinds: Sequence[Scaling] = get_args(Scaling) if self.scaling == "auto" else (self.scaling,)
        names = RULES if self.network["own_maps"] else RULES[:3]
        self.scaler_, self.start_ = best_start(seen, develop, kinds, names, yardstick)

        network = self._begun(panel.until(cut), self.scaler_, seen)
        self.history_, self.steps_ = self.training.run(network, self.scaler_, yardstick, learn, develop)
        self.errors_ = self._errors(network, develop)

        everything = PanelWindows(filled, present, self.lookback, self.horizon, 0, panel.length)
        self.scaler_ = Scaler.of(everything.all().past, self.scaler_.kind)
        self.network_ = self._begun(panel, self.scaler_, everything.all()).eval()
        if self.steps_:
            again = replace(self.training, steps=self.steps_)
            again.run(self.network_, self.scaler_, yardstick, everything, None)
        return self

    def _refuse(self, panel: Panel) -> None:
        needed = self.lookback + 2 * self.horizon
        if panel.length < needed:
            mend = "Pass a longer panel, or lower window or horizon."
            raise InputError(f"a panel needs window + 2 horizons = {needed} times", panel.length, mend)
        if len(panel.names) < 2 and self.network.get("graph", True):
            mend = "Pass more variables, graph=False, or use an autoregression such as RidgeAR."
            raise InputError("a graph between variables needs two of them", f"'{panel.names[0]}' alone", mend)
        lowest = float(np.nanmin(panel.values))
        if self.log and lowest < 0:
            raise InputError("logarithms need values that are not negative", lowest, "Pass log=False.")
        if np.nanmax(np.abs(panel.values)) > 1e15:
            raise InputError("values are too large", np.nanmax(np.abs(panel.values)), "Change their units.")

    def _ready(self, panel: Panel) -> Panel:
        """Without gaps, as logarithms where they are wanted."""
        filled = panel.filled(self.typical_)
        values = np.log1p(filled.values) if self.log else filled.values
        return Panel(values, panel.names, panel.samples, panel.times, panel.names_of)

    def _begun(self, past: Panel, scaler: Scaler, seen: Batch) -> ReGENN:
        """A network that knows which variables occur together, and has learnt no more than its linear rule."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            network = ReGENN(window=self.lookback, stride=self.horizon, n_variables=len(past.names), **self.network)
        if network.source is not None:
            network.source.adjacency.copy_(panel_cooccurrence(past.values))
        if network.autoregression is not None:
            network.start_linear(*(each.float() for each in rule_of(self.start_, scaler, seen)))
        return network

    def _errors(self, network: ReGENN, develop: Batch) -> Float64[Tensor, "draws horizon v"]:
        """Errors of whole forecasts on the times held back, in units of the window."""
        truth = self.scaler_(develop.past).apply(develop.future)
        errors = (truth - predict(network, self.scaler_, develop.past, scaled=True))[develop.known.all((1, 2))]
        if not len(errors):
            raise InputError("no forecast of the last times can be judged", "values missing", "Pass fewer gaps.")
        errors = errors - errors.median(0).values  # the prediction is the median
        return errors[torch.linspace(0, len(errors) - 1, min(self.draws, len(errors))).round().long()]

    def _past(self, values: ndarray) -> Tensor:
        """Windows as the network takes them, still unscaled."""
        if not hasattr(self, "network_"):
            raise InputError("this forecaster knows nothing yet", "no fit", "Call fit first.")
        wanted = (self.lookback, len(self.typical_))
        if values.ndim != 3 or values.shape[1:] != wanted:
            raise InputError(f"windows have the shape [windows, {wanted[0]}, {wanted[1]}]", values.shape, "Pass such.")
        panel = Panel(values)
        if self.log and np.nanmin(values) < 0:
            raise InputError("logarithms need values that are not negative", np.nanmin(values), "Mend the windows.")
        return torch.from_numpy(self._ready(panel).values)

    def point(self, values: Float[ndarray, "windows lookback v"]) -> Float64[ndarray, "windows horizon v"]:
        """The median of each step, after windows of the past; NaN is missing."""
        past = self._past(values)
        return self._back(predict(self.network_, self.scaler_, past).numpy())

    def forecast(self, values: Float[ndarray, "batch lookback v"], times: ndarray | None = None) -> SampleForecast:
        past = self._past(values)
        scaled = predict(self.network_, self.scaler_, past, scaled=True)[None] + self.errors_[:, None]
        return SampleForecast(self._back(self.scaler_(past).undo(scaled).numpy()))

    def _back(self, values: ndarray) -> ndarray:
        """In units of the data; what was never negative is not predicted to be."""
        values = np.expm1(values) if self.log else values
        return values.clip(0) if self.positive_ else values

    def predict(self, quantiles: Sequence[float] | None = None) -> Float64[ndarray, "*levels samples horizon v"]:
        """What follows the panel that was fitted to: the median, or quantiles of these levels on a first axis."""
        if quantiles is None:
            return self.point(self._end())
        return self.predict_distribution().quantile(np.asarray(quantiles, dtype=np.float64))

    def predict_distribution(self) -> SampleForecast:
        """The distribution of what follows the panel that was fitted to."""
        return self.forecast(self._end())

    def _end(self) -> ndarray:
        if not hasattr(self, "panel_"):
            raise InputError("this forecaster has no panel", "no fit", "Call fit first, or pass windows to forecast.")
        return self.panel_.filled(self.typical_).values[:, -self.lookback :]

    def graph_(self, which: WhichGraph = "source") -> polars.DataFrame:
        """A graph between variables, see `ReGENN.graph`: one row a variable, what it takes from each in the columns."""
        names = list(self.names_)
        graph = self.network_.graph(which).numpy()
        return polars.DataFrame({"variable": names} | {name: graph[:, i] for i, name in enumerate(names)})

    def plot_graph(self) -> Figure:
        """All three graphs as heat maps, and the source graph as arrows."""
        found = {which: self.network_.graph(which).numpy() for which in get_args(WhichGraph)}
        told = f"after {self.steps_} steps" if self.steps_ else "as it began: no step of training beat the linear rule"
        return graphs(self.names_, found, f"The graph between variables, {told}")

    @property
    def names_(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(self.panel_.names)


def as_panel(series: Panel | polars.DataFrame | Sequence[Series] | ndarray) -> Panel:
    """A panel from itself, a long frame with one row a sample and time, an array, or series of the same times.

    Raises:
        InputError: series that differ in variables or times.
    """
    if isinstance(series, Panel):
        return series
    if isinstance(series, np.ndarray):
        return Panel(series)
    if isinstance(series, polars.DataFrame):
        return Panel.from_table(Table(series))
    if len({(tuple(each.names), len(each)) for each in series}) != 1:
        got = f"{len(series)} series"
        raise InputError("series of a panel have the same variables and times", got, "Pass such series.")
    return Panel(np.stack([each.values for each in series]), series[0].names, index=series[0].times)


def panel_cooccurrence(
    values: Float64[ndarray, "samples time v"],
    unit_of: Float64[ndarray, "samples times v"] | None = None,
    *,
    relative: bool = True,
) -> Float[Tensor, "v v"]:
    """Which variables of a panel occur together, whatever their units: each by its own mean, the largest tie 1.

    Where any value is negative, a value is present unless it is missing, and its mass is absolute.

    Arguments:
        values: The panel; NaN is missing.
        unit_of: Values whose mean is the unit of each variable; the same ones unless given.
        relative: Divide by the largest tie.
    """
    mass, whole = np.nan_to_num(np.abs(values)), np.abs(values if unit_of is None else unit_of)
    present = ~np.isnan(values) if np.nanmin(values) < 0 else values > 0
    mean = np.nanmean(whole, axis=(0, 1))
    graph = cooccurrence(torch.from_numpy(mass / np.where(mean > 0, mean, 1)), torch.from_numpy(present))
    return (graph / graph.max().clamp(min=1e-12) if relative else graph).float()
