"""Items of a response's output, as they grow and as they are told in the end."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import orjson

from apps.gateway.dialects.responses.items import seal_thoughts
from apps.gateway.dialects.responses.objects import item_id
from apps.gateway.dialects.responses.tools import ToolName, decode_custom, decode_shell

Fields = dict[str, Any]


class Emitter(Protocol):
    """Where items put their events."""

    response_id: UUID

    def emit(self, name: str, fields: Fields) -> None: ...

    def emit_raw(self, head: bytes, text: str, tail: bytes) -> None: ...


class Part:
    """One item of the output. Its last events are sent once."""

    def __init__(self, emitter: Emitter, kind: str, index: int) -> None:
        self.id = item_id(kind, emitter.response_id, index)
        self.index = index
        self.status = ""
        """Set when it is closed."""
        self._emitter = emitter

    def describe(self, status: str) -> Fields:
        """Return the item as it is now."""
        raise NotImplementedError

    def close(self, status: str) -> None:
        """Send the item's last events."""
        if not self.status:
            self.status = status
            self._finish()
            self._emitter.emit("response.output_item.done", {"output_index": self.index, "item": self.describe(status)})

    def _finish(self) -> None:
        """Send what precedes the end of the item."""

    def _added(self, item: Fields) -> None:
        self._emitter.emit("response.output_item.added", {"output_index": self.index, "item": item})

    def _emit(self, name: str, fields: Fields) -> None:
        self._emitter.emit(name, {"item_id": self.id, "output_index": self.index, **fields})

    def _delta_head(self, name: str, fields: Fields) -> bytes:
        body = orjson.dumps({"type": name, "item_id": self.id, "output_index": self.index, **fields})
        return b"event: %s\ndata: %s," % (name.encode(), body[:-1]) + b'"delta":'


class MessagePart(Part):
    """What the model says: texts and refusals, one after the other."""

    def __init__(self, emitter: Emitter, index: int) -> None:
        super().__init__(emitter, "message", index)
        self._content: list[Fields] = []
        self._texts: list[str] = []
        self._logprobs: list[Fields] = []
        self._head = b""
        self._tail = b""
        self._added(self.describe("in_progress"))

    def add_text(self, text: str, logprobs: list[Fields] | None) -> None:
        """Take a piece of the text."""
        if not self._content or self._content[-1]["type"] != "output_text" or not self._texts:
            self._begin({"type": "output_text", "annotations": [], "logprobs": [], "text": ""}, "output_text")
            self._tail = b',"logprobs":[],"sequence_number":'
        self._texts.append(text)
        if logprobs:
            self._logprobs.extend(logprobs)
            self._emit_with_logprobs(text, logprobs)
        else:
            self._emitter.emit_raw(self._head, text, self._tail)

    def add_refusal(self, text: str) -> None:
        """Take a piece of a refusal."""
        if not self._content or self._content[-1]["type"] != "refusal" or not self._texts:
            self._begin({"type": "refusal", "refusal": ""}, "refusal")
            self._tail = b',"sequence_number":'
        self._texts.append(text)
        self._emitter.emit_raw(self._head, text, self._tail)

    def describe(self, status: str) -> Fields:
        """Return the message."""
        self._fill()
        return {
            "type": "message",
            "id": self.id,
            "status": status,
            "role": "assistant",
            "content": [dict(part) for part in self._content],
        }

    def _begin(self, part: Fields, name: str) -> None:
        self._end_content()
        self._content.append(part)
        at = {"content_index": len(self._content) - 1}
        self._emit("response.content_part.added", {**at, "part": part})
        self._head = self._delta_head(f"response.{name}.delta", at)

    def _fill(self) -> None:
        if self._texts:
            part = self._content[-1]
            part["text" if part["type"] == "output_text" else "refusal"] = "".join(self._texts)
            if self._logprobs:
                part["logprobs"] = list(self._logprobs)

    def _finish(self) -> None:
        self._end_content()

    def _end_content(self) -> None:
        if not self._texts:
            return
        self._fill()
        self._texts, self._logprobs = [], []
        part, at = self._content[-1], {"content_index": len(self._content) - 1}
        if part["type"] == "output_text":
            shown = [_short(entry) for entry in part["logprobs"]]
            self._emit("response.output_text.done", {**at, "text": part["text"], "logprobs": shown})
        else:
            self._emit("response.refusal.done", {**at, "refusal": part["refusal"]})
        self._emit("response.content_part.done", {**at, "part": part})

    def _emit_with_logprobs(self, text: str, logprobs: list[Fields]) -> None:
        at = {"content_index": len(self._content) - 1}
        shown = [_short(entry) for entry in logprobs]
        self._emit("response.output_text.delta", {**at, "delta": text, "logprobs": shown})


