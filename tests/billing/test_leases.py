"""Quota is leased, spent and given back; what is spent and leased together never passes the limit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Barrier, Lock
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import F, Sum
from django.utils import timezone

from apps.billing.models import Budget, BudgetHolder, BudgetLease, BudgetPeriod, UsageRecord
from apps.billing.selectors.budget_matching import window_of
from apps.billing.services import leases
from apps.billing.services.leases import (
    Ask,
    HolderGone,
    Leased,
    PeriodKey,
    find_recalled,
    lease_quota,
    release_expired,
    release_holder,
    renew_holder,
)
from apps.billing.services.recording import record_usage
from tests.factories.billing import PLAIN, BudgetFactory, make_entry

pytestmark = pytest.mark.django_db

AT = PLAIN.created_at


def key_of(budget: Budget, subject: str = "", at: datetime = AT) -> PeriodKey:
    return PeriodKey(budget.id, subject, *window_of(budget.window, at))


class Process:
    """What a process does with leases."""

    def __init__(self) -> None:
        self.holder = uuid4()
        self.turn = 0

    def lease(
        self,
        *asks: dict[PeriodKey, int],
        wishes: dict[PeriodKey, int] | None = None,
        returns: dict[PeriodKey, int] | None = None,
    ) -> Leased:
        self.turn += 1
        keys = {key for ask in asks for key in ask} | set(wishes or ()) | set(returns or ())
        return lease_quota(
            holder=self.holder,
            turn=self.turn,
            is_new=self.turn == 1,
            asks=[Ask(tuple(ask.items())) for ask in asks],
            wishes=wishes or {},
            returns=returns or {},
            opens=keys,
        )


def figures() -> tuple[int, int]:
    period = BudgetPeriod.objects.get()
    return period.spent_micros, period.leased_micros


def test_calls_are_granted_in_order_until_the_limit_and_not_a_micro_unit_further() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    answer = Process().lease({key: 400}, {key: 600}, {key: 1})
    assert answer.refused_by == [None, None, key]
    assert figures() == (0, 1000)
    state = answer.states[key]
    assert (state.amount_micros, state.net_micros, state.leased_micros, state.limit_micros) == (1000, 1000, 1000, 1000)
    assert (state.of_others_micros, state.is_scarce) == (0, True)


def test_a_call_takes_from_all_its_budgets_or_from_none() -> None:
    wide, narrow = key_of(BudgetFactory(hard_micros=1000)), key_of(BudgetFactory(hard_micros=100))
    answer = Process().lease({wide: 200, narrow: 200}, {wide: 900, narrow: 50})
    assert answer.refused_by == [narrow, None]
    assert {key: state.leased_micros for key, state in answer.states.items()} == {wide: 900, narrow: 50}


def test_a_little_is_leased_in_advance_while_there_is_plenty() -> None:
    key = key_of(BudgetFactory(hard_micros=100_000))
    state = Process().lease({key: 100}, wishes={key: 10_000_000}).states[key]
    assert (state.amount_micros, state.is_scarce) == (100 + 99_900 // leases.SHARE, False)


def test_near_the_limit_nothing_is_leased_in_advance() -> None:
    key = key_of(BudgetFactory(hard_micros=3000))
    state = Process().lease({key: 100}, wishes={key: 1000}).states[key]
    assert (state.amount_micros, state.is_scarce) == (100, True)


def test_what_is_idle_goes_back_to_all() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    first, second = Process(), Process()
    first.lease({key: 1000})
    assert second.lease({key: 300}).refused_by == [key]
    state = first.lease(returns={key: 300}).states[key]
    assert (state.amount_micros, state.net_micros) == (700, 700)
    assert second.lease({key: 300}).refused_by == [None]
    assert figures() == (0, 1000)


def test_what_others_hold_is_recalled_when_it_would_be_enough() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    Process().lease({key: 900})
    answer = Process().lease({key: 200})
    assert answer.recalled == [BudgetPeriod.objects.get().id]
    assert find_recalled([*answer.recalled, 0]) == answer.recalled


def test_nothing_is_recalled_when_too_much_is_spent_or_when_nobody_else_holds_anything() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    alone = Process()
    alone.lease({key: 900})
    assert alone.lease({key: 200}).recalled == []
    record_usage([make_entry(cost_micros=950)])
    answer = Process().lease({key: 100})
    assert (answer.refused_by, answer.recalled, find_recalled([BudgetPeriod.objects.get().id])) == ([key], [], [])


def test_a_temporary_increase_counts_until_it_ends() -> None:
    budget = BudgetFactory(hard_micros=1000, boost_micros=500, boost_until=timezone.now() + timedelta(hours=1))
    assert Process().lease({key_of(budget): 1500}).refused_by == [None]
    Budget.objects.update(boost_until=timezone.now() - timedelta(seconds=1))
    assert Process().lease({key_of(budget): 1}).states[key_of(budget)].limit_micros == 1000


@pytest.mark.parametrize("fields", [{"is_active": False}, {"hard_micros": None, "soft_micros": 10}])
def test_what_has_no_hard_limit_bounds_nothing(fields: dict) -> None:
    key = key_of(BudgetFactory(**fields))
    answer = Process().lease({key: 10**9}, wishes={key: 10})
    assert (answer.refused_by, answer.states[key].limit_micros) == ([None], None)
    assert figures() == (0, 10**9)


def test_a_budget_that_is_gone_bounds_nobody() -> None:
    key = key_of(BudgetFactory())
    Budget.objects.all().delete()
    answer = Process().lease({key: 10**9})
    assert (answer.refused_by, answer.states) == ([None], {})


def test_a_transaction_that_was_overtaken_changes_nothing() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    process = Process()
    process.lease({key: 100})
    process.turn = 0
    with pytest.raises(HolderGone):
        lease_quota(
            holder=process.holder, turn=1, is_new=False, asks=[Ask(((key, 100),))], wishes={}, returns={}, opens=[]
        )
    assert figures() == (0, 100)


def test_recording_moves_the_cost_from_leased_to_spent_once() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    lease_id = Process().lease({key: 100}).states[key].lease_id
    entry = make_entry(lease_ids=(lease_id,))
    record_usage([entry])
    assert figures() == (27, 73)
    record_usage([entry])
    assert figures() == (27, 73)
    assert BudgetLease.objects.get().amount_micros == 73


def test_a_call_that_costs_more_than_was_left_of_its_lease_is_spent_all_the_same() -> None:
    key = key_of(BudgetFactory(hard_micros=100))
    lease_id = Process().lease({key: 20}).states[key].lease_id
    record_usage([make_entry(lease_ids=(lease_id,)), make_entry(lease_ids=(lease_id,), cost_micros=90)])
    assert figures() == (117, 0)


def test_a_call_counts_for_every_budget_that_it_concerns_and_for_no_other() -> None:
    theirs = BudgetFactory(organization_id=uuid4())
    budgets = {
        "organization": BudgetFactory(),
        "soft": BudgetFactory(hard_micros=None, soft_micros=5),
        "user": BudgetFactory(scope="user", subject=str(PLAIN.user_id)),
        "each user": BudgetFactory(scope="user"),
        "another user": BudgetFactory(scope="user", subject=str(uuid4())),
        "key": BudgetFactory(scope="key"),
        "end user": BudgetFactory(scope="end_user"),
        "tag": BudgetFactory(scope="tag"),
        "one tag": BudgetFactory(scope="tag", subject="b"),
        "model": BudgetFactory(scope="model", subject="gpt-4o-mini"),
        "of a model": BudgetFactory(model="gpt-4o-mini"),
        "of another model": BudgetFactory(model="gpt-5"),
        "another currency": BudgetFactory(currency="EUR"),
        "team": BudgetFactory(scope="team"),
    }
    record_usage([make_entry(end_user="eve", tags=("a", "b")), make_entry(end_user="", tags=("b",), user_id=None)])
    spent = {
        (name, period.subject): period.spent_micros
        for name, budget in budgets.items()
        for period in budget.periods.all()
    }
    assert spent == {
        ("organization", ""): 54,
        ("soft", ""): 54,
        ("user", str(PLAIN.user_id)): 27,
        ("each user", str(PLAIN.user_id)): 27,
        ("key", str(PLAIN.api_key_id)): 54,
        ("end user", "eve"): 27,
        ("tag", "a"): 27,
        ("tag", "b"): 54,
        ("one tag", "b"): 54,
        ("model", "gpt-4o-mini"): 54,
        ("of a model", ""): 54,
    }
    assert not theirs.periods.exists()


@pytest.mark.parametrize(
    ("window", "starts_at", "ends_at"),
    [
        ("day", datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)),
        ("week", datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)),
        ("month", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("total", datetime(1970, 1, 1, tzinfo=UTC), None),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc_for_callers_and_records_alike(
    window: str, starts_at: datetime, ends_at: datetime | None
) -> None:
    budget = BudgetFactory(window=window)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    record_usage([make_entry()])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    period = BudgetPeriod.objects.get()
    assert (period.starts_at, period.ends_at) == (starts_at, ends_at)
    assert window_of(budget.window, AT) == (starts_at, ends_at)


def test_a_lease_of_another_window_is_freed_where_it_was_taken() -> None:
    budget = BudgetFactory(window="day")
    key = key_of(budget)
    lease_id = Process().lease({key: 100}).states[key].lease_id
    record_usage([make_entry(created_at=AT + timedelta(days=1), lease_ids=(lease_id,))])
    periods = BudgetPeriod.objects.order_by("starts_at").values_list("spent_micros", "leased_micros")
    assert list(periods) == [(0, 73), (27, 0)]


def test_a_dead_process_is_released_only_after_a_second_chance() -> None:
    key = key_of(BudgetFactory(hard_micros=1000))
    dead, living = Process(), Process()
    dead.lease({key: 100})
    living.lease({key: 50})
    BudgetHolder.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert (release_expired(), figures()) == (0, (0, 150))
    renew_holder(holder=living.holder, turn=2)
    BudgetHolder.objects.filter(condemned_at__isnull=False).update(
        condemned_at=F("condemned_at") - timedelta(minutes=2)
    )
    assert (release_expired(), figures()) == (1, (0, 50))
    with pytest.raises(HolderGone):
        renew_holder(holder=dead.holder, turn=2)
    renew_holder(holder=living.holder, turn=3)


def test_one_that_comes_back_while_it_is_being_released_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(BudgetFactory())
    process = Process()
    process.lease({key: 100})
    BudgetHolder.objects.update(condemned_at=timezone.now() - timedelta(hours=1))
    release = leases._release_condemned

    def come_back_first(holder: UUID) -> int:
        renew_holder(holder=holder, turn=2)
        return release(holder)

    monkeypatch.setattr(leases, "_release_condemned", come_back_first)
    assert release_expired() == 0
    assert figures() == (0, 100)


def test_a_record_whose_lease_is_gone_adds_to_what_is_spent() -> None:
    key = key_of(BudgetFactory())
    process = Process()
    lease_id = process.lease({key: 100}).states[key].lease_id
    assert release_holder(holder=process.holder) == 1
    record_usage([make_entry(lease_ids=(lease_id,))])
    assert figures() == (27, 0)


@pytest.mark.django_db(transaction=True)
def test_processes_that_lease_return_and_record_at_once_never_pass_the_limits_and_never_wait_in_a_circle() -> None:
    budgets = [
        BudgetFactory(hard_micros=limit, scope=scope) for limit, scope in ((40_000, "organization"), (9_000, "tag"))
    ]
    tags = ("a", "b", "c")
    together, guard, worst = Barrier(5), Lock(), [0]

    def watch() -> None:
        for spent, leased, limit in BudgetPeriod.objects.values_list(
            "spent_micros", "leased_micros", "budget__hard_micros"
        ):
            with guard:
                worst[0] = max(worst[0], spent + leased - limit)

    def work(number: int) -> int:
        random, process, spent = Random(number), Process(), 0
        try:
            together.wait(timeout=30)
            for _ in range(25):
                own = tuple(random.sample(tags, 2))
                keys = [key_of(budgets[0]), *(key_of(budgets[1], tag) for tag in own)]
                reserve = random.randrange(100, 600)
                answer = process.lease(dict.fromkeys(keys, reserve))
                watch()
                if answer.refused_by != [None]:
                    continue
                cost = random.randrange(reserve + 1)
                charges = tuple(answer.states[key].lease_id for key in keys)
                record_usage([make_entry(cost_micros=cost, tags=own, lease_ids=charges)])
                process.lease(returns=dict.fromkeys(keys, reserve - cost))
                spent += cost
            return spent
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=5) as pool:
        spent = sum(pool.map(work, range(5)))
    assert worst[0] <= 0
    assert budgets[0].periods.get().spent_micros == spent == UsageRecord.objects.aggregate(s=Sum("cost_micros"))["s"]
    assert BudgetPeriod.objects.aggregate(left=Sum("leased_micros"))["left"] == 0
    assert BudgetLease.objects.filter(amount_micros=0).count() == BudgetLease.objects.count()


def test_an_idle_renewal_takes_two_statements(django_assert_num_queries: Callable) -> None:
    process = Process()
    process.lease()
    with django_assert_num_queries(3):
        renew_holder(holder=process.holder, turn=2)
