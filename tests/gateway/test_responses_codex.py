"""What Codex CLI sends, over models of every kind. Shapes as it sends them, texts made up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.messaging import DIALECTS, Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio

RECORDED = Path(__file__).parent / "recorded" / "codex"
PATCH = "*** Begin Patch\n*** Update File: main.c\n*** End Patch\n"
NAMES = sorted(path.stem for path in RECORDED.glob("*.json"))


@pytest_asyncio.fixture(params=sorted(DIALECTS))
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


def load(name: str) -> Any:
    return orjson.loads((RECORDED / f"{name}.json").read_bytes())


async def send(gate: Gate, name: str) -> list[dict[str, Any]]:
    """Send a recorded request, its model one of ours; return the events of the answer."""
    recorded = load(name)
    headers = {**recorded["headers"], "authorization": f"Bearer {OFFLINE_SECRET}"}
    answer = await gate.http.post(recorded["path"], json={**recorded["body"], "model": "alias"}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return [orjson.loads(part.partition("\ndata: ")[2]) for part in answer.text.split("\n\n") if part]


@pytest.mark.parametrize("name", NAMES)
async def test_every_turn_is_answered(gate: Gate, name: str) -> None:
    events = await send(gate, name)
    last = events[-1]
    assert last["type"] == "response.completed"
    # These are what Codex reads of the end; without them it takes the stream for broken.
    assert last["response"]["id"] == events[0]["response"]["id"]
    assert last["response"]["usage"]["total_tokens"] == 16
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert item["content"][0]["text"] == "Hello, world!"


async def test_a_patch_comes_back_as_a_custom_call(gate: Gate) -> None:
    arguments = orjson.dumps({"input": PATCH}).decode()
    gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "apply_patch", arguments),)))
    events = await send(gate, "first_turn")
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    assert item["call_id"] != ""


async def test_a_command_comes_back_as_a_call_of_the_local_shell(gate: Gate) -> None:
    arguments = orjson.dumps({"command": ["make", "test"], "timeout_ms": 5}).decode()
    gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "local_shell", arguments),)))
    events = await send(gate, "local_shell")
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert (item["type"], item["action"]["command"], item["action"]["timeout_ms"]) == (
        "local_shell_call",
        ["make", "test"],
        5,
    )


@pytest.mark.parametrize(("arguments", "command"), [('{"command": "ls -l"}', ["bash", "-lc", "ls -l"]), ("[]", [])])
async def test_a_command_that_is_written_otherwise_is_read_as_well(
    offline, monkeypatch, arguments: str, command: list[str]
) -> None:
    async with open_gate("openai", offline, monkeypatch) as gate:
        gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "local_shell", arguments),)))
        events = await send(gate, "local_shell")
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert item["action"]["command"] == command


@pytest.mark.parametrize("arguments", ["no json", "{}", "5"])
async def test_a_patch_that_is_no_json_is_taken_as_it_is(offline, monkeypatch, arguments: str) -> None:
    async with open_gate("openai", offline, monkeypatch) as gate:
        gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "apply_patch", arguments),)))
        events = await send(gate, "first_turn")
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert item["input"] == arguments


async def test_a_tool_of_a_namespace_comes_back_with_it(gate: Gate) -> None:
    gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "tracker__list_issues", '{"label":"bug"}'),)))
    events = await send(gate, "mcp_turn")
    [item] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert (item["namespace"], item["name"], item["arguments"]) == ("tracker", "list_issues", '{"label":"bug"}')


async def test_the_loop_reaches_the_model_as_calls_and_results(offline, monkeypatch) -> None:
    async with open_gate("openai", offline, monkeypatch) as gate:
        await send(gate, "tool_loop")
        asked = gate.asked
    assert [message["role"] for message in asked["messages"]] == [
        "system", "developer", "user", "user", "assistant", "tool", "assistant", "tool",
    ]  # fmt: skip
    assert asked["messages"][6]["content"] == "A semicolon is missing. I put it in."
    assert [tool["function"]["name"] for tool in asked["tools"]] == [
        "shell",
        "update_plan",
        "apply_patch",
        "view_image",
    ]
    assert (asked["reasoning_effort"], asked["verbosity"], asked["parallel_tool_calls"]) == ("medium", "medium", False)


async def test_thoughts_of_claude_travel_along_and_come_back_unchanged(offline, monkeypatch) -> None:
    async with open_gate("anthropic", offline, monkeypatch) as gate:
        gate.upstream.play(
            Scenario(reasoning="Let me think", tool_calls=(ToolCall("toolu_1", "shell", '{"command":["ls"]}'),))
        )
        events = await send(gate, "first_turn")
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert [item["type"] for item in items] == ["reasoning", "function_call"]
        recorded = load("first_turn")
        result = {"type": "function_call_output", "call_id": items[1]["call_id"], "output": "main.c"}
        body = {**recorded["body"], "model": "alias", "input": [*recorded["body"]["input"], *items, result]}
        gate.upstream.play(Scenario())
        headers = {**recorded["headers"], "authorization": f"Bearer {OFFLINE_SECRET}"}
        await gate.http.post("/v1/responses", json=body, headers=headers)
        turns = gate.asked["messages"]
    assert turns[-2]["content"][0] == {"type": "thinking", "thinking": "Let me think", "signature": "c2ln"}
    assert turns[-1]["content"][0]["type"] == "tool_result"
