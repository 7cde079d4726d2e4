"""OpenAI's own format, and everybody's who speaks it: passed through byte for byte where it keeps its promises."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.anthropic_origin import ORIGIN, make_plain, without_thoughts
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_EMBEDDINGS,
    CAPABILITY_MODELS,
    Chunk,
    Completion,
    Target,
    UpstreamBroken,
)
from apps.gateway.providers.openai_stream import OpenAIStream
from apps.gateway.providers.openai_usage import parse_usage
from apps.gateway.providers.refusals import error_from_object, status_of
from apps.gateway.providers.transport import fetch, stream_chunks


class OpenAIProvider:
    """Speaks to api.openai.com and to servers compatible with it. `base_url` includes `/v1`, as OPENAI_BASE_URL does.

    Unknown request fields are passed on.
    """

    kind: ClassVar[str] = "openai"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})
    keeps_cache_marks: ClassVar[bool] = False
    """The upstream takes Anthropic's `cache_control` inside OpenAI's format."""

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer a chat-completions request; the upstream's bytes are returned as they came."""
        body = self.build_body(target=target, request=request)
        body.pop("stream", None)
        body.pop("stream_options", None)
        content, headers = await fetch(
            session=session,
            target=target,
            url=f"{target.base_url}/chat/completions",
            headers=self.build_headers(target=target, request_id=request_id),
            body=orjson.dumps(body),
        )
        payload = decode_object(content, target)
        is_whole = _repair_completion(payload, target)
        return Completion(
            body=content if is_whole else None,
            payload=None if is_whole else payload,
            usage=parse_usage(payload.get("usage"), payload.get("service_tier")),
            finish_reason=payload["choices"][0]["finish_reason"],
            upstream_request_id=headers.get("x-request-id"),
        )

    def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the chunks of each network read. Usage is always asked for, whatever the client asked."""
        body = self.build_body(target=target, request=request)
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return stream_chunks(
            session=session,
            target=target,
            url=f"{target.base_url}/chat/completions",
            headers=self.build_headers(target=target, request_id=request_id),
            body=orjson.dumps(body),
            translator=OpenAIStream(target),
        )

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer an embeddings request; the upstream's bytes are returned as they came."""
        content, headers = await fetch(
            session=session,
            target=target,
            url=f"{target.base_url}/embeddings",
            headers=self.build_headers(target=target, request_id=request_id),
            body=orjson.dumps({**request, "model": target.upstream_model}),
        )
        payload = decode_object(content, target)
        if not isinstance(payload.get("data"), list):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without embeddings.")
        return Completion(
            body=content,
            payload=None,
            usage=parse_usage(payload.get("usage"), payload.get("service_tier")),
            finish_reason=None,
            upstream_request_id=headers.get("x-request-id"),
        )

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the ids of the provider's models."""
        content, _ = await fetch(
            session=session,
            target=target,
            url=f"{target.base_url}/models",
            headers=self.build_headers(target=target, request_id=""),
        )
        models = decode_object(content, target).get("data")
        if not isinstance(models, list):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without a list of models.")
        return [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]

    def build_body(self, *, target: Target, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as the upstream shall see it: everything passed on, the model under its own name."""
        if ORIGIN in request:
            request = make_plain(request, target.upstream_model, keeps_cache_marks=self.keeps_cache_marks)
        else:
            request = without_thoughts(request)
        return {**request, "model": target.upstream_model}

    def build_headers(self, *, target: Target, request_id: str) -> dict[str, str]:
        """Return the request headers. Bodies are asked for uncompressed: they are small, and time is not."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if request_id:
            headers["X-Request-Id"] = request_id
        headers.update(target.extra_headers)
        if target.credential:
            headers["Authorization"] = f"Bearer {target.credential}"
        return headers


def decode_object(content: bytes, target: Target) -> dict[str, Any]:
    """Return the JSON object a provider answered with. Raise for anything else, and for an error sent as a success."""
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UpstreamBroken(f"Provider {target.provider!r} answered with malformed JSON.") from error
    if not isinstance(payload, dict):
        raise UpstreamBroken(f"Provider {target.provider!r} answered with something else than a JSON object.")
    if payload.get("error"):
        raise error_from_object(target=target, status=status_of(payload["error"]), error=payload["error"])
    return payload


def _repair_completion(payload: dict[str, Any], target: Target) -> bool:
    """Fill in what clients rely on and the upstream left out; return whether nothing was missing."""
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamBroken(f"Provider {target.provider!r} answered without choices.")
    is_whole = True
    if not isinstance(payload.get("id"), str) or not payload["id"]:
        payload["id"] = f"chatcmpl-{secrets.token_hex(12)}"
        is_whole = False
    if not isinstance(payload.get("created"), int):
        payload["created"] = int(time.time())
        is_whole = False
    if not isinstance(payload.get("model"), str) or not payload["model"]:
        payload["model"] = target.upstream_model
        is_whole = False
    if payload.get("object") != "chat.completion":
        payload["object"] = "chat.completion"
        is_whole = False
    for index, choice in enumerate(choices):
        is_whole = _repair_choice(choice, index, target) and is_whole
    return is_whole


def _repair_choice(choice: dict[str, Any], index: int, target: Target) -> bool:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamBroken(f"Provider {target.provider!r} answered with a choice without a message.")
    is_whole = True
    if not isinstance(choice.get("index"), int):
        choice["index"] = index
        is_whole = False
    if message.get("role") != "assistant":
        message["role"] = "assistant"
        is_whole = False
    if "content" not in message:
        message["content"] = None
        is_whole = False
    calls = message.get("tool_calls")
    if not choice.get("finish_reason"):
        choice["finish_reason"] = "tool_calls" if calls else "stop"
        is_whole = False
    for call in calls or ():
        is_whole = _repair_call(call) and is_whole
    return is_whole


def _repair_call(call: dict[str, Any]) -> bool:
    is_whole = True
    if not call.get("id"):
        call["id"] = f"call_{secrets.token_hex(12)}"
        is_whole = False
    if not call.get("type"):
        call["type"] = "function"
        is_whole = False
    function = call.get("function")
    if isinstance(function, dict) and not isinstance(function.get("arguments"), str):
        # Some servers send the arguments decoded, or leave them out when there are none.
        function["arguments"] = orjson.dumps(function.get("arguments") or {}).decode()
        is_whole = False
    return is_whole
