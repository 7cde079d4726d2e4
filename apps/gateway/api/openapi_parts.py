"""What the operations of /v1 have in common in the OpenAPI document."""

from __future__ import annotations

from typing import Any

TAG = "openai"
ERROR = {
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
REFUSALS = {
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


def describe_operation(operation_id: str, summary: str, description: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an operation with the refusals that all of them know."""
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
    refusals = {status: {"description": words, "content": problem} for status, words in REFUSALS.items()}
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": [TAG],
        "security": [{"bearer": []}, {"apiKey": []}],
        "responses": {"200": answer, **refusals},
    }


def describe_answer(example: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of an operation by its example."""
    content = {"schema": {"type": "object"}, "examples": {"Answer": {"value": example}}}
    return {"description": "Done", "content": {"application/json": content}}


def describe_body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an operation."""
    content = {"schema": schema, "examples": {"Request": {"value": example}}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
