"""Anomalies in many variables: what was not to be expected from all that came before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy import ndarray
from torch import Tensor

from harmonia.core.checks import check_whole
from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.parts.forecasting import Windows
from harmonia.parts.saved_network import pack, unpack
from harmonia.parts.spread import spread_of
from harmonia.parts.training import check_training
from harmonia.sequences.chimera.data import Observed
from harmonia.sequences.chimera.fitting import fit_model, new_model
from harmonia.sequences.chimera.network import BlockState, ChimeraConfig, ChimeraModel


class ChimeraAnomalyDetector:
    """Score every moment of a series by how badly it could be predicted from what came before it.

    The paper scores by reconstruction. A causal layer with a direct term reconstructs its own input without learning
    anything, so the error here is that of predicting the next value, and no score sees the future. It is divided by
    its spread in training, variable by variable, squared, and averaged over variables. The threshold is a quantile of
    the scores of the series that was fitted: a share of ``1 - quantile`` of that series lies above it, be it as quiet
    as a constant.

    Arguments:
        lookback: Length of the windows in training; what is remembered later may be longer.
        quantile: Share of fitted moments below the threshold.
        d_model: Channels.
        d_state: Size of each of the two states.
        n_layers: Blocks.
        coupled: Whether variables know of each other.
        steps: Optimizer steps.
        batch_size: Windows a step.
        learning_rate: Peak.
        weight_decay: For all but rates, steps, couplings and norms.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed.

    Attributes:
        threshold_: Scores above it are anomalies.
        names_: Variables.
        model_: The trained `ChimeraModel`.

    Example:
        >>> t = np.arange(400)
        >>> waves = np.stack([np.sin(t / 5), np.cos(t / 5)], 1)
        >>> model = ChimeraAnomalyDetector(lookback=32, d_model=8, d_state=4, n_layers=1, steps=60).fit(waves)
        >>> waves[200, 0] += 2
        >>> bool(model.predict(waves)[200])
        True
    """

    def __init__(
        self,
        *,
        lookback: int = 64,
        quantile: float = 0.99,
        d_model: int = 16,
        d_state: int = 8,
        n_layers: int = 2,
        coupled: bool = True,
        steps: int = 200,
        batch_size: int = 16,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.01,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        lookback, steps = check_whole("lookback", lookback, 2), check_whole("steps", steps)
        if not 0 < quantile < 1:
            raise InputError("'quantile' lies inside of (0, 1)", quantile, "Give e.g. 0.99.")
        check_training(batch_size, learning_rate, weight_decay)
        self.config = ChimeraConfig(
            d_model=d_model, d_state=d_state, n_layers=n_layers, dropout=0.0, coupled=coupled, lookback=lookback
        )
        self.lookback, self.quantile, self.steps, self.batch_size = lookback, quantile, steps, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.device, self.random_state = device, random_state

    def fit(self, series: Any) -> ChimeraAnomalyDetector:
        """Learn what is normal from a series that mostly is; see `Observed.of` for what may stand for one.

        Raises:
            InputError: a series that is too short or not finite.
        """
        read = Observed.of(series).series
        windows = Windows([read], self.lookback, 1)
        self.spread_, self.mean_ = spread_of(read.values), read.values.mean(0)
        self.names_ = tuple(read.names)

        def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
            past, future, _ = windows.draw(self.batch_size, generator)
            return (self._scaled(torch.cat([past, future], 1)),)

        def loss(network: ChimeraModel, batch: tuple[Tensor, ...]) -> Tensor:
            whole = batch[0]
            return (network.following(whole[:, :-1]) - whole[:, 1:]).square().mean()

        trained = fit_model(
            new_model(self.config, self.random_state),
            draw,
            loss,
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.random_state,
            device=self.device,
        )
        self.model_, self.history_ = trained.model, trained.history
        errors = self._errors(read.values)
        usual = np.sqrt(np.square(errors).mean(0))
        self.usual_ = np.where(usual > 0, usual, 1.0)
        self.threshold_ = float(np.quantile(self._score(errors), self.quantile))
        self.reset()
        return self

    def score_samples(self, series: Any) -> Float64[ndarray, " time"]:
        """The score of every moment: about 1 where nothing is unusual.

        Arguments:
            series: Anything that `fit` takes; the columns of a data frame are put in the fitted order.

        Raises:
            InputError: other variables, or values that are not finite.
        """
        return self._score(self._errors(self._read(series)))

    def variable_scores(self, series: Any) -> Float64[ndarray, "time variables"]:
        """The score of every moment by variable; their mean is that of `score_samples`."""
        return np.square(self._errors(self._read(series)) / self.usual_)

    def predict(self, series: Any) -> Bool[ndarray, " time"]:
        """Whether each moment is an anomaly."""
        return self.score_samples(series) > self.threshold_

    # --------------------------------------------------------------------------------------------------- streams

    def reset(self) -> None:
        """Forget what `partial_update` has seen."""
        self._state: tuple[BlockState, ...] | None = None
        self._expected: Tensor | None = None

    def partial_update(self, row: Any) -> float:
        """Score the next row of a stream, in time and memory that do not grow; the same as `score_samples` gives.

        Arguments:
            row: One value a variable.

        Raises:
            InputError: another number of variables, or a value that is not finite.
        """
        self._fitted()
        try:
            now = np.asarray(row, dtype=np.float64)
        except (TypeError, ValueError):
            now = np.array(np.nan)
        if now.shape != self.mean_.shape or not np.isfinite(now).all():
            raise InputError(f"a row has {len(self.mean_)} finite values", row, "Pass one for each variable.")
        scaled = self._scaled(torch.from_numpy(now)[None, None])
        with torch.no_grad():
            error = scaled if self._expected is None else scaled - self._expected
            self._expected, self._state = self.model_.run(scaled.to(self._device()), self._state)
            self._expected = self._expected.cpu()
        return float(self._score(error[0].double().numpy())[0])

    # ---------------------------------------------------------------------------------------------------- pieces

    def _scaled(self, values: Tensor) -> Tensor:
        mean, spread = torch.from_numpy(self.mean_), torch.from_numpy(self.spread_)
        return ((values - mean) / spread).float()

    def _errors(self, values: ndarray) -> Float64[ndarray, "time variables"]:
        """What was not predicted, in units of the fitted series; before the first row its mean is expected."""
        scaled = self._scaled(torch.from_numpy(values)[None])
        with torch.no_grad():
            expected = self.model_.following(scaled.to(self._device())).cpu()
        expected = torch.cat([torch.zeros_like(expected[:, :1]), expected[:, :-1]], 1)
        return (scaled - expected)[0].double().numpy()

    def _score(self, errors: ndarray) -> Float64[ndarray, " time"]:
        return np.square(errors / self.usual_).mean(1)

    def _read(self, series: Any) -> ndarray:
        self._fitted()
        return Observed.again(series, self.names_).series.values

    def _fitted(self) -> None:
        if not hasattr(self, "threshold_"):
            raise InputError("this detector knows nothing yet", "no fit", "Call fit first.")

    def _device(self) -> torch.device:
        return self.model_.embed.weight.device

    def checkpoint(self) -> Checkpoint:
        """The fitted detector as one medium."""
        self._fitted()
        scales = {name: getattr(self, f"{name}_").tolist() for name in ("mean", "spread", "usual")}
        described = {"names": self.names_, "threshold": self.threshold_, "quantile": self.quantile, "scales": scales}
        return pack("chimera", "ChimeraAnomalyDetector", self.model_, described)

    def save(self, path: str | Path) -> Path:
        """Write the fitted detector as safetensors."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls, path: str | Path) -> ChimeraAnomalyDetector:
        """Read what `save` wrote.

        Raises:
            WeightsError: another file.
        """
        model, described, _ = unpack(path, "chimera", "ChimeraAnomalyDetector", ChimeraModel)
        found = cls(lookback=model.config.lookback, quantile=described["quantile"])
        found.config, found.model_, found.history_ = model.config, model, ()
        found.names_, found.threshold_ = tuple(described["names"]), described["threshold"]
        for name, values in described["scales"].items():
            setattr(found, f"{name}_", np.array(values))
        found.reset()
        return found
