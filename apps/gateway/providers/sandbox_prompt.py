"""What a prompt asks of the sandbox: directives in square brackets, anywhere in the last user message."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

MAX_TOKENS = 100_000
MAX_STALL_SECONDS = 600.0
MAX_PACE_SECONDS = 10.0
DEFAULT_PACE_SECONDS = 0.005

_NUMBER = re.compile(r"\[(fail|stall|cut|slow|long):(\d+(?:\.\d+)?)\]")
_ECHO = re.compile(r"\[echo:([^\]]*)\]")
_TOOL = re.compile(r"\[tool:([\w.\-]+)\s*")


@dataclass(slots=True)
class Directives:
    """The sandbox's orders, and the message without them."""

    text: str = ""
    tools: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """`[tool:NAME {"json": "arguments"}]`: call a tool that the request offers."""
    fail_status: int | None = None
    """`[fail:429]`: answer with this HTTP status."""
    stall_seconds: float = 0.0
    """`[stall:5]`: seconds of silence before the first byte."""
    cut_after: int | None = None
    """`[cut:10]`: break off after so many tokens."""
    pace_seconds: float = DEFAULT_PACE_SECONDS
    """`[slow:50]`: milliseconds between two tokens of a stream; 0 for none."""
    length: int | None = None
    """`[long:400]`: answer with exactly so many tokens."""
    echo: str | None = None
    """`[echo:TEXT]`: answer with this text."""


def parse_directives(text: str) -> Directives:
    """Return the directives of a message. Brackets that are none stay part of the text."""
    found = Directives()
    text = _take_tools(text, found)
    echoes = _ECHO.findall(text)
    if echoes:
        found.echo = echoes[0]
        text = _ECHO.sub("", text)
    for name, digits in _NUMBER.findall(text):
        number = float(digits)
        match name:
            case "fail":
                found.fail_status = int(number)
            case "stall":
                found.stall_seconds = min(number, MAX_STALL_SECONDS)
            case "cut":
                found.cut_after = int(number)
            case "slow":
                found.pace_seconds = min(number / 1000, MAX_PACE_SECONDS)
            case "long":
                found.length = max(1, min(int(number), MAX_TOKENS))
    found.text = _NUMBER.sub("", text).strip()
    return found


def _take_tools(text: str, found: Directives) -> str:
    # The arguments may hold brackets themselves, so a JSON parser says where they end.
    kept: list[str] = []
    position = 0
    for match in _TOOL.finditer(text):
        if match.start() < position:
            continue
        arguments: Any = {}
        end = match.end()
        if text[end : end + 1] == "{":
            try:
                arguments, end = json.JSONDecoder().raw_decode(text, end)
            except json.JSONDecodeError:
                continue
        if text[end : end + 1] != "]":
            continue
        kept.append(text[position : match.start()])
        found.tools.append((match[1], arguments))
        position = end + 1
    return "".join(kept) + text[position:]
