"""API keys: issue, change, rotate, revoke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actor import ALL_SCOPES, Actor, ActorKind
from apps.core.errors import InvalidInput
from apps.events.services import publish
from apps.users.choices import SCOPES
from apps.users.errors import GrantTooWide, KeyRevoked, OrganizationUnknown, ScopeUnknown
from apps.users.events import ApiKeyChanged, ApiKeyIssued, ApiKeyRevoked, ApiKeyRotated
from apps.users.key_format import hash_secret, new_secret, shown_prefix
from apps.users.models import ApiKey, Membership, Organization, Team, User
from apps.users.services.announcing import announce_identity_change
from apps.users.services.teams import require_team

DEFAULT_OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a key may do. Empty lists and None are "no restriction"; requests and tokens are per minute.

    `team` is the one that the key's calls count for.
    """

    scopes: Sequence[str] = field(default_factory=tuple)
    allowed_models: Sequence[str] = field(default_factory=tuple)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_calls: int | None = None
    expires_at: datetime | None = None
    team: Team | None = None

    @classmethod
    def of(cls, key: ApiKey) -> KeyTerms:
        """Return the terms of a key as it stands."""
        return cls(
            scopes=key.scopes,
            allowed_models=key.allowed_models,
            requests_per_minute=key.requests_per_minute,
            tokens_per_minute=key.tokens_per_minute,
            parallel_calls=key.parallel_calls,
            expires_at=key.expires_at,
            team=key.team,
        )


