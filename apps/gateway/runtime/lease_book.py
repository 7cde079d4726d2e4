"""What this process holds of budgets, in memory: reserved by running calls, free for the next one, on its way back.

Pure: no clock but the one given, no database. For each period `net` is what was leased less what was given back, as the
database last said, and at any time `net = free + reserved + doubt + what ended calls have cost`. The answer to a transaction
may be lost: what was being given back stays in doubt, and the next answer's `net` tells what became of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from apps.billing.selectors.budget_matching import window_of
from apps.billing.services.leases import HOLD_SECONDS, Ask, Leased, PeriodKey
from apps.gateway.selectors.budgets import BudgetTerms

IDLE_SECONDS = 1.0
KEPT_SECONDS = 2.0
"""So many seconds of the present spending are kept at most."""
RENEW_SECONDS = 5.0
TICKS_A_SECOND = 4
RECALLED_SECONDS = 3.0
"""So long after a recall nothing is kept."""
REFUSED_SECONDS = 1.0
"""So long a period is known to have too little left, without asking again."""
SMOOTHING = 0.3

Wanted = tuple[tuple[BudgetTerms, str], ...]
"""Budgets, each with whose spending of it is meant."""


class Period:
    """One window of one budget for one subject, as far as this process has to do with it."""

    __slots__ = (
        "doubt", "ends", "free", "is_gone", "is_scarce", "is_uncertain", "key", "lease_id", "leased", "limit", "name", "net",
        "of_others", "period_id", "rate", "recalled_until", "refused_until", "reserved", "scope", "spent", "taken", "used_at",
    )  # fmt: skip

    def __init__(self, terms: BudgetTerms, key: PeriodKey) -> None:
        self.key = key
        self.name, self.scope = terms.name, terms.scope
        self.ends = key.ends_at.timestamp() if key.ends_at else float("inf")
        self.period_id = self.lease_id = 0
        self.net = self.free = self.reserved = self.doubt = 0
        self.spent = self.leased = self.of_others = 0
        self.limit: int | None = None
        self.rate = 0.0
        self.taken = 0
        self.used_at = self.recalled_until = self.refused_until = float("-inf")
        self.is_scarce = self.is_gone = self.is_uncertain = False

    @property
    def left(self) -> int | None:
        """Return what nobody had taken when last heard of; None where nothing is bounded."""
        return None if self.limit is None else self.limit - self.spent - self.leased

    def refuses(self, micros: int, now: float) -> bool:
        """Tell whether an amount is known not to fit, whatever others give back."""
        return now < self.refused_until and self.limit is not None and self.spent + micros > self.limit


class Reservation:
    """What one call may cost, taken from every budget that binds it. Settled once, at its end."""

    __slots__ = ("_book", "_periods", "charges", "latest_at", "micros")

    def __init__(self, book: LeaseBook, periods: tuple[Period, ...], micros: int) -> None:
        self._book: LeaseBook | None = book
        self._periods = periods
        self.micros = micros
        self.charges = [period.lease_id for period in periods]
        """The leases that the call's usage record is charged to."""
        self.latest_at = min((period.ends for period in periods), default=float("inf"))
        """Unix seconds before which the call counts as made, or it would count for a window that did not let it in."""

    def settle(self, cost_micros: int) -> int:
        """Replace what was reserved by what it cost; return by how much that was more. Only the first time counts."""
        book, self._book = self._book, None
        if book is None:
            return 0
        for period in self._periods:
            period.reserved -= self.micros
            period.free += self.micros - cost_micros
        book.freed(self._periods)
        return max(cost_micros - self.micros, 0)


@dataclass(slots=True, eq=False)
class Waiting:
    """A call that needs more than the process has.

    `ticket` tells the call what became of it; `least` gives what it asks for once `micros` was too much.
    `since` is when it was first refused, `seen` what was spent and leased when it last was.
    """

    wanted: Wanted
    micros: int
    ticket: Any
    least: Callable[[], int]
    due: float = float("-inf")
    since: float | None = None
    deadline: float = float("inf")
    seen: tuple[int, int] = (-1, -1)
    periods: tuple[Period, ...] = ()
    needs: tuple[int, ...] = ()


