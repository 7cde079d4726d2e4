"""Which hard budgets bind a caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from apps.billing.choices import BudgetScope
from apps.billing.models import Budget
from apps.gateway.selectors.bound import Bound

PER_CALL = (BudgetScope.END_USER, BudgetScope.TAG, BudgetScope.MODEL)
"""Scopes that the call decides on, not the caller."""


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """One hard budget as it binds one caller.

    `subject` is whose spending counts; for a scope that the call decides on it is the one value that the budget is about,
    or "" for each value by itself. `model` is the only model that it is about, "" for all. Soft limits bind nobody: what
    they are told is counted when calls are recorded.
    """

    budget_id: UUID
    name: str
    scope: str
    subject: str
    model: str
    window: str


def budgets_of(bound: Bound) -> tuple[BudgetTerms, ...]:
    """Return every hard budget that can apply to a caller's calls. One query."""
    rows = Budget.objects.enforced().filter(organization_id=bound.organization_id).order_by("id")
    return tuple(terms for row in rows for terms in _terms(row, bound))


def _terms(row: Budget, bound: Bound) -> Iterator[BudgetTerms]:
    if row.scope in PER_CALL:
        subjects = [row.subject]
    else:
        mine = {
            BudgetScope.ORGANIZATION: [""],
            BudgetScope.TEAM: [str(team_id) for team_id in bound.team_ids],
            BudgetScope.USER: [str(bound.user_id)] if bound.user_id else [],
            BudgetScope.KEY: [str(bound.api_key.id)] if bound.api_key else [],
        }[BudgetScope(row.scope)]
        subjects = [subject for subject in mine if row.subject in ("", subject)]
    for subject in subjects:
        yield BudgetTerms(row.id, row.name, row.scope, subject, row.model, row.window)
