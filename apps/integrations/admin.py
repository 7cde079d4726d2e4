"""Webhook endpoints and their deliveries, for staff: health, queues, every attempt; test, rotate, switch, replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import TabularInline
from unfold.decorators import display

from apps.core.actor import ALL_SCOPES, Actor, ActorKind
from apps.core.admin import ModelAdmin, ReadOnlyModelAdmin, link_to
from apps.core.errors import AppError
from apps.integrations.choices import DeliveryState
from apps.integrations.forms import WebhookEndpointForm
from apps.integrations.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.queues import with_queue
from apps.integrations.services.endpoints import create_endpoint, rotate_secret, send_test, update_endpoint
from apps.integrations.services.replaying import replay_delivery, replay_range
from apps.integrations.tasks import ring_on_commit

REPLAY_DAYS = 30


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ModelAdmin):
    form = WebhookEndpointForm
    list_display: ClassVar[Any] = (
        "url",
        "organization",
        "health",
        "queue_depth",
        "oldest_queued_at",
        "last_succeeded_at",
        "last_error",
    )
    list_filter: ClassVar[Any] = ("is_active", "disabled_reason", "created_at")
    list_select_related: ClassVar[Any] = ("organization",)
    search_fields: ClassVar[Any] = ("url", "description", "organization__name")
    autocomplete_fields: ClassVar[Any] = ("organization",)
    ordering: ClassVar[Any] = ("-id",)
    readonly_fields: ClassVar[Any] = (
        "health_in_words",
        "queue_depth",
        "oldest_queued_at",
        "consecutive_failures",
        "first_failed_at",
        "last_succeeded_at",
        "last_error",
        "previous_secret_valid_until",
        "created_at",
    )
    fields: ClassVar[Any] = ("organization", "url", "description", "event_types", *readonly_fields)
    actions: ClassVar[Any] = ("test", "rotate", "switch_on", "switch_off", "replay_dead")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        return with_queue(WebhookEndpoint.objects.kept())

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ("organization", "url", "description", "event_types")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, "organization") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: owners delete through the API, which keeps the deliveries until they age out."""
        return False

    @display(description="health", label={"well": "success", "failing": "warning", "off": "danger"})
    def health(self, endpoint: WebhookEndpoint) -> tuple[str, str]:
        """Say in a word or two how the endpoint is."""
        if not endpoint.is_active:
            return "off", f"off: {endpoint.get_disabled_reason_display()}"
        if endpoint.consecutive_failures:
            return "failing", f"{endpoint.consecutive_failures} failures in a row"
        return "well", "well"

    @admin.display(description="health")
    def health_in_words(self, endpoint: WebhookEndpoint) -> str:
        """Say the same on the endpoint's own page, where a label is no badge."""
        return self.health(endpoint)[1]

    @admin.display(description="queue")
    def queue_depth(self, endpoint: Any) -> int:
        """Return how many deliveries wait."""
        return int(endpoint.queue_depth)

    @admin.display(description="oldest in queue")
    def oldest_queued_at(self, endpoint: Any) -> Any:
        """Return since when the oldest one waits."""
        return endpoint.oldest_queued_at

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        given = form.cleaned_data
        if change:
            changes = {name: given[name] for name in ("url", "description", "event_types")}
            update_endpoint(actor=staff_actor(request, obj), endpoint_id=obj.id, changes=changes)
            ring_on_commit(obj.id)
            return
        made = create_endpoint(
            actor=staff_actor(request, obj),
            organization_id=obj.organization_id,
            url=given["url"],
            description=given["description"],
            event_types=given["event_types"],
        )
        obj.id, obj.secret, obj._state.adding = made.id, made.secret, False

    def response_add(self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: Any = None) -> HttpResponse:
        return self._show_secrets(request, [obj])

    @admin.action(description="Send a test event", permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Queue a test event for each."""

        def run(endpoint: WebhookEndpoint) -> None:
            send_test(actor=staff_actor(request, endpoint), endpoint_id=endpoint.id)
            ring_on_commit(endpoint.id)

        self._for_each(request, queryset, run, "A test event is on its way; its delivery shows what comes of it.")

    @admin.action(description="Rotate the secret (shown once, both valid for a day)", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> HttpResponse:
        """Give each a new secret and show them on a page of their own, which is not kept anywhere."""
        return self._show_secrets(
            request,
            [rotate_secret(actor=staff_actor(request, endpoint), endpoint_id=endpoint.id) for endpoint in queryset],
        )

    @admin.action(description="Switch on and send what waits", permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send again."""
        self._switch(request, queryset, is_active=True)

    @admin.action(description="Switch off; events are kept in the queue", permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Send nothing for now."""
        self._switch(request, queryset, is_active=False)

    @admin.action(description=f"Replay what was given up in the last {REPLAY_DAYS} days", permissions=["change"])
    def replay_dead(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        """Put the dead deliveries of a range back into the queues."""
        count = 0
        for endpoint in queryset:
            since = timezone.now() - timedelta(days=REPLAY_DAYS)
            count += replay_range(actor=staff_actor(request, endpoint), endpoint_id=endpoint.id, since=since)
            ring_on_commit(endpoint.id)
        self.message_user(request, f"{count} deliveries are back in the queue.", messages.SUCCESS)

    def _switch(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint], *, is_active: bool) -> None:
        def run(endpoint: WebhookEndpoint) -> None:
            actor = staff_actor(request, endpoint)
            update_endpoint(actor=actor, endpoint_id=endpoint.id, changes={"is_active": is_active})
            ring_on_commit(endpoint.id)

        self._for_each(request, queryset, run, "It is switched on." if is_active else "It is switched off.")

    def _for_each(
        self,
        request: HttpRequest,
        queryset: QuerySet[WebhookEndpoint],
        run: Callable[[WebhookEndpoint], None],
        done: str,
    ) -> None:
        for endpoint in queryset:
            try:
                run(endpoint)
            except AppError as error:
                self.message_user(request, f"{endpoint}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"{endpoint}: {done}", messages.SUCCESS)

    def _show_secrets(self, request: HttpRequest, endpoints: Iterable[WebhookEndpoint]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Secrets, shown this once",
            "endpoints": list(endpoints),
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "integrations/secrets_shown.html", context)


class AttemptInline(TabularInline):
    """Every request of a delivery, to read."""

    model = WebhookAttempt
    extra = 0
    can_delete = False
    fields: ClassVar[Any] = (
        "number",
        "started_at",
        "duration_ms",
        "url",
        "response_status",
        "error_kind",
        "error",
        "request_headers",
        "response_headers",
        "response_body",
    )
    readonly_fields: ClassVar[Any] = fields
    ordering: ClassVar[Any] = ("id",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyModelAdmin):
    list_display: ClassVar[Any] = (
        "occurred_at",
        "event_type",
        "to_endpoint",
        "state_label",
        "attempt_count",
        "due_at",
        "last_error",
    )
    list_filter: ClassVar[Any] = ("state", "event_type", "occurred_at")
    list_select_related: ClassVar[Any] = ("endpoint",)
    search_fields: ClassVar[Any] = ("=id", "=event_id", "=request_id", "endpoint__url")
    ordering: ClassVar[Any] = ("-id",)
    fields: ClassVar[Any] = (
        "to_endpoint",
        "webhook_id",
        "event_type",
        "occurred_at",
        "request_id",
        "ordering_key",
        "sequence",
        "state_label",
        "attempt_count",
        "due_at",
        "lease_until",
        "finished_at",
        "last_error",
        "body",
    )
    readonly_fields: ClassVar[Any] = fields
    inlines: ClassVar[Any] = (AttemptInline,)
    actions: ClassVar[Any] = ("replay",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: whole months age out."""
        return False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Ask for the model's change permission, which the page itself never gives."""
        return request.user.has_perm("integrations.change_webhookdelivery")

    @admin.display(description="endpoint", ordering="endpoint__url")
    def to_endpoint(self, delivery: WebhookDelivery) -> Any:
        """Return a link to the endpoint."""
        return link_to(WebhookEndpoint, delivery.endpoint_id, str(delivery.endpoint))

    @display(
        description="state",
        ordering="state",
        label={
            DeliveryState.SUCCEEDED.label: "success",
            DeliveryState.DEAD.label: "danger",
            DeliveryState.SENDING.label: "info",
            DeliveryState.PENDING.label: "warning",
        },
    )
    def state_label(self, delivery: WebhookDelivery) -> str:
        """Return the state in words."""
        return str(delivery.get_state_display())

    @admin.action(description="Send again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """Put finished deliveries back into their queues."""
        count, endpoints = 0, set[UUID]()
        for delivery in queryset.select_related("endpoint"):
            try:
                actor = staff_actor(request, delivery.endpoint)
                replay_delivery(actor=actor, endpoint_id=delivery.endpoint_id, delivery_id=delivery.id)
            except AppError as error:
                self.message_user(request, f"{delivery.public_id}: {error.message}", messages.WARNING)
            else:
                count += 1
                endpoints.add(delivery.endpoint_id)
        for endpoint_id in endpoints:
            ring_on_commit(endpoint_id)
        self.message_user(request, f"{count} deliveries are back in the queue.", messages.SUCCESS)


def staff_actor(request: HttpRequest, endpoint: WebhookEndpoint) -> Actor:
    """Return the member of staff as the platform's hand: every organization's endpoints, under their own name."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return replace(
        actor,
        kind=ActorKind.SYSTEM,
        organization_id=endpoint.organization_id,
        scopes=frozenset({ALL_SCOPES}),
        is_staff=True,
    )
