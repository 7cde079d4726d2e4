"""A completion as a message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from apps.core.nesting import load_shallow
from apps.gateway.dialects.anthropic.request import Options
from apps.gateway.providers.anthropic_origin import UNSIGNED
from apps.gateway.providers.base import Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def make_message_id(request_id: UUID) -> str:
    """Return the id of the message that answers a call."""
    return f"msg_{request_id.hex}"


def write_message(
    payload: dict[str, Any], usage: Usage, options: Options, *, request_id: UUID, model: str
) -> dict[str, Any]:
    """Return the message for a chat completion: its first choice, as blocks."""
    choices = payload.get("choices") or [{}]
    choice = choices[0]
    message = choice.get("message") or {}
    content = thinking_blocks(message, options)
    refusal = message.get("refusal")
    for text in (message.get("content"), refusal):
        if isinstance(text, str) and text:
            content.append({"type": "text", "text": text})
    calls = message.get("tool_calls") or ()
    content.extend(_tool_use(call, options) for call in calls)
    reason, sequence = read_stop(choice, options, has_calls=bool(calls), has_refused=bool(refusal))
    return {
        "id": make_message_id(request_id),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        **describe_refusal(reason, refusal),
        "usage": write_usage(usage),
    }


def thinking_blocks(message: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    """Return what the model thought: signed blocks as they are, anything else only for a client that asked for it."""
    signed = message.get("thinking_blocks")
    if isinstance(signed, list) and signed:
        return [{name: value for name, value in block.items() if name != "index"} for block in signed]
    thought = message.get("reasoning_content") or message.get("reasoning")
    if options.shows_thinking and isinstance(thought, str) and thought:
        return [{"type": "thinking", "thinking": thought, "signature": UNSIGNED}]
    return []


def read_stop(
    choice: dict[str, Any], options: Options, *, has_calls: bool, has_refused: bool
) -> tuple[str, str | None]:
    """Return the reason for which a choice ended, and the stop sequence if it was one.

    OpenAI's format does not tell whether a stop sequence was met; some servers do, in `stop_reason`, as we do for Claude.
    """
    finish_reason = choice.get("finish_reason")
    reason = STOP_REASONS.get(finish_reason, "end_turn") if isinstance(finish_reason, str) else "end_turn"
    if reason == "end_turn":
        met = choice.get("stop_reason")
        if isinstance(met, str) and met in options.stop_sequences:
            return "stop_sequence", met
        if has_calls:
            return "tool_use", None
        if has_refused:
            return "refusal", None
    return reason, None


def describe_refusal(reason: str, explanation: object) -> dict[str, Any]:
    """Return the field that says why a model refused; nothing for any other end."""
    if reason != "refusal":
        return {}
    words = explanation if isinstance(explanation, str) and explanation else None
    return {"stop_details": {"type": "refusal", "category": None, "explanation": words}}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the counts. What was read from and written to a cache is counted beside `input_tokens`, not in it."""
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    counts: dict[str, Any] = {
        "input_tokens": max(fresh, 0),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.cache_write_1h_tokens:
        counts["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _tool_use(call: dict[str, Any], options: Options) -> dict[str, Any]:
    function = call.get("function") or {}
    name = function.get("name") or ""
    return {
        "type": "tool_use",
        "id": call.get("id") or "",
        "name": options.names.get(name, name),
        "input": _decode_arguments(function.get("arguments")),
    }


def _decode_arguments(arguments: object) -> dict[str, Any]:
    try:
        decoded = load_shallow(arguments) if isinstance(arguments, str) and arguments.strip() else {}
    except orjson.JSONDecodeError:
        # The model wrote something else than JSON; the client's tool will say what is wrong with it.
        return {"arguments": arguments}
    return decoded if isinstance(decoded, dict) else {"arguments": decoded}
