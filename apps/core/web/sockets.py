"""WebSockets that lead nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

CLOSE_NOT_FOUND = 4404


async def refuse_socket(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Refuse the handshake: the router's own answer to a path that it does not know is an exception."""
    await receive()  # websocket.connect
    await send({"type": "websocket.close", "code": CLOSE_NOT_FOUND})
