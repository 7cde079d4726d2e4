"""Each endpoint's own queue: enter, claim, give back, finish, go again.

The endpoint's row is the lock of its queue; every change of a queue takes it first, for milliseconds. Of each ordering
key only the first open delivery is due or being sent; the others wait behind it, so a claim looks at heads only, however
long the queue is. Times are the senders' clocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import connection, transaction
from django.utils import timezone

from apps.events.services import StoredEvent
from apps.integrations.choices import DeliveryState
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.catalogue import build_body

# Much longer than a sender may take, so that a lease that ran out means a sender that died.
LEASE_SECONDS = 60
PARALLEL_PER_ENDPOINT = 4

_HEADS = """
    WITH head AS (
        SELECT first.id
        FROM unnest(%(keys)s::text[]) AS key (ordering_key)
        CROSS JOIN LATERAL (
            SELECT id FROM integrations_webhookdelivery
            WHERE endpoint_id = %(endpoint)s AND ordering_key = key.ordering_key
                AND state IN ('waiting', 'pending', 'sending')
            ORDER BY sequence, id LIMIT 1
        ) AS first
    ), busy AS (
        SELECT ordering_key FROM integrations_webhookdelivery
        WHERE endpoint_id = %(endpoint)s AND state = 'sending' AND ordering_key = ANY (%(keys)s)
    )
"""
_PROMOTE = (
    _HEADS  # noqa: S608 - constants
    + """
    UPDATE integrations_webhookdelivery SET state = 'pending', updated_at = %(now)s
    WHERE id IN (SELECT id FROM head) AND state = 'waiting' AND ordering_key NOT IN (SELECT ordering_key FROM busy)
"""
)
_DEMOTE = (
    _HEADS  # noqa: S608 - constants
    + """
    UPDATE integrations_webhookdelivery SET state = 'waiting', updated_at = %(now)s
    WHERE endpoint_id = %(endpoint)s AND state = 'pending' AND ordering_key = ANY (%(keys)s)
        AND id NOT IN (SELECT id FROM head)
"""
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that the caller alone may send, until the lease runs out."""

    delivery: WebhookDelivery
    endpoint: WebhookEndpoint
    token: UUID
    claimed_at: float

    def seconds_left(self) -> float:
        """Return how long the lease still holds: a process that was stopped for a while must not send after it."""
        return self.claimed_at + LEASE_SECONDS - time.monotonic()


def lock_endpoint(endpoint_id: UUID) -> WebhookEndpoint | None:
    """Return the endpoint with its queue locked until the transaction ends; None when it was deleted."""
    return WebhookEndpoint.objects.kept().filter(id=endpoint_id).locked().first()


def enqueue_event(*, event: StoredEvent) -> list[UUID]:
    """Put an event into the queue of every endpoint of its organization that wants it; return these endpoints.

    Runs in the relay's transaction, hence exactly once. Endpoints that are switched off collect too, and send what
    they collected when they are switched on again.
    """
    if event.organization_id is None:
        return []
    wanting = WebhookEndpoint.objects.kept().filter(organization_id=event.organization_id).subscribed_to(event.type)
    endpoints = list(wanting.locked())
    if not endpoints:
        return []
    key = f"{event.aggregate_type}:{event.aggregate_id}"
    queued = WebhookDelivery.objects.filter(endpoint__in=endpoints, ordering_key=key)
    busy = set(queued.open().values_list("endpoint_id", flat=True))
    body = build_body(
        event_type=event.type,
        occurred_at=event.occurred_at,
        aggregate_type=event.aggregate_type,
        aggregate_id=event.aggregate_id,
        aggregate_version=event.aggregate_version,
        organization_id=event.organization_id,
        payload=event.payload,
    )
    now = timezone.now()
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            endpoint=endpoint,
            event_id=event.id,
            event_type=event.type,
            occurred_at=event.occurred_at,
            request_id=event.request_id,
            ordering_key=key,
            sequence=event.aggregate_version,
            body=orjson.dumps(body).decode(),
            state=DeliveryState.WAITING if endpoint.id in busy else DeliveryState.PENDING,
            due_at=now,
        )
        for endpoint in endpoints
    )
    return [endpoint.id for endpoint in endpoints]


def claim_next(*, endpoint_id: UUID) -> Claim | None:
    """Take the next due delivery of an active endpoint; None when there is none or enough are being sent already."""
    now = timezone.now()
    with transaction.atomic():
        endpoint = lock_endpoint(endpoint_id)
        if endpoint is None or not endpoint.is_active:
            return None
        queue = WebhookDelivery.objects.of_endpoint(endpoint_id)
        if queue.in_flight(now).count() >= PARALLEL_PER_ENDPOINT:
            return None
        delivery = queue.claimable(now).order_by("due_at", "id").first()
        if delivery is None:
            return None
        token = uuid4()
        delivery.state, delivery.lease_token = DeliveryState.SENDING, token
        delivery.lease_until = now + timedelta(seconds=LEASE_SECONDS)
        delivery.save(update_fields=["state", "lease_token", "lease_until", "updated_at"])
        return Claim(delivery, endpoint, token, time.monotonic())


def still_claimed(claim: Claim) -> WebhookDelivery | None:
    """Return the delivery as it stands if the claim holds; None when its lease ran out and somebody else took it."""
    return WebhookDelivery.objects.filter(
        id=claim.delivery.id, state=DeliveryState.SENDING, lease_token=claim.token
    ).first()


def give_back(*, claim: Claim) -> None:
    """Put a claimed delivery back as it was, without having tried it."""
    with transaction.atomic():
        if lock_endpoint(claim.endpoint.id) is None:
            return
        delivery = still_claimed(claim)
        if delivery is not None:
            settle(delivery, state=DeliveryState.PENDING, due_at=delivery.due_at)


def settle(delivery: WebhookDelivery, *, state: DeliveryState, due_at: datetime | None = None) -> None:
    """Move a delivery that was being sent to its next state and let its ordering key go on. Needs the queue's lock."""
    delivery.state, delivery.lease_token, delivery.lease_until = state, None, None
    delivery.due_at = due_at or delivery.due_at
    delivery.finished_at = None if due_at else timezone.now()
    delivery.save(
        update_fields=[
            "state",
            "lease_token",
            "lease_until",
            "due_at",
            "finished_at",
            "attempt_count",
            "last_error",
            "updated_at",
        ]
    )
    advance_keys(endpoint_id=delivery.endpoint_id, keys=[delivery.ordering_key])


def advance_keys(*, endpoint_id: UUID, keys: Iterable[str]) -> None:
    """Make the first open delivery of each key due and the others wait, unless one is being sent. Needs the lock."""
    parameters: dict[str, Any] = {"endpoint": endpoint_id, "keys": sorted(set(keys)), "now": timezone.now()}
    with connection.cursor() as cursor:
        cursor.execute(_DEMOTE, parameters)
        cursor.execute(_PROMOTE, parameters)
