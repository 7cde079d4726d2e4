"""Answers of calls as OpenAI's clients read them: an object in one piece, or the events of a stream."""

from __future__ import annotations

import orjson

from apps.gateway.providers.base import Chunk, Completion
from apps.gateway.services.calls import RunningCall
from apps.gateway.services.renaming import ModelRenamer

PREFIX = b"data: "
SEPARATOR = b"\n\ndata: "
END = b"\n\n"
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
PING_SECONDS = 15.0
"""Longest silence of a stream: whoever stands between would take it for dead."""


def encode_completion(completion: Completion, call: RunningCall) -> bytes:
    """Return an answer's JSON: the provider's own bytes where nothing has to be said differently."""
    has_usage = completion.usage is not None
    if completion.body is not None and has_usage and call.upstream_model == call.model:
        return completion.body
    payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
    if not has_usage:
        payload["usage"] = call.meter.settled_usage().as_openai()
    if call.upstream_model != call.model:
        payload["model"] = call.model
    return orjson.dumps(payload)


class EventEncoder:
    """Server-sent events of one streamed call."""

    __slots__ = ("_call", "_has_usage", "_include_usage", "_renamer")

    def __init__(self, call: RunningCall, *, include_usage: bool) -> None:
        self._call = call
        self._include_usage = include_usage
        self._has_usage = False
        self._renamer = ModelRenamer(call.model) if call.upstream_model != call.model else None

    def encode(self, batch: list[Chunk]) -> bytes:
        """Return the events of one network read; usage only where the client asked for it."""
        events: list[bytes] = []
        for chunk in batch:
            if chunk.is_usage_chunk:
                if not self._include_usage:
                    continue
                self._has_usage = True
            if chunk.data:
                events.append(chunk.data)
        if not events:
            return b""
        if self._renamer is not None:
            events = [self._renamer.rename(event) for event in events]
        return PREFIX + SEPARATOR.join(events) + END

    def close(self) -> bytes:
        """Return the last events: the usage as we counted it, where it was asked for and not given, and the mark of the end."""
        if not self._include_usage or self._has_usage:
            return DONE
        call = self._call
        event = {
            "id": f"chatcmpl-{call.request_id.hex}",
            "object": "chat.completion.chunk",
            "created": call.created,
            "model": call.model,
            "choices": [],
            "usage": call.meter.settled_usage().as_openai(),
        }
        return PREFIX + orjson.dumps(event) + END + DONE
