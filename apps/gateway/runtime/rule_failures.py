"""Routing rules that could not be asked: counted here, added up in Redis for the staff's pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from redis.exceptions import RedisError

from apps.core.redis import get_redis
from apps.gateway.runtime.metrics import RULE_FAILURES

COUNTS_KEY = "portico:routing:failures"
WORDS_KEY = "portico:routing:failure_words"
MAX_WORDS = 200

_noted: dict[str, tuple[int, str]] = {}


def note_failure(rule_id: str, words: str) -> None:
    """Count that a rule could not be asked, and keep why the last time."""
    RULE_FAILURES.labels(rule_id).inc()
    _noted[rule_id] = (_noted.get(rule_id, (0, ""))[0] + 1, words[:MAX_WORDS])


def take_failures() -> dict[str, tuple[int, str]]:
    """Return what was noted since the last time."""
    found = dict(_noted)
    _noted.clear()
    return found


def read_failures() -> dict[str, tuple[int, str]]:
    """Return how often each rule failed in all processes, and why the last time; nothing while Redis is down."""
    try:
        with get_redis().pipeline(transaction=False) as pipe:
            pipe.hgetall(COUNTS_KEY)
            pipe.hgetall(WORDS_KEY)
            counts, words = cast("list[Mapping[bytes, bytes]]", pipe.execute())
    except RedisError:
        return {}
    return {name.decode(): (int(count), words.get(name, b"").decode()) for name, count in counts.items()}
