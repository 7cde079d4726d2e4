"""What a caller's calls are bound by besides its own rights: limits, budgets, guardrails, cache.

Read once with the caller, kept with it in memory, dropped when `portico:identity` names an id of `Bound`. What a caller
has not is an empty tuple or None, so that it costs a call nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.budgets import BudgetTerms, budgets_of
from apps.gateway.selectors.cache import CacheTerms, cache_terms_of
from apps.gateway.selectors.guardrails import GuardTerms, guard_terms_of
from apps.gateway.selectors.limits import LimitTerms, limits_of
from apps.users.models import ApiKey
from apps.users.selectors.teams import path_of_person, path_of_team


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one caller. `team_id` is the team that its calls count for, the first of `team_ids`."""

    team_id: UUID | None = None
    team_ids: tuple[UUID, ...] = ()
    limits: tuple[LimitTerms, ...] = ()
    budgets: tuple[BudgetTerms, ...] = ()
    guard: GuardTerms | None = None
    cache: CacheTerms | None = None


NO_TERMS = Terms()


def terms_of_key(key: ApiKey) -> Terms:
    """Return what binds the calls of a key."""
    return _load(Bound(key.organization_id, key.user_id, key, path_of_team(key.team_id)))


def terms_of_person(*, user_id: UUID | None, organization_id: UUID) -> Terms:
    """Return what binds the calls that a person, or the organization itself, makes without a key."""
    path = path_of_person(user_id=user_id, organization_id=organization_id) if user_id else ()
    return _load(Bound(organization_id, user_id, None, path))


def _load(bound: Bound) -> Terms:
    path = bound.team_ids
    return Terms(
        team_id=path[0] if path else None,
        team_ids=path,
        limits=limits_of(bound),
        budgets=budgets_of(bound),
        cache=cache_terms_of(bound),
        guard=guard_terms_of(bound),
    )
