"""What goes in and out of /api/v3/webhooks."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.integrations.choices import FINAL_STATES, DeliveryState, DisabledReason
from apps.integrations.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from apps.integrations.services.endpoints import MAX_OVERLAP, OVERLAP


class TextOrNull(serializers.CharField):
    """Text that is null in JSON where it is empty in the row."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> Any:
        """Return null for nothing."""
        return super().to_representation(value) if value else None


class EndpointInput(serializers.Serializer[Any]):
    """A new endpoint. An empty list of event types asks for every public event, future ones included."""

    url = serializers.CharField(max_length=2048, help_text="https://…; the guard explains what it refuses.")
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    event_types = serializers.ListField(
        child=serializers.CharField(max_length=96), required=False, max_length=200, help_text="Empty: every event."
    )


class EndpointChangeInput(serializers.Serializer[Any]):
    """What to change; fields that are left out stay."""

    url = serializers.CharField(max_length=2048, required=False)
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    event_types = serializers.ListField(
        child=serializers.CharField(max_length=96), required=False, max_length=200, help_text="Empty: every event."
    )
    is_active = serializers.BooleanField(
        required=False, help_text="Off: events are queued and not sent until it is on again."
    )


class EndpointOutput(serializers.ModelSerializer[WebhookEndpoint]):
    """An endpoint, without its secret."""

    id = serializers.CharField(source="public_id", read_only=True)
    disabled_reason = serializers.ChoiceField(
        choices=DisabledReason.choices, read_only=True, allow_null=True, help_text="Null while it is active."
    )
    last_error = TextOrNull(help_text="The latest failure since the latest success.")

    class Meta:
        model = WebhookEndpoint
        fields: ClassVar[Any] = (
            "id",
            "url",
            "description",
            "event_types",
            "is_active",
            "disabled_reason",
            "consecutive_failures",
            "first_failed_at",
            "last_succeeded_at",
            "last_error",
            "previous_secret_valid_until",
            "created_at",
            "updated_at",
            "version",
        )
        read_only_fields = fields

    def to_representation(self, instance: WebhookEndpoint) -> dict[str, Any]:
        """Return the endpoint; an active one has no reason to be disabled."""
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | {"disabled_reason": instance.disabled_reason or None}


class EndpointSecretOutput(EndpointOutput):
    """An endpoint with its new secret, which is shown this once."""

    secret = serializers.CharField(read_only=True, help_text="`whsec_…`: verifies the signatures. Shown this once.")

    class Meta(EndpointOutput.Meta):
        fields: ClassVar[Any] = (*EndpointOutput.Meta.fields, "secret")
        read_only_fields = fields


class SecretRotationInput(serializers.Serializer[Any]):
    """How long the present secret signs beside the new one."""

    overlap_seconds = serializers.IntegerField(
        min_value=0, max_value=int(MAX_OVERLAP.total_seconds()), default=int(OVERLAP.total_seconds())
    )


class AttemptOutput(serializers.ModelSerializer[WebhookAttempt]):
    """One request and what came of it. Signatures are not kept."""

    id = serializers.CharField(source="public_id", read_only=True)
    error_kind = TextOrNull(
        help_text="Why there was no answer: refused, resolve, connect, tls, timeout, cut, protocol."
    )
    error = TextOrNull()

    class Meta:
        model = WebhookAttempt
        fields: ClassVar[Any] = (
            "id",
            "number",
            "started_at",
            "duration_ms",
            "url",
            "request_headers",
            "is_success",
            "response_status",
            "response_headers",
            "response_body",
            "is_body_truncated",
            "error_kind",
            "error",
        )
        read_only_fields = fields


class DeliveryOutput(serializers.ModelSerializer[WebhookDelivery]):
    """One event on its way to an endpoint, with every attempt."""

    id = serializers.CharField(source="public_id", read_only=True)
    webhook_id = serializers.CharField(read_only=True, help_text="The `webhook-id` header, the same in every attempt.")
    body = serializers.CharField(read_only=True, help_text="The request's body, word for word.")
    last_error = TextOrNull()
    attempts = serializers.SerializerMethodField()

    class Meta:
        model = WebhookDelivery
        fields: ClassVar[Any] = (
            "id",
            "webhook_id",
            "event_type",
            "occurred_at",
            "state",
            "ordering_key",
            "sequence",
            "attempt_count",
            "due_at",
            "finished_at",
            "last_error",
            "body",
            "attempts",
        )
        read_only_fields = fields

    @extend_schema_field(AttemptOutput(many=True))
    def get_attempts(self, delivery: WebhookDelivery) -> Any:
        """Return the attempts, the first one first."""
        attempts = sorted(delivery.attempts.all(), key=lambda attempt: attempt.id)
        return AttemptOutput(attempts, many=True).data


class ReplayInput(serializers.Serializer[Any]):
    """Which finished deliveries to send again: of events in [since, until)."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(required=False, allow_null=True)
    state = serializers.ChoiceField(
        choices=[(state.value, state.label) for state in FINAL_STATES], default=DeliveryState.DEAD.value
    )


class ReplayOutput(serializers.Serializer[Any]):
    """How many deliveries are back in the queue."""

    replayed = serializers.IntegerField(read_only=True)


class EventTypeOutput(serializers.Serializer[Any]):
    """A type of event that endpoints can subscribe to."""

    type = serializers.CharField(read_only=True)
    description = serializers.CharField(read_only=True)
    aggregate_type = serializers.CharField(read_only=True, help_text="Events of one aggregate arrive in order.")
    schema = serializers.JSONField(read_only=True, help_text="JSON Schema (2020-12) of the whole body.")
    example = serializers.JSONField(read_only=True, help_text="A body of this type.")


class EventTypeListOutput(serializers.Serializer[Any]):
    """The catalogue."""

    items = EventTypeOutput(many=True, read_only=True)


class CircuitOutput(serializers.Serializer[Any]):
    """A circuit breaker with failures."""

    name = serializers.CharField(read_only=True)
    state = serializers.ChoiceField(choices=["closed", "open", "half_open"], read_only=True)
    failures = serializers.IntegerField(read_only=True)
    opened_at = serializers.DateTimeField(read_only=True, allow_null=True)


class PurposeOutput(serializers.Serializer[Any]):
    """The latest calls of one purpose, summed up."""

    purpose = serializers.CharField(read_only=True)
    calls = serializers.IntegerField(read_only=True)
    failed = serializers.IntegerField(read_only=True, help_text="Without an answer, or answered 5xx.")
    outcomes = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    p50_ms = serializers.IntegerField(read_only=True)
    p95_ms = serializers.IntegerField(read_only=True)


class CallOutput(serializers.Serializer[Any]):
    """One outbound call."""

    at = serializers.DateTimeField(read_only=True)
    purpose = serializers.CharField(read_only=True)
    method = serializers.CharField(read_only=True)
    host = serializers.CharField(read_only=True)
    status = serializers.IntegerField(read_only=True, allow_null=True)
    outcome = serializers.CharField(read_only=True)
    duration_ms = serializers.IntegerField(read_only=True)


class OutboundStatsOutput(serializers.Serializer[Any]):
    """Outbound calls of the whole platform."""

    circuits = CircuitOutput(many=True, read_only=True)
    purposes = PurposeOutput(many=True, read_only=True)
    recent = CallOutput(many=True, read_only=True)
