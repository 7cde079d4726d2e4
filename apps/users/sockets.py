"""Who opens a WebSocket: the same credentials as over HTTP, shown in the ways that browsers allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie

from apps.core.context import new_request_id, set_actor, set_request_id
from apps.core.errors import AppError, NotAuthenticated, PermissionRefused
from apps.users.middleware import SESSION_KEY
from apps.users.selectors import Identity, identify_bearer, identify_session
from apps.users.selectors.credentials import find_live_session

logger = structlog.get_logger(__name__)

Scope = dict[str, Any]
BEARER_PROTOCOL = "bearer."
CLOSE_NOT_AUTHENTICATED = 4401


class SocketActorMiddleware:
    """Set `scope["actor"]`, `scope["user"]` and `scope["credential"]`, or refuse the handshake.

    A bearer secret may come as `Authorization: Bearer …`, as `?access_token=…`, or as the subprotocol `bearer.<secret>`;
    the latter two are taken out of the scope, so that no consumer logs or echoes them. A session cookie counts only from
    our own pages (Origin), because browsers send it from anybody's.
    """

    def __init__(self, inner: Callable[[Scope, Any, Any], Awaitable[None]]) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        request_id = new_request_id()
        set_request_id(request_id)
        scope, secret = _take_secret(scope)
        try:
            identity = await sync_to_async(_identify)(scope, secret, request_id)
        except AppError as error:
            logger.info("socket_refused", code=error.code, path=scope["path"])
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": CLOSE_NOT_AUTHENTICATED, "reason": error.code})
            return
        set_actor(identity.actor)
        await self.inner(
            {**scope, "actor": identity.actor, "user": identity.user, "credential": identity.credential}, receive, send
        )


def _take_secret(scope: Scope) -> tuple[Scope, str]:
    """Return the scope without any secret that does not belong into it, and the bearer secret or ""."""
    pairs = parse_qsl(scope.get("query_string", b"").decode("latin1"), keep_blank_values=True)
    from_query = next((value for name, value in pairs if name == "access_token"), "")
    offered = scope.get("subprotocols", [])
    from_protocol = next(
        (item.removeprefix(BEARER_PROTOCOL) for item in offered if item.startswith(BEARER_PROTOCOL)), ""
    )
    scheme, _, from_header = _header(scope, b"authorization").partition(" ")
    cleaned = {
        **scope,
        "query_string": urlencode([pair for pair in pairs if pair[0] != "access_token"]).encode(),
        "subprotocols": [item for item in offered if not item.startswith(BEARER_PROTOCOL)],
    }
    return cleaned, (from_header.strip() if scheme.lower() == "bearer" else "") or from_query or from_protocol


def _identify(scope: Scope, secret: str, request_id: str) -> Identity:
    if secret:
        return identify_bearer(secret, request_id=request_id)
    cookie = parse_cookie(_header(scope, b"cookie")).get(settings.SESSION_COOKIE_NAME)
    if not cookie:
        raise NotAuthenticated("Send a bearer secret, or open the socket from our pages.")
    if not _is_own_origin(scope):
        raise PermissionRefused("The socket was opened by a page that is not ours.")
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(cookie)
    user = get_user(request)
    if not user.is_authenticated or SESSION_KEY not in request.session:
        raise NotAuthenticated("The session has ended. Log in again.")
    session = find_live_session(request.session[SESSION_KEY], user=user)
    return identify_session(session, request_id=request_id)


def _is_own_origin(scope: Scope) -> bool:
    origin = _header(scope, b"origin")
    if origin in {settings.SITE_URL, *settings.CSRF_TRUSTED_ORIGINS}:
        return True
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and parts.netloc == _header(scope, b"host")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin1") for key, value in scope.get("headers", []) if key == name), "")
