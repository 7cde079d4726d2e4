"""POST /api/v3/models/compare: one prompt, several models, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from apps.core.api.asynchronous import AsyncView
from apps.core.api.problems import describe
from apps.core.money import DEFAULT_CURRENCY, from_micros
from apps.events.services.idempotency import Answer, fingerprint_of
from apps.gateway.api import examples
from apps.gateway.dialects.base import PING_SECONDS
from apps.gateway.dialects.openai_checks import check_chat
from apps.gateway.errors import BodyMalformed, ParameterInvalid
from apps.gateway.services.comparing import (
    FEWEST_MODELS,
    MOST_MODELS,
    Compared,
    Comparison,
    Difference,
    Piece,
    describe_differences,
)
from apps.gateway.services.repeating import LEASE_SECONDS, Repetition

EVENT_STREAM = "text/event-stream"
PING = b": ping\n\n"
LOOK_SECONDS = min(PING_SECONDS, LEASE_SECONDS / 3)
NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class CompareInput(serializers.Serializer[Any]):
    """A chat-completions request with several models; further fields are passed on to each."""

    models = serializers.ListField(
        child=serializers.CharField(), min_length=FEWEST_MODELS, max_length=MOST_MODELS, help_text="Names, each once."
    )
    messages = serializers.ListField(child=serializers.DictField(), help_text="The conversation so far.")
    stream = serializers.BooleanField(required=False, help_text="Answer as server-sent events.")
    max_completion_tokens = serializers.IntegerField(required=False, min_value=1)
    temperature = serializers.FloatField(required=False)
    tools = serializers.ListField(child=serializers.DictField(), required=False)
    response_format = serializers.DictField(required=False)


class ComparedOutput(serializers.Serializer[Any]):
    """What came of one model."""

    model = serializers.CharField()
    message = serializers.DictField(allow_null=True, help_text="OpenAI's message object; null when nothing came.")
    finish_reason = serializers.CharField(allow_null=True)
    provider = serializers.CharField(help_text="Who answered; `cache` for an answer that was given before.")
    request_id = serializers.CharField(help_text="Id of the usage record; empty when the call was not let in.")
    attempts = serializers.IntegerField()
    usage = serializers.DictField(allow_null=True)
    cost = serializers.CharField()
    cost_micros = serializers.IntegerField()
    latency_ms = serializers.IntegerField()
    first_token_ms = serializers.IntegerField(allow_null=True)
    cache = serializers.CharField(help_text="What the cache did: hit, hit-semantic, miss, off; empty without a policy.")
    error = serializers.DictField(allow_null=True, help_text="The problem that came instead of an answer.")


class DifferenceOutput(serializers.Serializer[Difference]):
    """How far two answers lie apart, word by word."""

    first = serializers.CharField()
    second = serializers.CharField()
    similarity = serializers.FloatField(help_text="From 0 to 1: the same words in the same order.")
    words_only_in_first = serializers.IntegerField()
    words_only_in_second = serializers.IntegerField()


class CompareOutput(serializers.Serializer[Any]):
    """The answers in the order in which the models were named."""

    id = serializers.CharField()
    results = ComparedOutput(many=True)
    differences = DifferenceOutput(many=True)
    cost = serializers.CharField(help_text="Of all of them together.")
    cost_micros = serializers.IntegerField()
    currency = serializers.CharField()


class CompareView(AsyncView):
    """The same prompt to up to eight models at once."""

    scopes: ClassVar[dict[str, str]] = {"POST": "gateway:use"}

    @extend_schema(
        operation_id="models_compare",
        summary="Compare models",
        description=(
            "Sends one prompt to one to eight models at once; each call is metered, limited and guarded like any other. A model "
            "that fails has its problem in place of an answer, the others are not disturbed. With `stream` the events are "
            "`comparison.started`, `model.delta` and `model.done` for each model, and `comparison.done` with the whole result."
        ),
        parameters=[
            OpenApiParameter(
                "Idempotency-Key", str, OpenApiParameter.HEADER, description="One effect per key for 24 hours."
            )
        ],
        request=CompareInput,
        responses={200: CompareOutput, (200, EVENT_STREAM): str},
        examples=[
            examples.sent(examples.COMPARE_REQUEST),
            examples.answered(examples.COMPARISON),
            examples.answered(examples.COMPARISON_STREAM, media_type=EVENT_STREAM),
        ],
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Answer in one piece when all have ended, or event by event."""
        if not isinstance(request.data, dict):
            raise BodyMalformed("The body has to be a JSON object.")
        asked, models, is_stream = _read(request.data)
        comparison = Comparison(actor=self.actor, request=asked, models=models)
        repetition = self._repetition(request)
        kept = await repetition.begin() if repetition is not None else None
        if kept is not None:
            return _repeat(kept, is_stream=is_stream)
        running = _Running(comparison, repetition, self.actor.request_id)
        if is_stream:
            return StreamingHttpResponse(running.stream(), content_type=EVENT_STREAM, headers=NO_STORE)
        return HttpResponse(await running.finish(), content_type="application/json", headers=NO_STORE)

    def _repetition(self, request: Request) -> Repetition | None:
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return None
        # The body's bytes are gone once they are parsed.
        body = orjson.dumps(request.data, option=orjson.OPT_SORT_KEYS)
        fingerprint = fingerprint_of(method="POST", path=request.get_full_path(), body=body)
        return Repetition(actor=self.actor, key=key, fingerprint=fingerprint)

    post.is_idempotent = True  # type: ignore[attr-defined]


