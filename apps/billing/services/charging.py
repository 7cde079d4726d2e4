"""Move what budgets have spent, in the transaction that records calls."""

from __future__ import annotations

from apps.billing.selectors.budget_matching import BUDGETS_LOCK, matches_sql

# Shared by all who record, exclusive to who begins or ends a budget: a call counts for a new one once, and for none twice.
HOLD_BUDGETS = f"SELECT pg_advisory_xact_lock_shared({BUDGETS_LOCK})"


def charging_statements(incoming: str) -> tuple[str, str]:
    """Return the two statements that charge the calls of a table to their budgets and to the leases they were let in on.

    `incoming` has the columns of usage records and `lease_ids`. The first statement locks every period that the batch
    concerns, in the order of all who lock periods; a lease is only touched by who holds its period's lock. A call that cost
    more than it had reserved takes the rest of its lease; what is beyond is spent all the same.
    """
    add = f"""
        INSERT INTO billing_budget_period AS held (budget_id, subject, starts_at, ends_at, spent_micros)
        SELECT budget_id, subject, starts_at, ends_at, sum(cost_micros) FROM (
            SELECT matched.* FROM ({matches_sql(incoming)}) AS matched
            UNION ALL
            SELECT period.budget_id, period.subject, period.starts_at, period.ends_at, 0
            FROM billing_budget_period AS period JOIN billing_budget_lease AS lease ON lease.period_id = period.id
            WHERE lease.id IN (SELECT unnest(lease_ids) FROM {incoming})
        ) AS concerned
        GROUP BY budget_id, subject, starts_at, ends_at
        ORDER BY budget_id, subject, starts_at
        ON CONFLICT (budget_id, subject, starts_at) DO UPDATE SET spent_micros = held.spent_micros + excluded.spent_micros
    """  # noqa: S608 - built of constants
    move = f"""
        WITH charged AS (
            SELECT lease_id, sum(cost_micros) AS micros FROM {incoming}, unnest(lease_ids) AS lease_id GROUP BY lease_id
        ), before AS (
            SELECT lease.id, lease.period_id, least(lease.amount_micros, charged.micros) AS micros
            FROM billing_budget_lease AS lease JOIN charged ON charged.lease_id = lease.id
        ), lowered AS (
            UPDATE billing_budget_lease AS lease SET amount_micros = lease.amount_micros - before.micros
            FROM before WHERE before.id = lease.id
        )
        UPDATE billing_budget_period AS period SET leased_micros = period.leased_micros - freed.micros
        FROM (SELECT period_id, sum(micros) AS micros FROM before GROUP BY period_id) AS freed
        WHERE freed.period_id = period.id
    """  # noqa: S608
    return add, move
