"""/usage: what one used and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from apps.billing.choices import UsageGroup
from apps.billing.forms import MEASURES, PERIODS, period_of
from apps.billing.querysets import ADMINISTRATORS
from apps.billing.selectors.budgets import budgets_visible_to, describe_budgets
from apps.billing.selectors.usage import UsageLine, UsageQuery, UsageSummary, UsageTotals, bucket_times, usage_summary
from apps.core.actor import Actor
from apps.core.charts import StackedChart, keep_largest, stack_bars
from apps.core.money import MICROS

MOST_ROWS = 20
MOST_CELLS = 5000


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a name, its sums, and its share of the whole in percent."""

    name: str
    totals: UsageTotals
    percent: float

    @property
    def cost(self) -> str:
        """Return the cost for people."""
        return show_cost(self.totals.cost_micros)


class UsagePage(LoginRequiredMixin, View):
    """One's own usage, or the organization's for its administrators: figures, days, models and keys. Eight statements."""

    def get(self, request: HttpRequest) -> HttpResponse:
        actor: Any = request.actor  # type: ignore[attr-defined]
        name = request.GET.get("period", "month")
        period = period_of(name)
        measure = request.GET.get("show", "cost") if request.GET.get("show") in dict(MEASURES) else "cost"
        may_see_all = actor.role in ADMINISTRATORS
        sees_all = may_see_all and request.GET.get("whose") == "all"
        filters: dict[str, list[Any]] = {} if sees_all else {UsageGroup.USER: [actor.user_id]}
        query = UsageQuery(
            since=period.since, until=period.until, group_by=(UsageGroup.DAY, UsageGroup.MODEL), filters=filters
        )
        by_day = usage_summary(query, actor=actor, most=MOST_CELLS)
        by_key = usage_summary(
            UsageQuery(since=period.since, until=period.until, group_by=(UsageGroup.KEY,), filters=filters),
            actor=actor,
            most=MOST_ROWS,
        )
        kept = {"period": name, "show": measure, **({"whose": "all"} if sees_all else {})}
        context = {
            "period": period,
            "last_day": period.until - (period.until - period.since) / max((period.until - period.since).days, 1),
            "periods": _links(PERIODS, "period", kept, name if name in dict(PERIODS) else "month"),
            "measures": _links(MEASURES, "show", kept, measure),
            "whose": _links([("", "Mine"), ("all", "Whole organization")], "whose", kept, "all" if sees_all else "")
            if may_see_all
            else [],
            "totals": by_day.totals,
            "cost": show_cost(by_day.totals.cost_micros),
            "chart": draw_usage(by_day, 1, measure),
            "chart_title": f"{dict(MEASURES)[measure]} per day and model",
            "days": _days(by_day),
            "models": rank(sum_up(by_day.lines, 1), by_day.totals),
            "keys": rank(((line.label or "Without a key", line.totals) for line in by_key.lines), by_key.totals),
            "budgets": read_budgets(actor),
            "export": urlencode(
                {
                    "from": period.since.isoformat(),
                    "to": period.until.isoformat(),
                    "group_by": "day,model,key",
                    "format": "csv",
                    **({} if sees_all or not may_see_all else {"user": request.user.public_id}),  # type: ignore[union-attr]
                }
            ),
        }
        response = render(request, "billing/usage.html", context)
        response["Cache-Control"] = "no-store"
        return response


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """How a budget stands for one subject: what was spent of what, and until when."""

    name: str
    subject: str
    spent: str
    limit: str
    percent: int
    ends_at: datetime | None

    @property
    def level(self) -> str:
        """Return how near the limit is, as a class of the page's style."""
        return "danger" if self.percent >= 100 else "warn" if self.percent >= 80 else ""