class _Running:
    """A comparison on its way to its client."""

    def __init__(self, comparison: Comparison, repetition: Repetition | None, request_id: str) -> None:
        self._comparison = comparison
        self._repetition = repetition
        self._request_id = request_id

    async def finish(self) -> bytes:
        """Wait for all models and return the whole result."""
        body = b""
        async for event, data in self._events():
            if event == "comparison.done":
                body = data
        return body

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield server-sent events."""
        async for event, data in self._events():
            yield PING if not event else b"event: %s\ndata: %s\n\n" % (event.encode(), data)

    async def _events(self) -> AsyncIterator[tuple[str, bytes]]:
        # The middleware's connection would otherwise stay with the request as long as the models talk.
        await sync_to_async(close_old_connections)()
        answer: Answer | None = None
        events = aiter(self._comparison.events())
        reading: asyncio.Future[Any] | None = None
        try:
            yield "comparison.started", orjson.dumps({"id": self._comparison.public_id})
            while True:
                reading = reading or asyncio.ensure_future(anext(events, None))
                done, _ = await asyncio.wait({reading}, timeout=LOOK_SECONDS)
                if not done:
                    if self._repetition is not None:
                        await self._repetition.renew()
                    yield "", b""
                    continue
                event, reading = reading.result(), None
                if event is None:
                    break
                yield self._describe(event)
            body = orjson.dumps(await self._summarize())
            answer = Answer(200, body.decode())
            yield "comparison.done", body
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await events.aclose()  # type: ignore[attr-defined]
            if self._repetition is not None:
                await self._repetition.end(answer)

    def _describe(self, event: Piece | Compared) -> tuple[str, bytes]:
        if isinstance(event, Piece):
            return "model.delta", orjson.dumps({"model": event.model, "delta": event.text})
        return "model.done", orjson.dumps(_describe_result(event, self._request_id))

    async def _summarize(self) -> dict[str, Any]:
        results = self._comparison.ordered()
        differences = await asyncio.to_thread(describe_differences, results)
        cost = sum(result.cost_micros for result in results)
        return {
            "id": self._comparison.public_id,
            "results": [_describe_result(result, self._request_id) for result in results],
            "differences": [DifferenceOutput(difference).data for difference in differences],
            "cost": str(from_micros(cost)),
            "cost_micros": cost,
            "currency": DEFAULT_CURRENCY,
        }


def _read(body: dict[str, Any]) -> tuple[dict[str, Any], list[str], bool]:
    """Return the request without models and stream, the models, and whether to stream. Raise ParameterInvalid."""
    models = body.get("models")
    if not isinstance(models, list) or not all(isinstance(model, str) and model for model in models):
        raise ParameterInvalid("Name the models as a list of strings in `models`.", param="models")
    is_stream = body.get("stream")
    if is_stream is not None and not isinstance(is_stream, bool):
        raise ParameterInvalid("`stream` has to be a boolean.", param="stream")
    asked = {name: value for name, value in body.items() if name not in {"model", "models", "stream", "stream_options"}}
    check_chat({**asked, "model": models[0] if models else "-"})
    return asked, models, bool(is_stream)


def _repeat(kept: Answer, *, is_stream: bool) -> HttpResponse:
    headers = {**NO_STORE, "Idempotency-Replayed": "true"}
    body = kept.body.encode()
    if not is_stream:
        return HttpResponse(body, content_type="application/json", headers=headers)
    events = b"event: comparison.done\ndata: %s\n\n" % body
    return HttpResponse(events, content_type=EVENT_STREAM, headers=headers)


def _describe_result(result: Compared, request_id: str) -> dict[str, Any]:
    return {
        "model": result.model,
        "message": result.message,
        "finish_reason": result.finish_reason,
        "provider": result.provider,
        "request_id": result.request_id,
        "attempts": result.attempts,
        "usage": result.usage.as_openai() if result.usage is not None else None,
        "cost": str(from_micros(result.cost_micros)),
        "cost_micros": result.cost_micros,
        "latency_ms": result.latency_ms,
        "first_token_ms": result.first_token_ms,
        "cache": result.cache,
        "error": describe(result.error, result.request_id or request_id) if result.error is not None else None,
    }
