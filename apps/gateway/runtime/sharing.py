"""What processes tell each other of the health of deployments, over Redis; without it each goes by what it sees itself.

`portico:health` carries news; two hashes keep the latest for those who come later. Places of deployments with a limit of
parallel calls are sorted sets whose members run out unless they are renewed, so that a dead process frees its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import orjson
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from apps.core.redis import get_async_redis, get_redis
from apps.gateway.runtime.health import TRIAL_SECONDS, Health
from apps.gateway.runtime.rule_failures import COUNTS_KEY, WORDS_KEY, take_failures
from apps.gateway.selectors.catalogue import Route

logger = structlog.get_logger(__name__)

HEALTH_CHANNEL = "portico:health"
BREAKERS_KEY = "portico:health:breakers"
LATENCY_KEY = "portico:health:latency"
TRIAL_PREFIX = "portico:health:trial:"
PLACES_PREFIX = "portico:health:places:"
PLACES_SCRIPT = (Path(__file__).parent / "slots.lua").read_text()
REDIS_SECONDS = 0.5
LEASE_SECONDS = 45.0
RENEW_SECONDS = 15.0
NEWS_SECONDS = 5.0
KEEP_SECONDS = 86_400
OLD_SECONDS = 600.0


class Sharing:
    """Speaks and listens for one event loop's Health."""

    def __init__(self) -> None:
        self.name = uuid4().hex
        self.health = Health(clock=asyncio.get_running_loop().time, share=self.tell)
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, str] = {}
        """Names of the places taken, with their deployments."""
        self._local: dict[str, int] = {}
        """Calls under way at deployments with a limit, here."""
        self._renewed = 0.0
        self._told = 0.0

    async def close(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=REDIS_SECONDS)

    # News

    def tell(self, told: dict[str, Any]) -> None:
        """Let the other processes know, in the background."""
        self._spawn(self._send({**told, "from": self.name}))

    def hear(self, data: bytes) -> None:
        """Take over what another process says."""
        try:
            told = orjson.loads(data)
            if told.get("from") != self.name:
                self.health.hear(told)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            logger.warning("health_news_unreadable")

    def catch_up(self) -> None:
        """Take over what was told before this process listened."""
        self._spawn(self._catch_up())

    def tick(self, now: float) -> None:
        """Renew the places that are held and tell how quick deployments are, every few seconds."""
        if self._held and now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self._spawn(self._renew(dict(self._held)))
        if now - self._told >= NEWS_SECONDS:
            self._told = now
            news = self.health.take_news()
            if news:
                self._spawn(self._send_latency(news))
            failures = take_failures()
            if failures:
                self._spawn(self._send_failures(failures))

    # Trials and places

    async def take_trial(self, deployment_id: str) -> bool:
        """Take the one trial of a deployment for this process; without Redis every process has its own."""
        if not self.health.take_trial(deployment_id):
            return False
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                taken = await get_async_redis().set(
                    TRIAL_PREFIX + deployment_id, self.name, nx=True, px=int(TRIAL_SECONDS * 1000)
                )
        except (RedisError, OSError, TimeoutError):
            return True
        except BaseException:
            self.health.give_trial_back(deployment_id)
            raise
        if not taken:
            self.health.give_trial_back(deployment_id)
        return bool(taken)

    def end_trial(self, deployment_id: str) -> None:
        """Let the next trial, when there is one, be anybody's."""
        self._spawn(self._forget(TRIAL_PREFIX + deployment_id))

    async def take_place(self, route: Route, name: str) -> bool:
        """Take a place among the parallel calls of a deployment; tell whether there was one."""
        assert route.max_parallel is not None
        here = self._local.get(route.deployment_id, 0)
        if here >= route.max_parallel:
            return False
        self._local[route.deployment_id] = here + 1
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                taken = await cast(
                    "Any",
                    get_async_redis().eval(
                        PLACES_SCRIPT,
                        1,
                        PLACES_PREFIX + route.deployment_id,
                        str(route.max_parallel),
                        name,
                        str(int(LEASE_SECONDS * 1000)),
                    ),
                )
        except (RedisError, OSError, TimeoutError):
            taken = here < max(1, route.max_parallel // settings.WEB_CONCURRENCY)
        except BaseException:
            self.give_place_back(route, name)
            raise
        if taken:
            self._held[name] = route.deployment_id
        else:
            self._local[route.deployment_id] -= 1
        return bool(taken)

    def give_place_back(self, route: Route, name: str) -> None:
        """Free a place, here at once and for the others in the background."""
        self._held.pop(name, None)
        left = self._local.get(route.deployment_id, 0) - 1
        if left > 0:
            self._local[route.deployment_id] = left
        else:
            self._local.pop(route.deployment_id, None)
        self._spawn(self._free(PLACES_PREFIX + route.deployment_id, name))

    # Redis

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, told: dict[str, Any]) -> None:
        data = orjson.dumps(told)
        async with get_async_redis().pipeline(transaction=False) as pipe:
            if told["kind"] == "closed":
                pipe.hdel(BREAKERS_KEY, told["subject"])
            else:
                pipe.hset(BREAKERS_KEY, told["subject"], data)
                pipe.expire(BREAKERS_KEY, KEEP_SECONDS)
            pipe.publish(HEALTH_CHANNEL, data)
            await pipe.execute()

    async def _send_latency(self, news: dict[str, list[float]]) -> None:
        at = time.time()
        fields = {name: orjson.dumps({"latency": latency, "at": at}) for name, latency in news.items()}
        async with get_async_redis().pipeline(transaction=False) as pipe:
            pipe.hset(LATENCY_KEY, mapping=cast("Any", fields))
            pipe.expire(LATENCY_KEY, KEEP_SECONDS)
            await pipe.execute()

    async def _send_failures(self, failures: Mapping[str, tuple[int, str]]) -> None:
        async with get_async_redis().pipeline(transaction=False) as pipe:
            for rule_id, (count, words) in failures.items():
                pipe.hincrby(COUNTS_KEY, rule_id, count)
                pipe.hset(WORDS_KEY, rule_id, words)
            pipe.expire(COUNTS_KEY, KEEP_SECONDS)
            pipe.expire(WORDS_KEY, KEEP_SECONDS)
            await pipe.execute()

    async def _catch_up(self) -> None:
        async with get_async_redis().pipeline(transaction=False) as pipe:
            pipe.hgetall(BREAKERS_KEY)
            pipe.hgetall(LATENCY_KEY)
            breakers, latencies = await pipe.execute()
        take_over(self.health, breakers, latencies)

    async def _renew(self, held: Mapping[str, str]) -> None:
        until = (time.time() + LEASE_SECONDS) * 1000
        async with get_async_redis().pipeline(transaction=False) as pipe:
            for name, deployment_id in held.items():
                pipe.zadd(PLACES_PREFIX + deployment_id, {name: until})
                pipe.pexpire(PLACES_PREFIX + deployment_id, int(LEASE_SECONDS * 1000))
            await pipe.execute()
        for name, deployment_id in held.items():
            if name not in self._held:  # it ended while it was being renewed
                await get_async_redis().zrem(PLACES_PREFIX + deployment_id, name)

    async def _free(self, key: str, name: str) -> None:
        await get_async_redis().zrem(key, name)

    async def _forget(self, key: str) -> None:
        await get_async_redis().delete(key)


def shared_health() -> Health:
    """Return what processes have told of deployments, for code without an event loop; nothing while Redis is down."""
    health = Health(clock=time.monotonic)
    try:
        with get_redis().pipeline(transaction=False) as pipe:
            pipe.hgetall(BREAKERS_KEY)
            pipe.hgetall(LATENCY_KEY)
            breakers, latencies = pipe.execute()
    except RedisError:
        return health
    take_over(health, breakers, latencies)
    return health


def take_over(health: Health, breakers: Mapping[bytes, bytes], latencies: Mapping[bytes, bytes]) -> None:
    """Bring what Redis keeps into a Health; what cannot be read, or is old, is left out."""
    for data in breakers.values():
        try:
            health.hear(orjson.loads(data))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
    for name, data in latencies.items():
        try:
            told = orjson.loads(data)
            age = time.time() - float(told["at"])
            if age < OLD_SECONDS:
                health.hear_latency(name.decode(), [float(value) for value in told["latency"]], age=age)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError):
            continue


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(REDIS_SECONDS * 4):
            await work
    except (RedisError, OSError, TimeoutError) as error:
        logger.debug("health_unshared", error=f"{type(error).__name__}: {error}"[:200])
