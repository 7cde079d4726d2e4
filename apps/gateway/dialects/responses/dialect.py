"""POST /v1/responses."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from apps.gateway.dialects.base import Answering, Asked
from apps.gateway.dialects.openai_errors import OpenAIErrors
from apps.gateway.dialects.responses.reading import Prior, read_request
from apps.gateway.dialects.responses.writing import ResponsesWriter
from apps.gateway.providers.base import CAPABILITY_CHAT, Completion


class OpenAIResponses(OpenAIErrors):
    """OpenAI's responses over any provider of chats."""

    name: ClassVar[str] = "openai.responses"
    endpoint: ClassVar[str] = "responses"
    kind: ClassVar[str] = CAPABILITY_CHAT

    def read(self, body: dict[str, Any]) -> Asked:
        """Understand a request that goes on from nothing stored."""
        return read_request(body, Prior())

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return the response object."""
        return orjson.dumps(self.describe(completion, call, asked))

    def describe(self, completion: Completion, call: Answering, asked: Asked) -> dict[str, Any]:
        """Return the response object as such."""
        writer = self.writer(call, asked)
        writer.take_completion(completion)
        writer.close()
        return writer.response

    def writer(self, call: Answering, asked: Asked) -> ResponsesWriter:
        """Return the writer of a stream."""
        return ResponsesWriter(call, asked.options)
