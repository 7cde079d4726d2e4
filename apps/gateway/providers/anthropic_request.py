"""An OpenAI chat-completions request as an Anthropic messages request.

| field | becomes |
| --- | --- |
| messages | system and messages (see `anthropic_messages`) |
| max_completion_tokens, max_tokens | max_tokens; demanded, so there is a default by model |
| temperature, top_p, top_k | the same, temperature at most 1; dropped where the model refuses them |
| stop | stop_sequences without those that are only white space |
| tools, functions, tool_choice, parallel_tool_calls | tools, tool_choice |
| response_format | output_config.format; for json_object a sentence in the system prompt |
| reasoning_effort, thinking | thinking, output_config.effort |
| safety_identifier, user | metadata.user_id, unless it is an address |
| service_tier | auto or standard_only |
| cache_control, container, context_management, mcp_servers, output_config, speed | the same: they are Anthropic's own |

Everything else has no counterpart and is dropped: n, seed, logprobs, top_logprobs, logit_bias, penalties, prediction,
store, metadata, modalities, audio, verbosity, prompt_cache_key, web_search_options, stream_options.
"""

from __future__ import annotations

from typing import Any

from apps.gateway.providers.anthropic_messages import translate_messages
from apps.gateway.providers.anthropic_schema import restrict_schema
from apps.gateway.providers.base import Target, UpstreamRejected
from apps.gateway.providers.claude_models import (
    FIRST_ADAPTIVE,
    FIRST_WITHOUT_SAMPLING,
    default_max_tokens,
    parse_generation,
    thinking_budget,
    translate_effort,
)

JSON_INSTRUCTION = "Answer with one JSON object and nothing else: no text around it and no code fence."
_OWN_FIELDS = ("cache_control", "container", "context_management", "inference_geo", "mcp_servers", "speed")


