"""OpenAI's embeddings."""

from __future__ import annotations

from typing import Any, ClassVar

from apps.gateway.dialects.base import Asked
from apps.gateway.dialects.openai_chat import OpenAIChat
from apps.gateway.dialects.openai_checks import check_embedding
from apps.gateway.providers.base import CAPABILITY_EMBEDDINGS


class OpenAIEmbeddings(OpenAIChat):
    """POST /v1/embeddings. Its answer is completed and renamed as a chat's is."""

    name: ClassVar[str] = "openai.embeddings"
    endpoint: ClassVar[str] = "embeddings"
    kind: ClassVar[str] = CAPABILITY_EMBEDDINGS

    def read(self, body: dict[str, Any]) -> Asked:
        """Check the fields that we know. There is no stream of embeddings: `stream` is dropped."""
        check_embedding(body)
        body.pop("stream", None)
        return Asked(body)
