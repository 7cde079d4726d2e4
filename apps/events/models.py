"""Tables of the event store, the outbox and idempotent requests."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Now

from apps.core.fields import EncryptedTextField
from apps.core.ids import uuid7
from apps.events.choices import DeliveryState
from apps.events.querysets import DeliveryQuerySet, EventQuerySet


class TransactionIdField(models.Field):
    """Postgres' xid8: the transaction that wrote the row."""

    def db_type(self, connection: Any) -> str:
        return "xid8"


class CurrentTransactionId(models.Func):
    function = "pg_current_xact_id"
    template = "%(function)s()"
    output_field = TransactionIdField()


class Aggregate(models.Model):
    """The head of one aggregate's stream. Its row lock puts the events of an aggregate in order."""

    id = models.BigAutoField(primary_key=True)
    aggregate_type = models.CharField(max_length=64)
    aggregate_id = models.UUIDField()
    version = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["aggregate_type", "aggregate_id"], name="events_aggregate_one_head")
        ]

    def __str__(self) -> str:
        return f"{self.aggregate_type} {self.aggregate_id} @ {self.version}"


class Event(models.Model):
    """A fact, as stored: partitioned by month, refused UPDATE, DELETE and TRUNCATE by trigger."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    position = models.BigIntegerField(
        db_default=models.Value(0), editable=False
    )  # an identity column, see the migration
    transaction_id = TransactionIdField(db_default=CurrentTransactionId(), editable=False)
    type = models.CharField(max_length=96)
    aggregate_type = models.CharField(max_length=64)
    aggregate_id = models.UUIDField()
    aggregate_version = models.PositiveIntegerField()
    organization_id = models.UUIDField(null=True)
    actor = models.JSONField(default=dict)
    request_id = models.CharField(max_length=128, blank=True)
    occurred_at = models.DateTimeField(db_default=Now())
    payload = models.JSONField(default=dict)

    objects = EventQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["aggregate_type", "aggregate_id", "aggregate_version"], name="events_event_aggregate"),
            models.Index(fields=["organization_id", "-position"], name="events_event_organization"),
            models.Index(fields=["type", "-occurred_at"], name="events_event_type"),
            models.Index(fields=["position"], name="events_event_position"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.aggregate_id} @ {self.aggregate_version}"


class Delivery(models.Model):
    """One event on its way to one subscriber. The row goes when the subscriber has taken it."""

    id = models.BigAutoField(primary_key=True)
    subscriber = models.CharField(max_length=96)
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=96)
    event_occurred_at = models.DateTimeField()
    aggregate_type = models.CharField(max_length=64)
    aggregate_id = models.UUIDField()
    aggregate_version = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "aggregate_type", "aggregate_id", "aggregate_version"],
                name="events_delivery_once_per_subscriber",
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at", "id"], condition=models.Q(state=DeliveryState.PENDING), name="events_delivery_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_type} → {self.subscriber} ({self.state})"


class IdempotentRequest(models.Model):
    """What was answered to a request with an Idempotency-Key: given back, byte for byte, for 24 hours."""

    id = models.BigAutoField(primary_key=True)
    caller = models.CharField(max_length=96)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = EncryptedTextField()
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="events_idempotent_request_once")]
        indexes = [models.Index(fields=["created_at"], name="events_idempotent_created")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
