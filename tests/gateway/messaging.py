"""Anthropic's official SDK, in front of the edge with an upstream of each kind behind it. No database is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from apps.gateway.edge import GatewayApplication
from apps.gateway.providers.anthropic import AnthropicProvider
from apps.gateway.providers.base import Target
from apps.gateway.runtime import Runtime, shipper
from apps.gateway.runtime.state import close_journal
from tests.gateway.conftest import CREDENTIAL, OFFLINE_SECRET, offline_entry, offline_snapshot
from tests.support.upstreams import AnthropicDialect, OllamaDialect, OpenAIDialect, Upstream, run_upstream

DIALECTS = {
    "openai": OpenAIDialect,
    "openrouter": OpenAIDialect,
    "anthropic": AnthropicDialect,
    "ollama": OllamaDialect,
}
TRANSLATED = "anthropic-translated"
KINDS = (*DIALECTS, TRANSLATED)
"""Every adapter with a server behind it; the last one as if a policy forbade to pass bodies on."""
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]


@dataclass
class Gate:
    """The edge with one upstream behind the models `alias` and, with a bound on its answers, `small-answers`."""

    kind: str
    upstream: Upstream
    http: httpx2.AsyncClient
    sdk: AsyncAnthropic
    runtime: Runtime
    recorded: list[Any]
    """Usage that would have gone into the database; complete after `settle`."""

    @property
    def asked(self) -> Any:
        """The body of the last request that reached the upstream."""
        return self.upstream.received[-1].body

    async def settle(self) -> list[Any]:
        """Return the usage of all calls so far, by closing the journal."""
        await self.runtime.loop.run_in_executor(None, close_journal)
        return self.recorded

    async def post(self, body: dict[str, Any], *, path: str = "/v1/messages", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers={"x-api-key": OFFLINE_SECRET, **named})


@asynccontextmanager
async def open_gate(kind: str, offline: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    """Put an upstream of a kind behind the edge."""
    if kind == TRANSLATED:
        monkeypatch.setattr(AnthropicProvider, "native_dialects", frozenset())
        kind = "anthropic"
    recorded: list[Any] = []
    monkeypatch.setattr(shipper, "write_entries", recorded.extend)
    monkeypatch.setattr(shipper, "replay_orphans", lambda directory: None)
    async with run_upstream(DIALECTS[kind]()) as upstream:
        suffix = "/v1" if kind.startswith("open") else ""
        target = Target("acme", kind, upstream.origin + suffix, CREDENTIAL, "upstream-model", read_timeout_seconds=5.0)
        entry = offline_entry("alias", targets=(target,))
        bounded = replace(entry, info=replace(entry.info, name="small-answers", max_output_tokens=50))
        reasoning = replace(entry, info=replace(entry.info, name="thinker", capabilities=("chat", "reasoning")))
        models = {"alias": entry, "small-answers": bounded, "thinker": reasoning}
        monkeypatch.setattr(offline.catalogue, "_load", lambda: replace(offline_snapshot(), models=models))
        await offline.catalogue.reload()
        async with open_http() as http:
            yield Gate(kind, upstream, http, open_sdk(http), offline, recorded)


def open_http() -> httpx2.AsyncClient:
    """Return a client of the edge, of the kind that the SDK takes."""
    transport = httpx2.ASGITransport(app=GatewayApplication())
    return httpx2.AsyncClient(transport=transport, base_url="http://portico")


def open_sdk(http: httpx2.AsyncClient, **options: Any) -> AsyncAnthropic:
    """Return the official SDK in front of the edge."""
    values: dict[str, Any] = {"api_key": OFFLINE_SECRET, "max_retries": 0, **options}
    return AsyncAnthropic(base_url="http://portico", http_client=http, **values)
