"""POST /api/v3/chat/completions: a raw completion for whoever is logged in; nothing of it is kept but its usage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.core.api.asynchronous import AsyncView
from apps.core.api.problems import describe
from apps.core.errors import AppError
from apps.core.money import from_micros
from apps.gateway.api import examples
from apps.gateway.api.serializers import CompletionInput
from apps.gateway.dialects import Asked
from apps.gateway.dialects.base import PING_SECONDS
from apps.gateway.dialects.openai_chat import END, PREFIX
from apps.gateway.dialects.registry import OPENAI_CHAT
from apps.gateway.errors import BodyMalformed
from apps.gateway.services import RunningCall, open_chat
from apps.gateway.services.caching import CacheControl, read_control

EVENT_STREAM = "text/event-stream"


class CompletionView(AsyncView):
    """The same completion as POST /v1/chat/completions, with the authentication and the refusals of /api/v3."""

    scopes: ClassVar[dict[str, str]] = {"POST": "gateway:use"}

    @extend_schema(
        operation_id="chat_completions_create",
        summary="Complete a chat without storing it",
        description=(
            "Takes and gives what POST /v1/chat/completions does. With `stream` the answer is server-sent events that "
            'end with `data: [DONE]`; a failure on the way is an event `{"error": {…problem…}}`.'
        ),
        request=CompletionInput,
        responses={200: OpenApiTypes.OBJECT, (200, EVENT_STREAM): OpenApiTypes.STR},
        examples=[
            examples.sent(examples.COMPLETION_REQUEST),
            examples.answered(examples.COMPLETION),
            examples.answered(examples.COMPLETION_STREAM, media_type=EVENT_STREAM),
        ],
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Answer in one piece or as a stream."""
        if not isinstance(request.data, dict):
            raise BodyMalformed("The body has to be a JSON object.")
        asked = OPENAI_CHAT.read(request.data)
        call = await open_chat(
            actor=self.actor,
            request=asked.request,
            endpoint=OPENAI_CHAT.endpoint,
            cache_control=_read_cache_control(request),
        )
        if call.is_stream:
            events = _events(call, asked, request_id=self.actor.request_id)
            return StreamingHttpResponse(events, content_type=EVENT_STREAM, headers=_headers(call, is_stream=True))
        completion = await call.result()
        return HttpResponse(
            OPENAI_CHAT.write(completion, call, asked),
            content_type="application/json",
            headers=_headers(call, is_stream=False),
        )


async def _events(call: RunningCall, asked: Asked, *, request_id: str) -> AsyncIterator[bytes]:
    # The middleware's connection would otherwise stay with the request as long as the stream lasts.
    await sync_to_async(close_old_connections)()
    writer = OPENAI_CHAT.writer(call, asked)
    batches = aiter(call.batches())
    reading: asyncio.Future[Any] | None = None
    try:
        while True:
            reading = reading or asyncio.ensure_future(anext(batches, None))
            done, _ = await asyncio.wait({reading}, timeout=PING_SECONDS)
            if not done:
                yield writer.ping
                continue
            batch, reading = reading.result(), None
            if batch is None:
                break
            if events := writer.write(batch):
                yield events
        if not call.was_cancelled:
            yield writer.close()
    except AppError as error:
        yield PREFIX + orjson.dumps({"error": describe(error, request_id)}, default=str) + END
    finally:
        if reading is not None:
            reading.cancel()
        await call.cancel()


def _read_cache_control(request: Request) -> CacheControl | None:
    ours, standard = request.headers.get("X-Portico-Cache", ""), request.headers.get("Cache-Control", "")
    return read_control(ours, standard) if ours or standard else None


def _headers(call: RunningCall, *, is_stream: bool) -> dict[str, str]:
    headers = {
        "X-Portico-Request-Id": call.public_id,
        "X-Portico-Model": call.answering_model,
        "X-Portico-Provider": call.provider,
        "X-Portico-Attempts": str(call.meter.attempts),
    }
    if call.cache is not None:
        headers |= {name.decode(): value.decode() for name, value in call.cache.headers()}
    if is_stream:
        return {**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return {**headers, "X-Portico-Cost": str(from_micros(call.cost_micros or 0))}
