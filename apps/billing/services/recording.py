"""Record what calls used: the record, its ledger transaction, the hourly sums and the balances, all or nothing.

Everything is set-based and takes its locks in one order (records by id, accounts, hours by key, balances by account id),
so that any number of processes may record overlapping batches at once without waiting in a circle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.billing.choices import ServiceTier, UsageStatus
from apps.billing.models import UsageRecord
from apps.billing.models.usage import HOUR_KEY
from apps.billing.services.charging import HOLD_BUDGETS, charging_statements

MAX_INTEGER = 2**31 - 1
MAX_SMALL_INTEGER = 2**15 - 1
# Large enough for any call, small enough for the sums of a million of them.
MAX_COST_MICROS = 10**12


class UsageEntry(NamedTuple):
    """One call as the gateway's journal tells it. A tuple, as thousands a second are made.

    `created_at` is when the call was forwarded; it comes from the journal, so that the same call always carries the same
    time. `model` is the name that was asked for, `upstream_model` the one that the provider was asked for. `status` is
    `ok`, `error`, `cancelled` or `interrupted`. `service_tier` is the one that the provider's answer named. `lease_ids`
    are the leases of budgets that the call was let in on.
    """

    request_id: UUID
    created_at: datetime
    organization_id: UUID
    user_id: UUID | None
    api_key_id: UUID | None
    model: str
    provider: str
    upstream_model: str
    endpoint: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_micros: int
    currency: str
    status: str
    is_estimated: bool
    is_stream: bool
    http_status: int
    error_code: str
    latency_ms: int
    first_token_ms: int | None
    attempts: int
    upstream_request_id: str
    end_user: str
    team_id: UUID | None = None
    tags: tuple[str, ...] = ()
    service_tier: str = ServiceTier.STANDARD.value
    cache_write_1h_tokens: int = 0
    lease_ids: tuple[int, ...] = ()


COLUMNS = tuple("id" if name == "request_id" else name for name in UsageEntry._fields if name != "lease_ids")
COLUMN_LIST = ", ".join(COLUMNS)
HOUR_COLUMNS = ", ".join(HOUR_KEY)
_DEFINITION = ", ".join(f"{name} {UsageRecord._meta.get_field(name).db_type(connection)}" for name in COLUMNS)
_DEFINITION += ", lease_ids bigint[]"
# The table lives as long as the connection and is emptied at every commit: creating one per batch would bloat the
# catalogue. Its name changes with its columns, so that a pooled connection of an older release does no harm.
INCOMING = f"billing_incoming_{hashlib.sha256(_DEFINITION.encode()).hexdigest()[:8]}"

CREATE_INCOMING = f"CREATE TEMPORARY TABLE IF NOT EXISTS {INCOMING} ({_DEFINITION}) ON COMMIT DELETE ROWS"
EMPTY_INCOMING = f"DELETE FROM {INCOMING}"  # noqa: S608 - built of constants
COPY_INCOMING = f"COPY {INCOMING} ({COLUMN_LIST}, lease_ids) FROM STDIN"

# Keeps in the incoming table only what is new: another writer of the same record is waited for.
INSERT_RECORDS = f"""
    WITH fresh AS (
        INSERT INTO billing_usage_record ({COLUMN_LIST})
        SELECT {COLUMN_LIST} FROM {INCOMING} ORDER BY id, created_at
        ON CONFLICT (id, created_at) DO NOTHING
        RETURNING id
    )
    DELETE FROM {INCOMING} WHERE id NOT IN (SELECT id FROM fresh)
"""  # noqa: S608 - built of constants
COUNT_FRESH = f"""
    SELECT count(*), EXISTS (
        SELECT FROM billing_budget WHERE organization_id IN (SELECT organization_id FROM {INCOMING})
    ) FROM {INCOMING}
"""  # noqa: S608

OPEN_ACCOUNTS = f"""
    INSERT INTO billing_ledger_account
        (id, created_at, updated_at, kind, organization_id, currency, balance_micros)
    SELECT gen_random_uuid(), now(), now(), wanted.kind, wanted.organization_id, wanted.currency, 0
    FROM (
        SELECT DISTINCT 'usage' AS kind, organization_id, currency FROM {INCOMING}
        UNION
        SELECT DISTINCT 'revenue', NULL::uuid, currency FROM {INCOMING}
    ) AS wanted
    ORDER BY wanted.kind, wanted.organization_id, wanted.currency
    ON CONFLICT (kind, organization_id, currency) DO NOTHING
"""  # noqa: S608
INSERT_TRANSACTIONS = f"""
    INSERT INTO billing_ledger_transaction (id, created_at, kind, organization_id)
    SELECT id, created_at, 'usage', organization_id FROM {INCOMING} ORDER BY id
"""  # noqa: S608
INSERT_POSTINGS = f"""
    INSERT INTO billing_posting (transaction_id, created_at, account_id, amount_micros)
    SELECT entry.id, entry.created_at, account.id, CASE account.kind WHEN 'usage' THEN cost_micros ELSE -cost_micros END
    FROM {INCOMING} AS entry
    JOIN billing_ledger_account AS account
        ON account.currency = entry.currency
        AND (account.kind = 'usage' AND account.organization_id = entry.organization_id OR account.kind = 'revenue')
    ORDER BY entry.id
