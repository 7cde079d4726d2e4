"""Requests and tokens per minute: counted in Redis by one script, so that they hold exactly over all processes.

All calls that arrive in one turn of the event loop share one round trip; calls without limits make none. While Redis
does not answer, each process enforces its own share of the limits, or refuses limited calls, by setting.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from apps.core.redis import get_async_redis
from apps.gateway.errors import LimitsUnreachable, RequestLimitReached, TokenLimitReached
from apps.gateway.runtime.metrics import LIMITER_ERRORS
from apps.gateway.runtime.window import WINDOW_SECONDS, LocalWindow
from apps.gateway.selectors.callers import Caller

logger = structlog.get_logger(__name__)

SCRIPT = (Path(__file__).parent / "limits.lua").read_text()
PREFIX = "portico:limits:"
REDIS_SECONDS = 0.5
RETRY_SECONDS = 1.0
MAX_BATCH = 500
MAX_WINDOWS = 10_000

Answer = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in: what it took of its limits, and what is left of them."""

    limit_key: str
    second: int
    reserved_tokens: int
    is_local: bool
    requests_limit: int | None
    requests_left: int
    tokens_limit: int | None
    tokens_left: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the `x-ratelimit-*` headers."""
        found = []
        if self.requests_limit is not None:
            found += _header_rows(b"requests", self.requests_limit, self.requests_left)
        if self.tokens_limit is not None:
            found += _header_rows(b"tokens", self.tokens_limit, self.tokens_left)
        return found


def _header_rows(kind: bytes, limit: int, left: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit-" + kind, b"%d" % limit),
        (b"x-ratelimit-remaining-" + kind, b"%d" % max(left, 0)),
        # The time until everything is free again: that of the call just let in.
        (b"x-ratelimit-reset-" + kind, b"%ds" % WINDOW_SECONDS),
    ]


@dataclass(slots=True)
class _Item:
    key: str
    requests_limit: int
    tokens_limit: int
    tokens: int
    second: int
    answer: asyncio.Future[Answer] | None


class Limiter:
    """Admits and settles calls. One per event loop."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._script = get_async_redis().register_script(SCRIPT)
        self._queue: list[_Item] = []
        self._flusher: asyncio.Task[None] | None = None
        self._windows: OrderedDict[str, LocalWindow] = OrderedDict()
        self._redis_due = float("-inf")

    async def admit(self, caller: Caller, *, prompt_tokens: int, answer_tokens: int) -> Admission | None:
        """Count a call and reserve its tokens; None for a caller without limits.

        What is reserved is the estimated prompt and the answer's upper bound, but never more than the limit: a call whose
        prompt fits gets in when the window is empty. Raise RequestLimitReached, TokenLimitReached or LimitsUnreachable.
        """
        if not caller.is_limited:
            return None
        limit = caller.tokens_per_minute
        if limit is not None and prompt_tokens > limit:
            raise TokenLimitReached(
                f"This prompt has about {prompt_tokens} tokens, more than the {limit} tokens per minute that the key "
                "may use: it can never be sent with this key.",
                headers={"x-should-retry": "false"},
            )
        tokens = 0 if limit is None else min(prompt_tokens + answer_tokens, limit)
        item = _Item(PREFIX + caller.limit_key, _or_none(caller.requests_per_minute), _or_none(limit), tokens, 0, None)
        is_local = self._loop.time() < self._redis_due
        if not is_local:
            item.answer = self._loop.create_future()
            self._enqueue(item)
            try:
                answer = await item.answer
            except (RedisError, OSError, TimeoutError):
                is_local = True
        if is_local:
            answer = self._admit_locally(item)
        return self._judge(caller, item, answer, is_local=is_local)

    def settle(self, admission: Admission, *, tokens: int) -> None:
        """Replace what was reserved by what was used. Never waits and never fails."""
        difference = tokens - admission.reserved_tokens
        if not difference or admission.tokens_limit is None:
            return
        if admission.is_local:
            window = self._windows.get(admission.limit_key)
            if window is not None:
                window.settle(now=self._now(), second=admission.second, tokens=difference)
        elif self._loop.time() >= self._redis_due:
            self._enqueue(_Item(admission.limit_key, -1, -1, difference, admission.second, None))

    async def close(self) -> None:
        """Send what is waiting."""
        if self._flusher is not None:
            await asyncio.gather(self._flusher, return_exceptions=True)

    def _enqueue(self, item: _Item) -> None:
        self._queue.append(item)
        if self._flusher is None:
            self._flusher = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            # The task runs after everything else that this turn of the loop has to do: all of that shares the trip.
            while self._queue:
                batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
                await self._send(batch)
        finally:
            self._flusher = None

    async def _send(self, batch: list[_Item]) -> None:
        arguments: list[int] = [int(self._clock() * 1_000_000) if self._clock else 0]
        for item in batch:
            arguments += (item.requests_limit, item.tokens_limit, item.tokens, item.second)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answers = await self._script(keys=[item.key for item in batch], args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._redis_due = self._loop.time() + RETRY_SECONDS
            LIMITER_ERRORS.inc()
            logger.warning("limits_unreachable", error=f"{type(error).__name__}: {error}"[:200])
            for item in batch:
                if item.answer is not None and not item.answer.done():
                    item.answer.set_exception(error)
            return
        for item, answer in zip(batch, answers, strict=True):
            if item.answer is not None and not item.answer.done():
                item.answer.set_result(tuple(answer))

    def _admit_locally(self, item: _Item) -> Answer:
        if settings.GATEWAY_LIMITS_WITHOUT_REDIS == "refuse":
            raise LimitsUnreachable(
                "The key's limits cannot be checked, because Redis does not answer; try again shortly."
            )
        window = self._windows.get(item.key)
        if window is None:
            window = self._windows[item.key] = LocalWindow()
            if len(self._windows) > MAX_WINDOWS:
                self._windows.popitem(last=False)
        requests_limit, tokens_limit = _share(item.requests_limit), _share(item.tokens_limit)
        if tokens_limit >= 0:
            item.tokens = min(item.tokens, tokens_limit)
        return window.admit(
            now=self._now(), requests_limit=requests_limit, tokens_limit=tokens_limit, tokens=item.tokens
        )

    def _judge(self, caller: Caller, item: _Item, answer: Answer, *, is_local: bool) -> Admission:
        verdict, requests, tokens, wait_ms, second = answer
        seconds = max(wait_ms, 1) / 1000
        if verdict == 0:
            raise RequestLimitReached(
                f"The limit of {caller.requests_per_minute} requests per minute of this key is reached; "
                f"the next one may be sent in {math.ceil(seconds)} s.",
                retry_after_seconds=seconds,
                headers=_refused_headers("requests", caller.requests_per_minute, 0, seconds),
            )
        if verdict < 0:
            raise TokenLimitReached(
                f"The limit of {caller.tokens_per_minute} tokens per minute of this key is reached ({tokens} are used or "
                f"reserved, this call needs {item.tokens}); it may be sent in {math.ceil(seconds)} s.",
                retry_after_seconds=seconds,
                headers=_refused_headers("tokens", caller.tokens_per_minute, tokens, seconds),
            )
        return Admission(
            limit_key=item.key,
            second=second,
            reserved_tokens=item.tokens,
            is_local=is_local,
            requests_limit=caller.requests_per_minute,
            requests_left=(caller.requests_per_minute or 0) - requests,
            tokens_limit=caller.tokens_per_minute,
            tokens_left=(caller.tokens_per_minute or 0) - tokens,
        )

    def _now(self) -> float:
        return self._clock() if self._clock else time.time()


def _refused_headers(kind: str, limit: int | None, used: int, seconds: float) -> dict[str, str]:
    left = max((limit or 0) - used, 0) if kind == "tokens" else 0
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(left),
        f"x-ratelimit-reset-{kind}": f"{math.ceil(seconds)}s",
    }


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit


def _share(limit: int) -> int:
    return limit if limit < 0 else limit // settings.WEB_CONCURRENCY
