"""Which way a call goes, and which way next when that one fails."""

from __future__ import annotations

import random

from apps.gateway.providers.base import UpstreamError, UpstreamRejected
from apps.gateway.runtime import Runtime
from apps.gateway.selectors import ModelEntry, Route

MAX_ROUTES = 3
REST_SECONDS = 10.0
MAX_REST_SECONDS = 60.0


def order_routes(entry: ModelEntry, runtime: Runtime) -> list[Route]:
    """Return the ways to try, best first: rested before failing, then by priority, then at random by weight."""
    if len(entry.routes) == 1:
        return list(entry.routes)
    now = runtime.loop.time()
    resting = runtime.resting

    def rank(route: Route) -> tuple[bool, int, float]:
        # The smallest of exponential samples with these rates is each one with the probability of its weight's share.
        chance = random.expovariate(route.weight)
        return resting.get(route.deployment_id, 0.0) > now, route.priority, chance

    return sorted(entry.routes, key=rank)[:MAX_ROUTES]


def choose_next(failed: Route, error: UpstreamError, left: list[Route], attempts: int) -> list[Route]:
    """Return the ways that remain after a failure.

    Where there is no other, the same one is asked a second time if its connection broke before any answer came: servers
    close idle connections at the very moment they are used again.
    """
    if left:
        return left if error.may_fall_over else []
    broke = error.is_retryable and error.upstream_status is None and error.status in {502, 503}
    return [failed] if broke and attempts == 1 else []


def rest_route(route: Route, error: UpstreamError, runtime: Runtime) -> None:
    """Prefer other ways for a while, after a failure that is the provider's and not the request's."""
    if isinstance(error, UpstreamRejected):
        return
    seconds = min(error.retry_after_seconds or REST_SECONDS, MAX_REST_SECONDS)
    runtime.resting[route.deployment_id] = runtime.loop.time() + seconds
