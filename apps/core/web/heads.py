"""Bounds on the head of a request: uvicorn itself reads as many header bytes as come, for as long as they take."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of request line and headers; honest ones have one or two thousand."""
HEAD_SECONDS = 20.0
"""Longest time from the first byte of a connection's silence or of a head to the head's end."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is too large and closes connections whose head does not arrive in time.

    The bound is checked after every read that leaves the head open, so one read (256 KiB) may pass it.
    """

    _head_bytes = 0
    _is_reading_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request, but not for ever."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the head stays within its bounds."""
        super().data_received(data)
        if not self._is_reading_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """Begin a head: the connection's first, or that of a further request."""
        super().on_message_begin()
        self._is_reading_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """End a head."""
        self._is_reading_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self) -> None:
        message = b"The request's headers are too large."
        head: list[Any] = [
            b"HTTP/1.1 431 Request Header Fields Too Large",
            b"content-type: text/plain; charset=utf-8",
            b"content-length: %d" % len(message),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + message)
        self.transport.close()
