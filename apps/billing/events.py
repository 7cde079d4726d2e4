"""Facts of the billing house."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from apps.events.events import DomainEvent


@dataclass(frozen=True, kw_only=True)
class PriceChanged(DomainEvent):
    """A model costs something else from a moment on, in one service tier. Prices are micro-USD per million tokens."""

    type: ClassVar[str] = "price.changed"
    aggregate_type: ClassVar[str] = "price"
    example: ClassVar[dict[str, Any]] = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "service_tier": "standard",
        "valid_from": "2026-01-01T00:00:00+00:00",
        "input_micros": 150_000,
        "output_micros": 600_000,
        "cached_micros": 75_000,
        "cache_write_micros": 150_000,
        "reasoning_micros": None,
        "cache_write_1h_micros": None,
        "long_after_tokens": 272_000,
        "long_input_micros": 300_000,
        "long_output_micros": 900_000,
        "long_cached_micros": 150_000,
        "long_cache_write_micros": 300_000,
        "long_cache_write_1h_micros": None,
    }

    provider: str
    model: str
    service_tier: str
    valid_from: datetime
    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None
    cache_write_1h_micros: int | None
    long_after_tokens: int | None
    long_input_micros: int | None
    long_output_micros: int | None
    long_cached_micros: int | None
    long_cache_write_micros: int | None
    long_cache_write_1h_micros: int | None


@dataclass(frozen=True, kw_only=True)
class BudgetCreated(DomainEvent):
    """A budget began. Limits are in micro-units of the currency; null for none."""

    type: ClassVar[str] = "budget.created"
    aggregate_type: ClassVar[str] = "budget"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "scope": "team",
        "window": "month",
        "soft_micros": 80_000_000,
        "hard_micros": 100_000_000,
        "currency": "USD",
    }

    scope: str
    window: str
    soft_micros: int | None
    hard_micros: int | None
    currency: str


@dataclass(frozen=True, kw_only=True)
class BudgetChanged(DomainEvent):
    """A budget's limits, temporary increase, name or state changed; the figures are those that hold now."""

    type: ClassVar[str] = "budget.changed"
    aggregate_type: ClassVar[str] = "budget"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "changed": ["boost_micros", "boost_until"],
        "soft_micros": 80_000_000,
        "hard_micros": 100_000_000,
        "boost_micros": 20_000_000,
        "boost_until": "2026-12-01T00:00:00+00:00",
        "is_active": True,
    }

    changed: tuple[str, ...]
    soft_micros: int | None
    hard_micros: int | None
    boost_micros: int
    boost_until: datetime | None
    is_active: bool


@dataclass(frozen=True, kw_only=True)
class BudgetDeleted(DomainEvent):
    """A budget ended."""

    type: ClassVar[str] = "budget.deleted"
    aggregate_type: ClassVar[str] = "budget"
    is_public: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class BudgetThresholdReached(DomainEvent):
    """A part of a budget's limit is spent: told once per window, subject, limit and threshold.

    `kind` is `hard` or `soft`; `subject_id` is set where the subject is a team, user or key. Amounts are micro-units.
    """

    type: ClassVar[str] = "budget.threshold_reached"
    aggregate_type: ClassVar[str] = "budget"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "kind": "hard",
        "percent": 80,
        "scope": "key",
        "subject_id": "019a0000-0000-7000-8000-000000000001",
        "window": "month",
        "starts_at": "2026-11-01T00:00:00+00:00",
        "ends_at": "2026-12-01T00:00:00+00:00",
        "spent_micros": 80_400_000,
        "limit_micros": 100_000_000,
        "currency": "USD",
    }

    kind: str
    percent: int
    scope: str
    subject_id: str | None
    window: str
    starts_at: datetime
    ends_at: datetime | None
    spent_micros: int
    limit_micros: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class BudgetOverrunForecast(DomainEvent):
    """A budget will be used up before its window ends if spending goes on as it does: told once per window and subject.

    The forecast is what will be spent by the end, as an interval and its middle, in micro-units.
    """

    type: ClassVar[str] = "budget.overrun_forecast"
    aggregate_type: ClassVar[str] = "budget"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "scope": "organization",
        "subject_id": None,
        "window": "month",
        "starts_at": "2026-11-01T00:00:00+00:00",
        "ends_at": "2026-12-01T00:00:00+00:00",
        "spent_micros": 40_000_000,
        "limit_micros": 100_000_000,
        "low_micros": 104_000_000,
        "expected_micros": 118_000_000,
        "high_micros": 132_000_000,
        "currency": "USD",
    }

    scope: str
    subject_id: str | None
    window: str
    starts_at: datetime
    ends_at: datetime | None
    spent_micros: int
    limit_micros: int
    low_micros: int
    expected_micros: int
    high_micros: int
    currency: str


@dataclass(frozen=True, kw_only=True)
class UsageRepriced(DomainEvent):
    """Calls of a period were charged anew by the prices of their times. `amount_micros` is by how much more, in all.

    Empty `provider` and `model` mean all of them.
    """

    type: ClassVar[str] = "usage.repriced"
    aggregate_type: ClassVar[str] = "repricing"
    unheard_because: ClassVar[str] = "hours, balances and budgets follow in the run's own transactions"
    example: ClassVar[dict[str, Any]] = {
        "since": "2026-11-01T00:00:00+00:00",
        "until": "2026-12-01T00:00:00+00:00",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "records": 120_000,
        "adjusted": 5_400,
        "amount_micros": -1_250_000,
    }

    since: datetime
    until: datetime
    provider: str
    model: str
    records: int
    adjusted: int
    amount_micros: int


@dataclass(frozen=True, kw_only=True)
class BillReconciled(DomainEvent):
    """A provider's bill was compared with what was recorded. Days are of UTC; a bill without costs has none here."""

    type: ClassVar[str] = "bill.reconciled"
    aggregate_type: ClassVar[str] = "reconciliation"
    unheard_because: ClassVar[str] = "staff read the comparison, and the command's exit code tells the operator"
    example: ClassVar[dict[str, Any]] = {
        "provider": "openai",
        "first_day": "2026-11-01",
        "last_day": "2026-11-30",
        "compared": 120,
        "differences": 2,
        "bill_cost_micros": 412_500_000,
        "own_cost_micros": 412_380_000,
    }

    provider: str
    first_day: str
    last_day: str
    compared: int
    differences: int
    bill_cost_micros: int | None
    own_cost_micros: int
