"""Completions of texts over chats, judged by the official SDK."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from apps.gateway.dialects.openai_completions import FILL_IN, OpenAICompletions, read_prompts
from apps.gateway.errors import ParameterInvalid, ParameterMissing
from apps.gateway.providers.base import Chunk, Completion, Usage
from tests.support.upstreams import Scenario, Upstream

CALL = SimpleNamespace(
    request_id=UUID(int=7),
    created=1,
    model="m",
    upstream_model="m",
    settled_usage=lambda: Usage(prompt_tokens=3, completion_tokens=2),
)
HELLO_CL100K = [9906, 289, 9603, 509]


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": "Once", **fields}


def write(choices: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    dialect = OpenAICompletions()
    asked = dialect.read(ask(**fields))
    return orjson.loads(dialect.write(Completion(None, {"choices": choices}, None, "stop", None), CALL, asked))


def choice(
    text: str, *, index: int = 0, logprobs: list[tuple[str, float]] = (), finish: str = "stop"
) -> dict[str, Any]:
    content = [
        {"token": token, "logprob": value, "top_logprobs": [{"token": token, "logprob": value}]}
        for token, value in logprobs
    ]
    return {
        "index": index,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
        "logprobs": {"content": content} if content else None,
    }


def test_a_prompt_is_what_the_user_says() -> None:
    [asked] = read_prompts(ask(max_tokens=5, stop=["\n"], temperature=0, n=2, user="u", seed=1))
    assert asked.request == {
        "model": "m",
        "messages": [{"role": "user", "content": "Once"}],
        "max_tokens": 5,
        "stop": ["\n"],
        "temperature": 0,
        "n": 2,
        "user": "u",
        "seed": 1,
    }


def test_a_suffix_asks_for_what_belongs_in_between() -> None:
    [asked] = read_prompts(ask(suffix=" end."))
    assert asked.request["messages"] == [
        {"role": "system", "content": FILL_IN},
        {"role": "user", "content": "Once\n[…]\n end."},
    ]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        (["a", "b"], ["a", "b"]),
        (HELLO_CL100K, ["Hello wörld"]),
        ([HELLO_CL100K, HELLO_CL100K[:1]], ["Hello wörld", "Hello"]),
    ],
)
def test_prompts_come_in_every_form(prompt: Any, texts: list[str]) -> None:
    found = read_prompts(ask(model="gpt-3.5-turbo-instruct", prompt=prompt))
    assert [asked.request["messages"][0]["content"] for asked in found] == texts
    assert [asked.options.first_index for asked in found] == list(range(len(texts)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": None}, "Send the text"),
        ({"prompt": ""}, "not empty"),
        ({"prompt": 5}, "not empty"),
        ({"prompt": []}, "1 to 20"),
        ({"prompt": ["a"] * 21}, "1 to 20"),
        ({"prompt": [[]]}, "not empty"),
        ({"prompt": [1, 2]}, "not public"),
        ({"prompt": [999_999_999], "model": "gpt-4o"}, "not of its vocabulary"),
        ({"prompt": [-1], "model": "gpt-4o"}, "not of its vocabulary"),
        ({"prompt": [255], "model": "gpt-3.5-turbo-instruct"}, "not of its vocabulary"),
        ({"n": 3, "best_of": 2}, "at least `n`"),
        ({"best_of": 2, "stream": True}, "cannot be streamed"),
        ({"logprobs": 6}, "at most 5"),
    ],
)
def test_what_cannot_be_completed_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ParameterInvalid, ParameterMissing), match=words):
        read_prompts(ask(**fields))


def test_an_answer_echoes_and_tells_logprobs_from_where_they_stand() -> None:
    answer = write([choice("upon", logprobs=[("up", -0.1), ("on", -0.2)], finish="length")], echo=True, logprobs=1)
    assert answer == {
        "id": f"cmpl-{CALL.request_id.hex}",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "text": "Onceupon",
                "index": 0,
                "logprobs": {
                    "tokens": ["up", "on"],
                    "token_logprobs": [-0.1, -0.2],
                    "top_logprobs": [{"up": -0.1}, {"on": -0.2}],
                    "text_offset": [4, 6],
                },
                "finish_reason": "length",
            }
        ],
        "usage": Usage(prompt_tokens=3, completion_tokens=2).as_openai(),
    }


def test_the_likeliest_of_several_is_kept() -> None:
    choices = [choice("bad", logprobs=[("bad", -3.0)]), choice("good", index=1, logprobs=[("good", -0.5)])]
    answer = write(choices, best_of=2)
    assert [(one["text"], one["index"], one["logprobs"]) for one in answer["choices"]] == [("good", 0, None)]


def test_without_logprobs_the_first_of_several_are_kept() -> None:
    answer = write([choice("a"), choice("b", index=1), choice("c", index=2)], best_of=3, n=2)
    assert [(one["text"], one["index"]) for one in answer["choices"]] == [("a", 0), ("b", 1)]


def test_a_stream_says_the_prompt_first_where_it_is_echoed() -> None:
    dialect = OpenAICompletions()
    writer = dialect.writer(CALL, dialect.read(ask(echo=True, stream=True, stream_options={"include_usage": True})))
    chunks = [{"delta": {"role": "assistant", "content": ""}}, {"delta": {"content": "upon"}}]
    batch = [Chunk(orjson.dumps({"choices": [{"index": 0, "finish_reason": None, **one}]})) for one in chunks]
    batch.append(Chunk(orjson.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})))
    text = (writer.write(batch) + writer.close()).decode()
    assert text.endswith("data: [DONE]\n\n")
    events = [orjson.loads(line.removeprefix("data: ")) for line in text.split("\n\n")[:-2]]
    told = [(one["text"], one["finish_reason"]) for event in events for one in event["choices"]]
    assert told == [("Once", None), ("upon", None), ("", "stop")]
    assert [event["usage"] for event in events[:-1]] == [None, None, None]
    assert events[-1]["usage"]["total_tokens"] == 5


@pytest.mark.asyncio
async def test_the_sdk_completes_a_text(sdk: AsyncOpenAI, records) -> None:
    answer = await sdk.completions.create(model="sandbox-small", prompt="[echo:good day]", echo=True)
    assert (answer.object, answer.choices[0].text) == ("text_completion", "[echo:good day]good day")
    stream = await sdk.completions.create(model="sandbox-small", prompt="[echo:good day]", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "good day"
    assert [record.endpoint for record in await records()] == ["completions", "completions"]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_stream", [False, True])
async def test_every_prompt_is_a_call_of_its_own(http, secret: str, records, is_stream: bool) -> None:
    body = {"model": "sandbox-small", "prompt": ["[echo:one]", "[echo:two and three]"], "stream": is_stream}
    answer = await http.post("/v1/completions", json=body, headers={"authorization": f"Bearer {secret}"})
    assert b'"text":"two and three","index":1' in answer.content
    first, second = await records()
    assert (first.id != second.id, first.cost_micros > 0, second.cost_micros > 0) == (True, True, True)


@pytest.mark.asyncio
async def test_a_failure_is_told_in_the_clients_words(sdk: AsyncOpenAI, upstream: Upstream, runtime) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(status=400, error_message="No.", error_code="bad"))
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.completions.create(model="upstream-model", prompt=["a", "b"])
    assert caught.value.code == "bad"
    assert len(upstream.received) == 1
