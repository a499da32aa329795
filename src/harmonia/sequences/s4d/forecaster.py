"""Forecasting by S4D: a window of the past in, all steps of the horizon out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting import PointForecaster, Windows
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.training import Plan, train
from harmonia.sequences.s4d.kernel import KernelConfig
from harmonia.sequences.s4d.network import S4DConfig, S4DModel, ssm_param_groups


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

    Example:
        >>> wave = Series(np.sin(np.arange(300) / 5))
        >>> model = S4DForecaster(4, lookback=32, d_model=8, n_layers=1, d_state=8, steps=100).fit([wave])
        >>> found = model.forecast(wave.values[None, -32:]).mean[0, :, 0]
        >>> bool(np.abs(found - np.sin(np.arange(300, 304) / 5)).max() < 0.3)
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
        self.lookback = max(64, 8 * horizon) if lookback is None else lookback
        self.kernel = KernelConfig(d_state=d_state, init=init, dt_min=dt_min, dt_max=dt_max)
        self.d_model, self.n_layers, self.dropout = d_model, n_layers, dropout
        self.steps, self.batch_size = steps, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.draws, self.device, self.random_state = draws, device, random_state

    def learn(self, series: Sequence[Series]) -> None:
        """Train the network on all windows."""
        variables = series[0].values.shape[1]
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

        def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
            past, future = (each.float() for each in batch[:2])
            norm = InstanceNorm.of(past)
            return F.l1_loss(network(norm.apply(past)).view_as(future), norm.apply(future))

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
            lambda generator: windows.draw(self.batch_size, generator),
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
        if not hasattr(self, "model_"):
            raise InputError("this forecaster knows nothing yet", "no fit", "Call fit first.")
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
