"""The cache's store in Redis, and its statistics. Everything in it may vanish at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import astuple, dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from apps.core.encryption import decrypt, encrypt
from apps.core.redis import get_async_redis
from apps.gateway.models import LONGEST_TTL_SECONDS, CacheDay
from apps.gateway.runtime.loading import UNREACHABLE, Loader

logger = structlog.get_logger(__name__)

PREFIX = "portico:cache"
LOOK_SECONDS = 0.25
"""Longest wait for Redis: a cache that is slower than that is none."""
REST_SECONDS = 2.0
"""How long Redis is left alone after it failed."""
FLUSH_SECONDS = 3.0
MOST_WRITES = 256
"""Answers being kept at once; more are not kept."""


def key_of(organization_id: UUID, policy_id: UUID, digest: bytes) -> str:
    """Return the Redis key of an answer."""
    return f"{PREFIX}:{organization_id.hex}:{policy_id.hex}:{digest.hex()}"


def person_key(user_id: UUID) -> str:
    """Return the Redis key of the sorted set that names the answers to a person's questions, by their end."""
    return f"{PREFIX}:of:{user_id.hex}"


def seal(body: bytes, *, place: str) -> str:
    """Return an answer encrypted for one place; it cannot be read at another."""
    return encrypt(body.decode(), context=f"cache:{place}")


def unseal(sealed: str, *, place: str) -> bytes:
    """Return the answer. Raise ValueError when its key is gone, or it was changed or moved."""
    return decrypt(sealed, context=f"cache:{place}").encode()


@dataclass(slots=True)
class DayCount:
    """What one policy brought on one day since the last flush."""

    hits: int = 0
    semantic_hits: int = 0
    misses: int = 0
    saved_micros: int = 0


@dataclass(slots=True)
class Tally:
    """Counts by policy and day, until they are written."""

    counts: dict[tuple[UUID, date], DayCount] = field(default_factory=dict)

    def at(self, policy_id: UUID, day: date) -> DayCount:
        """Return the count to move."""
        key = (policy_id, day)
        found = self.counts.get(key)
        if found is None:
            found = self.counts[key] = DayCount()
        return found

    def take(self) -> dict[tuple[UUID, date], DayCount]:
        """Return what was counted and begin anew."""
        taken, self.counts = self.counts, {}
        return taken

    def put_back(self, taken: dict[tuple[UUID, date], DayCount]) -> None:
        """Add what could not be written to what was counted since."""
        for (policy_id, day), count in taken.items():
            present = self.at(policy_id, day)
            for name in DayCount.__slots__:
                setattr(present, name, getattr(present, name) + getattr(count, name))


class AnswerStore:
    """Answers in Redis, encrypted. One per event loop."""

    def __init__(self, loader: Loader) -> None:
        self.tally = Tally()
        self._loader = loader
        self._loop = asyncio.get_running_loop()
        self._rests_until = float("-inf")
        self._flush_due = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, place: str) -> bytes | None:
        """Return the answer at a place; None when there is none or it cannot be had now."""
        sealed = await self._ask(lambda redis: redis.get(place))
        if sealed is None:
            return None
        try:
            return unseal(sealed.decode(), place=place)
        except ValueError:
            logger.warning("cached_answer_unreadable")
            return None

    async def put(self, place: str, body: bytes, *, seconds: int, user_id: UUID | None) -> None:
        """Keep an answer for some time, and note whose question it answers."""
        sealed = seal(body, place=place)

        async def write(redis: Any) -> None:
            async with redis.pipeline(transaction=False) as pipe:
                pipe.set(place, sealed, ex=seconds)
                if user_id is not None:
                    now = int(time.time())
                    pipe.zremrangebyscore(person_key(user_id), "-inf", now)
                    pipe.zadd(person_key(user_id), {place: now + seconds})
                    pipe.expire(person_key(user_id), LONGEST_TTL_SECONDS)
                await pipe.execute()

        await self._ask(write)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something behind an answer that must not wait for it."""
        if len(self._tasks) >= MOST_WRITES:
            work.close()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def tick(self, now: float) -> None:
        """Write the statistics when their time has come."""
        if now >= self._flush_due and self.tally.counts:
            self._flush_due = now + FLUSH_SECONDS
            self.begin(self._flush())

    async def settle(self) -> None:
        """Wait for what was begun, and write the statistics."""
        if self.tally.counts:
            self.begin(self._flush())
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _flush(self) -> None:
        taken = self.tally.take()
        if not taken:
            return  # another flush was begun before this one ran
        try:
            await self._loader.load(lambda: _write(taken))
        except UNREACHABLE as error:
            self.tally.put_back(taken)
            logger.warning("cache_statistics_unwritten", error=f"{type(error).__name__}: {error}"[:200])

    async def _ask(self, question: Callable[[Any], Any]) -> Any:
        if self._loop.time() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await question(get_async_redis())
        except (RedisError, OSError, TimeoutError) as error:
            self._rests_until = self._loop.time() + REST_SECONDS
            logger.warning("cache_unreachable", error=f"{type(error).__name__}: {error}"[:200])
            return None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("cache_write_failed", exc_info=error)


def _write(taken: dict[tuple[UUID, date], DayCount]) -> None:
    CacheDay.objects.add_up([(*key, *astuple(count)) for key, count in taken.items()])
