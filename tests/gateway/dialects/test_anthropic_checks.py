"""What is wrong with a request in Anthropic's format is told by the name of its field."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import AppError
from apps.gateway.dialects.anthropic.checks import check_message_request
from apps.gateway.dialects.anthropic.request import read_request
from apps.gateway.errors import ParameterInvalid, ParameterMissing


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **fields}


def turn(content: Any, role: Any = "user") -> dict[str, Any]:
    return body(messages=[{"role": role, "content": content}])


WRONG: list[tuple[dict[str, Any], type[AppError], str]] = [
    (body(model=None), ParameterMissing, "model"),
    (body(model=""), ParameterMissing, "model"),
    (body(model=1), ParameterInvalid, "model"),
    (body(max_tokens=None), ParameterMissing, "max_tokens"),
    (body(max_tokens=0), ParameterInvalid, "max_tokens"),
    (body(max_tokens=True), ParameterInvalid, "max_tokens"),
    (body(max_tokens="9"), ParameterInvalid, "max_tokens"),
    (body(messages=None), ParameterMissing, "messages"),
    (body(messages=[]), ParameterInvalid, "messages"),
    (body(messages="Hi"), ParameterInvalid, "messages"),
    (body(messages=["Hi"]), ParameterInvalid, "messages.0"),
    (turn("Hi", role=None), ParameterMissing, "messages.0.role"),
    (turn("Hi", role="tool"), ParameterInvalid, "messages.0.role"),
    (turn("Hi", role=["user"]), ParameterInvalid, "messages.0.role"),
    (turn(None), ParameterMissing, "messages.0.content"),
    (turn(5), ParameterInvalid, "messages.0.content"),
    (turn(["Hi"]), ParameterInvalid, "messages.0.content.0"),
    (turn([{"text": "Hi"}]), ParameterMissing, "messages.0.content.0.type"),
    (turn([{"type": 5}]), ParameterMissing, "messages.0.content.0.type"),
    (turn([{"type": "text"}]), ParameterMissing, "messages.0.content.0.text"),
    (turn([{"type": "text", "text": 5}]), ParameterInvalid, "messages.0.content.0.text"),
    (turn([{"type": "image"}]), ParameterMissing, "messages.0.content.0.source.type"),
    (turn([{"type": "image", "source": {"type": "url"}}]), ParameterMissing, "messages.0.content.0.source.url"),
    (turn([{"type": "tool_result", "content": "x"}]), ParameterMissing, "messages.0.content.0.tool_use_id"),
    (
        turn([{"type": "tool_result", "tool_use_id": "t", "content": 5}]),
        ParameterInvalid,
        "messages.0.content.0.content",
    ),
    (turn([{"type": "search_result"}]), ParameterInvalid, "messages.0.content.0.content"),
    (
        turn([{"type": "tool_use", "id": "t", "name": "n", "input": []}], role="assistant"),
        ParameterInvalid,
        "messages.0.content.0.input",
    ),
    (turn([{"type": "tool_use", "name": "n"}], role="assistant"), ParameterMissing, "messages.0.content.0.id"),
    (body(system=5), ParameterInvalid, "system"),
    (body(system=[{"type": "image"}]), ParameterInvalid, "system.0.text"),
    (body(stream="yes"), ParameterInvalid, "stream"),
    (body(temperature="hot"), ParameterInvalid, "temperature"),
    (body(top_k=-1), ParameterInvalid, "top_k"),
    (body(stop_sequences="END"), ParameterInvalid, "stop_sequences"),
    (body(metadata="u"), ParameterInvalid, "metadata"),
    (body(metadata={"user_id": 5}), ParameterInvalid, "metadata.user_id"),
    (body(thinking=True), ParameterInvalid, "thinking"),
    (body(thinking={}), ParameterMissing, "thinking.type"),
    (body(output_config="high"), ParameterInvalid, "output_config"),
    (body(tools={}), ParameterInvalid, "tools"),
    (body(tools=["look"]), ParameterInvalid, "tools.0"),
    (body(tools=[{"type": 5}]), ParameterInvalid, "tools.0.type"),
    (body(tools=[{"input_schema": {}}]), ParameterMissing, "tools.0.name"),
    (body(tools=[{"name": "look"}]), ParameterMissing, "tools.0.input_schema"),
    (body(tool_choice="auto"), ParameterInvalid, "tool_choice"),
    (body(tool_choice={"type": "tool"}), ParameterMissing, "tool_choice.name"),
]


@pytest.mark.parametrize(("given", "error", "param"), WRONG, ids=[f"{at}-{row[2]}" for at, row in enumerate(WRONG)])
def test_what_is_wrong_is_named(given: dict[str, Any], error: type[AppError], param: str) -> None:
    with pytest.raises(error) as caught:
        _read_checked(given)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")


def _read_checked(given: dict[str, Any]) -> None:
    check_message_request(given)
    read_request(given)
