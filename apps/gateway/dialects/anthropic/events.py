"""A stream of chunks as the events of a message.

The promises that clients rely on: one `message_start`, with the size of the prompt; blocks numbered in order, each closed
before the next one opens; every tool call has its input as `input_json_delta`; `message_delta` and `message_stop` end it.
OpenAI's format lets parallel tool calls come in turns: what belongs to a later block waits until the open one is whole.
"""

from __future__ import annotations

from typing import Any

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.anthropic.answer import describe_refusal, make_message_id, read_stop, write_usage
from apps.gateway.dialects.anthropic.errors import encode_error
from apps.gateway.dialects.anthropic.request import Options
from apps.gateway.dialects.base import Answering
from apps.gateway.providers.anthropic_origin import UNSIGNED
from apps.gateway.providers.base import Chunk, Usage

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
MESSAGE_START = b"event: message_start\n"


class _Text:
    """A block of text or thinking; `parts` is what waits to be sent."""

    __slots__ = ("is_thinking", "parts", "signature")

    def __init__(self, *, is_thinking: bool) -> None:
        self.is_thinking = is_thinking
        self.parts: list[str] = []
        self.signature = UNSIGNED


class _Call:
    """A tool call, with all of its arguments so far."""

    __slots__ = ("call_id", "has_sent", "name", "parts")

    def __init__(self, call_id: str, name: str) -> None:
        self.call_id = call_id
        self.name = name
        self.parts: list[str] = []
        self.has_sent = False

    def is_whole(self) -> bool:
        """Tell whether the arguments are complete: more could not be JSON."""
        try:
            return isinstance(orjson.loads("".join(self.parts)), dict)
        except orjson.JSONDecodeError:
            return False


class _Ready:
    """A block that came in one piece."""

    __slots__ = ("block",)

    def __init__(self, block: dict[str, Any]) -> None:
        self.block = block


_Block = _Text | _Call | _Ready


