"""POST /v1/messages/count_tokens: it works for every model, and says how exact it can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anthropic
import pytest
import pytest_asyncio

from apps.gateway.providers.tokens import count_prompt
from apps.gateway.selectors.terms import NO_TERMS
from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.messaging import HELLO, KINDS, Gate, open_gate
from tests.support.upstreams import Scenario

pytestmark = pytest.mark.asyncio

COUNTED = b'{"input_tokens": 77}'


@pytest_asyncio.fixture
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


over_anthropic = pytest.mark.parametrize("gate", ["anthropic"], indirect=True)
over_openai = pytest.mark.parametrize("gate", ["openai"], indirect=True)


@pytest.mark.parametrize("gate", KINDS, indirect=True)
async def test_every_model_can_be_counted_for(gate: Gate) -> None:
    counted = await gate.sdk.messages.count_tokens(model="alias", messages=HELLO, system="Be brief.")
    request = {"messages": [{"role": "system", "content": "Be brief."}, *HELLO]}
    assert counted.input_tokens == count_prompt(request, "upstream-model")
    assert await gate.settle() == []


@over_anthropic
async def test_anthropic_counts_itself_where_it_is_asked_anyway(gate: Gate) -> None:
    gate.upstream.play(Scenario(raw_body=COUNTED))
    tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
    counted = await gate.sdk.messages.count_tokens(model="alias", messages=HELLO, tools=tools)
    assert counted.input_tokens == 77
    [received] = gate.upstream.received
    assert received.path == "/v1/messages/count_tokens"
    assert received.body == {"model": "upstream-model", "messages": HELLO, "tools": tools}


@over_anthropic
@pytest.mark.parametrize(
    "scenario",
    [Scenario(status=529), Scenario(raw_body=b"{}"), Scenario(raw_body=b'{"input_tokens": true}')],
    ids=["overloaded", "no-count", "no-number"],
)
async def test_where_anthropic_cannot_count_we_do(gate: Gate, scenario: Scenario) -> None:
    gate.upstream.play(scenario)
    counted = await gate.sdk.messages.count_tokens(model="alias", messages=HELLO)
    assert counted.input_tokens == count_prompt({"messages": HELLO}, "upstream-model")


@over_anthropic
async def test_nothing_leaves_for_counting_where_a_policy_guards_it(gate: Gate) -> None:
    gate.runtime.callers.trust(hears_changes=True)  # else the caller is asked for again after two seconds
    await gate.sdk.messages.count_tokens(model="alias", messages=HELLO)
    asked_before = len(gate.upstream.received)
    caller = gate.runtime.callers.known(OFFLINE_SECRET)
    assert caller is not None
    object.__setattr__(caller, "terms", replace(NO_TERMS, guard=object()))
    counted = await gate.sdk.messages.count_tokens(model="alias", messages=HELLO)
    assert counted.input_tokens == count_prompt({"messages": HELLO}, "upstream-model")
    assert len(gate.upstream.received) == asked_before


@over_openai
@pytest.mark.parametrize("path", ["/v1/messages/count_tokens?beta=true", "/messages/count_tokens"])
async def test_every_way_to_the_endpoint(gate: Gate, path: str) -> None:
    response = await gate.post({"model": "alias", "messages": HELLO}, path=path)
    assert set(response.json()) == {"input_tokens"}
    assert response.headers["request-id"].startswith("req_")


@over_openai
async def test_refusals_raise_in_the_sdk(gate: Gate) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await gate.sdk.messages.count_tokens(model="nothing", messages=HELLO)
    assert unknown.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as empty:
        await gate.sdk.messages.count_tokens(model="alias", messages=[])
    assert empty.value.api_message == "messages: At least one message is needed."
    with pytest.raises(anthropic.AuthenticationError):
        await gate.sdk.with_options(api_key="sk-portico-wrong").messages.count_tokens(model="alias", messages=HELLO)
    assert gate.upstream.received == []
