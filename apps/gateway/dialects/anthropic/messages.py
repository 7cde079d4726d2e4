"""Anthropic's messages, over any provider."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from apps.gateway.dialects.anthropic.answer import write_message
from apps.gateway.dialects.anthropic.checks import check_message_request
from apps.gateway.dialects.anthropic.errors import AnthropicErrors
from apps.gateway.dialects.anthropic.events import MessageWriter
from apps.gateway.dialects.anthropic.request import read_request
from apps.gateway.dialects.base import Answering, Asked
from apps.gateway.providers.base import CAPABILITY_CHAT, Completion


class AnthropicMessages(AnthropicErrors):
    """POST /v1/messages. What a provider of the same format answers passes through but for the model's name."""

    name: ClassVar[str] = "anthropic.messages"
    endpoint: ClassVar[str] = "messages"
    kind: ClassVar[str] = CAPABILITY_CHAT
    passed_on: ClassVar[tuple[bytes, ...]] = (b"anthropic-beta", b"anthropic-version")

    def read(self, body: dict[str, Any]) -> Asked:
        """Check the fields that we know, and translate them. What we don't know only the native body keeps."""
        check_message_request(body)
        return read_request(body)

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return the message: the provider's own bytes where it is one already, under the name that was asked for."""
        if completion.is_native:
            body = completion.body or b"{}"
            return (
                body if call.model == call.upstream_model else orjson.dumps({**orjson.loads(body), "model": call.model})
            )
        payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
        usage = call.settled_usage()
        return orjson.dumps(write_message(payload, usage, asked.options, request_id=call.request_id, model=call.model))

    def writer(self, call: Answering, asked: Asked) -> MessageWriter:
        """Return the writer of a stream."""
        return MessageWriter(call, asked.options)