class MessageWriter:
    """Server-sent events of one streamed message."""

    __slots__ = ("_call", "_calls", "_choice", "_events", "_has_started", "_index", "_is_native", "_open", "_options", "_refusal", "_waiting", "ping")  # fmt: skip

    def __init__(self, call: Answering, options: Options) -> None:
        self.ping = PING
        self._call = call
        self._options = options
        self._events: list[bytes] = []
        self._index = 0
        self._open: _Text | _Call | None = None
        self._waiting: list[_Block] = []
        self._calls: dict[object, _Call] = {}
        self._choice: dict[str, Any] = {}
        self._refusal: list[str] = []
        self._has_started = False
        self._is_native = False

    def write(self, batch: list[Chunk]) -> bytes:
        """Return the events of one network read."""
        if batch and batch[0].is_native:
            return self._pass_on(batch)
        if not self._has_started:
            self._start(next((chunk.usage for chunk in batch if chunk.usage is not None), None))
        for chunk in batch:
            if chunk.is_usage_chunk or not chunk.data:
                continue
            if chunk.text and not chunk.other_text and chunk.finish_reason is None:
                # Nothing but content: it needs no decoding.
                self._add_text(chunk.text, is_thinking=False)
            else:
                self._take(orjson.loads(chunk.data))
        return self._drain()

    def close(self) -> bytes:
        """Return the end of the message, with the usage as it was settled."""
        if self._is_native:
            return b""
        if not self._has_started:
            self._start(None)
        self._flush(is_last=True)
        refusal = "".join(self._refusal)
        reason, sequence = read_stop(
            self._choice, self._options, has_calls=bool(self._calls), has_refused=bool(refusal)
        )
        delta = {"stop_reason": reason, "stop_sequence": sequence, **describe_refusal(reason, refusal)}
        usage = write_usage(self._call.settled_usage())
        self._emit("message_delta", {"delta": delta, "usage": usage})
        self._emit("message_stop", {})
        return self._drain()

    def fail(self, error: AppError) -> bytes:
        """Return the event of a failure; no `message_stop` follows it."""
        return b"event: error\ndata: " + encode_error(error, self._call.public_id) + b"\n\n"

    def _pass_on(self, batch: list[Chunk]) -> bytes:
        self._is_native = True
        events = [chunk.data for chunk in batch]
        if not self._has_started:
            at = next((at for at, event in enumerate(events) if event.startswith(MESSAGE_START)), None)
            self._has_started = at is not None
            if at is not None and self._call.model != self._call.upstream_model:
                events[at] = self._rename(events[at])
        return b"".join(events)

    def _rename(self, event: bytes) -> bytes:
        head, _, data = event.partition(b"\ndata: ")
        payload = orjson.loads(data)
        message = payload.get("message")
        if isinstance(message, dict):
            message["model"] = self._call.model
        return head + b"\ndata: " + orjson.dumps(payload) + b"\n\n"

    def _start(self, usage: Usage | None) -> None:
        self._has_started = True
        # Clients reckon with the size of the prompt from the first event on, which most providers tell only in the last.
        known = usage or Usage(prompt_tokens=max(self._call.prompt_estimate, 1))
        message: dict[str, Any] = {
            "id": make_message_id(self._call.request_id),
            "type": "message",
            "role": "assistant",
            "model": self._call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(known),
        }
        self._emit("message_start", {"message": message})

    def _take(self, payload: dict[str, Any]) -> None:
        for choice in payload.get("choices") or ():
            if choice.get("index"):
                continue
            delta = choice.get("delta") or {}
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if isinstance(thought, str) and thought and self._options.shows_thinking:
                self._add_text(thought, is_thinking=True)
            for block in delta.get("thinking_blocks") or ():
                self._add_signed(block)
            if isinstance(delta.get("content"), str) and delta["content"]:
                self._add_text(delta["content"], is_thinking=False)
            if isinstance(delta.get("refusal"), str) and delta["refusal"]:
                self._refusal.append(delta["refusal"])
                self._add_text(delta["refusal"], is_thinking=False)
            for call in delta.get("tool_calls") or ():
                self._add_call(call)
            if choice.get("finish_reason"):
                self._choice = choice

    # Blocks

    def _add_text(self, text: str, *, is_thinking: bool) -> None:
        last = self._waiting[-1] if self._waiting else self._open
        if isinstance(last, _Text) and last.is_thinking is is_thinking:
            if last is self._open:
                self._emit_text(last, text)
            else:
                last.parts.append(text)
            return
        block = _Text(is_thinking=is_thinking)
        block.parts.append(text)
        self._enter(block)

    def _add_signed(self, block: dict[str, Any]) -> None:
        block = {name: value for name, value in block.items() if name != "index"}
        last = self._waiting[-1] if self._waiting else self._open
        if block.get("type") == "thinking" and isinstance(last, _Text) and last.is_thinking:
            # Its text has been sent as it came; this is the end of it.
            last.signature = str(block.get("signature") or "")
            if last is self._open:
                self._close_open()
            return
        self._enter(_Ready(block))

    def _add_call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        fragment = function.get("arguments") or ""
        known = self._calls.get(call.get("index"))
        if known is None:
            name = function.get("name") or ""
            known = _Call(call.get("id") or "", self._options.names.get(name, name))
            self._calls[call.get("index")] = known
            self._enter(known)
        if not fragment:
            return
        known.parts.append(fragment)
        if known is self._open:
            self._emit_input(known, fragment)

    def _enter(self, block: _Block) -> None:
        self._waiting.append(block)
        self._flush(is_last=False)

    def _flush(self, *, is_last: bool) -> None:
        """Open what waits, in order, as long as what is open is whole."""
        while self._waiting:
            if isinstance(self._open, _Call) and not is_last and not self._open.is_whole():
                return
            self._close_open()
            self._begin(self._waiting.pop(0))
        if is_last:
            self._close_open()

    def _begin(self, block: _Block) -> None:
        if isinstance(block, _Ready):
            self._emit_ready(block.block)
            return
        self._open = block
        if isinstance(block, _Call):
            started = {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
            self._emit("content_block_start", {"index": self._index, "content_block": started})
            if block.parts:
                self._emit_input(block, "".join(block.parts))
            return
        started = (
            {"type": "thinking", "thinking": "", "signature": ""} if block.is_thinking else {"type": "text", "text": ""}
        )
        self._emit("content_block_start", {"index": self._index, "content_block": started})
        self._emit_text(block, "".join(block.parts))

    def _close_open(self) -> None:
        block, self._open = self._open, None
        if block is None:
            return
        if isinstance(block, _Text) and block.is_thinking:
            self._delta({"type": "signature_delta", "signature": block.signature})
        elif isinstance(block, _Call) and not block.has_sent:
            self._emit_input(block, "{}")
        self._stop()

    def _emit_ready(self, block: dict[str, Any]) -> None:
        if block.get("type") != "thinking":
            self._emit("content_block_start", {"index": self._index, "content_block": block})
            self._stop()
            return
        started = {"type": "thinking", "thinking": "", "signature": ""}
        self._emit("content_block_start", {"index": self._index, "content_block": started})
        if block.get("thinking"):
            self._delta({"type": "thinking_delta", "thinking": block["thinking"]})
        self._delta({"type": "signature_delta", "signature": str(block.get("signature") or "")})
        self._stop()

    # Events

    def _emit_text(self, block: _Text, text: str) -> None:
        if block.is_thinking:
            self._delta({"type": "thinking_delta", "thinking": text})
        else:
            self._delta({"type": "text_delta", "text": text})

    def _emit_input(self, call: _Call, fragment: str) -> None:
        call.has_sent = True
        self._delta({"type": "input_json_delta", "partial_json": fragment})

    def _delta(self, delta: dict[str, Any]) -> None:
        self._emit("content_block_delta", {"index": self._index, "delta": delta})

    def _stop(self) -> None:
        self._emit("content_block_stop", {"index": self._index})
        self._index += 1

    def _emit(self, kind: str, fields: dict[str, Any]) -> None:
        data = orjson.dumps({"type": kind, **fields})
        self._events.append(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")

    def _drain(self) -> bytes:
        events = b"".join(self._events)
        self._events.clear()
        return events
