"""A Prometheus that answers from traces, so that the service can be tried at full load before it meets a real one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np

from harmonia.media import Series
from harmonia.sequences.harmony.server import listening

_QUERY = re.compile(r'(\w+)\{workload="([^"]+)"\}')


@contextmanager
def measuring(traces: Mapping[str, Series], host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer ``/api/v1/query_range`` over HTTP while inside; gives the address.

    Arguments:
        traces: By workload; ``cpu{workload="shop"}`` asks for the variable ``cpu`` of the trace ``shop``.
        host: Interface.
        port: 0 for any free one.

    Example:
        >>> from harmonia.data.traces import synthetic_trace
        >>> from harmonia.sequences.harmony.ingest import PrometheusSource
        >>> trace = synthetic_trace(days=2)
        >>> with measuring({"shop": trace}) as address:
        ...     source = PrometheusSource(address, {"demand": 'cpu{workload="shop"}'}, step=600.0, history=86400.0)
        ...     found = source.read(now=1704239400.0)
        >>> len(found.series), found.problems
        (145, ())
    """

    known = {name: _Trace(trace) for name, trace in traces.items()}

    class Handler(_Handler):
        asked = known

    with listening(Handler, host, port) as address:
        yield address


class _Trace:
    """Ranges of a trace as Prometheus writes them."""

    def __init__(self, trace: Series) -> None:
        self._times = trace.times.astype("datetime64[us]").astype(np.int64) / 1e6
        self._columns = {str(name): trace.values[:, column] for column, name in enumerate(trace.names)}

    def between(self, name: str, start: float, end: float) -> list[dict[str, Any]]:
        if name not in self._columns:
            return []
        rows = slice(np.searchsorted(self._times, start), np.searchsorted(self._times, end, side="right"))
        values = map(repr, self._columns[name][rows].tolist())
        return [{"metric": {}, "values": list(zip(self._times[rows].tolist(), values))}]


class _Handler(BaseHTTPRequestHandler):
    asked: Mapping[str, _Trace]

    def do_GET(self) -> None:
        """Answer a range query; nothing for what is not known."""
        given = parse_qs(urlsplit(self.path).query)
        query = _QUERY.fullmatch(given["query"][0])
        known = query and self.asked.get(query[2])
        result = known.between(query[1], float(given["start"][0]), float(given["end"][0])) if query and known else []
        body = msgspec.json.encode({"status": "success", "data": {"resultType": "matrix", "result": result}})
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
