"""What Claude Code sends, over Claude itself and over models of others. Shapes as recorded, texts made up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import pytest_asyncio

from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.dialects.anthropic_events import collect_message
from tests.gateway.messaging import Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio

RECORDED = Path(__file__).parent / "recorded" / "claude_code"
LONG_NAME = "mcp__issue_tracker_of_the_company__list_all_open_issues_of_a_project_by_label"


@pytest_asyncio.fixture
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


over_claude = pytest.mark.parametrize("gate", ["anthropic"], indirect=True)
over_openai = pytest.mark.parametrize("gate", ["openai"], indirect=True)
over_others = pytest.mark.parametrize("gate", ["openai", "openrouter", "ollama", "anthropic-translated"], indirect=True)
of_every_message = pytest.mark.parametrize("name", ["quota_probe", "title", "first_turn", "tool_loop"])


def load(name: str) -> Any:
    return orjson.loads((RECORDED / f"{name}.json").read_bytes())


async def send(gate: Gate, name: str) -> httpx2.Response:
    """Send a recorded request; its model is one of ours, as it is when ANTHROPIC_MODEL names one."""
    recorded = load(name)
    headers = {**recorded["headers"], "authorization": f"Bearer {OFFLINE_SECRET}"}
    body = {**recorded["body"], "model": "alias"}
    return await gate.http.request(recorded["method"], recorded["path"], json=body, headers=headers)


@over_claude
@pytest.mark.parametrize("name", ["quota_probe", "title", "first_turn", "tool_loop", "web_search"])
async def test_claude_gets_what_was_sent(gate: Gate, name: str) -> None:
    response = await send(gate, name)
    recorded = load(name)
    assert response.status_code == 200
    assert gate.asked == {**recorded["body"], "model": "upstream-model"}
    [received] = gate.upstream.received
    assert received.path == "/v1/messages?beta=true"
    assert received.headers["anthropic-beta"] == recorded["headers"]["anthropic-beta"]


@over_others
@of_every_message
async def test_other_models_answer_what_was_sent(gate: Gate, name: str) -> None:
    response = await send(gate, name)
    assert response.status_code == 200
    whole_or_streamed = response.json if name == "quota_probe" else lambda: collect_message(response.content)
    message = whole_or_streamed()
    assert message["content"] == [{"type": "text", "text": "Hello, world!"}]
    assert (message["model"], message["stop_reason"]) == ("alias", "end_turn")
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (11, 5)
    [used] = await gate.settle()
    assert (used.endpoint, used.prompt_tokens, used.completion_tokens) == ("messages", 11, 5)


@over_openai
async def test_the_prompt_is_the_same_in_every_session(gate: Gate) -> None:
    await send(gate, "first_turn")
    system, user = gate.asked["messages"]
    assert system["content"].startswith("You are a program that helps people to write software.\n\nRules of the house.")
    assert user["content"].endswith("</system-reminder>\n\nMake the cart faster.")
    assert gate.asked["user"] == "9b" * 32
    assert "cache_control" not in orjson.dumps(gate.asked).decode()


@over_openai
async def test_a_turn_with_results_as_openai_gets_it(gate: Gate) -> None:
    await send(gate, "tool_loop")
    short = gate.asked["tools"][9]["function"]["name"]
    assert len(short) == 64
    assert [message["role"] for message in gate.asked["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "assistant",
        "tool",
        "user",
    ]
    assert gate.asked["messages"][2]["tool_calls"][1]["function"]["name"] == short
    assert gate.asked["messages"][4]["content"].startswith("Error: <tool_use_error>")
    assert gate.asked["messages"][8]["content"][1]["type"] == "image_url"
    told = orjson.dumps(gate.asked).decode()
    assert "signature" not in told
    assert "EmwKAhgBEgy3va3p" not in told


@over_openai
async def test_a_tool_is_called_by_its_full_name(gate: Gate) -> None:
    await send(gate, "first_turn")
    short = gate.asked["tools"][9]["function"]["name"]
    gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", short, '{"project": "shop"}'),)))
    message = collect_message((await send(gate, "first_turn")).content)
    [block] = message["content"]
    assert (block["name"], orjson.loads(block["input"])) == (LONG_NAME, {"project": "shop"})


@over_others
async def test_a_search_of_the_web_is_refused_in_words_that_help(gate: Gate) -> None:
    response = await send(gate, "web_search")
    assert response.status_code == 400
    assert response.json()["error"] == {
        "type": "invalid_request_error",
        "message": (
            "Only Anthropic itself understands the tool 'web_search' (web_search_20250305), and this call cannot go there "
            "as it is. Leave that out, or choose a Claude model whose provider is of the kind anthropic."
        ),
        "details": {"error_code": "gateway.native_only"},
    }


@over_others
async def test_tokens_are_counted(gate: Gate) -> None:
    response = await send(gate, "count_tokens")
    assert response.status_code == 200
    assert 500 < response.json()["input_tokens"] < 3_000


@over_openai
async def test_a_prompt_that_is_too_long_is_told_so_that_it_is_made_shorter(gate: Gate) -> None:
    gate.upstream.play(Scenario(status=400, error_code="context_length_exceeded", error_message="Too many tokens."))
    response = await send(gate, "first_turn")
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "prompt is too long: Too many tokens."


@over_openai
async def test_other_methods_are_refused_in_anthropics_words(gate: Gate) -> None:
    response = await gate.http.get("/v1/messages", headers={"x-api-key": OFFLINE_SECRET})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["type"] == "invalid_request_error"
    head = await gate.http.head("/v1/messages/count_tokens")
    assert head.status_code == 405
