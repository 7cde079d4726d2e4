"""Ollama's lines of JSON as OpenAI's chunks."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.providers.base import MAX_COUNT, Chunk, Target, UpstreamBroken, Usage
from apps.gateway.providers.chunk_writer import ChunkWriter, make_call_id, make_completion_id
from apps.gateway.providers.refusals import error_from_object

MAX_LINE_BYTES = 32 * 1024 * 1024


class OllamaStream:
    """Translator of one streamed chat; with `has_usage` its client asked for usage."""

    def __init__(self, target: Target, *, has_usage: bool) -> None:
        self.is_complete = False
        self._target = target
        self._writer = ChunkWriter(model=target.upstream_model, completion_id=make_completion_id(), has_usage=has_usage)
        self._partial: list[bytes] = []
        self._size = 0
        self._has_started = False
        self._calls = 0

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks that `read` completes."""
        lines = read.split(b"\n")
        self._partial.append(lines[0])
        self._size += len(lines[0])
        if self._size > MAX_LINE_BYTES:
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent a line of more than {MAX_LINE_BYTES} bytes.")
        if len(lines) == 1:
            return
        lines[0] = b"".join(self._partial)
        last = lines.pop()
        self._partial = [last]
        self._size = len(last)
        for line in lines:
            self._take(line, chunks)

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes. Raise `UpstreamBroken` when `done` never came."""
        rest = b"".join(self._partial)
        self._partial = []
        self._take(rest, chunks)
        if not self.is_complete:
            raise UpstreamBroken(f"Provider {self._target.provider!r} cut its answer short.")

    def _take(self, line: bytes, chunks: list[Chunk]) -> None:
        if self.is_complete or not line.strip():
            return
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent malformed JSON in a stream.") from error
        if not isinstance(event, dict):
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent a line that is not an object.")
        if event.get("error"):
            raise error_from_object(target=self._target, status=502, error=event["error"])
        if not self._has_started:
            self._has_started = True
            chunks.append(self._writer.write_role())
        message = event.get("message")
        if isinstance(message, dict):
            self._take_message(message, chunks)
        if event.get("done"):
            usage = parse_ollama_usage(event)
            chunks.append(self._writer.write_finish(translate_done_reason(event, has_calls=self._calls > 0), usage))
            if usage is not None:
                chunks.append(self._writer.write_usage(usage))
            self.is_complete = True

    def _take_message(self, message: dict[str, Any], chunks: list[Chunk]) -> None:
        if message.get("thinking"):
            chunks.append(self._writer.write_reasoning(message["thinking"]))
        if message.get("content"):
            chunks.append(self._writer.write_text(message["content"]))
        for call in translate_calls(message):
            function = call["function"]
            chunks.append(self._writer.write_call(self._calls, call["id"], function["name"], function["arguments"]))
            self._calls += 1


def translate_calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return OpenAI's tool calls for Ollama's, which have no ids and decoded arguments."""
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
            name = str(function.get("name") or "")
            call_id = call.get("id") or make_call_id()
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": text}})
    return calls


def translate_done_reason(event: dict[str, Any], *, has_calls: bool) -> str:
    """Return OpenAI's finish reason; Ollama says stop when it calls tools."""
    if has_calls:
        return "tool_calls"
    return "length" if event.get("done_reason") == "length" else "stop"


def parse_ollama_usage(event: dict[str, Any]) -> Usage | None:
    """Return the counts of a finished answer. A prompt that was wholly cached is left out of them by older versions."""
    prompt = event.get("prompt_eval_count")
    completion = event.get("eval_count")
    if not isinstance(prompt, int) or prompt <= 0:
        return None
    written = completion if isinstance(completion, int) else 0
    return Usage(prompt_tokens=min(prompt, MAX_COUNT), completion_tokens=min(max(written, 0), MAX_COUNT))
