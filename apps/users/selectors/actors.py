"""From a person, a key or an OAuth token to an Actor."""

from __future__ import annotations

from uuid import UUID

from oauth2_provider.models import AbstractAccessToken

from apps.core.actor import ALL_SCOPES, Actor, ActorKind
from apps.users.choices import SCOPES
from apps.users.errors import KeyUnknown, OrganizationUnknown, TokenInvalid
from apps.users.models import ApiKey, Membership, OAuthClient, User

EVERYTHING = frozenset({ALL_SCOPES})


def actor_of_user(*, user: User, organization_id: UUID | None = None, request_id: str = "") -> Actor:
    """Return a person as the caller, in the named organization or their default one.

    Raise OrganizationUnknown when they are no member of it. A person without any organization acts in none.
    """
    memberships = Membership.objects.filter(user=user, organization__is_active=True)
    wanted = organization_id or user.default_organization_id
    found = memberships.filter(organization_id=wanted).first() if wanted else None
    if found is None and organization_id is not None:
        raise OrganizationUnknown("X-Organization names an organization that you are not a member of.")
    found = found or memberships.order_by("id").first()
    return Actor(
        kind=ActorKind.USER,
        user_id=user.id,
        organization_id=found.organization_id if found else None,
        role=found.role if found else "",
        scopes=EVERYTHING,
        is_staff=user.is_staff,
        request_id=request_id,
    )


def actor_of_key(*, key: ApiKey, request_id: str = "") -> Actor:
    """Return an API key as the caller; it never has more than its user has."""
    role = _role(user_id=key.user_id, organization_id=key.organization_id)
    if role is None:
        raise KeyUnknown("The user of this API key has left the organization.")
    return Actor(
        kind=ActorKind.API_KEY,
        user_id=key.user_id,
        organization_id=key.organization_id,
        api_key_id=key.id,
        role=role,
        scopes=frozenset(key.scopes) or EVERYTHING,
        request_id=request_id,
    )


def actor_of_oauth_token(*, token: AbstractAccessToken, request_id: str = "") -> Actor:
    """Return an OAuth2 client as the caller: for the person who consented, or (client credentials) for itself.

    For a person it acts in their default organization; for itself in the client's, with the role of the client's user.
    It has the scopes that were granted and that the client may still have. Raise TokenInvalid when nobody stands behind it.
    """
    client: OAuthClient = token.application
    user: User | None = token.user or client.user
    if user is None or not user.is_active:
        raise TokenInvalid("The person behind this access token has no active account.")
    organization_id = user.default_organization_id if token.user else client.organization_id
    role = _role(user_id=user.id, organization_id=organization_id)
    if role is None:
        raise TokenInvalid("The person behind this access token has left the organization.")
    return Actor(
        kind=ActorKind.OAUTH_CLIENT,
        user_id=user.id,
        organization_id=organization_id,
        oauth_client_id=client.client_id,
        role=role,
        scopes=frozenset(token.scope.split()) & frozenset(client.allowed_scopes) & SCOPES.keys(),
        request_id=request_id,
    )


def _role(*, user_id: UUID, organization_id: UUID | None) -> str | None:
    if organization_id is None:
        return None
    memberships = Membership.objects.filter(user_id=user_id, organization_id=organization_id)
    return memberships.filter(organization__is_active=True).values_list("role", flat=True).first()