class ReasoningPart(Part):
    """What the model thinks: as a summary where one was asked for, else as it is."""

    def __init__(self, emitter: Emitter, index: int, *, is_summary: bool) -> None:
        super().__init__(emitter, "reasoning", index)
        self._is_summary = is_summary
        self._texts: list[str] = []
        self._blocks: list[Fields] = []
        self._head = b""
        self._added(self.describe("in_progress"))

    def add_text(self, text: str) -> None:
        """Take a piece of the thoughts."""
        if not self._texts:
            where = self._where()
            part = {"type": "summary_text" if self._is_summary else "reasoning_text", "text": ""}
            self._emit(f"response.{self._part_name()}.added", {**where, "part": part})
            self._head = self._delta_head(f"response.{self._text_name()}.delta", where)
        self._texts.append(text)
        self._emitter.emit_raw(self._head, text, b',"sequence_number":')

    def add_blocks(self, blocks: list[Fields]) -> None:
        """Take finished blocks of thinking with their signatures."""
        self._blocks.extend({name: value for name, value in block.items() if name != "index"} for block in blocks)

    def describe(self, status: str) -> Fields:
        """Return the item."""
        text = "".join(self._texts)
        item: Fields = {"type": "reasoning", "id": self.id, "summary": [], "status": status}
        if text and self._is_summary:
            item["summary"] = [{"type": "summary_text", "text": text}]
        elif text:
            item["content"] = [{"type": "reasoning_text", "text": text}]
        if self._blocks:
            item["encrypted_content"] = seal_thoughts(self._blocks)
        return item

    def _finish(self) -> None:
        if self._texts:
            where, text = self._where(), "".join(self._texts)
            part = {"type": "summary_text" if self._is_summary else "reasoning_text", "text": text}
            self._emit(f"response.{self._text_name()}.done", {**where, "text": text})
            self._emit(f"response.{self._part_name()}.done", {**where, "part": part})

    def _where(self) -> Fields:
        return {"summary_index": 0} if self._is_summary else {"content_index": 0}

    def _part_name(self) -> str:
        return "reasoning_summary_part" if self._is_summary else "content_part"

    def _text_name(self) -> str:
        return "reasoning_summary_text" if self._is_summary else "reasoning_text"


class CallPart(Part):
    """A call of a tool."""

    def __init__(self, emitter: Emitter, index: int, call_id: str, name: ToolName) -> None:
        super().__init__(emitter, name.kind, index)
        self._call_id = call_id
        self._name = name
        self._arguments: list[str] = []
        self._head = self._delta_head("response.function_call_arguments.delta", {})
        self._added(self.describe("in_progress"))

    def add_arguments(self, fragment: str) -> None:
        """Take a fragment of the arguments. Only a function's are told as they come: the others are JSON inside."""
        self._arguments.append(fragment)
        if self._name.kind == "function_call":
            self._emitter.emit_raw(self._head, fragment, b',"sequence_number":')

    def describe(self, status: str) -> Fields:
        """Return the item."""
        arguments = "".join(self._arguments)
        item: Fields = {"type": self._name.kind, "id": self.id, "call_id": self._call_id, "status": status}
        if self._name.kind == "local_shell_call":
            return {**item, "action": decode_shell(arguments)}
        item["name"] = self._name.name
        if self._name.namespace:
            item["namespace"] = self._name.namespace
        if self._name.kind == "custom_tool_call":
            return {**item, "input": decode_custom(arguments) if arguments else ""}
        return {**item, "arguments": arguments}

    def _finish(self) -> None:
        arguments = "".join(self._arguments)
        if self._name.kind == "function_call":
            self._emit("response.function_call_arguments.done", {"name": self._name.name, "arguments": arguments})
        elif self._name.kind == "custom_tool_call":
            text = decode_custom(arguments)
            self._emit("response.custom_tool_call_input.delta", {"delta": text})
            self._emit("response.custom_tool_call_input.done", {"input": text})


def _short(entry: Fields) -> Fields:
    """Return a token's probability as events show it."""
    top = [{"token": each.get("token"), "logprob": each.get("logprob")} for each in entry.get("top_logprobs") or ()]
    return {"token": entry.get("token"), "logprob": entry.get("logprob"), "top_logprobs": top}
