"""Forecasting by S4D: a window of the past in, all steps of the horizon out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.media import Series
from harmonia.parts.forecasting import PointForecaster, Windows
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.saved_network import pack, plain, unpack
from harmonia.parts.training import Plan, train
from harmonia.sequences.s4d.kernel import KernelConfig
from harmonia.sequences.s4d.network import NOT_SAVED, S4DConfig, S4DModel, ssm_param_groups

_OPTIONS = ("steps", "batch_size", "learning_rate", "weight_decay", "draws", "device", "random_state")


def usual_lookback(horizon: int) -> int:
    """Eight horizons, at least 64."""
    return max(64, 8 * horizon)


class S4DForecaster(PointForecaster):
    """Forecast every variable of a series at all steps of the horizon at once, from what all of them were.

    The window is normalised by its own mean and spread; the network's last output is read as the horizon. The absolute
    error is minimised, so that the median is predicted; intervals are made of the errors on the fitted series, as for
    every `PointForecaster`.

    Arguments:
        horizon: Steps to predict.
        lookback: Length of the window; by default eight horizons, at least 64.
        d_model: Width of the network.
        n_layers: Layers.
        d_state: State size of a head.
        init: Initialisation.
        dt_min: Smallest initial step.
        dt_max: Largest initial step.
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        weight_decay: For all but the state space models' A, B and dt.
        dropout: Probability.
        draws: Errors kept for intervals.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed.

    Attributes:
        names_: Variables, in the order in which they are expected.
        model_: The trained `S4DModel`.
        history_: Training loss over the run.

    Example:
        >>> wave = Series(np.sin(np.arange(300) / 5))
        >>> model = S4DForecaster(4, lookback=32, d_model=8, n_layers=1, d_state=8, steps=100).fit([wave])
        >>> found = model.predict(wave)
        >>> bool(np.abs(found[:, 0] - np.sin(np.arange(300, 304) / 5)).max() < 0.3)
        True
    """

    def __init__(
        self,
        horizon: int,
        lookback: int | None = None,
        *,
        d_model: int = 32,
        n_layers: int = 2,
        d_state: int = 32,
        init: Any = "lin",
        dt_min: float = 1e-2,
        dt_max: float = 5e-1,
        steps: int = 300,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.01,
        dropout: float = 0.1,
        draws: int = 200,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        if horizon < 1 or (lookback is not None and lookback < 2):
            raise InputError("a forecast has a horizon and a window", (horizon, lookback), "Give 1 or more, 2 or more.")
        self.horizon = horizon
        self.lookback = usual_lookback(horizon) if lookback is None else lookback
        self.kernel = KernelConfig(d_state=d_state, init=init, dt_min=dt_min, dt_max=dt_max)
        self.d_model, self.n_layers, self.dropout = d_model, n_layers, dropout
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.draws, self.device, self.random_state = draws, device, random_state

    def learn(self, series: Sequence[Series]) -> None:
        """Train the network on all windows."""
        self.names_ = tuple(series[0].names)
        variables = len(self.names_)
        windows = Windows(series, self.lookback, self.horizon)
        config = S4DConfig(
            d_input=variables,
            d_output=self.horizon * variables,
            d_model=self.d_model,
            n_layers=self.n_layers,
            dropout=self.dropout,
            pooling="last",
            kernel=self.kernel,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            model = S4DModel(config)

        def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            past, future, _ = windows.draw(self.batch_size, generator)
            # Measured in float64: a small change of a large number would be lost in float32.
            norm = InstanceNorm.of(past)
            return norm.apply(past).float(), norm.apply(future).float()

        def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            past, future = batch
            return F.l1_loss(network(past).view_as(future), future)

        def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
            return [torch.optim.AdamW(ssm_param_groups(network, self.learning_rate, weight_decay=self.weight_decay))]

        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=max(1, self.steps // 20),
            ema_decay=0.95,
            evaluate_every=max(1, self.steps // 10),
            seed=self.random_state,
        )
        trained = train(
            model,
            draw,
            loss,
            plan,
            make_optimizers=optimizers,
            device=self.device,
        )
        self.model_, self.history_ = trained.model, trained.history

    def point(
        self, values: Float64[np.ndarray, "batch lookback variables"]
    ) -> Float64[np.ndarray, "batch horizon variables"]:
        """The median of each step."""
        self._refuse_unfitted("model_")
        if values.shape[2] != len(self.names_):
            got = f"{values.shape[2]} variables"
            raise InputError(f"this forecaster was fitted to {len(self.names_)} variables", got, "Pass the same.")
        past = torch.from_numpy(values)
        size = max(1, (1 << 18) // math.prod(values.shape[1:]))
        found = []
        with torch.no_grad():
            for piece in past.split(size):
                norm = InstanceNorm.of(piece)
                inputs = norm.apply(piece).float().to(self.model_.decoder.weight.device)
                outputs = self.model_(inputs).double().cpu().view(len(piece), self.horizon, -1)
                found.append(norm.undo(outputs))
        return torch.cat(found).numpy()

    def predict(self, last_window: Any) -> Float64[np.ndarray, "horizon variables"]:
        """What follows a series: its last `lookback` rows are the window.

        Arguments:
            last_window: A `Series`, or an array (time, variables), or (time,) for one variable.

        Raises:
            InputError: too few rows, or other variables than those of the fit.
        """
        self._refuse_unfitted("model_")
        named = isinstance(last_window, Series)
        series = last_window if named else Series(last_window)
        if named and tuple(series.names) != self.names_:
            got = ", ".join(map(str, series.names))
            raise InputError("the variables are not those of the fit", got, f"Pass {', '.join(map(str, self.names_))}.")
        if len(series) < self.lookback:
            raise InputError(f"a window has {self.lookback} rows", len(series), "Pass more of the past.")
        return self.point(series.values[None, -self.lookback :])[0]

    def checkpoint(self) -> Checkpoint:
        """The fitted forecaster as one medium: weights, options, variables, and the errors behind its intervals.

        Raises:
            InputError: no fit.
        """
        self._refuse_unfitted("model_")
        described = {
            "names": list(self.names_),
            "horizon": self.horizon,
            "lookback": self.lookback,
            "options": plain({name: getattr(self, name) for name in _OPTIONS}),
        }
        return pack("s4d", "S4DForecaster", self.model_, described, {"errors": torch.from_numpy(self.errors_)})

    def save(self, path: str | Path) -> Path:
        """Write the fitted forecaster as safetensors."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu") -> S4DForecaster:
        """Read what `save` wrote.

        Raises:
            WeightsError: another file, or that of another estimator.
        """
        model, described, aside = unpack(path, "s4d", "S4DForecaster", S4DModel, NOT_SAVED)
        model.to(device)
        shape = {name: getattr(model.config, name) for name in ("d_model", "n_layers", "dropout")}
        found = cls(described["horizon"], described["lookback"], **shape, **described["options"])
        found.kernel, found.model_, found.history_ = model.config.kernel, model, ()
        found.names_, found.errors_ = tuple(described["names"]), aside["errors"].numpy()
        return found
