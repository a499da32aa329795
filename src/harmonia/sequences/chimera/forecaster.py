"""Forecasting many variables together, and what the forecast is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.optimize import lsq_linear
from torch import Tensor

from harmonia.core.checks import check_choice, check_whole
from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.media import Series
from harmonia.parts.forecasting import LinearWindow, PointForecaster, Windows
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.saved_network import pack, unpack
from harmonia.parts.training import check_training
from harmonia.sequences.chimera.data import Observed, seriation
from harmonia.sequences.chimera.fitting import fit_model, new_model
from harmonia.sequences.chimera.late import Late
from harmonia.sequences.chimera.network import ChimeraConfig, ChimeraModel
from harmonia.sequences.chimera.scale import Normalise, Scale

Mode = Literal["direct", "closed_loop"]
Gaps = Literal["raise", "mask"]
Order = Literal["given", "correlation"]

STEPS = 24
"""Steps of the grid that a window is cut into, roughly, where the patch is not given."""


def whole_patches(rows: int, patch: int | None = None) -> tuple[int, int]:
    """A patch for windows of about so many rows, and the shortest window of whole patches that is no shorter.

    Example:
        >>> whole_patches(77), whole_patches(77, 7)
        ((3, 78), (7, 77))
    """
    patch = max(1, round(rows / STEPS)) if patch is None else patch
    return patch, -(-rows // patch) * patch


class Parts(NamedTuple):
    """What a forecast is the sum of, in the units of the data.

    Attributes:
        linear: The mean of the window and a linear rule of it.
        trend: What the trend heads add.
        season: What the seasonal heads add.
    """

    linear: Float64[ndarray, "horizon variables"]
    trend: Float64[ndarray, "horizon variables"]
    season: Float64[ndarray, "horizon variables"]


class ChimeraForecaster(PointForecaster):
    """Forecast every variable of a series from what all of them were: a two-dimensional selective state space.

    Chimera (arXiv 2406.04320). Windows are normalised, by their own mean and spread where levels wander and by those
    of the whole series where they do not. A linear rule of the window, shared by all variables and solved in closed
    form, carries what is linear; the network learns the rest, apart by trend heads and seasonal heads (`decompose`).
    How much of each to trust is solved for at the end, on the last part of the series, which training did not see:
    where the network has found nothing that lasts, the linear rule remains. Squared errors are minimised, so that the
    mean is predicted; intervals are the errors on the fitted series, as for every `PointForecaster`.

    The defaults suit one processor and thousands of rows; the paper's size is nearer to d_model=64, d_state=16,
    lookback=336.

    Arguments:
        horizon: Steps to predict.
        lookback: Length of the window, a whole number of patches; by default four horizons, at least 48.
        mode: ``direct``: all steps at once. ``closed_loop``: one patch at a time, fed back as the next input; the
            horizon may then be longer than in training (`predict`).
        d_model: Channels.
        d_state: Size of each of the two states.
        n_layers: Blocks.
        patch: Values a step of the grid; None for a window of about 24 steps.
        dropout: Probability.
        coupled: Whether variables know of each other.
        seasonal: Whether there is a seasonal head.
        variate_embedding: Whether each variable has a learned embedding of its own.
        transition: ``diag`` (2-D Mamba) or ``scalar`` (2-D Mamba-2).
        normalise: ``window``, ``series``, or ``auto``: ``window``, unless the linear rule predicts the last
            part clearly better by the other.
        variable_order: ``given``, or ``correlation``: variables that move together side by side. The recurrence runs
            over variables in this order, both ways.
        nan: ``raise``, or ``mask``: NaN is a value that was not seen, where states hold.
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        weight_decay: For all but rates, steps, couplings and norms.
        draws: Errors kept for intervals.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed.

    Attributes:
        names_: Variables, in the order in which they are expected.
        order_: The order in which the recurrence runs over them.
        scale_: What windows are measured in, variables in the order of the recurrence.
        model_: The trained `ChimeraModel`.
        history_: Training loss over the run.

    Example:
        >>> t = np.arange(300)
        >>> waves = np.stack([np.sin(t / 5), np.sin(t / 5 - 1)], 1)
        >>> model = ChimeraForecaster(4, lookback=24, d_model=8, d_state=4, n_layers=1, patch=4, steps=30).fit(waves)
        >>> bool(np.abs(model.predict(waves[-24:])[:, 0] - np.sin(np.arange(300, 304) / 5)).max() < 0.3)
        True
        >>> parts = model.decompose(waves[-24:])
        >>> bool(np.allclose(parts.linear + parts.trend + parts.season, model.predict(waves[-24:])))
        True
        >>> model.variate_influence(waves).shape
        (2, 2)
    """

    def __init__(
        self,
        horizon: int,
        lookback: int | None = None,
        *,
        mode: Any = "direct",
        d_model: int = 16,
        d_state: int = 8,
        n_layers: int = 2,
        patch: int | None = None,
        dropout: float = 0.1,
        coupled: bool = True,
        seasonal: bool = True,
        variate_embedding: bool = False,
        transition: Any = "diag",
        normalise: Any = "auto",
        variable_order: Any = "given",
        nan: Any = "raise",
        steps: int = 200,
        batch_size: int = 16,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.01,
        draws: int = 100,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        horizon = check_whole("horizon", horizon)
        draws = check_whole("draws", draws)
        steps = check_whole("steps", steps)
        patch = None if patch is None else check_whole("patch", patch)
        check_training(batch_size, learning_rate, weight_decay)
        given = (("mode", mode, Mode), ("normalise", normalise, Normalise), ("nan", nan, Gaps))
        for name, value, kind in (*given, ("variable_order", variable_order, Order)):
            check_choice(name, value, kind)
        if nan == "mask" and mode == "closed_loop":
            raise InputError("the closed loop needs a whole window", "nan='mask'", "Use mode='direct'.")
        if lookback is None:
            patch, lookback = whole_patches(max(48, 4 * horizon), patch)
        self.horizon, self.lookback = horizon, check_whole("lookback", lookback, 2)
        self.config = ChimeraConfig(
            d_model=d_model,
            d_state=d_state,
            n_layers=n_layers,
            patch=whole_patches(self.lookback)[0] if patch is None else patch,
            dropout=dropout,
            coupled=coupled,
            seasonal=seasonal,
            transition=transition,
            horizon=horizon,
            lookback=self.lookback,
        )
        self.mode, self.normalise, self.variable_order, self.nan = mode, normalise, variable_order, nan
        self.variate_embedding = variate_embedding
        self.steps, self.batch_size, self.learning_rate, self.weight_decay = (
            steps, batch_size, learning_rate, weight_decay
        )  # fmt: skip
        self.draws, self.device, self.random_state = draws, device, random_state

    def fit(self, series: Any) -> ChimeraForecaster:
        """Learn from a series (see `Observed.of` for what may stand for one), or several with the same variables.

        Raises:
            InputError: no series that is long enough, other variables in one than in the first, times that are not
                evenly spaced, or gaps that were not allowed.
        """
        several = isinstance(series, (list, tuple)) and all(isinstance(each, Series) for each in series)
        read: list[Observed] = []
        for each in series if several else [series]:
            read.append(self._observed(each, read[0].series.names if read else None))
        # Too short ones teach nothing; where there are no others, the base class says so.
        usable = [each for each in read if len(each.series) >= self.lookback + self.horizon]
        self._seen = [each.seen for each in usable]
        super().fit([each.series for each in usable or read])
        del self._seen
        return self

    def learn(self, series: Sequence[Series]) -> None:
        """Solve the linear part, train the network on what it leaves, and weigh the heads by windows kept apart."""
        together = np.concatenate([each.values for each in series])
        order = np.arange(together.shape[1]) if self.variable_order == "given" else seriation(together)
        late = Late(series, self.lookback, self.horizon)
        apart = self.mode == "direct" and late.leaves(2)
        scale = Scale.of(series, self.normalise, late).ordered(order)
        self.names_, self.order_, self.scale_ = tuple(series[0].names), order, scale
        variates = len(self.names_) if self.variate_embedding else 0
        model = new_model(replace(self.config, variates=variates), self.random_state)
        self._solve_linear(model, late.early(series) if apart else series)
        model.linear.requires_grad_(False)
        # Values, and whether each was seen, side by side in the same windows.
        both = [Series(np.concatenate([each.values, seen], 1)) for each, seen in zip(series, self._seen, strict=True)]
        self._train(model, Windows(late.early(both) if apart else both, self.lookback, self.horizon))
        if apart:
            self._weigh(*Windows(both, self.lookback, self.horizon).at(late.windows())[:2])
            self._solve_linear(self.model_, series)

    def _train(self, model: ChimeraModel, windows: Windows) -> None:
        order, step = torch.from_numpy(self.order_), self.config.patch

        def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
            past, future, _ = windows.draw(self.batch_size, generator)
            past, seen, future, judged = (each[:, :, order] for both in (past, future) for each in both.chunk(2, -1))
            # Measured in float64: a small change of a large number would be lost in float32.
            norm, past, _ = self.scale_.apply(past, seen > 0)
            return tuple(each.float() for each in (past, seen, norm.apply(future), judged))

        def loss(network: ChimeraModel, batch: tuple[Tensor, ...]) -> Tensor:
            past, seen, future, judged = batch
            streams = network.streams(past, None if bool(seen.all()) else seen > 0)
            if self.mode == "closed_loop":
                found = network.closed_loop(past, self.horizon)
            else:
                found = torch.stack(network.parts(past, streams)).sum(0)
            following = network.following(past, streams)[:, :-step]
            # The next value at every time: what a closed loop runs on, and a help to the direct heads.
            aside = _mean_square(following - past[:, step:], seen[:, step:])
            return _mean_square(found - future, judged) + 0.3 * aside

        trained = fit_model(
            model,
            draw,
            loss,
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.random_state,
            device=self.device,
        )
        self.model_, self.history_ = trained.model, trained.history

    def _solve_linear(self, model: ChimeraModel, series: Sequence[Series]) -> None:
        rule = LinearWindow(self.horizon, self.lookback, own_scale=self.scale_.own)
        rule.learn(series)
        with torch.no_grad():
            model.linear.weight.copy_(torch.from_numpy(rule.weight_))
            model.linear.bias.copy_(torch.from_numpy(rule.bias_))

    def _weigh(self, past: Tensor, future: Tensor) -> None:
        """Least squares for one weight of each kind of head, from 0 to 1; values and seen side by side."""
        past, seen = past.chunk(2, -1)
        future, judged = (each[:, :, torch.from_numpy(self.order_)] for each in future.chunk(2, -1))
        columns, rest, start = [], [], 0
        for values, norm, mask in self._pieces(torch.where(seen > 0, past, torch.nan).numpy()):
            rows, start = slice(start, start + len(values)), start + len(values)
            linear, trend, season = self._parts(values, mask)
            rest.append((judged[rows] * (norm.apply(future[rows]) - linear)).flatten())
            columns.append(torch.stack([(judged[rows] * each).flatten() for each in (trend, season)], 1))
        found = lsq_linear(torch.cat(columns).numpy(), torch.cat(rest).numpy(), bounds=(0, 1)).x
        self.model_.gains.copy_(torch.from_numpy(found))

    def _parts(self, past: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The three parts of normalised forecasts, in float64."""
        with torch.no_grad():
            linear, trend, season = self.model_.parts(past, self.model_.streams(past, mask))
        return linear.double().cpu(), trend.double().cpu(), season.double().cpu()

    def _run(
        self, network: ChimeraModel, past: Tensor, horizon: int, mask: Tensor | None = None
    ) -> Float[Tensor, "batch horizon variables"]:
        return network.closed_loop(past, horizon) if self.mode == "closed_loop" else network.forecast(past, mask)

    def point(
        self, values: Float64[np.ndarray, "batch lookback variables"]
    ) -> Float64[np.ndarray, "batch horizon variables"]:
        """The mean of each step."""
        return self._predicted(values, self.horizon)

    def predict(self, last_window: Any, horizon: Any = None) -> Float64[ndarray, "horizon variables"]:
        """What follows a series: its last `lookback` rows are the window.

        Arguments:
            last_window: Anything that `fit` takes; the columns of a data frame are put in the fitted order.
            horizon: Steps, a whole number; those of training unless given. Longer ones need ``mode='closed_loop'``.

        Raises:
            InputError: too few rows, other variables, or a horizon that a direct forecast does not have.
        """
        steps = self.horizon if horizon is None else check_whole("horizon", horizon)
        if steps > self.horizon and self.mode == "direct":
            mend = "Use mode='closed_loop' for longer ones, or fit with that horizon."
            raise InputError(f"this forecaster predicts 1 to {self.horizon} steps", steps, mend)
        return self._predicted(self.window(last_window)[None], steps)[0, :steps]

    def _predicted(self, values: ndarray, horizon: int) -> Float64[ndarray, "batch steps variables"]:
        found = []
        with torch.no_grad():
            for past, norm, mask in self._pieces(values):
                ahead = self._run(self.model_, past, horizon, mask).double().cpu()
                found.append(norm.undo(ahead)[:, :, torch.from_numpy(np.argsort(self.order_))])
        return torch.cat(found).numpy()

    def decompose(self, last_window: Any) -> Parts:
        """The forecast of `predict` as a sum: linear part, trend heads, seasonal heads.

        Raises:
            InputError: as `predict`; a forecaster that runs in a closed loop.
        """
        if self.mode == "closed_loop":
            raise InputError("only a direct forecast is a sum of its heads", "closed_loop", "Use mode='direct'.")
        back = torch.from_numpy(np.argsort(self.order_))
        past, norm, mask = next(iter(self._pieces(self.window(last_window)[None])))
        linear, trend, season = self._parts(past, mask)
        parts = (norm.undo(linear), trend * norm.spread, season * norm.spread)
        return Parts(*(each[0][:, back].numpy() for each in parts))

    def variate_influence(self, data: Any, windows: int = 16) -> Float64[ndarray, "predicted driver"]:
        """How far each variable's forecast moves with each variable's past: mean |d y_i / d x_j|, over windows.

        Gradients of the mean forecast over the horizon, summed over the window by absolute value; both in units of the
        window's spread, so that variables of different units compare. Rows are the predicted variables.

        Arguments:
            data: A series of at least one window, in the fitted variables: as for `predict`.
            windows: Windows, evenly spread.

        Raises:
            InputError: as `predict`.
        """
        values, windows = self._values(data), check_whole("windows", windows)
        last = len(values) - self.lookback
        starts = np.unique(np.linspace(0, last, min(windows, last + 1)).astype(np.int64))
        total = np.zeros((len(self.names_), len(self.names_)))
        for past, _, mask in self._pieces(np.stack([values[at : at + self.lookback] for at in starts])):
            past.requires_grad_()
            ahead = self._run(self.model_, past, self.horizon, mask).mean((0, 1))
            for i, each in enumerate(ahead):
                (slope,) = torch.autograd.grad(each, past, retain_graph=True)
                total[i] += len(past) * slope.abs().sum((0, 1)).double().cpu().numpy()
        back = np.argsort(self.order_)
        return (total / len(starts))[back][:, back]

    def _pieces(self, values: ndarray) -> Iterator[tuple[Tensor, InstanceNorm, Tensor | None]]:
        """Normalised windows in the order of the recurrence, a piece that fits into memory at a time."""
        self._refuse_unfitted("model_")
        if values.shape[2] != len(self.names_):
            got = f"{values.shape[2]} variables"
            raise InputError(f"this forecaster was fitted to {len(self.names_)} variables", got, "Pass the same.")
        if (np.isinf(values) if self.nan == "mask" else ~np.isfinite(values)).any():
            mend = "Fill the gaps, or fit with nan='mask'."
            raise InputError("the windows are not finite", "NaN or infinity", mend)
        ordered = torch.from_numpy(np.asarray(values, dtype=np.float64))[:, :, torch.from_numpy(self.order_)]
        device = self.model_.embed.weight.device
        size = max(1, (1 << 22) // (math.prod(values.shape[1:]) * self.config.d_model * self.config.d_state))
        for piece in ordered.split(size):
            norm, past, mask = self.scale_.apply(piece, ~piece.isnan())
            yield past.float().to(device), norm, None if mask is None else mask.to(device)

    def window(self, data: Any) -> Float64[ndarray, "lookback variables"]:
        """The last rows of a series, variables in the fitted order: what `forecast` takes, one window of it.

        Raises:
            InputError: as `predict`.
        """
        return self._values(data)[-self.lookback :]

    def _values(self, data: Any) -> Float64[ndarray, "time variables"]:
        """What follows the fit, variables in its order, NaN where nothing was seen; a window at least."""
        self._refuse_unfitted("model_")
        read = self._observed(data, self.names_)
        if len(read.series) < self.lookback:
            raise InputError(f"a window has {self.lookback} rows", len(read.series), "Pass more of the past.")
        return np.where(read.seen, read.series.values, np.nan)

    def _observed(self, data: Any, names: Sequence[str] | None) -> Observed:
        gaps = self.nan == "mask"
        read = Observed.of(data, gaps=gaps) if names is None else Observed.again(data, names, gaps=gaps)
        return read.evenly()

    def checkpoint(self) -> Checkpoint:
        """The fitted forecaster as one medium."""
        self._refuse_unfitted("model_")
        described = {
            "names": list(self.names_),
            "order": self.order_.tolist(),
            "scale": [self.scale_.own, self.scale_.mean.tolist(), self.scale_.spread.tolist()],
            "options": {name: getattr(self, name) for name in ("mode", "normalise", "variable_order", "nan", "draws")},
            "errors": self.errors_.tolist(),
        }
        return pack("chimera", "ChimeraForecaster", self.model_, described)

    def save(self, path: str | Path) -> Path:
        """Write the fitted forecaster as safetensors."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls, path: str | Path) -> ChimeraForecaster:
        """Read what `save` wrote.

        Raises:
            WeightsError: another file.
        """
        model, described, _ = unpack(path, "chimera", "ChimeraForecaster", ChimeraModel)
        found = cls(model.config.horizon, model.config.lookback, patch=model.config.patch, **described["options"])
        found.config, found.model_, found.history_ = model.config, model, ()
        found.names_, found.order_ = tuple(described["names"]), np.array(described["order"])
        own, mean, spread = described["scale"]
        found.scale_ = Scale(own, np.array(mean), np.array(spread))
        found.errors_ = np.array(described["errors"])
        return found


def _mean_square(error: Tensor, weight: Tensor) -> Tensor:
    return (weight * error.square()).sum() / weight.sum().clamp(min=1)
