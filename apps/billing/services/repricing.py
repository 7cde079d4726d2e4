"""Put right what calls cost where the price list said something else: adjustments, never changed records.

A batch is one transaction: the adjustments, their ledger transactions and postings, the hourly sums, the balances and the
budgets' spent. Runs take turns batch by batch, and each batch begins from what the records and all adjustments so far
say: whoever runs twice, beside another or after a kill finds nothing left to do where the work is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from apps.billing.events import UsageRepriced
from apps.billing.models import Repricing
from apps.billing.models.usage import HOUR_KEY
from apps.billing.selectors.budget_matching import matches_sql
from apps.billing.selectors.prices import PriceHistory, price_history
from apps.billing.services.charging import HOLD_BUDGETS
from apps.billing.services.pricing import cost_micros
from apps.core.actor import Actor
from apps.core.locks import lock
from apps.events.services import publish

BATCH = 5000
NULL_ID = UUID(int=0)
NULLABLE = frozenset({"user_id", "api_key_id", "team_id"})

READ_BATCH = """
    SELECT record.id, record.created_at, record.provider, record.upstream_model, record.service_tier,
        record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.cache_write_tokens,
        record.reasoning_tokens, record.cache_write_1h_tokens,
        (record.cost_micros + coalesce(made.micros, 0))::bigint AS cost_micros, coalesce(made.revision, 0) AS revision
    FROM billing_usage_record AS record
    LEFT JOIN LATERAL (
        SELECT sum(amount_micros) AS micros, max(revision) AS revision FROM billing_adjustment AS earlier
        WHERE earlier.record_id = record.id AND earlier.created_at = record.created_at
    ) AS made ON true
    WHERE record.created_at >= %(since)s AND record.created_at < %(until)s
        AND (record.created_at, record.id) > (%(after_time)s, %(after_id)s::uuid)
        AND (%(provider)s = '' OR record.provider = %(provider)s)
        AND (%(model)s = '' OR record.model = %(model)s OR record.upstream_model = %(model)s)
    ORDER BY record.created_at, record.id
    LIMIT %(limit)s
"""
INSERT_ADJUSTMENTS = """
    INSERT INTO billing_adjustment (
        id, created_at, record_id, revision, repricing_id, price_id, organization_id, provider, model, currency,
        old_cost_micros, new_cost_micros, amount_micros
    )
    SELECT told.id, record.created_at, record.id, told.revision, %(run)s, told.price_id, record.organization_id,
        record.provider, record.model, record.currency, told.old, told.new, told.new - told.old
    FROM unnest(
        %(ids)s::uuid[], %(records)s::uuid[], %(times)s::timestamptz[], %(revisions)s::int[], %(prices)s::uuid[],
        %(old)s::bigint[], %(new)s::bigint[]
    ) AS told (id, record_id, created_at, revision, price_id, old, new)
    JOIN billing_usage_record AS record ON record.id = told.record_id AND record.created_at = told.created_at
    ORDER BY record.created_at, record.id
"""
# The adjustments of the batch, found again by their ids within their time.
MADE = """
    SELECT * FROM billing_adjustment
    WHERE created_at BETWEEN %(first)s AND %(last)s AND id = ANY(%(ids)s)
"""
INSERT_TRANSACTIONS = f"""
    INSERT INTO billing_ledger_transaction (id, created_at, kind, organization_id)
    SELECT id, created_at, 'adjustment', organization_id FROM ({MADE}) AS made ORDER BY id
"""  # noqa: S608 - built of constants
INSERT_POSTINGS = f"""
    INSERT INTO billing_posting (transaction_id, created_at, account_id, amount_micros)
    SELECT made.id, made.created_at, account.id, CASE account.kind WHEN 'usage' THEN amount_micros ELSE -amount_micros END
    FROM ({MADE}) AS made
    JOIN billing_ledger_account AS account
        ON account.currency = made.currency
        AND (account.kind = 'usage' AND account.organization_id = made.organization_id OR account.kind = 'revenue')
    ORDER BY made.id
"""  # noqa: S608
# First the locks, in the order of everybody, then the change in a statement of its own: it begins when nobody can be in
# the way any more, and sees what they wrote. An UPDATE that waits would have to look again at what it has joined.
MOVED_HOURS = """
    SELECT date_trunc('hour', record.created_at, 'UTC') AS hour, {columns}, sum(made.amount_micros) AS micros
    FROM ({made}) AS made
    JOIN billing_usage_record AS record ON record.id = made.record_id AND record.created_at = made.created_at
    GROUP BY 1, {columns}
