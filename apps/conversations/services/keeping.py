"""Keep a desk: renew the lease, notice cancellations, lost access and dead colleagues, once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.utils import timezone

from apps.conversations.models import Run
from apps.conversations.runtime.database import UNREACHABLE, in_database
from apps.conversations.runtime.desk import Desk
from apps.conversations.runtime.wire import listen
from apps.conversations.selectors.runs import withdrawn
from apps.conversations.services.leases import interrupt_abandoned_runs, interrupt_forgotten_runs, renew_lease
from apps.users.selectors.credentials import Credential

logger = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
LEASE_EVERY_TICKS = 2
LOOK_AROUND_EVERY_TICKS = 5


@dataclass(frozen=True, slots=True)
class Findings:
    """What one look into the database showed."""

    cancelled: list[UUID]
    withdrawn: set[Credential]


async def ensure_kept(desk: Desk) -> None:
    """Make sure that the desk has a lease, a keeper and an ear before it takes work."""
    keeper = desk.services.get("keeper")
    if keeper is None or keeper.done():
        await in_database(renew_lease, process_id=desk.process_id)
    desk.ensure("keeper", lambda: keep(desk))
    desk.ensure("listener", lambda: listen(desk))


async def keep(desk: Desk) -> None:
    """Look after the desk until nobody would miss it. A database that is away is waited for."""
    tick = 0
    while desk.is_busy:
        tick += 1
        try:
            found = await in_database(
                look,
                process_id=desk.process_id,
                known=desk.known,
                seen_at=timezone.now(),
                credentials=set(desk.watches),
                renews=tick % LEASE_EVERY_TICKS == 0,
                looks_around=tick % LOOK_AROUND_EVERY_TICKS == 1,
            )
        except UNREACHABLE as error:
            logger.warning("keeper_waits_for_database", error=str(error)[:200])
        except Exception:
            logger.exception("keeper_failed")
        else:
            act(desk, found)
        await asyncio.sleep(TICK_SECONDS)


def act(desk: Desk, found: Findings) -> None:
    """Stop what was cancelled and tell those who may no longer listen."""
    for run_id in found.cancelled:
        desk.cancel(run_id)
    for credential in found.withdrawn:
        for withdraw in list(desk.watches.get(credential, ())):
            withdraw()


def look(
    *,
    process_id: UUID,
    known: Collection[UUID],
    seen_at: datetime,
    credentials: Collection[Credential],
    renews: bool,
    looks_around: bool,
) -> Findings:
    """Do one round in the database; `known` are the runs worked on at `seen_at`."""
    if renews:
        renew_lease(process_id=process_id)
    if looks_around:
        interrupt_abandoned_runs()
        interrupt_forgotten_runs(process_id=process_id, known=known, created_before=seen_at)
    cancelled = (
        Run.objects.held_by(process_id).filter(cancel_requested_at__isnull=False).values_list("id", flat=True)
        if known
        else []
    )
    return Findings(list(cancelled), withdrawn(credentials) if credentials else set())
