"""What was used, from the hourly sums: a constant number of statements over any number of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django.db.models import DateTimeField, F
from django.db.models.expressions import Combinable
from django.db.models.functions import TruncDay, TruncHour

from apps.billing.choices import UsageGroup
from apps.billing.models import UsageHour
from apps.billing.querysets import SUMS, TIMES, UsageHourQuerySet
from apps.core.actor import Actor
from apps.core.ids import encode_id
from apps.core.money import DEFAULT_CURRENCY, from_micros
from apps.users.models import ApiKey, User

MAX_GROUPS = 1000
HOUR = timedelta(hours=1)
Bucket = Literal["hour", "day"]
_STEPS: dict[str, timedelta] = {"hour": HOUR, "day": timedelta(days=1)}
_TRUNCATE: dict[str, type[TruncHour] | type[TruncDay]] = {"hour": TruncHour, "day": TruncDay}
_GROUP_COLUMNS: dict[str, Combinable] = {
    UsageGroup.MODEL: F("model"),
    UsageGroup.KEY: F("api_key_id"),
    UsageGroup.USER: F("user_id"),
    UsageGroup.DAY: TruncDay("hour", tzinfo=UTC, output_field=DateTimeField()),
}


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over calls. `errors` are calls that failed or were interrupted; times are means in milliseconds."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int = 0
    latency_ms: int | None = None
    first_token_ms: int | None = None

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> Decimal:
        """Return the cost in the currency's unit."""
        return from_micros(self.cost_micros)


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The usage of one group: `key` identifies it (a model, a public id, a day), `label` is what people call it."""

    key: str | None
    label: str
    totals: UsageTotals


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The usage of a period of whole hours, `since <= hour < until`, in one currency."""

    since: datetime
    until: datetime
    currency: str
    totals: UsageTotals
    group: str | None
    lines: list[UsageLine]


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """The usage of one hour or day, which begins at `at`."""

    at: datetime
    totals: UsageTotals


def current_period(now: datetime | None = None) -> tuple[datetime, datetime]:
    """Return the running billing period: from the first of this month (UTC) to the end of this hour."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0), _ceil_hour(moment)


def usage_summary(
    *, actor: Actor, since: datetime, until: datetime, group: str | None = None, currency: str = DEFAULT_CURRENCY
) -> UsageSummary:
    """Return what the actor may see of a period, in all and by group: days in order, others by falling cost.

    The period is widened to whole hours. At most 1,000 groups are named; the totals count all.
    """
    first, last = _floor_hour(since), _ceil_hour(until)
    hours = _hours(actor, first, last, currency)
    return UsageSummary(
        since=first,
        until=last,
        currency=currency,
        totals=_totals(hours.total()),
        group=group,
        lines=_lines(hours, group) if group else [],
    )


def usage_of_model(
    model: str, *, actor: Actor, since: datetime, until: datetime, currency: str = DEFAULT_CURRENCY
) -> UsageTotals:
    """Return what the actor may see of one model's usage in a period of whole hours."""
    hours = _hours(actor, _floor_hour(since), _ceil_hour(until), currency).filter(model=model)
    return _totals(hours.total())


def usage_series(
    since: datetime, until: datetime, bucket: Bucket, *, actor: Actor, currency: str = DEFAULT_CURRENCY
) -> list[UsagePoint]:
    """Return what the actor may see per hour or day (UTC), without gaps, oldest first. The system actor sees all."""
    step = _STEPS[bucket]
    first = _floor_hour(since) if bucket == "hour" else _floor_day(since)
    rows = (
        _hours(actor, first, _ceil_hour(until), currency)
        .annotate(at=_TRUNCATE[bucket]("hour", tzinfo=UTC))
        .summed("at")
    )
    found = {row["at"]: _totals(row) for row in rows}
    count = -((first - until) // step)
    return [UsagePoint(at=at, totals=found.get(at, UsageTotals())) for at in (first + step * n for n in range(count))]


def _hours(actor: Actor, since: datetime, until: datetime, currency: str) -> UsageHourQuerySet:
    hours: UsageHourQuerySet = UsageHour.objects.visible_to(actor).between(since, until).filter(currency=currency)
    return hours


def _totals(row: Mapping[str, Any]) -> UsageTotals:
    sums = {name: int(row[f"total_{name}"]) for name in SUMS + TIMES}
    latency, first_token, first_tokens = (sums.pop(name) for name in TIMES)
    return UsageTotals(
        **sums,
        latency_ms=round(latency / sums["requests"]) if sums["requests"] else None,
        first_token_ms=round(first_token / first_tokens) if first_tokens else None,
    )


def _lines(hours: UsageHourQuerySet, group: str) -> list[UsageLine]:
    order = ["grouped"] if group == UsageGroup.DAY else ["-total_cost_micros", "-total_requests", "grouped"]
    rows = list(hours.annotate(grouped=_GROUP_COLUMNS[group]).summed("grouped").order_by(*order)[:MAX_GROUPS])
    names = _names(group, [row["grouped"] for row in rows])
    return [
        UsageLine(
            key=_public_key(group, row["grouped"]),
            label=names.get(row["grouped"], "") if names is not None else _public_key(group, row["grouped"]) or "",
            totals=_totals(row),
        )
        for row in rows
    ]


def _names(group: str, ids: list[Any]) -> dict[UUID, str] | None:
    """Return what people call keys and users; None for groups that name themselves."""
    if group == UsageGroup.KEY:
        return {key.id: str(key) for key in ApiKey.objects.filter(id__in=ids).only("id", "name", "prefix")}
    if group == UsageGroup.USER:
        return dict(User.objects.filter(id__in=ids).values_list("id", "email"))
    return None


def _public_key(group: str, value: Any) -> str | None:
    if value is None:
        return None
    if group == UsageGroup.KEY:
        return encode_id(ApiKey.ID_PREFIX, value)
    if group == UsageGroup.USER:
        return encode_id(User.ID_PREFIX, value)
    return value.date().isoformat() if group == UsageGroup.DAY else str(value)


def _floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _ceil_hour(at: datetime) -> datetime:
    floor = _floor_hour(at)
    return floor if floor == at else floor + HOUR


def _floor_day(at: datetime) -> datetime:
    return _floor_hour(at).replace(hour=0)
