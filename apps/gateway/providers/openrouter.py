"""OpenRouter: OpenAI's format with a few words of its own."""

from __future__ import annotations

from typing import Any, ClassVar

from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS, Target
from apps.gateway.providers.openai import OpenAIProvider

# How OpenRouter attributes calls to an application. Its address (HTTP-Referer) is the installation's own: it and another
# title are set as extra headers of the target.
APPLICATION_TITLE = "Portico"


class OpenRouterProvider(OpenAIProvider):
    """Speaks to OpenRouter; `base_url` is https://openrouter.ai/api/v1."""

    kind: ClassVar[str] = "openrouter"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})
    keeps_cache_marks: ClassVar[bool] = True

    def build_body(self, *, target: Target, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request with OpenRouter's usage accounting switched on, which adds cached tokens and cost."""
        body = super().build_body(target=target, request=request)
        body["usage"] = {"include": True}
        return body

    def build_headers(self, *, target: Target, request_id: str) -> dict[str, str]:
        """Return the request headers with the application's title."""
        headers = {"X-Title": APPLICATION_TITLE}
        headers.update(super().build_headers(target=target, request_id=request_id))
        return headers
