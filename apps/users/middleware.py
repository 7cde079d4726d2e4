"""The web session: whose it is, whether it was revoked, and the actor it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY as AUTH_USER_KEY
from django.contrib.auth import get_user, logout
from django.http import HttpRequest, HttpResponseBase

from apps.core.actor import ANONYMOUS
from apps.core.api.clients import client_ip, device_of
from apps.core.context import set_actor
from apps.users.choices import RevocationReason, SessionKind
from apps.users.errors import TokenInvalid
from apps.users.models import User, UserSession
from apps.users.selectors import actor_of_user
from apps.users.selectors.credentials import find_live_session, identify_session
from apps.users.services.sessions import revoke_session, start_session, touch_session

SESSION_KEY = "portico_session"


class ActorMiddleware:
    """Set `request.actor` for pages; /api/v3 replaces it when a key or token came with the request.

    Every logged-in browser has a `UserSession` row, whichever form let it in, and each request looks there: a revoked
    session is logged out before any view runs.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request.request_id  # type: ignore[attr-defined]
        request.user_session = None  # type: ignore[attr-defined]
        actor = ANONYMOUS.with_request_id(request_id)
        session = self._find(request, request.user) if request.user.is_authenticated else None
        if session is not None:
            identity = identify_session(session, request_id=request_id)
            actor = identity.actor
            request.user_session = session  # type: ignore[attr-defined]
            request.credential = identity.credential  # type: ignore[attr-defined]
        request.actor = actor  # type: ignore[attr-defined]
        set_actor(actor)
        response = self.get_response(request)
        # A view may have logged somebody out or in. The cookie's session says so; `request.user` may be a bearer's.
        logged_in_id = request.session.get(AUTH_USER_KEY)
        if session is not None and logged_in_id != str(session.user_id):
            revoke_session(session=session, reason=RevocationReason.LOGOUT, actor=actor)
        if logged_in_id is not None and SESSION_KEY not in request.session:
            self._start(request, get_user(request))
        return response

    def _find(self, request: HttpRequest, user: User) -> UserSession | None:
        session_id = request.session.get(SESSION_KEY)
        if session_id is None:
            return self._start(request, user)
        try:
            session = find_live_session(session_id, user=user)
        except TokenInvalid:
            logout(request)
            return None
        touch_session(session=session, ip_address=client_ip(request))
        return session

    def _start(self, request: HttpRequest, user: Any) -> UserSession:
        session = start_session(
            user=user,
            kind=SessionKind.WEB,
            device=device_of(request),
            ip_address=client_ip(request),
            actor=actor_of_user(user=user, request_id=request.request_id),  # type: ignore[attr-defined]
        )
        request.session[SESSION_KEY] = str(session.id)
        return session
