"""What tests of the gateway share: a small catalogue, a runtime that is closed behind each test, clients of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from django.db import connections
from openai import AsyncOpenAI
from pytest_django import Settings

from apps.billing.models import Price, UsageRecord
from apps.core.actor import Actor, ActorKind
from apps.core.ids import uuid7
from apps.gateway.edge import GatewayApplication
from apps.gateway.models import Provider
from apps.gateway.providers.base import Target
from apps.gateway.runtime import Runtime, get_runtime
from apps.gateway.runtime import callers as callers_module
from apps.gateway.runtime.guard_hits import close_spool
from apps.gateway.runtime.state import close_journal
from apps.gateway.selectors import Caller, ModelEntry, ModelInfo, Route, Snapshot
from apps.gateway.selectors.catalogue import FREE
from apps.users.choices import CredentialKind
from apps.users.errors import KeyUnknown
from apps.users.models import ApiKey
from apps.users.selectors import Credential, Identity
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.factories.users import ApiKeyFactory
from tests.support.upstreams import OpenAIDialect, Upstream, run_upstream

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
CREDENTIAL = "sk-the-operators-own-0123456789abcdef"


@pytest.fixture
def data_dir(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """Give the test a journal and a file of finds of its own."""
    settings.DATA_DIR = tmp_path
    yield tmp_path
    close_spool(within_seconds=0.1)


@pytest.fixture
def sandbox(transactional_db: None, settings: Settings) -> Provider:
    """Return the sandbox provider with a chat and an embedding model; a chat token costs one micro-dollar."""
    settings.GATEWAY_PROVIDERS = {"sandbox": {"name": "Sandbox", "base_url": "", "credential": ""}}
    provider = ProviderFactory(slug="sandbox", from_environment=True)
    DeploymentFactory(model__name="sandbox-small", provider=provider)
    DeploymentFactory(
        model=ModelFactory(name="sandbox-embedding", capabilities=["embeddings"]),
        provider=provider,
        upstream_model="sandbox-embedding",
    )
    Price.objects.create(
        provider="sandbox",
        model="sandbox-small",
        input_micros=1_000_000,
        output_micros=1_000_000,
        cached_micros=1_000_000,
        cache_write_micros=1_000_000,
        valid_from=LONG_AGO,
    )
    return provider


@pytest.fixture
def key(transactional_db: None) -> tuple[ApiKey, str]:
    """Return an API key without limits, and its secret."""
    return ApiKeyFactory.with_secret()


@pytest.fixture
def secret(key: tuple[ApiKey, str]) -> str:
    """Return the secret of `key`."""
    return key[1]


@pytest_asyncio.fixture
async def runtime(sandbox: Provider, key: tuple[ApiKey, str], data_dir: Path) -> AsyncIterator[Runtime]:
    """Return the runtime of the test's event loop, over a catalogue that holds the sandbox."""
    found = get_runtime()
    await found.catalogue.ready()
    yield found
    await found.close()
    await found.loop.run_in_executor(None, close_journal)


@pytest_asyncio.fixture
async def http(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    """Return an HTTP client of the edge."""
    transport = httpx.ASGITransport(app=GatewayApplication())
    async with httpx.AsyncClient(transport=transport, base_url="http://portico") as client:
        yield client


@pytest.fixture
def sdk(http: httpx.AsyncClient, secret: str) -> AsyncOpenAI:
    """Return the official SDK, speaking to the edge."""
    return AsyncOpenAI(base_url="http://portico/v1", api_key=secret, http_client=http, max_retries=0)


@pytest.fixture
def in_database() -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function that runs a function with a database connection, and closes it."""
    return run_in_database


@pytest_asyncio.fixture
async def records(runtime: Runtime) -> Callable[[], Awaitable[list[UsageRecord]]]:
    """Return a coroutine function that ships the journal and returns all usage records, oldest first."""

    async def ship_and_read() -> list[UsageRecord]:
        await runtime.loop.run_in_executor(None, close_journal)
        return await run_in_database(lambda: list(UsageRecord.objects.order_by("id")))

    return ship_and_read


@pytest_asyncio.fixture
async def upstream(sandbox: Provider, settings: Settings, data_dir: Path) -> AsyncIterator[Upstream]:
    """Return a server that speaks OpenAI's format, behind the models `upstream-model` and `alias` (another name)."""
    async with run_upstream(OpenAIDialect()) as server:
        await run_in_database(lambda: deploy_upstream(server, settings))
        yield server


def deploy_upstream(server: Upstream, settings: Settings, slug: str = "openai", priority: int = 0) -> None:
    """Make a server known under the environment's name `slug`, serving `upstream-model` and `alias`."""
    named = {"name": slug.title(), "base_url": f"{server.origin}/v1", "credential": CREDENTIAL}
    settings.GATEWAY_PROVIDERS = {**settings.GATEWAY_PROVIDERS, slug: named}
    provider = ProviderFactory(slug=slug, kind="openai", from_environment=True)
    for name in ("upstream-model", "alias"):
        model = ModelFactory._meta.model.objects.filter(name=name).first() or ModelFactory(
            name=name, capabilities=["chat", "embeddings"]
        )
        DeploymentFactory(model=model, provider=provider, upstream_model="upstream-model", priority=priority)


async def run_in_database(work: Callable[[], Any]) -> Any:
    """Run a function in a thread of its own, with a connection that is closed behind it."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


OFFLINE_SECRET = "an-offline-secret-of-more-than-thirty-two-characters"


@pytest_asyncio.fixture
async def offline(data_dir: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    """Return a runtime that needs no database: one caller (OFFLINE_SECRET), one chat and one embedding model."""
    settings.GATEWAY_PROVIDERS = {}
    monkeypatch.setattr(callers_module, "find_caller", find_offline)
    monkeypatch.setattr(callers_module, "caller_of_actor", lambda actor: Caller(actor=actor))
    found = get_runtime()
    monkeypatch.setattr(found.catalogue, "_load", offline_snapshot)
    await found.catalogue.reload()
    yield found
    await found.close()
    await found.loop.run_in_executor(None, partial(close_journal, within_seconds=0.1))  # nothing takes it


def find_offline(secret: str) -> tuple[Caller, Identity]:
    """Know one caller, as the database would."""
    if secret != OFFLINE_SECRET:
        raise KeyUnknown("The API key is unknown, revoked or expired. Make a new one under API keys.")
    organization_id, user_id = uuid7(), uuid7()
    actor = Actor(
        kind=ActorKind.USER,
        user_id=user_id,
        organization_id=organization_id,
        role="member",
        scopes=frozenset({"*"}),
    )
    credential = Credential(CredentialKind.SESSION, uuid7(), user_id, organization_id)
    return Caller(actor=actor, credential=credential), Identity(actor, None, credential, None)


def offline_snapshot() -> Snapshot:
    """Return a catalogue without a database."""
    entries = {name: offline_entry(name, kind) for name, kind in {"small": "chat", "vectors": "embeddings"}.items()}
    return Snapshot(models=entries, taken_at=LONG_AGO)


def offline_entry(name: str, capability: str = "chat", targets: tuple[Target, ...] = ()) -> ModelEntry:
    """Return a model of the sandbox, or of other targets."""
    info = ModelInfo("model_1", name, "T0", None, None, (capability,), "tests", 0, True, ("sandbox",), None)
    targets = targets or (Target("sandbox", "sandbox", "", "", name),)
    routes = tuple(Route(f"dep_{at}", target, FREE, at, 1, True) for at, target in enumerate(targets))
    return ModelEntry(info=info, routes=routes)
