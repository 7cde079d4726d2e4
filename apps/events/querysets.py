"""Questions to the event store and the outbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from apps.core.actor import Actor, ActorKind
from apps.events.choices import DeliveryState


class EventQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the events of the actor's organization; the platform itself sees all."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(organization_id=actor.organization_id) if actor.organization_id else self.none()

    def of_aggregate(self, aggregate_type: str, aggregate_id: UUID) -> Self:
        """Keep one aggregate's events, oldest first."""
        return self.filter(aggregate_type=aggregate_type, aggregate_id=aggregate_id).order_by("aggregate_version")

    def since(self, position: int) -> Self:
        """Keep what was stored after `position` and can no longer be overtaken, in order.

        Positions are drawn before commit; an event counts only when every older transaction has ended, so that a reader
        who remembers the last position it saw misses nothing.
        """
        settled = models.expressions.RawSQL("pg_snapshot_xmin(pg_current_snapshot())", [])
        return self.filter(position__gt=position, transaction_id__lt=settled).order_by("position")


class DeliveryQuerySet(models.QuerySet[Any]):
    def pending(self) -> Self:
        return self.filter(state=DeliveryState.PENDING)

    def dead(self) -> Self:
        return self.filter(state=DeliveryState.DEAD)

    def due(self) -> Self:
        return self.pending().filter(due_at__lte=Now())

    def next_in_order(self) -> Self:
        """Keep deliveries before which nothing of the same aggregate waits for the same subscriber, dead or alive."""
        earlier = self.model.objects.filter(
            subscriber=models.OuterRef("subscriber"),
            aggregate_type=models.OuterRef("aggregate_type"),
            aggregate_id=models.OuterRef("aggregate_id"),
            aggregate_version__lt=models.OuterRef("aggregate_version"),
        )
        return self.filter(~models.Exists(earlier))

    def claimable(self) -> Self:
        """Lock what is due and next in order, passing over what another relay holds. Needs a transaction."""
        return self.due().next_in_order().select_for_update(skip_locked=True, of=("self",)).order_by("due_at", "id")

    def oldest_age(self) -> timedelta:
        """Return how long the oldest due delivery has waited: the outbox's lag."""
        found = self.due().annotate(age=Now() - F("created_at")).order_by("created_at").values_list("age", flat=True)
        return found.first() or timedelta(0)
