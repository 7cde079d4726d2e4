"""Who is calling, as an Actor."""

from __future__ import annotations

from uuid import UUID

from apps.core.actor import ALL_SCOPES, Actor, ActorKind
from apps.users.errors import KeyUnknown, OrganizationUnknown
from apps.users.key_format import hash_secret, is_well_formed
from apps.users.models import ApiKey, Membership, User

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


def find_key(secret: str) -> ApiKey:
    """Return the usable key with this secret, with user and organization. Raise KeyUnknown, also for a bad checksum."""
    if is_well_formed(secret):
        key = (
            ApiKey.objects.usable()
            .select_related("user", "organization")
            .filter(secret_hash=hash_secret(secret))
            .first()
        )
        if key is not None:
            return key
    raise KeyUnknown("The API key is unknown, revoked or expired. Make a new one under API keys.")


def actor_of_key(*, key: ApiKey, request_id: str = "") -> Actor:
    """Return an API key as the caller; it never has more than its user has."""
    role = (
        Membership.objects.filter(user=key.user, organization=key.organization).values_list("role", flat=True).first()
    )
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
