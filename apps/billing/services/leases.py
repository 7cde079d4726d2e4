"""Quota of budgets, leased to processes: what they hold they may spend without asking.

`spent + leased <= limit` holds for every period at any time, because every lease is one UPDATE that says so, and recording
a call moves its cost from `leased` to `spent` (see recording.py). Locks are taken in one order: the holder's row, then
periods by (budget, subject, start), then leases. A lease is only touched by who holds its period's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now

from apps.billing.models import BudgetHolder

HOLD_SECONDS = 300
"""How long a process that does not renew keeps its leases; it trusts in them no longer either."""
MERCY_SECONDS = 60
"""How long one whose time is over may still come back: after an outage of the database everybody's is."""
SHARE = 32
"""At most this part of what is left is leased in advance."""
RECALL_SECONDS = 3
"""How long a recall that nobody announced is found by asking."""
STATEMENT_MS = 1500


class PeriodKey(NamedTuple):
    """One window of one budget for one subject."""

    budget_id: UUID
    subject: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ask:
    """What one call needs more than its process has, per period: all of it or nothing."""

    needs: tuple[tuple[PeriodKey, int], ...]


@dataclass(frozen=True, slots=True)
class PeriodState:
    """One period after a lease, and what its process holds of it. `limit_micros` None means that nothing is bounded.

    `is_scarce`: so little is left that nothing is leased in advance.
    """

    period_id: int
    lease_id: int
    net_micros: int
    amount_micros: int
    spent_micros: int
    leased_micros: int
    limit_micros: int | None
    is_scarce: bool

    @property
    def of_others_micros(self) -> int:
        """Return what other processes hold."""
        return self.leased_micros - self.amount_micros


@dataclass(frozen=True, slots=True)
class Leased:
    """The answer to one lease: for each ask the period that refused it, or None; every period's state; what was recalled."""

    refused_by: list[PeriodKey | None]
    states: dict[PeriodKey, PeriodState]
    recalled: list[int]


class HolderGone(Exception):
    """The holder was taken for dead and its leases were released, or a later turn has overtaken this one."""


_RENEW = """
    UPDATE billing_budget_holder
    SET turn = %s, expires_at = now() + make_interval(secs => %s), condemned_at = NULL
    WHERE id = %s AND turn < %s
"""
_OPEN = """
    INSERT INTO billing_budget_period (budget_id, subject, starts_at, ends_at)
    SELECT asked.budget_id, asked.subject, asked.starts_at, asked.ends_at
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[])
        AS asked (budget_id, subject, starts_at, ends_at)
    JOIN billing_budget AS budget ON budget.id = asked.budget_id
    ORDER BY asked.budget_id, asked.subject, asked.starts_at
    ON CONFLICT (budget_id, subject, starts_at) DO NOTHING
"""
# Of the joined rows only the periods are re-read after waiting for their locks; of a lease only its holder changes `net`.
_LOCK = """
    SELECT period.id, period.budget_id, period.subject, period.starts_at, period.spent_micros, period.leased_micros,
        CASE WHEN NOT budget.is_active THEN NULL ELSE budget.hard_micros
            + CASE WHEN budget.boost_until > now() THEN budget.boost_micros ELSE 0 END END,
        lease.id, coalesce(lease.amount_micros, 0)
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS asked (budget_id, subject, starts_at)
    JOIN billing_budget_period AS period ON period.budget_id = asked.budget_id
        AND period.subject = asked.subject AND period.starts_at = asked.starts_at
    JOIN billing_budget AS budget ON budget.id = period.budget_id
    LEFT JOIN billing_budget_lease AS lease ON lease.period_id = period.id AND lease.holder_id = %s
    ORDER BY period.budget_id, period.subject, period.starts_at
    FOR NO KEY UPDATE OF period
"""
_GIVE_BACK = """
    WITH given AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS given (lease_id, micros)
    ), before AS (
        SELECT lease.id, lease.period_id, least(lease.amount_micros, given.micros) AS micros, given.micros AS asked
        FROM billing_budget_lease AS lease JOIN given ON given.lease_id = lease.id
    ), lowered AS (
        UPDATE billing_budget_lease AS lease
        SET amount_micros = lease.amount_micros - before.micros, net_micros = lease.net_micros - before.asked
        FROM before WHERE before.id = lease.id
    )
    UPDATE billing_budget_period AS period SET leased_micros = period.leased_micros - before.micros
    FROM before WHERE before.period_id = period.id
    RETURNING period.id, period.leased_micros
"""
# The rows are locked, so that the condition holds as it was found; it is written down here all the same.
_TAKE = """
    WITH asked AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[])
            AS asked (period_id, micros, limit_micros, recalls)
    ), taken AS (
        UPDATE billing_budget_period AS period
        SET leased_micros = period.leased_micros + asked.micros,
            recalled_at = CASE WHEN asked.recalls THEN now() ELSE period.recalled_at END
        FROM asked
        WHERE period.id = asked.period_id AND (asked.limit_micros IS NULL OR asked.micros = 0
            OR period.spent_micros + period.leased_micros + asked.micros <= asked.limit_micros)
        RETURNING period.id, asked.micros
    )
    INSERT INTO billing_budget_lease AS held (period_id, holder_id, amount_micros, net_micros)
    SELECT id, %s, micros, micros FROM taken
    ON CONFLICT (period_id, holder_id) DO UPDATE SET
        amount_micros = held.amount_micros + excluded.amount_micros, net_micros = held.net_micros + excluded.net_micros
    RETURNING held.period_id, held.id, held.net_micros, held.amount_micros
"""


