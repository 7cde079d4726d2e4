"""How deep JSON may go: deeper values exhaust the stack of whoever walks them recursively."""

from __future__ import annotations

from typing import Any

import orjson

MAX_DEPTH = 100
"""Deepest nesting of a request; schemas of tools are the deepest honest ones, at a dozen or two."""


def is_too_deep(value: Any, *, body: bytes) -> bool:
    """Tell whether the value that a JSON body holds is nested more than MAX_DEPTH levels deep."""
    # Brackets bound the depth from above, and counting them is a hundred times cheaper than walking.
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH or not isinstance(value, dict | list):
        return False
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item
            following += [child for child in children if isinstance(child, dict | list)]
        if not following:
            return False
        level = following
    return True


def load_shallow(text: str) -> Any:
    """Return the value of a JSON text that stands within JSON.

    Raise orjson.JSONDecodeError for what is no JSON, and for what is nested too deeply to be written as part of another
    value: the parser goes down four times as deep as the writer does.
    """
    value = orjson.loads(text)
    if is_too_deep(value, body=text.encode()):
        raise orjson.JSONDecodeError(f"nested more than {MAX_DEPTH} levels deep", text, 0)
    return value
