"""How a caller of /api/v3 proves who they are: API key, access token, or the web session."""

from __future__ import annotations

from typing import Any

from rest_framework import authentication
from rest_framework.request import Request

from apps.core.actor import Actor
from apps.core.context import set_actor
from apps.users.models import Organization
from apps.users.selectors import actor_of_key, actor_of_user, find_key


def _become(request: Request, actor: Actor) -> None:
    request._request.actor = actor  # type: ignore[attr-defined]
    set_actor(actor)


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer …` or `x-api-key: …`; both ways obey the same restrictions."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        secret = value.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not secret:
            return None
        key = find_key(secret)
        _become(request, actor_of_key(key=key, request_id=request._request.request_id))  # type: ignore[attr-defined]
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="portico"'


class SessionAuthentication(authentication.SessionAuthentication):
    """The web session, with CSRF. `X-Organization: org_…` picks another of the user's organizations."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        named = request.headers.get("X-Organization", "")
        organization_id = Organization.parse_id(named) if named else None
        request_id = request._request.request_id  # type: ignore[attr-defined]
        _become(request, actor_of_user(user=found[0], organization_id=organization_id, request_id=request_id))
        return found
