"""The adapters there are, by kind."""

from __future__ import annotations

from apps.gateway.providers.anthropic import AnthropicProvider
from apps.gateway.providers.base import Provider
from apps.gateway.providers.cached import CachedProvider
from apps.gateway.providers.ollama import OllamaProvider
from apps.gateway.providers.openai import OpenAIProvider
from apps.gateway.providers.openrouter import OpenRouterProvider
from apps.gateway.providers.sandbox import SandboxProvider

_providers: dict[str, Provider] = {}


def register_provider(provider: Provider) -> None:
    """Make an adapter available. Raise TypeError when it does not keep the protocol, ValueError when the kind is taken."""
    if not isinstance(provider, Provider):
        raise TypeError(f"{type(provider).__name__} does not implement the provider protocol.")
    if provider.kind in _providers:
        raise ValueError(f"A provider of kind {provider.kind!r} is registered already.")
    _providers[provider.kind] = provider


def get_provider(kind: str) -> Provider:
    """Return the adapter of a kind. Raise LookupError, which names those there are."""
    try:
        return _providers[kind]
    except KeyError:
        raise LookupError(f"No provider of kind {kind!r}; there are {', '.join(sorted(_providers))}.") from None


def provider_kinds() -> tuple[str, ...]:
    """Return the registered kinds in alphabetical order."""
    return tuple(sorted(_providers))


for _provider in (
    OpenAIProvider(),
    AnthropicProvider(),
    OpenRouterProvider(),
    OllamaProvider(),
    SandboxProvider(),
    CachedProvider(),
):
    register_provider(_provider)
