"""Server-sent events of a run (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

from apps.conversations.models import Run
from apps.conversations.services.following import COMPLETED, RunEvent, RunFollower
from apps.core.api.problems import describe
from apps.core.errors import AppError
from apps.users.selectors.credentials import Credential

PING_SECONDS = 15.0
PING = b": ping\n\n"
HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


def encode_event(event: RunEvent) -> bytes:
    """Return one event in the wire format."""
    number = b"" if event.seq is None else b"id: %d\n" % event.seq
    return b"%bevent: %b\ndata: %b\n\n" % (number, event.name.encode(), to_json(event.data))


def to_json(value: Any) -> bytes:
    """Return JSON in one line, times in UTC with Z."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def stream_run(
    run: Run, *, after: int, credential: Credential, request_id: str, with_title: bool = False
) -> StreamingHttpResponse:
    """Answer the events of a run after `after`, as they come, and end with the run, or with the title it leads to."""
    events = _events(run, after=after, credential=credential, request_id=request_id, with_title=with_title)
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=HEADERS)


async def _events(
    run: Run, *, after: int, credential: Credential, request_id: str, with_title: bool
) -> AsyncIterator[bytes]:
    # The middleware's connection would otherwise stay with the request as long as the stream lasts.
    await sync_to_async(close_old_connections)()
    try:
        async with RunFollower(run, after=after, credential=credential) as follower:
            is_over = False
            while not is_over:
                events = await follower.read(timeout_seconds=PING_SECONDS)
                yield b"".join(map(encode_event, events)) or PING
                is_over = bool(events) and events[-1].is_end
            if with_title and events[-1].name == COMPLETED:
                async for events in follower.read_title():
                    yield b"".join(map(encode_event, events)) or PING
    except AppError as error:
        yield encode_event(RunEvent(None, "error", describe(error, request_id)))
