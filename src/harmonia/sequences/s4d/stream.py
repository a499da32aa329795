"""A fitted model that follows a signal as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.parts.sequences import Scaler, Sequences
from harmonia.sequences.s4d.network import S4DModel

BLOCK = 256
"""Samples that are worked on at once: a transform inside of a block, a state from one to the next."""


class OnlinePredictor:
    """What a model says of a signal after each sample, in constant memory; made by `stream()` of an estimator.

    Arguments:
        model: A causal network.
        scaler: How samples are standardised.
        finish: From outputs of the network to what is predicted.
        rate: How many times as sparsely the signal is sampled as in training.

    Raises:
        InputError: a network that looks ahead, or whose kernel is normalised over its length (``dss``); samples that
            are no numbers, not finite, or of other channels.
    """

    def __init__(
        self,
        model: S4DModel,
        scaler: Scaler,
        finish: Callable[[np.ndarray], np.ndarray],
        rate: float = 1.0,
    ) -> None:
        if model.config.kernel.bidirectional:
            raise InputError("this model looks ahead", "bidirectional=True", "Train one with bidirectional=False.")
        with torch.no_grad():
            model.layers[0].kernel.recurrent(rate)  # type: ignore[union-attr, operator]  # refuses what is no recurrence
        self._model, self._scaler, self._finish, self._rate = model, scaler, finish, rate
        self.reset()

    def reset(self) -> None:
        """Forget the signal; the next sample is the first."""
        self._state = self._model.start()

    @property
    def samples(self) -> int:
        """Samples since the beginning."""
        return self._state.count

    def push(self, samples: Any) -> Float64[np.ndarray, "time outputs"]:
        """The predictions after each of these samples, (time,) or (time, channels)."""
        found = []
        values = Sequences.of([np.atleast_1d(as_numbers(samples, "samples"))]).values
        if values.shape[2] != len(self._scaler.mean):
            got = f"{values.shape[2]} channels"
            raise InputError(f"the model was trained on {len(self._scaler.mean)} channels", got, "Pass the same.")
        scaled = self._scaler.apply(values).to(self._model.decoder.weight.device)
        with torch.no_grad():
            for piece in scaled.split(BLOCK, 1):
                outputs, self._state = self._model.advance(piece, self._state, rate=self._rate)
                found.append(outputs[0].double().cpu().numpy())
        return self._finish(np.concatenate(found))
