"""Requests that callers made in Anthropic's format, made fit for providers that take OpenAI's format literally.

The canonical form of such a request keeps what only Anthropic understands (cache marks, thinking with its signatures), so
that a Claude behind it still gets it. Servers of OpenAI's format refuse fields that they don't know; they get the plain form.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

ORIGIN = "anthropic_origin"
"""Field that marks a canonical request as made in Anthropic's format. Never sent to anybody."""
UNSIGNED = "portico-unsigned"
"""Stands for the signature of thinking that no Claude has signed: clients demand one, and hand it back with the next turn."""
MAX_USER = 64
"""OpenAI's longest `user`."""

_OWN_FIELDS = frozenset({ORIGIN, "cache_control", "metadata", "output_config", "thinking", "top_k"})
_OPENAI = re.compile(r"^(?:ft:)?(?:gpt-(?!oss)|chatgpt-|o\d)")
_OPENAI_REASONING = re.compile(r"^(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d))")
_REFUSED_WHILE_REASONING = ("temperature", "top_p", "stop")


def make_plain(request: dict[str, Any], model: str, *, keeps_cache_marks: bool = False) -> dict[str, Any]:
    """Return the request in OpenAI's words alone, for the upstream's `model`; the given one is left as it is.

    `keeps_cache_marks` is for upstreams that take Anthropic's `cache_control` inside OpenAI's format.
    """
    name = model.rsplit("/", 1)[-1]
    is_openai = _OPENAI.match(name) is not None
    plain = {field: value for field, value in request.items() if field not in _OWN_FIELDS}
    if keeps_cache_marks and "top_k" in request:
        plain["top_k"] = request["top_k"]
    plain["messages"] = [
        _plain_message(message, keeps_marks=keeps_cache_marks, keeps_thoughts=not is_openai)
        for message in request["messages"]
    ]
    if "tools" in plain and not keeps_cache_marks:
        plain["tools"] = [_without_mark(tool) for tool in plain["tools"]]
    if is_openai and "max_tokens" in plain:
        plain["max_completion_tokens"] = plain.pop("max_tokens")
    if _OPENAI_REASONING.match(name):
        # These models refuse what would steer their sampling, and cannot be stopped by a text.
        for field in _REFUSED_WHILE_REASONING:
            plain.pop(field, None)
    user = plain.get("user")
    if isinstance(user, str) and len(user) > MAX_USER:
        plain["user"] = hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
    return plain


def without_thoughts(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request without the signed thoughts of a Claude that took an earlier turn; nobody else knows the field."""
    messages = request["messages"]
    if not any("thinking_blocks" in message for message in messages):
        return request
    kept = [{name: value for name, value in message.items() if name != "thinking_blocks"} for message in messages]
    return {**request, "messages": kept}


def _plain_message(message: dict[str, Any], *, keeps_marks: bool, keeps_thoughts: bool) -> dict[str, Any]:
    plain = {name: value for name, value in message.items() if name not in ("thinking_blocks", "cache_control")}
    if not (keeps_thoughts and message.get("tool_calls")):
        # Some servers refuse to go on after a tool call without the thoughts that led to it, and want no others.
        plain.pop("reasoning_content", None)
    content = message.get("content")
    if isinstance(content, list) and not keeps_marks:
        is_text = all(part.get("type") == "text" for part in content)
        plain["content"] = (
            "\n\n".join(str(part.get("text") or "") for part in content)
            if is_text
            else [_without_mark(part) for part in content]
        )
    return plain


def _without_mark(value: dict[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name != "cache_control"}
