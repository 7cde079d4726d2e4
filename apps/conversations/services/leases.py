"""Leases of the processes that answer, and what becomes of the runs of those that died."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from apps.conversations.choices import RunStatus
from apps.conversations.models import AnsweringProcess, Run, RunDelta
from apps.conversations.querysets import RunQuerySet
from apps.conversations.services.runs import Ending, end_locked_run
from apps.core.actor import system_actor

logger = structlog.get_logger(__name__)

LEASE = timedelta(seconds=10)
FORGET_PROCESSES_AFTER = timedelta(hours=1)
FORGET_KEYS_AFTER = timedelta(hours=24)
BATCH = 50


def renew_lease(*, process_id: UUID) -> None:
    """Say that this process lives, for ten more seconds."""
    AnsweringProcess.objects.update_or_create(
        id=process_id,
        defaults={"lease_until": Now() + LEASE, "suspected_at": None},
        create_defaults={
            "lease_until": Now() + LEASE,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
        },
    )


def interrupt_abandoned_runs() -> int:
    """End the runs of processes that died, with what had come; return how many.

    A process whose lease ran out is first suspected and only later given up: after an outage of the database every
    lease has run out, and the living must have the time to renew theirs.
    """
    AnsweringProcess.objects.filter(lease_until__lte=Now(), suspected_at__isnull=True).update(suspected_at=Now())
    return _interrupt(lambda: Run.objects.abandoned(AnsweringProcess.objects.order_by()))


def interrupt_forgotten_runs(
    *, process_id: UUID, known: Collection[UUID] = (), created_before: datetime | None = None
) -> int:
    """End the runs that this very process claimed and does not work on; return how many.

    `known` is what it works on; a run that it claimed after it said so (`created_before`) is none of these.
    """

    def select() -> RunQuerySet:
        found = Run.objects.held_by(process_id).exclude(id__in=known)
        return found.filter(created_at__lt=created_before) if created_before else found

    return _interrupt(select)


def _interrupt(select: Callable[[], RunQuerySet]) -> int:
    count = 0
    while True:
        with transaction.atomic():
            runs = list(select().select_for_update(of=("self",), skip_locked=True).order_by("id")[:BATCH])
            for run in runs:
                _interrupt_locked(run)
        count += len(runs)
        if len(runs) < BATCH:
            return count


def _interrupt_locked(run: Run) -> None:
    pieces = list(RunDelta.objects.filter(run_id=run.id).order_by("seq").values_list("seq", "text"))
    ending = Ending(
        status=RunStatus.INTERRUPTED,
        content="".join(text for _, text in pieces),
        last_seq=pieces[-1][0] + 1 if pieces else 2,
    )
    end_locked_run(actor=system_actor(organization_id=run.organization_id), run=run, ending=ending)
    logger.warning("answer_interrupted", run=run.public_id, owner=str(run.owner_id), characters=len(ending.content))


def forget_the_past() -> int:
    """Forget processes that died long ago and idempotency keys older than 24 hours; return how many rows changed."""
    has_runs = Run.objects.active().filter(owner_id=OuterRef("id"))
    gone, _ = AnsweringProcess.objects.filter(
        ~Exists(has_runs), lease_until__lt=Now() - FORGET_PROCESSES_AFTER
    ).delete()
    keyed = Run.objects.exclude(idempotency_key="").filter(created_at__lt=Now() - FORGET_KEYS_AFTER)
    return gone + keyed.update(idempotency_key="", caller="", fingerprint="")
