"""Prove the books: every posting balanced, every call debited once, every sum right."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from apps.billing.models import LedgerAccount, LedgerTransaction, UsageRecord
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

# Each query yields (subject, detail) per defect and nothing when all is well.
DEFECTS = {
    "ledger.unbalanced": """
        SELECT coalesce(account.currency, 'unknown account'), 'all postings sum to ' || sum(posting.amount_micros)
        FROM billing_posting AS posting LEFT JOIN billing_ledger_account AS account ON account.id = posting.account_id
        GROUP BY account.currency HAVING sum(posting.amount_micros) <> 0
    """,
    "transaction.unbalanced": """
        SELECT transaction_id::text, 'its postings sum to ' || sum(amount_micros)
        FROM billing_posting GROUP BY transaction_id HAVING sum(amount_micros) <> 0
    """,
    "transaction.without_record": """
        SELECT booked.id::text, 'no usage record carries its id and time'
        FROM billing_ledger_transaction AS booked
        LEFT JOIN billing_usage_record AS record ON record.id = booked.id AND record.created_at = booked.created_at
        WHERE booked.kind = 'usage' AND record.id IS NULL
    """,
    "posting.without_transaction": """
        SELECT posting.transaction_id::text, 'posting ' || posting.id || ' belongs to no transaction of its time'
        FROM billing_posting AS posting
        LEFT JOIN billing_ledger_transaction AS booked
            ON booked.id = posting.transaction_id AND booked.created_at = posting.created_at
        WHERE booked.id IS NULL
    """,
    "posting.without_account": """
        SELECT posting.transaction_id::text, 'posting ' || posting.id || ' is on an account that does not exist'
        FROM billing_posting AS posting LEFT JOIN billing_ledger_account AS account ON account.id = posting.account_id
        WHERE account.id IS NULL
    """,
    "record.twice": """
        SELECT id::text, count(*) || ' records carry this id'
        FROM billing_usage_record GROUP BY id HAVING count(*) > 1
    """,
    "record.without_transaction": """
        SELECT record.id::text, 'no ledger transaction carries its id and time'
        FROM billing_usage_record AS record
        LEFT JOIN billing_ledger_transaction AS booked ON booked.id = record.id AND booked.created_at = record.created_at
        WHERE booked.id IS NULL
    """,
    "record.debit": """
        SELECT record.id::text, 'cost ' || record.cost_micros || ', debited to its organization '
            || count(account.id) || ' times, ' || coalesce(sum(posting.amount_micros), 0) || ' in all'
        FROM billing_usage_record AS record
        LEFT JOIN (
            billing_posting AS posting
            JOIN billing_ledger_account AS account ON account.id = posting.account_id AND account.kind = 'usage'
        ) ON posting.transaction_id = record.id AND posting.created_at = record.created_at
            AND account.organization_id = record.organization_id AND account.currency = record.currency
        GROUP BY record.id, record.created_at, record.cost_micros
        HAVING count(account.id) <> 1 OR sum(posting.amount_micros) <> record.cost_micros
    """,
    "record.credit": """
        SELECT record.id::text, 'cost ' || record.cost_micros || ', credited to revenue '
            || count(account.id) || ' times, ' || coalesce(sum(posting.amount_micros), 0) || ' in all'
        FROM billing_usage_record AS record
        LEFT JOIN (
            billing_posting AS posting
            JOIN billing_ledger_account AS account ON account.id = posting.account_id AND account.kind = 'revenue'
        ) ON posting.transaction_id = record.id AND posting.created_at = record.created_at
            AND account.currency = record.currency
        GROUP BY record.id, record.created_at, record.cost_micros
        HAVING count(account.id) <> 1 OR sum(posting.amount_micros) <> -record.cost_micros
    """,
    "account.balance": """
        SELECT account.id::text, 'balance ' || account.balance_micros || ', its postings sum to '
            || coalesce(sum(posting.amount_micros), 0)
        FROM billing_ledger_account AS account LEFT JOIN billing_posting AS posting ON posting.account_id = account.id
        GROUP BY account.id HAVING account.balance_micros <> coalesce(sum(posting.amount_micros), 0)
    """,
    "hour.sums": """
        SELECT model || ' ' || to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"Z"'),
            'organization ' || organization_id || ', key ' || coalesce(api_key_id::text, 'none')
            || ', user ' || coalesce(user_id::text, 'none') || ', provider ' || provider || ', ' || currency
            || ': hour minus records is ' || {differences}
        FROM (
            SELECT hour, organization_id, user_id, api_key_id, provider, model, currency, {sums} FROM billing_usage_hour
            UNION ALL
            SELECT date_trunc('hour', created_at, 'UTC'), organization_id, user_id, api_key_id, provider, model, currency,
                -1, CASE WHEN status IN ('error', 'interrupted') THEN -1 ELSE 0 END, -prompt_tokens, -completion_tokens,
                -cached_tokens, -cost_micros, -latency_ms, -coalesce(first_token_ms, 0),
                CASE WHEN first_token_ms IS NULL THEN 0 ELSE -1 END
            FROM billing_usage_record
        ) AS both_sides
        GROUP BY hour, organization_id, user_id, api_key_id, provider, model, currency
        HAVING {any_difference}
    """.format(  # noqa: S608 - names from above
        sums=", ".join(SUMS),
        differences=" || ', ' || ".join(f"sum({name}) || ' {name}'" for name in SUMS),
        any_difference=" OR ".join(f"sum({name}) <> 0" for name in SUMS),
    ),
}
COUNTED = {
    "records": "billing_usage_record",
    "transactions": "billing_ledger_transaction",
    "postings": "billing_posting",
    "accounts": "billing_ledger_account",
}
_SHOWN_AS: dict[str, str] = {
    "record": UsageRecord.ID_PREFIX,
    "transaction": LedgerTransaction.ID_PREFIX,
    "posting": LedgerTransaction.ID_PREFIX,
    "account": LedgerAccount.ID_PREFIX,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of the books: its kind, what it concerns (a public id where there is one), and the figures."""

    defect: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class BooksReport:
    """What was counted and what is wrong."""

    counted: dict[str, int]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings


def check_books() -> BooksReport:
    """Return every defect of the books. One statement, hence one snapshot: it may run while calls are recorded."""
    parts = [f"SELECT 'counted', '{name}', count(*)::text FROM {table}" for name, table in COUNTED.items()]  # noqa: S608
    parts += [
        f"SELECT '{defect}', found.* FROM ({query}) AS found (subject, detail)"  # noqa: S608
        for defect, query in DEFECTS.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        rows: list[tuple[str, str, str]] = cursor.fetchall()
    return BooksReport(
        counted={subject: int(detail) for kind, subject, detail in rows if kind == "counted"},
        findings=[
            Finding(kind, _show(kind, subject), detail) for kind, subject, detail in sorted(rows) if kind != "counted"
        ],
    )


def _show(kind: str, subject: str) -> str:
    prefix = _SHOWN_AS.get(kind.partition(".")[0])
    return encode_id(prefix, UUID(subject)) if prefix else subject
