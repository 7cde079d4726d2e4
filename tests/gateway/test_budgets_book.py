"""What a process holds of budgets: nothing is ever spent that was not leased, whatever answers are lost."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest

from apps.billing.services.leases import HOLD_SECONDS, HolderGone
from apps.gateway.runtime.lease_book import LeaseBook, Period, Reservation, Waiting, Wanted
from apps.gateway.selectors.budgets import BudgetTerms
from tests.support.bank import Bank, Lost

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z
TERMS = BudgetTerms(UUID(int=1), "Team", "organization", "", "", "day")
OTHER = BudgetTerms(UUID(int=2), "Key", "key", "k", "", "total")


class Process:
    """A book over a bank, with clocks of its own."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.now = 100.0
        self.wall = NOON
        self.book = LeaseBook(clock=lambda: self.now, wall=lambda: self.wall)
        self.wanted: Wanted = ((TERMS, ""),)

    @property
    def period(self) -> Period:
        return self.book.periods_for(self.wanted)[0]

    def take(self, micros: int) -> Reservation | None:
        return self.book.reserve(self.book.periods_for(self.wanted), micros)

    def flush(self, *amounts: int, everything: bool = False) -> list[Reservation | None]:
        plan = self.book.plan(
            [Waiting(self.wanted, micros, None, least=lambda: 0) for micros in amounts], everything=everything
        )
        try:
            answer = self.bank.lease(
                holder=self.book.holder, turn=self.book.turn, is_new=not self.book.is_registered, asks=plan.asks,
                wishes=plan.wishes, returns=plan.returns,
            )  # fmt: skip
        except Lost:
            self.book.failed(plan)
            raise
        return [reservation for _, reservation, _ in self.book.apply(plan, answer)]


def test_calls_take_what_is_held_without_asking_and_ask_for_the_rest() -> None:
    process = Process(Bank(1000))
    assert process.take(100) is None
    first, second = process.flush(100, 200)
    assert (first.micros, second.micros, process.period.free, process.period.reserved) == (100, 200, 0, 300)
    first.settle(40)
    assert (process.period.free, process.period.reserved) == (60, 200)
    assert process.take(60).charges == first.charges == [1]
    assert process.bank.transactions == 1


def test_a_call_settles_once() -> None:
    process = Process(Bank(1000))
    (reservation,) = process.flush(100)
    assert (reservation.settle(130), reservation.settle(0)) == (30, 0)
    assert (process.period.free, process.period.reserved) == (-30, 0)


def test_what_was_spent_beyond_the_reserve_is_leased_with_the_next_call() -> None:
    process = Process(Bank(1000, share=0))
    process.flush(100)[0].settle(130)
    process.flush(50)
    assert process.bank.leased(process.period.key) == 180
    assert process.period.free == 0


def test_what_was_set_aside_for_a_refused_call_is_free_again() -> None:
    process = Process(Bank(1000))
    process.flush(900)[0].settle(0)
    process.period.recalled_until = float("inf")
    assert process.flush(1001) == [None]
    process.period.recalled_until = 0
    assert process.bank.leased(process.period.key) == process.period.free + process.period.doubt


def test_what_is_idle_goes_back_after_a_second_and_at_once_near_the_limit() -> None:
    process = Process(Bank(100_000))
    process.flush(1000)[0].settle(0)
    process.book.tick()
    process.now += 1.1
    assert process.book.tick()
    process.flush()
    assert (process.period.free, process.bank.leased(process.period.key)) == (0, 0)
    scarce = Process(Bank(1000))
    (reservation,) = scarce.flush(1000)
    woken = []
    scarce.book.on_freed = lambda: woken.append(True)
    reservation.settle(400)
    assert woken == [True]
    scarce.flush()
    assert scarce.bank.leased(scarce.period.key) == 400


def test_what_is_recalled_goes_back_at_once_and_nothing_is_leased_in_advance() -> None:
    process = Process(Bank(100_000))
    process.flush(1000)[0].settle(0)
    assert process.book.recall(period_ids=[7, 1])
    assert process.book.held_ids() == [1]
    process.flush()
    assert not process.book.recall(budget_id=TERMS.budget_id)
    assert process.book.held_ids() == []
    process.period.rate = 5000.0
    process.flush(10)
    assert process.bank.leased(process.period.key) == 10


def test_a_second_of_the_present_spending_is_leased_in_advance() -> None:
    process = Process(Bank(10_000_000))
    process.flush(1000)[0].settle(1000)
    process.book.tick()
    assert process.period.rate == pytest.approx(1200.0)
    process.flush(1000)
    assert process.period.free == 1200


def test_a_process_keeps_no_more_than_two_seconds_of_its_spending() -> None:
    process = Process(Bank(10_000_000))
    process.flush(100_000)[0].settle(0)
    process.period.rate, process.period.taken = 1000.0, 250
    process.book.tick()
    process.flush()
    assert process.period.free == 2000


def test_a_new_window_begins_with_nothing_and_the_rest_of_the_old_one_goes_back() -> None:
    process = Process(Bank(1000))
    (running,) = process.flush(500)
    old = process.period
    assert running.latest_at == NOON + 12 * 3600
    process.wall += 12 * 3600
    assert process.take(1) is None
    assert process.period is not old
    running.settle(100)
    process.flush()
    assert process.bank.leased(old.key) == 100


