"""Tables of outgoing webhooks: endpoints, one queue each, and every attempt."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from apps.core.fields import EncryptedTextField
from apps.core.ids import encode_id
from apps.core.models import Entity, VersionedEntity
from apps.integrations.choices import LIVE_STATES, OPEN_STATES, DeliveryState, DisabledReason
from apps.integrations.querysets import AttemptQuerySet, EndpointQuerySet, WebhookDeliveryQuerySet


class WebhookEndpoint(VersionedEntity):
    """A URL to which an organization has events sent. An empty `event_types` asks for every public event.

    The row is also the lock of the endpoint's queue. A deleted endpoint keeps its row, without URL and secrets, until
    its deliveries have aged out.
    """

    ID_PREFIX: ClassVar[str] = "whk"

    organization = models.ForeignKey("users.Organization", on_delete=models.CASCADE, related_name="+")
    url = models.CharField("URL", max_length=2048, blank=True)
    description = models.CharField(max_length=500, blank=True)
    event_types = ArrayField(models.CharField(max_length=96), default=list, blank=True)
    secret = EncryptedTextField(editable=False)
    previous_secret = EncryptedTextField(blank=True, editable=False)
    previous_secret_valid_until = models.DateTimeField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=16, choices=DisabledReason.choices, blank=True)
    consecutive_failures = models.PositiveIntegerField(default=0, editable=False)
    first_failed_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_succeeded_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["organization", "-id"], name="integrations_endpoint_org")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(is_active=True, disabled_reason="")
                | models.Q(is_active=False) & ~models.Q(disabled_reason=""),
                name="integrations_endpoint_disabled_says_why",
            ),
            models.CheckConstraint(
                condition=models.Q(deleted_at__isnull=True) | models.Q(is_active=False, url=""),
                name="integrations_endpoint_deleted_is_empty",
            ),
        ]

    def __str__(self) -> str:
        return self.url or "deleted endpoint"

    def valid_secrets(self, now: datetime) -> list[str]:
        """Return the secrets that sign at this time, the current one first."""
        until = self.previous_secret_valid_until
        has_previous = bool(self.previous_secret) and until is not None and now < until
        return [self.secret, self.previous_secret] if has_previous else [self.secret]


class WebhookDelivery(Entity):
    """One event on its way to one endpoint: what is sent, word for word, and where it stands.

    Deliveries with the same `ordering_key` go one after the other by `sequence`. A sender holds a lease while it sends;
    when it dies, the lease runs out and somebody else sends again under the same `webhook_id`. Partitioned by month.
    """

    ID_PREFIX: ClassVar[str] = "whd"

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=96)
    occurred_at = models.DateTimeField()
    request_id = models.CharField(max_length=128, blank=True)
    ordering_key = models.CharField(max_length=160)
    sequence = models.BigIntegerField()
    body = models.TextField()
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    attempt_count = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "event_id", "occurred_at"], name="integrations_delivery_once_per_event"
            ),
            models.CheckConstraint(
                condition=~models.Q(state=DeliveryState.SENDING)
                | models.Q(lease_token__isnull=False, lease_until__isnull=False),
                name="integrations_delivery_sending_has_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="integrations_delivery_list"),
            models.Index(
                fields=["endpoint", "due_at", "id"],
                condition=models.Q(state__in=LIVE_STATES),
                name="integrations_delivery_live",
            ),
            models.Index(
                fields=["endpoint", "ordering_key", "sequence", "id"],
                condition=models.Q(state__in=OPEN_STATES),
                name="integrations_delivery_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} ({self.state})"

    @property
    def webhook_id(self) -> str:
        """Return the id that receivers recognize a repetition by: the event's own."""
        return encode_id("evt", self.event_id)


class WebhookAttempt(Entity):
    """One request to an endpoint and what came of it. Signatures are left out. Partitioned by month.

    `error_kind` is empty where there was an answer, else the kind of failure (see apps.core.outbound.errors).
    """

    ID_PREFIX: ClassVar[str] = "wha"

    delivery = models.ForeignKey(
        WebhookDelivery, on_delete=models.CASCADE, related_name="attempts", db_constraint=False, db_index=False
    )
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    url = models.CharField("URL", max_length=2048)
    request_headers = models.JSONField(default=dict)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_headers = models.JSONField(default=dict)
    response_body = models.TextField(blank=True)
    is_body_truncated = models.BooleanField(default=False)
    is_success = models.BooleanField()
    error_kind = models.CharField(max_length=16, blank=True)
    error = models.CharField(max_length=500, blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["delivery", "id"], name="integrations_attempt_delivery")]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.response_status or self.error_kind}"
