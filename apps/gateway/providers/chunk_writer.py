"""Writes OpenAI chunks for adapters whose upstream speaks another format."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import orjson

from apps.gateway.providers.base import Chunk, Usage

CHUNK_OBJECT = "chat.completion.chunk"


def make_completion_id(upstream_id: object = None) -> str:
    """Return an id in OpenAI's form, which contains the upstream's where it has one."""
    if isinstance(upstream_id, str) and upstream_id:
        return f"chatcmpl-{upstream_id.removeprefix('msg_')}"
    return f"chatcmpl-{secrets.token_hex(12)}"


def make_call_id() -> str:
    """Return an id for a tool call that came without one."""
    return f"call_{secrets.token_hex(12)}"


def wants_usage(request: Mapping[str, Any]) -> bool:
    """Tell whether a request asks for usage at the end of its stream."""
    options = request.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


class ChunkWriter:
    """The chunks of one answer with one choice: they share their head, and the first has the role.

    Where usage was asked for, the others say that theirs is null, as strict clients expect.
    """

    def __init__(self, *, model: str, completion_id: str, has_usage: bool) -> None:
        self._head = {"id": completion_id, "object": CHUNK_OBJECT, "created": int(time.time()), "model": model}
        self._tail: dict[str, Any] = {"usage": None} if has_usage else {}

    def write_role(self, usage: Usage | None = None) -> Chunk:
        """Return the opening chunk; `usage` is what is known before the first token."""
        return self._delta({"role": "assistant", "content": ""}, usage=usage)

    def write_text(self, text: str) -> Chunk:
        """Return a piece of the answer."""
        return self._delta({"content": text}, text=text)

    def write_reasoning(self, text: str) -> Chunk:
        """Return a piece of what the model thinks."""
        return self._delta({"reasoning_content": text}, other_text=text)

    def write_thinking_block(self, index: int, block: dict[str, Any]) -> Chunk:
        """Return a finished block of thinking with its signature, which some upstreams want back in the next turn."""
        return self._delta({"thinking_blocks": [{"index": index, **block}]})

    def write_call(self, index: int, call_id: str, name: str, arguments: str = "") -> Chunk:
        """Return the beginning of a tool call, or all of it."""
        function = {"name": name, "arguments": arguments}
        call = {"index": index, "id": call_id, "type": "function", "function": function}
        return self._delta({"tool_calls": [call]}, other_text=name + arguments)

    def write_arguments(self, index: int, fragment: str) -> Chunk:
        """Return a fragment of a tool call's arguments."""
        return self._delta({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}, other_text=fragment)

    def write_finish(self, finish_reason: str, usage: Usage | None = None, *, stop_reason: str | None = None) -> Chunk:
        """Return the last chunk with a choice; `stop_reason` is the stop sequence that was met, where one was."""
        return self._delta({}, finish_reason=finish_reason, usage=usage, stop_reason=stop_reason)

    def write_usage(self, usage: Usage) -> Chunk:
        """Return the chunk that ends a stream whose client asked for usage."""
        data = orjson.dumps({**self._head, "choices": [], "usage": usage.as_openai()})
        return Chunk(data, usage=usage, is_usage_chunk=True)

    def _delta(
        self,
        delta: dict[str, Any],
        *,
        text: str = "",
        other_text: str = "",
        finish_reason: str | None = None,
        usage: Usage | None = None,
        stop_reason: str | None = None,
    ) -> Chunk:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        if stop_reason is not None:
            choice["stop_reason"] = stop_reason
        data = orjson.dumps({**self._head, "choices": [choice], **self._tail})
        return Chunk(data, text, other_text, usage, finish_reason)
