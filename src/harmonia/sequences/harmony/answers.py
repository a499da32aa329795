"""Answers of Prometheus: the JSON of its queries, and series of several queries side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError


class Samples(NamedTuple):
    """One series of an answer: its labels, times in seconds, and values, NaN where there was none."""

    labels: dict[str, str]
    times: Float64[ndarray, " samples"]
    values: Float64[ndarray, " samples"]


class _Entry(msgspec.Struct):
    """A series as Prometheus writes it: a matrix has values, a vector one value."""

    metric: dict[str, str]
    values: list[tuple[float, str | float]] = []
    value: tuple[float, str | float] | None = None


class _Data(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


def read_prometheus(text: str | bytes) -> list[Samples]:
    """The series in an answer of ``/api/v1/query_range`` (a matrix) or ``/api/v1/query`` (a vector).

    Raises:
        InputError: not JSON, an error that Prometheus reports, or another kind of result.

    Example:
        >>> answer = '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},'
        >>> read_prometheus(answer + '"values":[[1700000000,"1.5"],[1700000060,"NaN"]]}]}}')[0].values.tolist()
        [1.5, nan]
    """
    try:
        answer = msgspec.json.decode(text, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError("this is no answer of Prometheus", error, "Pass what /api/v1/query_range returned.") from error
    if answer.status != "success":
        raise InputError("Prometheus reports an error", answer.error or answer.status, "Mend the query.")
    if answer.data is None or answer.data.resultType not in ("matrix", "vector"):
        raise InputError(
            "the answer holds no series", answer.data and answer.data.resultType, "Query a range of an expression."
        )
    found = []
    try:
        for entry in msgspec.json.decode(answer.data.result, type=list[_Entry]):
            pairs = entry.values if entry.value is None else [entry.value]
            values = np.array([float(value) for _, value in pairs], dtype=np.float64)
            times = np.array([time for time, _ in pairs], dtype=np.float64)
            found.append(Samples(entry.metric, times, np.where(np.isfinite(values), values, np.nan)))
    except (ValueError, msgspec.MsgspecError) as error:
        raise InputError("this is no answer of Prometheus", error, "Pass what /api/v1/query_range returned.") from error
    return found


def joined(
    samples: Sequence[Samples],
) -> tuple[Float64[ndarray, " rows"], Float64[ndarray, "rows variables"]]:
    """All times in seconds, and the values of each series at them, NaN where it has none.

    Example:
        >>> one, two = (Samples({}, np.array(times), np.ones(2)) for times in ([0.0, 60.0], [60.0, 120.0]))
        >>> joined([one, two])[1].tolist()
        [[1.0, nan], [1.0, 1.0], [nan, 1.0]]
    """
    times = np.unique(np.concatenate([each.times for each in samples]))
    values = np.full((len(times), len(samples)), np.nan)
    for column, each in enumerate(samples):
        values[np.searchsorted(times, each.times), column] = each.values
    return times, values


def named(samples: Sequence[Samples]) -> list[str]:
    """A name of its own for each series: that of its metric where it is the only one, else its labels.

    Example:
        >>> pods = [Samples({"__name__": "cpu", "pod": pod}, np.ones(1), np.ones(1)) for pod in "ab"]
        >>> named(pods[:1]), named(pods)
        (['cpu'], ['cpu{pod="a"}', 'cpu{pod="b"}'])
    """
    metrics = [each.labels.get("__name__", "value") for each in samples]
    if len(set(metrics)) == len(metrics):
        return metrics
    told = [
        ",".join(f'{key}="{value}"' for key, value in sorted(each.labels.items()) if key != "__name__")
        for each in samples
    ]
    return [f"{metric}{{{labels}}}" for metric, labels in zip(metrics, told)]
