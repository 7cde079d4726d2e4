"""Deliver what waits in the outbox: in order per aggregate, one transaction each, at least once."""

from __future__ import annotations

import random
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models.functions import Now

from apps.core.actor import Actor, system_actor
from apps.core.context import bound
from apps.events.choices import DeliveryState
from apps.events.models import Delivery, Event
from apps.events.services.subscriptions import StoredEvent, subscriptions

logger = structlog.get_logger(__name__)

MAX_ATTEMPTS = 12
MAX_BACKOFF_SECONDS = 3600


def backoff_seconds(attempts: int) -> float:
    """Return the wait after the n-th failed attempt: 1, 2, 4 … 3600 s, spread by ±20 % so that failures don't align."""
    return float(min(2 ** (attempts - 1), MAX_BACKOFF_SECONDS)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def deliver_next() -> bool:
    """Deliver one event to one subscriber; tell whether there was one.

    The claim, the subscriber's writes and the removal of the delivery commit together: a relay that is killed between
    any two lines leaves the delivery as it was.
    """
    with transaction.atomic():
        delivery = Delivery.objects.claimable().first()
        if delivery is None:
            return False
        try:
            with transaction.atomic():
                _hand_over(delivery)
        except Exception as error:  # whatever a subscriber raises is its failure, not the relay's
            _record_failure(delivery, error)
        else:
            delivery.delete()
    return True


def _hand_over(delivery: Delivery) -> None:
    subscription = subscriptions().get(delivery.subscriber)
    if subscription is None:
        raise LookupError(f"No subscriber is called {delivery.subscriber} in this release.")
    event = Event.objects.get(id=delivery.event_id, occurred_at=delivery.event_occurred_at)
    with bound(actor=system_actor(organization_id=event.organization_id), request_id=event.request_id):
        subscription.handler(
            StoredEvent(
                id=event.id,
                position=event.position,
                type=event.type,
                aggregate_type=event.aggregate_type,
                aggregate_id=event.aggregate_id,
                aggregate_version=event.aggregate_version,
                organization_id=event.organization_id,
                actor=event.actor,
                request_id=event.request_id,
                occurred_at=event.occurred_at,
                payload=event.payload,
            )
        )


def _record_failure(delivery: Delivery, error: Exception) -> None:
    delivery.attempts += 1
    delivery.last_error = f"{type(error).__name__}: {error}"[:2000]
    is_dead = delivery.attempts >= MAX_ATTEMPTS
    delivery.state = DeliveryState.DEAD if is_dead else DeliveryState.PENDING
    delivery.due_at = Now() + timedelta(seconds=backoff_seconds(delivery.attempts))
    delivery.save(update_fields=["attempts", "last_error", "state", "due_at"])
    log = logger.error if is_dead else logger.warning
    log(
        "delivery_dead" if is_dead else "delivery_failed",
        subscriber=delivery.subscriber,
        event_type=delivery.event_type,
        event_id=str(delivery.event_id),
        attempts=delivery.attempts,
        exc_info=error,
    )


def replay_deliveries(*, ids: list[int], actor: Actor) -> int:
    """Put dead deliveries back in line at once; return how many there were."""
    return (
        Delivery.objects.dead()
        .filter(id__in=ids)
        .update(state=DeliveryState.PENDING, attempts=0, due_at=Now(), last_error="")
    )


def discard_deliveries(*, ids: list[int], actor: Actor) -> int:
    """Give up dead deliveries, so that later events of their aggregates can go; return how many there were."""
    count, _ = Delivery.objects.dead().filter(id__in=ids).delete()
    logger.warning("deliveries_discarded", count=count, actor=actor.describe())
    return count
