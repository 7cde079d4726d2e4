"""How a caller of /api/v3 proves who they are: API key, access token, or the web session."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework import authentication
from rest_framework.request import Request

from apps.core.actor import Actor
from apps.core.api.clients import client_ip
from apps.core.context import set_actor
from apps.core.errors import NotAuthenticated
from apps.users.choices import CredentialKind
from apps.users.errors import CsrfRefused
from apps.users.models import ApiKey, Organization, UserSession
from apps.users.selectors import Identity, actor_of_key, find_key, identify_bearer, identify_session
from apps.users.selectors.credentials import Credential
from apps.users.services.api_keys import note_key_use
from apps.users.services.sessions import touch_session

REMEDY = "Send an API key or access token as `Authorization: Bearer …`, or log in."


def authenticate_request(request: HttpRequest) -> Actor:
    """Return the proven caller of a request and note it on the request and in the context.

    For plain Django views (async ones through `sync_to_async`); such a view is `csrf_exempt`, because the session's CSRF
    check happens here. Raise NotAuthenticated, KeyUnknown, TokenInvalid, CsrfRefused or OrganizationUnknown.
    """
    identity = identify_by_bearer(request) or identify_by_session(request)
    if identity is None:
        raise NotAuthenticated(REMEDY)
    return identity.actor


def identify_by_bearer(request: HttpRequest) -> Identity | None:
    """Return the caller of `Authorization: Bearer …` or `x-api-key: …`; None when the request carries neither."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        identity = identify_bearer(
            value.strip(), organization_id=_named_organization(request), request_id=_request_id(request)
        )
    elif secret := request.headers.get("x-api-key", ""):
        identity = _identify_key(secret, request)
    else:
        return None
    _note_use(identity, request)
    return _become(request, identity)


def identify_by_session(request: HttpRequest) -> Identity | None:
    """Return the person whose browser this is, None for nobody. Raise CsrfRefused for what our pages did not send."""
    session: UserSession | None = getattr(request, "user_session", None)
    if session is None:
        return None
    _enforce_csrf(request)
    identity = identify_session(session, organization_id=_named_organization(request), request_id=_request_id(request))
    return _become(request, identity)


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer …` or `x-api-key: …`; both ways obey the same restrictions."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        identity = identify_by_bearer(request._request)
        return None if identity is None else (identity.user, identity.credential)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="portico"'


class SessionAuthentication(authentication.BaseAuthentication):
    """The web session, with CSRF. `X-Organization: org_…` picks another of the user's organizations."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        identity = identify_by_session(request._request)
        return None if identity is None else (identity.user, identity.credential)


class _CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def _enforce_csrf(request: HttpRequest) -> None:
    check = _CsrfCheck(lambda _: None)  # type: ignore[arg-type]
    check.process_request(request)
    reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]
    if reason:
        raise CsrfRefused(f"{reason} Send the csrftoken cookie's value as X-CSRFToken.")


def _identify_key(secret: str, request: HttpRequest) -> Identity:
    key: ApiKey = find_key(secret)
    actor = actor_of_key(key=key, request_id=_request_id(request))
    return Identity(actor, key.user, Credential(CredentialKind.API_KEY, key.id, key.user_id, key.organization_id), key)


def _note_use(identity: Identity, request: HttpRequest) -> None:
    if identity.credential.kind == CredentialKind.API_KEY:
        note_key_use(key=identity.row)
    elif identity.credential.kind == CredentialKind.SESSION:
        touch_session(session=identity.row, ip_address=client_ip(request))


def _named_organization(request: HttpRequest) -> Any:
    named = request.headers.get("X-Organization", "")
    return Organization.parse_id(named) if named else None


def _request_id(request: HttpRequest) -> str:
    return getattr(request, "request_id", "")


def _become(request: HttpRequest, identity: Identity) -> Identity:
    request.actor = identity.actor  # type: ignore[attr-defined]
    request.credential = identity.credential  # type: ignore[attr-defined]
    set_actor(identity.actor)
    return identity
