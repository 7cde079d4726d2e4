"""Store a fact, in the transaction that made it true."""

from __future__ import annotations

from django.db import connection

from apps.core.actor import Actor
from apps.core.context import current_request_id
from apps.events.errors import StaleAggregate
from apps.events.events import DomainEvent
from apps.events.models import Delivery, Event
from apps.events.services.subscriptions import subscribers_of

CHANNEL = "portico_outbox"

# The head's row lock is held until commit: events of one aggregate are written one after the other.
ADVANCE = """
    INSERT INTO events_aggregate AS head (aggregate_type, aggregate_id, version) VALUES (%s, %s, 1)
    ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET version = head.version + 1
    RETURNING version
"""


def publish(event: DomainEvent, *, actor: Actor, expected_version: int | None = None) -> Event:
    """Store the event and one delivery per subscriber; both vanish if the transaction rolls back.

    `expected_version` is the aggregate's version before this event (0 for a new one). Raise StaleAggregate when another
    event came first, RuntimeError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError(f"publish({event.type}) needs a transaction: the fact and its cause commit together.")
    with connection.cursor() as cursor:
        cursor.execute(ADVANCE, [event.aggregate_type, event.aggregate_id])
        version: int = cursor.fetchone()[0]
    if expected_version is not None and version != expected_version + 1:
        raise StaleAggregate(
            f"{event.aggregate_type} {event.aggregate_id} is at version {version - 1}, {expected_version} was expected."
        )
    stored = Event.objects.create(
        type=event.type,
        aggregate_type=event.aggregate_type,
        aggregate_id=event.aggregate_id,
        aggregate_version=version,
        organization_id=event.organization_id or actor.organization_id,
        actor=actor.describe(),
        request_id=actor.request_id or current_request_id(),
        payload=event.payload(),
    )
    names = subscribers_of(event)
    if names:
        Delivery.objects.bulk_create(
            Delivery(
                subscriber=name,
                event_id=stored.id,
                event_type=event.type,
                event_occurred_at=stored.occurred_at,
                aggregate_type=event.aggregate_type,
                aggregate_id=event.aggregate_id,
                aggregate_version=version,
            )
            for name in names
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    return stored
