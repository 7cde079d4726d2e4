"""Put the events of a stream together into the answer that it was."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.providers.base import Chunk

MAX_BYTES = 1_048_576
"""What is larger is not kept, neither in parts nor as a whole."""
_COUNTED = frozenset({"thinking_blocks", "tool_calls"})
"""Lists whose items have an `index` in deltas, and none in a message."""


class Assembler:
    """Collects a stream and builds the completion of it. What outgrows MAX_BYTES is dropped on the way."""

    __slots__ = ("_batches", "_bytes")

    def __init__(self) -> None:
        self._batches: list[bytes] | None = []
        self._bytes = 0

    def take(self, batch: list[Chunk]) -> None:
        """Keep the events of one network read."""
        if self._batches is None:
            return
        for chunk in batch:
            self._bytes += len(chunk.data)
            if chunk.data and not chunk.is_usage_chunk:
                self._batches.append(chunk.data)
        # Events say much around little text.
        if self._bytes > MAX_BYTES * 8:
            self._batches = None

    def build(self) -> dict[str, Any] | None:
        """Return the chat completion, without its usage; None when nothing was taken or it grew too large."""
        if not self._batches:
            return None
        head: dict[str, Any] = {}
        choices: dict[int, dict[str, Any]] = {}
        for data in self._batches:
            event = orjson.loads(data)
            for name in ("id", "created", "model", "system_fingerprint"):
                if event.get(name) is not None:
                    head.setdefault(name, event[name])
            for part in event.get("choices") or ():
                _add(choices, part)
        ordered = [choices[index] for index in sorted(choices)]
        for choice in ordered:
            for name in _COUNTED & choice["message"].keys():
                for item in choice["message"][name]:
                    item.pop("index", None)
        return {**head, "object": "chat.completion", "choices": ordered}


def _add(choices: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index", 0)
    choice = choices.setdefault(
        index,
        {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None, "logprobs": None},
    )
    _merge(choice["message"], part.get("delta") or {})
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
    if part.get("logprobs") is not None:
        choice["logprobs"] = choice["logprobs"] or {}
        _merge(choice["logprobs"], part["logprobs"])


def _merge(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta: texts and lists grow, items of lists are found again by their `index`, all else is said once."""
    for name, value in delta.items():
        present = whole.get(name)
        if value is None:
            continue
        if isinstance(value, str) and isinstance(present, str) and name not in {"role", "id", "type"}:
            whole[name] = present + value
        elif isinstance(value, list) and isinstance(present, list):
            _merge_items(present, value)
        elif isinstance(value, dict) and isinstance(present, dict):
            _merge(present, value)
        elif isinstance(value, list):
            whole[name] = []
            _merge_items(whole[name], value)
        else:
            whole[name] = value


def _merge_items(present: list[Any], items: list[Any]) -> None:
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        known = next((one for one in present if index is not None and one.get("index") == index), None)
        if known is None:
            present.append(dict(item) if isinstance(item, dict) else item)
        else:
            _merge(known, {name: value for name, value in item.items() if name != "index"})
