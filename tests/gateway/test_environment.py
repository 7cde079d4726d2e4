"""A provider's variables in the environment, and its models answer to their plain names, through the official SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from openai import AsyncOpenAI
from pytest_django import Settings

from apps.billing.models import UsageRecord
from apps.gateway.runtime import Runtime
from tests.support.upstreams import AnthropicDialect, Dialect, OpenAIDialect, run_upstream

HELLO: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("slug", "dialect", "suffix", "model"),
    [
        ("openai", OpenAIDialect, "/v1", "gpt-4o-mini"),
        ("anthropic", AnthropicDialect, "", "claude-sonnet-4-5"),
        ("openrouter", OpenAIDialect, "/v1", "anthropic/claude-sonnet-4.5"),
    ],
)
async def test_a_model_of_the_environment_answers_and_is_metered(
    runtime: Runtime,
    settings: Settings,
    in_database: Callable[..., Awaitable[Any]],
    records: Callable[[], Awaitable[list[UsageRecord]]],
    sdk: AsyncOpenAI,
    http: httpx.AsyncClient,
    slug: str,
    dialect: type[Dialect],
    suffix: str,
    model: str,
) -> None:
    async with run_upstream(dialect()) as server:
        named = {"name": slug, "base_url": f"{server.origin}{suffix}", "credential": "sk-operator-0123456789"}
        settings.GATEWAY_PROVIDERS = {**settings.GATEWAY_PROVIDERS, slug: named}
        await in_database(lambda: call_command("load_models"))
        await runtime.catalogue.reload()

        whole = await sdk.chat.completions.create(model=model, messages=HELLO, max_tokens=50)
        stream = await sdk.chat.completions.create(
            model=model, messages=HELLO, max_tokens=50, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        used = await records()

    assert whole.choices[0].message.content == "Hello, world!"
    assert whole.choices[0].finish_reason == "stop"
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Hello, world!"
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == ([], 11, 5)
    assert [(row.model, row.provider, row.prompt_tokens, row.completion_tokens, row.status) for row in used] == [
        (model, slug, 11, 5, "ok")
    ] * 2
    assert all(row.cost_micros > 0 and not row.is_estimated for row in used)
