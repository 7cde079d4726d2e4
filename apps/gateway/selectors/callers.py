"""Who calls, with what the call is bound by: the actor, the models it may use, its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import jwt

from apps.core.actor import Actor
from apps.core.errors import PermissionRefused
from apps.gateway.selectors.terms import NO_TERMS, Terms, terms_of_key, terms_of_person
from apps.users.choices import CredentialKind
from apps.users.errors import KeyUnknown
from apps.users.key_format import hash_secret
from apps.users.models import ApiKey, Membership
from apps.users.selectors import Credential, Identity, identify_bearer, is_credential_live


@dataclass(frozen=True, slots=True)
class Caller:
    """An actor and its restrictions.

    `allowed_models` None means all; `terms` are what else binds its calls. `credential` is None for an actor of another
    entrance.
    """

    actor: Actor
    allowed_models: frozenset[str] | None = None
    expires_at: datetime | None = None
    credential: Credential | None = None
    terms: Terms = NO_TERMS

    def may_use(self, model: str) -> bool:
        """Tell whether the model is among those allowed."""
        return self.allowed_models is None or model in self.allowed_models

    def has_expired(self) -> bool:
        """Tell whether the credential's time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def ids(self) -> frozenset[str]:
        """Return the ids whose change concerns this caller: key, user, teams, organization."""
        actor = self.actor
        found = (actor.api_key_id, actor.user_id, actor.organization_id, *self.terms.team_ids)
        return frozenset(str(value) for value in found if value)


def find_caller(secret: str) -> tuple[Caller, Identity]:
    """Return who holds this key or token, and the proof. Raise NotAuthenticated (KeyUnknown, TokenInvalid)."""
    identity = identify_bearer(secret)
    if identity.credential.kind != CredentialKind.API_KEY:
        caller = Caller(
            actor=identity.actor,
            credential=identity.credential,
            expires_at=_token_expiry(identity, secret),
            terms=_terms_of_actor(identity.actor),
        )
        return caller, identity
    key: ApiKey = identity.row
    expires_at = key.expires_at
    if key.secret_hash != hash_secret(secret) and key.previous_expires_at is not None:
        # The secret before the last rotation: it lives as long as the overlap.
        expires_at = min(filter(None, (expires_at, key.previous_expires_at)))
    return _caller_of_key(key, identity.actor, credential=identity.credential, expires_at=expires_at), identity


def caller_of_actor(actor: Actor) -> Caller:
    """Return an actor with its terms and the restrictions of its key, where it has one.

    Raise KeyUnknown when that is usable no more.
    """
    if actor.api_key_id is None:
        return Caller(actor=actor, terms=_terms_of_actor(actor))
    key = _usable_key(actor.api_key_id)
    return _caller_of_key(key, actor, credential=None, expires_at=key.expires_at)


def confirm_caller(caller: Caller, *, model: str) -> None:
    """Make sure that a call which was allowed still is. Raise KeyUnknown or PermissionRefused."""
    actor = caller.actor
    allowed = _usable_key(actor.api_key_id).allowed_models if actor.api_key_id else ()
    if allowed and model not in allowed:
        raise PermissionRefused(f"The key may not use the model {model!r} any more.")
    if caller.credential is not None:
        is_live = is_credential_live(caller.credential)
    elif actor.user_id is None or actor.organization_id is None:
        is_live = False
    else:
        is_live = Membership.objects.filter(
            user_id=actor.user_id,
            organization_id=actor.organization_id,
            user__is_active=True,
            organization__is_active=True,
        ).exists()
    if not is_live:
        raise PermissionRefused("The session, key or account behind this call was closed while it was running.")


def _usable_key(key_id: UUID) -> ApiKey:
    key: ApiKey | None = ApiKey.objects.usable().filter(id=key_id).first()
    if key is None:
        raise KeyUnknown("The API key was revoked or has expired.")
    return key


def _terms_of_actor(actor: Actor) -> Terms:
    if actor.organization_id is None:
        return NO_TERMS
    return terms_of_person(user_id=actor.user_id, organization_id=actor.organization_id)


def _caller_of_key(key: ApiKey, actor: Actor, *, credential: Credential | None, expires_at: datetime | None) -> Caller:
    return Caller(
        actor=actor,
        allowed_models=frozenset(key.allowed_models) or None,
        expires_at=expires_at,
        credential=credential,
        terms=terms_of_key(key),
    )


def _token_expiry(identity: Identity, secret: str) -> datetime:
    if identity.credential.kind == CredentialKind.OAUTH_TOKEN:
        expires: datetime = identity.row.expires
        return expires
    # Verified a moment ago, so that its claims may be read as they are.
    claims = jwt.decode(secret, options={"verify_signature": False})
    return datetime.fromtimestamp(claims["exp"], tz=UTC)
