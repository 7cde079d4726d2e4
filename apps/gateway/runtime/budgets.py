"""Hard budgets: what a call may cost is reserved from what this process holds; more is leased when that is too little.

A call that fits into what is held makes no round trip. All calls that do not, in one turn of the event loop, share one
transaction, in a thread. Before a call is refused that would fit if nothing were reserved, quota that lies idle in other
processes is called back, and for a moment it waits for calls that end. Redis only carries word of that: the amounts are
in Postgres, and what nobody heard of is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from datetime import UTC
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from apps.billing.choices import BudgetScope
from apps.billing.errors import BudgetExceeded, BudgetsUnreachable
from apps.billing.services.budgets import BUDGETS_CHANNEL
from apps.billing.services.leases import HolderGone, Leased, find_recalled, lease_quota
from apps.core.money import show_money
from apps.core.redis import get_async_redis
from apps.gateway.runtime.lease_book import LeaseBook, Period, Plan, Reservation, Waiting, Wanted
from apps.gateway.runtime.loading import UNREACHABLE, Loader
from apps.gateway.runtime.metrics import BUDGET_ERRORS, BUDGET_OVERRUNS
from apps.gateway.selectors.budgets import BudgetTerms

logger = structlog.get_logger(__name__)

WAIT_SECONDS = 0.9
"""How long a call waits for what others give back or have not spent, while nothing of the kind happens."""
PATIENCE_SECONDS = 4.0
"""How long it waits at most while calls are ending that had reserved more than they cost."""
PAUSE_SECONDS = 0.05
"""Between two transactions that ask again for the same calls, unless one of ours has ended."""
PACE_SECONDS = 0.005
"""Between any two: what comes in the meantime shares the next one."""
CLOSE_SECONDS = 2.0
MAX_RATIOS = 1000
EPHEMERAL = frozenset({BudgetScope.END_USER, BudgetScope.TAG, BudgetScope.MODEL})


class Facts(Protocol):
    """What of a call decides which budgets it concerns."""

    @property
    def end_user(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


class Budgets:
    """Reserves and settles what calls cost. One per event loop."""

    def __init__(
        self,
        loader: Loader,
        *,
        lease: Callable[..., Leased] = lease_quota,
        wall: Callable[[], float] = time.time,
        wait_seconds: float = WAIT_SECONDS,
        mark: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self._loader = loader
        self._mark = mark
        self._marked: UUID | None = None
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._wait_seconds = wait_seconds
        self.book = LeaseBook(clock=self._loop.time, wall=wall)
        self.book.on_freed = self._wake
        self._waiting: list[Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self._wakes = asyncio.Event()
        self._helpers: set[asyncio.Task[None]] = set()
        self._hears = False
        self._is_polling = False

    async def reserve(
        self,
        terms: tuple[BudgetTerms, ...],
        facts: Facts,
        *,
        models: tuple[str, ...],
        micros: int,
        least: Callable[[], int] | None = None,
    ) -> Reservation | None:
        """Reserve what a call may cost on every budget that it concerns; None when it concerns none, or costs nothing.

        `models` are those that may come to answer. `least` gives a closer figure, as far as one is known by then: what has
        to fit when `micros` does not. Raise BudgetExceeded, or BudgetsUnreachable when only the database could tell.
        """
        wanted = concern(terms, facts, models)
        if not wanted or not micros:
            return None
        periods = self.book.periods_for(wanted)
        reservation = self.book.reserve(periods, micros)
        if reservation is not None:
            return reservation
        call = Waiting(wanted, micros, self._loop.create_future(), least=least or (lambda: micros))
        # The closer figure only where it decides: it may have to be counted, with a vocabulary of many megabytes.
        doubtful = [period for period in periods if period.refuses(micros, self._loop.time())]
        for period in doubtful:
            if period.refuses(call.least(), self._loop.time()):
                raise refuse(period, call.least())
        return await self._wait(call)

    def settle(self, reservation: Reservation, cost_micros: int) -> None:
        """Replace what was reserved by what the call cost. Never waits and never fails; only the first time counts."""
        if reservation.settle(cost_micros):
            BUDGET_OVERRUNS.inc()

    def tick(self) -> None:
        """Do what is due: give back what is idle, renew, ask what was recalled while nobody can tell us."""
        if self.book.tick() and not self._loader.is_database_down:
            self._wake()
        if not self._hears and not self._is_polling and (held := self.book.held_ids()):
            self._is_polling = True
            self._help(self._poll(held))

    def hear(self, data: bytes) -> None:
        """Take a message of BUDGETS_CHANNEL."""
        try:
            message = orjson.loads(data)
            period_ids = [int(period_id) for period_id in message.get("periods", ())]
            budget_id = UUID(message["budget"]) if "budget" in message else None
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            logger.warning("budget_message_unreadable")
            return
        if self.book.recall(period_ids=period_ids, budget_id=budget_id):
            self._wake()

    def trust(self, *, hears: bool) -> None:
        """Say whether recalls are heard of."""
        self._hears = hears

    async def close(self) -> None:
        """Give back what is free; what running calls have used is released by their records."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        await asyncio.gather(*self._helpers, return_exceptions=True)
        if self.book.is_registered:
            with contextlib.suppress(*UNREACHABLE, HolderGone):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._ask(self.book.plan((), everything=True))

    async def _wait(self, call: Waiting) -> Reservation | None:
        if self._loader.is_database_down:
            return self._without_database(call)
        self._waiting.append(call)
        self._wake()
        try:
            found: Reservation | None = await call.ticket
        except asyncio.CancelledError:
            if call.ticket.done() and not call.ticket.cancelled() and call.ticket.exception() is None:
                call.ticket.result().settle(0)
            raise
        except BudgetsUnreachable:
            return self._without_database(call)
        return found

    def _without_database(self, call: Waiting) -> Reservation | None:
        """Reserve the closer figure from what is at hand, else do as the setting says."""
        reservation = self.book.reserve(self.book.periods_for(call.wanted), call.least())
        if reservation is None:
            self._do_without()
        return reservation

    def _do_without(self) -> None:
        if settings.GATEWAY_BUDGETS_WITHOUT_DATABASE == "refuse":
            raise BudgetsUnreachable(
                "The call's budgets cannot be checked, because the database does not answer; try again shortly."
            )

    def _wake(self) -> None:
        self._wakes.set()
        if self._flusher is None:
            self._flusher = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._wakes.is_set() or self._waiting:
                # The task runs after everything else that this turn of the loop has to do: all of that shares the trip.
                was_woken = self._wakes.is_set()
                self._wakes.clear()
                now = self._loop.time()
                self._waiting = [call for call in self._waiting if not call.ticket.done()]
                due = self._waiting if was_woken else [call for call in self._waiting if call.due <= now]
                if was_woken or due:
                    self._waiting = (
                        [call for call in self._waiting if call not in due] if due is not self._waiting else []
                    )
                    await self._serve(due)
                    await asyncio.sleep(PACE_SECONDS)
                elif self._waiting:
                    pause = min(call.due for call in self._waiting) - now
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(max(pause, 0.001)):
                            await self._wakes.wait()
        finally:
            self._flusher = None

    async def _serve(self, calls: list[Waiting]) -> None:
        plan = self.book.plan(calls)
        try:
            answer = await self._ask(plan)
        except HolderGone:
            logger.warning("budget_holder_gone", holder=str(self.book.holder))
            self.book.reset()
            self._waiting += calls
            self._wakes.set()
        except UNREACHABLE as error:
            self.book.failed(plan)
            BUDGET_ERRORS.inc()
            logger.warning("budgets_unreachable", error=f"{type(error).__name__}: {error}"[:200])
            for call in calls:
                if not call.ticket.done():
                    call.ticket.set_exception(BudgetsUnreachable())
        except asyncio.CancelledError:
            self.book.failed(plan)
            for call in (*calls, *self._waiting):
                call.ticket.cancel()
            raise
        except Exception as error:
            # A defect of ours must not keep anybody waiting.
            self.book.failed(plan)
            logger.exception("budgets_failed")
            for call in calls:
                if not call.ticket.done():
                    call.ticket.set_exception(error)
        else:
            if answer.recalled:
                self._help(self._recall(answer.recalled))
            for call, reservation, refused_by in self.book.apply(plan, answer):
                self._tell(call, reservation, refused_by)

    async def _ask(self, plan: Plan) -> Leased:
        if self._marked != self.book.holder:
            self._marked = self.book.holder
            self._mark(self.book.holder)
        work = partial(
            self._lease,
            holder=self.book.holder,
            turn=self.book.turn,
            is_new=not self.book.is_registered,
            asks=plan.asks,
            wishes=plan.wishes,
            returns=plan.returns,
            opens=plan.opens,
        )
        return await self._loader.load(work)

    def _tell(self, call: Waiting, reservation: Reservation | None, refused_by: Period | None) -> None:
        if reservation is not None:
            if call.ticket.done():
                reservation.settle(0)
            else:
                call.ticket.set_result(reservation)
            return
        assert refused_by is not None
        if call.ticket.done():
            return
        now = self._loop.time()
        if call.since is None:
            call.since = now
        if call.seen != (refused_by.spent, refused_by.leased):
            call.seen = (refused_by.spent, refused_by.leased)
            call.deadline = min(now + self._wait_seconds, call.since + PATIENCE_SECONDS)
        was, call.micros = call.micros, call.least()
        may_fit = refused_by.limit is not None and refused_by.spent + call.micros <= refused_by.limit
        if not may_fit or (now >= call.deadline and was <= call.micros):
            call.ticket.set_exception(refuse(refused_by, call.micros))
            return
        call.due = min(now + PAUSE_SECONDS, call.deadline)
        self._waiting.append(call)

    async def _recall(self, period_ids: list[int]) -> None:
        try:
            await get_async_redis().publish(BUDGETS_CHANNEL, orjson.dumps({"periods": period_ids}))
        except (RedisError, OSError, TimeoutError) as error:
            logger.info("budget_recall_unannounced", error=str(error)[:200])

    async def _poll(self, held: list[int]) -> None:
        try:
            if self.book.recall(period_ids=await self._loader.load(partial(find_recalled, held))):
                self._wake()
        except UNREACHABLE:
            pass  # nobody can recall anything either
        finally:
            self._is_polling = False

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


