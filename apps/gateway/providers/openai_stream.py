"""Chat-completion chunks as clients rely on them, from chunks as upstreams send them.

A chunk that keeps every promise is forwarded byte for byte; any other is repaired. The promises: `id`, `created`,
`model` and `object` are the same in all chunks; the first delta of a choice, and no other, has the role;
`finish_reason` is null until there is one; a tool call has an index, and `id`, `type` and name once (SDKs append
repeated strings to each other); usage comes once, last, in a chunk without choices.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import orjson

from apps.gateway.providers.base import Chunk, Target, UpstreamBroken, Usage
from apps.gateway.providers.openai_usage import parse_usage
from apps.gateway.providers.refusals import error_from_object, status_of
from apps.gateway.providers.sse import SseDecoder

OBJECT = "chat.completion.chunk"


class OpenAIStream:
    """Translator of one streamed response in OpenAI's format."""

    def __init__(self, target: Target) -> None:
        self.is_complete = False
        self._target = target
        self._decoder = SseDecoder()
        self._id = ""
        self._created = 0
        self._model = ""
        self._started: set[int] = set()
        self._has_finished = False
        self._calls: dict[int, ToolCalls] = {}
        self._usage: Usage | None = None
        self._usage_data = b""
        self._pattern: tuple[bytes, bytes] | None = None

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks that `read` completes."""
        before = self._usage
        for event, data in self._decoder.feed(read):
            chunk = self._match(data) if self._pattern else None
            if chunk is not None:
                chunks.append(chunk)
            else:
                self._take(event, data, chunks)
        if self._usage is not before and not self.is_complete:
            # The usage chunk is held back, as a later one may correct it, but its counts must not wait.
            chunks.append(Chunk(b"", usage=self._usage))

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes. Raise `UpstreamBroken` when no choice has finished."""
        for event, data in self._decoder.close():
            self._take(event, data, chunks)
        if self.is_complete:
            return
        if not self._has_finished:
            raise UpstreamBroken(f"Provider {self._target.provider!r} cut its answer short.")
        self._finish(chunks)

    def _match(self, data: bytes) -> Chunk | None:
        # A chunk that differs from a good one in its content alone needs no decoding. Without quotes and backslashes
        # the content cannot be anything but the inside of the string it stands in.
        assert self._pattern is not None
        before, after = self._pattern
        if not data.startswith(before) or not data.endswith(after) or len(data) < len(before) + len(after):
            return None
        content = data[len(before) : -len(after)]
        if b'"' in content or b"\\" in content or not content or self.is_complete:
            return None
        try:
            return Chunk(data, content.decode())
        except UnicodeDecodeError:
            return None

    def _learn(self, data: bytes, delta: dict[str, Any], text: str) -> None:
        # Only from a chunk that was forwarded as it came, with one choice and nothing in its delta but content.
        head, marker, rest = data.partition(b'"content":"')
        content = text.encode("utf-8", "replace")
        is_alone = len(delta) == 1 and data.count(marker) == 1
        if marker and is_alone and rest.startswith(content + b'"') and b"\\" not in content:
            self._pattern = (head + marker, rest[len(content) :])

    def _take(self, event: str, data: bytes, chunks: list[Chunk]) -> None:
        if self.is_complete:
            return
        if data == b"[DONE]":
            self._finish(chunks)
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent malformed JSON in a stream.") from error
        if not isinstance(chunk, dict):
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent a stream event that is not an object.")
        if chunk.get("error") or event == "error":
            problem = chunk.get("error") or chunk
            raise error_from_object(target=self._target, status=status_of(problem), error=problem)
        choices = chunk.get("choices")
        if choices:
            chunks.append(self._content_chunk(chunk, choices, data))
        elif chunk.get("usage"):
            self._hold_usage(chunk, data)
        elif chunk.get("id"):
            # Without choices but with something else to say, such as a moderation result.
            is_repaired = self._repair_head(chunk)
            chunks.append(Chunk(orjson.dumps(chunk) if is_repaired else data))

    def _content_chunk(self, chunk: dict[str, Any], choices: list[dict[str, Any]], data: bytes) -> Chunk:
        is_repaired = self._repair_head(chunk)
        text = ""
        others: list[str] = []
        finish_reason: str | None = None
        for choice in choices:
            is_repaired = self._repair_choice(choice) or is_repaired
            delta = choice["delta"]
            content = delta.get("content")
            if content:
                if choice["index"] == 0:
                    text += content
                else:
                    others.append(content)
            if not content or len(delta) > 1:
                others.extend(_other_texts(delta))
            finish_reason = finish_reason or choice["finish_reason"]
        usage = chunk.get("usage")
        if usage:
            self._usage = parse_usage(usage, chunk.get("service_tier"))
            self._usage_data = self._build(choices=[], usage=usage)
            chunk["usage"] = None
            is_repaired = True
        if finish_reason:
            self._has_finished = True
        elif text and not is_repaired and len(choices) == 1 and self._pattern is None:
            self._learn(data, choices[0]["delta"], text)
        return Chunk(
            orjson.dumps(chunk) if is_repaired else data,
            text,
            "".join(others) if others else "",
            self._usage if usage else None,
            finish_reason,
        )

    def _hold_usage(self, chunk: dict[str, Any], data: bytes) -> None:
        self._usage = parse_usage(chunk["usage"], chunk.get("service_tier"))
        is_repaired = self._repair_head(chunk)
        if chunk.get("choices") is None:
            chunk["choices"] = []
            is_repaired = True
        self._usage_data = orjson.dumps(chunk) if is_repaired else data

    def _finish(self, chunks: list[Chunk]) -> None:
        if not self._started:
            raise UpstreamBroken(f"Provider {self._target.provider!r} ended its answer before it began.")
        if not self._has_finished:
            reason = "tool_calls" if self._calls else "stop"
            choice = {"index": 0, "delta": {}, "finish_reason": reason}
            chunks.append(Chunk(self._build(choices=[choice]), finish_reason=reason))
        if self._usage_data:
            chunks.append(Chunk(self._usage_data, usage=self._usage, is_usage_chunk=True))
        self.is_complete = True

    def _build(self, **fields: Any) -> bytes:
        head = {"id": self._id, "object": OBJECT, "created": self._created, "model": self._model}
        return orjson.dumps({**head, **fields})

    def _repair_head(self, chunk: dict[str, Any]) -> bool:
        if (
            chunk.get("id") == self._id
            and chunk.get("created") == self._created
            and chunk.get("model") == self._model
            and chunk.get("object") == OBJECT
            and self._id
        ):
            return False
        if not self._id:
            name, created, model = chunk.get("id"), chunk.get("created"), chunk.get("model")
            self._id = name if isinstance(name, str) and name else f"chatcmpl-{secrets.token_hex(12)}"
            self._created = int(created) if isinstance(created, (int, float)) and created else int(time.time())
            self._model = model if isinstance(model, str) and model else self._target.upstream_model
            if name == self._id and created == self._created and model == self._model and chunk.get("object") == OBJECT:
                return False
        chunk["id"] = self._id
        chunk["created"] = self._created
        chunk["model"] = self._model
        chunk["object"] = OBJECT
        return True

    def _repair_choice(self, choice: dict[str, Any]) -> bool:
        is_repaired = False
        index = choice.get("index")
        if not isinstance(index, int):
            choice["index"] = index = 0
            is_repaired = True
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            choice["delta"] = delta = {}
            is_repaired = True
        if index in self._started:
            if delta.get("role") is not None:
                del delta["role"]
                is_repaired = True
        else:
            self._started.add(index)
            if delta.get("role") != "assistant":
                delta["role"] = "assistant"
                is_repaired = True
        if "finish_reason" not in choice or choice["finish_reason"] == "":
            choice["finish_reason"] = None
            is_repaired = True
        calls = delta.get("tool_calls")
        if calls:
            known = self._calls.setdefault(index, ToolCalls())
            for call in calls:
                is_repaired = known.repair(call) or is_repaired
        return is_repaired


