"""The official OpenAI SDK, unmodified, in front of the edge with every kind of provider behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import orjson
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

from apps.gateway.edge import GatewayApplication
from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.messaging import DIALECTS, Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
CALLS = (ToolCall("call_1", "look", '{"q": "x"}'), ToolCall("call_2", "look", '{"q": "y"}'))
PARAMETERS = {
    "type": "object",
    "properties": {"q": {"type": "string"}},
    "required": ["q"],
    "additionalProperties": False,
}
LOOK: Any = {"type": "function", "name": "look", "parameters": PARAMETERS, "strict": True}
CHAT_LOOK: Any = {"type": "function", "function": {"name": "look", "parameters": PARAMETERS, "strict": True}}
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
OPENAI_KINDS = ("openai", "openrouter")


class Weather(BaseModel):
    """A form that answers are parsed into."""

    city: str
    degrees: int


JSON = Scenario(pieces=('{"city": "Ulm",', ' "degrees": 7}'))


@dataclass
class Front:
    """The SDK, and what stands behind it."""

    gate: Gate
    sdk: AsyncOpenAI


@pytest_asyncio.fixture(params=sorted(DIALECTS))
async def front(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Front]:
    """Return the SDK in front of each kind of provider."""
    async with open_front(request.param, offline, monkeypatch) as found:
        yield found


@pytest_asyncio.fixture(params=OPENAI_KINDS)
async def compatible(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Front]:
    """Return the SDK in front of the kinds that speak OpenAI's format."""
    async with open_front(request.param, offline, monkeypatch) as found:
        yield found


class open_front:
    """Put an upstream of a kind behind the SDK."""

    def __init__(self, kind: str, offline, monkeypatch) -> None:
        self._gate = open_gate(kind, offline, monkeypatch)

    async def __aenter__(self) -> Front:
        gate = await self._gate.__aenter__()
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=GatewayApplication()), base_url="http://portico"
        )
        sdk = AsyncOpenAI(base_url="http://portico/v1", api_key=OFFLINE_SECRET, http_client=self._http, max_retries=0)
        return Front(gate, sdk)

    async def __aexit__(self, *error: Any) -> None:
        await self._http.aclose()
        await self._gate.__aexit__(*error)


async def test_chats_in_one_piece_and_streamed(front: Front) -> None:
    whole = await front.sdk.chat.completions.create(model="alias", messages=HELLO)
    async with front.sdk.chat.completions.stream(
        model="alias", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        streamed = await stream.get_final_completion()
    assert whole.choices[0].message.content == streamed.choices[0].message.content == "Hello, world!"
    assert (whole.choices[0].finish_reason, streamed.choices[0].finish_reason) == ("stop", "stop")
    assert (whole.model, streamed.model) == ("alias", "alias")
    assert whole.usage is not None
    assert streamed.usage is not None
    assert whole.usage.total_tokens == streamed.usage.total_tokens == 16


async def test_chats_parse_into_forms(front: Front) -> None:
    front.gate.upstream.play(JSON)
    whole = await front.sdk.chat.completions.parse(model="alias", messages=HELLO, response_format=Weather)
    async with front.sdk.chat.completions.stream(model="alias", messages=HELLO, response_format=Weather) as stream:
        streamed = await stream.get_final_completion()
    assert whole.choices[0].message.parsed == streamed.choices[0].message.parsed == Weather(city="Ulm", degrees=7)
    assert b'"degrees"' in orjson.dumps(front.gate.asked)


async def test_chats_call_tools_in_parallel(front: Front) -> None:
    front.gate.upstream.play(Scenario(tool_calls=CALLS))
    whole = await front.sdk.chat.completions.create(model="alias", messages=HELLO, tools=[CHAT_LOOK])
    async with front.sdk.chat.completions.stream(model="alias", messages=HELLO, tools=[CHAT_LOOK]) as stream:
        streamed = await stream.get_final_completion()
    for answer in (whole, streamed):
        made = answer.choices[0].message.tool_calls or []
        assert [orjson.loads(call.function.arguments) for call in made] == [{"q": "x"}, {"q": "y"}]
        assert len({call.id for call in made}) == 2
        assert answer.choices[0].finish_reason == "tool_calls"


async def test_chats_take_pictures(front: Front) -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    answer = await front.sdk.chat.completions.create(model="alias", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "Hello, world!"
    assert PIXEL.partition(",")[2].encode() in orjson.dumps(front.gate.asked)


async def test_responses_in_one_piece_and_streamed(front: Front) -> None:
    whole = await front.sdk.responses.create(model="alias", input="Hi", instructions="Be kind.", store=False)
    async with front.sdk.responses.stream(model="alias", input="Hi", store=False) as stream:
        events = [event.type async for event in stream]
        streamed = await stream.get_final_response()
    assert whole.output_text == streamed.output_text == "Hello, world!"
    assert (whole.status, streamed.status, whole.model) == ("completed", "completed", "alias")
    assert whole.usage is not None
    assert streamed.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (11, 5)
    assert streamed.usage.total_tokens == 16
    assert (events[0], events[-1]) == ("response.created", "response.completed")


async def test_responses_parse_into_forms(front: Front) -> None:
    front.gate.upstream.play(JSON)
    whole = await front.sdk.responses.parse(model="alias", input="Hi", text_format=Weather, store=False)
    async with front.sdk.responses.stream(model="alias", input="Hi", text_format=Weather, store=False) as stream:
        streamed = await stream.get_final_response()
    assert whole.output_parsed == streamed.output_parsed == Weather(city="Ulm", degrees=7)


async def test_responses_call_tools_and_take_their_results(front: Front) -> None:
    front.gate.upstream.play(Scenario(tool_calls=CALLS))
    whole = await front.sdk.responses.create(model="alias", input="Hi", tools=[LOOK], store=False)
    async with front.sdk.responses.stream(model="alias", input="Hi", tools=[LOOK], store=False) as stream:
        streamed = await stream.get_final_response()
    for answer in (whole, streamed):
        made = [item for item in answer.output if isinstance(item, ResponseFunctionToolCall)]
        assert [(call.name, orjson.loads(call.arguments)) for call in made] == [
            ("look", {"q": "x"}),
            ("look", {"q": "y"}),
        ]
    front.gate.upstream.play(Scenario())
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "found"} for call in made]
    history: list[Any] = [{"role": "user", "content": "Hi"}, *(item.to_dict() for item in streamed.output), *results]
    last = await front.sdk.responses.create(model="alias", input=history, tools=[LOOK], store=False)
    assert last.output_text == "Hello, world!"
    assert orjson.dumps(front.gate.asked).count(b'"found"') == 2


