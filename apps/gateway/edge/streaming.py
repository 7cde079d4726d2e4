"""Server-sent events of one chat completion: one write per network read of the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from apps.core.errors import AppError
from apps.gateway.edge.problems import Headers, encode_error
from apps.gateway.edge.renaming import ModelRenamer
from apps.gateway.providers.base import Chunk
from apps.gateway.services import RunningCall

EVENT_STREAM = b"text/event-stream; charset=utf-8"
STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
PREFIX = b"data: "
SEPARATOR = b"\n\ndata: "
END = b"\n\n"
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
PING_SECONDS = 15.0


class EventStream:
    """The answer of a streamed call. Its head goes out with the first events, or with the first ping."""

    __slots__ = ("_call", "_has_usage", "_head", "_include_usage", "_is_over", "_ping", "_renamer", "_send", "_written_at", "has_begun")  # fmt: skip

    def __init__(
        self,
        *,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        call: RunningCall,
        include_usage: bool,
        head: Callable[[bytes], Headers],
    ) -> None:
        self.has_begun = False
        self._send = send
        self._call = call
        self._include_usage = include_usage
        self._head = head
        self._has_usage = False
        self._is_over = False
        self._renamer: ModelRenamer | None = None
        self._ping: asyncio.Task[None] | None = None
        self._written_at = call.runtime.loop.time()

    async def run(self) -> None:
        """Send the events as they come, up to the last one. Raise what the provider raises on the way."""
        call = self._call
        if call.upstream_model != call.model:
            self._renamer = ModelRenamer(call.model)
        async for batch in call.batches():
            body = self._encode(batch)
            if call.is_settled:
                if self._include_usage and not self._has_usage:
                    body += self._usage_event()
                await self._write(body + DONE, is_last=True)
            elif body:
                await self._write(body)
        if not self._is_over and not call.was_cancelled:
            last = self._usage_event() if self._include_usage else b""
            await self._write(last + DONE, is_last=True)

    async def fail(self, error: AppError) -> None:
        """End a stream that has begun with an error event, without the mark of a complete one."""
        if not self._is_over:
            await self._write(PREFIX + encode_error(error) + END, is_last=True)

    def tick(self, now: float) -> None:
        """Send a comment when nothing was sent for long, so that nobody on the way gives up."""
        if now - self._written_at < PING_SECONDS or self._is_over or self._ping is not None:
            return
        self._ping = self._call.runtime.loop.create_task(self._write(PING))
        self._ping.add_done_callback(self._pinged)

    def _pinged(self, task: asyncio.Task[None]) -> None:
        self._ping = None
        if not task.cancelled():
            task.exception()  # a connection that breaks is noticed where the answer is written

    async def _write(self, body: bytes, *, is_last: bool = False) -> None:
        self._written_at = self._call.runtime.loop.time()
        self._is_over = is_last
        if not self.has_begun:
            self.has_begun = True
            headers = self._head(EVENT_STREAM) + STREAM_HEADERS
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    def _encode(self, batch: list[Chunk]) -> bytes:
        events: list[bytes] = []
        for chunk in batch:
            if chunk.is_usage_chunk:
                if not self._include_usage:
                    continue
                self._has_usage = True
            if chunk.data:
                events.append(chunk.data)
        if not events:
            return b""
        if self._renamer is not None:
            events = [self._renamer.rename(event) for event in events]
        return PREFIX + SEPARATOR.join(events) + END

    def _usage_event(self) -> bytes:
        """Return the usage as we counted it, for a client that asked and a provider that did not say."""
        call = self._call
        usage = call.meter.fill_usage()
        event = {
            "id": f"chatcmpl-{call.request_id.hex}",
            "object": "chat.completion.chunk",
            "created": call.created,
            "model": call.model,
            "choices": [],
            "usage": usage.as_openai(),
        }
        return PREFIX + orjson.dumps(event) + END
