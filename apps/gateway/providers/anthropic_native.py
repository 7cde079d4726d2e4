"""Anthropic's own events, passed through for clients of the same format; read on the way for what the meter needs."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.providers.anthropic_answer import parse_anthropic_usage, translate_stop_reason
from apps.gateway.providers.base import Chunk, Target, UpstreamBroken, Usage
from apps.gateway.providers.refusals import error_from_object, status_of
from apps.gateway.providers.sse import SseDecoder

BETA = "anthropic-beta"
VERSION = "anthropic-version"
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class NativeStream:
    """Reader of one streamed message. Every event goes on as it came, whatever its type and fields."""

    def __init__(self, target: Target) -> None:
        self.is_complete = False
        self._target = target
        self._decoder = SseDecoder()
        self._usage: Usage | None = None
        self._has_started = False
        self._has_finished = False

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the events that `read` completes."""
        for name, data in self._decoder.feed(read):
            self._take(name, data, chunks)

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes. Raise `UpstreamBroken` when no stop reason was given."""
        for name, data in self._decoder.close():
            self._take(name, data, chunks)
        if self.is_complete:
            return
        if not self._has_finished:
            raise UpstreamBroken(f"Provider {self._target.provider!r} cut its answer short.")
        self._end(STOP, chunks)

    def _take(self, name: str, data: bytes, chunks: list[Chunk]) -> None:
        if self.is_complete:
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent malformed JSON in a stream.") from error
        if not isinstance(event, dict):
            raise UpstreamBroken(f"Provider {self._target.provider!r} sent a stream event that is not an object.")
        kind = event.get("type")
        if kind == "error" or name == "error":
            problem = event.get("error")
            raise error_from_object(target=self._target, status=status_of(problem), error=problem)
        # The name is demanded by clients and left out by some servers.
        raw = b"event: " + (name or str(kind)).encode() + b"\ndata: " + data + b"\n\n"
        if kind == "message_stop":
            self._end(raw, chunks)
            return
        if kind == "message_start":
            self._has_started = True
        elif not self._has_started and kind != "ping":
            raise UpstreamBroken(f"Provider {self._target.provider!r} began its answer in the middle.")
        chunks.append(self._read(event, raw))

    def _read(self, event: dict[str, Any], raw: bytes) -> Chunk:
        chunk = Chunk(raw, is_native=True)
        match event:
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": str(text)}}:
                chunk.text = text
            case {"type": "content_block_delta", "delta": {"thinking": str(text)} | {"partial_json": str(text)}}:
                chunk.other_text = text
            case {"type": "content_block_start", "content_block": {"name": str(name)}}:
                chunk.other_text = name
            case {"type": "content_block_start", "content_block": {"text": str(text)}}:
                chunk.text = text
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                chunk.usage = self._usage = parse_anthropic_usage(usage)
            case {"type": "message_delta"}:
                self._usage = parse_anthropic_usage(event.get("usage"), self._usage)
                chunk.usage = self._usage
                reason = (event.get("delta") or {}).get("stop_reason")
                if reason:
                    self._has_finished = True
                    chunk.finish_reason = translate_stop_reason(reason)
        return chunk

    def _end(self, raw: bytes, chunks: list[Chunk]) -> None:
        if not self._has_started:
            raise UpstreamBroken(f"Provider {self._target.provider!r} ended its answer before it began.")
        chunks.append(Chunk(raw, usage=self._usage, is_usage_chunk=self._usage is not None, is_native=True))
        self.is_complete = True


def merge_betas(first: str, second: str) -> str:
    """Return two lists of features, separated by commas, as one without repetition."""
    names = (name.strip() for name in f"{first},{second}".split(","))
    return ",".join(dict.fromkeys(name for name in names if name))
