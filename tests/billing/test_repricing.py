"""Calls are charged anew by the prices of their times: exactly once, whoever runs how often and is killed when."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections

from apps.billing.models import (
    Adjustment,
    Budget,
    BudgetPeriod,
    LedgerAccount,
    LedgerTransaction,
    Price,
    Repricing,
    UsageHour,
    UsageRecord,
)
from apps.billing.selectors.books import check_books
from apps.billing.selectors.budget_check import check_budgets
from apps.billing.services import repricing
from apps.billing.services.recording import record_usage
from apps.billing.services.repricing import RepricingReport, Scope, reprice_usage
from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.events.models import Event
from tests.factories.billing import PriceFactory, make_entry

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCOPE = Scope(since=START, until=START + timedelta(days=1))
PRICED = {"provider": "openai", "model": "gpt-4o-mini-2024-07-18"}  # 90 + 10 cached and 20 tokens: 26.25, hence 26


def reprice(scope: Scope = SCOPE, **changes: object) -> RepricingReport:
    return reprice_usage(**{"scope": scope, "actor": system_actor(), **changes})


def hours() -> int:
    return sum(UsageHour.objects.values_list("cost_micros", flat=True))


def test_what_a_price_says_differently_becomes_an_adjustment_and_is_booked() -> None:
    PriceFactory(**PRICED)
    entry = make_entry()
    record_usage([entry, make_entry(cost_micros=26), make_entry(provider="other")])
    report = reprice()
    [made] = Adjustment.objects.order_by("id")
    record = UsageRecord.objects.get(id=entry.request_id)
    assert (made.record_id, made.created_at, made.revision) == (record.id, record.created_at, 1)
    assert (made.old_cost_micros, made.new_cost_micros, made.amount_micros) == (27, 26, -1)
    assert (made.price_id, made.repricing_id) == (Price.objects.get().id, report.repricing_id)
    booked = LedgerTransaction.objects.get(kind="adjustment")
    assert (booked.id, booked.created_at, booked.organization_id) == (made.id, made.created_at, made.organization_id)
    assert sorted(LedgerAccount.objects.values_list("kind", "balance_micros")) == [("revenue", -79), ("usage", 79)]
    assert (record.cost_micros, hours()) == (27, 79)
    assert check_books().findings == []
    totals = {name: report.total(name) for name in ("records", "adjusted", "unpriced")}
    assert totals == {"records": 3, "adjusted": 1, "unpriced": 1}
    assert str(made) == made.public_id


def test_a_second_run_finds_nothing_and_a_new_price_adjusts_from_where_the_last_left() -> None:
    price = PriceFactory(**PRICED)
    record_usage([make_entry()])
    assert [reprice().total("adjusted") for _ in range(2)] == [1, 0]
    Price.objects.filter(id=price.id).update(input_micros=0, cached_micros=0)
    reprice()
    Price.objects.filter(id=price.id).update(input_micros=150_000, cached_micros=75_000)
    reprice()
    found = Adjustment.objects.order_by("revision").values_list("revision", "old_cost_micros", "new_cost_micros")
    assert list(found) == [(1, 27, 26), (2, 26, 12), (3, 12, 26)]
    assert (hours(), check_books().findings) == (26, [])


def test_each_call_costs_by_the_price_tier_and_length_of_its_own_time() -> None:
    PriceFactory(**PRICED, input_micros=1_000_000, output_micros=0, cached_micros=1_000_000)
    PriceFactory(
        **PRICED, input_micros=2_000_000, output_micros=0, cached_micros=2_000_000, valid_from=START + HOUR,
        long_after_tokens=1000, long_input_micros=4_000_000, long_cached_micros=4_000_000,
    )  # fmt: skip
    PriceFactory(**PRICED, service_tier="batch", input_micros=500_000, output_micros=0, cached_micros=500_000)
    calls = [
        make_entry(created_at=START + HOUR - timedelta(microseconds=1)),
        make_entry(created_at=START + HOUR),
        make_entry(created_at=START + HOUR, service_tier="batch"),
        make_entry(created_at=START + HOUR, service_tier="flex"),
        make_entry(created_at=START + HOUR, prompt_tokens=1001),
    ]
    record_usage(calls)
    reprice()
    costs = {made.record_id: made.new_cost_micros for made in Adjustment.objects.order_by("id")}
    assert [costs[call.request_id] for call in calls] == [100, 200, 50, 200, 4004]


def test_only_what_was_asked_for_is_looked_at() -> None:
    PriceFactory(**PRICED)
    PriceFactory(provider="openai", model="other")
    record_usage(
        [
            make_entry(created_at=START - timedelta(microseconds=1)),
            make_entry(created_at=START),
            make_entry(created_at=SCOPE.until),
            make_entry(created_at=START, model="renamed", upstream_model="other"),
            make_entry(created_at=START, provider="elsewhere"),
        ]
    )
    looked_at = {
        name: reprice(Scope(since=START, until=SCOPE.until, **kept), is_dry_run=True).total("records")
        for name, kept in {
            "all": {}, "provider": {"provider": "openai"}, "model": {"model": "renamed"}, "upstream": {"model": "other"},
        }.items()
    }  # fmt: skip
    assert looked_at == {"all": 3, "provider": 2, "model": 1, "upstream": 1}


def test_budgets_follow() -> None:
    PriceFactory(**PRICED)
    organization, person = uuid7(), uuid7()
    own = {"organization_id": organization, "user_id": person, "tags": ("a", "b")}
    for scope, subject in (("organization", ""), ("user", str(person)), ("tag", ""), ("key", str(uuid7()))):
        Budget.objects.create(
            organization_id=organization, name=scope, scope=scope, subject=subject, window="month", hard_micros=10**9
        )
    Budget.objects.update(created_at=START - timedelta(days=300))
    record_usage([make_entry(**own), make_entry(**own), make_entry(organization_id=organization)])
    assert reprice().total("adjusted") == 3
    periods = BudgetPeriod.objects.order_by("budget__scope", "subject")
    assert list(periods.values_list("budget__scope", "subject", "spent_micros")) == [
        ("organization", "", 78), ("tag", "a", 52), ("tag", "b", 52), ("user", str(person), 52),
    ]  # fmt: skip
    assert check_budgets().findings == []


def test_a_dry_run_says_what_would_change_and_writes_nothing() -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry() for _ in range(3)])
    [found] = reprice(is_dry_run=True).models.values()
    assert (found.records, found.adjusted, found.old_cost_micros, found.new_cost_micros) == (3, 3, 81, 78)
    assert (Adjustment.objects.exists(), Repricing.objects.exists(), Event.objects.exists(), hours()) == (
        False, False, False, 81,
    )  # fmt: skip


def test_a_run_is_told_of_when_it_is_over() -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry() for _ in range(3)])
    report = reprice()
    run = Repricing.objects.get()
    assert (run.id, run.records, run.adjusted, run.amount_micros) == (report.repricing_id, 3, 3, -3)
    assert run.finished_at is not None
    assert str(run) == "2026-11-20 to 2026-11-21"
    event = Event.objects.get(type="usage.repriced")
    assert (event.aggregate_id, event.payload["adjusted"], event.payload["amount_micros"]) == (run.id, 3, -3)


def test_a_run_that_is_killed_between_batches_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry(created_at=START + n * HOUR) for n in range(5)])
    monkeypatch.setattr(repricing, "BATCH", 2)
    told: list[tuple[int, int]] = []

    def die_after_two_batches(records: int, adjusted: int) -> None:
        told.append((records, adjusted))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reprice(on_progress=die_after_two_batches)
    assert told == [(2, 2), (4, 4)]
    stopped = Repricing.objects.get()
    assert (stopped.finished_at, stopped.adjusted, Adjustment.objects.count()) == (None, 4, 4)
    assert (check_books().findings, Event.objects.filter(type="usage.repriced").count()) == ([], 0)
    assert reprice().total("adjusted") == 1
    assert (hours(), check_books().findings) == (130, [])


@pytest.mark.parametrize("step", range(9))
def test_a_batch_is_all_or_nothing(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry()])
    statements = list(repricing.AFTER_ADJUSTMENTS)
    statements.insert(step, "SELECT 1 / 0")
    monkeypatch.setattr(repricing, "AFTER_ADJUSTMENTS", statements)
    with pytest.raises(DatabaseError, match="division by zero"):
        reprice()
    assert (Adjustment.objects.count(), hours(), check_books().findings) == (0, 27, [])


@pytest.mark.django_db(transaction=True)
def test_runs_beside_each_other_and_beside_recording_adjust_each_call_once(monkeypatch: pytest.MonkeyPatch) -> None:
    PriceFactory(**PRICED)
    organizations = [uuid7() for _ in range(3)]
    calls = [
        make_entry(organization_id=organizations[n % 3], created_at=START + n * timedelta(minutes=7)) for n in range(60)
    ]
    record_usage(calls)
    monkeypatch.setattr(repricing, "BATCH", 7)

    def work(task: Callable[[], object]) -> None:
        try:
            task()
        finally:
            connections.close_all()

    late = [make_entry(organization_id=organizations[n % 3], cost_micros=26) for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(work, reprice) for _ in range(3)]
        runs.append(pool.submit(work, lambda: [record_usage(late[n : n + 5]) for n in range(0, 40, 5)]))
        for run in runs:
            run.result(timeout=60)
    assert (Adjustment.objects.count(), hours()) == (60, 26 * 100)
    assert check_books().findings == []


@pytest.mark.parametrize(
    ("statement", "defect", "detail"),
    [
        ("DELETE FROM billing_ledger_transaction WHERE kind = 'adjustment'", "adjustment.without_transaction",
         "no ledger transaction carries its id and time"),
        ("DELETE FROM billing_adjustment", "transaction.without_adjustment", "no adjustment carries its id and time"),
        ("UPDATE billing_adjustment SET new_cost_micros = 28, amount_micros = 1", "adjustment.debit",
         "amount 1, debited to its organization 1 times, -1 in all"),
        ("UPDATE billing_adjustment SET new_cost_micros = 28, amount_micros = 1", "adjustment.credit",
         "amount 1, credited to revenue 1 times, 1 in all"),
        ("UPDATE billing_adjustment SET old_cost_micros = 30, new_cost_micros = 29", "adjustment.chain",
         "adjustment 1 of its record begins at 30, not at 27"),
    ],
)  # fmt: skip
def test_the_checker_names_what_is_wrong_with_adjustments(statement: str, defect: str, detail: str) -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry()])
    reprice()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    found = {finding.defect: finding.detail for finding in check_books().findings}
    assert found[defect] == detail


def test_adjustments_are_append_only() -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry()])
    reprice()
    with pytest.raises(DatabaseError, match="append-only"):
        Adjustment.objects.update(amount_micros=0)


def run(*arguments: str) -> tuple[str, str]:
    out, progress = io.StringIO(), io.StringIO()
    call_command("reprice", "--from", "2026-11-20", "--to", "2026-11-21", *arguments, stdout=out, stderr=progress)
    return out.getvalue(), progress.getvalue()


@pytest.mark.parametrize(("wanted", "said"), [("--provider", "provider 'nope'"), ("--model", "model 'nope'")])
def test_a_name_that_nobody_called_is_told(wanted: str, said: str) -> None:
    record_usage([make_entry()])
    assert f"No call of {said} was made in that time" in run(wanted, "nope")[1]
    assert "No call" not in run()[1]


def test_the_command_tells_the_totals_of_each_model() -> None:
    PriceFactory(**PRICED)
    record_usage([make_entry(), make_entry(provider="other", upstream_model="x")])
    assert run("--dry-run") == (
        "openai/gpt-4o-mini-2024-07-18: 1 of 1 records differ, 0.000027 becomes 0.000026\n"
        "other/x: 0 of 1 records differ; 1 had no price at their time and stay\n"
        "1 of 2 records would be adjusted, -0.000001 in all\n",
        "2 records looked at, 1 differ\n",
    )
    document = json.loads(run("--json", "--provider", "openai")[0])
    assert document == {
        "dry_run": False, "repricing": Repricing.objects.get().public_id, "records": 1, "unpriced": 0, "adjusted": 1,
        "old_cost_micros": 27, "new_cost_micros": 26,
        "models": [{
            "provider": "openai", "model": "gpt-4o-mini-2024-07-18", "records": 1, "unpriced": 0, "adjusted": 1,
            "old_cost_micros": 27, "new_cost_micros": 26,
        }],
    }  # fmt: skip
    assert json.loads(run("--json", "--dry-run")[0])["repricing"] is None


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(CommandError, match="--from must lie before --to"):
        call_command("reprice", "--from", "2026-11-20", "--to", "2026-11-20")
    with pytest.raises(CommandError, match="is not an ISO 8601 date or time"):
        call_command("reprice", "--from", "yesterday")
