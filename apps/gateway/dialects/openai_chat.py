"""OpenAI's chat completions: the canonical form itself, so that reading and writing mostly means passing on."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.base import Answering, Asked
from apps.gateway.dialects.openai_checks import check_chat
from apps.gateway.dialects.openai_errors import OpenAIErrors, encode_error
from apps.gateway.dialects.renaming import ModelRenamer
from apps.gateway.providers.base import CAPABILITY_CHAT, Chunk, Completion
from apps.gateway.providers.chunk_writer import wants_usage

PREFIX = b"data: "
SEPARATOR = b"\n\ndata: "
END = b"\n\n"
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


class ChatWriter:
    """Server-sent events of one streamed completion."""

    __slots__ = ("_call", "_has_usage", "_include_usage", "_renamer", "ping")

    def __init__(self, call: Answering, *, include_usage: bool) -> None:
        self.ping = PING
        self._call = call
        self._include_usage = include_usage
        self._has_usage = False
        self._renamer = ModelRenamer(call.model) if call.upstream_model != call.model else None

    def write(self, batch: list[Chunk]) -> bytes:
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
        """Return the last events: the usage as we counted it, where it was asked for and not given, and the end's mark."""
        if not self._include_usage or self._has_usage:
            return DONE
        call = self._call
        event = {
            "id": f"chatcmpl-{call.request_id.hex}",
            "object": "chat.completion.chunk",
            "created": call.created,
            "model": call.model,
            "choices": [],
            "usage": call.settled_usage().as_openai(),
        }
        return PREFIX + orjson.dumps(event) + END + DONE

    def fail(self, error: AppError) -> bytes:
        """Return the event of a failure, without the mark of a complete answer."""
        return PREFIX + encode_error(error) + END


class OpenAIChat(OpenAIErrors):
    """POST /v1/chat/completions."""

    name: ClassVar[str] = "openai.chat"
    endpoint: ClassVar[str] = "chat.completions"
    kind: ClassVar[str] = CAPABILITY_CHAT

    def read(self, body: dict[str, Any]) -> Asked:
        """Check the fields that we know. What we don't know is passed on."""
        check_chat(body)
        return Asked(body)

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return the provider's own bytes where nothing has to be said differently."""
        has_usage = completion.usage is not None
        if completion.body is not None and has_usage and call.upstream_model == call.model:
            return completion.body
        payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
        if not has_usage:
            payload["usage"] = call.settled_usage().as_openai()
        if call.upstream_model != call.model:
            payload["model"] = call.model
        return orjson.dumps(payload)

    def writer(self, call: Answering, asked: Asked) -> ChatWriter:
        """Return the writer of a stream."""
        return ChatWriter(call, include_usage=wants_usage(asked.request))
