"""OpenAI's embeddings."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import orjson

from apps.gateway.dialects.base import Answering, Asked
from apps.gateway.dialects.openai_chat import OpenAIChat
from apps.gateway.dialects.openai_checks import check_embedding
from apps.gateway.providers.base import CAPABILITY_EMBEDDINGS, Completion
from apps.gateway.providers.embeddings import decode_vector, encode_vector

_FIRST_VECTOR = re.compile(rb'"embedding"\s*:\s*(["\[])')


class OpenAIEmbeddings(OpenAIChat):
    """POST /v1/embeddings. Its answer is completed and renamed as a chat's is."""

    name: ClassVar[str] = "openai.embeddings"
    endpoint: ClassVar[str] = "embeddings"
    kind: ClassVar[str] = CAPABILITY_EMBEDDINGS

    def read(self, body: dict[str, Any]) -> Asked:
        """Check the fields that we know. There is no stream of embeddings: `stream` is dropped."""
        check_embedding(body)
        body.pop("stream", None)
        return Asked(body, options=body.get("encoding_format") or "float")

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return the answer, its vectors in the form that was asked for: some servers know only one."""
        body = super().write(completion, call, asked)
        first = _FIRST_VECTOR.search(body)
        if first is None or (first[1] == b'"') == (asked.options == "base64"):
            return body
        payload = orjson.loads(body)
        for entry in payload["data"]:
            vector = entry.get("embedding")
            if isinstance(vector, str):
                entry["embedding"] = decode_vector(vector)
            elif isinstance(vector, list):
                entry["embedding"] = encode_vector(vector)
        return orjson.dumps(payload)
