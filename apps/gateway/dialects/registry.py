"""Which path speaks which wire format."""

from __future__ import annotations

from apps.gateway.dialects.anthropic import AnthropicMessages
from apps.gateway.dialects.base import Dialect
from apps.gateway.dialects.openai_chat import OpenAIChat
from apps.gateway.dialects.openai_embeddings import OpenAIEmbeddings

OPENAI_CHAT: Dialect = OpenAIChat()
ANTHROPIC_MESSAGES: Dialect = AnthropicMessages()

DIALECTS: dict[str, Dialect] = {
    "/chat/completions": OPENAI_CHAT,
    "/embeddings": OpenAIEmbeddings(),
    "/messages": ANTHROPIC_MESSAGES,
}
"""By path, without `/v1`. A POST to such a path is one call of a model."""
