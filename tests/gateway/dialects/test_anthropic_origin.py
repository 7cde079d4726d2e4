"""Requests made in Anthropic's format, as servers of OpenAI's format get them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from apps.gateway.providers.anthropic_origin import ORIGIN, make_plain
from apps.gateway.providers.base import Target
from apps.gateway.providers.registry import get_provider

MARK = {"type": "ephemeral"}
MARKED = {"type": "text", "text": "Hi", "cache_control": MARK}
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}


def plain(model: str = "some-model", **fields: Any) -> dict[str, Any]:
    request = {"model": "m", "messages": [], ORIGIN: True, **fields}
    return {
        name: value for name, value in make_plain(request, model).items() if name in {*fields, "max_completion_tokens"}
    }


def test_only_openais_fields_are_left() -> None:
    request = {
        "model": "m",
        "messages": [],
        ORIGIN: True,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "cache_control": MARK,
        "metadata": {"tags": ["a"]},
        "top_k": 5,
        "reasoning_effort": "high",
    }
    assert make_plain(request, "some-model") == {"model": "m", "messages": [], "reasoning_effort": "high"}
    assert request[ORIGIN] is True


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "system", "content": [MARKED, MARKED]}, {"role": "system", "content": "Hi\n\nHi"}),
        (
            {"role": "user", "content": [MARKED, IMAGE]},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, IMAGE]},
        ),
        (
            {"role": "tool", "tool_call_id": "t", "content": "x", "cache_control": MARK},
            {"role": "tool", "tool_call_id": "t", "content": "x"},
        ),
        (
            {"role": "assistant", "content": "x", "thinking_blocks": [{}], "reasoning_content": "hm"},
            {"role": "assistant", "content": "x"},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [{}], "reasoning_content": "hm"},
            {"role": "assistant", "content": None, "tool_calls": [{}], "reasoning_content": "hm"},
        ),
    ],
    ids=["texts", "parts", "result", "thoughts", "thoughts-before-a-call"],
)
def test_messages(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert plain(messages=[message])["messages"] == [expected]


def test_openais_own_models_get_no_thoughts() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{}], "reasoning_content": "hm"}
    assert "reasoning_content" not in plain("gpt-5.1", messages=[message])["messages"][0]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama-3", {"max_tokens": 9, "temperature": 1, "stop": ["a"]}),
        ("gpt-4o", {"max_completion_tokens": 9, "temperature": 1, "stop": ["a"]}),
        ("gpt-5-mini", {"max_completion_tokens": 9}),
        ("o3", {"max_completion_tokens": 9}),
        ("openai/gpt-5", {"max_completion_tokens": 9}),
        ("gpt-oss-20b", {"max_tokens": 9, "temperature": 1, "stop": ["a"]}),
    ],
)
def test_what_openais_models_refuse_is_left_out(model: str, expected: dict[str, Any]) -> None:
    assert plain(model, max_tokens=9, temperature=1, stop=["a"]) == expected


def test_a_long_user_is_told_by_its_digest() -> None:
    assert plain(user="u" * 64)["user"] == "u" * 64
    assert plain(user="u" * 65)["user"] == hashlib.sha256(b"u" * 65).hexdigest()


@pytest.mark.parametrize(("kind", "keeps"), [("openai", False), ("openrouter", True)])
def test_cache_marks_stay_where_they_are_understood(kind: str, *, keeps: bool) -> None:
    tool = {"type": "function", "function": {"name": "look"}, "cache_control": MARK}
    request = {
        "model": "m",
        "messages": [{"role": "user", "content": [MARKED]}],
        "tools": [tool],
        ORIGIN: True,
        "top_k": 5,
    }
    target = Target("acme", kind, "http://127.0.0.1:1", "", "anthropic/claude")
    body = get_provider(kind).build_body(target=target, request=request)  # type: ignore[attr-defined]
    assert (body["messages"][0]["content"] == [MARKED]) is keeps
    assert ("cache_control" in body["tools"][0]) is keeps
    assert ("top_k" in body) is keeps
    assert ORIGIN not in body


def test_requests_of_others_are_passed_on_as_they_are() -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": [MARKED]}], "top_k": 5}
    target = Target("acme", "openai", "http://127.0.0.1:1", "", "x")
    body = get_provider("openai").build_body(target=target, request=request)  # type: ignore[attr-defined]
    assert body == {**request, "model": "x"}