@dataclass(slots=True)
class _Row:
    period_id: int
    spent: int
    leased: int
    limit: int | None
    lease_id: int | None
    own: int
    needed: int = 0
    largest: int = 0
    extra: int = 0
    recalls: bool = False
    is_short: bool = False
    is_scarce: bool = False

    @property
    def left(self) -> float:
        return float("inf") if self.limit is None else self.limit - self.spent - self.leased - self.needed


def lease_quota(
    *,
    holder: UUID,
    turn: int,
    is_new: bool,
    asks: Sequence[Ask],
    wishes: Mapping[PeriodKey, int],
    returns: Mapping[PeriodKey, int],
    opens: Collection[PeriodKey] = (),
) -> Leased:
    """Lease what calls need and give back what is idle, in one transaction; renews the holder, too.

    `opens` are periods that the process has not met before.
    `wishes` is what the process would like to have in advance, which it gets while there is plenty. An ask is granted as a
    whole or not at all, in order. Where others hold what would have been enough, it is recalled. Budgets that are gone are
    not in the answer, and bound nobody. Raise HolderGone, or what a database raises that does not answer.
    """
    if opens:
        # Before and apart: whoever inserts waits for others who do, and must hold no locks while it waits.
        with connection.cursor() as cursor:
            cursor.execute(_OPEN, list(_columns(list(opens))))
    keys = sorted({key for ask in asks for key, _ in ask.needs} | wishes.keys() | returns.keys())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        _take_turn(cursor, holder=holder, turn=turn, is_new=is_new)
        rows = _lock_periods(cursor, keys, holder)
        _give_back(cursor, rows, returns)
        refused_by = [_judge(rows, ask) for ask in asks]
        for key, row in rows.items():
            _add_extra(row, wishes.get(key, 0))
        states = _write(cursor, rows, holder)
    recalled = [row.period_id for row in rows.values() if row.recalls]
    return Leased(refused_by=refused_by, states=states, recalled=recalled)


def renew_holder(*, holder: UUID, turn: int) -> None:
    """Say that a holder lives. Raise HolderGone."""
    with transaction.atomic(), connection.cursor() as cursor:
        _take_turn(cursor, holder=holder, turn=turn, is_new=False)


def find_recalled(period_ids: Iterable[int]) -> list[int]:
    """Return which of the periods somebody wants quota of back: for who cannot hear of it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM billing_budget_period WHERE id = ANY(%s) AND recalled_at > now() - make_interval(secs => %s)",
            [list(period_ids), RECALL_SECONDS],
        )
        return [row[0] for row in cursor.fetchall()]


def release_holder(*, holder: UUID) -> int:
    """Take a dead holder's leases away and forget it; return how many there were.

    What of it was spent must be recorded by then: a record that finds its lease gone adds to what is spent.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM billing_budget_holder WHERE id = %s FOR UPDATE", [holder])
        cursor.execute(
            "SELECT id FROM billing_budget_period WHERE id IN"
            " (SELECT period_id FROM billing_budget_lease WHERE holder_id = %s)"
            " ORDER BY budget_id, subject, starts_at FOR NO KEY UPDATE",
            [holder],
        )
        cursor.execute(
            """
            WITH gone AS (
                DELETE FROM billing_budget_lease WHERE holder_id = %s RETURNING period_id, amount_micros
            ), moved AS (
                UPDATE billing_budget_period AS period SET leased_micros = period.leased_micros - gone.amount_micros
                FROM gone WHERE gone.period_id = period.id
            )
            SELECT count(*) FROM gone
            """,
            [holder],
        )
        released: int = cursor.fetchone()[0]
        cursor.execute("DELETE FROM billing_budget_holder WHERE id = %s", [holder])
    return released


