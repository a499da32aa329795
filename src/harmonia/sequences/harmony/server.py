"""Recommendations over HTTP: JSON for people and controllers, metrics for Prometheus, HPA and KEDA.

    GET /recommendations              all workloads
    GET /recommendations/<workload>   one
    GET /metrics                      Prometheus' text format
    GET /healthz                      whether it was refreshed lately

It only recommends; nothing is ever scaled by it.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from harmonia.core.errors import InputError
from harmonia.sequences.harmony.recommender import Recommender


@contextmanager
def serving(recommender: Recommender, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer over HTTP while inside; gives the address. Whoever is inside calls `Recommender.refresh`.

    Arguments:
        recommender: What is asked.
        host: Interface.
        port: 0 for any free one.

    Raises:
        InputError: the port cannot be had.
    """

    class Handler(_Handler):
        asked = recommender

    with listening(Handler, host, port) as address:
        yield address


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], host: str, port: int) -> Iterator[str]:
    """Let `handler` answer in threads while inside; gives the address.

    Raises:
        InputError: the port cannot be had.
    """
    try:
        server = _Server((host, port), handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host}:{port}", error, "Choose another port.") from error
    thread = threading.Thread(target=server.serve_forever, name="harmony-http", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while inside, so that whoever waits on it ends at once; ctrl-C raises as ever.

    Signals reach the main thread alone: in another one the event is never set.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Connections that may wait: many controllers ask at the same second."""


class _Handler(BaseHTTPRequestHandler):
    asked: Recommender
    server_version = "harmony"

    def do_GET(self) -> None:
        """Answer from the last snapshot."""
        snapshot = self.asked.snapshot
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts == ["metrics"]:
            self._send(HTTPStatus.OK, snapshot.metrics, "text/plain; version=0.0.4; charset=utf-8")
        elif parts == ["healthz"]:
            status = HTTPStatus.OK if snapshot.refreshed else HTTPStatus.SERVICE_UNAVAILABLE
            self._json(status, {"refreshed": snapshot.refreshed})
        elif parts == ["recommendations"]:
            self._json(HTTPStatus.OK, {"recommendations": list(snapshot.recommendations.values())})
        elif parts[0] == "recommendations" and len(parts) == 2 and parts[1] in snapshot.recommendations:
            self._json(HTTPStatus.OK, snapshot.recommendations[parts[1]])
        else:
            known = ["/metrics", "/healthz", *(f"/recommendations/{name}" for name in snapshot.recommendations)]
            self._json(HTTPStatus.NOT_FOUND, {"error": "there is nothing at this address", "known": known})

    def _json(self, status: HTTPStatus, content: Any) -> None:
        self._send(status, json.dumps(content, allow_nan=False), "application/json")

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
