"""OpenAI's requests in Anthropic's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from anthropic.types import MessageCreateParams
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from apps.gateway.providers.anthropic_request import JSON_INSTRUCTION, translate_request
from apps.gateway.providers.base import Target, UpstreamRejected
from apps.gateway.providers.claude_models import NEWEST, OTHER, default_max_tokens, parse_generation, thinking_budget

PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParams)
OLD, MIDDLE, NEW = "claude-haiku-4-5-20251001", "claude-opus-4-6", "claude-opus-5-5"
USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}}
PNG = "iVBORw0KGgo="
DEEP = '{"a":' * 300 + "1" + "}" * 300


def translate(model: str = NEW, **fields: Any) -> dict[str, Any]:
    """Translate a request, and see that the official SDK's types agree with the result."""
    target = Target("acme", "anthropic", "https://example.com", "", model)
    body = translate_request({"messages": [USER], **fields}, target)
    extra = {"temperature", "top_p", "top_k", "context_management", "mcp_servers"}
    known = {name: value for name, value in body.items() if name not in extra}
    _exhaust(PARAMS.validate_python(known))
    return body


def _exhaust(value: Any) -> None:
    # Lists of the SDK's types are checked while they are read.
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, Iterable) else ()
    for item in () if isinstance(value, str) else inner:
        _exhaust(item)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


