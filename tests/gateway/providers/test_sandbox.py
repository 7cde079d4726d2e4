"""The sandbox keeps the port's promises, and every order a prompt gives it."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
import time
from contextlib import aclosing
from operator import mul
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.http import HttpSession
from apps.gateway.providers.base import (
    Chunk,
    Completion,
    Target,
    UpstreamBroken,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
)
from apps.gateway.providers.registry import get_provider
from apps.gateway.providers.sandbox_answer import build_answer, split_tokens
from apps.gateway.providers.sandbox_prompt import DEFAULT_PACE_SECONDS, parse_directives
from apps.gateway.providers.schema_sample import build_sample
from tests.gateway.providers.reading import deltas, forwarded, joined_calls, payload_of

TARGET = Target("play", "sandbox", "", "", "sandbox-small", read_timeout_seconds=0.05)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "time"}}


def ask(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"[slow:0] {prompt}"}], **fields}


async def complete(session: HttpSession, prompt: str, **fields: Any) -> Completion:
    return await get_provider("sandbox").complete(
        session=session, target=TARGET, request=ask(prompt, **fields), request_id="request-1"
    )


async def stream(session: HttpSession, prompt: str, into: list[Chunk], **fields: Any) -> list[Chunk]:
    batches = get_provider("sandbox").stream(
        session=session, target=TARGET, request=ask(prompt, **fields), request_id="request-1"
    )
    async with aclosing(batches):
        async for batch in batches:
            into.extend(batch)
    return into


def text_of(completion: Completion) -> str:
    text: str = payload_of(completion)["choices"][0]["message"]["content"]
    return text


class TestAnswer:
    async def test_it_says_what_it_is_and_repeats_the_prompt(self, session: HttpSession) -> None:
        text = text_of(await complete(session, "Why is the sky blue?"))

        assert "sandbox" in text
        assert "> Why is the sky blue?" in text
        assert "[slow" not in text

    async def test_the_same_prompt_has_the_same_answer(self, session: HttpSession) -> None:
        first, second = await complete(session, "Hello"), await complete(session, "Hello")

        assert payload_of(first) | {"created": 0} == payload_of(second) | {"created": 0}

    async def test_stream_and_answer_say_the_same(self, session: HttpSession) -> None:
        completion = await complete(session, "Hello")
        chunks = await stream(session, "Hello", [])

        assert "".join(chunk.text for chunk in chunks) == text_of(completion)
        assert chunks[-1].usage == completion.usage

    async def test_the_streams_promises(self, session: HttpSession) -> None:
        chunks = await stream(session, "Hello", [])

        payloads = forwarded(chunks)
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in payloads}) == 1
        assert [delta.get("role") for delta in deltas(chunks)] == ["assistant"] + [None] * (len(payloads) - 2)
        assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
        assert [chunk.is_usage_chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]

    async def test_usage_counts_exactly_what_is_streamed(self, session: HttpSession) -> None:
        chunks = await stream(session, "Hello", [], reasoning_effort="low")

        usage = chunks[-1].usage
        assert usage is not None
        written = [chunk for chunk in chunks if chunk.text or chunk.other_text]
        assert usage.completion_tokens == len(written)
        assert usage.reasoning_tokens == len([chunk for chunk in written if chunk.other_text])
        assert usage.prompt_tokens == len(split_tokens("[slow:0] Hello"))

    @pytest.mark.parametrize("content", [None, "", [], [{"type": "image_url"}]])
    async def test_nothing_to_repeat(self, session: HttpSession, content: Any) -> None:
        request = {"messages": [{"role": "user", "content": content}]}

        completion = await get_provider("sandbox").complete(
            session=session, target=TARGET, request=request, request_id="r"
        )

        assert "nothing that I could repeat" in text_of(completion)
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == 1

    async def test_long_prompts_are_shortened(self, session: HttpSession) -> None:
        assert "> " + "x" * 200 + "…" in text_of(await complete(session, "x" * 1000))

    async def test_limits_and_stops(self, session: HttpSession) -> None:
        limited = await complete(session, "[echo:one two three four]", max_tokens=2)
        stopped = await complete(session, "[echo:one two three four]", stop=[" three"])

        assert (text_of(limited), limited.finish_reason) == ("one two", "length")
        assert (text_of(stopped), stopped.finish_reason) == ("one two", "stop")
        assert limited.usage is not None
        assert limited.usage.completion_tokens == 2

    async def test_reasoning(self, session: HttpSession) -> None:
        message = payload_of(await complete(session, "Hi", reasoning_effort="high"))["choices"][0]["message"]
        without = payload_of(await complete(session, "Hi", reasoning_effort="none"))["choices"][0]["message"]

        assert "does not think" in message["reasoning_content"]
        assert "reasoning_content" not in without

    async def test_its_models(self, session: HttpSession) -> None:
        names = await get_provider("sandbox").list_models(session=session, target=TARGET)

        assert names == ["sandbox-small", "sandbox-large", "sandbox-embedding"]


class TestDirectives:
    async def test_echo(self, session: HttpSession) -> None:
        assert text_of(await complete(session, "Say [echo:Good **day**] please")) == "Good **day**"

    @pytest.mark.parametrize("length", [1, 400])
    async def test_long(self, session: HttpSession, length: int) -> None:
        chunks = await stream(session, f"[long:{length}]", [])

        assert len([chunk for chunk in chunks if chunk.text]) == length
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == length

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (429, UpstreamRateLimited),
            (500, UpstreamUnavailable),
            (400, UpstreamRejected),
            (401, UpstreamUnauthenticated),
            (504, UpstreamTimedOut),
        ],
    )
    async def test_fail(self, session: HttpSession, status: int, kind: type[UpstreamError]) -> None:
        chunks: list[Chunk] = []

        with pytest.raises(kind):
            await complete(session, f"[fail:{status}]")
        with pytest.raises(kind) as caught:
            await stream(session, f"[fail:{status}]", chunks)

        assert chunks == []
        assert caught.value.upstream_status == status

    async def test_a_rate_limit_says_when_to_come_back(self, session: HttpSession) -> None:
        with pytest.raises(UpstreamRateLimited) as caught:
            await complete(session, "[fail:429]")

        assert caught.value.retry_after_seconds == 1

    async def test_cut(self, session: HttpSession) -> None:
        chunks: list[Chunk] = []

        with pytest.raises(UpstreamBroken):
            await stream(session, "[cut:3] [echo:one two three four five]", chunks)

        assert "".join(chunk.text for chunk in chunks) == "one two three"
        assert [chunk for chunk in chunks if chunk.finish_reason or chunk.usage] == []

    async def test_cut_after_the_end_leaves_out_the_end(self, session: HttpSession) -> None:
        chunks: list[Chunk] = []

        with pytest.raises(UpstreamBroken):
            await stream(session, "[cut:99] [echo:one]", chunks)

        assert "".join(chunk.text for chunk in chunks) == "one"

    async def test_cut_breaks_an_answer_in_one_piece(self, session: HttpSession) -> None:
        with pytest.raises(UpstreamBroken):
            await complete(session, "[cut:3]")

    async def test_stall_waits(self, session: HttpSession) -> None:
        began = time.monotonic()

        await complete(session, "[stall:0.02]")

        assert time.monotonic() - began >= 0.02

    async def test_stall_past_the_timeout_times_out(self, session: HttpSession) -> None:
        began = time.monotonic()

        with pytest.raises(UpstreamTimedOut):
            await complete(session, "[stall:60]")

        assert time.monotonic() - began < 30

    async def test_slow_paces_the_stream(self, session: HttpSession) -> None:
        began = time.monotonic()
        request = {"messages": [{"role": "user", "content": "[slow:10] [echo:one two three four]"}]}
        batches = get_provider("sandbox").stream(session=session, target=TARGET, request=request, request_id="r")

        count = len([batch async for batch in batches])

        assert count == 6
        assert time.monotonic() - began >= 0.04

    async def test_closing_ends_it(self, session: HttpSession) -> None:
        request = {"messages": [{"role": "user", "content": "[slow:0] [long:100000]"}]}
        batches = get_provider("sandbox").stream(session=session, target=TARGET, request=request, request_id="r")
        async with aclosing(batches):
            await anext(batches)

        with pytest.raises(StopAsyncIteration):
            await anext(batches)

    async def test_two_streams_take_turns(self, session: HttpSession) -> None:
        order: list[str] = []

        async def read(name: str) -> None:
            batches = get_provider("sandbox").stream(
                session=session, target=TARGET, request=ask("[echo:one two three]"), request_id=name
            )
            async for _ in batches:
                order.append(name)

        await asyncio.gather(read("a"), read("b"))

        assert order[:4] == ["a", "b", "a", "b"]

    def test_brackets_that_are_no_directives_stay(self) -> None:
        found = parse_directives("[1] [x:2] [tool: {] [fail:abc] [tool:f {cut] and [tool:g 3]")

        assert found.text == "[1] [x:2] [tool: {] [fail:abc] [tool:f {cut] and [tool:g 3]"
        assert found.tools == []
        assert found.fail_status is None

    def test_all_together(self) -> None:
        found = parse_directives('a [stall:1.5] b [slow:20][cut:7] [tool:f {"x":["]"]}] [tool:g] c')

        assert found.text.split() == ["a", "b", "c"]
        assert found.tools == [("f", {"x": ["]"]}), ("g", {})]
        assert (found.stall_seconds, found.pace_seconds, found.cut_after) == (1.5, 0.02, 7)

    def test_numbers_have_limits(self) -> None:
        found = parse_directives("[stall:99999] [slow:999999] [long:99999999]")

        assert (found.stall_seconds, found.pace_seconds, found.length) == (600, 10, 100_000)

    def test_without_any_the_pace_is_small(self) -> None:
        assert parse_directives("Hi").pace_seconds == DEFAULT_PACE_SECONDS < 0.01


class TestTools:
    PROMPT = '[tool:weather {"city":"Bern"}]'

    async def test_a_tool_that_is_offered_is_called(self, session: HttpSession) -> None:
        completion = await complete(session, self.PROMPT, tools=[TOOL])

        choice = payload_of(completion)["choices"][0]
        assert choice["message"]["content"] is None
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Bern"}'}

    async def test_it_is_streamed_in_fragments(self, session: HttpSession) -> None:
        chunks = await stream(session, f"{self.PROMPT} [tool:time]", [], tools=[TOOL, OTHER])

        assert [(name, arguments) for _, name, arguments in joined_calls(chunks)] == [
            ("weather", {"city": "Bern"}),
            ("time", {}),
        ]
        assert len([delta for delta in deltas(chunks) if "tool_calls" in delta]) == 6

    @pytest.mark.parametrize("fields", [{}, {"tools": [OTHER]}, {"tools": [TOOL], "tool_choice": "none"}])
    async def test_any_other_is_not(self, session: HttpSession, fields: dict[str, Any]) -> None:
        assert (await complete(session, self.PROMPT, **fields)).finish_reason == "stop"

    @pytest.mark.parametrize(
        ("prompt", "arguments"), [("Hi", {"city": "sandbox"}), (PROMPT, {"city": "Bern"})], ids=["made up", "given"]
    )
    @pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
    async def test_a_forced_call(
        self, session: HttpSession, prompt: str, arguments: dict[str, Any], choice: Any
    ) -> None:
        chunks = await stream(session, prompt, [], tools=[TOOL, OTHER], tool_choice=choice)

        assert [call[1:] for call in joined_calls(chunks)] == [("weather", arguments)]

    async def test_one_at_a_time(self, session: HttpSession) -> None:
        chunks = await stream(session, "[tool:time] [tool:weather]", [], tools=[TOOL, OTHER], parallel_tool_calls=False)

        assert [name for _, name, _ in joined_calls(chunks)] == ["time"]

    async def test_after_the_result_it_answers(self, session: HttpSession) -> None:
        request = ask(self.PROMPT, tools=[TOOL])
        request["messages"] += [
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"},
        ]

        completion = await get_provider("sandbox").complete(
            session=session, target=TARGET, request=request, request_id="r"
        )

        assert completion.finish_reason == "stop"
        assert "> sunny" in text_of(completion)


SCHEMAS: list[dict[str, Any]] = [
    PARAMETERS,
    {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {"enum": ["x", "y"]}}},
    {"type": "array", "items": {"type": "integer", "minimum": 3}, "minItems": 2},
    {"type": "array", "items": {"type": "string"}},
    {"type": ["null", "string"], "minLength": 30},
    {"type": "string", "maxLength": 3},
    {"type": "null"},
    {"type": "boolean"},
    {"const": {"a": 1}},
    {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 7},
    {"type": "integer", "maximum": -4, "multipleOf": 3},
    {"type": "integer", "exclusiveMaximum": 0},
    {"type": "number", "minimum": 0.5, "maximum": 0.75},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.1},
    {"type": "number", "maximum": -2.5},
    {"type": "number", "exclusiveMaximum": -2.5},
    {
        "type": "object",
        "required": ["next"],
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    },
    {"oneOf": [{"type": "string"}, {"type": "null"}]},
    {"allOf": [{"required": ["a"], "properties": {"a": {"type": "integer"}}}, {"required": ["b"]}], "type": "object"},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "object", "required": ["x"], "properties": {"x": {}}}}},
    *({"type": "string", "format": name} for name in ("date-time", "date", "email", "uuid", "ipv4", "ipv6", "uri")),
    {},
]


class TestFormat:
    @pytest.mark.parametrize("schema", SCHEMAS, ids=str)
    def test_a_sample_is_valid(self, schema: dict[str, Any]) -> None:
        checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

        assert list(checker.iter_errors(build_sample(schema))) == []

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "array", "minItems": 10**9},
            {"type": "string", "minLength": 10**9},
            {"type": "array", "minItems": 100, "items": {"$ref": "#"}},
            {"type": "object", "required": 5},
            {"type": "integer", "minimum": "x"},
        ],
        ids=str,
    )
    def test_bombs_and_nonsense_are_refused(self, schema: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="JSON schema"):
            build_sample(schema)

    async def test_json_schema(self, session: HttpSession) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS}}

        text = text_of(await complete(session, "Hi", response_format=wanted))

        assert orjson.loads(text) == {"city": "sandbox"}

    async def test_json_object(self, session: HttpSession) -> None:
        text = text_of(await complete(session, "Hi", response_format={"type": "json_object"}))

        assert orjson.loads(text) == {"answer": "sandbox: Hi"}

    async def test_a_bad_schema_is_the_clients_fault(self, session: HttpSession) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": 5}}}

        with pytest.raises(UpstreamRejected) as caught:
            await complete(session, "Hi", response_format=wanted)

        assert caught.value.param == "response_format"


class TestEmbeddings:
    @staticmethod
    async def embed(session: HttpSession, **fields: Any) -> Completion:
        return await get_provider("sandbox").embed(session=session, target=TARGET, request=fields, request_id="r")

    @staticmethod
    def vectors(completion: Completion) -> list[list[float]]:
        assert completion.payload is not None
        return [item["embedding"] for item in completion.payload["data"]]

    async def test_unit_vectors_that_depend_on_the_text_only(self, session: HttpSession) -> None:
        texts = ["a red car", "a red cat", "", "完全"]

        one = self.vectors(await self.embed(session, input=texts))
        two = self.vectors(await self.embed(session, input=texts))

        assert one == two
        assert [len(vector) for vector in one] == [256] * 4
        assert [math.isclose(math.hypot(*vector), 1) for vector in one] == [True] * 4
        assert len({tuple(vector) for vector in one}) == 4

    async def test_texts_that_share_words_are_near(self, session: HttpSession) -> None:
        query, near, far = self.vectors(
            await self.embed(session, input=["the red car", "a car that is red", "quarterly tax report"])
        )

        assert sum(map(mul, query, near)) > sum(map(mul, query, far)) + 0.2

    @pytest.mark.parametrize("dimensions", [1, 1536])
    async def test_dimensions(self, session: HttpSession, dimensions: int) -> None:
        assert len(self.vectors(await self.embed(session, input="a", dimensions=dimensions))[0]) == dimensions

    async def test_base64(self, session: HttpSession) -> None:
        plain = self.vectors(await self.embed(session, input="a", dimensions=3))[0]
        packed: Any = self.vectors(await self.embed(session, input="a", dimensions=3, encoding_format="base64"))[0]

        assert struct.unpack("<3f", base64.b64decode(packed)) == pytest.approx(plain)

    async def test_tokens(self, session: HttpSession) -> None:
        one = await self.embed(session, input=[1, 2, 3])
        two = await self.embed(session, input=[[1, 2, 3], [4]])

        assert len(self.vectors(one)) == 1
        assert self.vectors(one)[0] == self.vectors(two)[0]
        assert one.usage is not None
        assert one.usage.prompt_tokens == 3

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({}, "input"),
            ({"input": []}, "input"),
            ({"input": [1, "a"]}, "input"),
            ({"input": [None]}, "input"),
            ({"input": "a", "dimensions": 5000}, "dimensions"),
            ({"input": "a", "dimensions": "x"}, "dimensions"),
        ],
    )
    async def test_what_it_refuses(self, session: HttpSession, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            await self.embed(session, **fields)

        assert caught.value.param == param


@settings(deadline=None)
@given(st.text(max_size=200))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "function", "name", "text", "json_schema", "schema", "required"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = ["messages", "tools", "tool_choice", "response_format", "reasoning_effort", "stop", "max_tokens"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
def test_whatever_a_stranger_sends_is_answered_or_rejected(request: dict[str, Any]) -> None:
    try:
        finish_reason = build_answer(request).finish_reason
    except UpstreamRejected:
        finish_reason = "rejected"

    assert finish_reason in ("stop", "length", "tool_calls", "rejected")
