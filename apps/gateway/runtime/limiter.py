"""Requests and tokens per minute and calls at a time: counted in Redis by one script, exactly over all processes.

All calls that arrive in one turn of the event loop share one round trip; calls without limits make none. A call is
admitted by all of its limits or by none. While Redis does not answer, each process enforces its own share of the limits,
or refuses limited calls, by setting.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import orjson
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from apps.core.errors import RateLimited
from apps.core.redis_line import ScriptLine
from apps.gateway.errors import LimitsUnreachable
from apps.gateway.runtime.binding import Answer, Bind, Facts, bind_limits, measure_binds, share_counter
from apps.gateway.runtime.metrics import LIMITER_ERRORS
from apps.gateway.runtime.refusing import Measure, refuse_call
from apps.gateway.runtime.window import (
    KIND_SLOTS,
    LEASE_SECONDS,
    LOCAL,
    SHORT_OF_REQUESTS,
    SHORT_OF_TOKENS,
    Counter,
    LocalCounter,
    ask_counters,
)
from apps.gateway.selectors.limits import LimitTerms

logger = structlog.get_logger(__name__)

SCRIPT = (Path(__file__).parent / "limits.lua").read_text()
REDIS_SECONDS = 0.5
RETRY_SECONDS = 1.0
RENEW_SECONDS = LEASE_SECONDS / 3
MAX_BATCH = 500
MAX_COUNTERS = 10_000
ASK, ADMIT, SETTLE, RENEW = range(4)


@dataclass(slots=True)
class Admission:
    """A call that was let in: what it took of its limits, and what is left of them."""

    binds: list[Bind]
    second: int
    slot: str
    is_local: bool
    measures: list[Measure]
    is_settled: bool = False

    @property
    def reserved_tokens(self) -> int:
        """Return the most tokens that any limit holds for the call."""
        return max((bind.counter[5] for bind in self.binds), default=0)

    def tightest(self, short: int) -> Measure | None:
        """Return the limit of requests, tokens or slots that has the least left."""
        found = [measure for measure in self.measures if measure.short == short]
        return min(found, key=lambda measure: measure.left, default=None)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the `x-ratelimit-*` headers: of the tightest limit of requests, and of tokens."""
        found = []
        for kind, short in ((b"requests", SHORT_OF_REQUESTS), (b"tokens", SHORT_OF_TOKENS)):
            measure = self.tightest(short)
            if measure is not None:
                found += [
                    (b"x-ratelimit-limit-" + kind, b"%d" % measure.limit),
                    (b"x-ratelimit-remaining-" + kind, b"%d" % measure.left),
                    (b"x-ratelimit-reset-" + kind, b"%ds" % measure.reset_seconds),
                ]
        return found


@dataclass(slots=True)
class _Operation:
    verb: int
    slot: str
    second: int
    keys: list[str]
    counters: list[Counter]
    answer: asyncio.Future[Answer] | None = None


