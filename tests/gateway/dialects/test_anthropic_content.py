"""Turns of content blocks in Anthropic's format, as the canonical form has them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apps.gateway.providers.anthropic_origin import UNSIGNED
from tests.gateway.dialects.anthropic_reading import MARK, read, read_turns

PIXEL = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"type": "text", "text": "Hi", "cache_control": MARK},
            [{"type": "text", "text": "Hi", "cache_control": MARK}],
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}],
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
            [{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}],
        ),
        (
            {
                "type": "document",
                "title": "Report.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
            },
            [
                {
                    "type": "file",
                    "file": {"filename": "Report.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
                }
            ],
        ),
        (
            {
                "type": "document",
                "title": "Note",
                "source": {"type": "text", "media_type": "text/plain", "data": "abc"},
            },
            "Note\n\nabc",
        ),
        ({"type": "document", "source": {"type": "content", "content": "abc"}}, "abc"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "abc"}]}},
            "abc",
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "https://a.example",
                "content": [{"type": "text", "text": "found"}],
            },
            "T\nhttps://a.example\nfound",
        ),
    ],
    ids=["marked", "image", "image-url", "pdf", "plain", "content-text", "content-blocks", "search-result"],
)
def test_blocks_of_a_user(block: dict[str, Any], expected: Any) -> None:
    assert read(block).request["messages"] == [{"role": "user", "content": expected}]


def test_an_empty_text_is_left_out() -> None:
    assert read({"type": "text", "text": ""}, {"type": "text", "text": "Hi"}).request["messages"] == [
        {"role": "user", "content": "Hi"}
    ]


def test_tool_calls_and_their_results() -> None:
    turns = read_turns(
        ("user", "Weather?"),
        (
            "assistant",
            [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"q": "x"}},
                {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain", "cache_control": MARK},
                {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True, "content": "no such place"},
                {"type": "text", "text": "Go on."},
            ],
        ),
    )
    assert turns[1] == {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"q":"x"}'}},
            {"id": "toolu_2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        ],
    }
    assert turns[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "rain", "cache_control": MARK},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no such place"},
        {"role": "user", "content": "Go on."},
    ]


def test_images_of_a_result_follow_in_the_users_message() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "shot"}, image]}
    assert read(result).request["messages"] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "shot"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Beside the result of tool call toolu_1:"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
    ]


def test_a_result_without_content_and_one_that_names_tools() -> None:
    reference = {"type": "tool_reference", "tool_name": "grep"}
    asked = read(
        {"type": "tool_result", "tool_use_id": "toolu_1"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [reference]},
    )
    assert [message["content"] for message in asked.request["messages"]] == ["", "Tool: grep"]


def test_signed_thoughts_stay_whole_and_unsigned_ones_become_reasoning() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    unsigned = {"type": "thinking", "thinking": "so", "signature": UNSIGNED}
    answer = {"type": "text", "text": "Yes."}
    turns = read_turns(("user", "Hi"), ("assistant", [signed, hidden, unsigned, answer]))
    assert turns[1] == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "so",
        "thinking_blocks": [signed, hidden],
    }


def test_no_claude_gets_thoughts_back_that_none_has_signed() -> None:
    unsigned = {"type": "thinking", "thinking": "so", "signature": UNSIGNED}
    answer = {"type": "text", "text": "Yes."}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [unsigned, answer]},
        {"role": "assistant", "content": "And so on."},
    ]
    asked = read("x", messages=messages)
    assert asked.native is not None
    assert asked.native["messages"] == [
        messages[0],
        {"role": "assistant", "content": [answer]},
        messages[2],
    ]
    assert messages[1]["content"] == [unsigned, answer]


def test_an_assistant_who_only_thought_said_nothing() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    assert read_turns(("user", "Hi"), ("assistant", [thought])) == [{"role": "user", "content": "Hi"}]


def test_what_foreign_blocks_say_can_be_read_by_guardrails() -> None:
    found = {"type": "web_search_result", "title": "Carts", "url": "https://a.example", "encrypted_content": "c2Vj"}
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found, 5, None]}
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "fast carts"}}
    turns = read_turns(("user", "Hi"), ("assistant", [use, block]))
    assert turns[1] == {"role": "assistant", "content": "web_search\nfast carts\n\nCarts\nhttps://a.example"}


@pytest.mark.parametrize("kind", ["text", "base64"])
def test_the_context_of_a_document_stands_beside_it(kind: str) -> None:
    source = {"type": kind, "media_type": "x/y", "data": "abc"}
    [message] = read({"type": "document", "context": "From the archive.", "source": source}).request["messages"]
    assert "From the archive." in orjson.dumps(message).decode()
