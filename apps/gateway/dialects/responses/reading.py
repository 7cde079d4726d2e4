"""A responses request as a chat completion.

| field | becomes |
| --- | --- |
| instructions, input, what `previous_response_id` stands for | messages |
| tools, tool_choice | functions, see tools.py |
| text.format, text.verbosity | response_format, verbosity |
| reasoning.effort | reasoning_effort; `summary` decides how thoughts are told |
| max_output_tokens | max_completion_tokens |
| top_logprobs, include of logprobs | logprobs, top_logprobs |
| temperature, top_p, parallel_tool_calls, service_tier, user, safety_identifier, prompt_cache_key | themselves |
| metadata, store, background, truncation, max_tool_calls | kept with the response, not sent |
| conversation, prompt | refused |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.gateway.dialects.base import Asked
from apps.gateway.dialects.responses.checks import check_response
from apps.gateway.dialects.responses.items import Item, read_items, write_messages
from apps.gateway.dialects.responses.objects import ResponseOptions
from apps.gateway.dialects.responses.tools import Toolbox, read_tools
from apps.gateway.errors import ParameterInvalid

_PASSED_ON = ("temperature", "top_p", "service_tier", "user", "safety_identifier", "prompt_cache_key")
_LOGPROBS = "message.output_text.logprobs"
_UNSUPPORTED = {
    "conversation": "Portico keeps no conversations of this API; chain responses with `previous_response_id`.",
    "prompt": "Portico keeps no prompt templates of this API; send `instructions` and `input`.",
}


@dataclass(slots=True)
class Prior:
    """What came before a request: the items of the responses it goes on from, and those that it refers to by name."""

    response_id: UUID | None = None
    items: list[Item] = field(default_factory=list)
    referred: dict[str, Item] = field(default_factory=dict)


def read_request(body: dict[str, Any], prior: Prior) -> Asked:
    """Understand a request. Raise ParameterMissing or ParameterInvalid, naming the field as the client knows it."""
    check_response(body)
    for name, reason in _UNSUPPORTED.items():
        if body.get(name) is not None:
            raise ParameterInvalid(reason, param=name)
    toolbox = read_tools(body.get("tools") or [], body.get("tool_choice"))
    items = [_resolve(item, index, prior) for index, item in enumerate(read_items(body["input"]))]
    options = _read_options(body, toolbox, items, prior)
    request: dict[str, Any] = {"model": body["model"], "messages": _write_messages(body, prior, items, toolbox)}
    if body.get("stream"):
        request["stream"] = True
    for name in _PASSED_ON:
        if body.get(name) is not None:
            request[name] = body[name]
    if body.get("max_output_tokens") is not None:
        request["max_completion_tokens"] = body["max_output_tokens"]
    if toolbox.functions:
        request["tools"] = toolbox.functions
        if toolbox.choice is not None:
            request["tool_choice"] = toolbox.choice
        if body.get("parallel_tool_calls") is not None:
            request["parallel_tool_calls"] = body["parallel_tool_calls"]
    effort = (body.get("reasoning") or {}).get("effort")
    if effort is not None:
        request["reasoning_effort"] = effort
    _read_text(body.get("text") or {}, request)
    if options.wants_logprobs:
        request["logprobs"] = True
        if body.get("top_logprobs"):
            request["top_logprobs"] = body["top_logprobs"]
    return Asked(request, options=options)


def _resolve(item: Item, index: int, prior: Prior) -> Item:
    if item["type"] != "item_reference":
        return item
    name = item.get("id")
    found = prior.referred.get(name) if isinstance(name, str) else None
    if found is None:
        raise ParameterInvalid(
            f"There is no stored item {str(name)[:80]!r}; send the item itself.", param=f"input[{index}].id"
        )
    return found


def _write_messages(body: dict[str, Any], prior: Prior, items: list[Item], toolbox: Toolbox) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    if prior.items:
        # One go over all: a result may answer a call of the response before.
        messages += write_messages([*prior.items, *items], toolbox)
    else:
        messages += write_messages(items, toolbox)
    if not messages:
        raise ParameterInvalid("`input` holds nothing to answer.", param="input")
    return messages


def _read_text(text: dict[str, Any], request: dict[str, Any]) -> None:
    if text.get("verbosity") is not None:
        request["verbosity"] = text["verbosity"]
    form = text.get("format")
    if not isinstance(form, dict) or form["type"] == "text":
        return
    if form["type"] == "json_object":
        request["response_format"] = {"type": "json_object"}
        return
    described = {name: form[name] for name in ("name", "description", "schema", "strict") if form.get(name) is not None}
    request["response_format"] = {"type": "json_schema", "json_schema": described}


def _read_options(body: dict[str, Any], toolbox: Toolbox, items: list[Item], prior: Prior) -> ResponseOptions:
    include = body.get("include") or []
    is_stored = body.get("store") is not False
    if body.get("background") and not is_stored:
        raise ParameterInvalid("A response in the background has to be stored: leave `store` out.", param="background")
    reasoning = body.get("reasoning") or {}
    text = body.get("text") or {}
    return ResponseOptions(
        shown={
            "background": bool(body.get("background")),
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": body.get("max_tool_calls"),
            "metadata": body.get("metadata") or {},
            "model": body["model"],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": body.get("previous_response_id"),
            "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "safety_identifier": body.get("safety_identifier"),
            "service_tier": body.get("service_tier") or "default",
            "store": is_stored,
            "temperature": body.get("temperature"),
            "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": [tool for tool in body.get("tools") or [] if tool["type"] not in toolbox.dropped],
            "top_logprobs": body.get("top_logprobs") or 0,
            "top_p": body.get("top_p"),
            "truncation": body.get("truncation") or "disabled",
            "user": body.get("user"),
        },
        toolbox=toolbox,
        input_items=items,
        previous_id=prior.response_id,
        is_stored=is_stored,
        is_background=bool(body.get("background")),
        wants_logprobs=bool(body.get("top_logprobs")) or _LOGPROBS in include,
        wants_summary=bool(reasoning.get("summary") or reasoning.get("generate_summary")),
    )
