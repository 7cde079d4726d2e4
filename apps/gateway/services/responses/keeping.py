"""Writes of responses: in batches while they grow, and what is done about those whose process died."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import Exists, Max, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.ids import time_of
from apps.gateway.choices import ResponseStatus
from apps.gateway.models import RespondingProcess, ResponseEvents, StoredResponse
from apps.gateway.querysets import StoredResponseQuerySet
from apps.gateway.services.responses.archive import Archive, Writing

logger = structlog.get_logger(__name__)

LEASE = timedelta(seconds=10)
FORGET_PROCESSES_AFTER = timedelta(hours=1)
BATCH = 50
EXPIRY_BATCH = 500
MOST_EXPIRED = 20_000
"""Rows that one sweep deletes at the most, so that it never runs for long."""
INTERRUPTED = "The process that wrote this response ended before it was complete; ask again."


def write_responses(*, process_id: UUID, writings: Sequence[Writing]) -> set[UUID]:
    """Store what has come of responses; return the ids of those that are not this process's to write any more.

    In one transaction, and again one by one when the database refuses a row, so that one holds up no other.
    Writing the same twice does nothing the second time.
    """
    try:
        return _write(process_id, writings)
    except (IntegrityError, DataError) as error:
        if len(writings) == 1:
            # The organization or the person is gone, most likely: nobody could read it any more.
            logger.warning("response_refused", response=str(writings[0].archive.id), error=str(error)[:200])
            return {writings[0].archive.id}
    return set().union(*(write_responses(process_id=process_id, writings=[writing]) for writing in writings))


@transaction.atomic
def _write(process_id: UUID, writings: Sequence[Writing]) -> set[UUID]:
    StoredResponse.objects.bulk_create(
        [_row(process_id, writing) for writing in writings if writing.is_new], ignore_conflicts=True
    )
    ids = [writing.archive.id for writing in writings]
    held = set(
        StoredResponse.objects.held_by(process_id)
        .filter(id__in=ids)
        .order_by("id")
        .select_for_update(of=("self",), no_key=True)
        .values_list("id", flat=True)
    )
    ResponseEvents.objects.bulk_create(
        [
            ResponseEvents(
                id=part.id,
                created_at=writing.archive.created_at,
                response_id=writing.archive.id,
                first=part.first,
                last=part.last,
                events=part.events,
            )
            for writing in writings
            if writing.is_new or writing.archive.id in held
            for part in writing.pending
        ],
        ignore_conflicts=True,
    )
    for writing in writings:
        if writing.archive.id in held and writing.finished_at is not None:
            StoredResponse.objects.filter(id=writing.archive.id).update(
                status=writing.status,
                document=writing.document,
                finished_at=writing.finished_at,
                last_sequence=writing.last_sequence,
            )
    # What was stored at its end, now or in an earlier try that we never heard the answer of, is as it should be.
    over = set(
        StoredResponse.objects.filter(id__in=set(ids) - held, holder_id=process_id, finished_at__isnull=False)
        .exclude(status=ResponseStatus.FAILED, document__contains=INTERRUPTED)
        .values_list("id", flat=True)
    )
    return set(ids) - held - over


def _row(process_id: UUID, writing: Writing) -> StoredResponse:
    archive: Archive = writing.archive
    actor = archive.actor
    return StoredResponse(
        id=archive.id,
        created_at=archive.created_at,
        # Whoever belongs to no organization cannot make calls.
        organization_id=cast("UUID", actor.organization_id),
        user_id=actor.user_id,
        oauth_client_id="" if actor.user_id else actor.oauth_client_id or "",
        model=archive.model[:200],
        status=writing.status,
        is_background=archive.is_background,
        is_stream=archive.is_stream,
        previous_id=archive.previous_id,
        holder_id=process_id,
        finished_at=writing.finished_at,
        last_sequence=writing.last_sequence,
        input=archive.input,
        document=writing.document,
    )


def look_after(*, process_id: UUID, known: Collection[UUID]) -> list[UUID]:
    """Say that this process lives, for ten more seconds; return its responses that somebody wants to be cancelled.

    What it holds by the database and does not know (`known`) was given up by it, and is ended.
    """
    RespondingProcess.objects.update_or_create(
        id=process_id,
        defaults={"lease_until": Now() + LEASE, "suspected_at": None},
        create_defaults={"lease_until": Now() + LEASE, "host": socket.gethostname()[:255], "pid": os.getpid()},
    )
    _fail_all(StoredResponse.objects.held_by(process_id).exclude(id__in=known))
    asked = StoredResponse.objects.held_by(process_id).filter(cancel_requested_at__isnull=False)
    return list(asked.values_list("id", flat=True))


def fail_abandoned_responses() -> int:
    """End the responses of processes that died; return how many.

    A process whose lease ran out is first suspected and only later given up: after an outage of the database every
    lease has run out, and the living must have the time to renew theirs.
    """
    RespondingProcess.objects.filter(lease_until__lte=Now(), suspected_at__isnull=True).update(suspected_at=Now())
    count = _fail_all(StoredResponse.objects.abandoned(RespondingProcess.objects.order_by()))
    _forget_processes()
    return count


def _fail_all(found: StoredResponseQuerySet) -> int:
    count = 0
    while True:
        with transaction.atomic():
            rows = list(found.select_for_update(of=("self",), skip_locked=True).order_by("id")[:BATCH])
            for row in rows:
                _fail(row)
        count += len(rows)
        if len(rows) < BATCH:
            return count


def _fail(row: StoredResponse) -> None:
    """End a locked response, with the event that its followers wait for."""
    stored = ResponseEvents.objects.filter(response_id=row.id, created_at=time_of(row.id))
    reached = stored.aggregate(last=Max("last"))["last"]
    document = orjson.loads(row.document)
    document |= {"status": ResponseStatus.FAILED, "error": {"code": "server_error", "message": INTERRUPTED}}
    if reached is not None:
        row.last_sequence = reached + 1
        event = {"type": "response.failed", "response": document, "sequence_number": row.last_sequence}
        ResponseEvents.objects.create(
            created_at=time_of(row.id),
            response_id=row.id,
            first=row.last_sequence,
            last=row.last_sequence,
            events=f"event: response.failed\ndata: {orjson.dumps(event).decode()}\n\n",
        )
    row.status = ResponseStatus.FAILED
    row.document = orjson.dumps(document).decode()
    row.finished_at = timezone.now()
    row.save(update_fields=["status", "document", "finished_at", "last_sequence"])
    logger.warning("response_interrupted", response=row.public_id, holder=str(row.holder_id))


def _forget_processes() -> None:
    has_work = StoredResponse.objects.active().filter(holder_id=OuterRef("id"))
    RespondingProcess.objects.filter(~Exists(has_work), lease_until__lt=Now() - FORGET_PROCESSES_AFTER).delete()


def expire_responses(*, now: datetime | None = None) -> int:
    """Delete responses that are older than the setting keeps, and their events; return how many."""
    oldest = (now or timezone.now()) - timedelta(days=settings.RESPONSES_KEEP_DAYS)
    count = 0
    while count < MOST_EXPIRED:
        with transaction.atomic():
            ids = list(
                StoredResponse.objects.filter(created_at__lt=oldest)
                .order_by("created_at")
                .select_for_update(of=("self",), skip_locked=True)
                .values_list("id", flat=True)[:EXPIRY_BATCH]
            )
            delete_rows(ids)
        count += len(ids)
        if len(ids) < EXPIRY_BATCH:
            return count
    return count


def delete_rows(ids: Sequence[UUID]) -> int:
    """Delete responses with their events; return how many there were."""
    if not ids:
        return 0
    # The times lead to the partitions, which an id alone would not.
    times = sorted(time_of(response_id) for response_id in ids)
    ResponseEvents.objects.filter(response_id__in=ids, created_at__gte=times[0], created_at__lte=times[-1]).delete()
    return StoredResponse.objects.filter(id__in=ids).delete()[0]
