"""Forecasts for a replay: one for each step, from the window that ends with it, computed once for all policies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting import Forecaster
from harmonia.sequences.harmony.demand import Demand


class Foresight:
    """What a forecaster says at each step of a trace.

    Arguments:
        forecaster: Fitted to the warm-up.
        target: Which variable is the demand, by name or place, where it predicts several.
        refit: Steps after which a new one is fitted to all that was seen; 0 for never.
        make: Fits the new one, given the last and what was seen.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        target: str | int | None = None,
        *,
        refit: int = 0,
        make: Callable[[Forecaster, Series], Forecaster] | None = None,
    ) -> None:
        self._forecaster, self._target, self._refit, self._make = forecaster, target, refit, make
        self._trace: Series | None = None
        self._first = 0
        self._demands: list[Demand] = []
        self._latest = forecaster

    def begin(self, trace: Series, first: int) -> None:
        """Look at a trace from step `first` on; what is known of the same replay is kept.

        Raises:
            InputError: too few steps before the first.
        """
        if self._forecaster.lookback > first:
            got = f"{first} steps before the first decision"
            raise InputError(f"a forecast needs {self._forecaster.lookback} steps", got, "Start later.")
        if trace is not self._trace or first != self._first:
            self._trace, self._first, self._demands, self._latest = trace, first, [], self._forecaster

    def at(self, step: int) -> Demand:
        """Demand of the steps that follow `step`, as known at it; steps are asked for in order."""
        while self._first + len(self._demands) <= step:
            self._predict(self._first + len(self._demands))
        return self._demands[step - self._first]

    def _predict(self, start: int) -> None:
        """All steps until the next refit; each forecast sees only its own window."""
        trace = self._trace
        assert trace is not None
        forecaster = self._latest
        if self._refit and self._make is not None and start > self._first:
            seen = Series(trace.values[: start + 1], trace.names, trace.times[: start + 1])
            forecaster = self._latest = self._make(forecaster, seen)
        until = min(len(trace), start + (self._refit or len(trace)))
        rows = np.arange(start, until)[:, None] + np.arange(1 - forecaster.lookback, 1)
        self._demands += Demand.of(forecaster.forecast(trace.values[rows], trace.times[rows]), self._target)