@transaction.atomic
def issue_api_key(
    *,
    user: User,
    organization: Organization,
    name: str,
    actor: Actor,
    terms: KeyTerms | None = None,
    secret: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is not kept.

    Raise GrantTooWide for anything the actor does not have, OrganizationUnknown when the user is no member there,
    ScopeUnknown, TeamUnfit, InvalidInput for an expiry in the past. `secret` is for a key that the operator chose.
    """
    terms = _inherit_scopes(terms or KeyTerms(), actor)
    _require_within(actor=actor, user_id=user.id, organization_id=organization.id, terms=terms)
    if not Membership.objects.filter(user=user, organization=organization).exists():
        raise OrganizationUnknown(f"{user.public_id} is no member of {organization.public_id}.")
    if terms.team is not None:
        require_team(team=terms.team, user_id=user.id, organization_id=organization.id, actor=actor)
    secret = secret or new_secret()
    key = ApiKey.objects.create(
        user=user,
        organization=organization,
        name=name,
        prefix=shown_prefix(secret),
        secret_hash=hash_secret(secret),
        scopes=list(terms.scopes),
        allowed_models=list(terms.allowed_models),
        requests_per_minute=terms.requests_per_minute,
        tokens_per_minute=terms.tokens_per_minute,
        parallel_calls=terms.parallel_calls,
        expires_at=terms.expires_at,
        team=terms.team,
    )
    publish(
        ApiKeyIssued(aggregate_id=key.id, organization_id=organization.id, user_id=user.id, scopes=tuple(terms.scopes)),
        actor=actor,
    )
    announce_identity_change(kind="api_key", id=key.id)
    return key, secret


@transaction.atomic
def update_api_key(*, key: ApiKey, actor: Actor, **changes: Any) -> ApiKey:
    """Change a key's `name` or terms. Raise GrantTooWide when it would have more than the actor, KeyRevoked, TeamUnfit."""
    locked = _lock(key)
    changed = tuple(sorted(name for name, value in changes.items() if getattr(locked, name) != value))
    if not changed:
        return locked
    for name in changed:
        setattr(locked, name, changes[name])
    if "expires_at" in changed:
        _require_future(locked.expires_at)
    if "team" in changed and locked.team is not None:
        require_team(team=locked.team, user_id=locked.user_id, organization_id=locked.organization_id, actor=actor)
    # Also for an administrator who changes somebody else's key: what it has must be theirs to give.
    _require_terms(actor=actor, terms=KeyTerms.of(locked))
    locked.save(update_fields=[*changed, "updated_at"])
    publish(ApiKeyChanged(aggregate_id=locked.id, organization_id=locked.organization_id, fields=changed), actor=actor)
    announce_identity_change(kind="api_key", id=locked.id)
    return locked


@transaction.atomic
def rotate_api_key(*, key: ApiKey, actor: Actor, overlap: timedelta = DEFAULT_OVERLAP) -> tuple[ApiKey, str]:
    """Give a key a new secret; the present one opens for `overlap` more, any older one no longer.

    Raise GrantTooWide when the key has more than the actor (a secret is a grant), KeyRevoked, InvalidInput for an
    overlap beyond 30 days.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidInput(f"overlap_seconds: between 0 and {int(MAX_OVERLAP.total_seconds())}.")
    locked = _lock(key)
    _require_within(
        actor=actor, user_id=locked.user_id, organization_id=locked.organization_id, terms=KeyTerms.of(locked)
    )
    secret = new_secret()
    keeps_old = overlap > timedelta(0)
    locked.previous_secret_hash = locked.secret_hash if keeps_old else None
    locked.previous_expires_at = timezone.now() + overlap if keeps_old else None
    locked.secret_hash, locked.prefix = hash_secret(secret), shown_prefix(secret)
    locked.save(update_fields=["previous_secret_hash", "previous_expires_at", "secret_hash", "prefix", "updated_at"])
    publish(
        ApiKeyRotated(
            aggregate_id=locked.id,
            organization_id=locked.organization_id,
            overlap_seconds=int(overlap.total_seconds()),
        ),
        actor=actor,
    )
    announce_identity_change(kind="api_key", id=locked.id)
    return locked, secret


@transaction.atomic
def revoke_api_key(*, key: ApiKey, actor: Actor) -> None:
    """Stop a key from the next request on, both secrets of a rotation; revoking twice does nothing."""
    if ApiKey.objects.filter(id=key.id, revoked_at__isnull=True).update(
        revoked_at=Now(), previous_secret_hash=None, previous_expires_at=None
    ):
        publish(ApiKeyRevoked(aggregate_id=key.id, organization_id=key.organization_id), actor=actor)
        announce_identity_change(kind="api_key", id=key.id)


def note_key_use(*, key: ApiKey) -> None:
    """Note when a key was last used, at most once a minute: one statement, no lock held."""
    now = timezone.now()
    if key.last_used_at is not None and now - key.last_used_at < SEEN_EVERY:
        return
    ApiKey.objects.filter(id=key.id).exclude(last_used_at__gt=now - SEEN_EVERY).update(last_used_at=now)


def _lock(key: ApiKey) -> ApiKey:
    locked: ApiKey = ApiKey.objects.locked().get(id=key.id)
    if locked.revoked_at is not None:
        raise KeyRevoked(f"{locked.public_id} is revoked; make a new key.")
    return locked


def _inherit_scopes(terms: KeyTerms, actor: Actor) -> KeyTerms:
    """Give a key for which no scopes were named those of its creator: empty would mean everything."""
    if terms.scopes or ALL_SCOPES in actor.scopes:
        return terms
    inherited = tuple(sorted(scope for scope in actor.scopes if scope in SCOPES))
    return replace(terms, scopes=inherited)


def _require_within(*, actor: Actor, user_id: UUID, organization_id: UUID, terms: KeyTerms) -> None:
    if actor.kind != ActorKind.SYSTEM and (actor.user_id != user_id or actor.organization_id != organization_id):
        raise GrantTooWide("A secret acts as its user, so only that person can be given one, in this organization.")
    _require_future(terms.expires_at)
    _require_terms(actor=actor, terms=terms)


def _require_future(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("expires_at: must lie in the future.", errors={"expires_at": ["Must lie in the future."]})


def _require_terms(*, actor: Actor, terms: KeyTerms) -> None:
    """Raise GrantTooWide unless the actor has all of the terms, ScopeUnknown for a scope that nobody has."""
    if unknown := [scope for scope in terms.scopes if scope not in SCOPES]:
        raise ScopeUnknown(f"scopes: {', '.join(unknown)[:200]} — known are {', '.join(SCOPES)}.")
    if actor.kind == ActorKind.SYSTEM or (actor.kind == ActorKind.USER and ALL_SCOPES in actor.scopes):
        return
    if ALL_SCOPES not in actor.scopes:
        missing = [scope for scope in terms.scopes if not actor.has_scope(scope)]
        if missing or not terms.scopes:
            raise GrantTooWide(
                f"The creator lacks {', '.join(missing) or 'the unrestricted access that it would give'}."
            )
    if actor.api_key_id is not None:
        _require_within_key(ApiKey.objects.get(id=actor.api_key_id), terms)


def _require_within_key(creator: ApiKey, terms: KeyTerms) -> None:
    if any(
        limit is not None for limit in (creator.requests_per_minute, creator.tokens_per_minute, creator.parallel_calls)
    ):
        raise GrantTooWide("A key with rate limits cannot make or widen keys: two keys would have twice its limits.")
    if creator.team_id is not None and (terms.team is None or terms.team.id != creator.team_id):
        raise GrantTooWide("team_id: a key that counts for a team makes keys that count for it, too.")
    allowed = set(creator.allowed_models)
    if allowed and (not terms.allowed_models or not set(terms.allowed_models) <= allowed):
        raise GrantTooWide("allowed_models: must lie within those of the key that makes this one.")
    if creator.expires_at is not None and (terms.expires_at is None or terms.expires_at > creator.expires_at):
        raise GrantTooWide("expires_at: a key cannot outlive the key that makes it.")
