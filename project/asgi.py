"""The web process: the hot path first, then WebSockets, then Django."""

from __future__ import annotations

import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.local")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

# Everything below reads models, so it comes after Django's start.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import re_path, reverse  # noqa: E402

from apps.conversations.services.answering import leave_desk  # noqa: E402
from apps.conversations.urls import websocket_urlpatterns  # noqa: E402
from apps.core.web.bodies import BoundedBodies  # noqa: E402
from apps.core.web.sockets import refuse_socket  # noqa: E402
from apps.gateway.edge import GatewayApplication  # noqa: E402
from apps.users.sockets import SocketActorMiddleware  # noqa: E402

# Raw completions take what /v1 takes: pictures and long conversations.
LARGER_BODIES = {reverse("chat-completions"): settings.GATEWAY_MAX_BODY_BYTES}

gateway = GatewayApplication()
_routes = ProtocolTypeRouter(
    {
        "http": BoundedBodies(django_application, larger=LARGER_BODIES),
        "websocket": SocketActorMiddleware(
            URLRouter([*websocket_urlpatterns, re_path("", cast("Any", refuse_socket))])
        ),
    }
)


def _leaving(receive: Any) -> Any:
    """Have running answers say their last words before the gateway, which they speak through, closes."""

    async def receive_and_leave() -> Any:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await leave_desk()
        return message

    return receive_and_leave


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route one connection: lifespan and the machine paths to the gateway, everything else to Django and Channels."""
    if scope["type"] == "lifespan":
        await gateway(scope, _leaving(receive), send)
    elif scope["type"] == "http" and gateway.serves(scope["path"]):
        await gateway(scope, receive, send)
    else:
        await _routes(scope, receive, send)
