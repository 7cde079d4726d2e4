"""The operations of /v1 in the OpenAPI document: they are answered outside Django, so they are described by hand."""

from __future__ import annotations

from typing import Any

from apps.gateway.api import examples

TAG = "openai"
_ERROR = {
    "type": "object",
    "description": "A failure in OpenAI's shape.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong, which limit, and when it resets."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "code": {"type": ["string", "null"], "description": "Stable code."},
            },
        }
    },
    "example": {
        "error": {
            "message": "Model 'gpt-9' does not exist, or this key may not use it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    },
}
_REFUSALS = {
    "400": "The request is not valid",
    "401": "The key or token is not valid",
    "403": "A scope or role is missing",
    "404": "There is no such model",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "429": "A limit of the key, or the provider's, is reached; see Retry-After",
    "502": "The provider's answer cannot be used",
    "503": "The provider, or something that Portico needs, does not answer; see Retry-After",
    "504": "The provider took too long",
}
_CHAT_REQUEST = {
    "type": "object",
    "description": "OpenAI's chat-completions request. Fields that are not named here are passed on.",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
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
    result.setdefault("components", {}).setdefault("schemas", {})["OpenAIError"] = _ERROR
    result["paths"].update(
        {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/embeddings": {"post": _embeddings()},
            "/v1/models": {"get": _models()},
            "/v1/models/{model}": {"get": _model()},
        }
    )
    return result


def _chat() -> dict[str, Any]:
    streamed = {"schema": {"type": "string"}, "examples": {"Streamed": {"value": examples.COMPLETION_STREAM}}}
    operation = _operation(
        "openai_chat_completions",
        "Complete a chat",
        "The official OpenAI SDKs work unchanged with this as their base URL's `/v1`.",
        _answer(examples.COMPLETION),
    )
    operation["responses"]["200"]["content"]["text/event-stream"] = streamed
    return operation | _body(_CHAT_REQUEST, examples.COMPLETION_REQUEST)


def _embeddings() -> dict[str, Any]:
    operation = _operation(
        "openai_embeddings",
        "Embed texts",
        "`encoding_format: base64` gives little-endian float32, as the OpenAI SDKs ask for.",
        _answer(examples.EMBEDDING),
    )
    return operation | _body(_EMBEDDING_REQUEST, examples.EMBEDDING_REQUEST)


def _models() -> dict[str, Any]:
    answer = _answer({"object": "list", "data": [examples.OPENAI_MODEL]})
    return _operation("openai_models_list", "Models that the key may use", "In OpenAI's format.", answer)


def _model() -> dict[str, Any]:
    operation = _operation(
        "openai_models_retrieve", "One model", "The name may contain slashes.", _answer(examples.OPENAI_MODEL)
    )
    operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _operation(operation_id: str, summary: str, description: str, answer: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    refusals = {status: {"description": words, "content": problem} for status, words in _REFUSALS.items()}
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": [TAG],
        "security": [{"bearer": []}, {"apiKey": []}],
        "responses": {"200": answer, **refusals},
    }


def _answer(example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"type": "object"}, "examples": {"Answer": {"value": example}}}
    return {"description": "Done", "content": {"application/json": content}}


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": schema, "examples": {"Request": {"value": example}}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
