"""What the estimators of sequences share: the network, its training, sampling rates, streams and files."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import InputError
from harmonia.core.weights import Checkpoint, write_safetensors
from harmonia.parts.saved_network import pack, plain, unpack
from harmonia.parts.sequences import Scaler, SequenceInput, Sequences
from harmonia.parts.training import Plan, Trained, check_training, train
from harmonia.sequences.s4d.kernel import KernelConfig
from harmonia.sequences.s4d.network import NOT_SAVED, S4DConfig, S4DModel, ssm_param_groups
from harmonia.sequences.s4d.stream import OnlinePredictor

E = TypeVar("E", bound="SequenceEstimator")

_PREDICTED_AT_ONCE = 1 << 18
"""Samples times channels of a batch of predictions."""


class SequenceEstimator(SequenceInput, BaseEstimator, ABC):
    """What the classifier and the regressor share: the network, its training, rates, streams and files."""

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        *,
        d_model=64,
        n_layers=4,
        d_state=64,
        init="lin",
        discretization="zoh",
        dt_min=1e-3,
        dt_max=1e-1,
        bidirectional=False,
        bandlimit=None,
        n_ssm=None,
        dropout=0.1,
        norm="layer",
        prenorm=False,
        pooling="mean",
        epochs=20,
        batch_size=32,
        learning_rate=4e-3,
        ssm_learning_rate=1e-3,
        weight_decay=0.01,
        device="auto",
        checkpoints=None,
        random_state=0,
    ):
        self.d_model = d_model
        self.n_layers = n_layers
        self.d_state = d_state
        self.init = init
        self.discretization = discretization
        self.dt_min = dt_min
        self.dt_max = dt_max
        self.bidirectional = bidirectional
        self.bandlimit = bandlimit
        self.n_ssm = n_ssm
        self.dropout = dropout
        self.norm = norm
        self.prenorm = prenorm
        self.pooling = pooling
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.ssm_learning_rate = ssm_learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.checkpoints = checkpoints
        self.random_state = random_state

    # ------------------------------------------------------------------------------------------------ training

    def _fit(self: E, sequences: Sequences, targets: Tensor, d_output: int) -> E:
        self._check_parameters()
        kernel = KernelConfig(
            d_state=self.d_state,
            init=self.init,
            discretization=self.discretization,
            dt_min=self.dt_min,
            dt_max=self.dt_max,
            bidirectional=self.bidirectional,
            bandlimit=self.bandlimit,
            n_ssm=self.n_ssm,
        )
        config = S4DConfig(
            d_input=sequences.channels,
            d_output=d_output,
            d_model=self.d_model,
            n_layers=self.n_layers,
            dropout=self.dropout,
            norm=self.norm,
            prenorm=self.prenorm,
            pooling=self.pooling,
            kernel=kernel,
        )
        if self.pooling == "none":
            raise InputError("an estimator gives one output a sequence", "pooling='none'", "Use mean or last.")
        self.scaler_ = Scaler.of(sequences)
        self.rate_ = 1.0
        seed = int(check_random_state(self.random_state).randint(2**31))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._network(config)
        values = Sequences(self.scaler_.apply(sequences.values), sequences.lengths)

        def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
            rows = torch.randperm(len(values), generator=generator)[: self.batch_size]
            return (*values.take(rows), targets[rows])

        def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
            u, lengths, wanted = batch
            return self._loss(network(u, lengths=lengths), wanted)

        steps = self.epochs * math.ceil(len(values) / self.batch_size)
        plan = Plan(
            steps=steps,
            learning_rate=float(self.learning_rate),
            warmup=max(1, steps // 20),
            weight_decay=float(self.weight_decay),
            ema_decay=0.0,
            evaluate_every=max(1, steps // 20),
            checkpoint_every=max(1, steps // 10),
            seed=seed,
        )
        trained: Trained[S4DModel] = train(
            model,
            draw,
            loss,
            plan,
            folder=None if self.checkpoints is None else Path(self.checkpoints),
            make_optimizers=self._optimizers,
            device=self.device,
        )
        self.model_ = trained.model
        self.history_ = trained.history
        return self

    def _network(self, config: S4DConfig) -> S4DModel:
        return S4DModel(config)

    def _optimizers(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        groups = ssm_param_groups(
            model, float(self.learning_rate), float(self.ssm_learning_rate), float(self.weight_decay)
        )
        return [torch.optim.AdamW(groups)]

    def _check_parameters(self) -> None:
        check_whole("epochs", self.epochs)
        check_training(self.batch_size, self.learning_rate, self.weight_decay)
        check_number("ssm_learning_rate", self.ssm_learning_rate, above=0)

    def _of_one_length(self) -> bool:
        return self.flat_ and self.rate_ == 1

    # ---------------------------------------------------------------------------------------------- predicting

    def _outputs(self, X: Any) -> Float64[np.ndarray, "sequences outputs"]:
        check_is_fitted(self)
        sequences = self._read(X, reset=False)
        model, device = self.model_.eval(), self.model_.decoder.weight.device
        # Sequences of like length together, so that little is padded.
        order = torch.argsort(sequences.lengths, stable=True)
        size = max(1, _PREDICTED_AT_ONCE // (sequences.values.shape[1] * sequences.channels))
        found = torch.empty(len(sequences), model.config.d_output, dtype=torch.float64)
        with torch.no_grad():
            for rows in order.split(size):
                u, lengths = sequences.take(rows)
                out = model(self.scaler_.apply(u).to(device), lengths=lengths.to(device), rate=self.rate_)
                found[rows] = out.double().cpu()
        return found.numpy()

    def set_sampling_rate(self: E, ratio: float) -> E:
        """Expect inputs sampled `ratio` times as sparsely as in training: 2.0 for half the sampling rate.

        Nothing is trained again: the step of every state space model is multiplied by `ratio`.

        Raises:
            InputError: a ratio that is not positive.
        """
        check_is_fitted(self)
        if not isinstance(ratio, Real) or not 0 < float(ratio) < math.inf:
            raise InputError("the ratio of sampling intervals is positive", repr(ratio), "Give e.g. 2.0.")
        self.rate_ = float(ratio)
        return self

    def stream(self) -> OnlinePredictor:
        """A predictor that takes a signal piece by piece, in constant memory.

        Raises:
            InputError: a model that needs the whole signal: bidirectional, or discretised by ``dss``.
        """
        check_is_fitted(self)
        return OnlinePredictor(self.model_.eval(), self.scaler_, self._finished, self.rate_)

    @abstractmethod
    def _finished(self, outputs: Float64[np.ndarray, "time outputs"]) -> Float64[np.ndarray, "time outputs"]:
        """Network outputs as what is predicted: probabilities, or values in their units."""

    @abstractmethod
    def _loss(self, found: Tensor, wanted: Tensor) -> Tensor:
        """What is minimised."""

    # --------------------------------------------------------------------------------------------------- files

    def checkpoint(self) -> Checkpoint:
        """The fitted model as one medium: weights, options, scales, sampling rate and classes.

        Raises:
            InputError: classes that are neither words nor numbers.
        """
        check_is_fitted(self)
        described: dict[str, Any] = {
            "parameters": plain(self.get_params()),
            "scaler": {"mean": self.scaler_.mean.tolist(), "spread": self.scaler_.spread.tolist()},
            "flat": self.flat_,
            "features": self.n_features_in_,
            "rate": self.rate_,
            "described": getattr(self, "description_", {}),
            **self._described(),
        }
        return pack("s4d", type(self).__name__, self.model_, described)

    def save(self, path: str | Path) -> Path:
        """Write the fitted model as safetensors; see `checkpoint`."""
        found = self.checkpoint()
        return write_safetensors(path, found.tensors, found.metadata)

    @classmethod
    def load(cls: type[E], path: str | Path, *, device: str = "cpu") -> E:
        """Read what `save` wrote.

        Raises:
            WeightsError: another file, or that of another estimator.
        """
        model, described, _ = unpack(path, "s4d", cls.__name__, S4DModel, NOT_SAVED)
        model.to(device)
        config, known = model.config, cls._get_param_names()
        # Older files hold the options of the network alone, and no rate.
        shape = {f.name: getattr(config, f.name) for f in dataclasses.fields(S4DConfig)}
        shape |= {f.name: getattr(config.kernel, f.name) for f in dataclasses.fields(KernelConfig)}
        given = {name: value for name, value in shape.items() if name in known} | described.get("parameters", {})
        estimator = cls(**given)
        estimator.model_, estimator.rate_ = model, described.get("rate", 1.0)
        estimator.scaler_ = Scaler(*(np.array(described["scaler"][name]) for name in ("mean", "spread")))
        estimator.flat_, estimator.n_features_in_ = described["flat"], described["features"]
        estimator.history_ = ()
        estimator.description_ = described["described"]
        estimator._restore(described)
        return estimator

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """What else a file must hold."""

    @abstractmethod
    def _restore(self, described: dict[str, Any]) -> None:
        """Take it from there."""
