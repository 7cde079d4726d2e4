"""Which adapters there are."""

from __future__ import annotations

import pytest

from apps.gateway.providers.base import Provider
from apps.gateway.providers.fake import FakeProvider
from apps.gateway.providers.openai import OpenAIProvider
from apps.gateway.providers.registry import get_provider, provider_kinds, register_provider

KINDS = ("anthropic", "cache", "ollama", "openai", "openrouter", "sandbox")


def test_all_are_registered_under_their_kind() -> None:
    assert provider_kinds() == KINDS
    assert [get_provider(kind).kind for kind in KINDS] == list(KINDS)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"'acme'.*anthropic, cache, ollama, openai, openrouter, sandbox"):
        get_provider("acme")


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'openai' is registered already"):
        register_provider(OpenAIProvider())


def test_something_that_is_no_provider_is_refused() -> None:
    with pytest.raises(TypeError, match="str"):
        register_provider("openai")  # type: ignore[arg-type]

    assert provider_kinds() == KINDS


@pytest.mark.parametrize("provider", [*map(get_provider, KINDS), FakeProvider()], ids=lambda provider: provider.kind)
def test_each_keeps_the_protocol(provider: Provider) -> None:
    assert isinstance(provider, Provider)
    assert {"chat", "models"} <= provider.capabilities <= {"chat", "embeddings", "models"}
