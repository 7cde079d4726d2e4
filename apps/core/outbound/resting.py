"""Redis as outbound calls use it: what is there is a help, and while it does not answer nobody waits for it twice."""

from __future__ import annotations

import time

import redis
import structlog
from redis.exceptions import RedisError

from apps.core.redis import get_redis

logger = structlog.get_logger(__name__)

REST_SECONDS = 5.0

_rests_until = 0.0


def resting_redis() -> redis.Redis:
    """Return the client. Raise RedisError at once for 5 seconds after a failure, instead of timing out every time."""
    if time.monotonic() < _rests_until:
        raise RedisError("Redis failed a moment ago and is left alone.")
    return get_redis()


def let_redis_rest(error: RedisError) -> None:
    """Note a failure."""
    global _rests_until  # noqa: PLW0603 - one state per process is the point
    if time.monotonic() >= _rests_until:
        logger.warning("outbound_without_redis", error=str(error)[:200])
        _rests_until = time.monotonic() + REST_SECONDS
