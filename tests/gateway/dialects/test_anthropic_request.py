"""Requests in Anthropic's format, as the canonical form has them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apps.gateway.dialects.anthropic.request import BILLING_LINE, end_user_of, fit_request
from apps.gateway.providers.anthropic_origin import ORIGIN
from tests.gateway.dialects.anthropic_reading import MARK, read, read_turns

TOOL = {"name": "look", "description": "Look it up.", "input_schema": {"properties": {"q": {"type": "string"}}}}


def test_the_smallest_request() -> None:
    asked = read("Hi")
    assert asked.request == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100,
        ORIGIN: True,
    }
    assert asked.native == {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    assert asked.native_only == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 0.9, "top_k": 5}, {"top_p": 0.9, "top_k": 5}),
        ({"stream": True}, {"stream": True}),
        ({"stream": False}, {}),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u-1"}}, {"user": "u-1"}),
        ({"metadata": {"user_id": None}}, {}),
        ({"metadata": {"tags": ["a", "b"]}}, {"metadata": {"tags": ["a", "b"]}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"cache_control": MARK}, {"cache_control": MARK}),
        ({"context_management": {"edits": []}, "speed": "fast", "brand_new": 1}, {}),
        ({"tools": [], "tool_choice": {"type": "auto"}}, {}),
        ({"fallbacks": ["a", "b"], "disable_fallbacks": True}, {"fallbacks": ["a", "b"], "disable_fallbacks": True}),
        ({"fallbacks": [{"model": "claude-sonnet-5"}]}, {}),
        ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "reasoning_effort": "low"},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 10_000}},
            {"thinking": {"type": "enabled", "budget_tokens": 10_000}, "reasoning_effort": "medium"},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 31_999}},
            {"thinking": {"type": "enabled", "budget_tokens": 31_999}, "reasoning_effort": "high"},
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            {
                "thinking": {"type": "adaptive"},
                "output_config": {"effort": "max"},
                "reasoning_effort": "high",
            },
        ),
        ({"output_config": {"effort": "unheard of"}}, {}),
    ],
)
def test_fields(given: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = read("Hi", **given)
    plain = {"model", "messages", "max_tokens", ORIGIN}
    assert {name: value for name, value in asked.request.items() if name not in plain} == expected


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("Be brief.", "Be brief."),
        ([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}], "One.\n\nTwo."),
        (
            [{"type": "text", "text": "One.", "cache_control": MARK}, {"type": "text", "text": "Two."}],
            [{"type": "text", "text": "One.", "cache_control": MARK}, {"type": "text", "text": "Two."}],
        ),
        ([{"type": "text", "text": f"{BILLING_LINE} cc_version=2;"}, {"type": "text", "text": "One."}], "One."),
    ],
)
def test_the_system_prompt_comes_first(system: Any, expected: Any) -> None:
    messages = read("Hi", system=system).request["messages"]
    assert messages == [{"role": "system", "content": expected}, {"role": "user", "content": "Hi"}]


def test_an_empty_system_prompt_is_none() -> None:
    assert read("Hi", system="").request["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_system_message_keeps_its_place() -> None:
    turns = read_turns(("user", "Hi"), ("system", [{"type": "text", "text": "Now be brief."}]))
    assert turns == [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Now be brief."}]


def test_tags_do_not_reach_anthropic() -> None:
    asked = read("Hi", metadata={"user_id": "u", "tags": "a,b"})
    assert asked.native is not None
    assert asked.native["metadata"] == {"user_id": "u"}


def test_tools() -> None:
    asked = read("Hi", tools=[{**TOOL, "cache_control": MARK, "type": "custom", "defer_loading": True}])
    assert asked.request["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Look it up.",
                "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
            },
            "cache_control": MARK,
        }
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
        (None, {}),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    request = read("Hi", tools=[TOOL], tool_choice=choice).request
    assert {name: request[name] for name in ("tool_choice", "parallel_tool_calls") if name in request} == expected


CLOSED = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}, False),
        ({**CLOSED, "properties": {"q": {"type": "array", "items": {"type": "object", "properties": {}}}}}, False),
        ({**CLOSED, "properties": {"q": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
    ],
    ids=["closed", "optional", "open", "open-inside", "closed-inside"],
)
def test_strictness_only_where_openais_rules_are_kept(schema: dict[str, Any], *, is_strict: bool) -> None:
    request = read(
        "Hi",
        tools=[{"name": "look", "input_schema": schema, "strict": True}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    ).request
    assert ("strict" in request["tools"][0]["function"]) is is_strict
    expected = {"name": "answer", "schema": schema, **({"strict": True} if is_strict else {})}
    assert request["response_format"] == {"type": "json_schema", "json_schema": expected}


def test_the_older_name_of_the_format() -> None:
    request = read("Hi", output_format={"type": "json_schema", "schema": CLOSED}).request
    assert request["response_format"]["json_schema"]["schema"] == CLOSED


def test_long_names_of_tools_are_shortened_alike_everywhere_and_remembered() -> None:
    name = "mcp__a_server_with_a_long_name__" + "x" * 60
    use = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    asked = read(
        "x",
        messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [use]}],
        tools=[{"name": name, "input_schema": {}}],
        tool_choice={"type": "tool", "name": name},
    )
    short = asked.request["tools"][0]["function"]["name"]
    assert len(short) == 64
    assert asked.request["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert asked.request["tool_choice"]["function"]["name"] == short
    assert asked.options.names == {short: name}
    assert asked.native is not None
    assert asked.native["tools"][0]["name"] == name


@pytest.mark.parametrize(
    ("fields", "block", "what"),
    [
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            None,
            "the tool 'web_search' (web_search_20250305)",
        ),
        ({"tools": [{"type": "mcp_toolset"}]}, None, "the tool 'mcp_toolset' (mcp_toolset)"),
        ({"mcp_servers": [{"type": "url", "name": "x"}]}, None, "`mcp_servers`"),
        ({}, {"type": "container_upload", "file_id": "f"}, "content of type 'container_upload'"),
        (
            {},
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            "an image from a source of type 'file'",
        ),
        (
            {},
            {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
            "a document from a source of type 'url'",
        ),
    ],
)
def test_what_only_anthropic_understands_is_named(
    fields: dict[str, Any], block: dict[str, Any] | None, what: str
) -> None:
    blocks = [{"type": "text", "text": "Hi"}, *([block] if block else [])]
    asked = read(*blocks, **fields)
    assert asked.native_only == (
        f"Only Anthropic itself understands {what}, and this call cannot go there as it is. "
        "Leave that out, or choose a Claude model whose provider is of the kind anthropic."
    )
    assert "tools" not in asked.request
    assert asked.request["messages"][0]["content"].startswith("Hi")


@pytest.mark.parametrize(
    ("thinking", "shows"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
    ],
)
def test_thinking_is_shown_to_those_who_asked(thinking: dict[str, Any] | None, *, shows: bool) -> None:
    assert read("Hi", thinking=thinking).options.shows_thinking is shows


@pytest.mark.parametrize(
    ("user_id", "person"),
    [
        ("u-1", "u-1"),
        ("user_ab12_account_c-3_session_d-4", "user_ab12_account_c-3"),
        (orjson.dumps({"device_id": "d", "account_uuid": "a", "session_id": "s"}).decode(), "a"),
        (orjson.dumps({"device_id": "d", "account_uuid": "", "session_id": "s"}).decode(), "d"),
        ("{broken", "{broken"),
        ("{}", "{}"),
    ],
)
def test_a_session_is_no_person(user_id: str, person: str) -> None:
    assert end_user_of(user_id) == person


@pytest.mark.parametrize(
    ("limit", "can_reason", "expected"),
    [
        (None, True, {"max_tokens": 32_000, "reasoning_effort": "high"}),
        (16_384, True, {"max_tokens": 16_384, "reasoning_effort": "high"}),
        (64_000, False, {"max_tokens": 32_000}),
    ],
)
def test_a_request_is_fitted_to_its_model(limit: int | None, expected: dict[str, Any], *, can_reason: bool) -> None:
    request = {"max_tokens": 32_000, "reasoning_effort": "high"}
    fit_request(request, max_output_tokens=limit, can_reason=can_reason)
    assert request == expected
