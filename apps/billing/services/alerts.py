"""Tell when budgets are being used up: once per window, subject, limit and threshold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.billing.choices import AlertKind, BudgetScope, BudgetWindow
from apps.billing.events import BudgetOverrunForecast, BudgetThresholdReached
from apps.billing.models import Budget, BudgetAlert, BudgetPeriod
from apps.billing.selectors.forecasting import MARKS, Forecast, forecast_period
from apps.core.actor import system_actor
from apps.events.services import publish

THRESHOLDS = (50, 80, 100)
BATCH = 200
_WITH_IDS = frozenset({BudgetScope.TEAM, BudgetScope.USER, BudgetScope.KEY})


def evaluate_budgets(*, now: datetime | None = None) -> int:
    """Look at every period of which something was spent since the last time; return the number of alerts."""
    now = now or timezone.now()
    told = 0
    last = 0
    while batch := _changed_after(last, now):
        for period_id in batch:
            told += _evaluate(period_id, now)
        last = batch[-1]
    return told


def _changed_after(last: int, now: datetime) -> list[int]:
    found = BudgetPeriod.objects.current(now).filter(id__gt=last, budget__is_active=True)
    changed = found.exclude(spent_micros=F("evaluated_micros"))
    return list(changed.order_by("id").values_list("id", flat=True)[:BATCH])


@transaction.atomic
def _evaluate(period_id: int, now: datetime) -> int:
    found = (
        BudgetPeriod.objects.filter(id=period_id).select_related("budget").select_for_update(of=("self",), no_key=True)
    )
    period = found.first()
    if period is None:
        return 0
    forecast = forecast_period(period, period.budget.window, now)
    told = sum(_tell(period, kind, percent, limit, None) for kind, percent, limit in _reached(period, now))
    limit = _limit(period.budget, now)
    if forecast is not None and period.spent_micros < limit < forecast.low_micros:
        told += _tell(period, AlertKind.FORECAST, 100, limit, forecast)
    changes: dict[str, Any] = {"evaluated_micros": period.spent_micros}
    mark = MARKS.get(BudgetWindow(period.budget.window))
    if mark is not None and (period.marked_at is None or now - period.marked_at > mark):
        changes |= {"mark_micros": period.spent_micros, "marked_at": now}
    BudgetPeriod.objects.filter(id=period.id).update(**changes)
    return told


def _reached(period: BudgetPeriod, now: datetime) -> Iterator[tuple[AlertKind, int, int]]:
    """Yield the thresholds that are passed: parts of the hard limit, or of the soft one where there is no other."""
    soft, hard = period.budget.soft_at(now), period.budget.hard_at(now)
    asked = [(AlertKind.HARD, percent, hard) for percent in THRESHOLDS]
    asked += [(AlertKind.SOFT, percent, soft) for percent in THRESHOLDS if hard is None or percent == THRESHOLDS[-1]]
    for kind, percent, limit in asked:
        if limit is not None and period.spent_micros and period.spent_micros * 100 >= limit * percent:
            yield kind, percent, limit


def _limit(budget: Budget, now: datetime) -> int:
    hard, soft = budget.hard_at(now), budget.soft_at(now)
    return hard if hard is not None else soft or 0


def _tell(period: BudgetPeriod, kind: AlertKind, percent: int, limit: int, forecast: Forecast | None) -> int:
    """Publish an alert unless it was published before; return how many were."""
    # The period's row is locked, so that nobody else tells the same now.
    if not BudgetAlert.objects.get_or_create(period=period, kind=kind, percent=percent)[1]:
        return 0
    budget = period.budget
    facts: dict[str, Any] = {
        "aggregate_id": budget.id,
        "organization_id": budget.organization_id,
        "scope": budget.scope,
        "subject_id": str(UUID(period.subject)) if budget.scope in _WITH_IDS else None,
        "window": budget.window,
        "starts_at": period.starts_at,
        "ends_at": period.ends_at,
        "spent_micros": period.spent_micros,
        "limit_micros": limit,
        "currency": budget.currency,
    }
    actor = system_actor(organization_id=budget.organization_id)
    if forecast is None:
        publish(BudgetThresholdReached(**facts, kind=kind.value, percent=percent), actor=actor)
        return 1
    event = BudgetOverrunForecast(
        **facts,
        low_micros=forecast.low_micros,
        expected_micros=forecast.expected_micros,
        high_micros=forecast.high_micros,
    )
    publish(event, actor=actor)
    return 1
