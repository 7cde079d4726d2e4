"""Private files and directories: what a service remembers between two starts."""

from __future__ import annotations

import os
import random
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Below the ranges from which systems take the local ports of outgoing connections, so that a stopped service finds
# its port free again.
PORT_RANGE = range(20000, 30000)


def make_private_dir(path: Path) -> Path:
    """Create the directory with mode 0700, or tighten an existing one of ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file with mode 0600 so that a reader meets the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_or_create(path: Path, create: Callable[[], str]) -> str:
    """Return the file's content, written by `create` with mode 0600 when there is none yet."""
    try:
        content = path.read_text()
    except FileNotFoundError:
        content = create()
        write_private(path, content)
        return content
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return content


def read_optional(path: Path) -> str | None:
    """Return the file's content, None when there is none that we may read."""
    try:
        return path.read_text()
    except OSError:
        return None


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as probe:
        # A server's own old connections in TIME_WAIT must not make its port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port() -> int:
    """Return a port of `PORT_RANGE` on which nobody listens."""
    for port in random.sample(PORT_RANGE, 200):
        if is_port_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def remember_port(path: Path) -> int:
    """Return the port kept in the file if it is still free, else a new one, kept from now on."""
    try:
        port = int(path.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if port and is_port_free(port):
        return port
    port = choose_port()
    write_private(path, str(port))
    return port
