"""What stands for masked text: `[EMAIL_1]`, the same for the same text throughout a call."""

from __future__ import annotations

import re

import orjson

from apps.gateway.guards.base import Beginning

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,48}_[0-9]{1,6}\]")
BEGINNING = Beginning(PLACEHOLDER.pattern)
REMOVED = frozenset({"invisible_text"})
"""Kinds that leave nothing behind: a placeholder would show what was never to be seen."""


class Vault:
    """The placeholders of one call and what they stand for. Lives in memory, for as long as the call."""

    __slots__ = ("_counts", "_names", "originals")

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self.originals: dict[str, str] = {}
        """What may be mapped back."""

    def put(self, kind: str, text: str, *, around: str, is_reversible: bool) -> str:
        """Return the placeholder for a text of some kind; never one that stands in the text `around` already."""
        if kind in REMOVED:
            return ""
        known = self._names.get((kind, text))
        if known is not None:
            return known
        label = kind.upper().replace("/", "_").replace("-", "_")
        number = self._counts.get(label, 0) + 1
        while f"[{label}_{number}]" in around:
            number += 1
        self._counts[label] = number
        name = f"[{label}_{number}]"
        self._names[kind, text] = name
        if is_reversible:
            self.originals[name] = text
        return name

    def restore(self, text: str, *, is_json: bool = False) -> str:
        """Return a text with what the placeholders in it stand for; inside JSON strings that is escaped."""
        if not self.originals or "[" not in text:
            return text

        def original(match: re.Match[str]) -> str:
            found = self.originals.get(match[0])
            if found is None:
                return match[0]
            return orjson.dumps(found).decode()[1:-1] if is_json else found

        return PLACEHOLDER.sub(original, text)
