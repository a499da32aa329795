"""Measurements as they come: answers of Prometheus, files; what is missing, late or absurd is found and told."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.data.traces import resample
from harmonia.media import Series
from harmonia.sequences.harmony.answers import Samples, joined, read_prometheus
from harmonia.sequences.harmony.trace import measured

ABSURD = 20.0
"""A value above so many times the 99% quantile of its history is taken for an error of measurement."""

STALE = 3
"""Intervals after which data count as stale."""

Get = Callable[[str, Mapping[str, str]], bytes]
"""An HTTP client: address and query parameters to the body of the answer."""


def http_get(url: str, parameters: Mapping[str, str]) -> bytes:
    """Ask over HTTP with a time limit of ten seconds.

    Raises:
        InputError: no answer.
    """
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        return error.read()  # Prometheus explains itself in the body
    except (OSError, ValueError) as error:
        raise InputError(f"{url} does not answer", error, "Check the address and the network.") from error


class Cleaned(NamedTuple):
    """An even series, when it ends in seconds since 1970, and what was wrong with it."""

    series: Series
    end: float
    problems: tuple[str, ...]


def clean(
    times: Float[ndarray, " rows"],
    values: Float[ndarray, "rows variables"],
    names: tuple[str, ...],
    step: float,
) -> Cleaned:
    """Put measurements on an even grid and leave out what cannot be true.

    Negative values, and values above `ABSURD` times the 99% quantile of their variable, count as missing; the series
    ends with the last row in which every variable is sound. Gaps are filled linearly.

    Arguments:
        times: Seconds since 1970.
        values: NaN is missing.
        names: Of the variables.
        step: Of the grid, in seconds.

    Raises:
        InputError: nothing sound, or too much missing.
    """
    values = np.array(values, dtype=np.float64)
    problems = []
    for column, name in enumerate(names):
        each = values[:, column]
        known = each[np.isfinite(each) & (each >= 0)]
        limit = ABSURD * np.quantile(known, 0.99) if len(known) and known.max() > 0 else np.inf
        with np.errstate(invalid="ignore"):
            wrong = (each < 0) | (each > limit)
        if wrong.any():
            problems.append(f"{int(wrong.sum())} absurd values of {name} left out")
            each[wrong] = np.nan
    sound = np.isfinite(values).all(1)
    if not sound.any():
        raise InputError("no row is sound", f"{len(values)} rows", "Check the query and its units.")
    last = int(np.flatnonzero(sound)[-1])
    missing = int((~np.isfinite(values[: last + 1])).any(1).sum())
    if missing:
        problems.append(f"{missing} rows with gaps filled")
    dates = (times[: last + 1] * 1e6).astype(np.int64).astype("datetime64[us]")
    series = resample(dates, values[: last + 1], names, np.timedelta64(round(step * 1e6), "us"))
    return Cleaned(series, float(times[last]), tuple(problems))


@dataclass(frozen=True)
class PrometheusSource:
    """Measurements of a workload from Prometheus, one query a variable.

    Arguments:
        url: Address of the server.
        queries: PromQL by variable; each must give one series.
        step: Seconds.
        history: Seconds to ask for.
        get: HTTP client.
    """

    url: str
    queries: Mapping[str, str]
    step: float
    history: float
    get: Get = http_get

    def read(self, now: float) -> Cleaned:
        """Ask for the history up to `now`.

        Raises:
            InputError: no answer, an error, no or several series for a query, or nothing sound.
        """
        columns: list[Samples] = []
        for name, query in self.queries.items():
            parameters = {
                "query": query,
                "start": f"{now - self.history:.3f}",
                "end": f"{now:.3f}",
                "step": f"{self.step:g}",
            }
            found = read_prometheus(self.get(f"{self.url.rstrip('/')}/api/v1/query_range", parameters))
            if len(found) != 1:
                mend = "Aggregate it, for instance with sum(...)." if found else "Check the query and what is scraped."
                raise InputError(f"the query of '{name}' gives {len(found)} series", query, mend)
            columns.append(found[0])
        return clean(*joined(columns), tuple(self.queries), self.step)


@dataclass(frozen=True)
class FileSource:
    """Measurements of a workload from a file that something else writes: CSV, Parquet, an answer of Prometheus.

    Arguments:
        path: The file; read anew every time.
        columns: Which of its columns; all unless given.
        step: Seconds.
        live: Whether the file must be fresh. Otherwise it counts as fresh as its last row.
    """

    path: Path
    columns: tuple[str, ...]
    step: float
    live: bool = False

    def read(self, now: float) -> Cleaned:
        """Read the file.

        Raises:
            InputError: what `measured` and `clean` raise, rows without dates, or a column that is missing.
        """
        whole, known, index = measured(self.path)
        if index is None or index.dtype.kind != "M":
            raise InputError(f"{self.path.name} has no dates", "rows without times", "Add a column of times.")
        for name in self.columns:
            if name not in known:
                got = ", ".join(known)
                raise InputError(f"{self.path.name} has no column '{name}'", got, "Name one of these.")
        names = self.columns or tuple(known)
        places = [known.index(name) for name in names]
        times = index.astype("datetime64[us]").astype(np.int64) / 1e6
        cleaned = clean(times, whole[:, places], names, self.step)
        return cleaned if self.live else cleaned._replace(end=now)


def quantity(amount: float, resource: str) -> str:
    """An amount as Kubernetes writes it: millicores for ``cpu``, bytes for ``memory``, plain otherwise.

    Example:
        >>> quantity(1.25, "cpu"), quantity(2.0, "memory"), quantity(3.0, "gpu")
        ('1250m', '2000000000', '3')
    """
    if resource == "cpu":
        return f"{round(amount * 1000)}m"
    return f"{round(amount * 1e9)}" if resource == "memory" else f"{amount:g}"


def exposition(metrics: Mapping[str, tuple[str, list[tuple[Mapping[str, Any], float]]]]) -> str:
    """Metrics in Prometheus' text format; values that are not finite are left out.

    Arguments:
        metrics: By name: the help, and samples of labels and value.

    Example:
        >>> print(exposition({"up": ("Whether it runs.", [({"job": "shop"}, 1.0)])}))
        # HELP up Whether it runs.
        # TYPE up gauge
        up{job="shop"} 1.0
        <BLANKLINE>
    """
    lines = []
    for name, (text, samples) in metrics.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        for labels, value in samples:
            if np.isfinite(value):
                pairs = ",".join(f'{key}="{_escaped(str(label))}"' for key, label in labels.items())
                lines.append(f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