"""  # noqa: S608
ADD_TO_HOURS = f"""
    INSERT INTO billing_usage_hour AS held (
        hour, organization_id, user_id, api_key_id, team_id, model, provider, endpoint, currency,
        requests, errors, prompt_tokens, completion_tokens, cached_tokens, cost_micros,
        latency_ms_sum, first_token_ms_sum, first_token_count
    )
    SELECT
        date_trunc('hour', created_at, 'UTC') AS hour, organization_id, user_id, api_key_id, team_id, model, provider, endpoint,
        currency, count(*), count(*) FILTER (WHERE status IN ('{UsageStatus.ERROR}', '{UsageStatus.INTERRUPTED}')),
        sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens), sum(cost_micros),
        sum(latency_ms), coalesce(sum(first_token_ms), 0), count(first_token_ms)
    FROM {INCOMING}
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ORDER BY {HOUR_COLUMNS}
    ON CONFLICT ({HOUR_COLUMNS}) DO UPDATE SET
        requests = held.requests + excluded.requests,
        errors = held.errors + excluded.errors,
        prompt_tokens = held.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = held.completion_tokens + excluded.completion_tokens,
        cached_tokens = held.cached_tokens + excluded.cached_tokens,
        cost_micros = held.cost_micros + excluded.cost_micros,
        latency_ms_sum = held.latency_ms_sum + excluded.latency_ms_sum,
        first_token_ms_sum = held.first_token_ms_sum + excluded.first_token_ms_sum,
        first_token_count = held.first_token_count + excluded.first_token_count
"""  # noqa: S608
# The locks come first, in order; the change then begins when nobody can be in the way, and sees what they wrote. An UPDATE
# that waits for another would have to look again at what it has joined, and may then pass over a row.
LOCK_BALANCES = f"""
    SELECT id FROM billing_ledger_account
    WHERE currency IN (SELECT currency FROM {INCOMING})
        AND (kind = 'revenue' OR organization_id IN (SELECT organization_id FROM {INCOMING}))
    ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608
MOVE_BALANCES = f"""
    UPDATE billing_ledger_account AS account
    SET balance_micros = account.balance_micros + moved.micros, updated_at = now()
    FROM (
        SELECT 'usage' AS kind, organization_id, currency, sum(cost_micros) AS micros
        FROM {INCOMING} GROUP BY organization_id, currency
        UNION ALL
        SELECT 'revenue', NULL, currency, -sum(cost_micros) FROM {INCOMING} GROUP BY currency
    ) AS moved
    WHERE account.kind = moved.kind AND account.currency = moved.currency
        AND account.organization_id IS NOT DISTINCT FROM moved.organization_id
"""  # noqa: S608
FOR_BUDGETS = charging_statements(INCOMING)
AFTER_RECORDS = (OPEN_ACCOUNTS, INSERT_TRANSACTIONS, INSERT_POSTINGS, ADD_TO_HOURS, LOCK_BALANCES, MOVE_BALANCES)


def record_usage(entries: Sequence[UsageEntry]) -> int:
    """Record each call once, whoever else records it at the same time; return how many were new.

    One transaction: the usage record, one ledger transaction with a debit of the organization and a credit of revenue
    (also for a cost of 0), the hourly sums, the balances, and what budgets have spent. Nothing is looked up: an
    organization, user or key that was deleted meanwhile still owes. Values that no column can hold are cut to what it can,
    so that one odd answer of a provider never holds up the others.
    """
    if not entries:
        return 0
    rows = _make_rows(entries)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CREATE_INCOMING)
        cursor.execute(EMPTY_INCOMING)
        with connection.wrap_database_errors, cursor.copy(COPY_INCOMING) as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(INSERT_RECORDS)
        cursor.execute(HOLD_BUDGETS)
        cursor.execute(COUNT_FRESH)
        fresh: int
        fresh, has_budgets = cursor.fetchone()
        if fresh:
            for statement in AFTER_RECORDS + (FOR_BUDGETS if has_budgets else ()):
                cursor.execute(statement)
    return fresh


def _make_rows(entries: Iterable[UsageEntry]) -> list[tuple[Any, ...]]:
    unique = {entry.request_id: entry for entry in entries}
    return [_make_row(unique[request_id]) for request_id in sorted(unique)]


def _make_row(entry: UsageEntry) -> tuple[Any, ...]:
    return (
        entry.request_id,
        entry.created_at,
        entry.organization_id,
        entry.user_id,
        entry.api_key_id,
        _fit_text(entry.model, 200),
        _fit_text(entry.provider, 64),
        _fit_text(entry.upstream_model, 200),
        _fit_text(entry.endpoint, 64),
        _fit(entry.prompt_tokens),
        _fit(entry.completion_tokens),
        _fit(entry.cached_tokens),
        _fit(entry.cache_write_tokens),
        _fit(entry.reasoning_tokens),
        _fit(entry.cost_micros, MAX_COST_MICROS),
        _fit_text(entry.currency, 3),
        _fit_text(entry.status, 16),
        entry.is_estimated,
        entry.is_stream,
        _fit(entry.http_status, MAX_SMALL_INTEGER),
        _fit_text(entry.error_code, 96),
        _fit(entry.latency_ms),
        None if entry.first_token_ms is None else _fit(entry.first_token_ms),
        _fit(entry.attempts, MAX_SMALL_INTEGER),
        _fit_text(entry.upstream_request_id, 200),
        _fit_text(entry.end_user, 256),
        entry.team_id,
        [_fit_text(tag, 64) for tag in entry.tags],
        _fit_text(entry.service_tier, 16),
        _fit(entry.cache_write_1h_tokens),
        list(entry.lease_ids),
    )


def _fit(value: int, largest: int = MAX_INTEGER) -> int:
    return min(max(value, 0), largest)


def _fit_text(value: str, length: int) -> str:
    """Return what Postgres can keep: no NUL, no lone surrogates, no more than the column holds."""
    if len(value) <= length and value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:length]
