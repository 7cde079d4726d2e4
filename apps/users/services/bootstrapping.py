"""The first start: a default organization, its administrator, an API key without limits."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import transaction

from apps.core.actor import Actor
from apps.core.locks import lock
from apps.users.choices import Role
from apps.users.errors import BootstrapRefused
from apps.users.key_format import PREFIX, hash_secret, is_well_formed
from apps.users.models import ApiKey, Membership, Organization, User
from apps.users.services.accounts import create_user
from apps.users.services.api_keys import issue_api_key
from apps.users.services.organizations import add_membership, create_organization

DEFAULT_EMAIL = "admin@portico.local"
DEFAULT_SLUG = "default"
KEY_NAME = "First key"


@dataclass(frozen=True, slots=True, repr=False)
class Premises:
    """What stands after the first start. Secrets are "" unless they were made just now or came from the environment."""

    administrator: User
    organization: Organization
    api_key: ApiKey
    admin_password: str
    api_key_secret: str


@transaction.atomic
def bootstrap(*, actor: Actor, email: str, password: str, api_key: str) -> Premises:
    """Make what is missing and leave the rest alone; safe to run at every start, by several processes at once.

    An administrator who exists keeps their password. Raise BootstrapRefused for a malformed key, or where the
    administrator's address belongs to an ordinary account.
    """
    if api_key and not is_well_formed(api_key):
        raise BootstrapRefused(_explain_key(api_key))
    lock("users.bootstrap")
    administrator, admin_password = _ensure_administrator(email=email, password=password, actor=actor)
    organization = _ensure_organization(administrator=administrator, actor=actor)
    key, secret = _ensure_key(administrator=administrator, organization=organization, secret=api_key, actor=actor)
    return Premises(administrator, organization, key, admin_password, secret)


def _explain_key(api_key: str) -> str:
    if api_key.startswith(PREFIX):
        return f"PORTICO_API_KEY starts with {PREFIX} but its checksum is wrong: it was mistyped or cut."
    return "PORTICO_API_KEY needs 32 to 256 ASCII characters."


def _ensure_administrator(*, email: str, password: str, actor: Actor) -> tuple[User, str]:
    """Return the administrator and a password that was generated now; one from the environment is never given back."""
    administrators = User.objects.filter(is_superuser=True, is_active=True)
    present = administrators.filter(email=email.lower()).first() if email else administrators.order_by("id").first()
    if present is not None:
        return present, ""
    email = email or DEFAULT_EMAIL
    if User.objects.filter(email=email.lower()).exists():
        raise BootstrapRefused(
            f"{email} has an account that is no active administrator's. Name another PORTICO_ADMIN_EMAIL, or make it one "
            "in the admin."
        )
    generated = "" if password else secrets.token_urlsafe(18)
    administrator = create_user(
        email=email,
        password=password or generated,
        name="Administrator",
        is_email_verified=True,
        is_administrator=True,
        actor=actor,
    )
    return administrator, generated


def _ensure_organization(*, administrator: User, actor: Actor) -> Organization:
    organization: Organization | None = Organization.objects.filter(slug=DEFAULT_SLUG).first()
    if organization is None:
        organization = create_organization(name="Default", slug=DEFAULT_SLUG, owner=administrator, actor=actor)
        User.objects.filter(id=administrator.id).update(default_organization=organization)
    elif not Membership.objects.filter(user=administrator, organization=organization).exists():
        add_membership(user=administrator, organization=organization, role=Role.OWNER, actor=actor)
    return organization


def _ensure_key(*, administrator: User, organization: Organization, secret: str, actor: Actor) -> tuple[ApiKey, str]:
    present = ApiKey.objects.order_by("id")
    present = present.filter(secret_hash=hash_secret(secret)) if secret else present.filter(organization=organization)
    key: ApiKey | None = present.first()
    if key is not None:
        return key, secret
    return issue_api_key(
        user=administrator, organization=organization, name=KEY_NAME, secret=secret or None, actor=actor
    )
