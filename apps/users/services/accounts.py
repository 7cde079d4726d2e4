"""Accounts: how a person comes, changes, is suspended and comes back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actor import Actor
from apps.events.services import publish
from apps.users.choices import RevocationReason
from apps.users.errors import EmailTaken, PasswordWeak
from apps.users.events import EmailVerified, PasswordChanged, UserActivated, UserChanged, UserRegistered, UserSuspended
from apps.users.models import User
from apps.users.services.announcing import announce_identity_change
from apps.users.services.organizations import create_organization
from apps.users.services.sessions import revoke_sessions

PERSONAL_NAME = "Personal"


@transaction.atomic
def create_user(
    *,
    email: str,
    password: str | None,
    actor: Actor,
    name: str = "",
    is_email_verified: bool = False,
    is_self_service: bool = False,
    is_administrator: bool = False,
) -> User:
    """Make an account with its personal organization. Raise EmailTaken; the password's strength is the caller's concern.

    `password` None makes an account that can only be entered after a reset.
    """
    make = User.objects.create_superuser if is_administrator else User.objects.create_user
    try:
        with transaction.atomic():
            user: User = make(
                email, password, name=name, email_verified_at=timezone.now() if is_email_verified else None
            )
    except IntegrityError as error:
        raise EmailTaken("Log in, or ask for a new password.") from error
    organization = create_organization(name=PERSONAL_NAME, owner=user, actor=actor, is_personal=True)
    publish(
        UserRegistered(aggregate_id=user.id, organization_id=organization.id, is_self_service=is_self_service),
        actor=actor,
    )
    return user


@transaction.atomic
def change_profile(*, user: User, actor: Actor, **changes: Any) -> User:
    """Change fields of a person: `name` and `default_organization` by themselves, the others by staff."""
    changed = tuple(sorted(field for field, value in changes.items() if getattr(user, field) != value))
    if not changed:
        return user
    for field in changed:
        setattr(user, field, changes[field])
    user.save(update_fields=[*changed, "updated_at"])
    publish(UserChanged(aggregate_id=user.id, fields=changed), actor=actor)
    announce_identity_change(kind="user", id=user.id)
    return user


@transaction.atomic
def suspend_user(*, user: User, actor: Actor) -> None:
    """Stop everything a person can do here: sessions end, keys and tokens refuse. Doing it twice does nothing."""
    if not User.objects.filter(id=user.id, is_active=True).update(is_active=False):
        return
    user.is_active = False
    revoke_sessions(user=user, reason=RevocationReason.SUSPENDED, actor=actor)
    publish(UserSuspended(aggregate_id=user.id, organization_id=user.default_organization_id), actor=actor)
    announce_identity_change(kind="user", id=user.id)


@transaction.atomic
def activate_user(*, user: User, actor: Actor) -> None:
    """Let a suspended person in again; their keys work again, their sessions stay ended."""
    if not User.objects.filter(id=user.id, is_active=False).update(is_active=True):
        return
    user.is_active = True
    publish(UserActivated(aggregate_id=user.id, organization_id=user.default_organization_id), actor=actor)
    announce_identity_change(kind="user", id=user.id)


def require_strong_password(password: str, *, user: User | None = None) -> None:
    """Raise PasswordWeak with the reasons unless the password passes the configured validators."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PasswordWeak(" ".join(error.messages), errors={"password": error.messages}) from error


@transaction.atomic
def set_password(
    *, user: User, password: str, actor: Actor, by_link: bool = False, keep_session_id: UUID | None = None
) -> None:
    """Set a new password and end every other session. Raise PasswordWeak."""
    require_strong_password(password, user=user)
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    record_password_change(user=user, actor=actor, by_link=by_link, keep_session_id=keep_session_id)


@transaction.atomic
def record_password_change(
    *, user: User, actor: Actor, by_link: bool = False, keep_session_id: UUID | None = None
) -> None:
    """End the sessions that the old password opened, except the one to keep, and tell that it changed."""
    revoke_sessions(user=user, reason=RevocationReason.PASSWORD_CHANGED, actor=actor, keep=keep_session_id)
    publish(PasswordChanged(aggregate_id=user.id, by_link=by_link), actor=actor)
    announce_identity_change(kind="user", id=user.id)


@transaction.atomic
def mark_email_verified(*, user: User, actor: Actor) -> None:
    """Note that the address is the person's own; doing it twice does nothing."""
    if User.objects.filter(id=user.id, email_verified_at__isnull=True).update(email_verified_at=Now()):
        user.refresh_from_db(fields=["email_verified_at"])
        publish(EmailVerified(aggregate_id=user.id), actor=actor)
