"""A provider for tests of those who call providers: says what it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_EMBEDDINGS,
    CAPABILITY_MODELS,
    Chunk,
    Completion,
    Target,
    UpstreamError,
    Usage,
)
from apps.gateway.providers.chunk_writer import wants_usage


@dataclass(slots=True)
class Script:
    """How one call goes: the pieces it says, then an error or an end."""

    pieces: list[str] = field(default_factory=lambda: ["Hello", " there"])
    usage: Usage | None = field(default_factory=lambda: Usage(prompt_tokens=7, completion_tokens=2))
    finish_reason: str = "stop"
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    error: UpstreamError | None = None
    """Raised after the pieces; before anything is sent when there are none."""
    gate: asyncio.Event | None = None
    """Awaited before the first piece, so that a test can hold a call open."""


@dataclass(slots=True)
class Call:
    """One call the fake received."""

    operation: str
    target: Target
    request: dict[str, Any]
    request_id: str
    is_closed: bool = False
    """Whether the call ended in any way: answered, failed, or closed by its caller."""


class FakeProvider:
    """Plays scripts in order, then the default one over and over."""

    kind: ClassVar[str] = "fake"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})

    def __init__(self, *scripts: Script, models: tuple[str, ...] = ("fake-model",)) -> None:
        self.scripts = deque(scripts)
        self.models = models
        self.calls: list[Call] = []

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer with the whole script at once."""
        script, call = await self._begin("complete", target, request, request_id)
        call.is_closed = True
        if script.error is not None:
            raise script.error
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if script.tool_calls else "".join(script.pieces),
        }
        if script.tool_calls:
            message["tool_calls"] = script.tool_calls
        choice = {"index": 0, "message": message, "finish_reason": script.finish_reason, "logprobs": None}
        payload = {**_head(request_id, target, "chat.completion"), "choices": [choice]}
        if script.usage is not None:
            payload["usage"] = script.usage.as_openai()
        return Completion(None, payload, script.usage, script.finish_reason, None)

    async def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield one list per piece, then the error or the end."""
        script, call = await self._begin("stream", target, request, request_id)
        head = _head(request_id, target, "chat.completion.chunk")
        if wants_usage(request):
            head["usage"] = None
        try:
            if script.error is not None and not script.pieces:
                raise script.error
            yield [_chunk(head, {"role": "assistant", "content": ""})]
            for piece in script.pieces if not script.tool_calls else ():
                yield [_chunk(head, {"content": piece}, text=piece)]
            for index, tool_call in enumerate(script.tool_calls):
                yield [_chunk(head, {"tool_calls": [{**tool_call, "index": index}]})]
            if script.error is not None:
                raise script.error
            last = [_chunk(head, {}, finish_reason=script.finish_reason)]
            if script.usage is not None:
                data = orjson.dumps({**head, "choices": [], "usage": script.usage.as_openai()})
                last.append(Chunk(data, usage=script.usage, is_usage_chunk=True))
            yield last
        finally:
            call.is_closed = True

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer with the same small vector for every input."""
        script, call = await self._begin("embed", target, request, request_id)
        call.is_closed = True
        if script.error is not None:
            raise script.error
        inputs = request.get("input")
        count = len(inputs) if isinstance(inputs, list) else 1
        data = [{"object": "embedding", "index": index, "embedding": [0.6, 0.8]} for index in range(count)]
        payload: dict[str, Any] = {"object": "list", "model": target.upstream_model, "data": data}
        if script.usage is not None:
            counts = {"prompt_tokens": script.usage.prompt_tokens, "total_tokens": script.usage.prompt_tokens}
            payload["usage"] = counts
        return Completion(None, payload, script.usage, None, None)

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the names it was made with; fails when a script says so."""
        script, call = await self._begin("list_models", target, {}, "")
        call.is_closed = True
        if script.error is not None:
            raise script.error
        return list(self.models)

    async def _begin(
        self, operation: str, target: Target, request: dict[str, Any], request_id: str
    ) -> tuple[Script, Call]:
        call = Call(operation, target, request, request_id)
        self.calls.append(call)
        script = self.scripts.popleft() if self.scripts else Script()
        if script.gate is not None:
            await script.gate.wait()
        return script, call


def _head(request_id: str, target: Target, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": 1_700_000_000, "model": target.upstream_model}


def _chunk(head: dict[str, Any], delta: dict[str, Any], *, text: str = "", finish_reason: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return Chunk(orjson.dumps({**head, "choices": [choice]}), text, finish_reason=finish_reason)
