"""A streamed answer under guardrails: every choice, what it says, thinks, refuses and calls, each a text of its own.

Events whose text goes through unchanged are passed on byte for byte.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from apps.gateway.choices import GuardDirection
from apps.gateway.guards.base import Text
from apps.gateway.guards.rules import Rules
from apps.gateway.providers.base import Chunk
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.guarding.filtering import Released, TextFilter
from apps.gateway.services.guarding.json_texts import read_json
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.verdicts import Findings, Judge, judge_topics

Field = tuple[str, int]
"""A text of a delta: its name, and the index of the tool call it belongs to (0 for others)."""
Key = tuple[int, str, int]
"""A text of the answer: choice, name and tool call."""

CONTENT: Key = (0, "content", 0)
PLAIN_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")
JSON_FIELDS = frozenset({"arguments", "function_call"})
SMALLEST_SPLIT = 24
"""Characters of an event that are worth an event of their own, while the rest of it is held back."""


@dataclass(slots=True)
class Held:
    """An event that has not gone yet, or not all of it."""

    chunk: Chunk
    text: str
    taken: int = 0
    """Characters that are through."""
    sent: int = 0
    """Characters that have gone, in events made of a part of this one."""


class Channel:
    """One text of the answer and its events."""

    __slots__ = ("_filter", "_held", "_key")

    def __init__(self, key: Key, text_filter: TextFilter) -> None:
        self._key = key
        self._filter = text_filter
        self._held: deque[Held] = deque()

    def take(self, chunk: Chunk, text: str) -> list[Chunk]:
        """Take an event; return those that may go. Raise ContentBlocked."""
        self._held.append(Held(chunk, text))
        return self._send(self._filter.feed(text))

    def flush(self) -> list[Chunk]:
        """Return the events that are left. Raise ContentBlocked."""
        return self._send(self._filter.flush()) if self._held else []

    def _send(self, released: Released) -> list[Chunk]:
        if not released.length:
            return []
        return self._send_changed(released) if released.has_changed else self._send_unchanged(released.length)

    def _send_unchanged(self, count: int) -> list[Chunk]:
        sent: list[Chunk] = []
        held = self._held
        while count:
            first = held[0]
            step = min(count, len(first.text) - first.taken)
            first.taken += step
            count -= step
            if first.taken == len(first.text):
                held.popleft()
                whole = first.sent == 0
                sent.append(first.chunk if whole else self._make(first, first.text[first.sent :]))
            elif first.taken - first.sent >= SMALLEST_SPLIT:
                sent.append(self._make(first, first.text[first.sent : first.taken]))
                first.sent = first.taken
        return sent

    def _send_changed(self, released: Released) -> list[Chunk]:
        held = self._held
        head = held[0]
        chunk = self._make(head, head.text[head.sent : head.taken] + released.text)
        count = released.length
        while count:
            first = held[0]
            step = min(count, len(first.text) - first.taken)
            first.taken += step
            first.sent = first.taken
            count -= step
            if first.taken == len(first.text):
                held.popleft()
                chunk.usage = first.chunk.usage or chunk.usage
        return [chunk]

    def _make(self, held: Held, text: str) -> Chunk:
        """Return an event like a held one with another text, and without what went with its first part."""
        payload = orjson.loads(held.chunk.data)
        index, name, call_index = self._key
        choice = next(choice for choice in payload["choices"] if choice.get("index", 0) == index)
        choice.pop("logprobs", None)
        put_text(choice["delta"], name, call_index, text, is_rest=held.sent > 0)
        is_content = self._key == CONTENT
        return Chunk(
            orjson.dumps(payload),
            text if is_content else "",
            "" if is_content else text,
            held.chunk.usage,
        )


class ChunkFilter:
    """Filters the events of one streamed answer. `is_json`: what it says was asked for as JSON."""

    __slots__ = ("_active", "_channels", "_facts", "_findings", "_json_fields", "_kept", "_rules", "_said", "_vault")

    def __init__(
        self, *, rules: Rules, findings: Findings, vault: Vault, facts: CallFacts, is_json: bool = False
    ) -> None:
        self._rules = rules
        self._findings = findings
        self._vault = vault
        self._facts = facts
        self._json_fields = JSON_FIELDS | {"content"} if is_json else JSON_FIELDS
        self._channels: dict[Key, Channel] = {}
        self._active: dict[int, Channel] = {}
        self._said: list[str] | None = [] if rules.topics else None
        self._kept: list[Chunk] | None = [] if rules.waits_for_whole else None

    def take(self, batch: list[Chunk]) -> list[Chunk]:
        """Return what may go of these events and of those before. Raise ContentBlocked."""
        sent: list[Chunk] = []
        for chunk in batch:
            if chunk.text and not chunk.other_text and chunk.finish_reason is None:
                sent += self._take_text(CONTENT, chunk, chunk.text)
            elif chunk.is_usage_chunk:
                sent += self._flush_all()
                sent.append(chunk)
            elif not chunk.data:
                sent.append(chunk)
            else:
                sent += self._take_decoded(chunk)
        if self._kept is None:
            return sent
        if batch and batch[-1].is_usage_chunk:
            return self._release_kept(sent)
        self._kept += sent
        return []

    def close(self) -> list[Chunk]:
        """Return what is left. Raise ContentBlocked."""
        return self._release_kept(self._flush_all())

    def _release_kept(self, last: list[Chunk]) -> list[Chunk]:
        said, self._said = self._said, None
        if said is not None:
            judge = Judge(self._rules, GuardDirection.OUTPUT, self._findings)
            text = "".join(said)
            if "content" in self._json_fields:
                text, _ = read_json(text)
            judge_topics(self._rules, judge, text, direction=GuardDirection.OUTPUT, facts=self._facts)
        kept, self._kept = self._kept, None
        return (kept or []) + last

    def _take_text(self, key: Key, chunk: Chunk, text: str) -> list[Chunk]:
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(
                key,
                TextFilter(
                    rules=self._rules,
                    findings=self._findings,
                    vault=self._vault,
                    is_json=key[1] in self._json_fields,
                ),
            )
        if self._said is not None and key[1] in {"content", "refusal"}:
            self._said.append(text)
        before = self._active.get(key[0])
        self._active[key[0]] = channel
        # What the choice goes on to say is another text: the one before has ended.
        sent = before.flush() if before is not None and before is not channel else []
        return sent + channel.take(chunk, text)

    def _take_decoded(self, chunk: Chunk) -> list[Chunk]:
        payload = orjson.loads(chunk.data)
        choices = payload.get("choices") or []
        fields = [(choice, field) for choice in choices for field in text_fields(choice.get("delta") or {})]
        if any((choice.get("delta") or {}).get("thinking_blocks") for choice in choices):
            return self._take_thoughts(payload, chunk)
        if len(fields) == 1 and chunk.finish_reason is None and len(choices) == 1:
            choice, (name, call_index) = fields[0]
            key = (choice.get("index", 0), name, call_index)
            return self._take_text(key, chunk, get_text(choice["delta"], name, call_index))
        return self._take_apart(payload, chunk)

    def _take_apart(self, payload: dict[str, Any], chunk: Chunk) -> list[Chunk]:
        """Take an event of several texts, or of an end, as one event for each of them."""
        sent: list[Chunk] = []
        for choice in payload.get("choices") or []:
            delta, index = choice.get("delta") or {}, choice.get("index", 0)
            rest = {**choice, "delta": without_texts(delta)}
            is_last = rest.get("finish_reason") is not None
            if not is_last and rest["delta"]:
                sent.append(_chunk({**payload, "choices": [rest]}))
            for name, call_index in text_fields(delta):
                text = get_text(delta, name, call_index)
                alone: dict[str, Any] = {}
                put_text(alone, name, call_index, text)
                piece = {"index": index, "delta": alone, "finish_reason": None}
                sent += self._take_text((index, name, call_index), _chunk({**payload, "choices": [piece]}), text)
            if is_last:
                sent += self._flush_choice(index)
                sent.append(_chunk({**payload, "choices": [rest]}, finish_reason=rest["finish_reason"]))
        if not payload.get("choices"):
            sent.append(chunk)
        if sent and chunk.usage is not None:
            sent[-1].usage = chunk.usage
        return sent

    def _take_thoughts(self, payload: dict[str, Any], chunk: Chunk) -> list[Chunk]:
        """Take finished blocks of thinking: what has a find in it goes without, as its signature would be wrong."""
        sent: list[Chunk] = []
        for choice in payload["choices"]:
            delta = choice.get("delta") or {}
            blocks = delta.get("thinking_blocks") or []
            kept = [block for block in blocks if not self._has_find(block.get("thinking"))]
            if len(kept) < len(blocks):
                choice["delta"] = {**delta, "thinking_blocks": kept}
            before = self._active.get(choice.get("index", 0))
            sent += before.flush() if before is not None else []
        sent.append(Chunk(orjson.dumps(payload), chunk.text, chunk.other_text, chunk.usage, chunk.finish_reason))
        return sent

    def _has_find(self, text: object) -> bool:
        if not isinstance(text, str) or not text:
            return False
        # Counted already, when the same text came in pieces.
        return bool(Judge(self._rules, GuardDirection.OUTPUT, Findings()).take(self._rules.find(Text(text))))

    def _flush_choice(self, index: int) -> list[Chunk]:
        return [chunk for key, channel in self._channels.items() if key[0] == index for chunk in channel.flush()]

    def _flush_all(self) -> list[Chunk]:
        return [chunk for channel in self._channels.values() for chunk in channel.flush()]


def text_fields(delta: dict[str, Any]) -> list[Field]:
    """Return the texts of a delta that are not empty."""
    found: list[Field] = [(name, 0) for name in PLAIN_FIELDS if isinstance(delta.get(name), str) and delta[name]]
    for position, call in enumerate(delta.get("tool_calls") or ()):
        index = call.get("index", position)
        if (call.get("function") or {}).get("arguments"):
            found.append(("arguments", index))
        if (call.get("custom") or {}).get("input"):
            found.append(("custom", index))
    if (delta.get("function_call") or {}).get("arguments"):
        found.append(("function_call", 0))
    if (delta.get("audio") or {}).get("transcript"):
        found.append(("transcript", 0))
    return found


def get_text(delta: dict[str, Any], name: str, call_index: int) -> str:
    """Return a text of a delta."""
    text: str
    if name in PLAIN_FIELDS:
        text = delta[name]
    elif name == "function_call":
        text = delta["function_call"]["arguments"]
    elif name == "transcript":
        text = delta["audio"]["transcript"]
    else:
        call = _call_of(delta, call_index)
        text = call["function"]["arguments"] if name == "arguments" else call["custom"]["input"]
    return text


def put_text(delta: dict[str, Any], name: str, call_index: int, text: str, *, is_rest: bool = False) -> None:
    """Put a text into a delta. `is_rest`: role, ids and names have gone with the part before."""
    if is_rest:
        delta.clear()
    if name in PLAIN_FIELDS:
        delta[name] = text
    elif name == "function_call":
        delta["function_call"] = {**(delta.get("function_call") or {}), "arguments": text}
    elif name == "transcript":
        delta["audio"] = {**(delta.get("audio") or {}), "transcript": text}
    else:
        if not delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": call_index}]
        call = _call_of(delta, call_index)
        inner, field = ("function", "arguments") if name == "arguments" else ("custom", "input")
        call[inner] = {**(call.get(inner) or {}), field: text}


def without_texts(delta: dict[str, Any]) -> dict[str, Any]:
    """Return what a delta says beside its texts: role, ids and names of calls."""
    rest = {name: value for name, value in delta.items() if name not in PLAIN_FIELDS or value == ""}
    if delta.get("tool_calls"):
        calls = []
        for position, call in enumerate(delta["tool_calls"]):
            kept = {"index": position, **call}
            for inner, field in (("function", "arguments"), ("custom", "input")):
                if isinstance(call.get(inner), dict):
                    kept[inner] = {**call[inner], field: ""}
            calls.append(kept)
        rest["tool_calls"] = [call for call in calls if call.get("id") or (call.get("function") or {}).get("name")]
        if not rest["tool_calls"]:
            del rest["tool_calls"]
    for outer, field in (("function_call", "arguments"), ("audio", "transcript")):
        if isinstance(delta.get(outer), dict):
            rest[outer] = {name: value for name, value in delta[outer].items() if name != field}
            if not rest[outer]:
                del rest[outer]
    return rest


def _call_of(delta: dict[str, Any], call_index: int) -> dict[str, Any]:
    calls: list[dict[str, Any]] = delta["tool_calls"]
    return next(call for position, call in enumerate(calls) if call.get("index", position) == call_index)


def _chunk(payload: dict[str, Any], *, finish_reason: str | None = None) -> Chunk:
    return Chunk(orjson.dumps(payload), finish_reason=finish_reason)
