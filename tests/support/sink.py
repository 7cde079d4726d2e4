"""A remote server on loopback that notes what it gets and answers as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it arrived. `started` and `ended` are monotonic seconds."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]
    started: float
    ended: float = 0.0


@dataclass(frozen=True)
class Reply:
    """What the sink answers: whole, or as `raw` bytes straight onto the wire."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None


Respond = Callable[[Received], Reply]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class Sink:
    """`with Sink() as sink:`; `sink.url`, `sink.received`; replace `sink.respond` at any time."""

    def __init__(self, respond: Respond = lambda request: Reply()) -> None:
        self.respond = respond
        self.received: list[Received] = []
        self.arrived = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                started = time.monotonic()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Received(self.command, self.path, headers, body, self.client_address, started)
                reply = sink.respond(request)
                with sink.arrived:
                    sink.received.append(
                        Received(**{**request.__dict__, "ended": time.monotonic()}),
                    )
                    sink.arrived.notify_all()
                if reply.raw is not None:
                    self.wfile.write(reply.raw)
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST
            do_PUT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def wait_for(self, count: int, *, seconds: float = 20) -> list[Received]:
        """Return what was received once it is at least `count` requests; raise TimeoutError otherwise."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: len(self.received) >= count, timeout=seconds):
                raise TimeoutError(f"{len(self.received)} of {count} requests arrived within {seconds} s")
            return list(self.received)

    def __enter__(self) -> Sink:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
