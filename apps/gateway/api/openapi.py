"""The operations of /v1 in the OpenAPI document: they are answered outside Django, so they are described by hand."""

from __future__ import annotations

from typing import Any

from apps.gateway.api import examples
from apps.gateway.api.openapi_messages import ANTHROPIC_ERROR, MESSAGE_PATHS
from apps.gateway.api.openapi_parts import ERROR, describe_answer, describe_body, describe_operation
from apps.gateway.api.openapi_responses import RESPONSE_PATHS

_CHAT_REQUEST = {
    "type": "object",
    "description": "OpenAI's chat-completions request. Fields that are not named here are passed on.",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
        "fallbacks": {
            "type": ["array", "null"],
            "maxItems": 10,
            "description": "Models to ask, in order, when the first one cannot answer; the provider never sees this.",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "required": ["model"], "properties": {"model": {"type": "string"}}},
                ]
            },
        },
        "disable_fallbacks": {"type": ["boolean", "null"], "description": "Let no other model answer."},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": "boolean"}}},
        "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1},
        "max_tokens": {"type": ["integer", "null"], "minimum": 1},
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
        "temperature": {"type": ["number", "null"]},
        "top_p": {"type": ["number", "null"]},
        "stop": {"type": ["string", "array", "null"], "items": {"type": "string"}},
        "seed": {"type": ["integer", "null"]},
        "tools": {"type": ["array", "null"], "items": {"type": "object", "required": ["type"]}},
        "tool_choice": {"type": ["string", "object", "null"]},
        "parallel_tool_calls": {"type": ["boolean", "null"]},
        "response_format": {"type": ["object", "null"], "required": ["type"]},
        "reasoning_effort": {"type": ["string", "null"]},
        "user": {"type": ["string", "null"]},
    },
}
_EMBEDDING_REQUEST = {
    "type": "object",
    "description": "OpenAI's embeddings request. Fields that are not named here are passed on.",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string"},
        "input": {"type": ["string", "array"], "description": "A text, texts, tokens, or lists of tokens."},
        "encoding_format": {"type": ["string", "null"], "enum": ["float", "base64", None]},
        "dimensions": {"type": ["integer", "null"], "minimum": 1},
        "user": {"type": ["string", "null"]},
    },
}


def add_machine_operations(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add /v1 to the document, as a postprocessing hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {})["OpenAIError"] = ERROR
    result["components"]["schemas"]["AnthropicError"] = ANTHROPIC_ERROR
    result["paths"].update(
        {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/embeddings": {"post": _embeddings()},
            "/v1/models": {"get": _models()},
            "/v1/models/{model}": {"get": _model()},
            **RESPONSE_PATHS,
            **MESSAGE_PATHS,
        }
    )
    return result


def _chat() -> dict[str, Any]:
    streamed = {"schema": {"type": "string"}, "examples": {"Streamed": {"value": examples.COMPLETION_STREAM}}}
    operation = describe_operation(
        "openai_chat_completions",
        "Complete a chat",
        "The official OpenAI SDKs work unchanged with this as their base URL's `/v1`.",
        describe_answer(examples.COMPLETION),
    )
    operation["responses"]["200"]["content"]["text/event-stream"] = streamed
    operation["parameters"] = [
        {
            "name": "x-portico-dry-run",
            "in": "header",
            "schema": {"type": "boolean"},
            "description": "`true` answers what would be decided about the call, and makes none.",
        }
    ]
    return operation | describe_body(_CHAT_REQUEST, examples.COMPLETION_REQUEST)


def _embeddings() -> dict[str, Any]:
    operation = describe_operation(
        "openai_embeddings",
        "Embed texts",
        "`encoding_format: base64` gives little-endian float32, as the OpenAI SDKs ask for.",
        describe_answer(examples.EMBEDDING),
    )
    return operation | describe_body(_EMBEDDING_REQUEST, examples.EMBEDDING_REQUEST)


def _models() -> dict[str, Any]:
    answer = describe_answer({"object": "list", "data": [examples.OPENAI_MODEL]})
    return describe_operation("openai_models_list", "Models that the key may use", "In OpenAI's format.", answer)


def _model() -> dict[str, Any]:
    operation = describe_operation(
        "openai_models_retrieve", "One model", "The name may contain slashes.", describe_answer(examples.OPENAI_MODEL)
    )
    operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation
