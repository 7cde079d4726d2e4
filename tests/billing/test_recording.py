"""A call is recorded once, with its debit, its hour and its balances, however often and by whomever it is sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from threading import Barrier
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from django.db.utils import DatabaseError

from apps.billing.models import LedgerAccount, LedgerTransaction, Posting, UsageHour, UsageRecord
from apps.billing.services import recording
from apps.billing.services.recording import UsageEntry, record_usage
from apps.core.ids import uuid7
from tests.factories.billing import PLAIN, make_entry

pytestmark = pytest.mark.django_db


def balances() -> dict[tuple[str, UUID | None, str], int]:
    rows = LedgerAccount.objects.values_list("kind", "organization_id", "currency", "balance_micros")
    return {(kind, organization, currency): micros for kind, organization, currency, micros in rows}


def test_a_call_becomes_a_record_with_everything_the_journal_said() -> None:
    entry = make_entry(
        end_user="u-1", error_code="upstream_timeout", status="error", http_status=504, team_id=uuid7(), tags=["a", "b:c"],
        service_tier="flex", cache_write_1h_tokens=3,
    )  # fmt: skip
    assert record_usage([entry]) == 1
    record = UsageRecord.objects.get()
    assert record.id == entry.request_id
    assert {name: getattr(record, name) for name in entry.__slots__ if name not in {"request_id", "lease_ids"}} == {
        name: getattr(entry, name) for name in entry.__slots__ if name not in {"request_id", "lease_ids"}
    }


def test_each_record_has_one_transaction_that_debits_the_organization() -> None:
    free, paid = make_entry(cost_micros=0), make_entry()
    record_usage([free, paid])
    usage = LedgerAccount.objects.get(kind="usage")
    revenue = LedgerAccount.objects.get(kind="revenue")
    assert (usage.organization_id, revenue.organization_id) == (PLAIN.organization_id, None)
    held = LedgerTransaction.objects.order_by("id").values_list("id", "created_at", "kind", "organization_id")
    assert list(held) == [
        (entry.request_id, entry.created_at, "usage", entry.organization_id) for entry in (free, paid)
    ]
    assert set(Posting.objects.values_list("transaction_id", "account_id", "amount_micros")) == {
        (free.request_id, usage.id, 0),
        (free.request_id, revenue.id, 0),
        (paid.request_id, usage.id, 27),
        (paid.request_id, revenue.id, -27),
    }
    assert (usage.balance_micros, revenue.balance_micros) == (27, -27)


def test_currencies_and_organizations_have_accounts_of_their_own() -> None:
    other = uuid7()
    record_usage([make_entry(), make_entry(organization_id=other, cost_micros=5), make_entry(currency="EUR")])
    assert balances() == {
        ("usage", PLAIN.organization_id, "USD"): 27,
        ("usage", PLAIN.organization_id, "EUR"): 27,
        ("usage", other, "USD"): 5,
        ("revenue", None, "USD"): -32,
        ("revenue", None, "EUR"): -27,
    }


def test_hours_hold_the_sums_per_key_model_and_hour() -> None:
    record_usage([make_entry(), make_entry(status="error", first_token_ms=None), make_entry(status="cancelled")])
    record_usage([make_entry(status="interrupted"), make_entry(created_at=PLAIN.created_at + timedelta(hours=1))])
    first, second = UsageHour.objects.order_by("hour")
    assert first.hour == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert (first.organization_id, first.user_id, first.api_key_id) == (
        PLAIN.organization_id, PLAIN.user_id, PLAIN.api_key_id,
    )  # fmt: skip
    assert (first.provider, first.model, first.currency) == ("openai", "gpt-4o-mini", "USD")
    assert (first.requests, first.errors) == (4, 2)
    assert (first.prompt_tokens, first.completion_tokens, first.cached_tokens) == (400, 80, 40)
    assert (first.cost_micros, first.latency_ms_sum) == (108, 3200)
    assert (first.first_token_ms_sum, first.first_token_count) == (600, 3)
    assert (second.hour, second.requests) == (datetime(2026, 11, 20, 11, tzinfo=UTC), 1)


def test_hours_are_those_of_utc_whatever_the_entry_or_session_says() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    record_usage([make_entry(created_at=datetime(2026, 11, 20, 0, 10, tzinfo=kathmandu))])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    assert UsageHour.objects.get().hour == datetime(2026, 11, 19, 18, tzinfo=UTC)


def test_calls_without_user_or_key_share_an_hour() -> None:
    record_usage([make_entry(user_id=None, api_key_id=None)])
    record_usage([make_entry(user_id=None, api_key_id=None)])
    assert UsageHour.objects.get().requests == 2


def test_recording_again_adds_nothing() -> None:
    entries = [make_entry(), make_entry()]
    assert record_usage(entries) == 2
    assert record_usage([*entries, make_entry(), entries[0]]) == 1
    assert record_usage(entries) == 0
    assert (UsageRecord.objects.count(), LedgerTransaction.objects.count(), Posting.objects.count()) == (3, 3, 6)
    assert UsageHour.objects.get().requests == 3
    assert balances()["usage", PLAIN.organization_id, "USD"] == 81


def test_the_same_call_twice_in_one_batch_counts_once() -> None:
    entry = make_entry()
    assert record_usage([entry, make_entry(), entry]) == 2
    assert UsageRecord.objects.count() == 2


def test_nothing_to_record_asks_nothing(django_assert_num_queries: Callable) -> None:
    with django_assert_num_queries(0):
        assert record_usage([]) == 0


@pytest.mark.django_db(transaction=True)
def test_a_batch_of_any_size_takes_the_same_number_of_statements(django_assert_num_queries: Callable) -> None:
    record_usage([make_entry()])
    with django_assert_num_queries(14):
        record_usage([make_entry()])
    with django_assert_num_queries(14):
        record_usage([make_entry(organization_id=uuid7()) for _ in range(50)])


def test_odd_values_are_cut_to_what_a_column_holds() -> None:
    odd = make_entry(
        end_user="a\0b\ud800" + "x" * 400, model="m" * 300, prompt_tokens=10**12, completion_tokens=-5,
        http_status=99_999, attempts=40_000, cost_micros=10**30,
    )  # fmt: skip
    assert record_usage([odd, make_entry(organization_id=uuid7())]) == 2
    record = UsageRecord.objects.get(id=odd.request_id)
    assert (record.end_user, record.model) == ("ab?" + "x" * 253, "m" * 200)
    assert (record.prompt_tokens, record.completion_tokens) == (2**31 - 1, 0)
    assert (record.http_status, record.attempts, record.cost_micros) == (
        2**15 - 1,
        2**15 - 1,
        recording.MAX_COST_MICROS,
    )


@pytest.mark.parametrize("failing", range(len(recording.AFTER_RECORDS)))
def test_a_writer_that_dies_between_statements_leaves_nothing_and_can_be_repeated(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [make_entry(), make_entry()]
    cut = (*recording.AFTER_RECORDS[:failing], "SELECT 1 / 0")
    with monkeypatch.context() as patch:
        patch.setattr(recording, "AFTER_RECORDS", cut)
        with pytest.raises(DatabaseError, match="division by zero"):
            record_usage(entries)
    left = [model.objects.count() for model in (UsageRecord, LedgerTransaction, Posting, UsageHour, LedgerAccount)]
    assert left == [0, 0, 0, 0, 0]
    assert record_usage(entries) == 2
    assert balances()["usage", PLAIN.organization_id, "USD"] == 54


@pytest.mark.django_db(transaction=True)
def test_many_writers_with_overlapping_batches_record_each_call_once() -> None:
    organizations, keys = [uuid7() for _ in range(4)], [uuid7() for _ in range(3)]
    random = Random(7)
    entries = [
        make_entry(
            organization_id=random.choice(organizations),
            api_key_id=random.choice(keys),
            cost_micros=random.randrange(50),
        )
        for _ in range(400)
    ]
    together = Barrier(6)

    def write(number: int) -> int:
        own = Random(number)
        try:
            together.wait(timeout=30)
            return sum(record_usage(own.sample(entries, 150)) for _ in range(8)) + record_usage(
                own.sample(entries, 400)
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=6) as pool:
        recorded = sum(pool.map(write, range(6)))
    cost = sum(entry.cost_micros for entry in entries)
    assert (recorded, UsageRecord.objects.count(), Posting.objects.count()) == (400, 400, 800)
    assert UsageHour.objects.aggregate(n=Sum("requests"), cost=Sum("cost_micros")) == {"n": 400, "cost": cost}
    assert {key: micros for key, micros in balances().items() if key[0] == "revenue"} == {
        ("revenue", None, "USD"): -cost
    }
    assert {organization: balances()["usage", organization, "USD"] for organization in organizations} == {
        organization: sum(e.cost_micros for e in entries if e.organization_id == organization)
        for organization in organizations
    }


@pytest.mark.django_db(transaction=True)
def test_a_writer_waits_for_another_that_records_the_same_call_and_takes_over_when_it_fails() -> None:
    entry = make_entry()

    def write(batch: list[UsageEntry]) -> int:
        try:
            return record_usage(batch)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=1) as pool:
        with transaction.atomic():
            assert record_usage([entry]) == 1
            other = pool.submit(write, [entry])
            _wait_until_somebody_waits_for_a_lock()
            transaction.set_rollback(True)
        assert other.result(timeout=30) == 1
    assert (UsageRecord.objects.count(), UsageHour.objects.get().requests) == (1, 1)


def _wait_until_somebody_waits_for_a_lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DO $$ BEGIN
                FOR i IN 1..3000 LOOP
                    PERFORM pg_stat_clear_snapshot();
                    IF EXISTS (SELECT 1 FROM pg_stat_activity
                               WHERE wait_event_type = 'Lock' AND datname = current_database()) THEN RETURN; END IF;
                    PERFORM pg_sleep(0.01);
                END LOOP;
                RAISE 'nobody waits';
            END $$
            """
        )


@pytest.mark.parametrize("table", ["billing_usage_record", "billing_ledger_transaction", "billing_posting"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {}", "TRUNCATE {}_default"]
)
def test_the_past_cannot_be_changed(table: str, statement: str) -> None:
    record_usage([make_entry()])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
    assert UsageRecord.objects.count() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM billing_ledger_account",
        "TRUNCATE billing_ledger_account",
        "UPDATE billing_ledger_account SET currency = 'EUR'",
    ],
)
def test_an_account_stays_what_it_is(statement: str) -> None:
    record_usage([make_entry()])
    with pytest.raises(DatabaseError, match="stays what it is"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert LedgerAccount.objects.filter(currency="USD").count() == 2


def test_postings_that_do_not_sum_to_zero_are_refused() -> None:
    record_usage([make_entry()])
    account = LedgerAccount.objects.get(kind="usage")
    lame = Posting(transaction_id=uuid7(), created_at=PLAIN.created_at, account=account, amount_micros=1)
    with pytest.raises(DatabaseError, match="do not sum to zero"), transaction.atomic():
        Posting.objects.bulk_create([lame])
    assert Posting.objects.count() == 2
