"""The one way to turn an address and a password into a person."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import make_password

from apps.users.errors import CredentialsWrong
from apps.users.models import User
from apps.users.services.throttling import count_login, forgive_login

REFUSAL = "E-mail or password is wrong, or the address is not confirmed yet."


def normalize_email(email: str) -> str:
    """Return the form in which addresses are kept and counted."""
    return email.strip().lower()


def check_credentials(*, email: str, password: str, ip_address: str) -> User:
    """Return the active person with this address and password.

    API, web pages and admin all come here, so that no channel has limits of its own. Raise LoginThrottled, or
    CredentialsWrong with one sentence for every reason: unknown, wrong, suspended, unconfirmed. Each costs one hash.
    """
    email = normalize_email(email)
    count_login(email=email, ip_address=ip_address)
    user = User.objects.filter(email=email).first()
    if user is None:
        make_password(password)
        raise CredentialsWrong(REFUSAL)
    if not user.check_password(password) or not user.is_active or not _is_confirmed(user):
        raise CredentialsWrong(REFUSAL)
    forgive_login(email=email, ip_address=ip_address)
    return user


def check_own_password(*, user: User, password: str, ip_address: str) -> None:
    """Ask a logged-in person for their password again, under the limits of a login. Raise CredentialsWrong."""
    count_login(email=user.email, ip_address=ip_address)
    if not user.check_password(password):
        raise CredentialsWrong("The present password is wrong.")
    forgive_login(email=user.email, ip_address=ip_address)


def _is_confirmed(user: User) -> bool:
    return user.email_verified_at is not None or not settings.EMAIL_VERIFICATION_REQUIRED
