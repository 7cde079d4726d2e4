"""The session's user becomes the actor of the request."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from apps.core.actor import ANONYMOUS
from apps.core.context import set_actor
from apps.users.selectors import actor_of_user


class ActorMiddleware:
    """Set `request.actor` for pages; /api/v3 replaces it when a key or token came with the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request.request_id  # type: ignore[attr-defined]
        actor = ANONYMOUS.with_request_id(request_id)
        if request.user.is_authenticated:
            actor = actor_of_user(user=request.user, request_id=request_id)
        request.actor = actor  # type: ignore[attr-defined]
        set_actor(actor)
        return self.get_response(request)
