"""What budgets allow, and what is spent of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from apps.billing.choices import BudgetScope
from apps.billing.models import Budget, BudgetPeriod
from apps.billing.querysets import ADMINISTRATORS
from apps.billing.selectors.budget_matching import window_of
from apps.billing.selectors.forecasting import Forecast, forecast_period
from apps.core.actor import Actor, ActorKind
from apps.core.ids import encode_id
from apps.users.models import ApiKey, Team, User
from apps.users.selectors.teams import path_of_person

MOST_SUBJECTS = 10
"""Of a budget for each one separately so many are shown: those that spent most."""
PREFIXES: dict[str, str] = {
    BudgetScope.TEAM: Team.ID_PREFIX,
    BudgetScope.USER: User.ID_PREFIX,
    BudgetScope.KEY: ApiKey.ID_PREFIX,
}
OF_PEOPLE = tuple(PREFIXES)


@dataclass(frozen=True, slots=True)
class Spending:
    """What one subject spent of a budget in the running window, in micro-units.

    `reserved_micros` is held for running calls; `left_micros` is what remains of the hard limit, or of the soft one.
    """

    subject: str
    starts_at: datetime
    ends_at: datetime | None
    spent_micros: int
    reserved_micros: int
    left_micros: int
    percent: int
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget, its subject as people meet it, and how it stands: those that spent most first."""

    budget: Budget
    subject: str
    limit_micros: int
    spendings: list[Spending]


def budgets_visible_to(actor: Actor) -> QuerySet[Budget]:
    """Return the budgets of the actor's organization: all for its administrators, else those that bind the actor."""
    found = Budget.objects.of_organization_of(actor)
    own = _own_subjects(actor)
    if own is None:
        return found
    return found.filter(~Q(scope__in=OF_PEOPLE) | _about(own))


def describe_budgets(budgets: Sequence[Budget], *, actor: Actor, now: datetime | None = None) -> list[BudgetStatus]:
    """Return how budgets stand, as far as the actor may see it. One query for any number of them."""
    now = now or datetime.now(UTC)
    own = _own_subjects(actor)
    periods = BudgetPeriod.objects.current(now).filter(budget__in=[budget.id for budget in budgets])
    if own is not None:
        about = Q()
        for scope, subjects in own.items():
            about |= Q(budget__scope=scope, subject__in=subjects)
        periods = periods.filter(~Q(budget__scope__in=OF_PEOPLE) | about)
    ranked = periods.annotate(
        rank=Window(RowNumber(), partition_by=F("budget_id"), order_by=[F("spent_micros").desc(), F("id").asc()])
    ).filter(rank__lte=MOST_SUBJECTS)
    held: dict[UUID, list[BudgetPeriod]] = {}
    for period in ranked.order_by("budget_id", "rank"):
        held.setdefault(period.budget_id, []).append(period)
    return [_describe(budget, held.get(budget.id, []), now) for budget in budgets]


def show_subject(scope: str, subject: str) -> str:
    """Return a subject as people meet it: the public id of a team, user or key, or its name."""
    return encode_id(PREFIXES[scope], UUID(subject)) if subject and scope in PREFIXES else subject


def _describe(budget: Budget, periods: list[BudgetPeriod], now: datetime) -> BudgetStatus:
    hard, soft = budget.hard_at(now), budget.soft_at(now)
    limit = hard if hard is not None else soft or 0
    if not periods and (budget.subject or budget.scope == BudgetScope.ORGANIZATION):
        starts_at, ends_at = window_of(budget.window, now)
        periods = [BudgetPeriod(budget=budget, subject=budget.subject, starts_at=starts_at, ends_at=ends_at)]
    return BudgetStatus(
        budget=budget,
        subject=show_subject(budget.scope, budget.subject),
        limit_micros=limit,
        spendings=[
            Spending(
                subject=show_subject(budget.scope, period.subject),
                starts_at=period.starts_at,
                ends_at=period.ends_at,
                spent_micros=period.spent_micros,
                reserved_micros=period.leased_micros,
                left_micros=max(limit - period.spent_micros - period.leased_micros, 0),
                percent=period.spent_micros * 100 // limit if limit else 100,
                forecast=forecast_period(period, budget.window, now),
            )
            for period in periods
        ],
    )


def _own_subjects(actor: Actor) -> dict[str, list[str]] | None:
    """Return the teams, the user and the keys that an actor stands for; None for who sees all."""
    if actor.kind == ActorKind.SYSTEM or actor.role in ADMINISTRATORS:
        return None
    if actor.user_id is None or actor.organization_id is None:
        return {}
    within = {"user_id": actor.user_id, "organization_id": actor.organization_id}
    keys = ApiKey.objects.filter(**within).values_list("id", "team_id")
    teams = {*path_of_person(**within), *(team_id for _, team_id in keys if team_id)}
    return {
        BudgetScope.USER: [str(actor.user_id)],
        BudgetScope.KEY: [str(key_id) for key_id, _ in keys],
        BudgetScope.TEAM: sorted(map(str, teams)),
    }


def _about(own: dict[str, list[str]]) -> Q:
    found = Q(pk__in=[])
    for scope, subjects in own.items():
        found |= Q(scope=scope, subject__in=["", *subjects])
    return found
