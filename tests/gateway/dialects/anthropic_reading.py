"""Requests in Anthropic's format, read as the edge reads them."""

from __future__ import annotations

from typing import Any

from apps.gateway.dialects.anthropic.checks import check_message_request
from apps.gateway.dialects.anthropic.request import read_request
from apps.gateway.dialects.base import Asked
from apps.gateway.dialects.openai_checks import check_chat

MARK = {"type": "ephemeral"}


def read(*content: dict[str, Any] | str, **fields: Any) -> Asked:
    """Read a request whose only turn has this content."""
    turn = {
        "role": "user",
        "content": content[0] if len(content) == 1 and isinstance(content[0], str) else list(content),
    }
    body = {"model": "m", "max_tokens": 100, "messages": [turn], **fields}
    check_message_request(body)
    asked = read_request(body)
    check_chat(asked.request)
    return asked


def read_turns(*turns: tuple[str, Any], **fields: Any) -> list[dict[str, Any]]:
    messages = [{"role": role, "content": content} for role, content in turns]
    return read("x", **{"messages": messages, **fields}).request["messages"]
