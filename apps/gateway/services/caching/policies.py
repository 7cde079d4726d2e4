"""Decide how answers are cached, and forget what is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from redis.exceptions import RedisError

from apps.core.actor import Actor
from apps.core.redis import get_redis
from apps.events.services import publish
from apps.gateway.events import CachePolicyChanged, CachePurged
from apps.gateway.models import CachedAnswer, CachePolicy
from apps.gateway.runtime.cache import PREFIX, person_key
from apps.users.services.announcing import announce_identity_change

logger = structlog.get_logger(__name__)

TOLD = (
    "is_exact", "is_semantic", "ttl_seconds", "scope", "similarity", "embedding_model", "max_temperature",
    "hit_price_percent",
)  # fmt: skip
SWEEP_ROWS = 5_000
KEYS_PER_LOOK = 1_000


@transaction.atomic
def save_cache_policy(*, policy: CachePolicy, actor: Actor) -> CachePolicy:
    """Store a new or changed policy and let running processes know; what was cached under the old one is forgotten.

    Raise ValidationError when it breaks a rule of its own, such as a team of another organization.
    """
    before = CachePolicy.objects.select_for_update().filter(id=policy.id).first()
    changed = tuple(name for name in TOLD if before is None or getattr(before, name) != getattr(policy, name))
    if before is not None:
        policy.generation = before.generation + bool(changed)
    policy.full_clean()
    policy.save()
    if changed:
        _tell(policy, actor, changed)
        if before is not None:
            _forget(policy)
    return policy


@transaction.atomic
def delete_cache_policy(*, policy: CachePolicy, actor: Actor) -> None:
    """Remove a policy with all that is cached under it."""
    _tell(policy, actor, ("deleted",))
    _forget(policy)
    policy.delete()


@transaction.atomic
def purge_cache(*, policy: CachePolicy, actor: Actor) -> None:
    """Forget everything that is cached under a policy: no process gives it again once this has committed and is heard of."""
    CachePolicy.objects.filter(id=policy.id).update(generation=F("generation") + 1, updated_at=datetime.now(UTC))
    publish(CachePurged(aggregate_id=policy.id, organization_id=policy.organization_id), actor=actor)
    _announce(policy)
    _forget(policy)


def forget_person(*, user_id: UUID, organization_id: UUID) -> None:
    """Forget the answers to a person's questions in an organization; called again, it does no more."""
    CachedAnswer.objects.filter(user_id=user_id, organization_id=organization_id).delete()
    key, prefix = person_key(user_id), f"{PREFIX}:{organization_id.hex}:".encode()
    redis = get_redis()
    kept = cast("list[bytes]", redis.zrange(key, 0, -1))
    places = [place for place in kept if place.startswith(prefix)]
    if places:
        redis.unlink(*places)
        redis.zrem(key, *places)


def sweep_cached_answers() -> int:
    """Delete answers whose time is over; return how many."""
    old = CachedAnswer.objects.filter(expires_at__lte=datetime.now(UTC)).order_by("expires_at").values("id")
    deleted, _ = CachedAnswer.objects.filter(id__in=old[:SWEEP_ROWS]).delete()
    return deleted


def _tell(policy: CachePolicy, actor: Actor, changed: tuple[str, ...]) -> None:
    event = CachePolicyChanged(
        aggregate_id=policy.id,
        organization_id=policy.organization_id,
        team_id=policy.team_id,
        api_key_id=policy.api_key_id,
        changed=changed,
    )
    publish(event, actor=actor)
    _announce(policy)


def _announce(policy: CachePolicy) -> None:
    if policy.api_key_id is not None:
        announce_identity_change(kind="api_key", id=policy.api_key_id)
    elif policy.team_id is not None:
        announce_identity_change(kind="team", id=policy.team_id)
    else:
        announce_identity_change(kind="organization", id=policy.organization_id)


def _forget(policy: CachePolicy) -> None:
    """Delete what is cached: nobody finds it any more, and nobody should be able to read it either."""
    CachedAnswer.objects.filter(policy_id=policy.id).delete()
    pattern = f"{PREFIX}:{policy.organization_id.hex}:{policy.id.hex}:*"
    transaction.on_commit(lambda: _drop(pattern))


def _drop(pattern: str) -> None:
    try:
        redis = get_redis()
        batch = []
        for key in redis.scan_iter(match=pattern, count=KEYS_PER_LOOK):
            batch.append(key)
            if len(batch) == KEYS_PER_LOOK:
                redis.unlink(*batch)
                batch.clear()
        if batch:
            redis.unlink(*batch)
    except RedisError as error:
        # Under its old generation it is found by nobody, and gone after its time.
        logger.warning("cached_answers_not_dropped", error=str(error)[:200])
