"""What the billing endpoints take and give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework import serializers

from apps.billing.choices import UsageGroup
from apps.billing.errors import PeriodInvalid
from apps.billing.selectors.usage import current_period
from apps.core.money import DEFAULT_CURRENCY

LONGEST_PERIOD = timedelta(days=366)
LATEST_END = datetime(3000, 1, 1, tzinfo=UTC)


class UsageQuerySerializer(serializers.Serializer[Any]):
    """The period, grouping and currency that are asked for."""

    since = serializers.DateTimeField(
        required=False, help_text="Beginning, ISO 8601; default the first of this month (UTC). Whole hours are counted."
    )
    until = serializers.DateTimeField(required=False, help_text="End, exclusive; default now.")
    group = serializers.ChoiceField(UsageGroup.choices, required=False, help_text="Break the totals down by this.")
    currency = serializers.CharField(
        default=DEFAULT_CURRENCY, min_length=3, max_length=3, help_text="Currency of the costs (ISO 4217)."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the current period; raise PeriodInvalid for one that is empty or longer than a year."""
        first, last = current_period()
        attrs.setdefault("until", last)
        attrs.setdefault("since", min(first, attrs["until"]))
        _check_period(attrs["since"], attrs["until"])
        return attrs


def _check_period(since: datetime, until: datetime) -> None:
    if since >= until:
        raise PeriodInvalid("since must be before until.", param="since")
    if until > LATEST_END:
        raise PeriodInvalid("No call is that far in the future; until must lie before the year 3000.", param="until")
    if until - since > LONGEST_PERIOD:
        raise PeriodInvalid("At most 366 days are answered at once; ask for a shorter period.", param="since")


class UsageTotalsSerializer(serializers.Serializer[Any]):
    """Sums over calls."""

    requests = serializers.IntegerField()
    errors = serializers.IntegerField(help_text="Calls that failed or were interrupted.")  # type: ignore[assignment]
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Part of prompt_tokens that providers read from their cache.")
    total_tokens = serializers.IntegerField()
    cost = serializers.DecimalField(max_digits=20, decimal_places=6, help_text="In the currency's unit.")
    cost_micros = serializers.IntegerField(help_text="In millionths of the currency's unit.")
    latency_ms = serializers.IntegerField(allow_null=True, help_text="Mean time of a call.")
    first_token_ms = serializers.IntegerField(allow_null=True, help_text="Mean time to the first token.")


class UsageLineSerializer(serializers.Serializer[Any]):
    """The usage of one group."""

    key = serializers.CharField(
        allow_null=True, help_text="Model, public id of the key or user, or day; null for none."
    )
    label = serializers.CharField(help_text="What people call it.")  # type: ignore[assignment]
    totals = UsageTotalsSerializer()


class UsageSummarySerializer(serializers.Serializer[Any]):
    """The usage of a period."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    currency = serializers.CharField()
    totals = UsageTotalsSerializer()
    group = serializers.ChoiceField(UsageGroup.choices, allow_null=True)
    items = UsageLineSerializer(many=True, source="lines")
