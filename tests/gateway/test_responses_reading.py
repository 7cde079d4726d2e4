"""Requests of responses, read into chats."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from apps.gateway.dialects.responses import OpenAIResponses, Prior, read_request
from apps.gateway.dialects.responses.items import open_thoughts, seal_thoughts
from apps.gateway.dialects.responses.objects import parse_id, response_of_item
from apps.gateway.dialects.responses.tools import decode_custom, decode_shell
from apps.gateway.errors import ParameterInvalid, ParameterMissing

FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True, "description": "d"}
CUSTOM = {"type": "custom", "name": "apply_patch", "description": "Edit files."}
SEARCH = {"type": "web_search"}
THOUGHTS = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]


def read(given: Any, **fields: Any) -> dict[str, Any]:
    return OpenAIResponses().read({"model": "m", "input": given, **fields}).request


def messages(given: Any, **fields: Any) -> list[dict[str, Any]]:
    return read(given, **fields)["messages"]


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def call(name: str = "weather", call_id: str = "c1", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def result(output: Any = "sunny", call_id: str = "c1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def chat_call(name: str = "weather", call_id: str = "c1", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_every_field_has_its_place() -> None:
    request = read(
        "hi",
        instructions="Be kind.",
        stream=True,
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=10,
        tools=[FUNCTION],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"},
        top_logprobs=2,
        service_tier="flex",
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        metadata={"a": "b"},
        store=True,
        truncation="auto",
        include=["reasoning.encrypted_content"],
        max_tool_calls=3,
    )
    function = {"name": "weather", "parameters": {"type": "object"}, "description": "d", "strict": True}
    assert request == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "service_tier": "flex",
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "max_completion_tokens": 10,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "logprobs": True,
        "top_logprobs": 2,
    }


@pytest.mark.parametrize(
    ("text", "form"),
    [({"format": {"type": "text"}}, None), ({}, None), ({"format": {"type": "json_object"}}, {"type": "json_object"})],
)
def test_forms_of_text(text: dict[str, Any], form: Any) -> None:
    assert read("hi", text=text).get("response_format") == form


def test_logprobs_may_be_asked_for_by_include_alone() -> None:
    request = read("hi", include=["message.output_text.logprobs"])
    assert (request["logprobs"], "top_logprobs" in request) == (True, False)


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        ({"type": "input_image", "image_url": "data:x", "detail": "low"},
         {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}),
        ({"type": "input_image", "image_url": "https://a/b.png"},
         {"type": "image_url", "image_url": {"url": "https://a/b.png"}}),
        ({"type": "input_file", "file_data": "data:y", "filename": "a.pdf"},
         {"type": "file", "file": {"file_data": "data:y", "filename": "a.pdf"}}),
        ({"type": "input_audio", "input_audio": {"data": "z", "format": "wav"}},
         {"type": "input_audio", "input_audio": {"data": "z", "format": "wav"}}),
    ],
)  # fmt: skip
def test_pictures_files_and_sound_become_parts(item: dict[str, Any], parts: dict[str, Any]) -> None:
    assert messages(user({"type": "input_text", "text": "see"}, item)) == user({"type": "text", "text": "see"}, parts)


def test_what_the_assistant_does_in_a_row_is_one_message() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal_thoughts(THOUGHTS)},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        call(),
        call(call_id="c2"),
        result(),
        result([{"type": "input_text", "text": "rain"}], "c2"),
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "Thanks"},
    ]
    assert messages(items) == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [chat_call(), chat_call(call_id="c2")],
            "thinking_blocks": THOUGHTS,
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "rain"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Thanks"},
    ]


def test_two_messages_of_the_assistant_in_a_row_are_one() -> None:
    items = [{"role": "user", "content": "a"}, *({"role": "assistant", "content": text} for text in ("b", "c"))]
    assert messages(items)[1:] == [{"role": "assistant", "content": "b\n\nc"}]


def test_a_picture_in_a_result_follows_it_as_a_message_of_the_user() -> None:
    picture = {"type": "input_image", "image_url": "data:x"}
    found = messages([{"role": "user", "content": "a"}, call(), result([{"type": "input_text", "text": "t"}, picture])])
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "t"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
    ]


@pytest.mark.parametrize(
    ("reasoning", "kept"),
    [
        ({"summary": [{"type": "summary_text", "text": "hm"}]}, "hm"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "ha"}]}, "ha"),
        ({"summary": [], "encrypted_content": "somebody-elses"}, None),
        ({"summary": [], "encrypted_content": "portico1:!"}, None),
    ],
)
def test_thoughts_without_a_seal_go_along_with_calls_only(reasoning: dict[str, Any], kept: str | None) -> None:
    item = {"type": "reasoning", "id": "rs_1", **reasoning}
    with_call = messages([{"role": "user", "content": "a"}, item, call(), result()])
    assert with_call[1].get("reasoning_content") == kept
    said = messages([{"role": "user", "content": "a"}, item, {"role": "assistant", "content": "b"}])
    assert said[1] == {"role": "assistant", "content": "b"}


def test_a_seal_opens_only_for_what_we_sealed() -> None:
    assert open_thoughts(seal_thoughts(THOUGHTS)) == THOUGHTS
    assert [open_thoughts(text) for text in (None, "x", "portico1:e30=", "portico1:%")] == [[], [], [], []]


def test_client_side_tools_are_functions_and_go_back_as_what_they_were() -> None:
    grammar = {**CUSTOM, "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}}
    space = {"type": "namespace", "name": "mcp", "tools": [FUNCTION, CUSTOM]}
    asked = OpenAIResponses().read({"model": "m", "input": "a", "tools": [grammar, {"type": "local_shell"}, space]})
    functions = [entry["function"] for entry in asked.request["tools"]]
    names = [function["name"] for function in functions]
    assert names == ["apply_patch", "local_shell", "mcp__weather", "mcp__apply_patch"]
    assert functions[0]["description"] == "Edit files.\n\n`input` has to match this lark grammar:\nstart: x"
    assert functions[0]["parameters"]["required"] == ["input"]
    told = [asked.options.toolbox.name_of(name) for name in (*names, "invented")]
    assert [(name.kind, name.name, name.namespace) for name in told] == [
        ("custom_tool_call", "apply_patch", None),
        ("local_shell_call", "local_shell", None),
        ("function_call", "weather", "mcp"),
        ("custom_tool_call", "apply_patch", "mcp"),
        ("function_call", "invented", None),
    ]


def test_calls_of_client_side_tools_come_back_as_functions() -> None:
    action = {"type": "exec", "command": ["ls"], "env": {}, "working_directory": "/tmp", "timeout_ms": 5}
    items = [
        {"role": "user", "content": "a"},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"},
        {"type": "local_shell_call", "call_id": "c2", "action": action},
        {"type": "function_call", "call_id": "c3", "name": "weather", "namespace": "mcp", "arguments": {"a": 1}},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
        {"type": "local_shell_call_output", "id": "c2", "output": "a.txt"},
        {"type": "function_call_output", "call_id": "c3", "output": {"b": 2}},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]
    found = messages(items)
    assert found[1]["tool_calls"] == [
        chat_call("apply_patch", "c1", '{"input":"*** Begin"}'),
        chat_call("local_shell", "c2", '{"command":["ls"],"workdir":"/tmp","timeout_ms":5}'),
        chat_call("mcp__weather", "c3", '{"a":1}'),
    ]
    assert [entry["content"] for entry in found[2:]] == ["done", "a.txt", '{"b":2}']


@pytest.mark.parametrize("choice", [None, "auto", "none", {"type": "custom", "name": "apply_patch"}])
def test_a_search_is_left_out_where_the_model_need_not_search(choice: Any) -> None:
    asked = OpenAIResponses().read({"model": "m", "input": "a", "tools": [CUSTOM, SEARCH], "tool_choice": choice})
    assert len(asked.request["tools"]) == 1
    assert asked.options.toolbox.dropped == ("web_search",)
    assert asked.options.shown["tools"] == [CUSTOM]


def test_allowed_tools_are_those_that_are_offered() -> None:
    other = {**FUNCTION, "name": "other"}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]}
    request = read("a", tools=[FUNCTION, other], tool_choice=choice)
    assert [entry["function"]["name"] for entry in request["tools"]] == ["other"]
    assert request["tool_choice"] == "required"
    nothing = read("a", tools=[FUNCTION], tool_choice={**choice, "tools": []})
    assert "tools" not in nothing


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"type": "program"}]}, "input[0].type"),
        ({"input": [{"role": "nobody", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{}]}]}, "input[0].content[0].type"),
        ({"input": user({"type": "video"})}, "input[0].content[0].type"),
        ({"input": user({"type": "input_text"})}, "input[0].content[0].text"),
        ({"input": user({"type": "input_image"})}, "input[0].content[0].image_url"),
        ({"input": user({"type": "input_image", "image_url": ""})}, "input[0].content[0].image_url"),
        ({"input": user({"type": "input_image", "file_id": "f"})}, "input[0].content[0].file_id"),
        ({"input": user({"type": "input_file", "file_id": "f"})}, "input[0].content[0].file_id"),
        ({"input": user({"type": "input_file", "file_url": "f"})}, "input[0].content[0].file_url"),
        ({"input": [call(name="")]}, "input[0].name"),
        ({"input": [{**result(), "call_id": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"input": [{"id": "msg_1"}]}, "input[0].id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True, "store": False}, "background"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a" * 65: ""}}, "metadata"),
        ({"metadata": {str(at): "" for at in range(17)}}, "metadata"),
        ({"text": "a"}, "text"),
        ({"text": {"format": "a"}}, "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort"),
        ({"include": "a"}, "include"),
        ({"truncation": "some"}, "truncation"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "none"}}, "tool_choice"),
        ({"tools": [5]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "file_search"}]}, "tools[0]"),
        ({"tools": [{"type": "mcp"}, FUNCTION]}, "tools[0]"),
        ({"tools": [SEARCH]}, "tools[0]"),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": "required"}, "tools[1]"),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": {"type": "web_search"}}, "tools[1]"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [SEARCH]}]}, "tools[0].tools[0]"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises((ParameterInvalid, ParameterMissing)) as caught:
        OpenAIResponses().read({"model": "m", "input": "a", **fields})
    assert caught.value.param == param


def test_what_came_before_stands_before_and_answers_calls_across() -> None:
    prior = Prior(items=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}, call()])
    asked = read_request({"model": "m", "input": [result()], "instructions": "new"}, prior)
    assert [message["role"] for message in asked.request["messages"]] == ["system", "user", "assistant", "tool"]
    assert asked.options.input_items == [result()]


def test_a_reference_stands_for_its_item() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}], "id": "msg_1"}
    asked = read_request({"model": "m", "input": [{"id": "msg_1"}]}, Prior(referred={"msg_1": item}))
    assert asked.request["messages"] == [{"role": "user", "content": "a"}]


def test_names_that_are_none_lead_nowhere() -> None:
    assert (parse_id("resp_x"), parse_id("")) == (None, None)
    names = ("msg_1", "", "msg_" + "g" * 36)
    assert [response_of_item(name) for name in names] == [None, None, None]


@pytest.mark.parametrize("kind", [None, 5, [], {}], ids=["none", "number", "array", "object"])
def test_a_part_of_a_result_has_a_type(kind: Any) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    with pytest.raises(ParameterMissing) as refused:
        read([call, {"type": "function_call_output", "call_id": "c", "output": [{"type": kind}]}])
    assert refused.value.param == "input[1].output[0].type"


@pytest.mark.parametrize(
    "sealed",
    ["portico1:é", "portico1:*", "portico1:gA==", "portico1:" + base64.b64encode(b"[" * 300 + b"]" * 300).decode()],
    ids=["not ascii", "not base64", "not utf-8", "too deep"],
)
def test_a_broken_seal_holds_nothing(sealed: str) -> None:
    assert open_thoughts(sealed) == []


def test_shells_and_custom_tools_take_arguments_that_are_too_deep_for_what_they_are() -> None:
    deep = '{"input":' * 300 + "1" + "}" * 300
    assert decode_custom(deep) == deep
    assert decode_shell(deep)["command"] == []
