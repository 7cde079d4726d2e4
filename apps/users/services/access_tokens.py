"""Access tokens: RS256 JWTs (RFC 9068) that live for minutes and die with their session."""

from __future__ import annotations

from dataclasses import dataclass

import jwt
from django.conf import settings
from django.utils import timezone

from apps.core.ids import encode_id, uuid7
from apps.users.models import User, UserSession
from apps.users.signing import ACCESS_TOKEN_TYPE, ALGORITHM, AUDIENCE, signing_key


@dataclass(frozen=True, slots=True, repr=False)
class AccessToken:
    """A signed token and how long it lives."""

    value: str
    expires_in_seconds: int


def issue_access_token(session: UserSession) -> AccessToken:
    """Return a token for the session's user. It carries ids only; what they may do is looked up at each request."""
    now = timezone.now()
    lifetime = settings.ACCESS_TOKEN_LIFETIME
    key = signing_key()
    claims = {
        "iss": settings.SITE_URL,
        "aud": AUDIENCE,
        "sub": encode_id(User.ID_PREFIX, session.user_id),
        "sid": session.public_id,
        "jti": encode_id("jwt", uuid7()),
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    value = jwt.encode(
        claims, key.private_key, algorithm=ALGORITHM, headers={"kid": key.key_id, "typ": ACCESS_TOKEN_TYPE}
    )
    return AccessToken(value, int(lifetime.total_seconds()))
