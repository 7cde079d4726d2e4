"""How answers are cached for a caller."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from apps.gateway.choices import CacheScope
from apps.gateway.models import CachePolicy
from apps.gateway.selectors.bound import Bound


@dataclass(frozen=True, slots=True)
class CacheTerms:
    """The one cache policy that holds for a caller, as its calls need it.

    `subject` is whose answers are shared: the hex of a person's or key's id, or "" for everyone under the policy.
    """

    policy_id: UUID
    generation: int
    subject: str
    is_exact: bool
    is_semantic: bool
    ttl_seconds: int
    similarity: float
    embedding_model: str
    max_temperature: float | None
    hit_price_percent: int


def cache_terms_of(bound: Bound) -> CacheTerms | None:
    """Return how the calls of a caller are cached, None when they are not.

    The narrowest policy holds: the key's, else that of the nearest team, else that of the organization. One query.
    """
    api_key_id = bound.api_key.id if bound.api_key is not None else None
    found = CachePolicy.objects.binding(
        organization_id=bound.organization_id, team_ids=bound.team_ids, api_key_id=api_key_id
    )
    policy = min(found, key=lambda policy: _width(policy, bound.team_ids), default=None)
    if policy is None or not (policy.is_exact or policy.is_semantic):
        return None
    subject = {CacheScope.USER.value: bound.user_id, CacheScope.API_KEY.value: api_key_id or bound.user_id}.get(
        policy.scope
    )
    return CacheTerms(
        policy_id=policy.id,
        generation=policy.generation,
        subject=subject.hex if subject is not None else "",
        is_exact=policy.is_exact,
        is_semantic=policy.is_semantic,
        ttl_seconds=policy.ttl_seconds,
        similarity=policy.similarity,
        embedding_model=policy.embedding_model,
        max_temperature=policy.max_temperature,
        hit_price_percent=policy.hit_price_percent,
    )


def _width(policy: CachePolicy, team_ids: tuple[UUID, ...]) -> int:
    if policy.api_key_id is not None:
        return 0
    return len(team_ids) + 1 if policy.team_id is None else team_ids.index(policy.team_id) + 1