@dataclass(slots=True)
class Plan:
    """One transaction to be: whom it is for, and what it asks."""

    waiting: list[Waiting]
    asks: list[Ask]
    wishes: dict[PeriodKey, int]
    returns: dict[PeriodKey, int]
    opens: list[PeriodKey]
    periods: dict[PeriodKey, Period]
    made_at: float


class LeaseBook:
    """Everything that this process holds. One per event loop; all methods are called on it."""

    def __init__(self, *, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._periods: dict[tuple[UUID, str], Period] = {}
        self._active: dict[Period, None] = {}
        self._by_id: dict[int, Period] = {}
        self._windows: dict[str, tuple[datetime, datetime | None, float]] = {}
        self.on_freed: Callable[[], None] = lambda: None
        """Called when a call ended while quota of its periods is wanted elsewhere."""
        self.reset()

    def reset(self) -> None:
        """Begin as somebody new, with nothing: what was held before is not ours any more."""
        self.holder = uuid4()
        self.turn = 0
        self.is_registered = False
        self.renewed_at = self._clock()
        self._periods.clear()
        self._active.clear()
        self._by_id.clear()

    def periods_for(self, wanted: Wanted) -> tuple[Period, ...]:
        """Return the periods of now for these budgets and subjects."""
        if self._clock() - self.renewed_at > HOLD_SECONDS:
            self.reset()  # nobody has confirmed it for so long that it may have been given to others
        now = self._wall()
        found = []
        for terms, subject in wanted:
            period = self._periods.get((terms.budget_id, subject))
            if period is None or period.ends <= now:
                if period is not None:
                    self._by_id.pop(period.period_id, None)
                starts_at, ends_at, _ = self._window(terms.window, now)
                key = PeriodKey(terms.budget_id, subject, starts_at, ends_at)
                period = self._periods[terms.budget_id, subject] = Period(terms, key)
            found.append(period)
        return tuple(found)

    def reserve(self, periods: tuple[Period, ...], micros: int) -> Reservation | None:
        """Take an amount from every period, or from none when one has too little."""
        for period in periods:
            if period.free < micros:
                return None
        return self._take(periods, micros)

    def freed(self, periods: tuple[Period, ...]) -> None:
        """Note that a call has ended; say so where quota is wanted at once."""
        for period in periods:
            self._active[period] = None
        if any(self._is_wanted(period) for period in periods):
            self.on_freed()

    def recall(self, *, period_ids: Iterable[int] = (), budget_id: UUID | None = None) -> bool:
        """Keep nothing of these periods for a while; tell whether something is there to be given back."""
        found = [self._by_id[period_id] for period_id in period_ids if period_id in self._by_id]
        if budget_id is not None:
            found += [period for period in self._periods.values() if period.key.budget_id == budget_id]
        for period in found:
            period.recalled_until = self._clock() + RECALLED_SECONDS
            period.refused_until = float("-inf")
        return any(period.free > 0 for period in found)

    def held_ids(self) -> list[int]:
        """Return the periods of which something is free."""
        return [period.period_id for period in self._active if period.free > 0]

    def tick(self) -> bool:
        """Measure the pace of spending; tell whether a transaction is due: something to give back, or to renew."""
        is_due = self.is_registered and self._clock() - self.renewed_at > RENEW_SECONDS
        for period in tuple(self._active):
            period.rate += SMOOTHING * (period.taken * TICKS_A_SECOND - period.rate)
            period.taken = 0
            is_due = is_due or period.is_uncertain or self._surplus(period) > 0
            if period.free <= 0 and period.rate < 1 and not period.is_uncertain:
                del self._active[period]
        return is_due

    def plan(self, waiting: Iterable[Waiting], *, everything: bool = False) -> Plan:
        """Put together what the next transaction asks. What waiting calls can get from here is set aside for them.

        `everything` gives back all that is free.
        """
        plan = Plan([], [], {}, {}, [], {}, made_at=self._clock())
        for call in waiting:
            needs = []
            call.periods = self.periods_for(call.wanted)
            for period in call.periods:
                # Near the limit all that is free goes back, so that the last of it is not scattered over processes that
                # each have too little: the same transaction gives it to whoever comes first.
                held = min(period.free, 0 if self._is_wanted(period) else call.micros)
                period.free -= held
                needs.append(call.micros - held)
                self._include(plan, period)
                plan.wishes[period.key] = self._wish(period)
            call.needs = tuple(needs)
            plan.waiting.append(call)
            plan.asks.append(Ask(tuple((p.key, need) for p, need in zip(call.periods, needs, strict=True) if need)))
        for period in self._active:
            given = max(period.free, 0) if everything else self._surplus(period)
            if given or period.is_uncertain:
                self._include(plan, period)
            if given:
                period.free -= given
                period.doubt += given
                plan.returns[period.key] = given
        self.turn += 1
        return plan

    def apply(self, plan: Plan, answer: Leased) -> list[tuple[Waiting, Reservation | None, Period | None]]:
        """Take the answer in; return for each waiting call its reservation, or the period that refused it."""
        self.is_registered = True
        self.renewed_at = plan.made_at
        for key, period in plan.periods.items():
            self._update(period, key, answer)
        outcomes: list[tuple[Waiting, Reservation | None, Period | None]] = []
        for call, refused_by in zip(plan.waiting, answer.refused_by, strict=True):
            if refused_by is None:
                # What had been set aside and what was leased for it are free now, for this call.
                for period, need in zip(call.periods, call.needs, strict=True):
                    period.free += call.micros - need
                outcomes.append((call, self._take(call.periods, call.micros), None))
            else:
                outcomes.append((call, None, plan.periods[refused_by]))
        for call, reservation, _ in outcomes:
            if reservation is None:
                self._put_back(call)
        return outcomes

    def failed(self, plan: Plan) -> None:
        """Take note that nobody knows what became of a transaction."""
        for call in plan.waiting:
            self._put_back(call)
        for period in plan.periods.values():
            period.is_uncertain = True
            self._active[period] = None

    def _take(self, periods: tuple[Period, ...], micros: int) -> Reservation:
        now = self._clock()
        bound = tuple(period for period in periods if not period.is_gone)
        for period in bound:
            period.free -= micros
            period.reserved += micros
            period.taken += micros
            period.used_at = now
            self._active[period] = None
        return Reservation(self, bound, micros)

    def _put_back(self, call: Waiting) -> None:
        for period, need in zip(call.periods, call.needs, strict=True):
            period.free += call.micros - need

    def _include(self, plan: Plan, period: Period) -> None:
        if period.key in plan.periods:
            return
        plan.periods[period.key] = period
        plan.wishes[period.key] = 0
        if not period.period_id:
            plan.opens.append(period.key)

    def _is_wanted(self, period: Period) -> bool:
        """Tell whether others may need what is free."""
        return period.is_scarce or self._clock() < period.recalled_until

    def _wish(self, period: Period) -> int:
        """Return what would be good to have in advance: a second of the present spending."""
        if self._is_wanted(period):
            return 0
        return int(max(period.rate, period.taken))

    def _surplus(self, period: Period) -> int:
        """Return how much of what is free is better off with others."""
        if period.free <= 0:
            return 0
        if self._is_wanted(period) or self._clock() - period.used_at > IDLE_SECONDS:
            return period.free
        if period.ends <= self._wall():
            return period.free
        kept = int(max(period.rate, period.taken) * KEPT_SECONDS)
        return period.free - kept if period.free > 2 * kept else 0

    def _update(self, period: Period, key: PeriodKey, answer: Leased) -> None:
        state = answer.states.get(key)
        if state is None:
            period.is_gone = True  # the budget was deleted
            period.is_uncertain, period.doubt = False, 0
            if self._periods.get((key.budget_id, key.subject)) is period:
                del self._periods[key.budget_id, key.subject]
            return
        period.free += period.doubt + state.net_micros - period.net
        period.doubt, period.net, period.is_uncertain = 0, state.net_micros, False
        period.period_id, period.lease_id = state.period_id, state.lease_id
        self._by_id[period.period_id] = period
        self._active[period] = None
        period.spent, period.leased, period.limit = state.spent_micros, state.leased_micros, state.limit_micros
        period.of_others, period.is_scarce = state.of_others_micros, state.is_scarce
        period.refused_until = self._clock() + REFUSED_SECONDS

    def _window(self, window: str, now: float) -> tuple[datetime, datetime | None, float]:
        found = self._windows.get(window)
        if found is None or now >= found[2]:
            starts_at, ends_at = window_of(window, datetime.fromtimestamp(now, UTC))
            found = (starts_at, ends_at, ends_at.timestamp() if ends_at else float("inf"))
            self._windows[window] = found
        return found
