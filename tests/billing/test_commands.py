"""usage_export and ledger_check, as an operator runs them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.billing.models import LedgerAccount, LedgerTransaction, Posting, UsageHour, UsageRecord
from apps.billing.selectors.books import check_books
from apps.billing.services.recording import record_usage
from apps.core.ids import encode_id, uuid7
from tests.factories.billing import PLAIN, make_entry

pytestmark = pytest.mark.django_db


def run(name: str, **options: object) -> str:
    out = io.StringIO()
    call_command(name, stdout=out, **options)
    return out.getvalue()


class Reader(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return 77


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_reader_that_has_enough_is_no_failure(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record_usage([make_entry()])
    pointed: list[int] = []
    monkeypatch.setattr("os.dup2", lambda source, target: pointed.append(target))
    monkeypatch.setattr("sys.stdout", Reader())
    call_command("usage_export", format=form, stdout=Reader())
    assert pointed == [77]


def export(**options: object) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("usage_export", **options).splitlines()]


def test_an_export_has_one_line_per_record_with_exactly_these_fields() -> None:
    nepal = timezone(timedelta(hours=5, minutes=45))
    entry = make_entry(created_at=datetime(2026, 11, 20, 12, 0, 0, 1, tzinfo=nepal))
    record_usage([entry, make_entry(user_id=None, api_key_id=None, is_estimated=True, status="interrupted")])
    first, second = export()
    assert list(first.items()) == list(
        {
            "request_id": encode_id("req", entry.request_id),
            "api_key": encode_id("key", entry.api_key_id),
            "organization": encode_id("org", entry.organization_id),
            "user": encode_id("user", entry.user_id),
            "model": "gpt-4o-mini",
            "provider": "openai",
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "cached_tokens": 10,
            "cost_micros": 27,
            "currency": "USD",
            "status": "ok",
            "estimated": False,
            "created_at": "2026-11-20T06:15:00.000001Z",
        }.items()
    )
    assert (second["user"], second["api_key"], second["estimated"], second["status"]) == (
        None,
        None,
        True,
        "interrupted",
    )


def test_an_export_comes_in_order_of_time_within_the_period() -> None:
    moments = [datetime(2026, 11, day, tzinfo=UTC) for day in (3, 1, 4, 2)]
    record_usage([make_entry(created_at=at) for at in moments])
    days = [line["created_at"][:10] for line in export()]
    assert days == ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]
    some = export(since=datetime(2026, 11, 2, tzinfo=UTC), until=datetime(2026, 11, 4, tzinfo=UTC))
    assert [line["created_at"][:10] for line in some] == ["2026-11-02", "2026-11-03"]


def test_the_csv_has_a_header_and_the_same_values() -> None:
    record_usage([make_entry(model='odd, "name"', user_id=None)])
    (row,) = csv.DictReader(io.StringIO(run("usage_export", format="csv")))
    (line,) = export()
    assert list(row) == list(line)
    assert (row["model"], row["user"], row["estimated"], row["cost_micros"]) == ('odd, "name"', "", "false", "27")


def test_the_period_is_given_as_dates_or_times(capsys: pytest.CaptureFixture) -> None:
    record_usage([make_entry(created_at=datetime(2026, 11, 20, 12, 30, tzinfo=UTC))])
    for arguments, lines in [
        (["--since", "2026-11-20", "--until", "2026-11-21"], 1),
        (["--since", "2026-11-20T12:31Z"], 0),
        (["--until", "2026-11-20T14:31+02:00"], 1),
        (["--until", "2026-11-20T14:29+02:00"], 0),
    ]:
        call_command("usage_export", *arguments)
        assert len(capsys.readouterr().out.splitlines()) == lines
    with pytest.raises(CommandError, match="'soon' is not an ISO 8601 date or time"):
        call_command("usage_export", "--since", "soon")


def test_an_empty_ledger_and_a_used_one_are_clean() -> None:
    assert (
        run("ledger_check") == "the books balance: 0 records, 0 adjustments, 0 transactions, 0 postings, 0 accounts\n"
    )
    record_usage(
        [make_entry(), make_entry(cost_micros=0), make_entry(user_id=None, first_token_ms=None, status="error")]
    )
    assert json.loads(run("ledger_check", json=True)) == {
        "ok": True, "records": 3, "adjustments": 0, "transactions": 3, "postings": 6, "accounts": 2, "findings": [],
    }  # fmt: skip


@pytest.fixture
def tamper() -> Callable[[str], None]:
    """Return a function that changes the books as only a superuser could: with the triggers off."""

    def run_sql(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(statement)
            cursor.execute("SET LOCAL session_replication_role = DEFAULT")

    return run_sql


NOWHERE = "00000000-0000-0000-0000-000000000000"
DEFECTS = {
    "a posting was changed": (
        "UPDATE billing_posting SET amount_micros = 28 WHERE amount_micros = 27",
        {
            ("account.balance", "usage", "balance 27, its postings sum to 28"),
            ("ledger.unbalanced", "USD", "all postings sum to 1"),
            ("record.debit", "req", "cost 27, debited to its organization 1 times, 28 in all"),
            ("transaction.unbalanced", "txn", "its postings sum to 1"),
        },
    ),
    "a call was debited twice": (
        "INSERT INTO billing_posting (transaction_id, created_at, account_id, amount_micros) "
        "SELECT transaction_id, created_at, account_id, amount_micros FROM billing_posting",
        {
            ("account.balance", "revenue", "balance -27, its postings sum to -54"),
            ("account.balance", "usage", "balance 27, its postings sum to 54"),
            ("record.credit", "req", "cost 27, credited to revenue 2 times, -54 in all"),
            ("record.debit", "req", "cost 27, debited to its organization 2 times, 54 in all"),
        },
    ),
    "the postings were lost": (
        "DELETE FROM billing_posting",
        {
            ("account.balance", "revenue", "balance -27, its postings sum to 0"),
            ("account.balance", "usage", "balance 27, its postings sum to 0"),
            ("record.credit", "req", "cost 27, credited to revenue 0 times, 0 in all"),
            ("record.debit", "req", "cost 27, debited to its organization 0 times, 0 in all"),
        },
    ),
    "the transaction was lost": (
        "DELETE FROM billing_ledger_transaction",
        {
            ("posting.without_transaction", "txn", "posting N belongs to no transaction of its time"),
            ("record.without_transaction", "req", "no ledger transaction carries its id and time"),
        },
    ),
    "the record was lost": (
        "DELETE FROM billing_usage_record",
        {
            ("transaction.without_record", "txn", "no usage record carries its id and time"),
            ("hour.sums", "hour", "hour minus records is 1 requests, 0 errors, 100 prompt_tokens, 20 completion_tokens, "
             "10 cached_tokens, 27 cost_micros, 800 latency_ms_sum, 200 first_token_ms_sum, 1 first_token_count"),
        },
    ),
    "the debit is on another organization": (
        f"UPDATE billing_ledger_account SET organization_id = '{NOWHERE}' WHERE kind = 'usage'",
        {("record.debit", "req", "cost 27, debited to its organization 0 times, 0 in all")},
    ),
    "an account was lost": (
        "DELETE FROM billing_ledger_account WHERE kind = 'usage'",
        {
            ("ledger.unbalanced", "USD", "all postings sum to -27"),
            ("ledger.unbalanced", "unknown account", "all postings sum to 27"),
            ("posting.without_account", "txn", "posting N is on an account that does not exist"),
            ("record.debit", "req", "cost 27, debited to its organization 0 times, 0 in all"),
        },
    ),
    "a balance is wrong": (
        "UPDATE billing_ledger_account SET balance_micros = 5 WHERE kind = 'usage'",
        {("account.balance", "usage", "balance 5, its postings sum to 27")},
    ),
    "an hour is wrong": (
        "UPDATE billing_usage_hour SET requests = requests + 2",
        {("hour.sums", "hour", "hour minus records is 2 requests, 0 errors, 0 prompt_tokens, 0 completion_tokens, "
          "0 cached_tokens, 0 cost_micros, 0 latency_ms_sum, 0 first_token_ms_sum, 0 first_token_count")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_named(name: str, tamper: Callable[[str], None]) -> None:
    entry = make_entry()
    record_usage([entry])
    subjects = {
        encode_id("req", entry.request_id): "req",
        encode_id("txn", entry.request_id): "txn",
        "gpt-4o-mini 2026-11-20T10Z": "hour",
        **{account.public_id: account.kind for account in LedgerAccount.objects.filter()},
    }
    posting_ids = [str(pk) for pk in Posting.objects.values_list("id", flat=True)]
    statement, expected = DEFECTS[name]
    tamper(statement)
    found = set()
    for finding in check_books().findings:
        detail = finding.detail.split(": ")[-1]
        for pk in posting_ids:
            detail = detail.replace(f"posting {pk} ", "posting N ")
        found.add((finding.defect, subjects.get(finding.subject, finding.subject), detail))
    assert found == expected


def test_a_call_that_was_recorded_with_two_times_is_named() -> None:
    entry = make_entry()
    record_usage([entry])
    record_usage([make_entry(request_id=entry.request_id, created_at=PLAIN.created_at + timedelta(seconds=1))])
    findings = check_books().findings
    assert [(f.defect, f.subject, f.detail) for f in findings if f.defect == "record.twice"] == [
        ("record.twice", encode_id("req", entry.request_id), "2 records carry this id")
    ]


def test_defects_are_listed_and_fail_the_command(capsys: pytest.CaptureFixture, tamper: Callable[[str], None]) -> None:
    record_usage([make_entry()])
    tamper("UPDATE billing_ledger_account SET balance_micros = 5 WHERE kind = 'usage'")
    account = LedgerAccount.objects.get(kind="usage")
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit) as left:
            call_command("ledger_check", *arguments)
        assert left.value.code == 1
    text, document = capsys.readouterr().out.split("\n{", 1)
    assert text == (
        f"account.balance {account.public_id}: balance 5, its postings sum to 27\n"
        "1 defects: 1 records, 0 adjustments, 1 transactions, 2 postings, 2 accounts"
    )
    found = json.loads("{" + document)
    assert (found["ok"], found["findings"]) == (
        False,
        [{"defect": "account.balance", "subject": account.public_id, "detail": "balance 5, its postings sum to 27"}],
    )


def test_what_is_shown_of_a_row() -> None:
    record_usage([make_entry(user_id=uuid7())])
    record, booked = UsageRecord.objects.get(), LedgerTransaction.objects.get()
    usage = LedgerAccount.objects.get(kind="usage")
    assert str(record) == record.public_id
    assert str(booked) == booked.public_id
    assert str(usage) == f"usage {usage.organization_id} (USD)"
    assert str(LedgerAccount.objects.get(kind="revenue")) == "revenue platform (USD)"
    assert str(Posting.objects.get(account=usage)) == f"+27 on {usage.id}"
    assert str(UsageHour.objects.get()) == "gpt-4o-mini 2026-11-20 10h"
