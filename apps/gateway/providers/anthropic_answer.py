"""Anthropic's answer in OpenAI's words."""

from __future__ import annotations

import time
from typing import Any

import orjson

from apps.gateway.providers.base import MAX_COUNT, Usage
from apps.gateway.providers.chunk_writer import make_completion_id
from apps.gateway.providers.openai_usage import read_service_tier

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def translate_answer(answer: dict[str, Any], usage: Usage | None, model: str) -> dict[str, Any]:
    """Return the `chat.completion` for a message. Thinking becomes `reasoning_content`, and with its signatures
    `thinking_blocks`, which may be sent back. Blocks of Anthropic's own tools have no counterpart and are left out.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    signed: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in answer["content"]:
        match block.get("type"):
            case "text":
                texts.append(block.get("text") or "")
            case "thinking":
                thoughts.append(block.get("thinking") or "")
                signed.append(block)
            case "redacted_thinking":
                signed.append(block)
            case "tool_use":
                arguments = orjson.dumps(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if signed:
        message["thinking_blocks"] = signed
    if calls:
        message["tool_calls"] = calls
    details = answer.get("stop_details")
    if isinstance(details, dict) and answer.get("stop_reason") == "refusal":
        message["refusal"] = details.get("explanation")
    finish_reason = translate_stop_reason(answer.get("stop_reason"))
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None, **tell_stop(answer)}
    payload = {
        "id": make_completion_id(answer.get("id")),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.get("model") or model,
        "choices": [choice],
    }
    if usage is not None:
        payload["usage"] = usage.as_openai()
    return payload


def translate_stop_reason(reason: object) -> str:
    """Return OpenAI's finish reason; what is unknown is an ordinary stop."""
    return FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def tell_stop(ended: dict[str, Any]) -> dict[str, Any]:
    """Return the field in which servers of OpenAI's format tell of a stop sequence that was met, beside `finish_reason`."""
    is_met = ended.get("stop_reason") == "stop_sequence" and isinstance(ended.get("stop_sequence"), str)
    return {"stop_reason": ended["stop_sequence"]} if is_met else {}


def parse_anthropic_usage(usage: object, before: Usage | None = None) -> Usage | None:
    """Return the counts. The events of a stream are cumulative and may leave out what has not changed `before`.

    Anthropic counts the cached parts of a prompt beside `input_tokens`; here they are parts of the whole.
    """
    if not isinstance(usage, dict):
        return before
    before = before or Usage()
    fresh_before = before.prompt_tokens - before.cached_tokens - before.cache_write_tokens
    cached = _count(usage, "cache_read_input_tokens", before.cached_tokens)
    written = _count(usage, "cache_creation_input_tokens", before.cache_write_tokens)
    parsed = Usage(
        prompt_tokens=_count(usage, "input_tokens", fresh_before) + cached + written,
        completion_tokens=_count(usage, "output_tokens", before.completion_tokens),
        cached_tokens=cached,
        reasoning_tokens=_count(usage.get("output_tokens_details"), "thinking_tokens", before.reasoning_tokens),
        cache_write_tokens=written,
        cache_write_1h_tokens=_count(
            usage.get("cache_creation"), "ephemeral_1h_input_tokens", before.cache_write_1h_tokens
        ),
        service_tier=read_service_tier(usage.get("service_tier")) or before.service_tier,
    )
    return parsed if parsed.prompt_tokens or parsed.completion_tokens else None


def _count(counts: object, name: str, otherwise: int) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return min(value, MAX_COUNT) if isinstance(value, int) and value >= 0 else otherwise
