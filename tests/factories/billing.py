"""Factories of the billing house."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import factory
from factory.django import DjangoModelFactory

from apps.billing.models import Budget, Price
from apps.billing.services.recording import UsageEntry
from apps.core.ids import uuid7


class PriceFactory(DjangoModelFactory):
    class Meta:
        model = Price

    provider = "openai"
    model = factory.Sequence(lambda n: f"model-{n}")
    input_micros = 150_000
    output_micros = 600_000
    cached_micros = 75_000
    cache_write_micros = 150_000
    valid_from = datetime(2026, 1, 1, tzinfo=UTC)


class BudgetFactory(DjangoModelFactory):
    """A hard limit of 1,000 micro-units a month for the organization of PLAIN, without what was spent before."""

    class Meta:
        model = Budget

    organization_id = factory.LazyFunction(lambda: PLAIN.organization_id)
    name = factory.Sequence(lambda n: f"Budget {n}")
    scope = "organization"
    window = "month"
    hard_micros = 1000


PLAIN = UsageEntry(
    request_id=uuid7(),
    created_at=datetime(2026, 11, 20, 10, 15, tzinfo=UTC),
    organization_id=uuid7(),
    user_id=uuid7(),
    api_key_id=uuid7(),
    model="gpt-4o-mini",
    provider="openai",
    upstream_model="gpt-4o-mini-2024-07-18",
    endpoint="chat.completions",
    prompt_tokens=100,
    completion_tokens=20,
    cached_tokens=10,
    cache_write_tokens=0,
    reasoning_tokens=5,
    cost_micros=27,
    currency="USD",
    status="ok",
    is_estimated=False,
    is_stream=True,
    http_status=200,
    error_code="",
    latency_ms=800,
    first_token_ms=200,
    attempts=1,
    upstream_request_id="chatcmpl-1",
    end_user="",
)


def make_entry(**changes: Any) -> UsageEntry:
    """Return a usage entry with an id of its own: 100 prompt and 20 completion tokens for 27 micro-USD."""
    return PLAIN._replace(**{"request_id": uuid7(), **changes})
