"""Anthropic's stream of events as OpenAI's stream of chunks."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.providers.anthropic_answer import parse_anthropic_usage, tell_stop, translate_stop_reason
from apps.gateway.providers.base import Chunk, Target, UpstreamBroken, Usage
from apps.gateway.providers.chunk_writer import ChunkWriter, make_completion_id
from apps.gateway.providers.refusals import error_from_object, status_of
from apps.gateway.providers.sse import SseDecoder


class AnthropicStream:
    """Translator of one streamed message; with `has_usage` its client asked for usage."""

    def __init__(self, target: Target, *, has_usage: bool) -> None:
        self.is_complete = False
        self._target = target
        self._wants_usage = has_usage
        self._decoder = SseDecoder()
        self._writer: ChunkWriter | None = None
        self._usage: Usage | None = None
        self._blocks: dict[object, dict[str, Any]] = {}
        self._calls = 0
        self._thoughts = 0
        self._has_finished = False

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks that `read` completes."""
        for _, data in self._decoder.feed(read):
            self._take(data, chunks)

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes. Raise `UpstreamBroken` when no stop reason was given."""
        for _, data in self._decoder.close():
            self._take(data, chunks)
        if self.is_complete:
            return
        if not self._has_finished:
            raise UpstreamBroken(f"Provider {self._target.provider!r} cut its answer short.")
        self._end(chunks)

    def _take(self, data: bytes, chunks: list[Chunk]) -> None:
        if self.is_complete:
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent malformed JSON in a stream.") from error
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "error":
            problem = event.get("error")
            raise error_from_object(target=self._target, status=status_of(problem), error=problem)
        if kind == "message_start":
            self._start(event, chunks)
            return
        if kind is None or kind == "ping":
            return
        if self._writer is None:
            raise UpstreamBroken(f"Provider {self._target.provider!r} began its answer in the middle.")
        match kind:
            case "content_block_start":
                self._start_block(event, self._writer, chunks)
            case "content_block_delta":
                self._continue_block(event, self._writer, chunks)
            case "content_block_stop":
                self._stop_block(event, self._writer, chunks)
            case "message_delta":
                self._finish(event, self._writer, chunks)
            case "message_stop":
                self._end(chunks)

    def _start(self, event: dict[str, Any], chunks: list[Chunk]) -> None:
        message = event.get("message")
        message = message if isinstance(message, dict) else {}
        self._usage = parse_anthropic_usage(message.get("usage"), self._usage)
        if self._writer is None:
            # Some servers send a second one, when they hand over from one model to another.
            model = message.get("model") or self._target.upstream_model
            completion_id = make_completion_id(message.get("id"))
            self._writer = ChunkWriter(model=model, completion_id=completion_id, has_usage=self._wants_usage)
            chunks.append(self._writer.write_role(self._usage))

    def _start_block(self, event: dict[str, Any], writer: ChunkWriter, chunks: list[Chunk]) -> None:
        block = event.get("content_block")
        block = dict(block) if isinstance(block, dict) else {}
        self._blocks[event.get("index")] = block
        match block.get("type"):
            case "text":
                if block.get("text"):
                    chunks.append(writer.write_text(block["text"]))
            case "tool_use":
                block["at"] = self._calls
                block["has_arguments"] = False
                self._calls += 1
                chunks.append(writer.write_call(block["at"], str(block.get("id")), str(block.get("name"))))
            case "thinking":
                if block.get("thinking"):
                    chunks.append(writer.write_reasoning(block["thinking"]))

    def _continue_block(self, event: dict[str, Any], writer: ChunkWriter, chunks: list[Chunk]) -> None:
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        match delta:
            case {"type": "text_delta", "text": str(text)} if text:
                chunks.append(writer.write_text(text))
            case {"type": "thinking_delta", "thinking": str(text)} if text:
                block = self._blocks.setdefault(event.get("index"), {"type": "thinking"})
                block["thinking"] = block.get("thinking", "") + text
                chunks.append(writer.write_reasoning(text))
            case {"type": "signature_delta", "signature": str(signature)}:
                block = self._blocks.setdefault(event.get("index"), {"type": "thinking"})
                block["signature"] = (block.get("signature") or "") + signature
            case {"type": "input_json_delta", "partial_json": str(fragment)} if fragment:
                call = self._blocks.get(event.get("index"))
                # The input of Anthropic's own tools comes the same way, and is none of the client's business.
                if call is not None and call.get("type") == "tool_use":
                    call["has_arguments"] = True
                    chunks.append(writer.write_arguments(call["at"], fragment))

    def _stop_block(self, event: dict[str, Any], writer: ChunkWriter, chunks: list[Chunk]) -> None:
        block = self._blocks.pop(event.get("index"), {})
        match block.get("type"):
            case "tool_use":
                if not block["has_arguments"]:
                    arguments = orjson.dumps(block.get("input") or {}).decode()
                    chunks.append(writer.write_arguments(block["at"], arguments))
            case "thinking" | "redacted_thinking":
                chunks.append(writer.write_thinking_block(self._thoughts, block))
                self._thoughts += 1

    def _finish(self, event: dict[str, Any], writer: ChunkWriter, chunks: list[Chunk]) -> None:
        self._usage = parse_anthropic_usage(event.get("usage"), self._usage)
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        reason = delta.get("stop_reason")
        if reason and not self._has_finished:
            self._has_finished = True
            chunks.append(writer.write_finish(translate_stop_reason(reason), self._usage, **tell_stop(delta)))
        elif self._usage is not None:
            chunks.append(Chunk(b"", usage=self._usage))

    def _end(self, chunks: list[Chunk]) -> None:
        if self._writer is None:
            raise UpstreamBroken(f"Provider {self._target.provider!r} ended its answer before it began.")
        if not self._has_finished:
            chunks.append(self._writer.write_finish("tool_calls" if self._calls else "stop", self._usage))
        if self._usage is not None:
            chunks.append(self._writer.write_usage(self._usage))
        self.is_complete = True
