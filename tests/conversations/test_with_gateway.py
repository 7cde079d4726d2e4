"""Conversations on the real gateway: one call, one usage record, the caller's own limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pytest_django import Settings

from apps.billing.models import UsageRecord
from apps.conversations.models import Run
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import current_desk
from apps.core.ids import decode_id
from apps.gateway.runtime import get_runtime
from apps.gateway.runtime.state import close_journal
from tests.conversations.conftest import Chatter, parse_events, read_all, settle, text_of
from tests.factories.gateway import DeploymentFactory, ProviderFactory
from tests.support.waiting import until


@pytest.fixture
async def sandbox(chatter: Chatter, settings: Settings, tmp_path: Path) -> AsyncIterator[None]:
    """A catalogue that holds the sandbox, and a journal of the test's own."""
    settings.DATA_DIR = tmp_path
    settings.GATEWAY_PROVIDERS = {"sandbox": {"name": "Sandbox", "base_url": "", "credential": ""}}

    def fill() -> None:
        provider = ProviderFactory(slug="sandbox", from_environment=True)
        DeploymentFactory(model__name="sandbox-small", provider=provider)

    await in_database(fill)
    runtime = get_runtime()
    await runtime.catalogue.ready()
    yield
    await settle()
    await runtime.close()
    await in_database(close_journal)


async def records() -> list[UsageRecord]:
    """Ship the journal and return all usage records."""
    await settle()
    await in_database(close_journal)
    return await in_database(lambda: list(UsageRecord.objects.order_by("id")))


async def test_one_answer_is_one_call_and_one_record(chatter: Chatter, sandbox: None) -> None:
    whole = await chatter.stream("Tell me something", model="sandbox-small")
    assert whole[-1].name == "run.completed"
    resumed = await read_all(await chatter.get(f"/chat/{whole[0].data['run_id']}/stream?after=1"))
    assert text_of(resumed) == text_of(whole) == whole[-1].data["answer"]["content"] != ""
    (record,) = await records()
    run = await in_database(Run.objects.get)
    assert (record.id, record.endpoint, record.status) == (run.request_id, "conversations", "ok")
    assert (record.organization_id, record.user_id, record.api_key_id) == (
        chatter.membership.organization_id, chatter.membership.user_id, chatter.key.id,
    )  # fmt: skip
    usage = whole[-1].data["answer"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (record.prompt_tokens, record.completion_tokens)


async def test_a_cancelled_answer_is_metered_as_cancelled(chatter: Chatter, sandbox: None) -> None:
    body = {"content": "[slow:50] [long:400]", "model": "sandbox-small"}
    stream = (await chatter.post("/chat/stream", body)).streaming_content
    seen = parse_events(await anext(stream))
    while not text_of(seen):
        seen += parse_events(await anext(stream))
    answer = (await chatter.post(f"/chat/{seen[0].data['run_id']}/cancel")).json()["message"]
    rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert answer["status"] == "cancelled"
    assert text_of(seen + rest) == answer["content"] != ""
    (record,) = await records()
    assert (record.status, record.completion_tokens > 0) == ("cancelled", True)


async def test_an_unknown_model_is_refused_for_those_who_wait(chatter: Chatter, sandbox: None) -> None:
    response = await chatter.post("/chat", {"content": "Hi", "model": "no-such-model"})
    assert (response.status_code, response.json()["code"]) == (404, "gateway.model_unknown")
    assert await records() == []


@pytest.mark.parametrize(
    ("prompt", "code"), [("[fail:429]", "gateway.upstream_rate_limited"), ("[cut:3]", "gateway.upstream_broken")]
)
async def test_what_the_provider_does_reaches_the_answer(
    chatter: Chatter, sandbox: None, prompt: str, code: str
) -> None:
    events = await chatter.stream(prompt, model="sandbox-small")
    assert (events[-1].name, events[-1].data["error"]["code"]) == ("run.failed", code)
    assert events[-1].data["answer"]["content"] == text_of(events)


async def test_the_keys_limits_hold_here_too(chatter: Chatter, sandbox: None) -> None:
    chatter.key.requests_per_minute = 1
    await in_database(chatter.key.save)
    assert (await chatter.post("/chat", {"content": "Hi", "model": "sandbox-small"})).status_code == 200
    refused = await chatter.post("/chat", {"content": "Hi", "model": "sandbox-small"})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (429, "gateway.request_limit_reached")
    assert problem["title"] == "A limit of requests per minute is reached"
    assert 1 <= int(refused.headers["Retry-After"]) <= 61


async def test_a_revoked_key_ends_its_stream(chatter: Chatter, sandbox: None) -> None:
    body = {"content": "[slow:50] [long:400]", "model": "sandbox-small"}
    stream = (await chatter.post("/chat/stream", body)).streaming_content
    seen = parse_events(await anext(stream))
    # The call itself is under way, and the gateway looks no more at who may make it: it is told of changes from here on.
    await until(lambda: get_runtime()._listener._hears)
    while not text_of(seen):
        seen += parse_events(await anext(stream))
    chatter.key.revoked_at = "2026-01-01T00:00:00Z"
    await in_database(chatter.key.save)
    async with asyncio.timeout(10):  # the answer would take twenty seconds
        rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert (rest[-1].name, rest[-1].data["code"]) == ("error", "conversations.access_withdrawn")
    assert current_desk().cancel(decode_id(Run.ID_PREFIX, seen[0].data["run_id"]))
