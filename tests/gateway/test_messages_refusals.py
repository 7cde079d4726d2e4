"""Refusals and accidents of messages: the client's own error, in Anthropic's shape; what was produced is metered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from apps.gateway.choices import CallStatus
from apps.gateway.dialects.anthropic.events import PING
from apps.gateway.edge import streaming
from apps.gateway.providers.base import Target
from tests.gateway.conftest import CREDENTIAL, OFFLINE_SECRET, offline_entry, offline_snapshot
from tests.gateway.dialects.anthropic_events import collect_message, read_events
from tests.gateway.driving import Exchange
from tests.gateway.messaging import HELLO, Gate, open_gate
from tests.support.upstreams import AnthropicDialect, OpenAIDialect, Scenario, run_upstream

pytestmark = pytest.mark.asyncio

ASKED: dict[str, Any] = {"model": "alias", "max_tokens": 100, "messages": HELLO}


@pytest_asyncio.fixture
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


over_openai = pytest.mark.parametrize("gate", ["openai"], indirect=True)
over_both = pytest.mark.parametrize("gate", ["openai", "anthropic"], indirect=True)


@over_openai
@pytest.mark.parametrize(
    ("fields", "expected", "message"),
    [
        ({"max_tokens": None}, anthropic.BadRequestError, "max_tokens: Say how long the answer may be, in tokens."),
        ({"temperature": "hot"}, anthropic.BadRequestError, "temperature: This has to be a number, not a string."),
        ({"model": "nothing"}, anthropic.NotFoundError, "Model 'nothing' does not exist, or this key may not use it."),
    ],
)
async def test_refusals_raise_in_the_sdk(
    gate: Gate, fields: dict[str, Any], expected: type[anthropic.APIStatusError], message: str
) -> None:
    with pytest.raises(expected) as raised:
        await gate.sdk.messages.create(**ASKED, extra_body=fields)
    assert raised.value.api_message == message
    assert raised.value.error_code is not None
    assert gate.upstream.received == []


@over_openai
async def test_a_wrong_key_and_no_key(gate: Gate) -> None:
    for headers in ({"x-api-key": "sk-portico-wrong"}, {}):
        response = await gate.http.post("/v1/messages", json=ASKED, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
        assert response.json()["request_id"] == response.headers["request-id"]


@over_openai
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 200])
async def test_what_is_no_object_is_the_clients_error(gate: Gate, body: bytes) -> None:
    headers = {"x-api-key": OFFLINE_SECRET, "content-type": "application/json"}
    response = await gate.http.post("/v1/messages", content=body, headers=headers)
    assert (response.status_code, response.json()["type"]) == (400, "error")
    assert response.json()["error"]["type"] == "invalid_request_error"


@over_both
async def test_a_client_that_leaves_pays_for_what_came(gate: Gate) -> None:
    gate.upstream.play(Scenario(pieces=("one two three", " four"), frames_before_hang=4))
    exchange = Exchange("/v1/messages", secret=OFFLINE_SECRET, body={**ASKED, "stream": True})
    await exchange.wait_for(b"one two three")
    exchange.leave()
    await exchange.finish()
    await asyncio.wait_for(gate.upstream.left.wait(), timeout=5)
    [used] = await gate.settle()
    assert (used.status, used.is_estimated) == (CallStatus.CANCELLED, True)
    assert used.completion_tokens >= 3


@over_both
async def test_a_stream_that_fails_on_the_way_is_metered_by_what_came(gate: Gate) -> None:
    gate.upstream.play(Scenario(frames_before_error=5))
    response = await gate.post({**ASKED, "stream": True})
    assert read_events(response.content)[-1]["error"]["type"] == "overloaded_error"
    [used] = await gate.settle()
    assert (used.status, used.endpoint) == (CallStatus.ERROR, "messages")
    assert used.completion_tokens > 0


@over_both
async def test_a_silent_stream_is_kept_open_by_pings(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PING_SECONDS", 0.0)
    gate.upstream.play(Scenario(frames_before_hang=3))
    exchange = Exchange("/v1/messages", secret=OFFLINE_SECRET, body={**ASKED, "stream": True})
    await exchange.wait_for(PING)
    exchange.leave()
    await exchange.finish()


@over_both
async def test_the_cached_part_of_a_prompt_is_metered_as_such(gate: Gate) -> None:
    gate.upstream.play(Scenario(cached_tokens=4))
    await gate.post(ASKED)
    await gate.post({**ASKED, "stream": True})
    used = await gate.settle()
    assert [(call.prompt_tokens, call.cached_tokens, call.completion_tokens) for call in used] == [(11, 4, 5)] * 2


@pytest.mark.parametrize("gate", ["anthropic"], indirect=True)
async def test_what_anthropic_wrote_to_its_cache_is_metered(gate: Gate) -> None:
    usage = {
        "input_tokens": 3,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
        "output_tokens": 7,
    }
    monkeyed = AnthropicDialect()
    monkeyed.usage = lambda scenario: usage  # type: ignore[method-assign]
    gate.upstream.dialect = monkeyed
    whole = await gate.post(ASKED)
    assert whole.json()["usage"] == usage
    streamed = collect_message((await gate.post({**ASKED, "stream": True})).content)
    assert streamed["usage"]["cache_creation"] == usage["cache_creation"]
    used = await gate.settle()
    assert [(call.prompt_tokens, call.cached_tokens, call.cache_write_tokens) for call in used] == [(123, 20, 100)] * 2


@pytest.mark.parametrize("gate", ["anthropic"], indirect=True)
async def test_what_only_anthropic_understands_goes_past_the_others(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_upstream(OpenAIDialect()) as other:
        elsewhere = Target("other", "openai", f"{other.origin}/v1", CREDENTIAL, "some-model")
        claude = Target("acme", "anthropic", gate.upstream.origin, CREDENTIAL, "upstream-model")
        models = {"alias": offline_entry("alias", targets=(elsewhere, claude))}
        monkeypatch.setattr(gate.runtime.catalogue, "_load", lambda: replace(offline_snapshot(), models=models))
        await gate.runtime.catalogue.reload()
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        response = await gate.post({**ASKED, "tools": tools})
        assert (response.status_code, response.headers["x-portico-provider"]) == (200, "acme")
        gate.upstream.play(Scenario(status=400, error_message="No searches today."))
        refused = await gate.post({**ASKED, "tools": tools})
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "No searches today.")
        assert other.received == []


@over_openai
async def test_models_are_listed_in_anthropics_words_to_its_clients(gate: Gate) -> None:
    names = [model.id async for model in gate.sdk.models.list(limit=1000)]
    bounded = await gate.sdk.models.retrieve("small-answers")
    assert names == ["alias", "small-answers", "thinker"]
    assert (bounded.type, bounded.display_name, bounded.max_tokens) == ("model", "small-answers", 50)
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await gate.sdk.models.retrieve("nothing")
    assert unknown.value.type == "not_found_error"
    plain = await gate.http.get("/v1/models/alias", headers={"x-api-key": OFFLINE_SECRET})
    assert plain.json()["object"] == "model"
