"""Messages and their count of tokens in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from apps.gateway.api import examples_messages as examples
from apps.gateway.api.openapi_parts import describe_answer, describe_body, describe_operation

TAG = "anthropic"
ANTHROPIC_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "A failure in Anthropic's shape.",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"type": "string", "enum": ["error"]},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string", "description": "What is wrong, which limit, and when it resets."},
                "details": {
                    "type": "object",
                    "properties": {"error_code": {"type": "string", "description": "Stable code."}},
                },
            },
        },
        "request_id": {"type": "string"},
    },
    "example": examples.ERROR,
}
_TEXT_OR_BLOCKS = {"type": ["string", "array"], "items": {"type": "object", "required": ["type"]}}
_PROMPT: dict[str, Any] = {
    "model": {"type": "string"},
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"type": "string", "enum": ["user", "assistant", "system"]},
                "content": _TEXT_OR_BLOCKS,
            },
        },
    },
    "system": {"type": ["string", "array", "null"], "items": {"type": "object", "required": ["type", "text"]}},
    "tools": {"type": ["array", "null"], "items": {"type": "object"}},
    "tool_choice": {"type": ["object", "null"], "required": ["type"]},
    "thinking": {"type": ["object", "null"], "required": ["type"]},
    "output_config": {"type": ["object", "null"], "description": "`effort` and `format`."},
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": (
        "Anthropic's messages request. Fields that are not named here reach providers of that kind, and are left out for "
        "all others."
    ),
    "required": ["model", "messages", "max_tokens"],
    "properties": {
        **_PROMPT,
        "max_tokens": {"type": "integer", "minimum": 1},
        "stream": {"type": ["boolean", "null"]},
        "stop_sequences": {"type": ["array", "null"], "items": {"type": "string"}},
        "temperature": {"type": ["number", "null"]},
        "top_p": {"type": ["number", "null"]},
        "top_k": {"type": ["integer", "null"], "minimum": 0},
        "metadata": {
            "type": ["object", "null"],
            "properties": {"user_id": {"type": ["string", "null"]}},
            "description": "`user_id` is the end user; `tags` are those of usage records.",
        },
        "service_tier": {"type": ["string", "null"]},
    },
}
_COUNT_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "A prompt as of a messages request.",
    "required": ["model", "messages"],
    "properties": _PROMPT,
}


def _messages() -> dict[str, Any]:
    operation = _operation(
        "anthropic_messages",
        "Send messages",
        "The official Anthropic SDKs and Claude Code work unchanged with this server as their base URL, over every model.",
        examples.MESSAGE,
    )
    streamed = {"schema": {"type": "string"}, "examples": {"Streamed": {"value": examples.MESSAGE_STREAM}}}
    operation["responses"]["200"]["content"]["text/event-stream"] = streamed
    return operation | describe_body(_REQUEST, examples.MESSAGE_REQUEST)


def _count() -> dict[str, Any]:
    operation = _operation(
        "anthropic_count_tokens",
        "Count the tokens of messages",
        "Free of charge. Claude's own count where the model is only at Anthropic, else ours, which leans upwards for Claude.",
        examples.COUNT,
    )
    return operation | describe_body(_COUNT_REQUEST, examples.COUNT_REQUEST)


def _operation(operation_id: str, summary: str, description: str, answer: dict[str, Any]) -> dict[str, Any]:
    operation = describe_operation(operation_id, summary, description, describe_answer(answer))
    operation["tags"] = [TAG]
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/AnthropicError"}}}
    for status, refusal in operation["responses"].items():
        if status != "200":
            refusal["content"] = problem
    return operation


MESSAGE_PATHS: dict[str, Any] = {
    "/v1/messages": {"post": _messages()},
    "/v1/messages/count_tokens": {"post": _count()},
}