def read_budgets(actor: Actor) -> list[BudgetRow]:
    """Return the running budgets that bind the actor, or its organization where it administers that; the fullest first."""
    budgets = list(budgets_visible_to(actor).filter(is_active=True).order_by("id")[:MOST_ROWS])
    rows = [
        BudgetRow(
            name=status.budget.name,
            subject=spending.subject,
            spent=show_cost(spending.spent_micros),
            limit=show_cost(status.limit_micros),
            percent=spending.percent,
            ends_at=spending.ends_at,
        )
        for status in describe_budgets(budgets, actor=actor)
        for spending in status.spendings
    ]
    return sorted(rows, key=lambda row: (-row.percent, row.name, row.subject))[:MOST_ROWS]


def draw_usage(summary: UsageSummary, place: int, measure: str, bucket: str = "day") -> StackedChart:
    """Return a chart over the days or hours of a summary that is grouped by them first, and stacked by another respect."""
    times = bucket_times(summary.since, summary.until, bucket)  # type: ignore[arg-type]
    form = "%-d %b" if bucket == "day" else "%-d %b %H:00"
    keys = {_time_key(at, bucket): number for number, at in enumerate(times)}
    series: dict[str, list[int]] = {}
    for line in summary.lines:
        name = line.groups[place].label or "none" if place < len(line.groups) else "All"
        values = series.setdefault(name, [0] * len(times))
        values[keys[str(line.groups[0].key)]] += measured(line.totals, measure)
    return stack_bars([at.strftime(form) for at in times], keep_largest(list(series.items())), show=SHOWN[measure])


def _time_key(at: datetime, bucket: str) -> str:
    return at.date().isoformat() if bucket == "day" else f"{at:%Y-%m-%dT%H:00:00Z}"


def measured(totals: UsageTotals, measure: str) -> int:
    """Return what a chart of a measure draws."""
    return {"cost": totals.cost_micros, "tokens": totals.total_tokens}.get(measure, totals.requests)


def show_cost(micros: float) -> str:
    """Return dollars as people read them: with cents, and with more places where cents would hide most of them."""
    amount = micros / MICROS
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.{4 if amount >= 0.01 else 6}f}".rstrip("0").ljust(5, "0")


def show_count(count: float) -> str:
    """Return a number shortly: 1,200 or 3.4 M."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:,.0f}"


SHOWN: dict[str, Callable[[float], str]] = {"cost": show_cost, "tokens": show_count, "requests": show_count}


def sum_up(lines: Iterable[UsageLine], place: int) -> list[tuple[str, UsageTotals]]:
    """Return the sums over lines by the label of one of their groups; mean times are left out."""
    found: dict[str, list[UsageTotals]] = {}
    for line in lines:
        found.setdefault(line.groups[place].label or "None", []).append(line.totals)
    return [(name, add_totals(totals)) for name, totals in found.items()]


def add_totals(totals: Sequence[UsageTotals]) -> UsageTotals:
    """Return the sums of several totals; mean times are left out, because means of means mislead."""
    names = ("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_micros")
    return UsageTotals(**{name: sum(getattr(one, name) for one in totals) for name in names})


def rank(found: Iterable[tuple[str, UsageTotals]], whole: UsageTotals) -> list[Row]:
    """Return the largest of what was found, by cost, with their shares: of the cost, or of the calls where all are free."""
    rows = sorted(found, key=lambda one: (-one[1].cost_micros, -one[1].requests, one[0]))[:MOST_ROWS]
    return [Row(name, totals, percent_of(totals, whole)) for name, totals in rows]


def percent_of(part: UsageTotals, whole: UsageTotals) -> float:
    """Return the share of a part in percent: of the cost, or of the calls where all were free."""
    if whole.cost_micros:
        return round(100 * part.cost_micros / whole.cost_micros, 1)
    return round(100 * part.requests / whole.requests, 1) if whole.requests else 0.0


def _days(summary: UsageSummary) -> list[Row]:
    return [Row(name, totals, percent_of(totals, summary.totals)) for name, totals in sum_up(summary.lines, 0)]


def _links(choices: Sequence[tuple[str, str]], field: str, kept: dict[str, str], now: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "url": "?" + urlencode({k: v for k, v in {**kept, field: value}.items() if v}),
            "is_current": value == now,
        }
        for value, name in choices
    ]