def test_every_budget_of_a_call_is_charged_or_none() -> None:
    process = Process(Bank(1000, share=0))
    process.wanted = ((TERMS, ""), (OTHER, "k"))
    (reservation,) = process.flush(300)
    assert len(reservation.charges) == 2
    reservation.settle(100)
    process.wanted = ((TERMS, ""),)
    process.flush(200)[0].settle(200)
    process.wanted = ((TERMS, ""), (OTHER, "k"))
    assert process.take(200) is None
    assert [period.free for period in process.book.periods_for(process.wanted)] == [0, 200]


def test_a_budget_that_is_gone_bounds_nobody() -> None:
    process = Process(Bank(1000))
    plan = process.book.plan([Waiting(process.wanted, 5000, None, least=lambda: 0)])
    answer = process.bank.lease(holder=process.book.holder, turn=1, is_new=True, asks=[], wishes={}, returns={})
    answer.refused_by.append(None)
    ((_, reservation, _),) = process.book.apply(plan, answer)
    assert (reservation.charges, reservation.latest_at) == ([], float("inf"))
    assert reservation.settle(5000) == 0


@pytest.mark.parametrize("lost", ["answer", "transaction"])
def test_a_lease_whose_answer_was_lost_is_found_with_the_next_one(lost: str) -> None:
    process = Process(Bank(1000))
    process.bank.loses = lost
    with pytest.raises(Lost):
        process.flush(400)
    assert process.take(1) is None
    process.bank.loses = ""
    assert process.book.tick()
    process.flush(100)
    held = process.bank.leased(process.period.key)
    assert process.period.free + process.period.reserved + process.period.doubt == held


@pytest.mark.parametrize("lost", ["answer", "transaction"])
def test_what_was_being_given_back_is_spent_by_nobody_until_its_fate_is_known(lost: str) -> None:
    process = Process(Bank(1000))
    process.flush(400)[0].settle(0)
    process.bank.loses = lost
    with pytest.raises(Lost):
        process.flush(everything=True)
    assert process.take(1) is None
    process.bank.loses = ""
    process.flush()
    process.flush(everything=True)
    assert (process.period.free, process.bank.leased(process.period.key)) == (0, 0)


def test_one_that_was_taken_for_dead_begins_anew_with_nothing() -> None:
    process = Process(Bank(1000))
    (running,) = process.flush(400)
    process.bank.gone.add(process.book.holder)
    with pytest.raises(HolderGone):
        process.flush(10)
    process.book.reset()
    running.settle(100)
    assert process.take(1) is None
    assert process.flush(10)[0].charges != running.charges


def test_what_nobody_confirmed_for_long_is_not_trusted() -> None:
    process = Process(Bank(1000))
    process.flush(400)[0].settle(0)
    holder = process.book.holder
    process.now += HOLD_SECONDS + 1
    assert process.take(1) is None
    assert process.book.holder != holder


def test_a_holder_is_renewed_while_it_is_known() -> None:
    process = Process(Bank(1000))
    process.flush(400)
    process.now += 5.1
    assert process.book.tick()
    process.flush()
    assert not process.book.tick()


def test_a_period_that_has_too_little_left_is_known_to_for_a_second() -> None:
    process = Process(Bank(1000, share=0))
    process.flush(300)
    process.bank.record(process.period.key, process.book.holder, 300)
    process.flush(800)
    assert process.period.refuses(701, process.now)
    assert not process.period.refuses(700, process.now)
    assert not process.period.refuses(701, process.now + 1.1)
    assert process.period.left == 700
    process.bank.limit = None
    process.flush(5)
    assert not process.period.refuses(10**9, process.now)
    assert process.period.left is None


def test_over_thousands_of_calls_and_lost_answers_nothing_passes_the_limit_and_nothing_is_left_over() -> None:
    random, bank = Random(5), Bank(50_000, share=8)
    processes = [Process(bank) for _ in range(3)]
    running: list[tuple[Process, Reservation]] = []
    key = processes[0].period.key
    for _ in range(6000):
        process = random.choice(processes)
        process.now += 0.05
        bank.loses = random.choice(["", "", "", "answer", "transaction"])
        action = random.random()
        try:
            if action < 0.45:
                micros = random.randrange(1, 400)
                reservation = process.take(micros) or process.flush(micros)[0]
                running += [(process, reservation)] if reservation else []
            elif action < 0.9 and running:
                process, reservation = running.pop(random.randrange(len(running)))
                cost = random.randrange(reservation.micros + 1) // 20
                reservation.settle(cost)
                bank.record(key, process.book.holder, cost)
            elif process.book.tick():
                process.flush()
        except Lost:
            pass
        assert bank.spent[key] + bank.leased(key) <= 50_000
        held = sum(p.period.free + p.period.reserved for p in processes)
        assert held <= bank.leased(key)
    bank.loses = ""
    for _, reservation in running:
        reservation.settle(0)
    for process in processes:
        process.flush()
        process.flush(everything=True)
    assert bank.leased(key) == 0
    assert 0 < bank.spent[key] <= 50_000
