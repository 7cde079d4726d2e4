"""The usage journal: what a process has promised to bill, on its own disk before the answer's last byte is sent.

Newline-delimited JSON, one file (segment) per process at a time. A call writes a line when it is forwarded, now and then
one while it streams, and one with its usage; all into the segment in which it began, so that every file is complete in
itself. An exclusive flock says that the writer lives: files without one are replayed by whoever finds them (replay.py).

A plain write survives the death of the process; `fdatasync` (every 100 ms, or before each last byte) survives that of
the machine. When the disk refuses, calls are refused: an answer that cannot be billed is not given.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from pathlib import Path

import structlog

from apps.core.ids import uuid7
from apps.gateway.errors import JournalRefused

logger = structlog.get_logger(__name__)

SUFFIX = ".ndjson"
SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment that has reached this takes no new calls. Small, because a replay reads segments whole."""
SYNC_SECONDS = 0.1
MIN_FREE_BYTES = 32 * 1024 * 1024
"""Below this much free disk no call is forwarded; those running still find room for their last line."""
RETRY_SECONDS = 2.0


class Segment:
    """One open file of the journal."""

    __slots__ = ("fd", "is_dirty", "is_retired", "is_torn", "open_calls", "path", "size")

    def __init__(self, directory: Path, owner: str) -> None:
        name = f"{owner}.{uuid7().hex}"
        hidden = directory / f".{name}{SUFFIX}"
        # Born hidden and locked, so that nobody takes the new file for an orphan.
        self.fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = directory / f"{name}{SUFFIX}"
        hidden.rename(self.path)
        self.size = 0
        self.open_calls = 0
        self.is_dirty = False
        self.is_retired = False
        self.is_torn = False

    def append(self, line: bytes) -> None:
        """Write a line as a whole, or raise OSError and mark what was written of it as void."""
        if self.is_torn:
            line = b"\n" + line
        written = os.write(self.fd, line)
        self.size += written
        self.is_dirty = True
        if written < len(line):
            self.is_torn = True
            raise OSError("the disk took only a part of the line")
        self.is_torn = False

    def close(self) -> None:
        """Give the file and its lock back."""
        os.close(self.fd)


class Journal:
    """The journal of one process. Every method may be called from any thread."""

    def __init__(self, directory: Path, *, sync_always: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.name = uuid7().hex
        """Of this process's journal: its files' names begin with it."""
        self.written = threading.Event()
        """Set whenever a call has ended: something is there to be shipped."""
        self._sync_always = sync_always
        self._lock = threading.Lock()
        self._current: Segment | None = None
        self._retired: list[Segment] = []
        self._unwritten: list[tuple[Segment, bytes]] = []
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._is_full = False
        self._thread = threading.Thread(target=self._keep_synced, name="journal-sync", daemon=True)
        self._thread.start()

    @property
    def is_writable(self) -> bool:
        """Tell whether calls may be forwarded."""
        return not self._is_full and not self._unwritten

    def begin(self, line: bytes) -> Segment:
        """Write down that a call is about to be forwarded. Raise JournalRefused when that is impossible."""
        if not self.is_writable:
            raise _refusal()
        with self._lock:
            segment = self._current
            if segment is None or segment.size >= SEGMENT_BYTES:
                segment = self._open_segment()
            self._append(segment, line)
            segment.open_calls += 1
        if not self._dirty.is_set():
            self._dirty.set()
        return segment

    def note(self, segment: Segment, line: bytes) -> None:
        """Write a line that may be lost: how far a call has come, or where it went next."""
        with self._lock, contextlib.suppress(OSError):
            segment.append(line)
        if not self._dirty.is_set():
            self._dirty.set()

    def finish(self, segment: Segment, line: bytes) -> None:
        """Write the last line of a call. Raise JournalRefused when the disk refuses; the line is then kept and retried."""
        with self._lock:
            segment.open_calls -= 1
            try:
                segment.append(line)
            except OSError as error:
                segment.open_calls += 1
                self._unwritten.append((segment, line))
                logger.error("journal_write_failed", error=str(error))
                raise _refusal() from error
        if not self._dirty.is_set():
            self._dirty.set()
        if not self.written.is_set():
            self.written.set()

    async def wait_until_synced(self) -> None:
        """Return when everything written so far is on the disk, if the settings ask for that before each last byte."""
        if not self._sync_always:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiters.append((loop, waiter))
        self._dirty.set()
        await waiter

    def segments(self) -> list[Segment]:
        """Return the open segments, oldest first."""
        with self._lock:
            return [*self._retired, *([self._current] if self._current else [])]

    def is_done(self, segment: Segment) -> bool:
        """Tell whether nothing will ever be added to a segment."""
        with self._lock:
            return segment.is_retired and segment.open_calls == 0

    def forget(self, segment: Segment) -> None:
        """Delete a segment of which everything is recorded."""
        with self._lock:
            self._retired.remove(segment)
        segment.path.unlink(missing_ok=True)
        segment.close()

    def retire(self) -> None:
        """Take no further calls into the present segment."""
        with self._lock:
            self._retire_current()

    def lag_bytes(self) -> int:
        """Return the size of all open segments."""
        return sum(segment.size for segment in self.segments())

    def close(self) -> None:
        """Sync a last time and let go of the files; what is left in them is for the next start."""
        self._stop.set()
        self._dirty.set()
        self._thread.join(timeout=2)
        for segment in self.segments():
            self._sync(segment)
            segment.close()
        with self._lock:
            self._retired.clear()
            self._current = None

    def _open_segment(self) -> Segment:
        try:
            segment = Segment(self.directory, self.name)
        except OSError as error:
            logger.error("journal_open_failed", error=str(error))
            raise _refusal() from error
        self._retire_current()
        self._current = segment
        return segment

    def _retire_current(self) -> None:
        if self._current is not None:
            self._current.is_retired = True
            self._retired.append(self._current)
            self._current = None

    def _append(self, segment: Segment, line: bytes) -> None:
        try:
            segment.append(line)
        except OSError as error:
            logger.error("journal_write_failed", error=str(error))
            raise _refusal() from error

    def _keep_synced(self) -> None:
        while not self._stop.is_set():
            self._dirty.wait(timeout=SYNC_SECONDS if self._unwritten or self._is_full else None)
            if not self._sync_always:
                self._stop.wait(SYNC_SECONDS)
            self._dirty.clear()
            with self._lock:
                waiters, self._waiters = self._waiters, []
            for segment in self.segments():
                self._sync(segment)
            for loop, waiter in waiters:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_resolve, waiter)
            self._watch_the_disk()

    def _sync(self, segment: Segment) -> None:
        if segment.is_dirty:
            segment.is_dirty = False
            with contextlib.suppress(OSError):
                os.fdatasync(segment.fd)

    def _watch_the_disk(self) -> None:
        with contextlib.suppress(OSError):
            state = os.statvfs(self.directory)
            self._is_full = state.f_bavail * state.f_frsize < MIN_FREE_BYTES
        with self._lock:
            try:
                while self._unwritten:
                    segment, line = self._unwritten[0]
                    segment.append(line)
                    segment.open_calls -= 1
                    self._unwritten.pop(0)
                    self.written.set()
            except OSError:
                self._stop.wait(SYNC_SECONDS)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _refusal() -> JournalRefused:
    return JournalRefused(
        "The gateway cannot write down usage at the moment (its disk is full or failing), so it makes no calls.",
        retry_after_seconds=RETRY_SECONDS,
    )