def release_expired() -> int:
    """Condemn the holders whose time is over, and release those that did not come back; return how many leases went."""
    BudgetHolder.objects.filter(expires_at__lt=Now(), condemned_at__isnull=True).update(condemned_at=Now())
    dead = BudgetHolder.objects.filter(condemned_at__lt=Now() - timedelta(seconds=MERCY_SECONDS)).order_by("id")
    return sum(_release_condemned(holder) for holder in list(dead.values_list("id", flat=True)))


@transaction.atomic
def _release_condemned(holder: UUID) -> int:
    # It may have come back a moment ago.
    row = BudgetHolder.objects.select_for_update().filter(id=holder, condemned_at__isnull=False).first()
    return release_holder(holder=holder) if row is not None else 0


def _take_turn(cursor: Any, *, holder: UUID, turn: int, is_new: bool) -> None:
    if is_new:
        cursor.execute(
            "INSERT INTO billing_budget_holder (id, turn, expires_at) VALUES (%s, 0, now()) ON CONFLICT DO NOTHING",
            [holder],
        )
    cursor.execute(_RENEW, [turn, HOLD_SECONDS, holder, turn])
    if not cursor.rowcount:
        raise HolderGone


def _lock_periods(cursor: Any, keys: Sequence[PeriodKey], holder: UUID) -> dict[PeriodKey, _Row]:
    if not keys:
        return {}
    by_identity = {key[:3]: key for key in keys}
    cursor.execute(_LOCK, [*_columns(keys)[:3], holder])
    return {by_identity[row[1:4]]: _Row(row[0], *row[4:]) for row in cursor.fetchall()}


def _columns(keys: Sequence[PeriodKey]) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    return (
        [key.budget_id for key in keys],
        [key.subject for key in keys],
        [key.starts_at for key in keys],
        [key.ends_at for key in keys],
    )


def _give_back(cursor: Any, rows: dict[PeriodKey, _Row], returns: Mapping[PeriodKey, int]) -> None:
    given = [(row, returns[key]) for key, row in rows.items() if returns.get(key) and row.lease_id is not None]
    if not given:
        return
    cursor.execute(_GIVE_BACK, [[row.lease_id for row, _ in given], [micros for _, micros in given]])
    leased = dict(cursor.fetchall())
    for row, _ in given:
        row.leased = leased[row.period_id]


def _judge(rows: dict[PeriodKey, _Row], ask: Ask) -> PeriodKey | None:
    """Return the first period that has too little left for an ask, or None, having set it aside."""
    needs = [(key, rows[key], micros) for key, micros in ask.needs if key in rows]
    for key, row, micros in needs:
        if micros > row.left:
            row.is_short = True
            # What others hold, running calls aside, may be enough together with what is left.
            row.recalls = row.recalls or (row.leased > row.own and row.spent + micros <= (row.limit or 0))
            return key
    for _, row, micros in needs:
        row.needed += micros
        row.largest = max(row.largest, micros)
    return None


def _add_extra(row: _Row, wish: int) -> None:
    if row.limit is None:
        return
    share = int(max(row.left, 0)) // SHARE
    row.is_scarce = row.is_short or share < row.largest or share == 0
    if not row.is_scarce:
        row.extra = min(wish, share)


def _write(cursor: Any, rows: dict[PeriodKey, _Row], holder: UUID) -> dict[PeriodKey, PeriodState]:
    if not rows:
        return {}
    ordered = list(rows.values())
    cursor.execute(
        _TAKE,
        [
            [row.period_id for row in ordered],
            [row.needed + row.extra for row in ordered],
            [row.limit for row in ordered],
            [row.recalls for row in ordered],
            holder,
        ],
    )
    held = {row[0]: row[1:] for row in cursor.fetchall()}
    return {
        key: PeriodState(
            period_id=row.period_id,
            lease_id=held[row.period_id][0],
            net_micros=held[row.period_id][1],
            amount_micros=held[row.period_id][2],
            spent_micros=row.spent,
            leased_micros=row.leased + row.needed + row.extra,
            limit_micros=row.limit,
            is_scarce=row.is_scarce,
        )
        for key, row in rows.items()
    }
