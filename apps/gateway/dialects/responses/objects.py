"""The response object, its items' names, and what is remembered of a request on the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.core.errors import InvalidInput
from apps.core.ids import decode_id, encode_id
from apps.gateway.dialects.responses.tools import Toolbox
from apps.gateway.providers.base import Usage

PREFIX = "resp"
_ITEM_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
}
_HEX = 32
_INPUT_FROM = 0x8000
"""Items of the input are numbered from here, so that none has the name of an item of the output."""


@dataclass(slots=True)
class ResponseOptions:
    """What the way back needs to know of a request.

    `shown` are the fields of the response object that repeat the request. `input_items` is the new input alone, without
    what came before it; what is stored.
    """

    shown: dict[str, Any]
    toolbox: Toolbox
    input_items: list[dict[str, Any]] = field(default_factory=list)
    previous_id: UUID | None = None
    is_stored: bool = True
    is_background: bool = False
    wants_logprobs: bool = False
    wants_summary: bool = False


def show_id(response_id: UUID) -> str:
    """Return the id of a response as clients see it."""
    return encode_id(PREFIX, response_id)


def parse_id(text: str) -> UUID | None:
    """Return the id behind a response's public one; None for what cannot be one."""
    try:
        return decode_id(PREFIX, text)
    except InvalidInput:
        return None


def item_id(kind: str, response_id: UUID, index: int) -> str:
    """Return the name of an item: the same for the same place, so that an answer can be told again."""
    return f"{_ITEM_PREFIXES.get(kind, 'item')}_{response_id.hex}{index:04x}"


def response_of_item(text: str) -> UUID | None:
    """Return the response that an item belongs to; None for a name that we did not give."""
    digits = text.rpartition("_")[2]
    if len(digits) != _HEX + 4:
        return None
    try:
        return UUID(hex=digits[:_HEX])
    except ValueError:
        return None


def name_items(items: list[dict[str, Any]], response_id: UUID) -> list[dict[str, Any]]:
    """Return items of an input with an id each; those that have one keep it."""
    named = []
    for index, item in enumerate(items):
        own = item.get("id")
        name = own if isinstance(own, str) and own else item_id(item["type"], response_id, _INPUT_FROM + index)
        named.append({**item, "id": name})
    return named


def describe_response(
    options: ResponseOptions,
    *,
    response_id: UUID,
    created: int,
    status: str,
    output: list[dict[str, Any]],
    usage: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
    incomplete_reason: str | None = None,
    completed_at: int | None = None,
) -> dict[str, Any]:
    """Return the response object."""
    return {
        "id": show_id(response_id),
        "object": "response",
        "created_at": created,
        "completed_at": completed_at,
        "status": status,
        "error": error,
        "incomplete_details": None if incomplete_reason is None else {"reason": incomplete_reason},
        **options.shown,
        "output": output,
        "usage": usage,
    }


def describe_usage(usage: Usage) -> dict[str, Any]:
    """Return the `usage` object of a response."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
