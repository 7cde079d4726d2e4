"""What the gateway's endpoints take and give."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from apps.billing.api.serializers import UsageTotalsSerializer
from apps.billing.selectors.usage import current_period
from apps.billing.services.pricing import PriceCard
from apps.core.errors import InvalidInput
from apps.core.money import DEFAULT_CURRENCY, from_micros
from apps.gateway.choices import Capability, HealthStatus, Tier

LONGEST_PERIOD = timedelta(days=366)


class PricesOutput(serializers.Serializer[PriceCard]):
    """Prices in dollars per million tokens."""

    input = serializers.SerializerMethodField(help_text="Prompt tokens.")
    output = serializers.SerializerMethodField(help_text="Completion tokens.")
    cached = serializers.SerializerMethodField(help_text="Prompt tokens read from the provider's cache.")
    cache_write = serializers.SerializerMethodField(help_text="Prompt tokens written to the provider's cache.")
    reasoning = serializers.SerializerMethodField(help_text="Reasoning tokens.")
    currency = serializers.SerializerMethodField()

    def get_input(self, card: PriceCard) -> Decimal:
        """Return dollars per million prompt tokens."""
        return from_micros(card.input_micros)

    def get_output(self, card: PriceCard) -> Decimal:
        """Return dollars per million completion tokens."""
        return from_micros(card.output_micros)

    def get_cached(self, card: PriceCard) -> Decimal:
        """Return dollars per million cached prompt tokens."""
        return from_micros(card.cached_micros)

    def get_cache_write(self, card: PriceCard) -> Decimal:
        """Return dollars per million prompt tokens written to a cache."""
        return from_micros(card.cache_write_micros)

    def get_reasoning(self, card: PriceCard) -> Decimal:
        """Return dollars per million reasoning tokens: what output costs, unless said otherwise."""
        return from_micros(card.output_micros if card.reasoning_micros is None else card.reasoning_micros)

    def get_currency(self, card: PriceCard) -> str:
        """Return the currency of all prices."""
        return DEFAULT_CURRENCY


class ModelOutput(serializers.Serializer[Any]):
    """A model that the caller may use."""

    id = serializers.CharField()
    name = serializers.CharField(help_text="What requests call it.")
    tier = serializers.ChoiceField(Tier.choices, help_text="From T0 (local or free of charge) to T3 (frontier).")
    context_window = serializers.IntegerField(allow_null=True, help_text="Tokens; null when unknown.")
    max_output_tokens = serializers.IntegerField(allow_null=True)
    capabilities = serializers.ListField(child=serializers.ChoiceField(Capability.choices))
    owned_by = serializers.CharField()
    provider = serializers.SerializerMethodField(help_text="Slug of the provider that is asked first.")
    providers = serializers.ListField(child=serializers.CharField(), help_text="Slugs, the preferred one first.")
    prices = PricesOutput(source="price", allow_null=True, help_text="At the preferred provider; null: free of charge.")
    is_sandbox = serializers.BooleanField(help_text="Answers are made up, for trials and tests.")
    health = serializers.SerializerMethodField(
        help_text="What the last health probes say: up when any of its deployments is, down when all are, or unknown."
    )

    def get_health(self, info: Any) -> str:
        """Return what the probes say."""
        return str(self.context["health"].get(info.name, HealthStatus.UNKNOWN.value))

    def get_provider(self, info: Any) -> str:
        """Return the preferred provider."""
        return str(info.providers[0])


class ModelListOutput(serializers.Serializer[Any]):
    """All models that the caller may use, by name."""

    items = ModelOutput(many=True)


class UsagePeriod(serializers.Serializer[Any]):
    """The period that is asked for."""

    since = serializers.DateTimeField(
        required=False, help_text="Beginning, ISO 8601; default the first of this month (UTC). Whole hours are counted."
    )
    until = serializers.DateTimeField(required=False, help_text="End, exclusive; default now.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, datetime]:
        """Fill in the current month; refuse a period that is empty or longer than a year."""
        first, last = current_period()
        until: datetime = attrs.get("until", last)
        since: datetime = attrs.get("since", min(first, until))
        if not timedelta(0) < until - since <= LONGEST_PERIOD:
            raise InvalidInput("`since` has to lie before `until`, by no more than 366 days.", param="since")
        return {"since": since, "until": until}


class ModelUsageOutput(serializers.Serializer[Any]):
    """What the caller may see of a model's usage."""

    model = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    currency = serializers.CharField()
    totals = UsageTotalsSerializer()


class CompletionInput(serializers.Serializer[Any]):
    """A chat-completions request in OpenAI's format; further fields are passed on to the provider."""

    model = serializers.CharField(help_text="Name of the model.")
    messages = serializers.ListField(child=serializers.DictField(), help_text="The conversation so far.")
    stream = serializers.BooleanField(required=False, help_text="Answer as server-sent events.")
    max_completion_tokens = serializers.IntegerField(required=False, min_value=1)
    temperature = serializers.FloatField(required=False)
    tools = serializers.ListField(child=serializers.DictField(), required=False)
    response_format = serializers.DictField(required=False)
