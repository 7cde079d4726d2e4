"""Send finished deliveries again: one, or a range."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.events.services import publish
from apps.integrations.choices import DeliveryState
from apps.integrations.errors import DeliveryUnderWay
from apps.integrations.events import WebhookDeliveriesReplayed
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.services.endpoints import find_endpoint
from apps.integrations.services.queueing import advance_keys

MAX_REPLAYED = 10_000


@transaction.atomic
def replay_delivery(*, actor: Actor, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Put a finished delivery back into the queue, under the same webhook id and with a fresh schedule.

    It takes its old place: before later deliveries of its ordering key. Raise NotFound, DeliveryUnderWay.
    """
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    delivery = WebhookDelivery.objects.of_endpoint(endpoint.id).filter(id=delivery_id).first()
    if delivery is None:
        raise NotFound("There is no such delivery.")
    if _requeue(endpoint, WebhookDelivery.objects.filter(id=delivery.id).final(), actor) == 0:
        raise DeliveryUnderWay("The delivery is in the queue already; it is sent when its turn comes.")
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def replay_range(
    *, actor: Actor, endpoint_id: UUID, since: datetime, until: datetime | None = None, states: list[str] | None = None
) -> int:
    """Put the finished deliveries of events in [since, until) back into the queue, the oldest 10,000; return how many.

    `states` narrows them (default: those that were given up). Raise NotFound.
    """
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    found = (
        WebhookDelivery.objects.of_endpoint(endpoint.id)
        .final()
        .filter(state__in=states or [DeliveryState.DEAD], occurred_at__gte=since)
    )
    if until is not None:
        found = found.filter(occurred_at__lt=until)
    return _requeue(endpoint, found, actor)


def _requeue(endpoint: WebhookEndpoint, found: QuerySet[WebhookDelivery], actor: Actor) -> int:
    chosen = list(found.order_by("occurred_at", "id").values_list("id", "ordering_key")[:MAX_REPLAYED])
    if not chosen:
        return 0
    WebhookDelivery.objects.filter(id__in=[key for key, _ in chosen]).update(
        state=DeliveryState.WAITING, attempt_count=0, due_at=timezone.now(), finished_at=None, last_error=""
    )
    advance_keys(endpoint_id=endpoint.id, keys=[ordering_key for _, ordering_key in chosen])
    publish(
        WebhookDeliveriesReplayed(
            aggregate_id=endpoint.id, organization_id=endpoint.organization_id, count=len(chosen)
        ),
        actor=actor,
    )
    return len(chosen)