class TestMessages:
    def test_system_and_developer_come_in_front_in_their_order(self) -> None:
        messages = [
            {"role": "system", "content": "One."},
            USER,
            {"role": "developer", "content": [text("Two."), text("Three.")]},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Bye"},
        ]

        body = translate(messages=messages)

        assert body["system"] == [text("One."), text("Two."), text("Three.")]
        assert body["messages"] == [
            {"role": "user", "content": [text("Hi")]},
            {"role": "assistant", "content": [text("Hello")]},
            {"role": "user", "content": [text("Bye")]},
        ]

    def test_without_system_there_is_none(self) -> None:
        assert "system" not in translate()

    def test_a_system_prompt_alone_is_said_by_the_user(self) -> None:
        body = translate(messages=[{"role": "system", "content": "Say hello."}])

        assert "system" not in body
        assert body["messages"] == [{"role": "user", "content": [text("Say hello.")]}]

    def test_results_of_parallel_calls_come_in_one_turn(self) -> None:
        calls = [
            {"id": "call:1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}},
        ]
        messages = [
            USER,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call:1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": [text("noon")]},
            {"role": "user", "content": "And?"},
        ]

        body = translate(messages=messages, tools=[TOOL])

        assert body["messages"][1]["content"] == [
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
            {"type": "tool_use", "id": "call_2", "name": "time", "input": {}},
        ]
        assert body["messages"][2:] == [
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [text("sunny")]},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": [text("noon")]},
                    text("And?"),
                ],
            }
        ]

    def test_text_and_calls_of_one_turn_keep_their_order(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        messages = [USER, {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}]

        content = translate(messages=messages, tools=[TOOL])["messages"][1]["content"]

        assert [block["type"] for block in content] == ["text", "tool_use"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("{cut", {"arguments": "{cut"}),
            ("[1]", {"arguments": [1]}),
            ({"a": 1}, {"a": 1}),
            (None, {}),
            (DEEP, {"arguments": DEEP}),
        ],
    )
    def test_arguments_that_are_no_object(self, arguments: Any, expected: Any) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        messages = [USER, {"role": "assistant", "tool_calls": [call]}]

        assert translate(messages=messages)["messages"][1]["content"][0]["input"] == expected

    def test_an_empty_tool_result(self) -> None:
        messages = [USER, {"role": "tool", "tool_call_id": "c", "content": ""}]

        assert translate(messages=messages)["messages"][0]["content"][1] == {"type": "tool_result", "tool_use_id": "c"}

    def test_images(self) -> None:
        parts = [
            text("What is it?"),
            {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image_url", "image_url": f"data:;base64,{PNG}"},
        ]

        content = translate(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]

        assert [block.get("source") for block in content] == [
            None,
            {"type": "base64", "media_type": "image/jpeg", "data": PNG},
            {"type": "url", "url": "https://example.com/a.png"},
            {"type": "base64", "media_type": "image/png", "data": PNG},
        ]

    def test_a_pdf(self) -> None:
        file = {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}

        content = translate(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}])

        source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
        assert content["messages"][0]["content"] == [{"type": "document", "source": source, "title": "a.pdf"}]

    def test_an_image_in_a_tool_result(self) -> None:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        messages = [USER, {"role": "tool", "tool_call_id": "c", "content": [image]}]

        result = translate(messages=messages)["messages"][0]["content"][1]

        assert [block["type"] for block in result["content"]] == ["image"]

    def test_empty_texts_are_left_out(self) -> None:
        messages = [{"role": "user", "content": [text(""), text("Hi")]}, {"role": "assistant", "content": ""}]

        assert translate(messages=messages)["messages"] == [{"role": "user", "content": [text("Hi")]}]

    def test_the_assistant_may_not_speak_first(self) -> None:
        messages = [{"role": "assistant", "content": "Hello"}, USER]

        assert [turn["role"] for turn in translate(messages=messages)["messages"]] == ["user", "assistant", "user"]

    def test_a_prefilled_answer_does_not_end_in_space(self) -> None:
        messages = [USER, {"role": "assistant", "content": "The answer is \n"}]

        assert translate(messages=messages)["messages"][1]["content"] == [text("The answer is")]

    def test_cache_control_is_kept(self) -> None:
        mark = {"type": "ephemeral"}
        messages = [
            {"role": "system", "content": [{**text("Long."), "cache_control": mark}]},
            {"role": "user", "content": [{**text("Hi"), "cache_control": mark}]},
        ]

        body = translate(messages=messages, tools=[{**TOOL, "cache_control": mark}])

        assert body["system"][0]["cache_control"] == mark
        assert body["messages"][0]["content"][0]["cache_control"] == mark
        assert body["tools"][0]["cache_control"] == mark

    def test_thinking_comes_back_as_it_was(self) -> None:
        block = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
        messages = [USER, {"role": "assistant", "content": "Yes", "thinking_blocks": [{"index": 0, **block}]}, USER]

        assert translate(messages=messages)["messages"][1]["content"] == [block, text("Yes")]

    @pytest.mark.parametrize(
        ("messages", "param"),
        [
            ("Hi", "messages"),
            ([], "messages"),
            (["Hi"], "messages.0"),
            ([{"role": "function", "content": "x"}], "messages.0.role"),
            ([USER, {"role": "user", "content": 3}], "messages.1.content"),
            ([{"role": "user", "content": [3]}], "messages.0.content.0"),
            ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages.0.content.0"),
            ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content.0.image_url"),
            (
                [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}],
                "messages.0.content.0.image_url",
            ),
            ([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}], "messages.0.content.0.file"),
            ([USER, {"role": "assistant", "tool_calls": [{"id": "c"}]}], "messages.1.tool_calls.0"),
        ],
    )
    def test_what_cannot_be_said_is_rejected_by_place(self, messages: Any, param: str) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            translate(messages=messages)

        assert caught.value.param == param
        assert caught.value.status == 400


