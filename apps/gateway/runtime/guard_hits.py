"""What guardrails found, on its way into the database: by a file, so that neither its absence nor a kill loses it.

A line is written with one plain write when a call has ended (about 10 µs, and only for calls in which something was
found). A thread carries the lines into the database in batches. A file is locked by its process; the lines of one that is
gone are taken over by the next that looks. Rows are idempotent by their ids. When the disk refuses, the find is in the
log and in the metrics only: calls go on.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connections, transaction

from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.events.services import publish
from apps.gateway.events import GuardrailTriggered
from apps.gateway.models import GuardHit
from apps.gateway.runtime.metrics import GUARD_HITS
from apps.gateway.runtime.orphans import held

logger = structlog.get_logger(__name__)

SUFFIX = ".ndjson"
READ_BYTES = 128 * 1024
GATHER_SECONDS = 0.5
FIRST_RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 10.0
LOOK_SECONDS = 30.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_lock = threading.Lock()
_spool: tuple[int, HitSpool] | None = None


class HitFacts(NamedTuple):
    """Which call something was found in."""

    request_id: UUID
    model: str
    organization_id: UUID | None
    team_id: UUID | None
    user_id: UUID | None
    api_key_id: UUID | None


def note_findings(findings: Counter[Any], facts: HitFacts) -> None:
    """Keep what a call's guardrails found; never raises.

    `findings` counts tuples of policy id, detector, kind, mode and direction.
    """
    rows = []
    for (policy_id, detector, kind, mode, direction), count in findings.items():
        GUARD_HITS.labels(detector, kind, mode, direction).inc(count)
        rows.append((uuid7().hex, policy_id.hex, detector, kind, mode, direction, count))
    line = orjson.dumps(
        {
            "at": int((datetime.now(UTC) - EPOCH) / timedelta(microseconds=1)),
            "req": facts.request_id.hex,
            "m": facts.model[:160].encode("utf-8", "replace").decode().replace("\0", ""),
            "org": _hex(facts.organization_id),
            "team": _hex(facts.team_id),
            "usr": _hex(facts.user_id),
            "key": _hex(facts.api_key_id),
            "h": rows,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    try:
        get_spool().write(line)
    except OSError as error:
        logger.error("guard_hits_unwritten", error=str(error), request_id=str(facts.request_id), hits=len(rows))


def get_spool() -> HitSpool:
    """Return this process's file of finds, made when first asked for."""
    global _spool  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _spool is None or _spool[0] != os.getpid():
            _spool = (os.getpid(), HitSpool(settings.DATA_DIR / "guard-hits"))
        return _spool[1]


def close_spool(*, within_seconds: float = 3.0) -> None:
    """Record what the time allows; what is left in the file is for the next start."""
    global _spool  # noqa: PLW0603
    with _lock:
        if _spool is not None and _spool[0] == os.getpid():
            _spool[1].close(within_seconds=within_seconds)
        _spool = None


class HitSpool:
    """The file of one process and the thread that empties it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        hidden = directory / f".{uuid7().hex}{SUFFIX}"
        # Born hidden and locked, so that nobody takes the new file for one that was left behind.
        self._fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = directory / hidden.name[1:]
        hidden.rename(self.path)
        self._offset = 0
        self._guard = threading.Lock()
        self._written = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard-hits", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Append a line. Raise OSError when the disk refuses."""
        with self._guard:
            os.write(self._fd, line)
        self._written.set()

    def ship(self) -> None:
        """Record everything that is in the file, and empty it. Raise what the database raises."""
        while True:
            data = os.pread(self._fd, READ_BYTES, self._offset)
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                break
            record_lines(whole)
            self._offset += len(whole)
        with self._guard:
            if self._offset and os.fstat(self._fd).st_size == self._offset:
                os.ftruncate(self._fd, 0)
                self._offset = 0

    def close(self, *, within_seconds: float) -> None:
        """Record what the time allows and let the file go; it is deleted when nothing is left in it."""
        self._stop.set()
        self._written.set()
        self._thread.join(timeout=within_seconds)
        if not self._thread.is_alive() and os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _run(self) -> None:
        delay = FIRST_RETRY_SECONDS
        is_last = False
        while not is_last:
            # Asked before shipping: what was written until it was told to stop is shipped.
            is_last = self._stop.is_set()
            try:
                take_over(self.directory)
                self.ship()
            except Exception as error:  # whatever it is, finds must not stop arriving because of it
                logger.warning(
                    "guard_hits_wait", error=f"{type(error).__name__}: {error}"[:300], retry_in_seconds=delay
                )
                self._stop.wait(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)
            else:
                delay = FIRST_RETRY_SECONDS
                if not is_last:
                    self._written.wait(timeout=LOOK_SECONDS)
                    self._stop.wait(GATHER_SECONDS)
                    self._written.clear()
            finally:
                connections.close_all()


