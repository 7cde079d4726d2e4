"""Find the answer to a request that was answered before."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from django.db import connection, transaction

from apps.billing.services.pricing import PriceCard
from apps.core.errors import AppError
from apps.gateway.choices import CacheState
from apps.gateway.errors import CacheMissed
from apps.gateway.models import CachedAnswer
from apps.gateway.providers.base import CAPABILITY_CHAT, Completion, Usage
from apps.gateway.providers.cached import KIND, CachedTarget
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.cache import unseal
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.runtime.metrics import CACHE_LOOKUPS
from apps.gateway.selectors import Caller, ModelEntry, Route
from apps.gateway.selectors.cache import CacheTerms
from apps.gateway.services.caching.canonical import identify, may_be_cached, split_question
from apps.gateway.services.caching.control import DEFAULT, CacheControl
from apps.gateway.services.caching.keeping import PRICE_FIELDS, USAGE_FIELDS, CacheLookup, fit_vector

logger = structlog.get_logger(__name__)

Embed = Callable[[str, str], Awaitable[list[float]]]
"""Turns a text into a vector by a model of that name; raises AppError."""
_NO_CACHE = CacheLookup(CacheState.OFF)


async def find_cached(
    *,
    runtime: Runtime,
    caller: Caller,
    entry: ModelEntry,
    request: dict[str, Any],
    kind: str,
    guard: str,
    embed: Embed,
    control: CacheControl | None = None,
) -> CacheLookup:
    """Look for the answer to a request that its caller may make, as the caller's policy and `control` want it.

    Not to be asked for a caller without a policy who wants nothing of a cache. `request` is what the provider would get
    (after guardrails); `guard` names the guardrail policy with its version. Whatever fails is a miss. Raise
    CacheMissed when `control` wants no other answer than a cached one, and there is none.
    """
    terms: CacheTerms | None = caller.terms.cache
    control = control or DEFAULT
    if terms is None or not control.may_keep or not may_be_cached(request, terms, kind):
        if control.must_hit:
            raise CacheMissed("Nothing is cached for this request: it, or its key, is not to be cached.")
        return _NO_CACHE
    asking = _Asking(
        runtime, terms, request, entry.info.name, guard, control.max_age_seconds if control.may_read else -1
    )
    lookup = _open_lookup(asking, caller, kind)
    if terms.is_exact and control.may_read:
        body = await runtime.cache.get(lookup.place)
        if body is not None:
            _use(lookup, body, CacheState.HIT, asking)
    if lookup.route is None and terms.is_semantic and kind == CAPABILITY_CHAT:
        await _compare(lookup, asking, embed)
    CACHE_LOOKUPS.labels(lookup.state.value).inc()
    if lookup.route is None and control.must_hit:
        raise CacheMissed("Nothing is cached for this request.")
    return lookup


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question to the cache; `oldest` is the age in seconds that a hit may have, -1 for no hit at all."""

    runtime: Runtime
    terms: CacheTerms
    request: dict[str, Any]
    model: str
    guard: str
    oldest: int | None


def _open_lookup(asking: _Asking, caller: Caller, kind: str) -> CacheLookup:
    actor = caller.actor
    assert actor.organization_id is not None
    digest = identify(
        asking.request,
        organization_id=actor.organization_id,
        terms=asking.terms,
        guard=asking.guard,
        model=asking.model,
        kind=kind,
    )
    return CacheLookup(CacheState.MISS, asking.terms, actor.organization_id, actor.user_id, kind, digest)


def read_vector(completion: Completion) -> list[float]:
    """Return the first vector of an embeddings answer; empty when it has none."""
    payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
    rows = payload.get("data") or [{}]
    vector = rows[0].get("embedding")
    return vector if isinstance(vector, list) else []


async def _compare(lookup: CacheLookup, asking: _Asking, embed: Embed) -> None:
    """Look for the answer to a question that means the same; note the question's vector for keeping."""
    split = split_question(asking.request)
    loader, terms = asking.runtime.loader, asking.terms
    if split is None or loader.is_database_down:
        return
    question, rest = split
    assert lookup.organization_id is not None
    lookup.context = identify(
        rest,
        organization_id=lookup.organization_id,
        terms=terms,
        guard=f"{asking.guard}|{terms.embedding_model}",
        model=asking.model,
        kind="meaning",
    )
    try:
        lookup.vector = fit_vector(await embed(terms.embedding_model, question))
        if lookup.vector is None or asking.oldest == -1:
            return
        body = await loader.load(lambda: _find_nearest(lookup, terms))
    except AppError as error:
        logger.warning("cache_question_not_embedded", model=terms.embedding_model, code=error.code)
        return
    except UNREACHABLE as error:
        logger.warning("cache_unreachable", error=f"{type(error).__name__}: {error}"[:200])
        return
    if body is not None:
        _use(lookup, body, CacheState.SEMANTIC_HIT, asking)


def _find_nearest(lookup: CacheLookup, terms: CacheTerms) -> bytes | None:
    assert lookup.vector is not None
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Without it the index gives its forty nearest of all organizations, and none of them may be of this context.
            cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        found: Any = CachedAnswer.objects.nearest(context=lookup.context, vector=lookup.vector, at=datetime.now(UTC))
        nearest = found.first()
    if nearest is None or 1.0 - nearest.distance < terms.similarity:
        return None
    try:
        return unseal(nearest.answer, place=lookup.context.hex())
    except ValueError:
        logger.warning("cached_answer_unreadable")
        return None


def _use(lookup: CacheLookup, body: bytes, state: CacheState, asking: _Asking) -> None:
    """Make a hit of a stored answer, unless it is older than the caller wants."""
    kept = orjson.loads(body)
    age = max(0, int(time.time()) - kept["at"])
    if asking.oldest is not None and age > asking.oldest:
        return
    lookup.state, lookup.age_seconds, lookup.saved_micros = state, age, kept["cost"]
    lookup.route = _route_to(kept, asking.terms)


def _route_to(kept: dict[str, Any], terms: CacheTerms) -> Route:
    usage = Usage(**{name: value for name, value in kept["usage"].items() if name in USAGE_FIELDS})
    target = CachedTarget(
        provider=KIND,
        kind=KIND,
        base_url="",
        credential="",
        upstream_model=kept["model"],
        answer=kept["answer"],
        usage=usage,
    )
    price = _share_of(kept["price"], terms.hit_price_percent)
    return Route(deployment_id=KIND, target=target, price=price, priority=0, weight=1, is_operators=True)


def _share_of(price: dict[str, Any], percent: int) -> PriceCard:
    """Return a percentage of every price of a card."""
    known = {name: value for name, value in price.items() if name in PRICE_FIELDS}
    return PriceCard(
        **{
            name: value * percent // 100 if value is not None and name.endswith("_micros") else value
            for name, value in known.items()
        }
    )
