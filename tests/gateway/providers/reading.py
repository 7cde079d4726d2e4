"""Answers and chunks as clients read them."""

from __future__ import annotations

from typing import Any

import orjson
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from apps.gateway.providers.base import Chunk, Completion


def payload_of(completion: Completion) -> dict[str, Any]:
    """The answer as a client sees it; also shows that exactly one of the two forms is given."""
    assert (completion.body is None) != (completion.payload is None)
    payload: dict[str, Any] = completion.payload or orjson.loads(completion.body or b"")
    ChatCompletion.model_validate(payload, strict=True)
    return payload


def forwarded(chunks: list[Chunk]) -> list[dict[str, Any]]:
    """The chunks a client sees that asked for usage, each valid for the official SDK."""
    payloads = [orjson.loads(chunk.data) for chunk in chunks if chunk.data]
    for payload in payloads:
        ChatCompletionChunk.model_validate(payload, strict=True)
    return payloads


def deltas(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [payload["choices"][0]["delta"] for payload in forwarded(chunks) if payload["choices"]]


def joined_calls(chunks: list[Chunk]) -> list[tuple[str, str, Any]]:
    """Id, name and decoded arguments of each tool call, put together as the SDKs do."""
    calls: dict[int, dict[str, str]] = {}
    for delta in deltas(chunks):
        for call in delta.get("tool_calls") or ():
            known = calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
            known["id"] += call.get("id") or ""
            known["name"] += call["function"].get("name") or ""
            known["arguments"] += call["function"].get("arguments") or ""
    return [(call["id"], call["name"], orjson.loads(call["arguments"])) for _, call in sorted(calls.items())]
