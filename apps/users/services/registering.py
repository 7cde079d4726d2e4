"""Registration, confirmation, and the way back in without a password: nobody learns who has an account."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core.actor import Actor
from apps.events.services import publish
from apps.users.choices import LinkPurpose
from apps.users.errors import EmailTaken, LinkInvalid, RegistrationClosed
from apps.users.events import LinkRequested
from apps.users.models import MailedLink, User
from apps.users.services.accounts import create_user, mark_email_verified, require_strong_password, set_password
from apps.users.services.logging_in import normalize_email
from apps.users.services.sessions import hash_token
from apps.users.services.throttling import count_mail

LIFETIMES = {
    LinkPurpose.VERIFY_EMAIL: timedelta(days=3),
    LinkPurpose.RESET_PASSWORD: timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT),
    LinkPurpose.ALREADY_REGISTERED: timedelta(days=1),
}


def register_user(*, email: str, password: str, name: str, ip_address: str, actor: Actor) -> User | None:
    """Make an account and ask for its confirmation; where the address has one, tell its owner instead.

    Return the new account, None where there was one: for the entrance to stay silent about. Raise RegistrationClosed,
    PasswordWeak, MailThrottled.
    """
    if not settings.REGISTRATION_OPEN:
        raise RegistrationClosed("Ask an administrator for an account.")
    email = normalize_email(email)
    require_strong_password(password, user=User(email=email, name=name))
    count_mail(email=email, ip_address=ip_address)
    with transaction.atomic():
        user = _try_to_create(email=email, password=password, name=name, actor=actor)
        if user is not None:
            request_link(purpose=LinkPurpose.VERIFY_EMAIL, email=email, user=user, actor=actor)
        else:
            owner = User.objects.get(email=email)
            request_link(purpose=LinkPurpose.ALREADY_REGISTERED, email=email, user=owner, actor=actor)
    return user


def request_password_reset(*, email: str, ip_address: str, actor: Actor) -> None:
    """Ask for a link that sets a new password. The same rows are written for an unknown address. Raise MailThrottled."""
    email = normalize_email(email)
    count_mail(email=email, ip_address=ip_address)
    user = User.objects.active().filter(email=email).first()
    request_link(purpose=LinkPurpose.RESET_PASSWORD, email=email, user=user, actor=actor)


@transaction.atomic
def request_link(*, purpose: LinkPurpose, email: str, user: User | None, actor: Actor) -> MailedLink:
    """Note that a mail is due; the event brings somebody to send it."""
    link = MailedLink.objects.create(
        purpose=purpose, email=email, user=user, expires_at=timezone.now() + LIFETIMES[purpose]
    )
    publish(LinkRequested(aggregate_id=link.id, purpose=purpose.value), actor=actor)
    return link


@transaction.atomic
def verify_email(*, token: str, actor: Actor) -> User:
    """Use up a confirmation link. Raise LinkInvalid."""
    user = _use_link(purpose=LinkPurpose.VERIFY_EMAIL, token=token)
    mark_email_verified(user=user, actor=actor)
    return user


@transaction.atomic
def reset_password(*, token: str, password: str, actor: Actor) -> User:
    """Use up a reset link: set the password, end all sessions, void other open links. Raise LinkInvalid, PasswordWeak.

    Whoever got the link reads the mail of the address, so it is confirmed as well.
    """
    user = _use_link(purpose=LinkPurpose.RESET_PASSWORD, token=token)
    set_password(user=user, password=password, actor=actor, by_link=True)
    mark_email_verified(user=user, actor=actor)
    void_reset_links(user=user)
    return user


def void_reset_links(*, user: User) -> None:
    """Void every open reset link of a person."""
    MailedLink.objects.filter(user=user, purpose=LinkPurpose.RESET_PASSWORD, used_at__isnull=True).update(
        used_at=timezone.now()
    )


def is_link_open(*, purpose: LinkPurpose, token: str) -> bool:
    """Tell whether a link can still be used, without using it."""
    return MailedLink.objects.open_for(purpose=purpose, token_hash=hash_token(token)).exists()


def _use_link(*, purpose: LinkPurpose, token: str) -> User:
    opened = MailedLink.objects.open_for(purpose=purpose, token_hash=hash_token(token))
    link = opened.select_related("user").first()
    # The update decides: of two who use it at once, one finds it used.
    if link is None or not MailedLink.objects.filter(id=link.id, used_at__isnull=True).update(used_at=timezone.now()):
        raise LinkInvalid("The link is unknown, expired or was used before. Ask for a new one.")
    user: User | None = link.user
    assert user is not None  # open_for() asks for an active user
    return user


def _try_to_create(*, email: str, password: str, name: str, actor: Actor) -> User | None:
    if User.objects.filter(email=email).exists():
        _rehearse(password=password, name=name, actor=actor)
        return None
    try:
        return create_user(email=email, password=password, name=name, is_self_service=True, actor=actor)
    except EmailTaken:
        return None


def _rehearse(*, password: str, name: str, actor: Actor) -> None:
    """Do all that a registration costs and undo it, so that the time taken says nothing."""
    with transaction.atomic():
        create_user(email=f"{uuid4()}@invalid", password=password, name=name, is_self_service=True, actor=actor)
        transaction.set_rollback(True)
