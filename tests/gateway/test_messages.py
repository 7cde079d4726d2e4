"""Messages over every adapter, judged by Anthropic's official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import orjson
import pytest
import pytest_asyncio
from anthropic import beta_async_tool
from pydantic import BaseModel

from apps.gateway.providers.anthropic_origin import UNSIGNED
from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.dialects.anthropic_events import collect_message, read_events
from tests.gateway.messaging import HELLO, KINDS, TRANSLATED, Gate, open_gate, open_sdk
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio

LOOK: Any = {"name": "look", "description": "Look it up.", "input_schema": {"type": "object", "properties": {}}}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
CALLS = (ToolCall("toolu_1", "look", '{"q": "x"}'), ToolCall("toolu_2", "look", '{"q": "y"}'))


@pytest_asyncio.fixture
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


over_every_adapter = pytest.mark.parametrize("gate", KINDS, indirect=True)
over_anthropic = pytest.mark.parametrize("gate", ["anthropic", TRANSLATED], indirect=True)
natively = pytest.mark.parametrize("gate", ["anthropic"], indirect=True)
over_openai = pytest.mark.parametrize("gate", ["openai"], indirect=True)


@over_every_adapter
async def test_a_message(gate: Gate) -> None:
    gate.upstream.play(Scenario(cached_tokens=4))
    message = await gate.sdk.messages.create(model="alias", max_tokens=100, messages=HELLO, system="Be brief.")
    assert (message.type, message.role, message.model) == ("message", "assistant", "alias")
    assert message.id.startswith("msg_")
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Hello, world!"}]
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    cached = 0 if gate.kind == "ollama" else 4
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (11 - cached, cached)
    assert message.usage.output_tokens == 5
    assert message._request_id is not None
    assert message._request_id.startswith("req_")


@over_every_adapter
async def test_a_streamed_message(gate: Gate) -> None:
    async with gate.sdk.messages.stream(model="alias", max_tokens=100, messages=HELLO) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    assert texts == ["Hello", ", ", "world", "!"]
    assert (message.model, message.stop_reason) == ("alias", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 5)


@over_every_adapter
async def test_the_order_of_the_events(gate: Gate) -> None:
    gate.upstream.play(Scenario(reasoning="Let me see.", tool_calls=CALLS))
    body = {
        "model": "alias",
        "max_tokens": 2000,
        "messages": HELLO,
        "stream": True,
        "tools": [LOOK],
        "thinking": THINKING,
    }
    response = await gate.post(body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    message = collect_message(response.content)
    assert [block["type"] for block in message["content"]] == ["thinking", "tool_use", "tool_use"]
    assert [orjson.loads(block["input"]) for block in message["content"][1:]] == [{"q": "x"}, {"q": "y"}]
    assert message["stop_reason"] == "tool_use"


@over_every_adapter
@pytest.mark.parametrize("is_stream", [True, False])
async def test_tools_and_thinking(gate: Gate, *, is_stream: bool) -> None:
    gate.upstream.play(Scenario(reasoning="Let me see.", tool_calls=CALLS))
    asked: Any = {"model": "alias", "max_tokens": 2000, "messages": HELLO, "tools": [LOOK], "thinking": THINKING}
    if is_stream:
        async with gate.sdk.messages.stream(**asked) as stream:
            message: Any = await stream.get_final_message()
    else:
        message = await gate.sdk.messages.create(**asked)
    thought, first, second = message.content
    assert thought.thinking == "Let me see."
    assert thought.signature == ("c2ln" if gate.kind == "anthropic" else UNSIGNED)
    assert (first.name, first.input, second.input) == ("look", {"q": "x"}, {"q": "y"})
    assert first.id != second.id
    assert message.stop_reason == "tool_use"


@over_every_adapter
async def test_a_whole_conversation_with_tools_goes_back(gate: Gate) -> None:
    gate.upstream.play(Scenario(reasoning="hm", tool_calls=CALLS[:1]), Scenario())
    asked: Any = {"model": "alias", "max_tokens": 2000, "tools": [LOOK], "thinking": THINKING}
    first = await gate.sdk.messages.create(messages=HELLO, **asked)
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "rain"}
    turns = [*HELLO, first.to_param(), {"role": "user", "content": [result]}]
    second = await gate.sdk.messages.create(messages=turns, **asked)
    assert second.content[0].text == "Hello, world!"
    told = orjson.dumps(gate.asked["messages"]).decode()
    assert '"rain"' in told
    assert UNSIGNED not in told


@over_every_adapter
async def test_the_tool_runner_runs_to_the_end(gate: Gate) -> None:
    asked: list[str] = []

    @beta_async_tool
    async def look(q: str) -> str:
        """Look it up."""
        asked.append(q)
        return "rain"

    gate.upstream.play(Scenario(tool_calls=CALLS[:1]), Scenario())
    runner = gate.sdk.beta.messages.tool_runner(model="alias", max_tokens=100, messages=HELLO, tools=[look])
    message = await runner.until_done()
    assert asked == ["x"]
    assert message.content[0].text == "Hello, world!"


class Weather(BaseModel):
    place: str
    degrees: int


@over_every_adapter
async def test_structured_output_is_parsed(gate: Gate) -> None:
    gate.upstream.play(Scenario(pieces=('{"place": "Oslo",', ' "degrees": 7}')))
    message = await gate.sdk.messages.parse(model="alias", max_tokens=100, messages=HELLO, output_format=Weather)
    assert message.parsed_output == Weather(place="Oslo", degrees=7)
    assert '"degrees"' in orjson.dumps(gate.asked).decode()


@over_every_adapter
@pytest.mark.parametrize(("finish", "reason"), [("length", "max_tokens"), ("stop", "end_turn")])
async def test_why_a_message_ended(gate: Gate, finish: str, reason: str) -> None:
    gate.upstream.play(Scenario(finish_reason=finish))
    whole = await gate.sdk.messages.create(model="alias", max_tokens=100, messages=HELLO)
    async with gate.sdk.messages.stream(model="alias", max_tokens=100, messages=HELLO) as stream:
        streamed = await stream.get_final_message()
    assert (whole.stop_reason, streamed.stop_reason) == (reason, reason)


@over_every_adapter
async def test_a_provider_that_counts_nothing_is_counted_for(gate: Gate) -> None:
    gate.upstream.play(Scenario(has_usage=False))
    whole = await gate.sdk.messages.create(model="alias", max_tokens=100, messages=HELLO)
    assert whole.content[0].text == "Hello, world!"
    assert whole.usage.input_tokens > 0
    assert whole.usage.output_tokens == 4


@pytest.mark.parametrize("gate", ["openai", "openrouter", "ollama", TRANSLATED], indirect=True)
async def test_a_translated_stream_without_usage_is_counted(gate: Gate) -> None:
    gate.upstream.play(Scenario(has_usage=False))
    async with gate.sdk.messages.stream(model="alias", max_tokens=100, messages=HELLO) as stream:
        message = await stream.get_final_message()
    assert (message.usage.input_tokens > 0, message.usage.output_tokens) == (True, 4)


@over_every_adapter
@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "overloaded_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_failing_provider_raises_in_the_sdk(
    gate: Gate, status: int, expected: type[anthropic.APIStatusError], kind: str, *, is_stream: bool
) -> None:
    gate.upstream.play(Scenario(status=status))
    with pytest.raises(expected) as raised:
        await gate.sdk.messages.create(model="alias", max_tokens=100, messages=HELLO, stream=is_stream)
    assert raised.value.type == kind
    assert raised.value.request_id is not None
    assert raised.value.request_id == raised.value.body["request_id"]  # type: ignore[index]


@over_every_adapter
async def test_a_failure_on_the_way_is_an_event_and_raises(gate: Gate) -> None:
    gate.upstream.play(Scenario(frames_before_error=4))
    response = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO, "stream": True})
    assert response.status_code == 200
    events = read_events(response.content)
    assert [event["type"] for event in events].count("message_start") == 1
    assert events[-1]["type"] == "error"
    assert events[-1]["request_id"] == response.headers["request-id"]
    with pytest.raises(anthropic.APIStatusError):
        async for _ in await gate.sdk.messages.create(model="alias", max_tokens=100, messages=HELLO, stream=True):
            pass


@over_every_adapter
@pytest.mark.parametrize("scenario", [Scenario(frames_before_cut=3), Scenario(frames_before_garbage=3)])
async def test_a_broken_stream_never_looks_complete(gate: Gate, scenario: Scenario) -> None:
    gate.upstream.play(scenario)
    response = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO, "stream": True})
    kinds = [event["type"] for event in read_events(response.content)]
    assert kinds[-1] == "error"
    assert "message_stop" not in kinds


@over_every_adapter
async def test_the_sdk_retries_and_succeeds(gate: Gate) -> None:
    gate.upstream.play(Scenario(status=429, headers={"retry-after-ms": "1"}), Scenario())
    sdk = open_sdk(gate.http, max_retries=1)
    message = await sdk.messages.create(model="alias", max_tokens=100, messages=HELLO)
    assert message.content[0].text == "Hello, world!"
    assert len(gate.upstream.received) == 2


@natively
async def test_what_we_do_not_know_reaches_anthropic_unchanged(gate: Gate) -> None:
    body = {
        "model": "alias",
        "max_tokens": 100,
        "messages": HELLO,
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "brand_new": {"nested": [1, None]},
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}],
        "metadata": {"user_id": "user_ab_account_c_session_d"},
    }
    response = await gate.post(body, anthropic_version="2023-06-01", anthropic_beta="a-2025-01-01,b-2025-01-01")
    assert response.status_code == 200
    assert gate.asked == {**body, "model": "upstream-model"}
    [received] = gate.upstream.received
    assert received.path == "/v1/messages?beta=true"
    assert received.headers["anthropic-beta"] == "a-2025-01-01,b-2025-01-01"
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert OFFLINE_SECRET not in orjson.dumps(received.headers).decode()


@natively
async def test_unknown_fields_and_events_of_anthropic_reach_the_client(gate: Gate) -> None:
    answer = {**gate.upstream.dialect.answer(Scenario()), "container": {"id": "c"}, "brand_new": [1]}
    frames = gate.upstream.dialect.frames(Scenario())
    frames.insert(2, b'event: brand_new\ndata: {"type": "brand_new", "x": 1.0}\n\n')
    gate.upstream.play(Scenario(raw_body=orjson.dumps(answer)), Scenario(frames=tuple(frames)))
    whole = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO})
    assert whole.json() == {**answer, "model": "alias"}
    streamed = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO, "stream": True})
    assert b'event: brand_new\ndata: {"type": "brand_new", "x": 1.0}\n\n' in streamed.content
    assert collect_message(streamed.content.replace(frames[2], b""))["model"] == "alias"


@over_anthropic
async def test_a_stop_sequence_is_told(gate: Gate) -> None:
    answer = {**gate.upstream.dialect.answer(Scenario()), "stop_reason": "stop_sequence", "stop_sequence": "END"}
    frames = gate.upstream.dialect.frames(Scenario())
    end = {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}, "usage": {}}
    frames[-2] = b"event: message_delta\ndata: " + orjson.dumps(end) + b"\n\n"
    gate.upstream.play(Scenario(raw_body=orjson.dumps(answer)), Scenario(frames=tuple(frames)))
    asked: Any = {"model": "alias", "max_tokens": 100, "messages": HELLO, "stop_sequences": ["END"]}
    whole = await gate.sdk.messages.create(**asked)
    streamed = collect_message((await gate.post({**asked, "stream": True})).content)
    assert (whole.stop_reason, whole.stop_sequence) == ("stop_sequence", "END")
    assert (streamed["stop_reason"], streamed["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("gate", ["openai", "openrouter", "ollama", TRANSLATED], indirect=True)
async def test_tools_of_anthropic_are_refused_where_nobody_runs_them(gate: Gate) -> None:
    tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
    response = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO, "tools": tools})
    assert response.status_code == 400
    assert "the tool 'web_search' (web_search_20250305)" in response.json()["error"]["message"]
    assert gate.upstream.received == []
    assert await gate.settle() == []


@over_openai
async def test_what_openai_gets(gate: Gate) -> None:
    await gate.sdk.messages.create(
        model="thinker",
        max_tokens=100,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}
        ],
        system="Be brief.",
        thinking={"type": "enabled", "budget_tokens": 20_000},
        tools=[LOOK],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        extra_body={"top_k": 5, "temperature": 1},
    )
    assert gate.asked == {
        "model": "upstream-model",
        "max_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "reasoning_effort": "high",
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Look it up.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stop": ["END"],
        "user": "u-1",
        "temperature": 1,
    }


@over_openai
async def test_a_request_is_fitted_to_its_model(gate: Gate) -> None:
    await gate.sdk.messages.create(model="small-answers", max_tokens=9_000, messages=HELLO, thinking=THINKING)
    assert gate.asked["max_tokens"] == 50
    assert "reasoning_effort" not in gate.asked


@over_every_adapter
@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/messages", "/v1/messages/", "/messages?beta=true"])
async def test_every_way_to_the_endpoint(gate: Gate, path: str) -> None:
    response = await gate.post({"model": "alias", "max_tokens": 100, "messages": HELLO}, path=path)
    assert response.json()["content"] == [{"type": "text", "text": "Hello, world!"}]
    assert response.headers["request-id"] == response.headers["x-portico-request-id"]


@over_openai
async def test_either_way_to_show_the_key(gate: Gate) -> None:
    by_token = open_sdk(gate.http, api_key=None, auth_token=gate.sdk.api_key)
    message = await by_token.messages.create(
        model="alias", max_tokens=100, messages=HELLO, extra_headers={"anthropic-version": "1999-01-01"}
    )
    assert message.content[0].text == "Hello, world!"
