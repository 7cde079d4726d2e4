"""A streamed answer over ASGI: one write per network read of the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from apps.core.errors import AppError
from apps.gateway.dialects.base import PING_SECONDS, EventWriter, Headers
from apps.gateway.services import RunningCall

EVENT_STREAM = b"text/event-stream; charset=utf-8"
STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Keeper(Protocol):
    """Keeps what is answered before it goes out, so that it can be read again."""

    async def keep_whole(self, body: bytes) -> None:
        """Take an answer in one piece."""
        ...

    async def keep_events(self, *, events: bytes, is_last: bool) -> None:
        """Take events of a stream; returns at once, but for the last ones."""
        ...


class EventStream:
    """The answer of a streamed call. Its head goes out with the first events, or with the first ping."""

    __slots__ = ("_call", "_head", "_is_over", "_keeper", "_ping", "_send", "_writer", "_written_at", "has_begun")

    def __init__(
        self,
        *,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        call: RunningCall,
        writer: EventWriter,
        head: Callable[[bytes], Headers],
        keeper: Keeper | None = None,
    ) -> None:
        self.has_begun = False
        self._send = send
        self._call = call
        self._writer = writer
        self._head = head
        self._keeper = keeper
        self._is_over = False
        self._ping: asyncio.Task[None] | None = None
        self._written_at = call.runtime.loop.time()

    async def run(self) -> None:
        """Send the events as they come, up to the last one. Raise what the provider raises on the way."""
        call = self._call
        writer = self._writer
        async for batch in call.batches():
            body = writer.write(batch)
            if call.is_settled:
                await self._write(body + writer.close(), is_last=True)
            elif body:
                await self._write(body)
        if not self._is_over and not call.was_cancelled:
            await self._write(writer.close(), is_last=True)

    async def end(self, events: bytes) -> None:
        """End a stream whose call was stopped."""
        if not self._is_over:
            await self._write(events, is_last=True)

    async def fail(self, error: AppError) -> None:
        """End a stream that has begun with an error event, without the mark of a complete one."""
        if not self._is_over:
            await self._write(self._writer.fail(error), is_last=True)

    def tick(self, now: float) -> None:
        """Send a comment when nothing was sent for long, so that nobody on the way gives up."""
        if now - self._written_at < PING_SECONDS or self._is_over or self._ping is not None:
            return
        self._ping = self._call.runtime.loop.create_task(self._write(self._writer.ping))
        self._ping.add_done_callback(self._pinged)

    def _pinged(self, task: asyncio.Task[None]) -> None:
        self._ping = None
        if not task.cancelled():
            task.exception()  # a connection that breaks is noticed where the answer is written

    async def _write(self, body: bytes, *, is_last: bool = False) -> None:
        self._written_at = self._call.runtime.loop.time()
        self._is_over = is_last
        if self._keeper is not None and body is not self._writer.ping:
            await self._keeper.keep_events(events=body, is_last=is_last)
        if not self.has_begun:
            self.has_begun = True
            headers = self._head(EVENT_STREAM) + STREAM_HEADERS
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})