class TestTools:
    def test_functions(self) -> None:
        bare = {"type": "function", "function": {"name": "now"}}

        body = translate(tools=[TOOL, bare])

        assert body["tools"] == [
            {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA},
            {"name": "now", "input_schema": {"type": "object"}},
        ]
        assert "tool_choice" not in body

    def test_legacy_functions(self) -> None:
        assert [tool["name"] for tool in translate(functions=[TOOL["function"]])["tools"]] == ["weather"]

    def test_strict_functions_have_closed_schemas(self) -> None:
        tool = {"type": "function", "function": {**TOOL["function"], "strict": True}}

        translated = translate(tools=[tool])["tools"][0]

        assert translated["strict"] is True
        assert translated["input_schema"] == {**SCHEMA, "additionalProperties": False}

    def test_anthropics_own_tools_pass(self) -> None:
        own = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}

        assert translate(tools=[own])["tools"] == [own]

    @pytest.mark.parametrize("tool", [{"type": "custom", "custom": {"name": "x"}}, {"type": "function"}, 3, {}])
    def test_other_tools_are_rejected(self, tool: Any) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            translate(tools=[TOOL, tool])

        assert caught.value.param == "tools.1"

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            ("auto", {"type": "auto"}),
            ("none", {"type": "none"}),
            ("required", {"type": "any"}),
            ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
            (None, None),
            ("nonsense", None),
        ],
    )
    def test_choice(self, choice: Any, expected: Any) -> None:
        assert translate(tools=[TOOL], tool_choice=choice).get("tool_choice") == expected

    def test_allowed_tools(self) -> None:
        other = {"type": "function", "function": {"name": "other"}}
        allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}

        body = translate(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})

        assert [tool["name"] for tool in body["tools"]] == ["weather"]
        assert body["tool_choice"] == {"type": "any"}

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            (None, {"type": "auto", "disable_parallel_tool_use": True}),
            ("required", {"type": "any", "disable_parallel_tool_use": True}),
            ("none", {"type": "none"}),
        ],
    )
    def test_one_call_at_a_time(self, choice: Any, expected: Any) -> None:
        body = translate(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)

        assert body["tool_choice"] == expected

    @pytest.mark.parametrize("tools", [None, []])
    def test_no_tools(self, tools: Any) -> None:
        body = translate(tools=tools, tool_choice="auto", parallel_tool_calls=False)

        assert "tools" not in body
        assert "tool_choice" not in body

    def test_a_conversation_that_used_tools_still_defines_them(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        messages = [USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c"}]

        body = translate(messages=messages)

        assert body["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
        assert body["tool_choice"] == {"type": "none"}


class TestFormat:
    def test_json_schema(self) -> None:
        schema = {
            "type": "object",
            "properties": {
                "age": {"type": "integer", "minimum": 0, "maximum": 9, "description": "Years"},
                "any": {"type": "array", "items": True},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 3},
                "id": {"oneOf": [{"type": "string", "minLength": 2}, {"type": "null"}]},
            },
            "$defs": {"tag": {"type": "object", "properties": {}}},
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}

        output = translate(response_format=wanted)["output_config"]["format"]

        assert output == {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "age": {"type": "integer", "description": "Years (minimum: 0, maximum: 9)"},
                    "any": {"type": "array", "items": True},
                    "tags": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/tag"},
                        "minItems": 1,
                        "description": "(maxItems: 3)",
                    },
                    "id": {"anyOf": [{"type": "string", "description": "(minLength: 2)"}, {"type": "null"}]},
                },
                "$defs": {"tag": {"type": "object", "properties": {}, "additionalProperties": False}},
                "additionalProperties": False,
            },
        }

    def test_json_object_is_asked_for_in_words(self) -> None:
        body = translate(response_format={"type": "json_object"})

        assert body["system"] == [text(JSON_INSTRUCTION)]
        assert "output_config" not in body

    def test_text_changes_nothing(self) -> None:
        assert translate(response_format={"type": "text"}) == translate()

    def test_without_a_schema_it_is_rejected(self) -> None:
        with pytest.raises(UpstreamRejected) as caught:
            translate(response_format={"type": "json_schema"})

        assert caught.value.param == "response_format.json_schema.schema"


