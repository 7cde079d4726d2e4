"""Anthropic's messages API, translated both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.anthropic_answer import parse_anthropic_usage, translate_answer, translate_stop_reason
from apps.gateway.providers.anthropic_native import BETA, VERSION, NativeStream, merge_betas
from apps.gateway.providers.anthropic_request import translate_request
from apps.gateway.providers.anthropic_stream import AnthropicStream
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_MODELS,
    Chunk,
    Completion,
    Target,
    UpstreamBroken,
    UpstreamRejected,
)
from apps.gateway.providers.chunk_writer import wants_usage
from apps.gateway.providers.openai import decode_object
from apps.gateway.providers.transport import fetch, stream_chunks

API_VERSION = "2023-06-01"
MODELS_PER_PAGE = 1_000


class AnthropicProvider:
    """Speaks to api.anthropic.com and servers compatible with it.

    `base_url` may be the official SDK's form (https://api.anthropic.com) or end in `/v1`.
    """

    kind: ClassVar[str] = "anthropic"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_MODELS})
    native_dialects: ClassVar[frozenset[str]] = frozenset({"anthropic.messages"})

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer a chat-completions request."""
        content, headers = await fetch(
            session=session,
            target=target,
            url=address(target, "/v1/messages"),
            headers=_headers(target, request_id),
            body=orjson.dumps(translate_request(request, target)),
        )
        answer = decode_object(content, target)
        _check_blocks(answer, target)
        usage = parse_anthropic_usage(answer.get("usage"))
        payload = translate_answer(answer, usage, target.upstream_model)
        return Completion(
            body=None,
            payload=payload,
            usage=usage,
            finish_reason=payload["choices"][0]["finish_reason"],
            upstream_request_id=headers.get("request-id"),
        )

    def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the chunks of each network read."""
        return stream_chunks(
            session=session,
            target=target,
            url=address(target, "/v1/messages"),
            headers=_headers(target, request_id),
            body=orjson.dumps({**translate_request(request, target), "stream": True}),
            translator=AnthropicStream(target, has_usage=wants_usage(request)),
        )

    async def complete_native(
        self,
        *,
        session: HttpSession,
        target: Target,
        body: dict[str, Any],
        headers: Mapping[str, str],
        request_id: str,
    ) -> Completion:
        """Answer a messages request with the upstream's own bytes; translated where they lack the usage, which is counted."""
        content, answered = await fetch(
            session=session,
            target=target,
            url=_native_address(target, headers),
            headers=native_headers(target, headers, request_id),
            body=orjson.dumps({**body, "model": target.upstream_model}),
        )
        answer = decode_object(content, target)
        _check_blocks(answer, target)
        usage = parse_anthropic_usage(answer.get("usage"))
        payload = translate_answer(answer, None, target.upstream_model) if usage is None else None
        return Completion(
            body=content if usage is not None else None,
            payload=payload,
            usage=usage,
            finish_reason=translate_stop_reason(answer.get("stop_reason")),
            upstream_request_id=answered.get("request-id"),
            is_native=usage is not None,
        )

    def stream_native(
        self,
        *,
        session: HttpSession,
        target: Target,
        body: dict[str, Any],
        headers: Mapping[str, str],
        request_id: str,
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the upstream's own events."""
        return stream_chunks(
            session=session,
            target=target,
            url=_native_address(target, headers),
            headers=native_headers(target, headers, request_id),
            body=orjson.dumps({**body, "model": target.upstream_model, "stream": True}),
            translator=NativeStream(target),
        )

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Refuse: Anthropic has no embeddings."""
        raise UpstreamRejected(f"Provider {target.provider!r} has no embeddings.", param="model")

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the ids of the provider's models."""
        content, _ = await fetch(
            session=session,
            target=target,
            url=address(target, f"/v1/models?limit={MODELS_PER_PAGE}"),
            headers=_headers(target, ""),
        )
        models = decode_object(content, target).get("data")
        if not isinstance(models, list):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without a list of models.")
        return [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]


def _check_blocks(answer: dict[str, Any], target: Target) -> None:
    blocks = answer.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UpstreamBroken(f"Provider {target.provider!r} answered without content.")


def _native_address(target: Target, given: Mapping[str, str]) -> str:
    # As Anthropic's SDKs have it: the query goes with the header that names features under test.
    return address(target, "/v1/messages?beta=true" if given.get(BETA) else "/v1/messages")


def native_headers(target: Target, given: Mapping[str, str], request_id: str) -> dict[str, str]:
    """Return the request headers together with those of the client that belong to Anthropic's format."""
    headers = _headers(target, request_id)
    if given.get(VERSION):
        headers[VERSION] = given[VERSION]
    if given.get(BETA):
        headers[BETA] = merge_betas(headers.get(BETA, ""), given[BETA])
    return headers


def address(target: Target, path: str) -> str:
    """Return the address of an endpoint; `path` begins with `/v1`."""
    return target.base_url.rstrip("/").removesuffix("/v1") + path


def _headers(target: Target, request_id: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "anthropic-version": API_VERSION,
    }
    if request_id:
        headers["X-Request-Id"] = request_id
    headers.update(target.extra_headers)
    if target.credential:
        headers["x-api-key"] = target.credential
    return headers
