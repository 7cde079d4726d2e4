"""Keep an answer for the next who asks the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from pgvector import HalfVector

from apps.billing.services.pricing import PriceCard
from apps.gateway.choices import CacheState
from apps.gateway.models import DIMENSIONS, CachedAnswer
from apps.gateway.providers.base import Chunk, Completion, Usage
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.cache import key_of, seal
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.runtime.metrics import CACHE_SAVED
from apps.gateway.selectors import Route
from apps.gateway.selectors.cache import CacheTerms
from apps.gateway.services.caching.assembling import MAX_BYTES, Assembler
from apps.gateway.services.caching.canonical import is_complete


@dataclass(slots=True)
class CacheLookup:
    """What the cache did for one call, and where its answer is to be kept.

    `route` is set on a hit; `age_seconds` and `saved_micros` (what the answer once cost) then as well. `digest` is None
    where nothing is looked up or kept. `context` and `vector` are those of the question where meaning is compared.
    """

    state: CacheState
    terms: CacheTerms | None = None
    organization_id: UUID | None = None
    user_id: UUID | None = None
    kind: str = ""
    digest: bytes | None = None
    context: bytes = b""
    vector: list[float] | None = None
    route: Route | None = None
    age_seconds: int = 0
    saved_micros: int = 0
    _assembler: Assembler | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what the answer's headers say of the cache."""
        headers = [(b"x-portico-cache", self.state.value.encode())]
        if self.route is not None:
            headers.append((b"x-portico-cache-age", b"%d" % self.age_seconds))
        return headers

    @property
    def place(self) -> str:
        """Return where the answer lies in Redis."""
        assert self.terms is not None
        assert self.organization_id is not None
        assert self.digest is not None
        return key_of(self.organization_id, self.terms.policy_id, self.digest)

    @property
    def keeps(self) -> bool:
        """Tell whether the answer is to be kept."""
        return self.digest is not None and self.route is None

    @property
    def is_canonical(self) -> bool:
        """Tell whether the call has to go in the canonical form: its answer comes from here, or is kept in it."""
        return self.digest is not None or self.route is not None

    def take(self, batch: list[Chunk]) -> None:
        """Collect the events of a stream, as the provider sent them."""
        if self.keeps:
            self._assembler = self._assembler or Assembler()
            self._assembler.take(batch)

    def answer(self, completion: Completion | None) -> dict[str, Any] | None:
        """Return the provider's answer, in one piece or put together from what was collected, without its usage."""
        if completion is None:
            return self._assembler.build() if self._assembler is not None else None
        payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
        return {name: value for name, value in payload.items() if name != "usage"}


def keep_answer(
    lookup: CacheLookup,
    *,
    runtime: Runtime,
    route: Route,
    completion: Completion | None,
    usage: Usage,
    cost_micros: int,
) -> None:
    """Count what the cache did for a call that ended well; keep its answer, behind the client's back.

    Kept are only complete answers: every choice ended by itself, without a tool call. Nothing is raised, nothing waited
    for.
    """
    if lookup.terms is None or lookup.state is CacheState.OFF:
        return
    count = runtime.cache.tally.at(lookup.terms.policy_id, datetime.now(UTC).date())
    if lookup.route is not None:
        count.hits += 1
        count.semantic_hits += lookup.state is CacheState.SEMANTIC_HIT
        saved = max(lookup.saved_micros - cost_micros, 0)
        count.saved_micros += saved
        CACHE_SAVED.inc(saved)
        return
    count.misses += 1
    payload = lookup.answer(completion)
    if payload is None or not is_complete(payload, lookup.kind):
        return
    body = orjson.dumps(
        {
            "at": int(time.time()),
            "answer": payload,
            "usage": {name: getattr(usage, name) for name in USAGE_FIELDS},
            "model": route.target.upstream_model,
            "price": {name: getattr(route.price, name) for name in PRICE_FIELDS},
            "cost": cost_micros,
        }
    )
    if len(body) <= MAX_BYTES:
        runtime.cache.begin(_store(lookup, runtime, body))


async def _store(lookup: CacheLookup, runtime: Runtime, body: bytes) -> None:
    terms = lookup.terms
    assert terms is not None
    if terms.is_exact:
        await runtime.cache.put(lookup.place, body, seconds=terms.ttl_seconds, user_id=lookup.user_id)
    if lookup.vector is not None and not runtime.loader.is_database_down:
        try:
            await runtime.loader.load(lambda: _store_by_meaning(lookup, body))
        except UNREACHABLE:
            pass  # the loader remembers; a cache that is not written is a miss later


def _store_by_meaning(lookup: CacheLookup, body: bytes) -> None:
    terms = lookup.terms
    assert terms is not None
    assert lookup.vector is not None
    assert lookup.organization_id is not None
    now = datetime.now(UTC)
    CachedAnswer.objects.create(
        policy_id=terms.policy_id,
        organization_id=lookup.organization_id,
        user_id=lookup.user_id,
        context=lookup.context,
        embedding=HalfVector(lookup.vector),
        answer=seal(body, place=lookup.context.hex()),
        created_at=now,
        expires_at=now + timedelta(seconds=terms.ttl_seconds),
    )


def fit_vector(vector: list[float]) -> list[float] | None:
    """Return a vector filled up to the stored length; None for one that cannot be compared: too long, or zero."""
    if len(vector) > DIMENSIONS or not any(vector):
        return None
    return vector + [0.0] * (DIMENSIONS - len(vector))


USAGE_FIELDS = tuple(field.name for field in fields(Usage))
PRICE_FIELDS = tuple(field.name for field in fields(PriceCard))
