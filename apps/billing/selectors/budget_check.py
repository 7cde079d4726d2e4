"""Prove the budgets: what each has spent is what its calls cost, and what is leased is what processes hold."""

from __future__ import annotations

from django.db import connection

from apps.billing.models import Budget
from apps.billing.selectors.books import CheckReport, Finding
from apps.billing.selectors.budget_matching import CHARGED, matches_sql
from apps.core.ids import encode_id

# Each yields (budget, detail) per defect and nothing when all is well.
DEFECTS = {
    "period.spent": f"""
        SELECT budget_id, 'of ' || coalesce(nullif(subject, ''), 'all') || ' from '
            || to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ' has spent ' || sum(spent)
            || ', its calls cost ' || sum(cost)
        FROM (
            SELECT budget_id, subject, starts_at, spent_micros AS spent, 0 AS cost FROM billing_budget_period
            UNION ALL
            SELECT matched.budget_id, matched.subject, matched.starts_at, 0, matched.cost_micros
            FROM ({matches_sql(f"({CHARGED})")}) AS matched
            JOIN billing_budget AS budget ON budget.id = matched.budget_id
            -- Windows that ended before a budget began are none of its own.
            WHERE matched.ends_at IS NULL OR matched.ends_at > budget.created_at
        ) AS both_sides
        GROUP BY budget_id, subject, starts_at HAVING sum(spent) <> sum(cost)
    """,  # noqa: S608 - built of constants
    "period.leased": """
        SELECT period.budget_id, 'of ' || coalesce(nullif(period.subject, ''), 'all') || ' has leased '
            || period.leased_micros || ', processes hold ' || coalesce(sum(lease.amount_micros), 0)
        FROM billing_budget_period AS period LEFT JOIN billing_budget_lease AS lease ON lease.period_id = period.id
        GROUP BY period.id HAVING period.leased_micros <> coalesce(sum(lease.amount_micros), 0)
    """,
    "period.over": """
        SELECT budget.id, 'of ' || coalesce(nullif(period.subject, ''), 'all') || ' has ' || period.spent_micros
            || ' spent and ' || period.leased_micros || ' leased, its limit is ' || budget.hard_micros + budget.boost_micros
        FROM billing_budget_period AS period JOIN billing_budget AS budget ON budget.id = period.budget_id
        WHERE budget.is_active AND budget.version = 1
            AND period.spent_micros + period.leased_micros > budget.hard_micros + budget.boost_micros
            AND period.spent_micros + period.leased_micros > period.seeded_micros
    """,
}
COUNTED = {
    "budgets": "billing_budget",
    "periods": "billing_budget_period",
    "leases": "billing_budget_lease",
    "holders": "billing_budget_holder",
}


def check_budgets() -> CheckReport:
    """Return every defect of the budgets. One statement, hence one snapshot: it may run while calls are recorded."""
    parts = [f"SELECT 'counted', NULL::uuid, '{name}', count(*) FROM {table}" for name, table in COUNTED.items()]  # noqa: S608
    parts += [
        f"SELECT 'counted', NULL, '{column}', coalesce(sum({column}), 0) FROM billing_budget_period"  # noqa: S608
        for column in ("spent_micros", "leased_micros")
    ]
    parts += [
        f"SELECT '{defect}', found.budget_id, found.detail, 0 FROM ({query}) AS found (budget_id, detail)"  # noqa: S608
        for defect, query in DEFECTS.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        rows = cursor.fetchall()
    return CheckReport(
        counted={name: int(count) for kind, _, name, count in rows if kind == "counted"},
        findings=[
            Finding(kind, encode_id(Budget.ID_PREFIX, budget_id), detail)
            for kind, budget_id, detail, _ in sorted(rows, key=str)
            if kind != "counted"
        ],
    )
