"""Messages under guardrails: nothing passes by them natively, and what is translated for them still reaches Claude whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import pytest_asyncio

from apps.gateway.guards.rules import PolicyTerms
from apps.gateway.selectors.guardrails import compile_terms
from apps.gateway.selectors.terms import NO_TERMS
from apps.gateway.services.guarding import screening
from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.dialects.anthropic_events import collect_message
from tests.gateway.guards.policies import make_policy
from tests.gateway.messaging import Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio

MAIL = "ada@example.com"
WRITE: list[Any] = [{"role": "user", "content": [{"type": "text", "text": f"Write to {MAIL}"}]}]
MARK = {"type": "ephemeral"}
SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]


@pytest_asyncio.fixture
async def gate(offline, monkeypatch) -> AsyncIterator[Gate]:
    # Finds are counted elsewhere; here there is no database for them.
    monkeypatch.setattr(screening, "note_findings", lambda findings, facts: None)
    async with open_gate("anthropic", offline, monkeypatch) as found:
        yield found


async def guard(gate: Gate, policy: PolicyTerms) -> None:
    """Put the one caller under a policy."""
    caller = await gate.runtime.callers.find(OFFLINE_SECRET)
    terms = replace(NO_TERMS, guard=compile_terms([policy], fingerprint="f"))
    object.__setattr__(caller, "terms", terms)


def ask(messages: list[Any] = WRITE, **fields: Any) -> dict[str, Any]:
    return {"model": "alias", "max_tokens": 4_000, "messages": messages, **fields}


async def test_what_is_masked_goes_to_claude_in_translation_with_all_that_was_asked(gate: Gate) -> None:
    await guard(gate, make_policy(input={"pii": "mask"}))
    response = await gate.post(
        ask(
            system=[{"type": "text", "text": "Be brief.", "cache_control": MARK}],
            thinking={"type": "enabled", "budget_tokens": 2_000},
            top_k=5,
        )
    )
    assert response.status_code == 200
    assert gate.asked == {
        "model": "upstream-model",
        "max_tokens": 4_000,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Write to [EMAIL_1]"}]}],
        "thinking": {"type": "enabled", "budget_tokens": 2_000},
    }


async def test_a_prompt_without_finds_goes_as_it_came(gate: Gate) -> None:
    await guard(gate, make_policy(input={"pii": "mask"}))
    body = ask([{"role": "user", "content": "Hi"}], brand_new=[1], tools=SEARCH)
    assert (await gate.post(body)).status_code == 200
    assert gate.asked == {**body, "model": "upstream-model"}


@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_answer_is_masked_where_it_is_split(gate: Gate, *, is_stream: bool) -> None:
    await guard(gate, make_policy(output={"pii": "mask"}))
    gate.upstream.play(Scenario(pieces=("Write to ada@exa", "mple.c", "om now.")))
    response = await gate.post(ask([{"role": "user", "content": "Hi"}], stream=is_stream))
    message = collect_message(response.content) if is_stream else response.json()
    assert message["content"] == [{"type": "text", "text": "Write to [EMAIL_1] now."}]
    assert MAIL not in response.text


async def test_calls_of_tools_are_masked_too_and_stay_json(gate: Gate) -> None:
    await guard(gate, make_policy(output={"pii": "mask"}))
    gate.upstream.play(Scenario(tool_calls=(ToolCall("toolu_1", "send", '{"to": "ada@example.com"}'),)))
    response = await gate.post(ask([{"role": "user", "content": "Hi"}], stream=True))
    [block] = collect_message(response.content)["content"]
    assert orjson.loads(block["input"]) == {"to": "[EMAIL_1]"}


async def test_a_blocked_prompt_is_a_refusal_that_names_its_code(gate: Gate) -> None:
    await guard(gate, make_policy(input={"pii": "block"}))
    response = await gate.post(ask())
    assert response.status_code == 400
    assert response.json()["error"]["details"] == {"error_code": "gateway.content_blocked"}
    assert gate.upstream.received == []


async def test_a_blocked_answer_is_a_refusal_and_was_paid_for(gate: Gate) -> None:
    await guard(gate, make_policy(output={"pii": "block"}))
    gate.upstream.play(Scenario(pieces=(f"Write to {MAIL} now.",)))
    response = await gate.post(ask([{"role": "user", "content": "Hi"}]))
    assert response.status_code == 400
    assert response.json()["error"]["details"] == {"error_code": "gateway.content_blocked"}
    assert MAIL not in response.text
    [used] = await gate.settle()
    assert (used.prompt_tokens, used.completion_tokens) == (11, 5)


async def test_foreign_blocks_are_read_before_they_go(gate: Gate) -> None:
    await guard(gate, make_policy(input={"pii": "block"}))
    block = {"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": MAIL}]}
    response = await gate.post(ask([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block]}]))
    assert response.json()["error"]["details"] == {"error_code": "gateway.content_blocked"}
    assert gate.upstream.received == []


async def test_a_tool_that_anthropic_runs_is_refused_where_answers_are_read(gate: Gate) -> None:
    await guard(gate, make_policy(output={"pii": "mask"}))
    response = await gate.post(ask(tools=SEARCH))
    assert response.json()["error"]["details"] == {"error_code": "gateway.native_only"}
    assert gate.upstream.received == []
