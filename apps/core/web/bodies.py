"""Bounds on the body of a request: Django writes a whole body to the disk before any middleware or view may refuse it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from django.conf import settings

from apps.core.api.problems import CONTENT_TYPE, describe
from apps.core.context import new_request_id
from apps.core.errors import AppError, BodyLate, TooLarge

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[..., Awaitable[None]]

BODY_SECONDS = 60.0
"""Longest wait for a whole body."""


class BoundedBodies:
    """An ASGI application whose HTTP requests have at most DATA_UPLOAD_MAX_MEMORY_SIZE bytes, there within a minute.

    `larger` maps paths to the bytes that are accepted there instead.
    A body that says its length is refused with 413 before it is read, one that does not as soon as it has grown too large.
    """

    def __init__(self, application: Application, *, larger: Mapping[str, int] | None = None) -> None:
        self._application = application
        self._larger = larger or {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        limit: int = self._larger.get(scope["path"], settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            await _refuse(_too_large(limit), send)
            return
        body = _Body(receive, limit)
        await self._application(scope, body.receive, send)
        if body.refusal is not None:
            await _refuse(body.refusal, send)


class _Body:
    """Hands a body on; the application is told that the client is gone when it may not have the rest."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.refusal: AppError | None = None
        self._receive = receive
        self._left = limit
        self._limit = limit
        self._is_whole = False
        self._ends_at = asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive(self) -> Message:
        """Return what comes next."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends_at):
                message = await self._receive()
        except TimeoutError:
            return self._give_up(BodyLate(f"The body did not arrive within {BODY_SECONDS:g} s."))
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return self._give_up(_too_large(self._limit))
        self._is_whole = not message.get("more_body", False)
        return message

    def _give_up(self, refusal: AppError) -> Message:
        self.refusal = refusal
        self._is_whole = True
        return {"type": "http.disconnect"}


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes, the most that is accepted.")


async def _refuse(error: AppError, send: Send) -> None:
    request_id = new_request_id()
    body = orjson.dumps(describe(error, request_id))
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
