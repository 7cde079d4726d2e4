"""Ollama's native API, translated both ways: unlike its OpenAI-compatible one, it takes all options."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_EMBEDDINGS,
    CAPABILITY_MODELS,
    MAX_COUNT,
    Chunk,
    Completion,
    Target,
    UpstreamBroken,
    UpstreamRejected,
    Usage,
)
from apps.gateway.providers.chunk_writer import make_completion_id, wants_usage
from apps.gateway.providers.embeddings import encode_vector, read_texts
from apps.gateway.providers.ollama_request import translate_chat
from apps.gateway.providers.ollama_stream import (
    OllamaStream,
    parse_ollama_usage,
    translate_calls,
    translate_done_reason,
)
from apps.gateway.providers.openai import decode_object
from apps.gateway.providers.transport import fetch, stream_chunks


class OllamaProvider:
    """Speaks to an Ollama server; `base_url` is its root, such as http://localhost:11434. A trailing `/v1` is ignored."""

    kind: ClassVar[str] = "ollama"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer a chat-completions request."""
        content, headers = await fetch(
            session=session,
            target=target,
            url=_address(target, "/api/chat"),
            headers=_headers(target, request_id),
            body=orjson.dumps({**translate_chat(request, target), "stream": False}),
        )
        answer = decode_object(content, target)
        said = answer.get("message")
        if not isinstance(said, dict):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without a message.")
        calls = translate_calls(said)
        message: dict[str, Any] = {"role": "assistant", "content": said.get("content") or None, "refusal": None}
        if not calls:
            message["content"] = said.get("content") or ""
        if said.get("thinking"):
            message["reasoning_content"] = said["thinking"]
        if calls:
            message["tool_calls"] = calls
        finish_reason = translate_done_reason(answer, has_calls=bool(calls))
        usage = parse_ollama_usage(answer)
        payload: dict[str, Any] = {
            "id": make_completion_id(),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": answer.get("model") or target.upstream_model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}],
        }
        if usage is not None:
            payload["usage"] = usage.as_openai()
        return Completion(None, payload, usage, finish_reason, headers.get("x-request-id"))

    def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the chunks of each network read."""
        return stream_chunks(
            session=session,
            target=target,
            url=_address(target, "/api/chat"),
            headers=_headers(target, request_id),
            body=orjson.dumps({**translate_chat(request, target), "stream": True}),
            translator=OllamaStream(target, has_usage=wants_usage(request)),
        )

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer an embeddings request. Tokens are made text again: Ollama takes nothing else."""
        texts = read_texts(request.get("input"))
        if texts is None:
            raise UpstreamRejected(
                "This provider embeds texts: a text, a list of texts, or tokens of cl100k_base.", param="input"
            )
        body: dict[str, Any] = {"model": target.upstream_model, "input": texts}
        if isinstance(request.get("dimensions"), int):
            body["dimensions"] = request["dimensions"]
        content, headers = await fetch(
            session=session,
            target=target,
            url=_address(target, "/api/embed"),
            headers=_headers(target, request_id),
            body=orjson.dumps(body),
        )
        answer = decode_object(content, target)
        vectors = answer.get("embeddings")
        if not isinstance(vectors, list) or len(vectors) != len(texts):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without an embedding for every input.")
        is_base64 = request.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": encode_vector(vector) if is_base64 else vector}
            for index, vector in enumerate(vectors)
        ]
        count = answer.get("prompt_eval_count")
        usage = Usage(prompt_tokens=min(count, MAX_COUNT)) if isinstance(count, int) and count > 0 else None
        payload: dict[str, Any] = {"object": "list", "data": data, "model": target.upstream_model}
        if usage is not None:
            payload["usage"] = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
        return Completion(None, payload, usage, None, headers.get("x-request-id"))

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the names of the models that are pulled."""
        content, _ = await fetch(
            session=session, target=target, url=_address(target, "/api/tags"), headers=_headers(target, "")
        )
        models = decode_object(content, target).get("models")
        if not isinstance(models, list):
            raise UpstreamBroken(f"Provider {target.provider!r} answered without a list of models.")
        return [model["name"] for model in models if isinstance(model, dict) and isinstance(model.get("name"), str)]


def _address(target: Target, path: str) -> str:
    return target.base_url.rstrip("/").removesuffix("/v1") + path


def _headers(target: Target, request_id: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if request_id:
        headers["X-Request-Id"] = request_id
    headers.update(target.extra_headers)
    if target.credential:
        # Ollama itself knows no keys; what stands in front of it does.
        headers["Authorization"] = f"Bearer {target.credential}"
    return headers
