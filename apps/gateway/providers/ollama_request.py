"""An OpenAI request in the words of Ollama's native API.

| field | becomes |
| --- | --- |
| messages | messages; images beside the text, tool results by the name of their tool |
| max_completion_tokens, max_tokens | options.num_predict |
| temperature, top_p, top_k, seed, stop, presence_penalty, frequency_penalty | the option of that name |
| tools | tools; none are sent when tool_choice is none, only the named one when it names one |
| response_format | format: a schema or "json" |
| reasoning_effort | think: false for none, else low, medium or high where the model has levels, or true |
| options, keep_alive, think | the same: they are Ollama's own |

Everything else has no counterpart and is dropped: n, logit_bias, logprobs, top_logprobs, parallel_tool_calls, user,
metadata, store, service_tier, prediction, verbosity, prompt_cache_key, safety_identifier, stream_options.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from apps.core.nesting import load_shallow
from apps.gateway.providers.base import Target, UpstreamRejected

_OPTIONS = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_MODELS_WITH_THINK_LEVELS = "gpt-oss"


def translate_chat(request: dict[str, Any], target: Target) -> dict[str, Any]:
    """Return the body for `/api/chat`. Raises `UpstreamRejected` for what Ollama has no words for."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UpstreamRejected("messages must be a list with at least one message.", param="messages")
    names: dict[str, str] = {}
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "messages": [_translate_message(message, f"messages.{at}", names) for at, message in enumerate(messages)],
    }
    options = _translate_options(request)
    if options:
        body["options"] = options
    tools = _translate_tools(request)
    if tools:
        body["tools"] = tools
    wanted = request.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        body["format"] = schema if isinstance(schema, dict) else "json"
    elif isinstance(wanted, dict) and wanted.get("type") == "json_object":
        body["format"] = "json"
    effort = request.get("reasoning_effort")
    if isinstance(effort, str):
        body["think"] = _translate_effort(effort, target.upstream_model)
    for name in ("keep_alive", "think"):
        if request.get(name) is not None:
            body[name] = request[name]
    return body


def _translate_options(request: dict[str, Any]) -> dict[str, Any]:
    options = {name: request[name] for name in _OPTIONS if isinstance(request.get(name), (int, float))}
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if isinstance(limit, int):
        options["num_predict"] = limit
    stop = request.get("stop")
    if stop:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    own = request.get("options")
    if isinstance(own, dict):
        options.update(own)
    return options


def _translate_tools(request: dict[str, Any]) -> list[Any]:
    choice = request.get("tool_choice")
    tools = request.get("tools")
    if choice == "none" or not isinstance(tools, list):
        return []
    named = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(named, dict):
        # Ollama cannot be told to call a tool; offering no other comes closest.
        return [tool for tool in tools if isinstance(tool, dict) and _function(tool).get("name") == named.get("name")]
    return tools


def _translate_effort(effort: str, model: str) -> bool | str:
    if effort == "none":
        return False
    if _MODELS_WITH_THINK_LEVELS not in model:
        return True
    return {"minimal": "low", "low": "low", "medium": "medium"}.get(effort, "high")


def _translate_message(message: object, param: str, names: dict[str, str]) -> dict[str, Any]:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(message, dict) or role not in ("system", "developer", "user", "assistant", "tool"):
        raise UpstreamRejected(f"Role {role!r} is not supported by this provider.", param=f"{param}.role")
    text, images = _split_content(message.get("content"), param)
    translated: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": text}
    if images:
        translated["images"] = images
    if role == "tool":
        call_id = message.get("tool_call_id")
        name = names.get(call_id) if isinstance(call_id, str) else None
        if name:
            translated["tool_name"] = name
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        translated["tool_calls"] = [_translate_call(call, names) for call in calls]
    if isinstance(message.get("reasoning_content"), str):
        translated["thinking"] = message["reasoning_content"]
    return translated


def _split_content(content: object, param: str) -> tuple[str, list[str]]:
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    images: list[str] = []
    for at, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and kind == "image_url":
            images.append(_image(part, f"{param}.content.{at}"))
        else:
            raise UpstreamRejected(
                f"Content of type {kind!r} is not supported by this provider.", param=f"{param}.content.{at}"
            )
    return "\n".join(texts), images


def _image(part: dict[str, Any], param: str) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    if match is None or not isinstance(url, str):
        # Ollama fetches nothing, and the gateway does not fetch for it.
        raise UpstreamRejected("This provider takes images as base64 data only.", param=f"{param}.image_url")
    return url[match.end() :]


def _translate_call(call: object, names: dict[str, str]) -> dict[str, Any]:
    function = _function(call)
    name = function.get("name")
    arguments = function.get("arguments")
    if isinstance(call, dict) and isinstance(call.get("id"), str) and isinstance(name, str):
        names[call["id"]] = name
    if isinstance(arguments, str):
        try:
            arguments = load_shallow(arguments) if arguments.strip() else {}
        except orjson.JSONDecodeError:
            arguments = {"arguments": arguments}
    return {"function": {"name": name, "arguments": arguments if isinstance(arguments, dict) else {}}}


def _function(call: object) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    return function if isinstance(function, dict) else {}
