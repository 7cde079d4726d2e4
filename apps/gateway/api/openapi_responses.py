"""Responses, completions of texts and moderations in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from apps.gateway.api import examples_responses as examples
from apps.gateway.api.openapi_parts import describe_answer, describe_body, describe_operation

_ID = {"name": "response_id", "in": "path", "required": True, "schema": {"type": "string"}}
_NULLABLE_TEXT = {"type": ["string", "null"]}
_RESPONSE_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "OpenAI's responses request. `conversation` and `prompt` are refused; unknown fields are ignored.",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string"},
        "input": {"type": ["string", "array"], "items": {"type": "object"}, "description": "A text, or items."},
        "instructions": _NULLABLE_TEXT,
        "previous_response_id": {**_NULLABLE_TEXT, "description": "Go on from a stored response."},
        "store": {"type": ["boolean", "null"], "description": "Whether the response is kept; it is when silent."},
        "background": {"type": ["boolean", "null"], "description": "Answer at once and go on without the client."},
        "stream": {"type": ["boolean", "null"]},
        "max_output_tokens": {"type": ["integer", "null"], "minimum": 1},
        "temperature": {"type": ["number", "null"]},
        "top_p": {"type": ["number", "null"]},
        "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
        "tools": {"type": ["array", "null"], "items": {"type": "object", "required": ["type"]}},
        "tool_choice": {"type": ["string", "object", "null"]},
        "parallel_tool_calls": {"type": ["boolean", "null"]},
        "text": {"type": ["object", "null"], "description": "`format` and `verbosity`."},
        "reasoning": {"type": ["object", "null"], "description": "`effort` and `summary`."},
        "include": {"type": ["array", "null"], "items": {"type": "string"}},
        "truncation": {"type": ["string", "null"], "enum": ["auto", "disabled", None]},
        "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
        "user": _NULLABLE_TEXT,
    },
}
_COMPLETION_REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "OpenAI's completions request, answered by chat models.",
    "required": ["model", "prompt"],
    "properties": {
        "model": {"type": "string"},
        "prompt": {"type": ["string", "array"], "description": "A text, texts, tokens, or lists of tokens."},
        "suffix": _NULLABLE_TEXT,
        "echo": {"type": ["boolean", "null"]},
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
        "best_of": {"type": ["integer", "null"], "minimum": 1, "maximum": 20},
        "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 5},
        "max_tokens": {"type": ["integer", "null"], "minimum": 1},
        "stop": {"type": ["string", "array", "null"], "items": {"type": "string"}},
        "stream": {"type": ["boolean", "null"]},
        "temperature": {"type": ["number", "null"]},
        "top_p": {"type": ["number", "null"]},
        "seed": {"type": ["integer", "null"]},
        "user": _NULLABLE_TEXT,
    },
}
_MODERATION_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {"type": ["string", "array"], "description": "A text, texts, or parts of text and image."},
        "model": {**_NULLABLE_TEXT, "description": "portico-moderation, or a moderation model of OpenAI's."},
    },
}


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _create() -> dict[str, Any]:
    operation = describe_operation(
        "openai_responses_create",
        "Create a response",
        "Over any provider. With `stream` the answer is named events with rising `sequence_number`. Stored for the time "
        "that PORTICO_RESPONSES_KEEP_DAYS says unless `store` is false.",
        describe_answer(examples.RESPONSE),
    )
    streamed = {"schema": {"type": "string"}, "examples": {"Streamed": {"value": examples.RESPONSE_STREAM}}}
    operation["responses"]["200"]["content"]["text/event-stream"] = streamed
    return operation | describe_body(_RESPONSE_REQUEST, examples.RESPONSE_REQUEST)


def _retrieve() -> dict[str, Any]:
    operation = describe_operation(
        "openai_responses_retrieve",
        "One response",
        "With `stream=true` its events, from `starting_after` on: those that were sent, then those to come. Only of "
        "responses that were streamed or run in the background.",
        describe_answer(examples.RESPONSE),
    )
    streamed = {"schema": {"type": "string"}, "examples": {"Streamed": {"value": examples.RESPONSE_STREAM}}}
    operation["responses"]["200"]["content"]["text/event-stream"] = streamed
    operation["parameters"] = [
        _ID,
        _query("stream", {"type": "boolean"}, "Whether to answer with events."),
        _query("starting_after", {"type": "integer", "minimum": 0}, "The number of the last event that was seen."),
    ]
    return operation


def _with_id(operation: dict[str, Any], *further: dict[str, Any]) -> dict[str, Any]:
    return {**operation, "parameters": [_ID, *further]}


RESPONSE_PATHS: dict[str, Any] = {
    "/v1/responses": {"post": _create()},
    "/v1/responses/input_tokens": {
        "post": describe_operation(
            "openai_responses_input_tokens",
            "Count the input of a response",
            "Without a call and free of charge; exact for OpenAI's models, close for others.",
            describe_answer(examples.INPUT_TOKENS),
        )
        | describe_body(_RESPONSE_REQUEST, examples.RESPONSE_REQUEST)
    },
    "/v1/responses/{response_id}": {
        "get": _retrieve(),
        "delete": _with_id(
            describe_operation(
                "openai_responses_delete",
                "Delete a response",
                "With its input and its events; one that is being written is stopped.",
                describe_answer(examples.RESPONSE_DELETED),
            )
        ),
    },
    "/v1/responses/{response_id}/cancel": {
        "post": _with_id(
            describe_operation(
                "openai_responses_cancel",
                "Cancel a response",
                "Stops one that is being written, wherever it is; one that is over is returned as it is.",
                describe_answer(examples.RESPONSE_CANCELLED),
            )
        )
    },
    "/v1/responses/{response_id}/input_items": {
        "get": _with_id(
            describe_operation(
                "openai_responses_input_items",
                "The input of a response",
                "Its items and those of the responses it goes on from, newest first unless `order` is asc.",
                describe_answer(examples.INPUT_ITEMS),
            ),
            _query("after", {"type": "string"}, "The id of the last item that was seen."),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": 100}, "Items at the most; 20 when silent."),
            _query("order", {"type": "string", "enum": ["asc", "desc"]}, "asc or desc."),
        )
    },
    "/v1/completions": {
        "post": describe_operation(
            "openai_completions",
            "Complete a text",
            "The older API, over chat models. Several prompts are several calls.",
            describe_answer(examples.TEXT_COMPLETION),
        )
        | describe_body(_COMPLETION_REQUEST, examples.TEXT_COMPLETION_REQUEST)
    },
    "/v1/moderations": {
        "post": describe_operation(
            "openai_moderations",
            "Judge whether texts are harmful",
            "By the built-in classifier, or by OpenAI where its models are asked for and configured. Free of charge.",
            describe_answer(examples.MODERATION),
        )
        | describe_body(_MODERATION_REQUEST, examples.MODERATION_REQUEST)
    },
}
