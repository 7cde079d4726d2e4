"""Journals whose process is gone: everything in them is recorded, then they are deleted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import structlog

from apps.billing.services.recording import UsageEntry
from apps.gateway.runtime.journal import SUFFIX
from apps.gateway.runtime.lines import LineReader
from apps.gateway.runtime.orphans import held
from apps.gateway.runtime.writing import write_entries

logger = structlog.get_logger(__name__)

READ_BYTES = 1024 * 1024
BATCH = 1000


def replay_orphans(directory: Path) -> int:
    """Record what dead processes left in their journals; return the number of new records.

    Any number of processes may do this at once, and be killed at any line: a file is read under its lock, records are
    idempotent, and the file goes only when all of them are in the database. Raise what the database raises.
    """
    recorded = 0
    for path in sorted(directory.glob(f"*{SUFFIX}")) if directory.is_dir() else ():
        with held(path) as fd:
            if fd is not None:
                recorded += _replay(path, fd)
    return recorded


def _replay(path: Path, fd: int) -> int:
    reader = LineReader()
    recorded = 0
    rest = b""
    offset = 0
    while data := os.pread(fd, READ_BYTES, offset):
        offset += len(data)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        for batch in batched_entries(reader.feed(whole + newline)):
            recorded += write_entries(batch)
    # What follows the last newline is half a line: its write was cut, so nothing was answered on its account.
    interrupted = 0
    for batch in batched_entries(reader.give_up()):
        interrupted += len(batch)
        recorded += write_entries(batch)
    path.unlink()
    logger.info("journal_replayed", file=path.name, recorded=recorded, interrupted=interrupted, torn=reader.unreadable)
    return recorded


def batched_entries(entries: Iterable[UsageEntry]) -> Iterator[list[UsageEntry]]:
    """Yield lists of at most BATCH entries."""
    remaining = iter(entries)
    while batch := list(islice(remaining, BATCH)):
        yield batch
