"""Embedded Redis: the packaged `redis-server`, else the machine's own, with a password on loopback."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from typing import IO

from apps.core.embedded.binaries import find_redis
from apps.core.embedded.processes import is_process_of
from apps.core.embedded.service import EmbeddedService
from apps.core.embedded.state import (
    LOOPBACK,
    make_private_dir,
    read_or_create,
    remember_port,
    write_private,
)

PID_FILE = "redis.pid"
CONFIG_FILE = "redis.conf"


class EmbeddedRedis(EmbeddedService):
    """A Redis for one data directory; its append-only file is synced every second."""

    name = "Redis"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def prepare(self) -> None:
        """Write the configuration, end a leftover server, choose the port."""
        make_private_dir(self.data_dir)
        self._password = read_or_create(self.data_dir / "password", lambda: secrets.token_urlsafe(32))
        self._end_leftover_server()
        self._port = remember_port(self.data_dir / "port")
        write_private(self.data_dir / CONFIG_FILE, self._build_config())

    def build_command(self) -> list[str]:
        """Return the command that runs the server in the foreground; the password stays in its 0600 file."""
        return [str(find_redis()), str(self.data_dir / CONFIG_FILE)]

    def spawn(self, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
        """Start the server process in its directory."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        return self._popen(self.build_command(), directory=self.data_dir, environment=environment, output=output)

    def is_ready(self) -> bool:
        """Say whether the server has loaded its data and answers to our password."""
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(1024)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def _build_config(self) -> str:
        lines = [
            f"bind {LOOPBACK}",
            f"port {self._port}",
            f"requirepass {self._password}",
            "daemonize no",
            f"pidfile {PID_FILE}",
            "logfile ''",
            "loglevel warning",
            "dir ./",
            "save ''",
            f"appendonly {'yes' if self.durable else 'no'}",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
        ]
        return "\n".join(lines) + "\n"

    def _end_leftover_server(self) -> None:
        """End the server that the pid file names, if that process really is a Redis of this directory."""
        try:
            pid = int((self.data_dir / PID_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return
        if is_process_of(pid, command="redis-server", directory=self.data_dir):
            self._end_leftover(pid)
