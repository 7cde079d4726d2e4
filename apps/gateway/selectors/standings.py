"""How budgets stand, for those who ask without spending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from apps.billing.models import Budget, BudgetPeriod
from apps.billing.selectors.budget_matching import window_of


@dataclass(frozen=True, slots=True)
class Standing:
    """One budget in its present window for one subject, in micro-units; `reserved` is what processes hold to spend."""

    budget_id: UUID
    subject: str
    limit: int
    spent: int
    reserved: int
    starts_at: datetime
    resets_at: datetime | None

    @property
    def left(self) -> int:
        """Return what can still be spent once nothing is reserved, at least 0."""
        return max(self.limit - self.spent, 0)


def find_standings(wanted: Sequence[tuple[UUID, str]]) -> list[Standing]:
    """Return the standings of budgets, each for a subject, in this order. Two queries; nothing is written."""
    now = timezone.now()
    budgets = Budget.objects.enforced().in_bulk([budget_id for budget_id, _ in wanted])
    rows = BudgetPeriod.objects.current(now).filter(budget_id__in=budgets.keys())
    periods = {(row.budget_id, row.subject): row for row in rows}
    found = []
    for budget_id, subject in wanted:
        budget = budgets.get(budget_id)
        if budget is None:
            continue  # switched off a moment ago
        period = periods.get((budget_id, subject))
        starts_at, ends_at = window_of(budget.window, now)
        found.append(
            Standing(
                budget_id=budget_id,
                subject=subject,
                limit=budget.hard_at(now) or 0,
                spent=period.spent_micros if period else 0,
                reserved=period.leased_micros if period else 0,
                starts_at=starts_at,
                resets_at=ends_at,
            )
        )
    return found