class ToolCalls:
    """The tool calls of one choice so far: which index is whose."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._by_upstream_index: dict[object, int] = {}

    def repair(self, call: dict[str, Any]) -> bool:
        """Make one delta keep the promises; return whether it had to be changed."""
        upstream_index = call.get("index")
        function = call.get("function")
        if function is None and "custom" not in call:
            call["function"] = function = {}
        index = self._by_upstream_index.get(upstream_index)
        call_id = call.get("id")
        # Another id under a known index is another call: some servers number every parallel call 0, or not at all.
        is_other = bool(call_id) and index is not None and self._ids[index] != call_id and _has_name(function)
        if index is None or is_other:
            return self._begin(call, function)
        is_repaired = upstream_index != index
        call["index"] = index
        for name in ("id", "type"):
            if call.get(name) is not None:
                del call[name]
                is_repaired = True
        if isinstance(function, dict):
            if function.get("name") is not None:
                del function["name"]
                is_repaired = True
            is_repaired = _repair_arguments(function) or is_repaired
        return is_repaired

    def _begin(self, call: dict[str, Any], function: object) -> bool:
        index = len(self._ids)
        is_repaired = call.get("index") != index
        self._by_upstream_index[call.get("index")] = index
        call["index"] = index
        if not call.get("id"):
            call["id"] = f"call_{secrets.token_hex(12)}"
            is_repaired = True
        self._ids.append(call["id"])
        if not call.get("type"):
            call["type"] = "function"
            is_repaired = True
        if isinstance(function, dict):
            if "arguments" not in function:
                function["arguments"] = ""
                is_repaired = True
            is_repaired = _repair_arguments(function) or is_repaired
        return is_repaired


def _has_name(function: object) -> bool:
    return isinstance(function, dict) and bool(function.get("name"))


def _repair_arguments(function: dict[str, Any]) -> bool:
    arguments = function.get("arguments")
    if isinstance(arguments, (dict, list)):
        function["arguments"] = orjson.dumps(arguments).decode()
        return True
    return False


def _other_texts(delta: dict[str, Any]) -> list[str]:
    texts = [delta[name] for name in ("reasoning_content", "reasoning", "refusal") if isinstance(delta.get(name), str)]
    for call in delta.get("tool_calls") or ():
        function = call.get("function")
        if isinstance(function, dict):
            texts.append(f"{function.get('name') or ''}{function.get('arguments') or ''}")
    return texts
