"""Local servers that speak the providers' wire formats, for tests: no test needs a network or a key.

An `Upstream` listens on a free port of the loopback and plays one `Scenario` after the other in its dialect; it keeps
what it was asked, and knows whether its clients left early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web


@dataclass(frozen=True)
class ToolCall:
    """A tool call that the upstream makes; `arguments` are JSON."""

    id: str
    name: str
    arguments: str


@dataclass
class Scenario:
    """How one request is answered."""

    pieces: tuple[str, ...] = ("Hello", ", ", "world", "!")
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    finish_reason: str = "stop"
    """In OpenAI's words; each dialect says it in its own."""
    prompt_tokens: int = 11
    completion_tokens: int = 5
    cached_tokens: int = 0
    has_usage: bool = True
    usage_events: int = 1
    """How often a stream gives its usage."""
    vectors: tuple[tuple[float, ...], ...] = ((0.5, 0.5), (1.0, 0.0))
    models: tuple[str, ...] = ("model-a", "model-b")

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error_message: str = "Something is wrong upstream."
    error_param: str | None = None
    error_code: str | None = None
    raw_body: bytes | None = None
    """Sent instead of the JSON answer."""
    frames: tuple[bytes, ...] | None = None
    """Sent instead of the dialect's stream."""

    frames_before_cut: int | None = None
    """The connection is torn down after so many frames."""
    frames_before_end: int | None = None
    """The response ends properly after so many frames, but too early."""
    frames_before_error: int | None = None
    """An error event takes the place of the rest of the stream."""
    frames_before_garbage: int | None = None
    """Something that is not JSON takes the place of the rest of the stream."""
    frames_before_hang: int | None = None
    """The stream falls silent after so many frames, until the client leaves."""
    is_silent: bool = False
    """No byte is sent until the client leaves."""
    frame_bytes: int | None = None
    """Frames are sent in pieces of so many bytes."""


