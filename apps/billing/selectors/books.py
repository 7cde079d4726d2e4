"""Prove the books: every posting balanced, every call debited once, every sum right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection, transaction

from apps.billing.models import Adjustment, LedgerAccount, LedgerTransaction, UsageRecord
from apps.billing.models.usage import HOUR_KEY
from apps.core.ids import encode_id

SUMS = (
    "requests",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cost_micros",
    "latency_ms_sum",
    "first_token_ms_sum",
    "first_token_count",
)

# What a record was charged in the books, whoever asks: sums per transaction, account kind, organization and currency.
POSTED = """
    SELECT posting.transaction_id, posting.created_at, account.kind, account.organization_id, account.currency,
        count(*) AS times, sum(posting.amount_micros) AS micros
    FROM billing_posting AS posting JOIN billing_ledger_account AS account ON account.id = posting.account_id
    WHERE posting.created_at >= %(since)s::timestamptz
    GROUP BY 1, 2, 3, 4, 5
"""


def _charged(table: str, amount: str, noun: str, kind: str) -> str:
    """Return a query for rows of a table that are not debited, or credited, exactly once and with their amount."""
    sign, owner = ("", "AND posted.organization_id = charged.organization_id") if kind == "usage" else ("-", "")
    word = "debited to its organization" if kind == "usage" else "credited to revenue"
    return f"""
        SELECT charged.id::text, '{noun} ' || charged.{amount} || ', {word} ' || coalesce(posted.times, 0)
            || ' times, ' || coalesce(posted.micros, 0) || ' in all'
        FROM {table} AS charged
        LEFT JOIN posted ON posted.transaction_id = charged.id AND posted.created_at = charged.created_at
            AND posted.kind = '{kind}' AND posted.currency = charged.currency {owner}
        WHERE charged.created_at >= %(since)s::timestamptz
            AND (posted.times IS DISTINCT FROM 1 OR posted.micros <> {sign}charged.{amount})
    """  # noqa: S608 - names from below


def _unbooked(table: str, kind: str) -> str:
    """Return a query for rows of a table without a ledger transaction of their id, time and kind."""
    return f"""
        SELECT source.id::text, 'no ledger transaction carries its id and time'
        FROM {table} AS source
        LEFT JOIN billing_ledger_transaction AS booked
            ON booked.id = source.id AND booked.created_at = source.created_at AND booked.kind = '{kind}'
        WHERE source.created_at >= %(since)s::timestamptz AND booked.id IS NULL
    """  # noqa: S608


def _baseless(table: str, kind: str, noun: str) -> str:
    """Return a query for ledger transactions of a kind without the row that they book."""
    return f"""
        SELECT booked.id::text, 'no {noun} carries its id and time'
        FROM billing_ledger_transaction AS booked
        LEFT JOIN {table} AS source ON source.id = booked.id AND source.created_at = booked.created_at
        WHERE booked.created_at >= %(since)s::timestamptz AND booked.kind = '{kind}' AND source.id IS NULL
    """  # noqa: S608


# Each query yields (subject, detail) per defect and nothing when all is well.
DEFECTS = {
    "transaction.unbalanced": """
        SELECT transaction_id::text, 'its postings sum to ' || sum(amount_micros)
        FROM billing_posting WHERE created_at >= %(since)s::timestamptz
        GROUP BY transaction_id HAVING sum(amount_micros) <> 0
    """,
    "transaction.without_record": _baseless("billing_usage_record", "usage", "usage record"),
    "transaction.without_adjustment": _baseless("billing_adjustment", "adjustment", "adjustment"),
    "posting.without_transaction": """
        SELECT posting.transaction_id::text, 'posting ' || posting.id || ' belongs to no transaction of its time'
        FROM billing_posting AS posting
        LEFT JOIN billing_ledger_transaction AS booked
            ON booked.id = posting.transaction_id AND booked.created_at = posting.created_at
        WHERE posting.created_at >= %(since)s::timestamptz AND booked.id IS NULL
    """,
    "posting.without_account": """
        SELECT posting.transaction_id::text, 'posting ' || posting.id || ' is on an account that does not exist'
        FROM billing_posting AS posting LEFT JOIN billing_ledger_account AS account ON account.id = posting.account_id
        WHERE posting.created_at >= %(since)s::timestamptz AND account.id IS NULL
    """,
    "record.twice": """
        SELECT id::text, count(*) || ' records carry this id'
        FROM billing_usage_record WHERE created_at >= %(since)s::timestamptz GROUP BY id HAVING count(*) > 1
    """,
    "record.without_transaction": _unbooked("billing_usage_record", "usage"),
    "record.debit": _charged("billing_usage_record", "cost_micros", "cost", "usage"),
    "record.credit": _charged("billing_usage_record", "cost_micros", "cost", "revenue"),
    "adjustment.without_transaction": _unbooked("billing_adjustment", "adjustment"),
    "adjustment.debit": _charged("billing_adjustment", "amount_micros", "amount", "usage"),
    "adjustment.credit": _charged("billing_adjustment", "amount_micros", "amount", "revenue"),
    # From one adjustment to the next the cost goes on where it was, from the record's own to the last.
    "adjustment.chain": """
        SELECT id::text, 'adjustment ' || revision || ' of its record begins at ' || old_cost_micros || ', not at '
            || coalesce(before::text, 'a record')
        FROM (
            SELECT made.id, made.revision, made.old_cost_micros,
                lag(made.new_cost_micros, 1, record.cost_micros) OVER (
                    PARTITION BY made.record_id, made.created_at ORDER BY made.revision
                ) AS before
            FROM billing_adjustment AS made
            LEFT JOIN billing_usage_record AS record
                ON record.id = made.record_id AND record.created_at = made.created_at
            WHERE made.created_at >= %(since)s::timestamptz
        ) AS chained
        WHERE old_cost_micros IS DISTINCT FROM before
    """,
    "hour.sums": """
        SELECT model || ' ' || to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"Z"'),
            'organization ' || organization_id || ', key ' || coalesce(api_key_id::text, 'none')
            || ', user ' || coalesce(user_id::text, 'none') || ', team ' || coalesce(team_id::text, 'none')
            || ', provider ' || provider || ', endpoint ' || endpoint || ', ' || currency
            || ': hour minus records is ' || {differences}
        FROM (
            SELECT {key}, {sums} FROM billing_usage_hour WHERE hour >= %(since)s::timestamptz
            UNION ALL
            SELECT record.organization_id, date_trunc('hour', record.created_at, 'UTC'), record.user_id,
                record.api_key_id, record.team_id, record.provider, record.model, record.endpoint, record.currency,
                -1, CASE WHEN record.status IN ('error', 'interrupted') THEN -1 ELSE 0 END, -record.prompt_tokens,
                -record.completion_tokens, -record.cached_tokens, -record.cost_micros - coalesce(made.micros, 0),
                -record.latency_ms, -coalesce(record.first_token_ms, 0),
                CASE WHEN record.first_token_ms IS NULL THEN 0 ELSE -1 END
            FROM billing_usage_record AS record
            LEFT JOIN (
                SELECT record_id, created_at, sum(amount_micros) AS micros FROM billing_adjustment
                WHERE created_at >= %(since)s::timestamptz GROUP BY record_id, created_at
            ) AS made ON made.record_id = record.id AND made.created_at = record.created_at
            WHERE record.created_at >= %(since)s::timestamptz
        ) AS both_sides
        GROUP BY {key}
        HAVING {any_difference}
    """.format(  # noqa: S608 - names from above
        key=", ".join(HOUR_KEY),
        sums=", ".join(SUMS),
        differences=" || ', ' || ".join(f"sum({name}) || ' {name}'" for name in SUMS),
        any_difference=" OR ".join(f"sum({name}) <> 0" for name in SUMS),
    ),
}
# What only the books as a whole can show: left out where a part of them is looked at.
DEFECTS_OF_ALL = {
    "ledger.unbalanced": """
        SELECT coalesce(account.currency, 'unknown account'), 'all postings sum to ' || sum(posting.amount_micros)
        FROM billing_posting AS posting LEFT JOIN billing_ledger_account AS account ON account.id = posting.account_id
        GROUP BY account.currency HAVING sum(posting.amount_micros) <> 0
    """,
    "account.balance": """
        SELECT account.id::text, 'balance ' || account.balance_micros || ', its postings sum to '
            || coalesce(posted.micros, 0)
        FROM billing_ledger_account AS account
        LEFT JOIN (SELECT account_id, sum(amount_micros) AS micros FROM billing_posting GROUP BY account_id) AS posted
            ON posted.account_id = account.id
        WHERE account.balance_micros <> coalesce(posted.micros, 0)
    """,
}
COUNTED = {
    "records": "billing_usage_record",
    "adjustments": "billing_adjustment",
    "transactions": "billing_ledger_transaction",
    "postings": "billing_posting",
}
_SHOWN_AS: dict[str, str] = {
    "adjustment": Adjustment.ID_PREFIX,
    "record": UsageRecord.ID_PREFIX,
    "transaction": LedgerTransaction.ID_PREFIX,
    "posting": LedgerTransaction.ID_PREFIX,
    "account": LedgerAccount.ID_PREFIX,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect: its kind, what it concerns (a public id where there is one), and the figures."""

    defect: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was counted and what is wrong; sums are micro-units of all currencies together."""

    counted: dict[str, int]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings


def check_books(*, since: datetime | None = None) -> CheckReport:
    """Return every defect of the books, or of what lies in them since the beginning of an hour.

    One statement, hence one snapshot: it may run while calls are recorded. Each check reads its tables once and joins
    them as sets: the whole takes seconds for a million records. Balances are proved only by the whole.
    """
    parts = ["SELECT 'counted', 'accounts', count(*)::text FROM billing_ledger_account"]
    parts += [
        f"SELECT 'counted', '{name}', count(*)::text FROM {table} WHERE created_at >= %(since)s::timestamptz"  # noqa: S608
        for name, table in COUNTED.items()
    ]
    defects = DEFECTS if since else {**DEFECTS, **DEFECTS_OF_ALL}
    parts += [
        f"SELECT '{defect}', found.* FROM ({query}) AS found (subject, detail)"  # noqa: S608
        for defect, query in defects.items()
    ]
    start = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0).isoformat() if since else "-infinity"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute(f"WITH posted AS MATERIALIZED ({POSTED}) " + " UNION ALL ".join(parts), {"since": start})
        rows: list[tuple[str, str, str]] = cursor.fetchall()
    counted = {subject: int(detail) for kind, subject, detail in rows if kind == "counted"}
    return CheckReport(
        counted={name: counted[name] for name in (*COUNTED, "accounts")},
        findings=[
            Finding(kind, _show(kind, subject), detail) for kind, subject, detail in sorted(rows) if kind != "counted"
        ],
    )


def _show(kind: str, subject: str) -> str:
    prefix = _SHOWN_AS.get(kind.partition(".")[0])
    return encode_id(prefix, UUID(subject)) if prefix else subject
