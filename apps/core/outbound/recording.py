"""What outbound calls did: metrics for Prometheus, and the latest calls for the people who look after them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import cast

import orjson
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from apps.core.outbound.resting import let_redis_rest, resting_redis

RECENT_KEY = "outbound:recent"
RECENT_CALLS = 500

CALLS = Counter("portico_outbound_calls_total", "Outbound calls by purpose and outcome.", ["purpose", "outcome"])
SECONDS = Histogram(
    "portico_outbound_seconds",
    "Duration of outbound calls.",
    ["purpose"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call: `outcome` is the status's class (`2xx`) or the kind of failure; `host` carries no path or secret."""

    at: float
    purpose: str
    method: str
    host: str
    status: int | None
    outcome: str
    duration_ms: int


def record_call(
    *, purpose: str, method: str, host: str, status: int | None, outcome: str, duration_seconds: float
) -> None:
    """Count a call and remember it. What cannot be remembered, because Redis is down, is only counted."""
    CALLS.labels(purpose, outcome).inc()
    SECONDS.labels(purpose).observe(duration_seconds)
    call = RecordedCall(time.time(), purpose, method, host, status, outcome, round(duration_seconds * 1000))
    try:
        with resting_redis().pipeline(transaction=False) as pipe:
            pipe.lpush(RECENT_KEY, orjson.dumps(asdict(call)))
            pipe.ltrim(RECENT_KEY, 0, RECENT_CALLS - 1)
            pipe.execute()
    except RedisError as error:
        let_redis_rest(error)


def recent_calls(limit: int = RECENT_CALLS) -> list[RecordedCall]:
    """Return the latest calls, newest first; nothing while Redis does not answer."""
    try:
        rows = cast("list[bytes]", resting_redis().lrange(RECENT_KEY, 0, limit - 1))
    except RedisError as error:
        let_redis_rest(error)
        return []
    return [RecordedCall(**orjson.loads(row)) for row in rows]
