"""Whose quota is whose: what a killed process held of budgets is free as soon as its journal is recorded.

Each holder of leases has a file beside the journal, locked as long as its process lives, with the name that the files of the
process's journal begin with. Without it, because the disk refused or is gone, the holder's time has to run out.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from uuid import UUID

import structlog

from apps.billing.services.leases import release_holder
from apps.gateway.runtime.journal import SUFFIX as JOURNAL_SUFFIX
from apps.gateway.runtime.journal import Journal
from apps.gateway.runtime.orphans import held

logger = structlog.get_logger(__name__)

SUFFIX = ".holder"
NAME_BYTES = 64


class HolderMarks:
    """The marks of one process's holders: one, and another each time that a holder was taken for dead."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._locks: list[int] = []

    def mark(self, holder: UUID) -> None:
        """Say, before it leases anything, that a holder is this process's."""
        hidden = self._journal.directory / f".{holder.hex}{SUFFIX}"
        try:
            fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self._locks.append(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, self._journal.name.encode())
            hidden.rename(hidden.with_name(hidden.name[1:]))
        except OSError as error:
            hidden.unlink(missing_ok=True)
            logger.warning("holder_unmarked", error=str(error))

    def close(self) -> None:
        """Let go: whoever comes by releases what is left, once the journal is recorded."""
        locks, self._locks = self._locks, []
        for fd in locks:
            os.close(fd)


def release_dead(directory: Path) -> int:
    """Release the leases of processes that are gone and whose journals are recorded; return how many there were.

    Any number of processes may do this at once, and be killed at any line. Raise what the database raises.
    """
    released = 0
    for path in sorted(directory.glob(f"[!.]*{SUFFIX}")):
        with held(path) as fd:
            if fd is None:
                continue
            name = os.read(fd, NAME_BYTES).decode()
            # Looked for only now: nobody adds to the journal of a process that is gone.
            if any(directory.glob(f"{name}.*{JOURNAL_SUFFIX}")):
                continue
            leases = release_holder(holder=UUID(hex=path.stem))
            path.unlink()
            released += leases
            logger.info("holder_released", holder=path.stem, leases=leases)
    return released