@dataclass(slots=True)
class _Held:
    """The slots of calls that are running, to be renewed."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    due: float = 0.0


class Limiter:
    """Admits and settles calls. One per event loop."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._line = ScriptLine(SCRIPT, timeout_seconds=REDIS_SECONDS)
        self._queue: list[_Operation] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._counters: OrderedDict[str, LocalCounter] = OrderedDict()
        self._redis_due = float("-inf")
        self._slots = count()
        self._name = f"{os.getpid():x}.{os.urandom(6).hex()}"
        self._held = _Held()

    async def admit(self, limits: tuple[LimitTerms, ...], facts: Facts, *, model: str = "") -> Admission | None:
        """Count a call and reserve its tokens; None when no limit applies. `model` is the one that was chosen.

        What is reserved is the estimated prompt and the answer's upper bound, but never more than the limit: a call whose
        prompt fits gets in when the window is empty. Raise RequestLimitReached, TokenLimitReached, ParallelLimitReached
        or LimitsUnreachable.
        """
        binds = list(bind_limits(limits, facts, model or facts.model))
        if not binds:
            return None
        slot = f"{self._name}.{next(self._slots)}"
        answer, is_local = await self._ask(ADMIT, binds, slot)
        if answer[0]:
            raise refuse_call(binds[answer[0] - 1], answer, is_local=is_local)
        if not is_local:
            self._hold(slot, binds)
        return Admission(
            binds=binds, second=answer[3], slot=slot, is_local=is_local, measures=measure_binds(binds, answer)
        )

    async def explain(
        self, limits: tuple[LimitTerms, ...], facts: Facts, *, model: str = ""
    ) -> tuple[list[Measure], RateLimited | None]:
        """Return how each limit of a call stands and the refusal that it would get, without taking anything.

        Raise LimitsUnreachable, and TokenLimitReached for a prompt that is larger than a limit.
        """
        binds = list(bind_limits(limits, facts, model or facts.model))
        if not binds:
            return [], None
        answer, is_local = await self._ask(ASK, binds, "")
        refusal = refuse_call(binds[answer[0] - 1], answer, is_local=is_local) if answer[0] else None
        return measure_binds(binds, answer), refusal

    def settle(self, admission: Admission, *, tokens: int) -> None:
        """Replace what was reserved by what was used, and free the slots. Never waits and never fails; once counts."""
        if admission.is_settled:
            return
        admission.is_settled = True
        held = self._held.keys.pop(admission.slot, None)
        binds = [
            bind
            for bind in admission.binds
            if bind.counter[0] == KIND_SLOTS or (bind.counter[2] >= 0 and tokens != bind.counter[5])
        ]
        if not binds:
            return
        counters = [(*bind.counter[:5], tokens - bind.counter[5]) for bind in binds]
        if admission.is_local:
            for bind, terms in zip(binds, counters, strict=True):
                if (counter := self._counters.get(bind.key)) is not None:
                    counter.settle(self._micros(), terms, admission.slot, admission.second)
        elif held or self._loop.time() >= self._redis_due:
            keys = [bind.key for bind in binds]
            self._enqueue(_Operation(SETTLE, admission.slot, admission.second, keys, counters))

    def tick(self, now: float) -> None:
        """Renew the slots of running calls when it is time; called a few times a second."""
        if now < self._held.due or not self._held.keys:
            return
        self._held.due = now + RENEW_SECONDS
        for slot, keys in self._held.keys.items():
            self._enqueue(_Operation(RENEW, slot, 0, keys, [(KIND_SLOTS, 0, -1, 0, 0, 0)] * len(keys)))

    async def close(self) -> None:
        """Send what is waiting, and hang up."""
        await self._idle.wait()
        await self._line.close()

    async def _ask(self, verb: int, binds: list[Bind], slot: str) -> tuple[Answer, bool]:
        if self._loop.time() >= self._redis_due:
            operation = _Operation(
                verb,
                slot,
                0,
                [bind.key for bind in binds],
                [bind.counter for bind in binds],
                self._loop.create_future(),
            )
            self._enqueue(operation)
            assert operation.answer is not None
            try:
                return await operation.answer, False
            except asyncio.CancelledError:
                # It may have been let in just now, with nobody left to hear of it.
                if operation.answer.done() and not operation.answer.cancelled() and not operation.answer.exception():
                    self._give_back(operation, operation.answer.result())
                raise
            except (RedisError, OSError, TimeoutError):
                pass  # _answered has said so
        return self._ask_locally(verb, binds, slot), True

    def _hold(self, slot: str, binds: list[Bind]) -> None:
        keys = [bind.key for bind in binds if bind.counter[0] == KIND_SLOTS]
        if keys:
            if not self._held.keys:
                self._held.due = self._loop.time() + RENEW_SECONDS
            self._held.keys[slot] = keys

    def _enqueue(self, operation: _Operation) -> None:
        self._queue.append(operation)
        if self._idle.is_set():
            self._idle.clear()
            # Comes after everything else that this turn of the loop has to do: all of that shares the trip.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
            try:
                keys = [key for operation in batch for key in operation.keys]
                body = orjson.dumps([(o.verb, o.slot, o.second, o.counters) for o in batch])
                self._line.run(keys, [str(self._micros() if self._clock else 0), body], partial(self._answered, batch))
            except Exception as error:  # a defect of ours must not keep anybody waiting
                logger.exception("limits_failed")
                _fail(batch, error)
            else:
                return
        self._idle.set()

    def _answered(self, batch: list[_Operation], answer: bytes | Exception) -> None:
        try:
            if isinstance(answer, Exception):
                self._redis_due = self._loop.time() + RETRY_SECONDS
                LIMITER_ERRORS.inc()
                logger.warning("limits_unreachable", error=f"{type(answer).__name__}: {answer}"[:200])
                waiting, self._queue = self._queue, []
                _fail(batch + waiting, answer)
            else:
                self._hand_out(batch, orjson.loads(answer))
        except Exception as error:
            logger.exception("limits_failed")
            _fail(batch, error)
        finally:
            self._flush()

    def _hand_out(self, batch: list[_Operation], answers: list[Answer]) -> None:
        for operation, answer in zip(batch, answers, strict=True):
            if operation.answer is None:
                continue
            if not operation.answer.done():
                operation.answer.set_result(answer)
            else:
                self._give_back(operation, answer)

    def _give_back(self, operation: _Operation, answer: Answer) -> None:
        """Return what a call was admitted with that has left in the meantime."""
        if operation.verb == ADMIT and not answer[0]:
            back = [(*counter[:5], -counter[5]) for counter in operation.counters]
            self._enqueue(_Operation(SETTLE, operation.slot, answer[3], operation.keys, back))

    def _ask_locally(self, verb: int, binds: list[Bind], slot: str) -> Answer:
        if settings.GATEWAY_LIMITS_WITHOUT_REDIS == "refuse":
            raise LimitsUnreachable("The limits cannot be checked, because Redis does not answer; try again shortly.")
        found: list[tuple[LocalCounter, Counter]] = []
        for at, bind in enumerate(binds):
            terms = share_counter(bind.counter)
            binds[at] = Bind(bind.key, terms, bind.label, bind.limit)
            counter = self._counters.get(bind.key)
            if counter is None:
                counter = self._counters[bind.key] = LOCAL[terms[0]]()
                if len(self._counters) > MAX_COUNTERS:
                    self._counters.popitem(last=False)
            found.append((counter, terms))
        return ask_counters(found, micros=self._micros(), slot=slot, takes=verb == ADMIT)

    def _micros(self) -> int:
        return int((self._clock() if self._clock else time.time()) * 1_000_000)


def _fail(batch: list[_Operation], error: Exception) -> None:
    for operation in batch:
        if operation.answer is not None and not operation.answer.done():
            operation.answer.set_exception(error)
