"""Which path speaks which wire format."""

from __future__ import annotations

from apps.gateway.dialects.base import Dialect
from apps.gateway.dialects.openai_chat import OpenAIChat
from apps.gateway.dialects.openai_embeddings import OpenAIEmbeddings

OPENAI_CHAT: Dialect = OpenAIChat()

DIALECTS: dict[str, Dialect] = {
    "/chat/completions": OPENAI_CHAT,
    "/embeddings": OpenAIEmbeddings(),
}
"""By path, without `/v1`. A POST to such a path is one call of a model."""
