"""Chat completions and embeddings over the edge, judged by the official SDK."""

from __future__ import annotations

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from apps.core.ids import encode_id
from tests.gateway.driving import Exchange
from tests.support.upstreams import Scenario, Upstream

HELLO = [{"role": "user", "content": "[echo:good day to you]"}]
pytestmark = pytest.mark.asyncio


async def test_the_sdk_gets_an_answer_and_its_usage_is_recorded(sdk: AsyncOpenAI, key, records) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(model="sandbox-small", messages=HELLO, user="someone")
    answer = raw.parse()
    assert answer.choices[0].message.content == "good day to you"
    assert answer.choices[0].finish_reason == "stop"
    [record] = await records()
    assert raw.headers["x-portico-request-id"] == encode_id("req", record.id) == answer._request_id
    assert (record.prompt_tokens, record.completion_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert record.cost_micros == answer.usage.total_tokens
    assert raw.headers["x-portico-cost"] == f"{answer.usage.total_tokens / 1_000_000:.6f}"
    assert raw.headers["x-portico-model"] == "sandbox-small"
    assert raw.headers["x-portico-provider"] == "sandbox"
    assert raw.headers["x-portico-attempts"] == "1"
    assert float(raw.headers["x-portico-overhead-ms"]) > 0
    assert (record.api_key_id, record.user_id, record.organization_id) == (
        key[0].id,
        key[0].user_id,
        key[0].organization_id,
    )
    assert (record.status, record.is_estimated, record.is_stream, record.http_status) == ("ok", False, False, 200)
    assert (record.endpoint, record.end_user, record.attempts) == ("chat.completions", "someone", 1)


@pytest.mark.parametrize(
    ("options", "usages"), [({}, []), ({"include_usage": False}, []), ({"include_usage": True}, [None])]
)
async def test_chunks_speak_of_usage_only_to_those_who_ask(
    runtime, secret: str, options: dict[str, bool], usages: list[None]
) -> None:
    body = {"model": "sandbox-small", "messages": HELLO, "stream": True, "stream_options": options}
    answer = await Exchange("/v1/chat/completions", secret=secret, body=body).finish()
    events = answer.content.decode().removesuffix("data: [DONE]\n\n").strip().split("\n\n")
    chunks = [orjson.loads(event.removeprefix("data: ")) for event in events]
    said = [[chunk["usage"] for chunk in [chunk] if "usage" in chunk] for chunk in chunks if chunk["choices"]]
    assert said == [usages] * 6


async def test_a_stream_ends_with_usage_only_for_those_who_ask(sdk: AsyncOpenAI, records) -> None:
    plain = await sdk.chat.completions.create(model="sandbox-small", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in plain]
    asked = await sdk.chat.completions.create(
        model="sandbox-small", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    with_usage = [chunk async for chunk in asked]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "good day to you"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert with_usage[-1].choices == []
    first, second = await records()
    assert with_usage[-1].usage.completion_tokens == first.completion_tokens == second.completion_tokens == 4
    assert (first.is_stream, first.status, first.is_estimated) == (True, "ok", False)
    assert first.first_token_ms is not None


async def test_a_stream_is_server_sent_events_up_to_done(http: httpx.AsyncClient, secret: str) -> None:
    answer = await http.post(
        "/v1/chat/completions",
        json={"model": "sandbox-small", "messages": HELLO, "stream": True},
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-accel-buffering"] == "no"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    decoded = [orjson.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in decoded} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in decoded}) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in decoded] == [None] * (len(decoded) - 1) + ["stop"]


async def test_tools_are_called_through_the_sdk(sdk: AsyncOpenAI) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    asked = [{"role": "user", "content": '[tool:look_up {"word": "lens"}]'}]
    whole = await sdk.chat.completions.create(model="sandbox-small", messages=asked, tools=[tool])
    [call] = whole.choices[0].message.tool_calls
    assert (call.function.name, orjson.loads(call.function.arguments)) == ("look_up", {"word": "lens"})
    stream = await sdk.chat.completions.create(model="sandbox-small", messages=asked, tools=[tool], stream=True)
    chunks = [chunk async for chunk in stream]
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or ()]
    assert orjson.loads("".join(delta.function.arguments or "" for delta in deltas)) == {"word": "lens"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/chat/completions/"])
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_every_path_and_header_that_clients_use(
    http: httpx.AsyncClient, secret: str, path: str, header: str
) -> None:
    value = f"bearer {secret}" if header == "authorization" else secret
    answer = await http.post(path, json={"model": "sandbox-small", "messages": HELLO}, headers={header: value})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "good day to you"


async def test_embeddings_through_the_sdk(sdk: AsyncOpenAI, records) -> None:
    answer = await sdk.embeddings.create(model="sandbox-embedding", input=["one", "two"], dimensions=8)
    assert [len(row.embedding) for row in answer.data] == [8, 8]
    assert sum(value * value for value in answer.data[0].embedding) == pytest.approx(1.0, abs=1e-3)
    [record] = await records()
    assert (record.endpoint, record.prompt_tokens, record.completion_tokens) == (
        "embeddings",
        answer.usage.prompt_tokens,
        0,
    )


async def test_the_upstreams_bytes_and_unknown_fields_pass(upstream: Upstream, sdk: AsyncOpenAI, records) -> None:
    upstream.play(Scenario(raw_body=WHOLE))
    answer = await sdk.chat.completions.with_raw_response.create(
        model="upstream-model", messages=HELLO, extra_body={"field_of_tomorrow": [1, 2]}
    )
    assert answer.content == WHOLE
    assert upstream.received[0].body["field_of_tomorrow"] == [1, 2]
    assert upstream.received[0].headers["x-request-id"] == answer.headers["x-portico-request-id"]
    assert upstream.received[0].headers["authorization"] == "Bearer sk-the-operators-own-0123456789abcdef"
    [record] = await records()
    assert (record.provider, record.upstream_request_id) == ("openai", "upstream-request-1")


async def test_answers_speak_of_the_model_that_was_asked_for(upstream: Upstream, sdk: AsyncOpenAI, records) -> None:
    whole = await sdk.chat.completions.create(model="alias", messages=HELLO)
    stream = await sdk.chat.completions.create(model="alias", messages=HELLO, stream=True)
    assert whole.model == "alias"
    assert {chunk.model async for chunk in stream} == {"alias"}
    assert [received.body["model"] for received in upstream.received] == ["upstream-model"] * 2
    assert {(record.model, record.upstream_model) for record in await records()} == {("alias", "upstream-model")}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_usage_is_counted_where_the_provider_gives_none(
    upstream: Upstream, sdk: AsyncOpenAI, records, is_stream: bool
) -> None:
    upstream.play(Scenario(has_usage=False))
    options = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    answer = await sdk.chat.completions.create(model="upstream-model", messages=HELLO, **options)
    usage = [chunk async for chunk in answer][-1].usage if is_stream else answer.usage
    [record] = await records()
    assert record.is_estimated
    assert (usage.prompt_tokens, usage.completion_tokens) == (record.prompt_tokens, record.completion_tokens)
    assert record.completion_tokens == 4
    assert record.prompt_tokens > 5


async def test_models_are_listed_with_slashes_and_all(
    http: httpx.AsyncClient, sdk: AsyncOpenAI, in_database, runtime
) -> None:
    from tests.factories.gateway import DeploymentFactory

    await in_database(lambda: DeploymentFactory(model__name="meta/llama-3.3:free"))
    await runtime.catalogue.reload()
    listed = await sdk.models.list()
    assert [model.id for model in listed.data] == ["meta/llama-3.3:free", "sandbox-embedding", "sandbox-small"]
    one = await sdk.models.retrieve("meta/llama-3.3:free")
    assert (one.id, one.object, one.owned_by) == ("meta/llama-3.3:free", "model", "tests")
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.models.retrieve("no-such-model")
    assert refused.value.code == "model_not_found"


async def test_the_callers_request_id_comes_back(http: httpx.AsyncClient, secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}", "X-Request-Id": "my-own-request-1"}
    answer = await http.get("/v1/models", headers=headers)
    assert answer.headers["x-request-id"] == "my-own-request-1"
    assert answer.headers["x-portico-request-id"].startswith("req_")
    strange = await http.get("/v1/models", headers={**headers, "X-Request-Id": "no good!"})
    assert strange.headers["x-request-id"] == strange.headers["x-portico-request-id"]


WHOLE = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "upstream-model-2026-01-01",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "logprobs": None}
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
        "field_of_tomorrow": {"kept": True},
    }
)
