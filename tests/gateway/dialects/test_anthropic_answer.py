"""Completions as messages, and failures in Anthropic's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import time_machine

from apps.core.errors import AppError
from apps.gateway.dialects.anthropic import AnthropicMessages
from apps.gateway.dialects.anthropic.request import Options
from apps.gateway.dialects.base import Asked
from apps.gateway.providers.anthropic_origin import UNSIGNED
from apps.gateway.providers.base import Completion, UpstreamRejected, Usage
from tests.gateway.dialects.anthropic_events import Answered

DIALECT = AnthropicMessages()

DEEP = '{"a":' * 300 + "1" + "}" * 300


def write(
    message: dict[str, Any],
    reason: str = "stop",
    options: Options | None = None,
    usage: Usage | None = None,
    **choice: Any,
) -> dict[str, Any]:
    payload = {"choices": [{"index": 0, "message": message, "finish_reason": reason, **choice}]}
    completion = Completion(None, payload, Usage(11, 5), reason, None)
    call = Answered(usage=usage or Usage(11, 5))
    written: dict[str, Any] = orjson.loads(DIALECT.write(completion, call, Asked({}, options=options or Options())))
    return written


def test_a_text() -> None:
    assert write({"role": "assistant", "content": "Hello"}) == {
        "id": "msg_0191b3a6000070008000000000000001",
        "type": "message",
        "role": "assistant",
        "model": "asked-model",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 11,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 5,
        },
    }


def test_the_bytes_of_another_format_are_read() -> None:
    body = orjson.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "length"}]})
    completion = Completion(body, None, Usage(1, 1), "length", None)
    written = orjson.loads(DIALECT.write(completion, Answered(), Asked({}, options=Options())))
    assert (written["content"], written["stop_reason"]) == ([{"type": "text", "text": "Hello"}], "max_tokens")


def test_thoughts_text_and_calls_in_this_order() -> None:
    function = {"name": "short", "arguments": '{"q":"x"}'}
    message = {
        "content": "I look.",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    options = Options(shows_thinking=True, names={"short": "the_long_name"})
    written = write(message, "tool_calls", options)
    assert written["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": UNSIGNED},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "the_long_name", "input": {"q": "x"}},
    ]
    assert written["stop_reason"] == "tool_use"


def test_thoughts_are_kept_from_those_who_did_not_ask_unless_they_are_signed() -> None:
    signed = {"index": 0, "type": "thinking", "thinking": "hm", "signature": "c2ln"}
    assert write({"content": None, "reasoning_content": "hm"})["content"] == []
    assert write({"content": None, "reasoning_content": "hm", "thinking_blocks": [signed]})["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        (None, {}),
        ("{}", {}),
        ("{broken", {"arguments": "{broken"}),
        ("[1]", {"arguments": [1]}),
        (DEEP, {"arguments": DEEP}),
    ],
)
def test_the_input_of_a_tool_is_always_an_object(arguments: Any, expected: Any) -> None:
    message = {"content": None, "tool_calls": [{"id": "c", "function": {"name": "n", "arguments": arguments}}]}
    assert write(message)["content"][0]["input"] == expected


def test_a_refusal() -> None:
    written = write({"content": None, "refusal": "I cannot."})
    assert written["content"] == [{"type": "text", "text": "I cannot."}]
    assert written["stop_reason"] == "refusal"
    assert written["stop_details"] == {"type": "refusal", "category": None, "explanation": "I cannot."}


def test_a_stop_sequence_where_the_server_tells() -> None:
    written = write({"content": "a"}, options=Options(stop_sequences=("END",)), stop_reason="END")
    assert (written["stop_reason"], written["stop_sequence"]) == ("stop_sequence", "END")


def test_cached_tokens_are_counted_beside_the_others() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=7, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=2)
    assert write({"content": "a"}, usage=usage)["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2},
    }


def test_what_stays_in_the_cache_for_an_hour_is_told_apart() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=7, cache_write_tokens=30, cache_write_1h_tokens=20)
    assert write({"content": "a"}, usage=usage)["usage"]["cache_creation"] == {
        "ephemeral_5m_input_tokens": 10,
        "ephemeral_1h_input_tokens": 20,
    }


@pytest.mark.parametrize(("asked", "model"), [("upstream-model", "upstream-model-2025"), ("alias", "alias")])
def test_a_native_answer_passes_but_for_the_models_name(asked: str, model: str) -> None:
    body = b'{"id": "msg_1", "model": "upstream-model-2025", "future": [1]}'
    completion = Completion(body, None, Usage(1, 1), "stop", None, is_native=True)
    written = DIALECT.write(completion, Answered(model=asked), Asked({}, options=Options()))
    assert orjson.loads(written) == {"id": "msg_1", "model": model, "future": [1]}
    assert (written == body) is (asked == "upstream-model")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_failures_have_the_type_of_their_status(status: int, kind: str) -> None:
    error = AppError("It is so.", code="house.reason", status=status)
    assert orjson.loads(DIALECT.write_error(error, "req_1")) == {
        "type": "error",
        "error": {"type": kind, "message": "It is so.", "details": {"error_code": "house.reason"}},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (UpstreamRejected("Too much.", upstream_code="context_length_exceeded"), "prompt is too long: Too much."),
        (UpstreamRejected("This model's maximum context length is 8."), "prompt is too long: This model's"),
        (UpstreamRejected("prompt is too long: 9 tokens > 8 maximum"), "prompt is too long: 9 tokens"),
        (UpstreamRejected("Something else."), "Something else."),
        (AppError("The maximum context length of ours.", status=400), "The maximum context length"),
    ],
)
def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for(error: AppError, begins: str) -> None:
    message = orjson.loads(DIALECT.write_error(error, "req_1"))["error"]["message"]
    assert message.startswith(begins)


@time_machine.travel("2026-11-21T10:00:00Z", tick=False)
def test_limits_are_told_in_both_ways() -> None:
    given = [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-other", b"1"),
    ]
    assert DIALECT.limit_headers(given) == [
        *given,
        (b"anthropic-ratelimit-requests-limit", b"60"),
        (b"anthropic-ratelimit-requests-remaining", b"59"),
        (b"anthropic-ratelimit-requests-reset", b"2026-11-21T10:00:01Z"),
        (b"anthropic-ratelimit-tokens-limit", b"1000"),
    ]


def test_when_to_try_again_is_in_the_headers() -> None:
    error = AppError("Slower.", status=429, retry_after_seconds=3, headers={"X-Should-Retry": "true"})
    assert dict(DIALECT.error_headers(error, "req_1")) == {
        b"retry-after": b"3",
        b"retry-after-ms": b"3000",
        b"x-should-retry": b"true",
    }
