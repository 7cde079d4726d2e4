"""What the endpoints about providers and their health take and give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework import serializers

from apps.core.errors import InvalidInput
from apps.gateway.choices import Breaker, HealthStatus, ProviderKind
from apps.gateway.selectors.health import MOST_BUCKETS

BUCKETS = {"1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
LONGEST_PERIOD = timedelta(days=366)


class ProviderOutput(serializers.Serializer[Any]):
    """Someone who runs models."""

    id = serializers.CharField(source="public_id")
    slug = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(ProviderKind.choices, help_text="The wire format it speaks.")
    is_active = serializers.BooleanField(help_text="Calls may go there.")
    model_count = serializers.IntegerField(help_text="Models that it serves.")
    status = serializers.SerializerMethodField(help_text="What the last health probes say: up, down or unknown.")

    def get_status(self, provider: Any) -> str:
        """Return what the probes say."""
        return next(
            (state.status for state in provider.health.all() if state.deployment_id is None), HealthStatus.UNKNOWN.value
        )


class DeploymentHealthOutput(serializers.Serializer[Any]):
    """A model at a provider."""

    id = serializers.CharField(source="deployment.public_id")
    model = serializers.CharField(source="deployment.model.name")
    status = serializers.ChoiceField(HealthStatus.choices, help_text="What the probes say.")
    breaker = serializers.SerializerMethodField(
        help_text="What calls say: closed (in use), resting, open (left alone for a while) or half_open (on trial)."
    )
    retry_after_seconds = serializers.SerializerMethodField(
        help_text="Until it is asked again; null while it is in use."
    )

    def get_breaker(self, row: Any) -> str:
        """Return the state of the breaker."""
        return str(self.context["health"].standing(row.deployment.public_id).value)

    def get_retry_after_seconds(self, row: Any) -> float | None:
        """Return how long the deployment is left alone."""
        health = self.context["health"]
        if health.standing(row.deployment.public_id) != Breaker.OPEN:
            return None
        return round(health.blocked_for(row.deployment.public_id), 1)


class ProviderHealthOutput(serializers.Serializer[Any]):
    """How a provider is, as the probes have it."""

    id = serializers.CharField(source="provider.public_id")
    slug = serializers.CharField(source="provider.slug")
    name = serializers.CharField(source="provider.name")
    status = serializers.ChoiceField(HealthStatus.choices)
    since = serializers.DateTimeField(allow_null=True, help_text="When the status began.")
    checked_at = serializers.DateTimeField(allow_null=True, help_text="The last probe.")
    latency_ms = serializers.IntegerField(allow_null=True, help_text="Of the last answered probe.")
    uptime = serializers.FloatField(
        allow_null=True, help_text="Share of the probes of the last 24 hours that were answered; null without any."
    )
    deployments = DeploymentHealthOutput(many=True)


class ProviderHealthListOutput(serializers.Serializer[Any]):
    """All active providers, by slug."""

    items = ProviderHealthOutput(many=True)


class HealthHistoryQuery(serializers.Serializer[Any]):
    """Which part of the history is asked for."""

    provider = serializers.CharField(required=False, help_text="Slug or id of one provider; default all.")
    since = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="Beginning, ISO 8601; default a day before the end."
    )
    until = serializers.DateTimeField(required=False, default_timezone=UTC, help_text="End, exclusive; default now.")
    bucket = serializers.ChoiceField(
        list(BUCKETS), required=False, help_text="Length of the spans; default what fits the period."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the last day; refuse a period that is empty, too long, or of too many spans."""
        until: datetime = attrs.get("until") or datetime.now(UTC)
        try:
            since: datetime = attrs.get("since") or until - timedelta(days=1)
        except OverflowError:
            raise InvalidInput("`until` is too early.", param="until") from None
        if not timedelta(0) < until - since <= LONGEST_PERIOD:
            raise InvalidInput("`since` has to lie before `until`, by no more than 366 days.", param="since")
        length = attrs.get("bucket") or next(
            name for name, span in BUCKETS.items() if (until - since) / span <= MOST_BUCKETS or name == "1d"
        )
        if (until - since) / BUCKETS[length] > MOST_BUCKETS:
            raise InvalidInput(f"The period has more than {MOST_BUCKETS} spans of {length}.", param="bucket")
        return {"provider": attrs.get("provider"), "since": since, "until": until, "bucket": length}


class HealthBucketOutput(serializers.Serializer[Any]):
    """The probes of one provider in one span."""

    provider = serializers.CharField(help_text="Slug.")
    begins_at = serializers.DateTimeField()
    checks = serializers.IntegerField(help_text="Probes.")
    failures = serializers.IntegerField(help_text="Those that were not answered.")
    uptime = serializers.FloatField(help_text="Share of the probes that were answered.")
    latency_ms = serializers.FloatField(allow_null=True, help_text="Mean of the answered ones.")
    slowest_ms = serializers.IntegerField(allow_null=True)


class HealthHistoryOutput(serializers.Serializer[Any]):
    """The history in spans, oldest first; a span without probes is left out."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    bucket = serializers.ChoiceField(list(BUCKETS))
    items = HealthBucketOutput(many=True)