async def test_responses_take_pictures(front: Front) -> None:
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    given: list[Any] = [{"role": "user", "content": parts}]
    answer = await front.sdk.responses.create(model="alias", input=given, store=False)
    assert answer.output_text == "Hello, world!"
    assert PIXEL.partition(",")[2].encode() in orjson.dumps(front.gate.asked)


@pytest.mark.parametrize("summary", ["auto", None])
async def test_responses_tell_thoughts(front: Front, summary: Any) -> None:
    front.gate.upstream.play(Scenario(reasoning="Let me think"))
    reasoning: Any = {"effort": "low", "summary": summary}
    whole = await front.sdk.responses.create(model="thinker", input="Hi", reasoning=reasoning, store=False)
    stream = await front.sdk.responses.create(
        model="thinker", input="Hi", reasoning=reasoning, store=False, stream=True
    )
    events = [event async for event in stream]
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    thoughts = whole.output[0].to_dict()
    told = thoughts["summary"] if summary else thoughts["content"]
    assert "".join(part["text"] for part in told) == "Let me think"
    kind = "response.reasoning_summary_text.delta" if summary else "response.reasoning_text.delta"
    assert "".join(event.delta for event in events if event.type == kind) == "Let me think"


@pytest.mark.parametrize(("reason", "shown"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
async def test_responses_that_are_cut_short_say_why(compatible: Front, reason: str, shown: str) -> None:
    compatible.gate.upstream.play(Scenario(finish_reason=reason))
    whole = await compatible.sdk.responses.create(model="alias", input="Hi", max_output_tokens=5, store=False)
    stream = await compatible.sdk.responses.create(model="alias", input="Hi", stream=True, store=False)
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    for answer in (whole, last.response):
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", shown)
        assert answer.output[-1].status == "incomplete"


async def test_completions_in_one_piece_and_streamed(front: Front) -> None:
    whole = await front.sdk.completions.create(model="alias", prompt="Once", max_tokens=10)
    stream = await front.sdk.completions.create(model="alias", prompt="Once", stream=True)
    texts = [chunk.choices[0].text async for chunk in stream if chunk.choices]
    assert whole.choices[0].text == "".join(texts) == "Hello, world!"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 16


async def test_models_are_listed_and_found(front: Front) -> None:
    names = [model.id async for model in front.sdk.models.list()]
    assert "alias" in names
    assert (await front.sdk.models.retrieve("alias")).object == "model"
    with pytest.raises(openai.NotFoundError):
        await front.sdk.models.retrieve("nothing")
    answer = await front.gate.http.head("/v1/models", headers={"authorization": f"Bearer {OFFLINE_SECRET}"})
    assert (answer.status_code, answer.content, int(answer.headers["content-length"]) > 10) == (200, b"", True)


async def test_functions_of_old_are_passed_on_or_translated(front: Front) -> None:
    function: Any = {"name": "look", "parameters": PARAMETERS}
    answer = await front.sdk.chat.completions.create(
        model="alias", messages=HELLO, functions=[function], function_call="auto"
    )
    assert answer.choices[0].message.content == "Hello, world!"


async def test_choices_and_probabilities_reach_those_who_know_them(compatible: Front) -> None:
    await compatible.sdk.chat.completions.create(
        model="alias", messages=HELLO, n=3, logprobs=True, top_logprobs=2, seed=7, parallel_tool_calls=False
    )
    asked = compatible.gate.asked
    assert (asked["n"], asked["logprobs"], asked["top_logprobs"], asked["seed"]) == (3, True, 2, 7)
    await compatible.sdk.responses.create(model="alias", input="Hi", top_logprobs=2, store=False)
    assert (compatible.gate.asked["logprobs"], compatible.gate.asked["top_logprobs"]) == (True, 2)


async def test_probabilities_come_back_with_responses(compatible: Front) -> None:
    top = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}]
    content = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": top}]
    choice = {"index": 0, "logprobs": {"content": content}, "finish_reason": "stop"}
    head = {"id": "c", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    said = {"role": "assistant", "content": "Hi"}
    body = orjson.dumps({**head, "object": "chat.completion", "choices": [{**choice, "message": said}]})
    chunk = orjson.dumps({**head, "object": "chat.completion.chunk", "choices": [{**choice, "delta": said}]})
    compatible.gate.upstream.play(
        Scenario(raw_body=body), Scenario(frames=(b"data: " + chunk + b"\n\n", b"data: [DONE]\n\n"))
    )
    whole = await compatible.sdk.responses.create(model="alias", input="Hi", top_logprobs=1, store=False)
    stream = await compatible.sdk.responses.create(model="alias", input="Hi", top_logprobs=1, store=False, stream=True)
    events = [event async for event in stream]
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [entry.token for entry in whole.output[0].content[0].logprobs] == ["Hi"]
    assert [entry.logprob for entry in deltas[0].logprobs] == [-0.1]
    assert events[-1].response.output[0].content[0].logprobs[0].top_logprobs[0].token == "Hi"


async def test_refusals_are_told_as_such(compatible: Front) -> None:
    head = {"id": "c", "created": 1, "model": "m"}
    frames = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "refusal": word}, "finish_reason": None}], **head}
        for word in ("I ", "won't.")
    ]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **head}
    data = tuple(b"data: " + orjson.dumps(frame) + b"\n\n" for frame in (*frames, end))
    compatible.gate.upstream.play(Scenario(frames=(*data, b"data: [DONE]\n\n")))
    stream = await compatible.sdk.responses.create(model="alias", input="Hi", store=False, stream=True)
    events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "response.refusal.delta"]
    assert deltas == ["I ", "won't."]
    assert [event.refusal for event in events if event.type == "response.refusal.done"] == ["I won't."]
    assert events[-1].response.output[0].content[0].to_dict() == {"type": "refusal", "refusal": "I won't."}


async def test_failures_are_the_sdks_own_errors(front: Front) -> None:
    front.gate.upstream.play(Scenario(status=429, headers={"retry-after": "7"}))
    for create in (
        lambda: front.sdk.responses.create(model="alias", input="Hi", store=False),
        lambda: front.sdk.completions.create(model="alias", prompt="Hi"),
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            await create()
        assert int(caught.value.response.headers["retry-after"]) >= 1


async def test_the_input_of_a_response_is_counted_without_a_call(front: Front) -> None:
    counted = await front.sdk.responses.input_tokens.count(model="alias", input="Hello there", instructions="Be kind.")
    assert counted.input_tokens == 16
    assert front.gate.upstream.received == []
    with pytest.raises(openai.NotFoundError):
        await front.sdk.responses.input_tokens.count(model="nothing", input="Hi")
