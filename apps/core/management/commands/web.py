"""`manage.py web`: serve HTTP, server-sent events and WebSockets."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandParser

from apps.core.web.heads import BoundedHttpProtocol

KEEP_ALIVE_SECONDS = 75
# Answers that still stream after this are cut: `up` waits a little longer, then kills.
GRACEFUL_SECONDS = 5


class Command(BaseCommand):
    help = "Serve the web process (ASGI) until told to stop. `up` runs it; alone it is of use behind a process manager."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on")
        parser.add_argument("--fd", type=int, help="serve on this inherited listening socket instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["fd"] is None:
            family = socket.AF_INET6 if ":" in options["host"] else socket.AF_INET
            listener = socket.create_server((options["host"], options["port"]), family=family, backlog=2048)
        else:
            # Its family is asked of the kernel: a socket labelled wrongly loses TCP_NODELAY.
            listener = socket.socket(fileno=options["fd"])
        uvicorn.Server(build_config()).run(sockets=[listener])


def build_config() -> uvicorn.Config:
    """Return how the web process serves; Django has configured the logs."""
    return uvicorn.Config(
        "project.asgi:application",
        loop="uvloop",
        http=BoundedHttpProtocol,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # TRUSTED_PROXIES decides, in the application
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        workers=1,
    )
