"""Streams of chunks as the events of a message: always in order, never nested, nothing lost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import AppError
from apps.gateway.dialects.anthropic.events import PING, MessageWriter
from apps.gateway.dialects.anthropic.request import Options
from apps.gateway.providers.anthropic_origin import UNSIGNED
from apps.gateway.providers.base import Chunk, Usage
from apps.gateway.providers.chunk_writer import ChunkWriter
from tests.gateway.dialects.anthropic_events import Answered, collect_message, read_events

CHUNKS = ChunkWriter(model="upstream-model", completion_id="chatcmpl-1", has_usage=False)


def write(*batches: list[Chunk], options: Options | None = None, call: Answered | None = None) -> bytes:
    writer = MessageWriter(call or Answered(), options or Options(shows_thinking=True))
    return b"".join(writer.write(batch) for batch in batches) + writer.close()


def delta(index: int = 0, **fields: Any) -> Chunk:
    """A chunk with a delta and nothing told of its text, as one of an unknown server."""
    return Chunk(orjson.dumps({"choices": [{"index": index, "delta": fields, "finish_reason": None}]}))


def finish(reason: str, **fields: Any) -> Chunk:
    choice = {"index": 0, "delta": {}, "finish_reason": reason, **fields}
    return Chunk(orjson.dumps({"choices": [choice]}), finish_reason=reason)


def call(index: int, name: str = "", arguments: str = "") -> Chunk:
    opening = {"id": f"call_{index}", "type": "function"} if name else {}
    function = {**({"name": name} if name else {}), "arguments": arguments}
    return delta(tool_calls=[{"index": index, **opening, "function": function}])


def test_every_event_of_a_text() -> None:
    content = write(
        [CHUNKS.write_role()],
        [CHUNKS.write_text("Hel"), CHUNKS.write_text("lo")],
        [CHUNKS.write_finish("stop"), CHUNKS.write_usage(Usage(11, 5))],
    )
    usage = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    assert read_events(content) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_0191b3a6000070008000000000000001",
                "type": "message",
                "role": "assistant",
                "model": "asked-model",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 9, "output_tokens": 0, **usage},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 11, "output_tokens": 5, **usage},
        },
        {"type": "message_stop"},
    ]


def test_the_prompt_as_the_provider_counted_it_where_it_says_so_at_once() -> None:
    known = Usage(prompt_tokens=100, completion_tokens=1, cached_tokens=60, cache_write_tokens=30)
    start = read_events(write([CHUNKS.write_role(known)], [CHUNKS.write_finish("stop")]))[0]
    assert start["message"]["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 1,
    }


def test_an_answer_without_anything() -> None:
    message = collect_message(write())
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


def test_a_prompt_is_never_said_to_be_empty() -> None:
    start = read_events(write([CHUNKS.write_role()], call=Answered(prompt_estimate=0)))[0]
    assert start["message"]["usage"]["input_tokens"] == 1


def test_thinking_then_text_then_tools() -> None:
    message = collect_message(
        write(
            [CHUNKS.write_reasoning("Let me "), CHUNKS.write_reasoning("see.")],
            [CHUNKS.write_text("I look."), CHUNKS.write_call(0, "call_1", "look")],
            [CHUNKS.write_arguments(0, '{"q":'), CHUNKS.write_arguments(0, '"x"}'), CHUNKS.write_finish("tool_calls")],
        )
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": UNSIGNED},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": '{"q":"x"}'},
    ]
    assert message["stop_reason"] == "tool_use"


def test_thoughts_are_kept_from_those_who_did_not_ask() -> None:
    chunks = [CHUNKS.write_reasoning("hm"), CHUNKS.write_text("Yes.")]
    assert collect_message(write(chunks, options=Options()))["content"] == [{"type": "text", "text": "Yes."}]


def test_claudes_signature_ends_its_thinking() -> None:
    block = {"type": "thinking", "thinking": "hm so", "signature": "c2ln"}
    chunks = [CHUNKS.write_reasoning("hm "), CHUNKS.write_reasoning("so"), CHUNKS.write_thinking_block(0, block)]
    events = read_events(write(chunks, [CHUNKS.write_text("Yes.")]))
    assert [event["delta"]["type"] for event in events if "delta" in event and "index" in event] == [
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
        "text_delta",
    ]
    assert collect_message(write(chunks))["content"] == [block]


@pytest.mark.parametrize("shows_thinking", [True, False])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "xyz"},
    ],
    ids=["empty", "whole", "redacted"],
)
def test_signed_blocks_reach_everybody_for_the_next_turn(block: dict[str, Any], *, shows_thinking: bool) -> None:
    chunks = [CHUNKS.write_thinking_block(0, block), CHUNKS.write_text("Yes.")]
    message = collect_message(write(chunks, options=Options(shows_thinking=shows_thinking)))
    assert message["content"] == [block, {"type": "text", "text": "Yes."}]


def test_parallel_calls_that_come_in_turns_are_told_one_after_the_other() -> None:
    message = collect_message(
        write(
            [call(0, "look"), call(1, "read")],
            [call(0, arguments='{"a":'), call(1, arguments='{"b":')],
            [call(0, arguments="1}"), call(1, arguments="2}"), finish("tool_calls")],
        )
    )
    assert message["content"] == [
        {"type": "tool_use", "id": "call_0", "name": "look", "input": '{"a":1}'},
        {"type": "tool_use", "id": "call_1", "name": "read", "input": '{"b":2}'},
    ]


def test_a_call_that_is_whole_makes_way_for_the_next_at_once() -> None:
    writer = MessageWriter(Answered(), Options())
    writer.write([call(0, "look", '{"a":1}')])
    events = read_events(writer.write([call(1, "read", '{"b":')]))
    assert [(event["type"], event["index"]) for event in events] == [
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
    ]


def test_text_after_an_unfinished_call_waits() -> None:
    message = collect_message(
        write([call(0, "look", "{"), delta(content="Mean"), delta(content="while."), call(0, arguments="}")])
    )
    assert [block["type"] for block in message["content"]] == ["tool_use", "text"]
    assert message["content"][1]["text"] == "Meanwhile."


def test_a_call_without_arguments_has_an_empty_object() -> None:
    message = collect_message(write([call(0, "now"), finish("tool_calls")]))
    assert message["content"] == [{"type": "tool_use", "id": "call_0", "name": "now", "input": "{}"}]


def test_tools_have_their_full_names_again() -> None:
    options = Options(names={"short": "the_long_name"})
    message = collect_message(write([call(0, "short", "{}")], options=options))
    assert message["content"][0]["name"] == "the_long_name"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([finish("stop")], ("end_turn", None)),
        ([finish("length")], ("max_tokens", None)),
        ([finish("content_filter")], ("refusal", None)),
        ([finish("stop", stop_reason="END")], ("stop_sequence", "END")),
        ([finish("stop", stop_reason="other")], ("end_turn", None)),
        ([finish("stop", stop_reason=151643)], ("end_turn", None)),
        ([call(0, "look", "{}"), finish("stop")], ("tool_use", None)),
        ([call(0, "look", "{}"), finish("length")], ("max_tokens", None)),
        ([delta(refusal="No."), finish("stop")], ("refusal", None)),
        ([finish("unheard of")], ("end_turn", None)),
        ([delta(content="x")], ("end_turn", None)),
    ],
)
def test_why_it_ended(chunks: list[Chunk], expected: tuple[str, str | None]) -> None:
    message = collect_message(write(chunks, options=Options(stop_sequences=("END",))))
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_a_refusal_is_said_and_explained() -> None:
    message = collect_message(write([delta(refusal="I can"), delta(refusal="not."), finish("stop")]))
    assert message["content"] == [{"type": "text", "text": "I cannot."}]
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "I cannot."}


def test_other_choices_and_signals_say_nothing() -> None:
    chunks = [Chunk(b"", usage=Usage(3, 1)), delta(index=1, content="other"), CHUNKS.write_text("x")]
    assert collect_message(write(chunks))["content"] == [{"type": "text", "text": "x"}]


def test_a_failure_ends_the_stream_without_a_stop() -> None:
    writer = MessageWriter(Answered(), Options())
    started = writer.write([CHUNKS.write_text("Hel")])
    events = read_events(started + writer.fail(AppError("It broke.", code="x.y", status=503)))
    assert events[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "It broke.", "details": {"error_code": "x.y"}},
        "request_id": "req_1",
    }
    assert "message_stop" not in [event["type"] for event in events]


def test_the_ping_is_an_event() -> None:
    assert read_events(PING) == [{"type": "ping"}]
    assert MessageWriter(Answered(), Options()).ping == PING


def native(kind: str, **fields: Any) -> Chunk:
    data = orjson.dumps({"type": kind, **fields})
    return Chunk(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", is_native=True)


def test_native_events_pass_but_for_the_models_name() -> None:
    brand_new = native("brand_new_event", something=[1, 2])
    start = native("message_start", message={"id": "msg_1", "model": "upstream-model", "future": True})
    content = write([native("ping"), start], [brand_new], [native("message_stop")])
    assert read_events(content) == [
        {"type": "ping"},
        {"type": "message_start", "message": {"id": "msg_1", "model": "asked-model", "future": True}},
        {"type": "brand_new_event", "something": [1, 2]},
        {"type": "message_stop"},
    ]
    assert brand_new.data in content


def test_native_events_are_the_same_bytes_under_the_same_name() -> None:
    start = native("message_start", message={"id": "msg_1", "model": "upstream-model-2025"})
    assert write([start], call=Answered(model="upstream-model")) == start.data


_calls = st.builds(
    call,
    st.integers(0, 3),
    st.sampled_from(["", "look", "read"]),
    st.sampled_from(["", "{", '{"a":1', "}", '{"a":1}', " "]),
)
_signed = st.sampled_from(
    [
        CHUNKS.write_thinking_block(0, {"type": "thinking", "thinking": "t", "signature": "c2ln"}),
        CHUNKS.write_thinking_block(0, {"type": "redacted_thinking", "data": "xyz"}),
    ]
)
_texts = st.sampled_from([CHUNKS.write_text("a"), delta(content="b"), delta(content=None), delta(refusal="c")])
_thoughts = st.sampled_from([CHUNKS.write_reasoning("d"), delta(reasoning="e")])
_ends = st.sampled_from([finish("stop"), finish("tool_calls"), CHUNKS.write_usage(Usage(3, 1)), Chunk(b"")])
_chunks = st.one_of(_calls, _signed, _texts, _thoughts, _ends)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_chunks, min_size=1, max_size=5), max_size=6), st.booleans())
def test_whatever_comes_the_events_are_in_order(batches: list[list[Chunk]], shows_thinking: bool) -> None:
    message = collect_message(write(*batches, options=Options(shows_thinking=shows_thinking)))
    said = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    assert sorted(said) == sorted(_said(batches))


def _said(batches: list[list[Chunk]]) -> str:
    deltas = [
        choice["delta"]
        for batch in batches
        for chunk in batch
        if chunk.data
        for choice in orjson.loads(chunk.data)["choices"]
    ]
    return "".join((found.get("content") or "") + (found.get("refusal") or "") for found in deltas)
