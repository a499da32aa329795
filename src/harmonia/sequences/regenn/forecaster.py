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
from harmonia.data.panel import Panel, copies, typical_values, without_gaps
from harmonia.media import Figure, Series, Table
from harmonia.parts.forecasting import Forecaster, NotFitted, SampleForecast, series_of
from harmonia.sequences.regenn.figures import graphs
from harmonia.sequences.regenn.fitting import RULES, Training, best_start, predict, rule_of
from harmonia.sequences.regenn.graph import cooccurrence
from harmonia.sequences.regenn.network import ReGENN, ReGENNConfig, WhichGraph
from harmonia.sequences.regenn.scaling import Scaler, Scaling, Yardstick
from harmonia.sequences.regenn.windows import Batch, PanelWindows, held_back, shortest

DEVELOPMENT = 0.1
"""Share of the times, at the end, that is held back at first; one horizon at least."""


class ReGENNForecaster(Forecaster):
    """Forecast the next steps of every sample of a panel, with one network and one graph between variables for all.

    Every window is scaled by itself and by what was learnt from; nothing of the future enters. The last times of the
    panel are held back to develop on. The network begins as a linear rule, the best there of four (the last value
    stays, the line goes on, one ridge regression or one for each variable), and is trained for the mean absolute
    error; the step with the least error there is found, and the network trained as long again on all times. Where no
    step is better than the rule, the rule is what is left, and no graph was learnt. Intervals are made of the errors on
    the times held back. Gaps are filled by the last value before them, and neither learnt from nor judged by.

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
        adjacency: Graph between variables ``[v, v]`` to begin from, in the place of how they occur together.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed.
        network: Fields of `ReGENNConfig`, such as ``graph=False`` for the paper's ablation.

    Attributes:
        network_: The trained `ReGENN`.
        start_: The linear rule it began from; None with ``autoregression=False``, where there is none.
        steps_: Steps it was trained for.
        scaler_: How windows are scaled.
        history_: Errors on the times held back over the run; the first is that of the linear rule, or, without one, of
            the untrained network.
        panel_: What was fitted to.

    Example:
        >>> t = np.arange(80)
        >>> waves = np.stack([[np.sin(t / 4 + s), np.cos(t / 4 + s)] for s in range(8)]).swapaxes(1, 2)
        >>> model = ReGENNForecaster(window=12, horizon=3, steps=40, feedforward=16).fit(waves)
        >>> model.predict().shape, model.graph_("cooccurrence").shape
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
        adjacency: Float[ndarray, "v v"] | None = None,
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
        if draws < 1:
            raise InputError("intervals need errors", f"draws={draws}", "Keep one or more.")
        self.draws, self.adjacency = draws, adjacency
        self.network = {"feedforward": 64, "own_maps": True, **network}
        if adjacency is not None and not self.network.get("graph", True):
            raise InputError("a network without graphs begins from none", "adjacency", "Pass one of the two.")
        ReGENNConfig.of(
            {"window": window, "stride": horizon, "n_variables": 2, **self.network}
        )  # refuses what does not fit

    def fit(
        self, series: Panel | polars.DataFrame | Series | Sequence[Series] | Float[ndarray, "samples time v"]
    ) -> ReGENNForecaster:
        """Learn from a panel: a `Panel`, a long frame, an array, or series with the same variables and times.

        Raises:
            InputError: too few times, a single variable, a variable that is missing at first or at last, logarithms of
                negative values.
        """
        panel = as_panel(series)
        self._refuse(panel)
        for copy, original in copies(panel).items():
            say(f"Variable '{copy}' is a copy of '{original}': it adds nothing; leave it out.")
        cut = panel.length - held_back(panel.length, self.horizon, DEVELOPMENT)
        self.panel_, self.typical_ = panel, typical_values(panel.values[:, :cut])
        self.positive_ = bool(np.nanmin(panel.values) >= 0)
        filled, present = Panel(self._ready(panel.values)), torch.from_numpy(panel.present)
        learn = PanelWindows(filled, present, self.lookback, self.horizon, 0, cut)
        develop = PanelWindows(filled, present, self.lookback, self.horizon, cut, panel.length).all()
        seen = learn.all()
        yardstick = Yardstick.of(seen.past, self.loss == "scaled")
        kinds: Sequence[Scaling] = get_args(Scaling) if self.scaling == "auto" else (self.scaling,)
        names = RULES if self.network["own_maps"] else RULES[:3]
        self.scaler_, rule = best_start(seen, develop, kinds, names, yardstick)
        self.start_ = rule if self.network.get("autoregression", True) else None

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
        needed = least_times(self.lookback, self.horizon)
        if panel.length < needed:
            mend = "Pass a longer panel, or lower window or horizon."
            what = f"a window of {self.lookback} and a horizon of {self.horizon} need {needed} times"
            raise InputError(what, panel.length, mend)
        late = held_back(panel.length, self.horizon, DEVELOPMENT)
        for place, part in (("first", panel.present[:, :-late]), ("last", panel.present[:, -late:])):
            empty = ~part.any((0, 1))
            if empty.any():
                what = f"variable '{panel.names[int(empty.argmax())]}' is missing at all of the {place} times"
                mend = "Leave it out, or pass times at which it is known."
                raise InputError(what, f"no value at {part.shape[1]} of {panel.length}", mend)
        if len(panel.names) < 2 and self.network.get("graph", True):
            mend = "Pass more variables, graph=False, or use an autoregression such as RidgeAR."
            raise InputError("a graph between variables needs two of them", f"'{panel.names[0]}' alone", mend)
        lowest = float(np.nanmin(panel.values))
        if self.log and lowest < 0:
            raise InputError("logarithms need values that are not negative", lowest, "Pass log=False.")
        if np.nanmax(np.abs(panel.values)) > 1e15:
            raise InputError("values are too large", np.nanmax(np.abs(panel.values)), "Change their units.")
        shape = (len(panel.names), len(panel.names))
        if self.adjacency is not None and (np.shape(self.adjacency) != shape or not np.isfinite(self.adjacency).all()):
            got = f"shape {np.shape(self.adjacency)}"
            raise InputError(f"the graph to begin from is a finite array {shape}", got, "Pass one row a variable.")

    def _ready(self, values: Float64[ndarray, "samples time v"]) -> Float64[ndarray, "samples time v"]:
        """Without gaps, as logarithms where they are wanted."""
        filled = without_gaps(values, self.typical_)
        return np.log1p(filled) if self.log else filled

    def _begun(self, past: Panel, scaler: Scaler, seen: Batch) -> ReGENN:
        """A network that knows the graph to begin from, and has learnt no more than its linear rule."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            network = ReGENN(window=self.lookback, stride=self.horizon, n_variables=len(past.names), **self.network)
        if network.source is not None:
            given = self.adjacency
            network.source.adjacency.copy_(panel_cooccurrence(past.values) if given is None else torch.as_tensor(given))
        if self.start_ is not None:
            network.start_linear(*(each.float() for each in rule_of(self.start_, scaler, seen)))
        return network

    def _errors(self, network: ReGENN, develop: Batch) -> Float64[Tensor, "draws horizon v"]:
        """Errors on the times held back, in units of the window; a gap takes the error of a neighbouring forecast."""
        truth = self.scaler_(develop.past).apply(develop.future)
        errors = truth - predict(network, self.scaler_, develop.past, scaled=True)
        errors = errors.where(develop.known, torch.nan)[develop.known.any(2).any(1)]
        errors = errors - errors.nanmedian(0).values  # the prediction is the median
        for axis in (0, 1):  # of the forecast before, then, for steps that are never known, of the step before
            errors = carried(errors, axis)
        return errors[torch.linspace(0, len(errors) - 1, min(self.draws, len(errors))).round().long()]

    def _past(self, values: Any) -> Tensor:
        """Windows as the network takes them, still unscaled."""
        self._refuse_unfitted("network_")
        windows = np.asarray(values, dtype=np.float64)
        wanted = (self.lookback, len(self.typical_))
        if windows.ndim != 3 or windows.shape[1:] != wanted or not windows.size:
            raise InputError(f"windows have the shape [windows, {wanted[0]}, {wanted[1]}]", windows.shape, "Pass such.")
        if np.isinf(windows).any():
            raise InputError("a value of the windows is infinite", "infinity", "Pass NaN where a value is missing.")
        if self.log and (windows < 0).any():
            raise InputError("logarithms need values that are not negative", np.nanmin(windows), "Mend the windows.")
        return torch.from_numpy(self._ready(windows))

    def point(self, values: Any) -> Float64[ndarray, "windows horizon v"]:
        """The median of each step, after windows of the past, numbers of the shape ``[windows, lookback, v]``.

        NaN is missing. A gap takes the last value before it, or, where the window has none, the mean of the variable
        in what was fitted to.
        """
        past = self._past(values)
        return self._back(predict(self.network_, self.scaler_, past).numpy())

    def forecast(self, values: Any, times: ndarray | None = None) -> SampleForecast:
        """Predict what follows windows, see `point`, with intervals."""
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
            raise NotFitted("this forecaster has no panel", "no fit", "Call fit first, or pass windows to forecast.")
        return self.panel_.filled(self.typical_).values[:, -self.lookback :]

    def graph_(self, which: WhichGraph = "source") -> polars.DataFrame:
        """A graph between variables, see `ReGENN.graph`: one row a variable, what it takes from each in the columns.

        Read it as weights of the network, not as causes: in our measurements (results/regenn.json) neither learnt graph
        ranked true parents above other variables; the area under the ROC curve was about 0.5.

        Raises:
            NotFitted: before `fit`.
            InputError: a network without graphs, another name; the source or target graph where no step of training
                was better than the beginning, so that its weights are random.
        """
        self._refuse_unfitted("network_")
        graph = self.network_.graph(which).numpy()
        if which != "cooccurrence" and not self.steps_:
            mend = "Use the graph of 'cooccurrence', which needs no training, or train longer."
            raise InputError(f"no {which} graph was learnt", "no step of training better than the beginning", mend)
        names = list(self.names_)
        return polars.DataFrame({"variable": names} | {name: graph[:, i] for i, name in enumerate(names)})

    def plot_graph(self) -> Figure:
        """The graphs as heat maps, and the source graph as arrows; only that of co-occurrence where none was learnt."""
        self._refuse_unfitted("network_")
        shown = get_args(WhichGraph) if self.steps_ else ("cooccurrence",)
        found = {which: self.network_.graph(which).numpy() for which in shown}
        learnt = f"The graph between variables, after {self.steps_} steps"
        return graphs(self.names_, found, learnt if self.steps_ else "No source or target graph was learnt")

    @property
    def names_(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(self.panel_.names)


def least_times(window: int, horizon: int) -> int:
    """How many times a panel needs to be fitted to: a window and a forecast to learn from, and what is held back."""
    return shortest(window + horizon, horizon, DEVELOPMENT)


def carried(values: Float[Tensor, "draws horizon v"], axis: int) -> Float[Tensor, "draws horizon v"]:
    """Gaps along an axis take the last number before them, round in a circle; NaN is left where there is none."""
    length = values.shape[axis]
    twice = torch.cat([values, values], axis)
    place = torch.arange(2 * length).view([-1 if each == axis else 1 for each in range(3)])
    last = torch.where(twice.isnan(), 0, place).cummax(axis).values
    return twice.gather(axis, last).narrow(axis, length, length)


def as_panel(series: Any) -> Panel:
    """A panel from itself, a long frame with one row a sample and time, an array, or series of the same times.

    Raises:
        InputError: series that differ in variables or times; anything else.
    """
    if isinstance(series, Panel):
        return series
    if isinstance(series, np.ndarray):
        return Panel(series)
    if isinstance(series, polars.DataFrame):
        return Panel.from_table(Table(series))
    if not isinstance(series, (Series, Sequence)):
        mend = "Pass one of these; a frame of pandas by polars.from_pandas(frame)."
        raise InputError("a panel is a Panel, a polars frame, an array or series", type(series).__name__, mend)
    several = series_of(series)
    if len({(each.times.dtype, each.times.tobytes()) for each in several}) != 1:
        got = f"{len(several)} series with different times"
        raise InputError("series of a panel have the same variables and times", got, "Put them on the same times.")
    return Panel(np.stack([each.values for each in several]), several[0].names, index=several[0].times)


def panel_cooccurrence(
    values: Float64[ndarray, "samples time v"],
    unit_of: Float64[ndarray, "samples times v"] | None = None,
    *,
    relative: bool = True,
) -> Float[Tensor, "v v"]:
    """Which variables of a panel occur together, whatever their units: each by its own mean, the largest tie 1.

    Where any value is negative, a value is present unless it is missing, and its mass is absolute.

    Arguments:
        values: The panel, or a part of it; NaN is missing.
        unit_of: The whole panel, which says what the unit of each variable is, its mean, and whether any value is
            negative; `values` unless given.
        relative: Divide by the largest tie.
    """
    whole = values if unit_of is None else unit_of
    present = ~np.isnan(values) if (whole < 0).any() else values > 0
    mass, mean = np.nan_to_num(np.abs(values)), np.nanmean(np.abs(whole), axis=(0, 1))
    graph = cooccurrence(torch.from_numpy(mass / np.where(mean > 0, mean, 1)), torch.from_numpy(present))
    return (graph / graph.max().clamp(min=1e-12) if relative else graph).float()
