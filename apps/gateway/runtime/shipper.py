"""The thread that carries usage from this process's journal into the database, and finds the journals of the dead."""

from __future__ import annotations

import os
import threading
import time

import structlog
from django.db import connections

from apps.gateway.runtime.holders import release_dead
from apps.gateway.runtime.journal import Journal, Segment
from apps.gateway.runtime.lines import LineReader
from apps.gateway.runtime.metrics import JOURNAL_LAG_BYTES, JOURNAL_LAG_SECONDS
from apps.gateway.runtime.replay import replay_orphans
from apps.gateway.runtime.writing import write_entries

logger = structlog.get_logger(__name__)

READ_BYTES = 256 * 1024
"""Journal bytes in one batch: about 400 calls, all that is ever held in memory."""
GATHER_SECONDS = 0.2
"""Wait after the first call that ended: a batch is cheaper than its parts."""
ORPHAN_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 10.0


class SegmentReader:
    """How far one segment has been shipped."""

    __slots__ = ("is_behind", "lines", "offset", "segment")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.lines = LineReader()
        self.offset = 0
        self.is_behind = False
        """The last read did not reach the end."""

    def read(self) -> bytes:
        """Return whole lines that have not been shipped, at most READ_BYTES of them."""
        data = os.pread(self.segment.fd, READ_BYTES, self.offset)
        self.is_behind = len(data) == READ_BYTES
        return data[: data.rfind(b"\n") + 1]


class Shipper:
    """Ships a journal until told to stop. A database that is down is waited for; nothing is lost, nothing piles up."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._readers: dict[Segment, SegmentReader] = {}
        self._stop = threading.Event()
        self._deadline = float("inf")
        self._orphans_due = 0.0
        self._behind_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="journal-shipper", daemon=True)

    def start(self) -> None:
        """Begin shipping."""
        self._thread.start()

    def stop(self, *, within_seconds: float) -> None:
        """Ship what is there, as far as the time allows, and end."""
        self._deadline = time.monotonic() + within_seconds
        self._stop.set()
        self._journal.written.set()
        self._thread.join(timeout=within_seconds + 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._patiently(self._replay_when_due)
            self._journal.written.wait(timeout=ORPHAN_SECONDS)
            self._stop.wait(GATHER_SECONDS)
            self._journal.written.clear()
            self._patiently(self._ship)
        self._journal.retire()
        self._patiently(self._ship)
        connections.close_all()

    def _patiently(self, work: object) -> None:
        """Do some work, again and again while the database does not let us; give up only when stopping."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                work()  # type: ignore[operator]
            except Exception as error:  # whatever it is, usage must not stop arriving because of it
                self._behind_since = self._behind_since or time.monotonic()
                logger.warning("journal_waits", error=f"{type(error).__name__}: {error}"[:300], retry_in_seconds=delay)
            else:
                self._behind_since = None
                return
            finally:
                connections.close_all()
                self._measure_lag()
            if time.monotonic() + delay > self._deadline:
                return
            self._stop.wait(delay)
            if self._stop.is_set():
                time.sleep(min(delay, 0.1))
            delay = min(delay * 2, MAX_RETRY_SECONDS)

    def _ship(self) -> None:
        for segment in self._journal.segments():
            reader = self._readers.setdefault(segment, SegmentReader(segment))
            # Asked before reading: what is written after the answer is read the next time.
            is_done = self._journal.is_done(segment)
            while data := reader.read():
                self._ship_batch(reader, data)
                if not reader.is_behind:
                    break  # what was written meanwhile gathers first: else busy times make many small batches
            if is_done and not reader.lines.open:
                del self._readers[segment]
                self._journal.forget(segment)

    def _ship_batch(self, reader: SegmentReader, data: bytes) -> None:
        # Parsing moves calls out of the reader, so a batch that failed is parsed into a copy of where it began.
        before = dict(reader.lines.open)
        try:
            entries = list(reader.lines.feed(data))
            if entries:
                write_entries(entries)
        except BaseException:
            reader.lines.open = before
            raise
        reader.offset += len(data)

    def _replay_when_due(self) -> None:
        if time.monotonic() >= self._orphans_due:
            replay_orphans(self._journal.directory)
            release_dead(self._journal.directory)
            self._orphans_due = time.monotonic() + ORPHAN_SECONDS

    def _measure_lag(self) -> None:
        behind = self._behind_since
        JOURNAL_LAG_SECONDS.set(time.monotonic() - behind if behind is not None else 0.0)
        offsets = {segment: reader.offset for segment, reader in self._readers.items()}
        JOURNAL_LAG_BYTES.set(sum(s.size - offsets.get(s, 0) for s in self._journal.segments()))
