"""How deep JSON may go: deeper values exhaust the stack of whoever walks them recursively."""

from __future__ import annotations

from typing import Any

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
