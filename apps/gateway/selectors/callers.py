"""Who calls, with what the call is bound by: the actor, the models it may use, its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from apps.core.actor import Actor
from apps.core.errors import PermissionRefused
from apps.users.errors import KeyUnknown
from apps.users.models import ApiKey, Membership, Organization
from apps.users.selectors import actor_of_key, find_key


@dataclass(frozen=True, slots=True)
class Caller:
    """An actor and its restrictions.

    `allowed_models` None means all. Limits are per minute and None for none; `limit_key` names the counters they share.
    """

    actor: Actor
    allowed_models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    limit_key: str = ""
    expires_at: datetime | None = None

    @property
    def is_limited(self) -> bool:
        """Tell whether calls have to be counted."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    def may_use(self, model: str) -> bool:
        """Tell whether the model is among those allowed."""
        return self.allowed_models is None or model in self.allowed_models

    def has_expired(self) -> bool:
        """Tell whether the key's time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def ids(self) -> frozenset[str]:
        """Return the ids whose change concerns this caller: key, user, organization."""
        actor = self.actor
        return frozenset(str(value) for value in (actor.api_key_id, actor.user_id, actor.organization_id) if value)


def find_caller(secret: str) -> Caller:
    """Return who holds this API key. Raise KeyUnknown."""
    key = find_key(secret)
    return _caller_of_key(key, actor_of_key(key=key))


def caller_of_actor(actor: Actor) -> Caller:
    """Return an actor with the restrictions of its key, where it has one. Raise KeyUnknown when that is usable no more."""
    if actor.api_key_id is None:
        return Caller(actor=actor)
    key = ApiKey.objects.usable().filter(id=actor.api_key_id).first()
    if key is None:
        raise KeyUnknown("The API key was revoked or has expired.")
    return _caller_of_key(key, actor)


def confirm_caller(caller: Caller, *, model: str) -> None:
    """Make sure that a call which was allowed still is. Raise KeyUnknown or PermissionRefused."""
    actor = caller.actor
    if not caller_of_actor(actor).may_use(model):
        raise PermissionRefused(f"The key may not use the model {model!r} any more.")
    if actor.user_id is None:
        belongs = Organization.objects.active().filter(id=actor.organization_id).exists()
    else:
        belongs = Membership.objects.filter(
            user_id=actor.user_id,
            organization_id=actor.organization_id,
            user__is_active=True,
            organization__is_active=True,
        ).exists()
    if not belongs:
        raise PermissionRefused("The caller's account or organization was closed, or the caller has left it.")


def _caller_of_key(key: ApiKey, actor: Actor) -> Caller:
    return Caller(
        actor=actor,
        allowed_models=frozenset(key.allowed_models) or None,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        limit_key=str(key.id),
        expires_at=key.expires_at,
    )
