"""Sessions: begin, seen, refreshed, ended."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actor import Actor
from apps.events.services import publish
from apps.users.choices import RevocationReason, SessionKind
from apps.users.errors import RefreshTokenInvalid
from apps.users.events import SessionRevoked, SessionStarted
from apps.users.models import RefreshToken, User, UserSession
from apps.users.services.access_tokens import AccessToken, issue_access_token

SEEN_EVERY = timedelta(minutes=1)
REFRESH_PREFIX = "prt_"


@dataclass(frozen=True, slots=True, repr=False)
class TokenPair:
    """What a program gets at login and at each refresh; both secrets are shown this once."""

    session: UserSession
    access: AccessToken
    refresh_token: str


@transaction.atomic
def start_session(*, user: User, kind: SessionKind, device: str, ip_address: str | None, actor: Actor) -> UserSession:
    """Note that somebody logged in on a device."""
    lifetime = (
        timedelta(seconds=settings.SESSION_COOKIE_AGE) if kind == SessionKind.WEB else settings.REFRESH_TOKEN_LIFETIME
    )
    session = UserSession.objects.create(
        user=user,
        kind=kind,
        device=device[:300],
        ip_address=ip_address or None,
        expires_at=timezone.now() + lifetime,
    )
    publish(
        SessionStarted(
            aggregate_id=session.id, organization_id=user.default_organization_id, user_id=user.id, kind=kind.value
        ),
        actor=actor,
    )
    return session


@transaction.atomic
def start_token_session(*, user: User, device: str, ip_address: str | None, actor: Actor) -> TokenPair:
    """Log a program in: a session, its first refresh token and an access token."""
    session = start_session(user=user, kind=SessionKind.TOKEN, device=device, ip_address=ip_address, actor=actor)
    return TokenPair(session, issue_access_token(session), _add_refresh_token(session))


def refresh_session(*, refresh_token: str, device: str, ip_address: str | None, actor: Actor) -> TokenPair:
    """Trade a refresh token for a new pair; the old one is used up. Raise RefreshTokenInvalid.

    A token that comes a second time means that two parties hold it (RFC 9700, 4.14.2), so the whole session ends. There
    is no grace for a client that refreshes twice at once: nobody can tell it from a thief who was quick.
    """
    with transaction.atomic():
        pair = _rotate(refresh_token=refresh_token, device=device, ip_address=ip_address, actor=actor)
    # Raised outside, so that ending the session commits.
    if pair is None:
        raise RefreshTokenInvalid("The refresh token is unknown, expired or was used before. Log in again.")
    return pair


def _rotate(*, refresh_token: str, device: str, ip_address: str | None, actor: Actor) -> TokenPair | None:
    found = RefreshToken.objects.filter(token_hash=hash_token(refresh_token)).values_list("session_id", flat=True)
    # The session's row lock puts concurrent refreshes of one family in line.
    session = UserSession.objects.select_for_update(of=("self",)).select_related("user").filter(id__in=found).first()
    if session is None or not session.is_live or not session.user.is_active:
        return None
    taken = RefreshToken.objects.filter(token_hash=hash_token(refresh_token), used_at__isnull=True)
    if not taken.update(used_at=Now()):
        _revoke(session, reason=RevocationReason.TOKEN_REUSED, actor=actor)
        return None
    session.device, session.ip_address, session.last_seen_at = device[:300], ip_address or None, timezone.now()
    session.save(update_fields=["device", "ip_address", "last_seen_at", "updated_at"])
    return TokenPair(session, issue_access_token(session), _add_refresh_token(session))


def touch_session(*, session: UserSession, ip_address: str | None) -> None:
    """Note when and from where a session was last seen, at most once a minute: one statement, no lock held."""
    now = timezone.now()
    if now - session.last_seen_at < SEEN_EVERY:
        return
    UserSession.objects.filter(id=session.id, last_seen_at__lt=now - SEEN_EVERY).update(
        last_seen_at=now, ip_address=ip_address or None
    )


@transaction.atomic
def revoke_session(*, session: UserSession, reason: RevocationReason, actor: Actor) -> None:
    """End one session; its cookie, access and refresh tokens refuse from the next request. Twice does nothing."""
    locked = UserSession.objects.select_for_update(of=("self",)).select_related("user").get(id=session.id)
    if locked.revoked_at is None:
        _revoke(locked, reason=reason, actor=actor)


@transaction.atomic
def revoke_sessions(*, user: User, reason: RevocationReason, actor: Actor, keep: UUID | None = None) -> int:
    """End all sessions of a person, except the one to keep; return how many there were."""
    sessions = UserSession.objects.select_for_update(of=("self",)).select_related("user").order_by("id")
    sessions = sessions.filter(user=user, revoked_at__isnull=True, expires_at__gt=Now())
    ended = list(sessions.exclude(id=keep) if keep else sessions)
    for session in ended:
        _revoke(session, reason=reason, actor=actor)
    return len(ended)


def hash_token(token: str) -> str:
    """Return the SHA-256 by which a random token is found."""
    return hashlib.sha256(token.encode()).hexdigest()


def _add_refresh_token(session: UserSession) -> str:
    token = REFRESH_PREFIX + secrets.token_urlsafe(32)
    RefreshToken.objects.create(session=session, token_hash=hash_token(token))
    return token


def _revoke(session: UserSession, *, reason: RevocationReason, actor: Actor) -> None:
    session.revoked_at, session.revoked_because = timezone.now(), reason
    session.save(update_fields=["revoked_at", "revoked_because", "updated_at"])
    publish(
        SessionRevoked(
            aggregate_id=session.id,
            organization_id=session.user.default_organization_id,
            user_id=session.user_id,
            reason=reason.value,
        ),
        actor=actor,
    )
