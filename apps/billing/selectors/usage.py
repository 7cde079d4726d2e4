"""What was used: a constant number of statements over any number of calls.

The hourly sums answer; what they do not keep apart (tags, end users, the way calls ended) is summed up from the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import Case, CharField, DateTimeField, F, Func, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import TruncDay, TruncHour

from apps.billing.choices import UsageGroup
from apps.billing.models import UsageHour, UsageRecord
from apps.billing.querysets import SUMS, TIMES, UsageQuerySet
from apps.core.actor import Actor
from apps.core.ids import encode_id
from apps.core.money import DEFAULT_CURRENCY, from_micros
from apps.users.models import ApiKey, Team, User

MAX_GROUPS = 1000
HOUR = timedelta(hours=1)
Bucket = Literal["hour", "day"]
_STEPS: dict[str, timedelta] = {"hour": HOUR, "day": timedelta(days=1)}
_TRUNCATE: dict[str, type[TruncHour] | type[TruncDay]] = {"hour": TruncHour, "day": TruncDay}
ONLY_IN_RECORDS = frozenset({UsageGroup.TAG, UsageGroup.END_USER, UsageGroup.STATUS})
"""What the hours do not keep apart."""
OF_TIME = frozenset({UsageGroup.DAY, UsageGroup.HOUR})
FILTERS: dict[str, str] = {
    UsageGroup.MODEL: "model",
    UsageGroup.PROVIDER: "provider",
    UsageGroup.KEY: "api_key_id",
    UsageGroup.USER: "user_id",
    UsageGroup.TEAM: "team_id",
    UsageGroup.ENDPOINT: "endpoint",
    UsageGroup.END_USER: "end_user",
    UsageGroup.STATUS: "status",
    UsageGroup.TAG: "tags",
    "organization": "organization_id",
}
"""The columns by which usage is filtered and grouped, by name."""
ID_MODELS: dict[str, type[ApiKey] | type[User] | type[Team]] = {
    UsageGroup.KEY: ApiKey,
    UsageGroup.USER: User,
    UsageGroup.TEAM: Team,
}


class Unnest(Func):
    """One row per tag; one without a tag for calls that have none."""

    function = "unnest"
    set_returning = True


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
class GroupValue:
    """What a line is about in one respect: `key` identifies it (a model, a public id, a day), `label` is its name."""

    by: str
    key: str | None
    label: str


@dataclass(frozen=True, slots=True)
class UsageLine:
    """The usage of one group."""

    groups: tuple[GroupValue, ...]
    totals: UsageTotals

    @property
    def key(self) -> str | None:
        """Return what identifies the line in the first respect."""
        return self.groups[0].key

    @property
    def label(self) -> str:
        """Return what people call the line in the first respect."""
        return self.groups[0].label


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """A period of whole hours, by what its usage is grouped, and what is left out.

    `filters` holds the values to keep by UsageGroup's names, ids as UUIDs; a call with several tags is counted for each.
    """

    since: datetime
    until: datetime
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    currency: str = DEFAULT_CURRENCY

    @property
    def needs_records(self) -> bool:
        """Tell whether the hours cannot answer."""
        return not ONLY_IN_RECORDS.isdisjoint({*self.group_by, *self.filters})


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The usage of a period of whole hours, `since <= hour < until`, in one currency."""

    since: datetime
    until: datetime
    currency: str
    totals: UsageTotals
    group_by: tuple[str, ...]
    lines: list[UsageLine]
    is_cut: bool = False
    """There are more groups than are named."""


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """The usage of one hour or day, which begins at `at`."""

    at: datetime
    totals: UsageTotals


def current_period(now: datetime | None = None) -> tuple[datetime, datetime]:
    """Return the running billing period: from the first of this month (UTC) to the end of this hour."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0), _ceil_hour(moment)


def usage_summary(query: UsageQuery, *, actor: Actor, most: int = MAX_GROUPS) -> UsageSummary:
    """Return what the actor may see of a period, in all and by group: times in order, others by falling cost.

    The period is widened to whole hours. At most `most` groups are named; the totals count all.
    """
    rows = _rows(query, actor)
    lines = list(_name(query.group_by, _grouped(rows, query)[: most + 1])) if query.group_by else []
    return UsageSummary(
        since=_floor_hour(query.since),
        until=_ceil_hour(query.until),
        currency=query.currency,
        totals=_totals(rows.total()),
        group_by=query.group_by,
        lines=lines[:most],
        is_cut=len(lines) > most,
    )


def iterate_usage(query: UsageQuery, *, actor: Actor) -> Iterator[UsageLine]:
    """Yield every group of a period in the order of `usage_summary`, read as they are taken."""
    found = _grouped(_rows(query, actor), query).iterator(chunk_size=MAX_GROUPS)
    while rows := list(islice(found, MAX_GROUPS)):
        yield from _name(query.group_by, rows)


def usage_of_model(
    model: str, *, actor: Actor, since: datetime, until: datetime, currency: str = DEFAULT_CURRENCY
) -> UsageTotals:
    """Return what the actor may see of one model's usage in a period of whole hours."""
    query = UsageQuery(since=since, until=until, filters={UsageGroup.MODEL: [model]}, currency=currency)
    return _totals(_rows(query, actor).total())


