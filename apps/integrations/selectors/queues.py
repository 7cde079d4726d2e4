"""How the queues of the endpoints stand."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Count, Exists, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from apps.integrations.models import WebhookDelivery, WebhookEndpoint


def endpoints_with_work(now: datetime) -> list[UUID]:
    """Return the active endpoints that have something to send at this time, also what a dead sender left."""
    claimable = WebhookDelivery.objects.claimable(now).filter(endpoint_id=OuterRef("id"))
    return list(WebhookEndpoint.objects.active().filter(Exists(claimable)).order_by("id").values_list("id", flat=True))


def with_queue(endpoints: QuerySet[WebhookEndpoint]) -> QuerySet[WebhookEndpoint]:
    """Annotate endpoints with `queue_depth` and `oldest_queued_at`: what waits to be sent, and since when."""
    queued = WebhookDelivery.objects.open().filter(endpoint_id=OuterRef("id")).order_by().values("endpoint_id")
    return endpoints.annotate(
        queue_depth=Coalesce(Subquery(queued.annotate(count=Count("id")).values("count")), 0),
        oldest_queued_at=Subquery(queued.annotate(first=Min("created_at")).values("first")),
    )
