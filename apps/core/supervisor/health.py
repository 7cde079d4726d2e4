"""Wait for the web process inside the supervisor's loop: one request, answered as soon as anybody serves."""

from __future__ import annotations

import contextlib
import socket

REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class HealthProbe:
    """One non-blocking GET /health after the other until one is answered.

    The listening socket is ours and open before any web process lives, so the connection succeeds at once and the
    answer comes the moment somebody serves: no polling.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (_reachable(host), port)
        self._connection: socket.socket | None = None
        self._received = b""
        self.status = 0

    @property
    def is_done(self) -> bool:
        """Say whether /health was answered with 200."""
        return self.status == 200

    def fileno(self) -> int | None:
        """Return the descriptor to wait for, None between two attempts."""
        return self._connection.fileno() if self._connection else None

    def begin(self) -> None:
        """Send the request unless one is under way."""
        if self._connection is not None:
            return
        with contextlib.suppress(OSError):
            connection = socket.create_connection(self._address, timeout=2)
            connection.sendall(REQUEST)
            connection.setblocking(False)
            self._connection, self._received = connection, b""

    def read(self) -> None:
        """Take in what has come; a connection that ended without an answer is to be begun anew."""
        if self._connection is None:
            return
        try:
            received = self._connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._received += received
        line, separator, _ = self._received.partition(b"\r\n")
        if separator:
            parts = line.split()
            self.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        if separator or not received:
            self.close()

    def close(self) -> None:
        """Give up the attempt under way."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _reachable(host: str) -> str:
    """Return the address under which this machine reaches a server that listens on `host`."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
