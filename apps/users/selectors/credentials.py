"""What somebody showed at the entrance, and whether it still opens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apps.core.actor import Actor
from apps.users.choices import CredentialKind
from apps.users.errors import OrganizationUnknown, TokenInvalid
from apps.users.key_format import PREFIX
from apps.users.models import ApiKey, Membership, User, UserSession
from apps.users.selectors.actors import actor_of_key, actor_of_oauth_token, actor_of_user
from apps.users.selectors.keys import find_key
from apps.users.selectors.tokens import find_oauth_token, find_session, is_jwt


@dataclass(frozen=True, slots=True)
class Credential:
    """Which row a caller's proof is; what lasts longer than a request asks `is_credential_live` about it."""

    kind: CredentialKind
    id: Any
    user_id: UUID
    organization_id: UUID | None


@dataclass(frozen=True, slots=True)
class Identity:
    """A proven caller: the actor, the person behind it, the credential, and the row that it is."""

    actor: Actor
    user: User
    credential: Credential
    row: Any = field(repr=False)


def identify_bearer(secret: str, *, organization_id: UUID | None = None, request_id: str = "") -> Identity:
    """Return whom a bearer secret stands for: API key, access token of a session, or OAuth2 access token.

    `organization_id` picks another organization of a person; keys and OAuth clients act in their own. Raise KeyUnknown,
    TokenInvalid or OrganizationUnknown.
    """
    if is_jwt(secret):
        session = find_session(secret)
        return identify_session(session, organization_id=organization_id, request_id=request_id)
    token = None if secret.startswith(PREFIX) else find_oauth_token(secret)
    if token is not None:
        actor = actor_of_oauth_token(token=token, request_id=request_id)
        user, kind, row = token.user or token.application.user, CredentialKind.OAUTH_TOKEN, token
    else:
        key = find_key(secret)
        actor = actor_of_key(key=key, request_id=request_id)
        user, kind, row = key.user, CredentialKind.API_KEY, key
    if organization_id not in {None, actor.organization_id}:
        raise OrganizationUnknown("X-Organization: a key or token acts in its own organization only.")
    return Identity(actor, user, Credential(kind, row.id, user.id, actor.organization_id), row)


def identify_session(session: UserSession, *, organization_id: UUID | None = None, request_id: str = "") -> Identity:
    """Return the person of a live session, in the named organization or their default one. Raise OrganizationUnknown."""
    actor = actor_of_user(user=session.user, organization_id=organization_id, request_id=request_id)
    credential = Credential(CredentialKind.SESSION, session.id, session.user_id, actor.organization_id)
    return Identity(actor, session.user, credential, session)


def find_live_session(session_id: str, *, user: User) -> UserSession:
    """Return a web session that still opens. Raise TokenInvalid when it was revoked or has expired."""
    found: UserSession | None = (
        UserSession.objects.live().filter(id=session_id, user=user).select_related("user").first()
    )
    if found is None:
        raise TokenInvalid("The session has ended. Log in again.")
    return found


def is_credential_live(credential: Credential) -> bool:
    """Tell whether a credential still opens what it opened: for streams and sockets that outlive their request.

    False as soon as the session, key or token ended, the person was suspended or left the organization.
    """
    if credential.organization_id is not None and not _is_member(credential.user_id, credential.organization_id):
        return False
    if credential.kind == CredentialKind.SESSION:
        return bool(UserSession.objects.live().filter(id=credential.id).exists())
    if credential.kind == CredentialKind.API_KEY:
        return bool(ApiKey.objects.usable().filter(id=credential.id).exists())
    return bool(
        get_access_token_model()
        .objects.filter(id=credential.id, expires__gt=timezone.now(), application__is_active=True)
        .exists()
    )


def _is_member(user_id: UUID, organization_id: UUID) -> bool:
    return Membership.objects.filter(
        user_id=user_id,
        organization_id=organization_id,
        user__is_active=True,
        organization__is_active=True,
    ).exists()
