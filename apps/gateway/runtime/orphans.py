"""Files of processes: whose writer lives, and whose is gone. The lock of a file says so."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[int | None]:
    """Open and lock a file; None when its writer lives, or somebody else is at it, or it is gone."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Another process may have deleted it between the opening and the lock.
        yield fd if path.exists() else None
    finally:
        os.close(fd)
