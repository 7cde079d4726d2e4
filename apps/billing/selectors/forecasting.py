"""What will have been spent by the end of a window, if spending goes on as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from uuid import UUID

from django.db.models import DateTimeField, Sum
from django.db.models.functions import TruncDay

from apps.billing.choices import BudgetWindow
from apps.billing.models import BudgetPeriod, UsageHour
from apps.billing.selectors.budget_matching import window_of
from apps.core.money import DEFAULT_CURRENCY

Z_80 = 1.2816
"""Half the width, in standard deviations, of the interval that holds four of five normal values."""
MARKS = {
    BudgetWindow.DAY: timedelta(hours=1),
    BudgetWindow.WEEK: timedelta(hours=7),
    BudgetWindow.MONTH: timedelta(days=1),
}
"""How far back the recent pace is measured, at least."""
LEAST_PART = 0.05
"""Before this part of a window nothing is foretold of it: one call would be everything."""
PACE_DAYS = 28


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will have been spent by the end of a window, in micro-units: an interval and its middle."""

    low_micros: int
    expected_micros: int
    high_micros: int


@dataclass(frozen=True, slots=True)
class CostForecast:
    """What an organization spent this month so far, and what it will have spent by its end, in micro-units."""

    starts_at: datetime
    ends_at: datetime
    currency: str
    spent_micros: int
    forecast: Forecast


def forecast_period(period: BudgetPeriod, window: str, now: datetime) -> Forecast | None:
    """Return the forecast of a running period; None for one without an end, or one that has just begun.

    The interval lies between two paces: that of the whole window so far, and the recent one. Its middle is their mean.
    """
    if period.ends_at is None or period.starts_at >= now or now >= period.ends_at:
        return None
    passed, left = (now - period.starts_at).total_seconds(), (period.ends_at - now).total_seconds()
    if passed / (passed + left) < LEAST_PART:
        return None
    whole = recent = period.spent_micros / passed
    if period.marked_at is not None and now - period.marked_at >= MARKS[BudgetWindow(window)] / 4:
        recent = (period.spent_micros - period.mark_micros) / (now - period.marked_at).total_seconds()
    low, high = sorted((period.spent_micros + round(left * whole), period.spent_micros + round(left * recent)))
    return Forecast(low, (low + high) // 2, high)


def forecast_cost(
    *, organization_id: UUID, currency: str = DEFAULT_CURRENCY, now: datetime | None = None
) -> CostForecast:
    """Return the forecast of an organization's month, from its last 28 days: four of five such months end within it."""
    now = now or datetime.now(UTC)
    starts_at, ends_at = window_of(BudgetWindow.MONTH, now)
    assert ends_at is not None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = UsageHour.objects.filter(organization_id=organization_id, currency=currency)
    since = min(starts_at, today - timedelta(days=PACE_DAYS))
    days = dict(
        rows.filter(hour__gte=since, hour__lt=ends_at)
        .annotate(day=TruncDay("hour", tzinfo=UTC, output_field=DateTimeField()))
        .values("day")
        .annotate(micros=Sum("cost_micros"))
        .order_by("day")
        .values_list("day", "micros")
    )
    spent = sum(micros for day, micros in days.items() if day >= starts_at)
    first = min(days, default=today)
    pace = [days.get(today - timedelta(days=back), 0) for back in range(1, PACE_DAYS + 1)]
    pace = pace[: max((today - first).days, 0)] or [days.get(today, 0)]
    left = (ends_at - now) / timedelta(days=1)
    return CostForecast(starts_at, ends_at, currency, spent, extrapolate(pace, spent=spent, days_left=left))


def extrapolate(pace: Sequence[int], *, spent: int, days_left: float) -> Forecast:
    """Return where a sum ends that grows as on the days of `pace`: days are taken to be alike and independent."""
    mean = sum(pace) / len(pace)
    deviation = sqrt(sum((micros - mean) ** 2 for micros in pace) / (len(pace) - 1)) if len(pace) > 1 else mean / 2
    expected = spent + mean * days_left
    margin = Z_80 * deviation * sqrt(days_left)
    return Forecast(max(spent, round(expected - margin)), round(expected), round(expected + margin))
