"""Keep the pieces of running answers, and let their days go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from apps.conversations.models import Run, RunDelta
from apps.core.locks import lock

TABLE = "conversations_rundelta"
DAYS_AHEAD = 3
# Streams resume for 15 minutes; a whole day more costs little and helps whoever looks into a complaint.
KEEP_DAYS = 1


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of an answer. The same piece keeps its time when writing it is tried again: its key must not change."""

    run_id: UUID
    seq: int
    text: str
    created_at: datetime


@transaction.atomic
def append_deltas(*, owner_id: UUID, deltas: Sequence[Delta]) -> set[UUID]:
    """Write pieces of the runs that this process still holds; return the ids of those runs.

    The runs' rows are share-locked, so that whoever declares one of them over sees either all of this or nothing.
    Writing the same pieces twice does nothing the second time.
    """
    wanted = {delta.run_id for delta in deltas}
    held = set(
        Run.objects.held_by(owner_id)
        .filter(id__in=wanted)
        .order_by("id")
        .select_for_update(of=("self",), no_key=True)
        .values_list("id", flat=True)
    )
    RunDelta.objects.bulk_create(
        [
            RunDelta(run_id=delta.run_id, seq=delta.seq, text=delta.text, created_at=delta.created_at)
            for delta in deltas
            if delta.run_id in held
        ],
        ignore_conflicts=True,
    )
    return held


def _partition(day: date) -> str:
    return f"{TABLE}_{day:%Y_%m_%d}"


def tend_delta_days(*, now: datetime | None = None) -> int:
    """Create the partitions of the days to come and drop those that are past; return how many were made or dropped.

    A day for which nobody made a partition lies in the default one; its rows are deleted when their time has come.
    """
    today = (now or datetime.now(UTC)).date()
    oldest = today - timedelta(days=KEEP_DAYS)
    changed = 0
    with transaction.atomic(), connection.cursor() as cursor:
        lock(f"partitions:{TABLE}")
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            [TABLE],
        )
        present = {name for (name,) in cursor.fetchall()}
        for name in sorted(present - {f"{TABLE}_default"}):
            if name < _partition(oldest):
                cursor.execute(f"DROP TABLE {name}")
                changed += 1
        cursor.execute(f"DELETE FROM {TABLE}_default WHERE created_at < %s", [oldest])  # noqa: S608 - our own name
        for offset in range(DAYS_AHEAD + 1):
            day = today + timedelta(days=offset)
            cursor.execute(
                f"SELECT EXISTS (SELECT 1 FROM {TABLE}_default WHERE created_at >= %s AND created_at < %s)",  # noqa: S608
                [day, day + timedelta(days=1)],
            )
            is_taken = cursor.fetchone() == (True,)
            if _partition(day) not in present and not is_taken:
                cursor.execute(
                    f"CREATE TABLE {_partition(day)} PARTITION OF {TABLE} "
                    f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                )
                changed += 1
    return changed
