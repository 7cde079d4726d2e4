"""A request for a message in the canonical form.

| field | becomes |
| --- | --- |
| system, messages | messages (see `content`) |
| max_tokens, temperature, top_p, top_k, stream | the same |
| stop_sequences | stop |
| tools | functions; tools that Anthropic defines or runs have no counterpart |
| tool_choice | tool_choice, parallel_tool_calls |
| thinking, output_config.effort | the same for Claude, reasoning_effort for others |
| output_config.format, output_format | response_format |
| metadata.user_id | user, without the part that changes with every session |
| service_tier | auto or default |
| cache_control | the same |
| fallbacks (names of models), disable_fallbacks | the same: they are ours, not Anthropic's |

Everything else (container, context_management, mcp_servers, speed, unknown fields) reaches only a provider of Anthropic's
format, in the body as the client sent it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from apps.gateway.dialects.anthropic.content import ContentReader, is_unsigned, join_parts
from apps.gateway.dialects.base import Asked
from apps.gateway.providers.anthropic_origin import ORIGIN

MAX_TOOL_NAME = 64
"""OpenAI's longest name of a function; Anthropic's is 128."""
BILLING_LINE = "x-anthropic-billing-header:"
"""How a block of the system prompt begins that Claude Code writes for Anthropic's own accounting. It differs from call to
call, so that with it no other provider would ever find the prompt in its cache."""
_COPIED = ("temperature", "top_p", "top_k", "cache_control")
_SESSION = re.compile(r"_session_[\w-]+$")
_LOW_BUDGET, _MEDIUM_BUDGET = 4_096, 16_384
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


@dataclass(slots=True)
class Options:
    """What of a request matters to its answer."""

    shows_thinking: bool = False
    """The client asked for thinking, and hence knows how to read it."""
    stop_sequences: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    """Full names of tools by their shortened ones."""


def read_request(body: dict[str, Any]) -> Asked:
    """Return a checked request in the canonical form. Raise ParameterInvalid or ParameterMissing for wrong content."""
    options = Options()
    reader = ContentReader(lambda name: _shorten(name, options))
    messages = reader.read(body["messages"])
    system = _read_system(body.get("system"))
    if system:
        messages.insert(0, {"role": "system", "content": system})
    request: dict[str, Any] = {"model": body["model"], "messages": messages, ORIGIN: True}
    if body.get("max_tokens") is not None:
        request["max_tokens"] = body["max_tokens"]
    if body.get("stream"):
        request["stream"] = True
    request.update({name: body[name] for name in _COPIED if body.get(name) is not None})
    if body.get("stop_sequences"):
        request["stop"] = body["stop_sequences"]
        options.stop_sequences = tuple(body["stop_sequences"])
    if body.get("tools"):
        _read_tools(body, request, options, reader.foreign)
    _read_thinking(body, request, options)
    _read_format(body, request)
    _read_metadata(body.get("metadata"), request)
    if body.get("service_tier") in ("auto", "standard_only"):
        request["service_tier"] = "auto" if body["service_tier"] == "auto" else "default"
    _read_wishes(body, request)
    if body.get("mcp_servers"):
        reader.foreign.append("`mcp_servers`")
    return Asked(
        request,
        native=_native_body(body, has_unsigned=reader.has_unsigned),
        options=options,
        native_only=_describe_foreign(reader.foreign),
    )


def fit_request(request: dict[str, Any], *, max_output_tokens: int | None, can_reason: bool) -> None:
    """Bring a request within what its model can do, in place.

    Anthropic's format demands `max_tokens`, so that clients send the largest number that any Claude takes: it is a bound,
    not a wish. A model that does not reason would refuse to be told how hard to do so.
    """
    asked = request.get("max_tokens")
    if asked is not None and max_output_tokens is not None and asked > max_output_tokens:
        request["max_tokens"] = max_output_tokens
    if not can_reason:
        request.pop("reasoning_effort", None)


def end_user_of(user_id: str) -> str:
    """Return whom a `metadata.user_id` stands for. Claude Code writes its session into it, which is not a person."""
    if user_id.startswith("{"):
        try:
            named = orjson.loads(user_id)
        except orjson.JSONDecodeError:
            return user_id
        found = named.get("account_uuid") or named.get("device_id")
        return found if isinstance(found, str) else user_id
    return _SESSION.sub("", user_id)


def _read_system(system: Any) -> str | list[dict[str, Any]]:
    if system is None or isinstance(system, str):
        return system or ""
    parts: list[dict[str, Any]] = []
    for block in system:
        text = block["text"]
        if not text or text.startswith(BILLING_LINE):
            continue
        part = {"type": "text", "text": text}
        if isinstance(block.get("cache_control"), dict):
            part["cache_control"] = block["cache_control"]
        parts.append(part)
    return join_parts(parts)


def _read_tools(body: dict[str, Any], request: dict[str, Any], options: Options, foreign: list[str]) -> None:
    tools: list[dict[str, Any]] = []
    for tool in body["tools"]:
        kind = tool.get("type")
        if kind not in (None, "custom"):
            foreign.append(f"the tool {str(tool.get('name') or kind)[:100]!r} ({kind[:50]})")
            continue
        schema = tool["input_schema"]
        function: dict[str, Any] = {
            "name": _shorten(tool["name"], options),
            "parameters": {"type": "object", "properties": {}, **schema},
        }
        if isinstance(tool.get("description"), str) and tool["description"]:
            function["description"] = tool["description"]
        if tool.get("strict") is True and _is_closed(schema):
            function["strict"] = True
        translated: dict[str, Any] = {"type": "function", "function": function}
        if isinstance(tool.get("cache_control"), dict):
            translated["cache_control"] = tool["cache_control"]
        tools.append(translated)
    if not tools:
        return
    request["tools"] = tools
    choice = body.get("tool_choice") or {}
    match choice.get("type"):
        case "auto" | "none":
            request["tool_choice"] = choice["type"]
        case "any":
            request["tool_choice"] = "required"
        case "tool":
            request["tool_choice"] = {"type": "function", "function": {"name": _shorten(choice["name"], options)}}
    if choice.get("disable_parallel_tool_use") is True and choice.get("type") != "none":
        request["parallel_tool_calls"] = False


def _read_thinking(body: dict[str, Any], request: dict[str, Any], options: Options) -> None:
    thinking = body.get("thinking") or {}
    config = body.get("output_config") or {}
    wanted = config.get("effort")
    effort = _EFFORTS.get(wanted) if isinstance(wanted, str) else None
    if effort is not None:
        request["output_config"] = {"effort": wanted}
    if thinking:
        request["thinking"] = thinking
    match thinking.get("type"):
        case "enabled":
            budget = thinking.get("budget_tokens")
            effort = effort or _effort_of(budget if isinstance(budget, int) else _MEDIUM_BUDGET)
        case "disabled":
            effort = None
    options.shows_thinking = (
        thinking.get("type") in ("enabled", "adaptive", "between_tools") and thinking.get("display") != "omitted"
    )
    if effort is not None:
        request["reasoning_effort"] = effort


def _effort_of(budget: int) -> str:
    if budget <= _LOW_BUDGET:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET else "high"


def _read_format(body: dict[str, Any], request: dict[str, Any]) -> None:
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if isinstance(schema, dict):
        described: dict[str, Any] = {"name": "answer", "schema": schema}
        if _is_closed(schema):
            described["strict"] = True
        request["response_format"] = {"type": "json_schema", "json_schema": described}


def _read_metadata(metadata: dict[str, Any] | None, request: dict[str, Any]) -> None:
    if not metadata:
        return
    if metadata.get("user_id"):
        request["user"] = end_user_of(metadata["user_id"])
    if metadata.get("tags"):
        request["metadata"] = {"tags": metadata["tags"]}


def _read_wishes(body: dict[str, Any], request: dict[str, Any]) -> None:
    fallbacks = body.get("fallbacks")
    if isinstance(fallbacks, list) and all(isinstance(name, str) for name in fallbacks):
        # A list of objects is Anthropic's own way to fall back among its models.
        request["fallbacks"] = fallbacks
    if body.get("disable_fallbacks") is not None:
        request["disable_fallbacks"] = body["disable_fallbacks"]


def _native_body(body: dict[str, Any], *, has_unsigned: bool) -> dict[str, Any]:
    """Return the body as it came, but for what Anthropic would refuse: our tags, and thinking that no Claude has signed."""
    metadata = body.get("metadata")
    if metadata and "tags" in metadata:
        body = {**body, "metadata": {name: value for name, value in metadata.items() if name != "tags"}}
    if has_unsigned:
        body = {**body, "messages": [_without_unsigned(message) for message in body["messages"]]}
    return body


def _without_unsigned(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if message["role"] != "assistant" or isinstance(content, str):
        return message
    return {**message, "content": [block for block in content if not is_unsigned(block)]}


def _shorten(name: str, options: Options) -> str:
    if len(name) <= MAX_TOOL_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    short = f"{name[: MAX_TOOL_NAME - 9]}_{digest}"
    options.names[short] = name
    return short


def _is_closed(schema: Any) -> bool:
    """Tell whether a schema keeps the rules of OpenAI's strict mode: every object closed, every property required."""
    if isinstance(schema, list):
        return all(_is_closed(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        required = schema.get("required")
        is_complete = isinstance(required, list) and set(properties or ()) == {
            name for name in required if isinstance(name, str)
        }
        if schema.get("additionalProperties") is not False or not (is_complete or not properties):
            return False
    return all(_is_closed(value) for value in schema.values())


def _describe_foreign(foreign: list[str]) -> str:
    if not foreign:
        return ""
    what = ", ".join(dict.fromkeys(foreign))
    return (
        f"Only Anthropic itself understands {what}, and this call cannot go there as it is. "
        "Leave that out, or choose a Claude model whose provider is of the kind anthropic."
    )
