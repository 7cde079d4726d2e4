"""How many requests of /api/v3 one caller may send: per address, person, key and route, over all processes.

One script call in Redis a request, all counters or none. While Redis does not answer requests are let through: what
guards passwords counts by itself, and calls of models have limits of their own.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.core.actor import ANONYMOUS, Actor
from apps.core.api.clients import client_ip
from apps.core.errors import RateLimited
from apps.core.redis import get_redis

logger = structlog.get_logger(__name__)

SCRIPT = (Path(__file__).parent / "throttle.lua").read_text()
PREFIX = "portico:requests:"
WINDOW_SECONDS = 60
REST_SECONDS = 1.0
"""How long Redis is not asked after it failed to answer: a request waits for it once, not each time."""
WORDS = {"ip": "this address", "user": "your account", "key": "this API key", "route": "this endpoint"}

_rest = {"until": 0.0}


class TooManyRequests(RateLimited):
    code, title = "requests_limited", "Too many requests in this minute"


class Throttle(BaseThrottle):
    """Counts a request against every limit of `API_RATE_LIMITS` that concerns it; 0 switches one off.

    A view's `rate_limits` gives its methods other limits per caller than `route`. The answer carries `RateLimit` and
    `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) of the limit that has the least left.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request. Raise TooManyRequests."""
        counters = _counters(request, view)
        if not counters or time.monotonic() < _rest["until"]:
            return True
        keys = [key for _, key, _ in counters]
        try:
            found: Any = get_redis().eval(SCRIPT, len(keys), *keys, 0, *(limit for _, _, limit in counters))
        except RedisError as error:
            _rest["until"] = time.monotonic() + REST_SECONDS
            logger.warning("requests_uncounted", error=str(error)[:300])
            return True
        refused, wait, *left = (int(number) for number in found)
        if refused:
            name, _, limit = counters[refused - 1]
            raise TooManyRequests(
                f"The limit of {limit} requests per minute of {WORDS[name]} is reached; try again in {wait} s.",
                retry_after_seconds=wait,
                headers=_headers(name, limit, 0, wait),
            )
        at = min(range(len(left)), key=left.__getitem__)
        request._request.rate_limit = _headers(  # type: ignore[attr-defined]
            counters[at][0], counters[at][2], left[at], WINDOW_SECONDS
        )
        return True


def _counters(request: Request, view: Any) -> list[tuple[str, str, int]]:
    """Return name, key and limit of everything that this request counts for."""
    actor: Actor = getattr(request._request, "actor", ANONYMOUS)
    address = client_ip(request._request)
    caller = str(actor.api_key_id or actor.user_id or address)
    route = f"{caller}:{request.method}:{type(view).__module__}.{type(view).__qualname__}"
    subjects = {
        "ip": address,
        "user": str(actor.user_id or ""),
        "key": str(actor.api_key_id or ""),
        "route": route,
    }
    limits = {**settings.API_RATE_LIMITS}
    if request.method in view.rate_limits:
        limits["route"] = view.rate_limits[request.method]
    return [
        (name, f"{PREFIX}{name}:{_digest(subject)}", limits[name])
        for name, subject in subjects.items()
        if subject and limits.get(name)
    ]


def _digest(subject: str) -> str:
    # An address is not kept in clear.
    return hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()


def _headers(name: str, limit: int, left: int, seconds: int) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{name}";q={limit};w={WINDOW_SECONDS}',
        "RateLimit": f'"{name}";r={left};t={seconds}',
    }