class TestThinking:
    @pytest.mark.parametrize(
        ("effort", "budget"), [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 12_000), ("max", 12_000)]
    )
    def test_older_models_get_a_budget_under_the_limit(self, effort: str, budget: int) -> None:
        body = translate(OLD, reasoning_effort=effort, max_tokens=16_000)

        assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
        assert "output_config" not in body

    @pytest.mark.parametrize("fields", [{"max_tokens": 1_000}, {"reasoning_effort": "none"}])
    def test_older_models_without_room_or_wish_do_not_think(self, fields: dict[str, Any]) -> None:
        assert "thinking" not in translate(OLD, **{"reasoning_effort": "high", **fields})

    @pytest.mark.parametrize("effort", ["low", "medium", "high"])
    def test_newer_models_get_an_effort(self, effort: str) -> None:
        body = translate(MIDDLE, reasoning_effort=effort)

        assert body["thinking"] == {"type": "adaptive"}
        assert body["output_config"] == {"effort": effort}

    def test_the_newest_are_asked_to_show_their_thinking(self) -> None:
        assert translate(NEW, reasoning_effort="high")["thinking"] == {"type": "adaptive", "display": "summarized"}

    @pytest.mark.parametrize(("model", "effort"), [(MIDDLE, "high"), (NEW, "xhigh")])
    def test_an_effort_the_model_does_not_know_becomes_the_next_lower(self, model: str, effort: str) -> None:
        assert translate(model, reasoning_effort="xhigh")["output_config"] == {"effort": effort}

    @pytest.mark.parametrize(("model", "config"), [(MIDDLE, None), (NEW, {"effort": "low"})])
    def test_no_effort(self, model: str, config: Any) -> None:
        body = translate(model, reasoning_effort="none")

        assert body.get("output_config") == config
        assert "thinking" not in body

    @pytest.mark.parametrize("model", [OLD, MIDDLE])
    def test_a_forced_tool_leaves_no_time_to_think(self, model: str) -> None:
        assert "thinking" not in translate(model, reasoning_effort="low", tools=[TOOL], tool_choice="required")

    @pytest.mark.parametrize(("blocks", "thinks"), [([], False), ([{"type": "thinking", "thinking": "Hm."}], True)])
    def test_with_a_budget_a_turn_that_called_tools_must_have_kept_its_thinking(
        self, blocks: list[dict[str, Any]], thinks: bool
    ) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        signed = [{**block, "signature": "c2ln"} for block in blocks]
        messages = [
            USER,
            {"role": "assistant", "tool_calls": [call], "thinking_blocks": signed},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"},
        ]

        body = translate(OLD, messages=messages, tools=[TOOL], reasoning_effort="low")

        assert ("thinking" in body) is thinks

    def test_anthropics_own_field_wins(self) -> None:
        own = {"type": "enabled", "budget_tokens": 1500}

        assert translate(OLD, thinking=own, reasoning_effort="low")["thinking"] == own

    def test_effort_and_format_share_their_place(self) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}

        config = translate(NEW, reasoning_effort="low", response_format=wanted)["output_config"]

        assert sorted(config) == ["effort", "format"]

    @pytest.mark.parametrize(("limit", "budget"), [(1_365, None), (1_366, 1_024), (100_000, 2_048)])
    def test_a_quarter_is_kept_for_the_answer(self, limit: int, budget: int | None) -> None:
        assert thinking_budget("low", limit) == budget


class TestSampling:
    @pytest.mark.parametrize(("given_", "sent"), [(0, 0), (0.7, 0.7), (1.8, 1), (-1, 0)])
    def test_temperature_is_clamped(self, given_: float, sent: float) -> None:
        assert translate(OLD, temperature=given_)["temperature"] == sent

    def test_of_temperature_and_top_p_only_one_is_sent(self) -> None:
        body = translate(OLD, temperature=0.5, top_p=0.9, top_k=40)

        assert (body["temperature"], body["top_k"]) == (0.5, 40)
        assert "top_p" not in body
        assert translate(OLD, top_p=0.9)["top_p"] == 0.9

    def test_newer_models_take_none(self) -> None:
        body = translate(NEW, temperature=0.5, top_p=0.9, top_k=40)

        assert [name for name in ("temperature", "top_p", "top_k") if name in body] == []

    def test_thinking_fixes_the_temperature(self) -> None:
        assert "temperature" not in translate(OLD, temperature=0.2, reasoning_effort="low")

    def test_servers_with_other_models_take_it(self) -> None:
        assert translate("kimi-k2", temperature=0.2)["temperature"] == 0.2


