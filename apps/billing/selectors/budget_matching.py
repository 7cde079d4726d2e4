"""Which calls count for which budget, in SQL: one definition for recording, for beginning and for proving a budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apps.billing.choices import BudgetWindow
from apps.core.locks import advisory_key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""When a window begins that is never renewed."""
BUDGETS_LOCK = advisory_key("billing.budgets")
"""Held shared by who records calls, alone by who begins or ends a budget."""
CHARGED = """
    SELECT record.created_at, record.organization_id, record.user_id, record.api_key_id, record.team_id, record.model,
        record.currency, record.end_user, record.tags, record.cost_micros + coalesce((
            SELECT sum(made.amount_micros) FROM billing_adjustment AS made
            WHERE made.record_id = record.id AND made.created_at = record.created_at
        ), 0) AS cost_micros
    FROM billing_usage_record AS record
"""
"""Usage records with what they cost after their adjustments."""
RECORDS = f"({CHARGED} WHERE record.organization_id = %(organization)s)"
HOURS = """(
    SELECT hour AS created_at, organization_id, user_id, api_key_id, team_id, model, currency, cost_micros,
        '' AS end_user, '{}'::text[] AS tags
    FROM billing_usage_hour WHERE organization_id = %(organization)s
)"""
"""The same sums in fewer rows, since every window begins and ends with an hour; but neither end users nor tags."""

_START = f"""
    CASE budget."window" WHEN '{BudgetWindow.TOTAL}' THEN timestamptz '{EPOCH.isoformat()}'
    ELSE date_trunc(budget."window", entry.created_at, 'UTC') END
"""
# A month is added to a time without a zone, so that the session's zone has no say in it.
_END = f"""
    CASE budget."window" WHEN '{BudgetWindow.TOTAL}' THEN NULL
    ELSE ((date_trunc(budget."window", entry.created_at, 'UTC') AT TIME ZONE 'UTC')
        + ('1 ' || budget."window")::interval) AT TIME ZONE 'UTC' END
"""


def matches_sql(source: str, *, only: str = "TRUE") -> str:
    """Return a query for (budget_id, subject, starts_at, ends_at, cost_micros), a row per call and budget it counts for.

    `source` is a table or parenthesised query with the columns of usage records; `only` a condition on `budget` and `entry`.
    A call counts for its team and for every team around that one.
    """
    return f"""
        WITH RECURSIVE lineage (team_id, ancestor_id) AS (
            SELECT DISTINCT team_id, team_id FROM {source} AS calls WHERE team_id IS NOT NULL
            UNION
            SELECT lineage.team_id, team.parent_id FROM lineage JOIN users_team AS team ON team.id = lineage.ancestor_id
            WHERE team.parent_id IS NOT NULL
        )
        SELECT budget.id AS budget_id, matched.subject, {_START} AS starts_at, {_END} AS ends_at, entry.cost_micros
        FROM {source} AS entry
        JOIN billing_budget AS budget ON budget.organization_id = entry.organization_id
            AND budget.currency = entry.currency AND (budget.model = '' OR budget.model = entry.model)
        CROSS JOIN LATERAL (
            SELECT '' AS subject WHERE budget.scope = 'organization'
            UNION ALL SELECT ancestor_id::text FROM lineage
                WHERE budget.scope = 'team' AND lineage.team_id = entry.team_id
            UNION ALL SELECT entry.user_id::text WHERE budget.scope = 'user' AND entry.user_id IS NOT NULL
            UNION ALL SELECT entry.api_key_id::text WHERE budget.scope = 'key' AND entry.api_key_id IS NOT NULL
            UNION ALL SELECT entry.end_user WHERE budget.scope = 'end_user' AND entry.end_user <> ''
            UNION ALL SELECT DISTINCT tag FROM unnest(entry.tags) AS tag WHERE budget.scope = 'tag'
            UNION ALL SELECT entry.model WHERE budget.scope = 'model'
        ) AS matched
        WHERE (budget.subject = '' OR budget.subject = matched.subject) AND ({only})
    """  # noqa: S608 - built of constants


def window_of(window: str, at: datetime) -> tuple[datetime, datetime | None]:
    """Return the beginning and the end of the window that a moment lies in; without an end where it is never renewed."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == BudgetWindow.DAY:
        return day, day + timedelta(days=1)
    if window == BudgetWindow.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if window == BudgetWindow.MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    return EPOCH, None