""".format(made=MADE, columns=", ".join(f"record.{name}" for name in HOUR_KEY if name != "hour"))  # noqa: S608
SAME_HOUR = " AND ".join(
    f"kept.{name} {'IS NOT DISTINCT FROM' if name in NULLABLE else '='} moved.{name}" for name in HOUR_KEY
)
LOCK_HOURS = f"""
    SELECT kept.id FROM billing_usage_hour AS kept JOIN ({MOVED_HOURS}) AS moved ON {SAME_HOUR}
    ORDER BY {", ".join(f"kept.{name}" for name in HOUR_KEY)} FOR NO KEY UPDATE OF kept
"""  # noqa: S608
MOVE_HOURS = f"""
    UPDATE billing_usage_hour AS kept SET cost_micros = kept.cost_micros + moved.micros
    FROM ({MOVED_HOURS}) AS moved WHERE {SAME_HOUR}
"""  # noqa: S608
LOCK_BALANCES = f"""
    SELECT id FROM billing_ledger_account
    WHERE currency IN (SELECT currency FROM ({MADE}) AS made)
        AND (kind = 'revenue' OR organization_id IN (SELECT organization_id FROM ({MADE}) AS made))
    ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608
MOVE_BALANCES = f"""
    UPDATE billing_ledger_account AS account
    SET balance_micros = account.balance_micros + moved.micros, updated_at = now()
    FROM (
        SELECT 'usage' AS kind, organization_id, currency, sum(amount_micros) AS micros
        FROM ({MADE}) AS made GROUP BY organization_id, currency
        UNION ALL
        SELECT 'revenue', NULL, currency, -sum(amount_micros) FROM ({MADE}) AS made GROUP BY currency
    ) AS moved
    WHERE account.kind = moved.kind AND account.currency = moved.currency
        AND account.organization_id IS NOT DISTINCT FROM moved.organization_id
"""  # noqa: S608
# Who begins a budget meanwhile waits, or has counted the adjustments already. Windows that nobody counts stay uncounted.
MOVED_BUDGETS = matches_sql(
    f"""(
        SELECT made.created_at, made.organization_id, record.user_id, record.api_key_id, record.team_id, made.model,
            made.currency, record.end_user, record.tags, made.amount_micros AS cost_micros
        FROM ({MADE}) AS made
        JOIN billing_usage_record AS record ON record.id = made.record_id AND record.created_at = made.created_at
    )"""  # noqa: S608
)
SAME_PERIOD = """
    period.budget_id = moved.budget_id AND period.subject = moved.subject AND period.starts_at = moved.starts_at
"""
LOCK_BUDGETS = f"""
    SELECT period.id FROM billing_budget_period AS period
    WHERE EXISTS (SELECT FROM ({MOVED_BUDGETS}) AS moved WHERE {SAME_PERIOD})
    ORDER BY period.budget_id, period.subject, period.starts_at FOR NO KEY UPDATE
"""  # noqa: S608
MOVE_BUDGETS = f"""
    UPDATE billing_budget_period AS period SET spent_micros = greatest(period.spent_micros + moved.micros, 0)
    FROM (
        SELECT budget_id, subject, starts_at, sum(cost_micros) AS micros FROM ({MOVED_BUDGETS}) AS matched
        GROUP BY budget_id, subject, starts_at
    ) AS moved
    WHERE {SAME_PERIOD}
"""  # noqa: S608
AFTER_ADJUSTMENTS = (
    INSERT_TRANSACTIONS,
    INSERT_POSTINGS,
    LOCK_HOURS,
    MOVE_HOURS,
    LOCK_BALANCES,
    MOVE_BALANCES,
    LOCK_BUDGETS,
    MOVE_BUDGETS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which records are looked at: `since <= created_at < until`, all or one provider's and model's."""

    since: datetime
    until: datetime
    provider: str = ""
    model: str = ""


@dataclass(slots=True)
class ModelChange:
    """What a run found of one model at one provider. `unpriced` records had no price at their time and stay."""

    provider: str
    model: str
    records: int = 0
    unpriced: int = 0
    adjusted: int = 0
    old_cost_micros: int = 0
    new_cost_micros: int = 0


@dataclass(slots=True)
class RepricingReport:
    """What a run found, by provider and model; `repricing_id` None for a dry run."""

    repricing_id: UUID | None = None
    models: dict[tuple[str, str], ModelChange] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """Return the sum of a figure over all models."""
        return sum(getattr(change, name) for change in self.models.values())


class _Record(NamedTuple):
    id: UUID
    created_at: datetime
    provider: str
    model: str
    service_tier: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cache_write_1h_tokens: int
    cost_micros: int
    revision: int


class _Change(NamedTuple):
    record: _Record
    price_id: UUID
    new_cost_micros: int


def reprice_usage(
    *, scope: Scope, actor: Actor, is_dry_run: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> RepricingReport:
    """Let every call of a period cost what the prices valid at its time say; return what differed, by model.

    Records without a price at their time keep their cost. `on_progress` is told after each batch how many records were
    looked at and how many of them differed. A dry run writes nothing.
    """
    history = price_history(provider=scope.provider)
    report = RepricingReport()
    if is_dry_run:
        batches = _walk(scope, history, report)
    else:
        run = Repricing.objects.create(since=scope.since, until=scope.until, provider=scope.provider, model=scope.model)
        report.repricing_id = run.id
        batches = _walk(scope, history, report, run)
    for _ in batches:
        if on_progress is not None:
            on_progress(report.total("records"), report.total("adjusted"))
    if not is_dry_run:
        _finish(run, actor)
    return report


def _walk(scope: Scope, history: PriceHistory, report: RepricingReport, run: Repricing | None = None) -> Iterator[None]:
    """Go through the records in order of time, a transaction per batch; with a run, adjust them."""
    after: tuple[datetime, UUID] = (scope.since, NULL_ID)
    while True:
        with transaction.atomic():
            if run is not None:
                lock("billing.reprice")
                _hold_budgets()
            records = _read(scope, after)
            if not records:
                return
            changes = [change for record in records if (change := _look_at(record, history, report)) is not None]
            if run is not None:
                _write(run, len(records), changes)
        after = (records[-1].created_at, records[-1].id)
        yield


def _hold_budgets() -> None:
    with connection.cursor() as cursor:
        cursor.execute(HOLD_BUDGETS)


def _read(scope: Scope, after: tuple[datetime, UUID]) -> list[_Record]:
    with connection.cursor() as cursor:
        cursor.execute(
            READ_BATCH,
            {
                "since": scope.since,
                "until": scope.until,
                "provider": scope.provider,
                "model": scope.model,
                "after_time": after[0],
                "after_id": after[1],
                "limit": BATCH,
            },
        )
        return [_Record(*row) for row in cursor.fetchall()]


def _look_at(record: _Record, history: PriceHistory, report: RepricingReport) -> _Change | None:
    """Count a record and return how its cost changes; None when it stays."""
    key = (record.provider, record.model)
    found = report.models.get(key)
    if found is None:
        found = report.models[key] = ModelChange(*key)
    found.records += 1
    held = history.find(*key, record.service_tier, record.created_at)
    if held is None:
        found.unpriced += 1
        return None
    cost = cost_micros(
        held.card,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        cached_tokens=record.cached_tokens,
        cache_write_tokens=record.cache_write_tokens,
        reasoning_tokens=record.reasoning_tokens,
        cache_write_1h_tokens=record.cache_write_1h_tokens,
    )
    if cost == record.cost_micros:
        return None
    found.adjusted += 1
    found.old_cost_micros += record.cost_micros
    found.new_cost_micros += cost
    return _Change(record, held.id, cost)


def _write(run: Repricing, records: int, changes: Sequence[_Change]) -> None:
    """Write one batch: what changed, everything that follows from it, and the counters of the run."""
    amount = sum(change.new_cost_micros - change.record.cost_micros for change in changes)
    if changes:
        found = [change.record for change in changes]
        revisions = [record.revision + 1 for record in found]
        values: dict[str, Any] = {
            "run": run.id,
            "ids": [adjustment_id(record.id, revision) for record, revision in zip(found, revisions, strict=True)],
            "records": [record.id for record in found],
            "times": [record.created_at for record in found],
            "revisions": revisions,
            "prices": [change.price_id for change in changes],
            "old": [record.cost_micros for record in found],
            "new": [change.new_cost_micros for change in changes],
            "first": found[0].created_at,
            "last": found[-1].created_at,
        }
        with connection.cursor() as cursor:
            cursor.execute(INSERT_ADJUSTMENTS, values)
            for statement in AFTER_ADJUSTMENTS:
                cursor.execute(statement, values)
    Repricing.objects.filter(id=run.id).update(
        records=F("records") + records,
        adjusted=F("adjusted") + len(changes),
        amount_micros=F("amount_micros") + amount,
        updated_at=datetime.now(UTC),
    )


def adjustment_id(record_id: UUID, revision: int) -> UUID:
    """Return the id of a record's adjustment: the same for the same, so that it cannot be made twice."""
    return UUID(bytes=hashlib.blake2b(f"{record_id}:{revision}".encode(), digest_size=16).digest())


@transaction.atomic
def _finish(run: Repricing, actor: Actor) -> None:
    run.refresh_from_db()
    run.finished_at = datetime.now(UTC)
    run.save(update_fields=["finished_at", "updated_at"])
    publish(
        UsageRepriced(
            aggregate_id=run.id,
            since=run.since,
            until=run.until,
            provider=run.provider,
            model=run.model,
            records=run.records,
            adjusted=run.adjusted,
            amount_micros=run.amount_micros,
        ),
        actor=actor,
    )