def concern(terms: tuple[BudgetTerms, ...], facts: Facts, models: tuple[str, ...]) -> Wanted:
    """Return the budgets that a call concerns, each with whose spending it counts for."""
    found: list[tuple[BudgetTerms, str]] = []
    for budget in terms:
        if budget.model and budget.model not in models:
            continue
        if budget.scope not in EPHEMERAL:
            found.append((budget, budget.subject))
            continue
        named = {BudgetScope.END_USER: (facts.end_user,), BudgetScope.TAG: facts.tags, BudgetScope.MODEL: models}
        found += [
            (budget, subject)
            for subject in named[BudgetScope(budget.scope)]
            if subject and budget.subject in ("", subject)
        ]
    return tuple(found)


def refuse(period: Period, micros: int) -> BudgetExceeded:
    """Return the error of a refusal: whose budget, its limit, what is spent and reserved, and when it begins anew."""
    limit, subject = period.limit or 0, period.key.subject
    whose = f" of the {period.scope.replace('_', ' ')}"
    if period.scope in EPHEMERAL:
        whose += f" {subject!r}"
    ends_at = period.key.ends_at
    reset = f"It begins anew at {ends_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}." if ends_at else "It is never renewed."
    return BudgetExceeded(
        f'The budget "{period.name}"{whose} does not allow this call: of {show_money(limit)}, {show_money(period.spent)} are spent and '
        f"{show_money(period.leased)} reserved for running calls, and this call may cost {show_money(micros)}. {reset}",
        headers={"x-should-retry": "false"},
        extra={
            "budget": period.name, "scope": period.scope, "limit_micros": limit, "spent_micros": period.spent,
            "reserved_micros": period.leased, "call_micros": micros, "resets_at": ends_at.isoformat() if ends_at else None,
        },
    )  # fmt: skip