def take_over(directory: Path) -> int:
    """Record what processes that are gone left behind; return the number of files. Raise what the database raises."""
    taken = 0
    for path in sorted(directory.glob(f"[!.]*{SUFFIX}")):
        with held(path) as fd:
            if fd is None:
                continue
            offset = 0
            while data := os.pread(fd, READ_BYTES, offset):
                whole = data[: data.rfind(b"\n") + 1]
                if not whole:
                    break
                record_lines(whole)
                offset += len(whole)
            path.unlink()
            taken += 1
    return taken


def record_lines(data: bytes) -> int:
    """Write finds into the table and publish an event for each call and policy; return the number of new rows.

    What is there already is left alone, so that a batch may come twice. A line that cannot be read or stored is logged.
    """
    found: list[GuardHit] = []
    for line in data.splitlines():
        try:
            found += _read_line(orjson.loads(line))
        except (ValueError, KeyError, TypeError):
            logger.error("guard_hits_unreadable", line=line[:200].decode("utf-8", "replace"))
    try:
        return _store(found)
    except (DataError, IntegrityError, ValueError):
        stored = 0
        for hit in found:
            try:
                stored += _store([hit])
            except (DataError, IntegrityError, ValueError) as error:
                logger.error("guard_hit_rejected", error=str(error)[:300], id=str(hit.id))
        return stored


def _store(hits: list[GuardHit]) -> int:
    with transaction.atomic():
        known = set(GuardHit.objects.filter(id__in=[hit.id for hit in hits]).values_list("id", flat=True))
        fresh = list({hit.id: hit for hit in hits if hit.id not in known}.values())
        GuardHit.objects.bulk_create(fresh)
        calls: dict[tuple[UUID, UUID], list[GuardHit]] = {}
        for hit in fresh:
            calls.setdefault((hit.policy_id, hit.request_id), []).append(hit)
        # In one order everywhere: each event locks the head of its policy.
        for policy_id, request_id in sorted(calls):
            _publish(policy_id, request_id, calls[policy_id, request_id])
    return len(fresh)


def _publish(policy_id: UUID, request_id: UUID, hits: list[GuardHit]) -> None:
    publish(
        GuardrailTriggered(
            aggregate_id=policy_id,
            organization_id=hits[0].organization_id,
            request_id=request_id,
            model=hits[0].model,
            api_key_id=hits[0].api_key_id,
            hits=tuple(
                {
                    "detector": hit.detector,
                    "kind": hit.kind,
                    "mode": hit.mode,
                    "direction": hit.direction,
                    "count": hit.count,
                }
                for hit in hits
            ),
        ),
        actor=system_actor(),
    )


def _read_line(fields: dict[str, Any]) -> list[GuardHit]:
    return [
        GuardHit(
            id=UUID(hex=hit_id),
            created_at=EPOCH + timedelta(microseconds=fields["at"]),
            request_id=UUID(hex=fields["req"]),
            policy_id=UUID(hex=policy_id),
            organization_id=_uuid(fields["org"]),
            team_id=_uuid(fields["team"]),
            user_id=_uuid(fields["usr"]),
            api_key_id=_uuid(fields["key"]),
            model=fields["m"],
            detector=detector,
            kind=kind,
            mode=mode,
            direction=direction,
            count=count,
        )
        for hit_id, policy_id, detector, kind, mode, direction, count in fields["h"]
    ]


def _hex(value: UUID | None) -> str:
    return value.hex if value else ""


def _uuid(text: str) -> UUID | None:
    return UUID(hex=text) if text else None
