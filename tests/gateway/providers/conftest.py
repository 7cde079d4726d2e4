"""Every adapter with a local upstream, behind one face."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from apps.core.http import HttpSession
from apps.gateway.providers.base import Chunk, Completion, Provider, Target
from apps.gateway.providers.registry import get_provider
from tests.support.upstreams import AnthropicDialect, OllamaDialect, OpenAIDialect, Upstream, run_upstream
from tests.support.waiting import until

CREDENTIAL = "sk-our-own-credential-0123456789abcdef"
DIALECTS = {
    "openai": OpenAIDialect,
    "openrouter": OpenAIDialect,
    "anthropic": AnthropicDialect,
    "ollama": OllamaDialect,
}
BASE_PATHS = {"openai": "/v1", "openrouter": "/v1", "anthropic": "", "ollama": ""}


@dataclass
class Bench:
    """An adapter, its upstream and a session: one call is one line."""

    provider: Provider
    upstream: Upstream
    session: HttpSession
    target: Target
    batches: list[list[Chunk]] = field(default_factory=list)
    """What the last stream yielded, also when it failed."""

    async def complete(self, **fields: Any) -> Completion:
        return await self.provider.complete(
            session=self.session, target=self.target, request=ask(**fields), request_id="request-1"
        )

    async def stream(self, **fields: Any) -> list[Chunk]:
        """Read a stream to its end."""
        self.batches = []
        stream = self.provider.stream(
            session=self.session, target=self.target, request=ask(**fields), request_id="request-1"
        )
        async with aclosing(stream):
            async for batch in stream:
                self.batches.append(batch)
        return self.chunks

    async def embed(self, **fields: Any) -> Completion:
        return await self.provider.embed(
            session=self.session, target=self.target, request={"model": "alias", **fields}, request_id="request-1"
        )

    async def list_models(self) -> list[str]:
        return await self.provider.list_models(session=self.session, target=self.target)

    @property
    def chunks(self) -> list[Chunk]:
        return [chunk for batch in self.batches for chunk in batch]

    @property
    def asked(self) -> Any:
        """The body of the last request that reached the upstream."""
        return self.upstream.received[-1].body


def ask(**fields: Any) -> dict[str, Any]:
    """A small chat request."""
    return {"model": "alias", "messages": [{"role": "user", "content": "Hi"}], **fields}


def make_target(kind: str, origin: str, **fields: Any) -> Target:
    """A target of a kind at an address."""
    values: dict[str, Any] = {
        "provider": "acme",
        "kind": kind,
        "base_url": origin + BASE_PATHS[kind],
        "credential": CREDENTIAL,
        "upstream_model": "upstream-model",
        "connect_timeout_seconds": 5.0,
        "read_timeout_seconds": 5.0,
    }
    return Target(**{**values, **fields})


@pytest_asyncio.fixture
async def session() -> AsyncIterator[HttpSession]:
    async with HttpSession() as session:
        yield session


async def settled(session: HttpSession) -> None:
    """Wait until no answer is on its way any more."""
    await until(lambda: all(connection.is_usable for connection in session._connections))


async def _run_bench(kind: str, session: HttpSession) -> AsyncIterator[Bench]:
    async with run_upstream(DIALECTS[kind]()) as upstream:
        yield Bench(get_provider(kind), upstream, session, make_target(kind, upstream.origin))


@pytest_asyncio.fixture(params=sorted(DIALECTS))
async def bench(request: pytest.FixtureRequest, session: HttpSession) -> AsyncIterator[Bench]:
    """Every adapter that speaks to a server, in turn."""
    async for bench in _run_bench(request.param, session):
        yield bench


@pytest_asyncio.fixture
async def openai(session: HttpSession) -> AsyncIterator[Bench]:
    async for bench in _run_bench("openai", session):
        yield bench


@pytest_asyncio.fixture
async def openrouter(session: HttpSession) -> AsyncIterator[Bench]:
    async for bench in _run_bench("openrouter", session):
        yield bench


@pytest_asyncio.fixture
async def anthropic(session: HttpSession) -> AsyncIterator[Bench]:
    async for bench in _run_bench("anthropic", session):
        yield bench


@pytest_asyncio.fixture
async def ollama(session: HttpSession) -> AsyncIterator[Bench]:
    async for bench in _run_bench("ollama", session):
        yield bench
