"""The event store and the outbox, for staff: to read, to replay, to give up."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.actor import Actor
from apps.core.admin import ReadOnlyModelAdmin
from apps.events.models import Delivery, Event
from apps.events.services.delivering import discard_deliveries, replay_deliveries


@admin.register(Event)
class EventAdmin(ReadOnlyModelAdmin):
    list_display: ClassVar[Any] = (
        "occurred_at",
        "type",
        "aggregate_type",
        "aggregate_id",
        "aggregate_version",
        "request_id",
    )
    list_filter: ClassVar[Any] = ("aggregate_type", "type", "occurred_at")
    search_fields: ClassVar[Any] = ("=aggregate_id", "=request_id", "type")
    ordering: ClassVar[Any] = ("-position",)
    show_full_result_count = False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyModelAdmin):
    list_display: ClassVar[Any] = (
        "event_type",
        "subscriber",
        "state",
        "attempts",
        "due_at",
        "aggregate_id",
        "last_error",
    )
    list_filter: ClassVar[Any] = ("state", "subscriber", "event_type")
    search_fields: ClassVar[Any] = ("=event_id", "=aggregate_id", "event_type")
    ordering: ClassVar[Any] = ("due_at", "id")
    actions: ClassVar[Any] = ("replay", "discard")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Ask for the model's change permission, which the page itself never gives."""
        return request.user.has_perm("events.change_delivery")

    @admin.action(description="Replay dead letters", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        count = replay_deliveries(ids=list(queryset.values_list("id", flat=True)), actor=_actor(request))
        messages.success(request, f"{count} dead letters are back in line.")

    @admin.action(description="Discard dead letters, so that later events can go", permissions=["replay"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        count = discard_deliveries(ids=list(queryset.values_list("id", flat=True)), actor=_actor(request))
        messages.warning(request, f"{count} dead letters were discarded.")


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
