"""Ollama's native API, both ways."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.providers.base import Target, UpstreamBroken, UpstreamRejected, Usage
from apps.gateway.providers.ollama_request import translate_chat
from tests.gateway.providers.conftest import CREDENTIAL, Bench, make_target
from tests.gateway.providers.reading import forwarded, joined_calls, payload_of
from tests.support.upstreams import OllamaDialect, Scenario, ToolCall

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def translate(model: str = "llama", **fields: Any) -> dict[str, Any]:
    target = Target("acme", "ollama", "http://localhost:11434", "", model)
    return translate_chat({"messages": [USER], **fields}, target)


class TestRequest:
    def test_the_smallest(self) -> None:
        assert translate() == {"model": "llama", "messages": [USER]}

    def test_options(self) -> None:
        body = translate(
            max_tokens=5, temperature=0.5, top_p=0.9, top_k=40, seed=1, stop="END", presence_penalty=1, options={"x": 1}
        )

        assert body["options"] == {
            "num_predict": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "seed": 1,
            "presence_penalty": 1,
            "stop": ["END"],
            "x": 1,
        }

    def test_the_newer_limit_wins(self) -> None:
        assert translate(max_tokens=5, max_completion_tokens=7, stop=["a"])["options"] == {
            "num_predict": 7,
            "stop": ["a"],
        }

    def test_images_stand_beside_the_text(self) -> None:
        parts = [
            {"type": "text", "text": "What"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            {"type": "text", "text": "is it?"},
        ]

        message = translate(messages=[{"role": "user", "content": parts}])["messages"][0]

        assert message == {"role": "user", "content": "What\nis it?", "images": ["QUJD"]}

    def test_arguments_too_deep_for_the_request_stay_a_text(self) -> None:
        deep = '{"a":' * 300 + "1" + "}" * 300
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": deep}}

        message = translate(messages=[{"role": "assistant", "tool_calls": [call]}])["messages"][0]

        assert message["tool_calls"] == [{"function": {"name": "f", "arguments": {"arguments": deep}}}]

    def test_tool_calls_and_results(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}}
        bad = {"id": "call_2", "type": "function", "function": {"name": "other", "arguments": "{cut"}}
        messages = [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None, "tool_calls": [call, bad], "reasoning_content": "Hm."},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "unknown", "content": "?"},
        ]

        assert translate(messages=messages, tools=[TOOL])["messages"] == [
            {"role": "system", "content": "Be brief."},
            {
                "role": "assistant",
                "content": "",
                "thinking": "Hm.",
                "tool_calls": [
                    {"function": {"name": "weather", "arguments": {"a": 1}}},
                    {"function": {"name": "other", "arguments": {"arguments": "{cut"}}},
                ],
            },
            {"role": "tool", "content": "sunny", "tool_name": "weather"},
            {"role": "tool", "content": "?"},
        ]

    @pytest.mark.parametrize(
        ("choice", "tools"),
        [
            (None, [TOOL, OTHER]),
            ("auto", [TOOL, OTHER]),
            ("none", None),
            ({"type": "function", "function": {"name": "other"}}, [OTHER]),
        ],
    )
    def test_tool_choice(self, choice: Any, tools: Any) -> None:
        assert translate(tools=[TOOL, OTHER], tool_choice=choice).get("tools") == tools

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({"type": "json_object"}, "json"),
            ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
            ({"type": "json_schema"}, "json"),
            ({"type": "text"}, None),
            (None, None),
        ],
    )
    def test_response_format(self, wanted: Any, expected: Any) -> None:
        assert translate(response_format=wanted).get("format") == expected

    @pytest.mark.parametrize(
        ("model", "effort", "think"),
        [
            ("qwen3", "none", False),
            ("qwen3", "low", True),
            ("gpt-oss:20b", "minimal", "low"),
            ("gpt-oss:20b", "medium", "medium"),
            ("gpt-oss:20b", "xhigh", "high"),
            ("gpt-oss:20b", "none", False),
        ],
    )
    def test_reasoning_effort(self, model: str, effort: str, think: Any) -> None:
        assert translate(model, reasoning_effort=effort)["think"] == think

    def test_its_own_fields_pass(self) -> None:
        body = translate(keep_alive="5m", think="low", reasoning_effort="none")

        assert (body["keep_alive"], body["think"]) == ("5m", "low")

    def test_what_has_no_counterpart_is_dropped(self) -> None:
        dropped = {"n": 2, "user": "u", "logit_bias": {}, "store": True, "stream_options": {}, "x_unknown": 1}

        assert translate(**dropped) == translate()

    @pytest.mark.parametrize(
        ("messages", "param"),
        [
            ([], "messages"),
            ("Hi", "messages"),
            (["Hi"], "messages.0.role"),
            ([{"role": "function"}], "messages.0.role"),
            ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages.0.content.0"),
            (
                [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}],
                "messages.0.content.0.image_url",
            ),
        ],
    )
    def test_what_cannot_be_said_is_rejected_by_place(self, messages: Any, param: str) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            translate(messages=messages)

        assert caught.value.param == param

    @pytest.mark.parametrize("suffix", ["", "/", "/v1"])
    async def test_the_base_url_may_have_a_version(self, ollama: Bench, suffix: str) -> None:
        ollama.target = make_target("ollama", ollama.upstream.origin, base_url=ollama.upstream.origin + suffix)

        await ollama.complete()

        assert ollama.upstream.received[-1].path == "/api/chat"

    async def test_it_needs_no_credential(self, ollama: Bench) -> None:
        ollama.target = make_target("ollama", ollama.upstream.origin, credential="")

        await ollama.complete()

        assert "authorization" not in ollama.upstream.received[-1].headers

    async def test_what_stands_before_it_may_need_one(self, ollama: Bench) -> None:
        await ollama.complete()

        assert ollama.upstream.received[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"


class TestAnswer:
    async def test_ids_are_made_up_and_differ(self, ollama: Bench) -> None:
        first, second = payload_of(await ollama.complete()), payload_of(await ollama.complete())

        assert first["id"].startswith("chatcmpl-")
        assert first["id"] != second["id"]

    async def test_an_answer_without_text_is_an_empty_text(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(pieces=()))

        assert payload_of(await ollama.complete())["choices"][0]["message"]["content"] == ""

    async def test_an_answer_without_a_message_is_broken(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(raw_body=b'{"done": true}'))

        with pytest.raises(UpstreamBroken, match="without a message"):
            await ollama.complete()

    async def test_a_count_that_is_missing_is_zero(self, ollama: Bench) -> None:
        answer = OllamaDialect().answer(Scenario())
        del answer["eval_count"]
        ollama.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        assert (await ollama.complete()).usage == Usage(11, 0)


class TestStream:
    async def test_calls_have_ids_that_differ(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(tool_calls=(ToolCall("", "f", '{"a":1}'), ToolCall("", "f", '{"a":1}'))))

        (one, *_), (two, *_) = joined_calls(await ollama.stream())

        assert one.startswith("call_")
        assert one != two

    async def test_a_last_line_without_an_end_of_line(self, ollama: Bench) -> None:
        *lines, last = OllamaDialect().frames(Scenario())
        ollama.upstream.play(Scenario(frames=(*lines, last.rstrip())))

        assert (await ollama.stream())[-1].usage == Usage(11, 5)

    async def test_empty_lines_are_skipped(self, ollama: Bench) -> None:
        frames = [frame + b"\r\n\n" for frame in OllamaDialect().frames(Scenario())]
        ollama.upstream.play(Scenario(frames=tuple(frames)))

        assert "".join(chunk.text for chunk in await ollama.stream()) == "Hello, world!"

    async def test_a_line_that_is_no_object_is_broken(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(frames=(b"3\n",)))

        with pytest.raises(UpstreamBroken, match="not an object"):
            await ollama.stream()

    async def test_length(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(finish_reason="length"))

        assert [chunk.finish_reason for chunk in await ollama.stream()][-2:] == ["length", None]

    async def test_a_line_that_never_ends_is_broken(self, ollama: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.gateway.providers.ollama_stream.MAX_LINE_BYTES", 100)
        ollama.upstream.play(Scenario(pieces=("x" * 200,)))

        with pytest.raises(UpstreamBroken, match="more than 100 bytes"):
            await ollama.stream()

    async def test_usage_is_in_openais_words(self, ollama: Bench) -> None:
        usage = forwarded(await ollama.stream())[-1]["usage"]

        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (11, 5, 16)

    @pytest.mark.parametrize(("options", "said"), [({}, set()), ({"include_usage": True}, {None})])
    async def test_other_chunks_speak_of_usage_only_when_asked(
        self, ollama: Bench, options: dict[str, bool], said: set[None]
    ) -> None:
        *others, last = forwarded(await ollama.stream(stream_options=options))

        assert {payload["usage"] for payload in others if "usage" in payload} == said
        assert last["usage"]["total_tokens"] == 16


class TestEmbeddings:
    async def test_request(self, ollama: Bench) -> None:
        ollama.upstream.play(Scenario(vectors=((1.0,),)))

        await ollama.embed(input="a", dimensions=1, user="u")

        assert ollama.asked == {"model": "upstream-model", "input": ["a"], "dimensions": 1}

    async def test_base64(self, ollama: Bench) -> None:
        completion = await ollama.embed(input=["a", "b"], encoding_format="base64")

        assert completion.payload is not None
        vectors = [struct.unpack("<2f", base64.b64decode(one["embedding"])) for one in completion.payload["data"]]
        assert vectors == [(0.5, 0.5), (1.0, 0.0)]

    @pytest.mark.parametrize(
        ("value", "texts"), [([15339, 1917], ["hello world"]), ([[15339], [1917]], ["hello", " world"])]
    )
    async def test_tokens_become_texts(self, ollama: Bench, value: Any, texts: list[str]) -> None:
        ollama.upstream.play(Scenario(vectors=((1.0, 0.0),) * len(texts)))

        await ollama.embed(input=value)

        assert ollama.asked["input"] == texts

    @pytest.mark.parametrize("value", [[1.5], [[True]], [-1], [1, "a"], [], None, 3])
    async def test_only_texts_and_tokens(self, ollama: Bench, value: Any) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            await ollama.embed(input=value)

        assert caught.value.param == "input"
        assert ollama.upstream.received == []

    async def test_a_vector_too_few_is_broken(self, ollama: Bench) -> None:
        with pytest.raises(UpstreamBroken, match="for every input"):
            await ollama.embed(input=["a", "b", "c"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "function", "name", "text", "id", "arguments", "url", "image_url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = ["messages", "tools", "tool_choice", "response_format", "reasoning_effort", "stop", "max_tokens", "options"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5), st.lists(json_values, max_size=3))
def test_whatever_a_stranger_sends_is_translated_or_rejected(request: dict[str, Any], parts: list[Any]) -> None:
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "tool_calls": parts},
        {"role": "tool", "tool_call_id": parts},
    ]

    try:
        body = translate(**{"messages": messages, **request})
    except UpstreamRejected as error:
        body = {"model": "llama", "rejected": error.message}

    assert orjson.loads(orjson.dumps(body))["model"] == "llama"
