"""From an access token to its session or its OAuth2 client."""

from __future__ import annotations

import hashlib

import jwt
from django.conf import settings
from django.utils import timezone
from oauth2_provider.models import AbstractAccessToken, get_access_token_model

from apps.core.actor import Actor
from apps.core.errors import InvalidInput
from apps.users.errors import TokenInvalid
from apps.users.models import UserSession
from apps.users.selectors.actors import actor_of_oauth_token, actor_of_user
from apps.users.signing import ACCESS_TOKEN_TYPE, ALGORITHM, AUDIENCE, signing_key

MAX_LENGTH = 4096


def actor_of_token(token: str, *, request_id: str = "") -> Actor:
    """Return whom an access token stands for: a session's JWT or an OAuth2 token. Raise TokenInvalid.

    Both are looked up at each call, so that a revoked session, client or account stops at the next request.
    """
    if is_jwt(token):
        return actor_of_user(user=find_session(token).user, request_id=request_id)
    found = find_oauth_token(token)
    if found is None:
        raise TokenInvalid("The access token is unknown, expired or revoked.")
    return actor_of_oauth_token(token=found, request_id=request_id)


def is_jwt(secret: str) -> bool:
    """Tell whether a secret has the form of a signed token."""
    return secret.startswith("eyJ") and secret.count(".") == 2


def find_session(token: str) -> UserSession:
    """Return the live session of one of our JWTs, with its user. Raise TokenInvalid for any other token."""
    claims = _verify(token)
    try:
        session_id = UserSession.parse_id(claims["sid"])
    except InvalidInput as error:
        raise TokenInvalid("The access token names no session.") from error
    session: UserSession | None = UserSession.objects.live().filter(id=session_id).select_related("user").first()
    if session is None or session.user.public_id != claims["sub"]:
        raise TokenInvalid("The session of this access token has ended. Log in again.")
    return session


def find_oauth_token(token: str) -> AbstractAccessToken | None:
    """Return the usable OAuth2 access token with this value, with its client and user; only hashes are stored."""
    if len(token) > MAX_LENGTH:
        return None
    checksum = hashlib.sha256(token.encode()).hexdigest()
    found: AbstractAccessToken | None = (
        get_access_token_model()
        .objects.filter(
            token_checksum=checksum,
            expires__gt=timezone.now(),
            application__is_active=True,
            application__organization__is_active=True,
        )
        .select_related("application__organization", "application__user", "user")
        .first()
    )
    return found


def _verify(token: str) -> dict[str, str]:
    """Return the claims of a token that we signed as an access token for this API and that has not expired."""
    key = signing_key()
    try:
        if len(token) > MAX_LENGTH:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(token)
        if header.get("typ") != ACCESS_TOKEN_TYPE or header.get("kid") != key.key_id:
            raise jwt.InvalidTokenError("not an access token of ours")
        claims: dict[str, str] = jwt.decode(
            token,
            key.public_key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=settings.SITE_URL,
            options={"require": ["exp", "iat", "sub", "sid", "jti"]},
        )
    except (jwt.InvalidTokenError, ValueError) as error:
        raise TokenInvalid("The access token is not one of ours, or it has expired.") from error
    return claims
