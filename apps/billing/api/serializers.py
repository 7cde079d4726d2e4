"""What the billing endpoints take and give."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework import serializers

from apps.billing.choices import UsageGroup, UsageStatus
from apps.billing.errors import PeriodInvalid
from apps.billing.selectors.usage import FILTERS, UsageQuery, UsageSummary, current_period
from apps.core.errors import InvalidInput
from apps.core.money import DEFAULT_CURRENCY
from apps.users.models import ApiKey, Team, User

LONGEST_PERIOD = timedelta(days=366)
LONGEST_OF_RECORDS = timedelta(days=93)
MOST_GROUPS = 3
LATEST_END = datetime(3000, 1, 1, tzinfo=UTC)


class ValuesField(serializers.CharField):
    """Values separated by commas: names, words of a choice, or public ids of a kind of row."""

    def __init__(
        self, kind: type[ApiKey | User | Team] | None = None, choices: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(required=False, max_length=2000, **kwargs)
        self._kind = kind
        self._words = choices

    def to_internal_value(self, data: Any) -> list[Any]:  # type: ignore[override]
        """Return the values; raise ValidationError for what is no id of the kind, or no word of the choice."""
        values = [value.strip() for value in super().to_internal_value(data).split(",") if value.strip()]
        unknown = [value for value in values if self._words and value not in self._words]
        if unknown:
            raise serializers.ValidationError(f"{unknown[0]!r} is none of {', '.join(self._words)}.")
        if self._kind is None:
            return values
        try:
            return [self._kind.parse_id(value) for value in values]
        except InvalidInput as error:
            raise serializers.ValidationError(error.message) from error


class UsageQuerySerializer(serializers.Serializer[Any]):
    """The period, grouping, filters and currency that are asked for. Filters take several values, separated by commas."""

    since = serializers.DateTimeField(
        required=False, help_text="Beginning, ISO 8601; default the first of this month (UTC). Whole hours are counted."
    )
    until = serializers.DateTimeField(required=False, help_text="End, exclusive; default now.")
    group_by = serializers.CharField(
        required=False,
        max_length=100,
        help_text=f"Break the totals down by up to three of {', '.join(UsageGroup.values)}.",
    )
    group = serializers.ChoiceField(
        UsageGroup.choices, required=False, help_text="The same for one; `group_by` is preferred."
    )
    model = ValuesField(help_text="Only these models.")
    provider = ValuesField(help_text="Only these providers, by their slugs.")
    key = ValuesField(ApiKey, help_text="Only these keys, by their public ids.")
    user = ValuesField(User, help_text="Only these users, by their public ids.")
    team = ValuesField(Team, help_text="Only these teams, by their public ids.")
    tag = ValuesField(help_text="Only calls with one of these tags.")
    end_user = ValuesField(help_text="Only calls for these end users.")
    endpoint = ValuesField(help_text="Only these endpoints, such as chat.completions.")
    status = ValuesField(
        choices=UsageStatus.values, help_text=f"Only calls that ended so: {', '.join(UsageStatus.values)}."
    )
    currency = serializers.CharField(
        default=DEFAULT_CURRENCY, min_length=3, max_length=3, help_text="Currency of the costs (ISO 4217)."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `from` and `to`, the short names of since and until."""
        return {
            "from": serializers.DateTimeField(required=False, help_text="The same as since."),
            "to": serializers.DateTimeField(required=False, help_text="The same as until."),
            **super().get_fields(),
        }

    def validate_group_by(self, text: str) -> tuple[str, ...]:
        """Return the names; raise ValidationError for one that is unknown or comes twice, and for more than three."""
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        unknown = [name for name in names if name not in UsageGroup.values]
        if unknown:
            raise serializers.ValidationError(f"{unknown[0]!r} is none of {', '.join(UsageGroup.values)}.")
        if len(set(names)) < len(names) or len(names) > MOST_GROUPS:
            raise serializers.ValidationError(f"Name at most {MOST_GROUPS}, each once.")
        return names

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return {"query": UsageQuery} with the current period filled in.

        Raise PeriodInvalid for a period that is empty, or longer than can be answered.
        """
        first, last = current_period()
        until = attrs.get("to", attrs.get("until", last))
        since = attrs.get("from", attrs.get("since", min(first, until)))
        group = attrs.get("group")
        query = UsageQuery(
            since=since,
            until=until,
            group_by=attrs.get("group_by") or ((group,) if group else ()),
            filters={name: attrs[name] for name in FILTERS if attrs.get(name)},
            currency=attrs["currency"].upper(),
        )
        _check_period(query)
        return {"query": query}


def _check_period(query: UsageQuery) -> None:
    since, until = query.since, query.until
    if since >= until:
        raise PeriodInvalid("since must be before until.", param="since")
    if until > LATEST_END:
        raise PeriodInvalid("No call is that far in the future; until must lie before the year 3000.", param="until")
    if until - since > LONGEST_PERIOD:
        raise PeriodInvalid("At most 366 days are answered at once; ask for a shorter period.", param="since")
    if query.needs_records and until - since > LONGEST_OF_RECORDS:
        raise PeriodInvalid(
            "By tag, end user or status at most 93 days are answered at once; ask for a shorter period.", param="since"
        )


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


class GroupValueSerializer(serializers.Serializer[Any]):
    """What a line is about in one respect."""

    by = serializers.ChoiceField(UsageGroup.choices)
    key = serializers.CharField(allow_null=True, help_text="Name, public id, day or hour; null for none.")
    label = serializers.CharField(help_text="What people call it.")  # type: ignore[assignment]


class UsageLineSerializer(serializers.Serializer[Any]):
    """The usage of one group."""

    key = serializers.CharField(allow_null=True, help_text="Of the first respect: name, public id, day or hour.")
    label = serializers.CharField(help_text="What people call it.")  # type: ignore[assignment]
    groups = GroupValueSerializer(many=True, help_text="All respects, in the order of group_by.")
    totals = UsageTotalsSerializer()


class UsageSummarySerializer(serializers.Serializer[Any]):
    """The usage of a period."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    currency = serializers.CharField()
    totals = UsageTotalsSerializer()
    group = serializers.SerializerMethodField(help_text="The first of group_by; null without.")
    group_by = serializers.ListField(child=serializers.ChoiceField(UsageGroup.choices))
    items = UsageLineSerializer(many=True, source="lines")
    is_cut = serializers.BooleanField(help_text="There are more groups than the 1,000 named here; CSV has them all.")

    def get_group(self, summary: UsageSummary) -> str | None:
        """Return the first respect by which usage is grouped."""
        return summary.group_by[0] if summary.group_by else None
