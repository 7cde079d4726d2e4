"""Questions about webhook endpoints, their queues and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from apps.core.actor import Actor, ActorKind
from apps.integrations.choices import FINAL_STATES, OPEN_STATES, DeliveryState


class EndpointQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the endpoints of the actor's organization that were not deleted; the platform itself sees all of them."""
        kept = self.kept()
        if actor.kind == ActorKind.SYSTEM:
            return kept
        return kept.filter(organization_id=actor.organization_id) if actor.organization_id else kept.none()

    def kept(self) -> Self:
        """Keep what was not deleted."""
        return self.filter(deleted_at__isnull=True)

    def active(self) -> Self:
        """Keep what is sent to."""
        return self.kept().filter(is_active=True)

    def subscribed_to(self, event_type: str) -> Self:
        """Keep the endpoints that want the event: by name, or because they name none."""
        return self.filter(Q(event_types__contains=[event_type]) | Q(event_types=[]))

    def locked(self) -> Self:
        """Lock the rows until the transaction ends, by key: an endpoint's row is the lock of its queue."""
        return self.select_for_update(no_key=True, of=("self",)).order_by("id")


class WebhookDeliveryQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the deliveries of the actor's organization's endpoints."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id:
            return self.none()
        return self.filter(endpoint__organization_id=actor.organization_id, endpoint__deleted_at__isnull=True)

    def of_endpoint(self, endpoint_id: UUID) -> Self:
        """Keep one endpoint's deliveries."""
        return self.filter(endpoint_id=endpoint_id)

    def open(self) -> Self:
        """Keep what is still to be sent."""
        return self.filter(state__in=OPEN_STATES)

    def final(self) -> Self:
        """Keep what is over, well or not."""
        return self.filter(state__in=FINAL_STATES)

    def claimable(self, now: datetime) -> Self:
        """Keep what is due, and what a sender did not finish before its lease ran out."""
        return self.filter(
            Q(state=DeliveryState.PENDING, due_at__lte=now) | Q(state=DeliveryState.SENDING, lease_until__lte=now)
        )

    def in_flight(self, now: datetime) -> Self:
        """Keep what somebody is sending at this moment."""
        return self.filter(state=DeliveryState.SENDING, lease_until__gt=now)


class AttemptQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the attempts to reach the actor's organization's endpoints."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id:
            return self.none()
        return self.filter(
            delivery__endpoint__organization_id=actor.organization_id, delivery__endpoint__deleted_at__isnull=True
        )