@dataclass(frozen=True)
class Received:
    """One request that reached the upstream."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any


class Dialect(Protocol):
    """A wire format, as a server writes it."""

    stream_content_type: str
    request_id_header: str
    chat_path: str
    embed_path: str
    models_path: str

    def answer(self, scenario: Scenario) -> Any: ...
    def frames(self, scenario: Scenario) -> list[bytes]: ...
    def error(self, scenario: Scenario) -> Any: ...
    def error_frame(self, scenario: Scenario) -> bytes: ...
    def garbage_frame(self) -> bytes: ...
    def embeddings(self, scenario: Scenario) -> Any: ...
    def models(self, scenario: Scenario) -> Any: ...


class Upstream:
    """A server that plays scenarios in order, the last one over and over."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.received: list[Received] = []
        self.connections: set[int] = set()
        self.left = asyncio.Event()
        """Set when a client goes away before its answer is complete."""
        self.origin = ""
        self._scenarios: deque[Scenario] = deque([Scenario()])

    def play(self, *scenarios: Scenario) -> None:
        """Answer the next requests with these."""
        self._scenarios = deque(scenarios)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        content = await request.read()
        body = orjson.loads(content) if content else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, request.path_qs, headers, body))
        self.connections.add(id(request.transport))
        scenario = self._scenarios.popleft() if len(self._scenarios) > 1 else self._scenarios[0]
        try:
            return await self._respond(request, scenario, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    async def _respond(self, request: web.Request, scenario: Scenario, body: Any) -> web.StreamResponse:
        if scenario.is_silent:
            await asyncio.Event().wait()
        headers = {self.dialect.request_id_header: "upstream-request-1", **scenario.headers}
        if scenario.raw_body is not None:
            return web.Response(
                body=scenario.raw_body, status=scenario.status, headers=headers, content_type="application/json"
            )
        if scenario.status != 200:
            return _json(self.dialect.error(scenario), headers, scenario.status)
        if request.path == self.dialect.embed_path:
            return _json(self.dialect.embeddings(scenario), headers)
        if request.path == self.dialect.models_path:
            return _json(self.dialect.models(scenario), headers)
        if request.path != self.dialect.chat_path:
            return web.Response(status=404, text="no such path")
        if not body.get("stream"):
            return _json(self.dialect.answer(scenario), headers)
        return await self._stream(request, scenario, headers)

    async def _stream(self, request: web.Request, scenario: Scenario, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={**headers, "Content-Type": self.dialect.stream_content_type})
        await response.prepare(request)
        frames = list(scenario.frames) if scenario.frames is not None else self.dialect.frames(scenario)
        for at, frame in enumerate(frames):
            if at == scenario.frames_before_cut:
                assert request.transport is not None
                request.transport.abort()
                return response
            if at == scenario.frames_before_end:
                break
            if at == scenario.frames_before_error:
                await response.write(self.dialect.error_frame(scenario))
                break
            if at == scenario.frames_before_garbage:
                await response.write(self.dialect.garbage_frame())
                break
            if at == scenario.frames_before_hang:
                await asyncio.Event().wait()
            for piece in _split(frame, scenario.frame_bytes):
                await response.write(piece)
        await response.write_eof()
        return response


@asynccontextmanager
async def run_upstream(dialect: Dialect) -> AsyncIterator[Upstream]:
    """Serve a dialect on a free port of the loopback; `origin` is its address."""
    upstream = Upstream(dialect)
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", upstream.handle)
    # Handlers are cancelled when their client leaves: that is how an upstream notices.
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    upstream.origin = f"http://{host}:{port}"
    try:
        yield upstream
    finally:
        await runner.cleanup()


def _json(payload: Any, headers: dict[str, str], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(payload), status=status, headers=headers, content_type="application/json")


def _split(frame: bytes, size: int | None) -> Iterable[bytes]:
    return [frame] if size is None else [frame[at : at + size] for at in range(0, len(frame), size)]


def _data(payload: Any) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


class OpenAIDialect:
    """api.openai.com."""

    stream_content_type = "text/event-stream; charset=utf-8"
    request_id_header = "x-request-id"
    chat_path = "/v1/chat/completions"
    embed_path = "/v1/embeddings"
    models_path = "/v1/models"

    def usage(self, scenario: Scenario) -> dict[str, Any]:
        return {
            "prompt_tokens": scenario.prompt_tokens,
            "completion_tokens": scenario.completion_tokens,
            "total_tokens": scenario.prompt_tokens + scenario.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": scenario.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    def answer(self, scenario: Scenario) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(scenario.pieces), "refusal": None}
        if scenario.reasoning:
            message["reasoning_content"] = scenario.reasoning
        if scenario.tool_calls:
            message["content"] = None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in scenario.tool_calls
            ]
        finish = "tool_calls" if scenario.tool_calls else scenario.finish_reason
        answer = {
            "id": "chatcmpl-upstream",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "upstream-model-2025",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "system_fingerprint": "fp_test",
        }
        if scenario.has_usage:
            answer["usage"] = self.usage(scenario)
        return answer

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _data({**self.head(), "choices": [choice], "usage": None})

    def head(self) -> dict[str, Any]:
        return {
            "id": "chatcmpl-upstream",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "upstream-model-2025",
            "system_fingerprint": "fp_test",
        }

    def frames(self, scenario: Scenario) -> list[bytes]:
        frames = [self.chunk({"role": "assistant", "content": "" if not scenario.tool_calls else None})]
        if scenario.reasoning:
            frames.append(self.chunk({"reasoning_content": scenario.reasoning}))
        if not scenario.tool_calls:
            frames.extend(self.chunk({"content": piece}) for piece in scenario.pieces)
        for index, call in enumerate(scenario.tool_calls):
            function = {"name": call.name, "arguments": ""}
            opening = {"index": index, "id": call.id, "type": "function", "function": function}
            frames.append(self.chunk({"tool_calls": [opening]}))
            for part in _halves(call.arguments):
                frames.append(self.chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
        frames.append(self.chunk({}, "tool_calls" if scenario.tool_calls else scenario.finish_reason))
        if scenario.has_usage:
            usage = _data({**self.head(), "choices": [], "usage": self.usage(scenario)})
            frames.extend([usage] * scenario.usage_events)
        frames.append(b"data: [DONE]\n\n")
        return frames

    def error(self, scenario: Scenario) -> Any:
        return {
            "error": {
                "message": scenario.error_message,
                "type": "some_error",
                "param": scenario.error_param,
                "code": scenario.error_code,
            }
        }

    def error_frame(self, scenario: Scenario) -> bytes:
        return _data({"error": {"message": scenario.error_message, "type": "server_error", "code": None}})

    def garbage_frame(self) -> bytes:
        return b'data: {"id": "chatcmpl-up\n\n'

    def embeddings(self, scenario: Scenario) -> Any:
        data = [
            {"object": "embedding", "index": index, "embedding": list(vector)}
            for index, vector in enumerate(scenario.vectors)
        ]
        usage = {"prompt_tokens": scenario.prompt_tokens, "total_tokens": scenario.prompt_tokens}
        return {"object": "list", "data": data, "model": "upstream-model-2025", "usage": usage}

    def models(self, scenario: Scenario) -> Any:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in scenario.models]
        return {"object": "list", "data": data}


class AnthropicDialect:
    """api.anthropic.com."""

    stream_content_type = "text/event-stream; charset=utf-8"
    request_id_header = "request-id"
    chat_path = "/v1/messages"
    embed_path = "/none"
    models_path = "/v1/models"

    _stop_reasons = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    }

    def usage(self, scenario: Scenario) -> dict[str, Any]:
        return {
            "input_tokens": scenario.prompt_tokens - scenario.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": scenario.cached_tokens,
            "output_tokens": scenario.completion_tokens,
        }

    def stop_reason(self, scenario: Scenario) -> str:
        return self._stop_reasons["tool_calls" if scenario.tool_calls else scenario.finish_reason]

    def answer(self, scenario: Scenario) -> Any:
        blocks: list[dict[str, Any]] = []
        if scenario.reasoning:
            blocks.append({"type": "thinking", "thinking": scenario.reasoning, "signature": "c2ln"})
        if not scenario.tool_calls:
            blocks.append({"type": "text", "text": "".join(scenario.pieces)})
        for call in scenario.tool_calls:
            arguments = orjson.loads(call.arguments)
            blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
        answer = {
            "id": "msg_upstream",
            "type": "message",
            "role": "assistant",
            "model": "upstream-model-2025",
            "content": blocks,
            "stop_reason": self.stop_reason(scenario),
            "stop_sequence": None,
        }
        if scenario.has_usage:
            answer["usage"] = self.usage(scenario)
        return answer

    def event(self, payload: dict[str, Any]) -> bytes:
        return b"event: " + payload["type"].encode() + b"\n" + _data(payload)

    def frames(self, scenario: Scenario) -> list[bytes]:
        message = {**self.answer(Scenario(pieces=())), "content": [], "stop_reason": None}
        message.pop("usage")
        if scenario.has_usage:
            message["usage"] = {**self.usage(scenario), "output_tokens": 1}
        frames = [self.event({"type": "message_start", "message": message}), self.event({"type": "ping"})]
        for index, (block, deltas) in enumerate(self._blocks(scenario)):
            start = {"type": "content_block_start", "index": index, "content_block": block}
            frames.append(self.event(start))
            for delta in deltas:
                frames.append(self.event({"type": "content_block_delta", "index": index, "delta": delta}))
            frames.append(self.event({"type": "content_block_stop", "index": index}))
        end: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(scenario), "stop_sequence": None},
        }
        if scenario.has_usage:
            end["usage"] = {"output_tokens": scenario.completion_tokens}
        frames.extend([self.event(end)] * scenario.usage_events)
        frames.append(self.event({"type": "message_stop"}))
        return frames

    def _blocks(self, scenario: Scenario) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        if scenario.reasoning:
            thinking = [{"type": "thinking_delta", "thinking": part} for part in _halves(scenario.reasoning)]
            signature = {"type": "signature_delta", "signature": "c2ln"}
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*thinking, signature]))
        if not scenario.tool_calls:
            texts = [{"type": "text_delta", "text": piece} for piece in scenario.pieces]
            blocks.append(({"type": "text", "text": ""}, texts))
        for call in scenario.tool_calls:
            parts = [{"type": "input_json_delta", "partial_json": part} for part in _halves(call.arguments)]
            blocks.append(({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, parts))
        return blocks

    def error(self, scenario: Scenario) -> Any:
        kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
        kind = kinds.get(scenario.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": scenario.error_message}, "request_id": "req_1"}

    def error_frame(self, scenario: Scenario) -> bytes:
        error = {"type": "overloaded_error", "message": scenario.error_message}
        return self.event({"type": "error", "error": error})

    def garbage_frame(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_bl\n\n'

    def embeddings(self, scenario: Scenario) -> Any:
        raise AssertionError("Anthropic has no embeddings")

    def models(self, scenario: Scenario) -> Any:
        data = [{"id": name, "type": "model", "display_name": name} for name in scenario.models]
        return {"data": data, "has_more": False, "first_id": scenario.models[0], "last_id": scenario.models[-1]}


class OllamaDialect:
    """A local Ollama, native API."""

    stream_content_type = "application/x-ndjson"
    request_id_header = "x-request-id"
    chat_path = "/api/chat"
    embed_path = "/api/embed"
    models_path = "/api/tags"

    def line(self, message: dict[str, Any]) -> bytes:
        return orjson.dumps({**self.head(), "message": {"role": "assistant", **message}, "done": False}) + b"\n"

    def head(self) -> dict[str, Any]:
        return {"model": "upstream-model-2025", "created_at": "2025-01-01T00:00:00.000000Z"}

    def end(self, scenario: Scenario) -> dict[str, Any]:
        end: dict[str, Any] = {"done": True, "done_reason": scenario.finish_reason, "total_duration": 1_000_000}
        if scenario.has_usage:
            end["prompt_eval_count"] = scenario.prompt_tokens
            end["eval_count"] = scenario.completion_tokens
        return end

    def calls(self, scenario: Scenario) -> list[dict[str, Any]]:
        return [
            {"function": {"name": call.name, "arguments": orjson.loads(call.arguments)}} for call in scenario.tool_calls
        ]

    def answer(self, scenario: Scenario) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(scenario.pieces)}
        if scenario.reasoning:
            message["thinking"] = scenario.reasoning
        if scenario.tool_calls:
            message["content"] = ""
            message["tool_calls"] = self.calls(scenario)
        return {**self.head(), "message": message, **self.end(scenario)}

    def frames(self, scenario: Scenario) -> list[bytes]:
        frames = [self.line({"content": "", "thinking": scenario.reasoning})] if scenario.reasoning else []
        if not scenario.tool_calls:
            frames.extend(self.line({"content": piece}) for piece in scenario.pieces)
        frames.extend(self.line({"content": "", "tool_calls": [call]}) for call in self.calls(scenario))
        last = {**self.head(), "message": {"role": "assistant", "content": ""}, **self.end(scenario)}
        frames.extend([orjson.dumps(last) + b"\n"] * scenario.usage_events)
        return frames

    def error(self, scenario: Scenario) -> Any:
        return {"error": scenario.error_message}

    def error_frame(self, scenario: Scenario) -> bytes:
        return orjson.dumps({"error": scenario.error_message}) + b"\n"

    def garbage_frame(self) -> bytes:
        return b'{"model": "upstr\n'

    def embeddings(self, scenario: Scenario) -> Any:
        vectors = [list(vector) for vector in scenario.vectors]
        return {"model": "upstream-model-2025", "embeddings": vectors, "prompt_eval_count": scenario.prompt_tokens}

    def models(self, scenario: Scenario) -> Any:
        return {"models": [{"name": name, "model": name, "size": 1} for name in scenario.models]}


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]