class TestOtherFields:
    @pytest.mark.parametrize(
        ("fields", "limit"),
        [
            ({}, 16_384),
            ({"max_tokens": 5}, 5),
            ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
            ({"max_tokens": None}, 16_384),
        ],
    )
    def test_max_tokens(self, fields: dict[str, Any], limit: int) -> None:
        assert translate(NEW, **fields)["max_tokens"] == limit

    def test_older_models_have_a_lower_default(self) -> None:
        assert translate(OLD)["max_tokens"] == default_max_tokens(OLD) == 4_096

    @pytest.mark.parametrize(
        ("stop", "expected"), [("END", ["END"]), (["a", "\n", " b"], ["a", " b"]), ("\n", None), ([], None), (3, None)]
    )
    def test_stop(self, stop: Any, expected: Any) -> None:
        assert translate(stop=stop).get("stop_sequences") == expected

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"user": "u1"}, {"user_id": "u1"}),
            ({"user": "u1", "safety_identifier": "s1"}, {"user_id": "s1"}),
            ({"user": "ann@example.com"}, None),
        ],
    )
    def test_user(self, fields: dict[str, Any], expected: Any) -> None:
        assert translate(**fields).get("metadata") == expected

    @pytest.mark.parametrize(
        ("tier", "expected"), [("auto", "auto"), ("default", "standard_only"), ("flex", None), (None, None)]
    )
    def test_service_tier(self, tier: Any, expected: Any) -> None:
        assert translate(service_tier=tier).get("service_tier") == expected

    def test_what_has_no_counterpart_is_dropped(self) -> None:
        dropped = {
            "n": 2,
            "seed": 1,
            "logprobs": True,
            "top_logprobs": 2,
            "logit_bias": {"1": 1},
            "presence_penalty": 1,
            "frequency_penalty": 1,
            "prediction": {"type": "content", "content": "x"},
            "store": True,
            "metadata": {"a": "b"},
            "modalities": ["text"],
            "verbosity": "low",
            "prompt_cache_key": "k",
            "stream": True,
            "stream_options": {"include_usage": True},
            "x_unknown": 1,
        }

        assert translate(**dropped) == translate()

    def test_anthropics_own_fields_pass(self) -> None:
        assert translate(container="c_1", cache_control={"type": "ephemeral"}, output_config={"effort": "max"}) == {
            **translate(),
            "container": "c_1",
            "cache_control": {"type": "ephemeral"},
            "output_config": {"effort": "max"},
        }


class TestGenerations:
    @pytest.mark.parametrize(
        ("model", "generation"),
        [
            ("claude-3-5-sonnet-20241022", (3, 5)),
            ("claude-3-opus-20240229", (3, 0)),
            ("claude-haiku-4-5", (4, 5)),
            ("claude-sonnet-4-20250514", (4, 0)),
            ("us.anthropic.claude-opus-4-6-v1:0", (4, 6)),
            ("anthropic/claude-sonnet-4.6", (4, 6)),
            ("claude-fable-5", (5, 0)),
            ("claude-mythos-preview", NEWEST),
            ("deepseek-v4", OTHER),
        ],
    )
    def test_names(self, model: str, generation: tuple[int, int]) -> None:
        assert parse_generation(model) == generation


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
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
FIELDS = [
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "thinking",
    "stop",
    "max_tokens",
    "temperature",
    "top_p",
    "service_tier",
    "user",
    "output_config",
    "parallel_tool_calls",
]
requests = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6)


@settings(deadline=None)
@given(requests, st.lists(json_values, max_size=3), st.sampled_from([OLD, MIDDLE, NEW]))
def test_whatever_a_stranger_sends_is_translated_or_rejected(
    request: dict[str, Any], parts: list[Any], model: str
) -> None:
    target = Target("acme", "anthropic", "https://example.com", "", model)
    request.setdefault("messages", [{"role": "user", "content": parts}, {"role": "assistant", "tool_calls": parts}])

    try:
        body = translate_request(request, target)
    except UpstreamRejected as error:
        body = {"model": model, "rejected": error.message}

    assert re.match(r"^\{.*\}$", orjson.dumps(body).decode(), re.DOTALL)
    assert body["model"] == model
