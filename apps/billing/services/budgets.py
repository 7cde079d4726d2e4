"""Begin, change and end budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import structlog
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from redis.exceptions import RedisError

from apps.billing.choices import BudgetScope
from apps.billing.errors import BudgetInvalid, TooManyBudgets
from apps.billing.events import BudgetChanged, BudgetCreated, BudgetDeleted
from apps.billing.models import Budget
from apps.billing.selectors.budget_matching import BUDGETS_LOCK, HOURS, RECORDS, matches_sql
from apps.core.actor import Actor
from apps.core.errors import NotFound, PreconditionFailed
from apps.core.redis import get_redis
from apps.events.services import publish
from apps.users.models import ApiKey, Membership, Team
from apps.users.services.announcing import announce_identity_change

logger = structlog.get_logger(__name__)

BUDGETS_CHANNEL = "portico:budgets"
"""Carries `{"periods": [ids]}` or `{"budget": id}`: whoever holds idle quota of it gives it back."""
MAX_BUDGETS = 500
"""Per organization: every call is held against those of its organization when it is recorded."""
CHANGEABLE = frozenset({"name", "soft_micros", "hard_micros", "boost_micros", "boost_until", "is_active"})
"""What a budget counts stays as it began, or what it has counted would be of something else."""
_IDS = frozenset({BudgetScope.TEAM, BudgetScope.USER, BudgetScope.KEY})
_SEED = """
    INSERT INTO billing_budget_period (budget_id, subject, starts_at, ends_at, spent_micros, seeded_micros)
    SELECT budget_id, subject, starts_at, ends_at, sum(cost_micros), sum(cost_micros) FROM ({matches}) AS matched
    GROUP BY budget_id, subject, starts_at, ends_at
"""
_IN_WINDOW = """
    budget.id = %(budget)s AND entry.created_at >=
        CASE budget."window" WHEN 'total' THEN '-infinity' ELSE date_trunc(budget."window", now(), 'UTC') END
"""


@transaction.atomic
def create_budget(*, actor: Actor, organization_id: UUID, **fields: Any) -> Budget:
    """Begin a budget. What was spent in the running window already counts, to the micro-unit.

    `fields` are those of Budget; `subject` is the id of a team, user or key, or a name. Raise BudgetInvalid,
    TooManyBudgets.
    """
    # From here to the commit nobody records a call: one that is recorded counts below, one that will be counts itself.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BUDGETS_LOCK])
    if Budget.objects.filter(organization_id=organization_id).count() >= MAX_BUDGETS:
        raise TooManyBudgets(f"An organization has {MAX_BUDGETS} budgets at the most; delete one first.")
    budget = Budget(organization_id=organization_id, **fields)
    budget.subject = _find_subject(budget)
    _check(budget)
    budget.save(force_insert=True)
    source = RECORDS if budget.scope in {BudgetScope.END_USER, BudgetScope.TAG} else HOURS
    with connection.cursor() as cursor:
        cursor.execute(
            _SEED.format(matches=matches_sql(source, only=_IN_WINDOW)),
            {"budget": budget.id, "organization": organization_id},
        )
    publish(
        BudgetCreated(
            aggregate_id=budget.id, organization_id=organization_id, scope=budget.scope, window=budget.window,
            soft_micros=budget.soft_micros, hard_micros=budget.hard_micros, currency=budget.currency,
        ),
        actor=actor,
    )  # fmt: skip
    _announce(budget)
    return budget


@transaction.atomic
def update_budget(
    *, actor: Actor, budget_id: UUID, changes: Mapping[str, Any], expected_version: int | None = None
) -> Budget:
    """Change names, limits, the temporary increase, or whether it is enforced. Holds for the next call.

    Raise NotFound, PreconditionFailed, and BudgetInvalid for anything else than `CHANGEABLE`.
    """
    budget = find_budget(actor=actor, budget_id=budget_id, expected_version=expected_version)
    fixed = sorted(changes.keys() - CHANGEABLE)
    if fixed:
        raise BudgetInvalid(f"A budget's {fixed[0]} cannot be changed; make a new budget.", param=fixed[0])
    changed = sorted(name for name, value in changes.items() if getattr(budget, name) != value)
    if not changed:
        return budget
    for name in changed:
        setattr(budget, name, changes[name])
    _check(budget)
    budget.version += 1
    budget.save()
    publish(
        BudgetChanged(
            aggregate_id=budget.id, organization_id=budget.organization_id, changed=tuple(changed),
            soft_micros=budget.soft_micros, hard_micros=budget.hard_micros, boost_micros=budget.boost_micros,
            boost_until=budget.boost_until, is_active=budget.is_active,
        ),
        actor=actor,
    )  # fmt: skip
    _announce(budget)
    return budget


@transaction.atomic
def delete_budget(*, actor: Actor, budget_id: UUID, expected_version: int | None = None) -> None:
    """End a budget and forget what it has counted; usage records stay. Raise NotFound, PreconditionFailed."""
    # Who records a call must not meet a budget that ends meanwhile.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BUDGETS_LOCK])
    budget = find_budget(actor=actor, budget_id=budget_id, expected_version=expected_version)
    publish(BudgetDeleted(aggregate_id=budget.id, organization_id=budget.organization_id), actor=actor)
    _announce(budget)
    budget.delete()


def find_budget(*, actor: Actor, budget_id: UUID, expected_version: int | None = None) -> Budget:
    """Return a budget of the actor's organization, locked. Needs a transaction; raise NotFound, PreconditionFailed."""
    rows = Budget.objects.of_organization_of(actor).select_for_update(no_key=True)
    budget: Budget | None = rows.filter(id=budget_id).first()
    if budget is None:
        raise NotFound("There is no such budget.")
    if expected_version is not None and budget.version != expected_version:
        raise PreconditionFailed(
            f"{budget.public_id} is at version {budget.version}, If-Match named {expected_version}; GET it and try again.",
            headers={"ETag": budget.etag},
        )
    return budget


def _find_subject(budget: Budget) -> str:
    """Return the subject as usage records have it. Raise BudgetInvalid when the organization has no such thing."""
    subject = budget.subject
    if not subject or budget.scope not in _IDS:
        return subject
    try:
        subject_id = UUID(subject)
    except ValueError as error:
        raise BudgetInvalid("The subject is no id.", param="subject") from error
    within = {"organization_id": budget.organization_id}
    exists = {
        BudgetScope.TEAM: lambda: Team.objects.filter(id=subject_id, **within).exists(),
        BudgetScope.USER: lambda: Membership.objects.filter(user_id=subject_id, **within).exists(),
        BudgetScope.KEY: lambda: ApiKey.objects.filter(id=subject_id, **within).exists(),
    }[BudgetScope(budget.scope)]()
    if not exists:
        raise BudgetInvalid(f"The organization has no such {budget.get_scope_display().lower()}.", param="subject")
    return str(subject_id)


def _check(budget: Budget) -> None:
    try:
        budget.full_clean()
    except ValidationError as error:
        errors = {name: list(found) for name, found in error.message_dict.items() if name != "__all__"}
        message = next(iter(error.message_dict.get("__all__", [])), "")
        raise BudgetInvalid(message or "The budget is not valid.", errors=errors) from error


def _announce(budget: Budget) -> None:
    announce_identity_change(kind="organization", id=budget.organization_id)
    message = orjson.dumps({"budget": str(budget.id)})
    transaction.on_commit(lambda: _send(message))


def _send(message: bytes) -> None:
    try:
        get_redis().publish(BUDGETS_CHANNEL, message)
    except RedisError as error:
        logger.warning("budget_change_unannounced", error=str(error)[:200])
