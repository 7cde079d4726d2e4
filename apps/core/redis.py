"""Redis clients: one pool a process for threads, one a loop for coroutines. What is in Redis may vanish at any time."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings

CONNECT_TIMEOUT_SECONDS = 1.0
TIMEOUT_SECONDS = 2.0

_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS, health_check_interval=30
    )


def get_redis() -> redis.Redis:
    """Return this process's client for synchronous code."""
    return _client(settings.REDIS_URL)


def get_async_redis() -> redis.asyncio.Redis:
    """Return the running loop's client."""
    loop = asyncio.get_running_loop()
    client = _by_loop.get(loop)
    if client is None:
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            health_check_interval=30,
        )
        _by_loop[loop] = client
    return client
