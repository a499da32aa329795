"""`HarmonyForecaster`: fit one network to many workloads, then predict distributions from windows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, load_strictly, read_metadata, read_state_dict, write_safetensors
from harmonia.media import Series
from harmonia.parts.forecasting import Forecaster, Windows, calendar_marks
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.training import Plan, train
from harmonia.sequences.harmony.distribution import CHUNK, HarmonyForecast
from harmonia.sequences.harmony.heads import HeadName
from harmonia.sequences.harmony.levels import found_levels, levels_of
from harmonia.sequences.harmony.network import HarmonyConfig, HarmonyNetwork

FARTHEST = 50.0
"""Spreads of a window beyond which targets are cut in training."""


_KEPT = (
    *("lookback", "horizon", "target", "levels", "distribution", "epochs", "steps", "batch", "learning_rate"),
    *("width", "layers", "hidden", "dropout", "calendar", "random_state"),
)
"""Settings that are saved with the network; `start`, `device` and `folder` belong to one run."""


class HarmonyForecaster(Forecaster):
    """Joint distribution of the next steps of a workload's indicators, from their common past.

    One network is trained on all series by the likelihood of what follows each window.

    Arguments:
        lookback: Steps of a window.
        horizon: Steps to predict.
        target: Variables to predict, or the one; all of them when empty.
        levels: Level of variables by name; ``auto`` finds them from leads and lags; names decide otherwise.
        distribution: The family, see `harmonia.sequences.harmony.heads`.
        epochs: Passes over all windows, as a measure of the number of steps.
        steps: Steps of training, instead of passes, where not 0.
        start: A fitted forecaster of the same sizes to go on from.
        batch: Windows of a batch.
        learning_rate: Peak of the schedule.
        width, layers, hidden: Sizes of the network.
        dropout: Share of numbers dropped in training.
        calendar: Whether month, day, weekday and hour are tokens, where series have dates.
        random_state: Seed of initial weights, batches and dropout.
        device: ``auto``, ``cpu`` or ``cuda``, to train on; forecasts are made on the CPU.
        folder: Where training keeps checkpoints, so that it resumes.

    Example:
        >>> from harmonia.data.traces import synthetic_trace
        >>> trace = synthetic_trace(days=4)
        >>> forecaster = HarmonyForecaster(lookback=36, horizon=4, target=["cpu"], epochs=1.0, width=16).fit([trace])
        >>> forecast = forecaster.predict_distribution(trace)
        >>> forecast.quantile(np.array([0.5, 0.9])).shape
        (2, 1, 4, 1)
    """

    network_: HarmonyNetwork

    def __init__(
        self,
        lookback: int = 144,
        horizon: int = 12,
        *,
        target: Sequence[str] | str = (),
        levels: Mapping[str, int] | Literal["auto"] | None = None,
        distribution: HeadName = "spline",
        epochs: float = 20.0,
        steps: int = 0,
        start: HarmonyForecaster | None = None,
        batch: int = 128,
        learning_rate: float = 1e-3,
        width: int = 64,
        layers: int = 2,
        hidden: int = 128,
        dropout: float = 0.1,
        calendar: bool = True,
        random_state: int = 0,
        device: str = "auto",
        folder: Path | None = None,
    ) -> None:
        self.lookback, self.horizon, self.levels = lookback, horizon, levels
        self.target = (target,) if isinstance(target, str) else tuple(target)
        self.distribution, self.epochs, self.batch, self.learning_rate = distribution, epochs, batch, learning_rate
        self.width, self.layers, self.hidden, self.dropout = width, layers, hidden, dropout
        self.calendar, self.random_state, self.folder = calendar, random_state, folder
        self.steps, self.start, self.device = steps, start, device

    def fit(
        self, series: Sequence[Series], throttled: Sequence[Bool[ndarray, "time *targets"]] | None = None
    ) -> HarmonyForecaster:
        """Train on all windows of all series.

        Arguments:
            series: With the same variables; those too short for a window and what follows it are left out.
            throttled: For each series where its targets were at their limit (`harmonia.sequences.harmony.throttling`);
                there the likelihood is that of at least so much.

        Raises:
            InputError: series, targets or settings that do not fit, or a family without a likelihood for lower bounds.
        """
        self._check(series)
        self.names_ = tuple(series[0].names)
        long = [each for each in series if len(each) >= self.lookback + self.horizon]
        bounds = self._bounds(series, throttled or ())
        windows = Windows(bounds or long or series, self.lookback, self.horizon)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            network = HarmonyNetwork(self._config(long))
        network.quietest.copy_(_quietest(long))
        self.lower_ = np.where(np.min([each.values.min(0) for each in long], axis=0) >= 0, 0.0, -np.inf)
        if self.start is not None:
            load_strictly(network, self.start.network_.state_dict())
        steps = self.steps or max(1, round(self.epochs * len(windows) / self.batch))
        plan = Plan(
            steps=steps,
            learning_rate=self.learning_rate,
            warmup=min(50, max(1, steps // 10)),
            ema_decay=0.99,
            checkpoint_every=max(steps, 1) if self.folder is None else 200,
            seed=self.random_state,
        )
        places = list(network.config.predicted)
        scale = self.horizon * len(places)

        variables = len(self.names_)

        def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            past, future, marks = windows.draw(self.batch, generator)
            known, censored = future[..., places].float(), future[..., variables:] > 0
            return past[..., :variables].float(), known, marks[..., : network.config.marks].float(), censored

        def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
            past, future, marks, censored = batch
            predictive = model(past, marks)
            future = _bounded(future, predictive.norm)
            return predictive.loss(future, censored if bounds else None).mean() / scale

        self.trained_ = train(network, draw, loss, plan, folder=self.folder, device=self.device)
        self.network_ = self.trained_.model.cpu()
        return self

    def _check(self, series: Sequence[Series]) -> None:
        """Refuse what cannot be fitted, before anything is learnt."""
        if not isinstance(series, Sequence) or not series or not all(isinstance(each, Series) for each in series):
            raise InputError("a forecaster is fitted to a list of Series", type(series).__name__, "Pass [series].")
        names = series[0].names
        for name in self.target:
            if name not in names:
                raise InputError("there is no such variable", f"'{name}'", f"Variables: {', '.join(names)}.")
        if isinstance(self.levels, str) and self.levels != "auto":
            raise InputError(
                "there is no such way to find levels", f"'{self.levels}'", "Pass auto, or a level by name."
            )
        if self.batch < 1 or self.steps < 0 or not (self.epochs > 0 and self.learning_rate > 0):
            got = f"batch {self.batch}, steps {self.steps}, epochs {self.epochs}, learning_rate {self.learning_rate}"
            raise InputError("training takes windows, steps and a rate", got, "Pass positive numbers.")

    def _bounds(self, series: Sequence[Series], throttled: Sequence[ndarray]) -> list[Series]:
        """The series that are long enough, with a column for each target that is 1 where it was at its limit.

        Nothing where no target ever was.
        """
        if not any(each.any() for each in throttled):
            return []
        targets = self.target or self.names_
        found = []
        for each, at_limit in zip(series, throttled, strict=True):
            if at_limit.size != len(each) * len(targets):
                got = f"{at_limit.shape} for {len(each)} steps and {len(targets)} targets"
                raise InputError("what was at its limit has the shape [time, targets]", got, "Pass such arrays.")
            if len(each) >= self.lookback + self.horizon:
                names = (*self.names_, *(f"{name} at its limit" for name in targets))
                columns = at_limit.reshape(len(each), -1).astype(np.float64)
                found.append(Series(np.c_[each.values, columns], names, each.times))
        return found

    def _config(self, series: Sequence[Series]) -> HarmonyConfig:
        if self.levels == "auto":
            scaled = [(each.values - each.values.mean(0)) / (each.values.std(0) + 1e-9) for each in series]
            merged = np.concatenate(scaled)
            given: Mapping[str, int] | None = found_levels(merged, self.names_)
        else:
            given = self.levels
        dated = self.calendar and all(each.times.dtype.kind == "M" for each in series)
        marks = 4 if dated else 0
        return HarmonyConfig(
            levels=(*levels_of(self.names_, given), *[1] * marks),
            targets=tuple(self.names_.index(name) for name in self.target),
            lookback=self.lookback,
            horizon=self.horizon,
            marks=marks,
            width=self.width,
            heads=4 if self.width % 4 == 0 else 1,
            layers=self.layers,
            hidden=self.hidden,
            dropout=self.dropout,
            head=self.distribution,
        )

    @property
    def targets_(self) -> tuple[str, ...]:
        """Names of what is predicted."""
        return tuple(self.names_[place] for place in self.network_.config.predicted)

    @torch.no_grad()
    def forecast(
        self, values: Float[ndarray, "batch lookback variables"], times: ndarray | None = None
    ) -> HarmonyForecast:
        """Predict what follows each window.

        Raises:
            InputError: windows of another shape, values that are not finite, or no times where it knows the calendar.
            NotFitted: neither fitted nor loaded.
        """
        self._refuse_unfitted("network_")
        config = self.network_.config
        if not isinstance(values, ndarray) or values.shape[1:] != (config.lookback, config.variables):
            what = f"windows are an array of the shape [batch, {config.lookback}, {config.variables}]"
            got = getattr(values, "shape", type(values).__name__)
            raise InputError(what, got, "Pass the last steps of each series.")
        if not np.isfinite(values).all():
            raise InputError("a window holds values that are not finite", "NaN or infinity", "Fill the gaps first.")
        if config.marks and (times is None or times.dtype.kind != "M"):
            raise InputError("this forecaster knows the calendar", "windows without dates", "Pass their times.")
        past = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        if config.marks and times is not None:
            marks = torch.from_numpy(calendar_marks(times)).float()
        else:
            marks = past[:, :, :0]
        lower = self.lower_[list(config.predicted)]
        parts = zip(past.split(CHUNK), marks.split(CHUNK))
        return HarmonyForecast([self.network_(window, mark) for window, mark in parts], lower, self.targets_)

    def predict_distribution(self, window: Series) -> HarmonyForecast:
        """Predict what follows a series, from its last steps.

        Raises:
            InputError: too short, or other variables than those it was fitted to.
            NotFitted: neither fitted nor loaded.
        """
        self._refuse_unfitted("network_")
        if tuple(window.names) != self.names_:
            raise InputError("the series has other variables", window.names, f"Pass {', '.join(self.names_)}.")
        if len(window) < self.lookback:
            raise InputError(f"a window has {self.lookback} steps", len(window), "Pass a longer series.")
        return self.forecast(window.values[None, -self.lookback :], window.times[None, -self.lookback :])

    def save(self, path: str | Path) -> Path:
        """Write the network and what is needed to use it as ``.safetensors``.

        Raises:
            NotFitted: neither fitted nor loaded.
        """
        self._refuse_unfitted("network_")
        return write_safetensors(path, self.network_.state_dict(), self._metadata())

    def checkpoint(self) -> Checkpoint:
        """The same as an output of a job."""
        self._refuse_unfitted("network_")
        texts = {key: json.dumps(value) for key, value in self._metadata().items()}
        return Checkpoint({key: value.clone() for key, value in self.network_.state_dict().items()}, texts)

    def _metadata(self) -> dict[str, Any]:
        lower = [None if np.isinf(value) else float(value) for value in self.lower_]
        parameters = {name: getattr(self, name) for name in _KEPT}
        if isinstance(self.levels, Mapping):
            parameters["levels"] = dict(self.levels)
        config = asdict(self.network_.config)
        return {"config": config, "parameters": parameters, "names": self.names_, "lower": lower}

    @classmethod
    def load(cls, path: str | Path) -> HarmonyForecaster:
        """Read what `save` wrote.

        Raises:
            InputError: another kind of file, or tensors that do not fit its configuration.
        """
        state = read_state_dict(path)
        try:
            metadata = {key: json.loads(value) for key, value in read_metadata(path).items()}
            parts = metadata["config"]
            tuples = {key: tuple(value) for key, value in parts.items() if isinstance(value, list)}
            config = HarmonyConfig(**parts | tuples)
            names, lower = tuple(metadata["names"]), metadata["lower"]
            forecaster = cls(**metadata["parameters"])
        except (KeyError, TypeError, ValueError, OSError) as error:
            mend = "Pass a file that HarmonyForecaster.save wrote."
            raise InputError(f"{Path(path).name} is no saved forecaster", type(error).__name__, mend) from error
        network = HarmonyNetwork(config)
        load_strictly(network, state)
        forecaster.network_, forecaster.names_ = network.eval(), names
        forecaster.lower_ = np.array([-np.inf if value is None else value for value in lower])
        return forecaster


def _quietest(series: Sequence[Series]) -> Tensor:
    """The smallest spread of each variable among workloads, so that small ones are not drowned by large ones."""
    spreads = np.stack([each.values.std(0) for each in series])
    smallest = np.where(spreads > 0, spreads, np.inf).min(0)
    return torch.from_numpy(np.where(np.isfinite(smallest), smallest, 1.0)).float()


def _bounded(future: Tensor, norm: InstanceNorm) -> Tensor:
    """Targets within `FARTHEST` spreads of their window, so that one awakening after silence is not all of a batch."""
    return torch.minimum(torch.maximum(future, norm.mean - FARTHEST * norm.spread), norm.mean + FARTHEST * norm.spread)
