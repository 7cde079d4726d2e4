"""What the dashboard shows: the last 24 hours and 30 days of the whole platform, at a constant number of statements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Aggregate, Count, FloatField, Q

from apps.billing.models import UsageRecord
from apps.billing.selectors.usage import UsagePoint, UsageTotals, usage_series
from apps.core.actor import system_actor
from apps.events.models import Delivery

DAY = timedelta(days=1)


class Percentile95(Aggregate):
    """Postgres' continuous 95th percentile."""

    function = "percentile_cont"
    template = "%(function)s(0.95) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()
    name = "percentile_95"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The figures of the dashboard. Times in milliseconds; `p95_ms` is None without calls."""

    today: UsageTotals
    yesterday: UsageTotals
    p95_ms: int | None
    active_users: int
    dead_deliveries: int
    hours: list[UsagePoint]
    days: list[UsagePoint]


def read_dashboard(now: datetime | None = None) -> Dashboard:
    """Return the dashboard as of now."""
    until = now or datetime.now(UTC)
    everyone = system_actor()
    hours = usage_series(until - 2 * DAY, until, "hour", actor=everyone)
    recent = UsageRecord.objects.filter(created_at__gte=until - DAY, created_at__lte=until).aggregate(
        p95=Percentile95("latency_ms", filter=Q(status="ok")), users=Count("user_id", distinct=True)
    )
    return Dashboard(
        today=add_up(hours[-24:]),
        yesterday=add_up(hours[-48:-24]),
        p95_ms=None if recent["p95"] is None else round(recent["p95"]),
        active_users=recent["users"],
        dead_deliveries=Delivery.objects.dead().count(),
        hours=hours[-24:],
        days=usage_series(until - 29 * DAY, until, "day", actor=everyone),
    )


def add_up(points: list[UsagePoint]) -> UsageTotals:
    """Return the sums of several points; mean times are left out, because means of means mislead."""
    totals = [point.totals for point in points]
    return UsageTotals(
        requests=sum(t.requests for t in totals),
        errors=sum(t.errors for t in totals),
        prompt_tokens=sum(t.prompt_tokens for t in totals),
        completion_tokens=sum(t.completion_tokens for t in totals),
        cached_tokens=sum(t.cached_tokens for t in totals),
        cost_micros=sum(t.cost_micros for t in totals),
    )