def usage_series(
    since: datetime, until: datetime, bucket: Bucket, *, actor: Actor, currency: str = DEFAULT_CURRENCY
) -> list[UsagePoint]:
    """Return what the actor may see per hour or day (UTC), without gaps, oldest first. The system actor sees all."""
    first = floor_bucket(since, bucket)
    query = UsageQuery(since=first, until=until, group_by=(bucket,), currency=currency)
    found = {row["group_0"]: _totals(row) for row in _grouped(_rows(query, actor), query)}
    return [UsagePoint(at=at, totals=found.get(at, UsageTotals())) for at in bucket_times(first, until, bucket)]


def bucket_times(since: datetime, until: datetime, bucket: Bucket) -> list[datetime]:
    """Return the beginnings of the hours or days (UTC) that a period touches, in order."""
    first, step = floor_bucket(since, bucket), _STEPS[bucket]
    return [first + step * n for n in range(-((first - until) // step))]


def floor_bucket(at: datetime, bucket: Bucket) -> datetime:
    """Return the beginning of a moment's hour or day (UTC)."""
    return _floor_hour(at) if bucket == "hour" else _floor_hour(at).replace(hour=0)


def _rows(query: UsageQuery, actor: Actor) -> UsageQuerySet:
    table: UsageQuerySet = (UsageRecord if query.needs_records else UsageHour).objects.visible_to(actor)
    kept = {f"{FILTERS[name]}__{_lookup(name)}": list(values) for name, values in query.filters.items()}
    period = table.between(_floor_hour(query.since), _ceil_hour(query.until))
    found: UsageQuerySet = period.filter(currency=query.currency, **kept)
    return found


def _lookup(name: str) -> str:
    return "overlap" if name == UsageGroup.TAG else "in"


def _grouped(rows: UsageQuerySet, query: UsageQuery) -> QuerySet[Any, dict[str, Any]]:
    """Return the sums per group, as rows with `group_0`, `group_1` and so on."""
    names = [f"group_{place}" for place in range(len(query.group_by))]
    columns = {name: _column(by, rows.time_column) for name, by in zip(names, query.group_by, strict=True)}
    times = [name for name, by in zip(names, query.group_by, strict=True) if by in OF_TIME]
    others = [name for name in names if name not in times]
    order = [*times, "-total_cost_micros", "-total_requests", *others] if others else times
    return rows.annotate(**columns).summed(*names).order_by(*order)


def _column(by: str, time_column: str) -> Combinable:
    if by in OF_TIME:
        return _TRUNCATE[by](time_column, tzinfo=UTC, output_field=DateTimeField())
    if by == UsageGroup.TAG:
        some = Case(When(tags=[], then=Value([None], ArrayField(CharField()))), default=F("tags"))
        return Unnest(some, output_field=CharField())
    return F(FILTERS[by])


def _totals(row: Mapping[str, Any]) -> UsageTotals:
    sums = {name: int(row[f"total_{name}"]) for name in SUMS + TIMES}
    latency, first_token, first_tokens = (sums.pop(name) for name in TIMES)
    return UsageTotals(
        **sums,
        latency_ms=round(latency / sums["requests"]) if sums["requests"] else None,
        first_token_ms=round(first_token / first_tokens) if first_tokens else None,
    )


def _name(
    group_by: Sequence[str], rows: Sequence[dict[str, Any]] | QuerySet[Any, dict[str, Any]]
) -> Iterator[UsageLine]:
    """Yield rows as lines with public ids and names: one statement for each kind of id."""
    held = list(rows)
    names = {by: _names(by, {row[f"group_{place}"] for row in held}) for place, by in enumerate(group_by)}
    for row in held:
        values = [(by, row[f"group_{place}"]) for place, by in enumerate(group_by)]
        yield UsageLine(
            groups=tuple(GroupValue(by, _public_key(by, value), _label(by, value, names[by])) for by, value in values),
            totals=_totals(row),
        )


def _names(by: str, ids: set[Any]) -> dict[UUID, str]:
    """Return what people call keys, users and teams; nothing for groups that name themselves."""
    if by == UsageGroup.KEY:
        return {key.id: str(key) for key in ApiKey.objects.filter(id__in=ids).only("id", "name", "prefix")}
    if by == UsageGroup.USER:
        return dict(User.objects.filter(id__in=ids).values_list("id", "email"))
    if by == UsageGroup.TEAM:
        return dict(Team.objects.filter(id__in=ids).values_list("id", "name"))
    return {}


def _public_key(by: str, value: Any) -> str | None:
    if value is None or (by in ONLY_IN_RECORDS and value == ""):
        return None
    if by in ID_MODELS:
        return encode_id(ID_MODELS[by].ID_PREFIX, value)
    if by == UsageGroup.DAY:
        return str(value.date().isoformat())
    return f"{value:%Y-%m-%dT%H:00:00Z}" if by == UsageGroup.HOUR else str(value)


def _label(by: str, value: Any, names: Mapping[UUID, str]) -> str:
    return names.get(value, "") if by in ID_MODELS else _public_key(by, value) or ""


def _floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _ceil_hour(at: datetime) -> datetime:
    floor = _floor_hour(at)
    return floor if floor == at else floor + HOUR