def translate_request(request: dict[str, Any], target: Target) -> dict[str, Any]:
    """Return the body for `/v1/messages`. Raises `UpstreamRejected` for what cannot be said in Anthropic's format."""
    system, turns = translate_messages(request.get("messages"))
    model = target.upstream_model
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    max_tokens = asked if isinstance(asked, int) else default_max_tokens(model)
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "messages": turns}
    body.update({name: request[name] for name in _OWN_FIELDS if request.get(name) is not None})
    _add_tools(body, request)
    _add_format(body, request, system)
    _add_thinking(body, request, max_tokens)
    _add_sampling(body, request)
    if system:
        body["system"] = system
    stops = request.get("stop")
    sequences = [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else []
    sequences = [stop for stop in sequences if isinstance(stop, str) and stop.strip()]
    if sequences:
        body["stop_sequences"] = sequences
    user = request.get("safety_identifier") or request.get("user")
    if isinstance(user, str) and user and "@" not in user:
        body["metadata"] = {"user_id": user}
    tier = request.get("service_tier")
    if tier in ("auto", "default"):
        body["service_tier"] = "auto" if tier == "auto" else "standard_only"
    return body


def _add_tools(body: dict[str, Any], request: dict[str, Any]) -> None:
    tools = [_translate_tool(tool, index) for index, tool in enumerate(_list(request.get("tools")))]
    for index, function in enumerate(_list(request.get("functions"))):
        tools.append(_translate_tool({"type": "function", "function": function}, index))
    if not tools:
        # A conversation that once used tools must still define them.
        names = dict.fromkeys(
            block["name"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_use"
        )
        if names:
            body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in names]
            body["tool_choice"] = {"type": "none"}
        return
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        described = choice.get("allowed_tools")
        allowed: dict[str, Any] = described if isinstance(described, dict) else {}
        named = [tool.get("function") for tool in _list(allowed.get("tools")) if isinstance(tool, dict)]
        wanted = [function.get("name") for function in named if isinstance(function, dict)]
        tools = [tool for tool in tools if tool.get("name") in wanted]
        choice = allowed.get("mode")
    body["tools"] = tools
    translated = _translate_choice(choice)
    if request.get("parallel_tool_calls") is False:
        translated = translated or {"type": "auto"}
        if translated["type"] != "none":
            translated["disable_parallel_tool_use"] = True
    if translated:
        body["tool_choice"] = translated


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _translate_tool(tool: object, index: int) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    function = tool.get("function") if isinstance(tool, dict) else None
    if (
        isinstance(tool, dict)
        and kind == "function"
        and isinstance(function, dict)
        and isinstance(function.get("name"), str)
    ):
        parameters = function.get("parameters")
        schema = {"type": "object", **parameters} if isinstance(parameters, dict) else {"type": "object"}
        translated: dict[str, Any] = {"name": function["name"], "input_schema": schema}
        if function.get("description"):
            translated["description"] = function["description"]
        if function.get("strict") is True:
            translated["strict"] = True
            translated["input_schema"] = restrict_schema(schema)
        cache_control = tool.get("cache_control") or function.get("cache_control")
        if isinstance(cache_control, dict):
            translated["cache_control"] = cache_control
        return translated
    if (
        isinstance(tool, dict)
        and isinstance(kind, str)
        and isinstance(tool.get("name"), str)
        and kind not in ("function", "custom")
    ):
        # One of Anthropic's own tools, such as web_search_20250305.
        return tool
    raise UpstreamRejected(f"A tool of type {kind!r} is not supported by this provider.", param=f"tools.{index}")


def _translate_choice(choice: object) -> dict[str, Any] | None:
    match choice:
        case "auto" | "none":
            return {"type": choice}
        case "required":
            return {"type": "any"}
        case {"function": {"name": str(name)}} | {"type": "tool", "name": str(name)}:
            return {"type": "tool", "name": name}
    return None


def _add_format(body: dict[str, Any], request: dict[str, Any], system: list[dict[str, Any]]) -> None:
    if isinstance(request.get("output_config"), dict):
        body["output_config"] = dict(request["output_config"])
    wanted = request.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if isinstance(wanted, dict) and kind == "json_schema":
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(schema, dict):
            raise UpstreamRejected("response_format needs a JSON schema.", param="response_format.json_schema.schema")
        output = {"type": "json_schema", "schema": restrict_schema(schema)}
        body["output_config"] = {**body.get("output_config", {}), "format": output}
    elif kind == "json_object":
        system.append({"type": "text", "text": JSON_INSTRUCTION})


def _add_thinking(body: dict[str, Any], request: dict[str, Any], max_tokens: int) -> None:
    if isinstance(request.get("thinking"), dict):
        body["thinking"] = request["thinking"]
        return
    effort = request.get("reasoning_effort")
    if not isinstance(effort, str):
        return
    model = body["model"]
    generation = parse_generation(model)
    if generation < FIRST_ADAPTIVE:
        if not _can_think(body):
            return
        budget = thinking_budget(effort, max_tokens)
        if budget is not None:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return
    word = translate_effort(effort, model)
    if word is None:
        return
    body["output_config"] = {**body.get("output_config", {}), "effort": word}
    if effort == "none" or body.get("tool_choice", {}).get("type") in ("any", "tool"):
        return
    body["thinking"] = {"type": "adaptive"}
    if generation >= FIRST_WITHOUT_SAMPLING:
        body["thinking"]["display"] = "summarized"


def _can_think(body: dict[str, Any]) -> bool:
    # With a budget, a tool must not be forced, and the turn that called tools must begin with its thinking, which
    # clients of OpenAI's format seldom keep.
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        return False
    last: list[dict[str, Any]] = next(
        (turn["content"] for turn in reversed(body["messages"]) if turn["role"] == "assistant"), []
    )
    has_called = any(block["type"] == "tool_use" for block in last)
    return not has_called or last[0]["type"] in ("thinking", "redacted_thinking")


def _add_sampling(body: dict[str, Any], request: dict[str, Any]) -> None:
    if parse_generation(body["model"]) >= FIRST_WITHOUT_SAMPLING:
        return
    if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        # Thinking fixes the temperature.
        return
    temperature = request.get("temperature")
    if isinstance(temperature, (int, float)):
        # OpenAI's scale ends at 2, this one at 1.
        body["temperature"] = min(max(temperature, 0), 1)
    elif isinstance(request.get("top_p"), (int, float)):
        body["top_p"] = request["top_p"]
    if isinstance(request.get("top_k"), int):
        body["top_k"] = request["top_k"]
