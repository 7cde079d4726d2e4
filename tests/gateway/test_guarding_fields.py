"""Every text of requests, answers and events is reached; marks that overlap; lengths and topics of whole answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apps.gateway.choices import GuardDirection, GuardMode
from apps.gateway.errors import ContentBlocked
from apps.gateway.guards.rules import Rules
from apps.gateway.providers.base import Chunk, Usage
from apps.gateway.selectors.guardrails import compile_terms
from apps.gateway.services.guarding.chunks import get_text, put_text, text_fields, without_texts
from apps.gateway.services.guarding.filtering import TextFilter
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.places import answer_places, request_places
from apps.gateway.services.guarding.trying import try_policies
from apps.gateway.services.guarding.verdicts import Findings, Mark, merge_marks
from tests.gateway.guards.policies import make_policy
from tests.gateway.test_guarding import WRITER, chat, completion, counts, read

MAIL = "ada@example.com"
MASKING = make_policy(input={"pii": "mask"})


def test_every_text_of_a_request_has_a_place() -> None:
    request = {
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}, {"content": [{"text": "c"}]}, "d", 1],
                "tool_calls": [{"custom": {"input": "e"}}, {"function": {"arguments": "f"}}, "x"],
                "function_call": {"arguments": "g"},
                "thinking_blocks": [{"thinking": "h"}, {"data": "x"}],
                "audio": {"transcript": "i"},
            },
            "no message",
            {"role": 7, "content": "j"},
            {"role": "assistant", "content": ""},
        ],
        "system": [{"type": "text", "text": "k"}],
        "prediction": {"type": "content", "content": "l"},
        "instructions": "m",
        "tools": [{"type": "function", "function": {"name": "f", "description": "n", "parameters": {"description": "", "type": "object", "properties": {"name": {"type": "string", "enum": ["o", 1]}}}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"description": "p"}}},
        "user": "q",
        "metadata": {"case": "r", "name": ""},
    }  # fmt: skip

    assert sorted(place.text for place in request_places(request)) == list("abcdefghijklmnopqr")


@pytest.mark.parametrize(
    "fields",
    [
        {"user": MAIL},
        {"metadata": {"who": MAIL}},
        {"messages": [{"role": "user", "content": "hi", "name": MAIL}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": f"Ask {MAIL}."}}]},
        {"functions": [{"name": "f", "parameters": {"properties": {"to": {"type": "string", "const": MAIL}}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"description": MAIL}}}},
    ],
    ids=["user", "metadata", "name", "tool", "function", "format"],
)
async def test_no_field_beside_the_words_carries_a_mail_to_a_provider(fields: dict[str, Any]) -> None:
    screen = await read({**chat("hi"), **fields}, MASKING)
    assert MAIL not in orjson.dumps(screen.request).decode()
    assert "[EMAIL_1]" in orjson.dumps(screen.request).decode()


@pytest.mark.parametrize("arguments", ['{"to": "ada\\u0040example.com"}', '{"\\u0061da@example\\u002ecom": 1}'])
async def test_escapes_hide_nothing_in_arguments(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    screen = await read({"messages": [{"role": "assistant", "tool_calls": [call]}]}, MASKING)
    sent = screen.request["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert MAIL not in str(orjson.loads(sent))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("{\\u0040", "{@"),
        (r'{"a": "\u0022\u005c\n\\u0040\/"}', '{"a": ""\\\n\\u0040/"}'),
        (r'{"a": "\ud83d\ude00 \ud83d \ud83d\n\ude00"}', '{"a": "\U0001f600 \ufffd \ufffd\n\ufffd"}'),
        (r'{"a": "\x \u12g4 \y', r'{"a": "\x \u12g4 \y'),
        (r'{"a": "ada@b", "a": "\u0041"}', r'{"a": "ada@b", "a": "A"}'),
        ("\\", "\\"),
    ],
    ids=["no JSON", "signs", "pairs", "no escapes", "a name twice", "the end"],
)
def test_arguments_are_read_as_what_they_say(arguments: str, shown: str) -> None:
    request = {"messages": [{"role": "assistant", "function_call": {"arguments": arguments}}]}
    [place] = request_places(request)
    assert (place.text, place.source) == (shown, arguments)


def test_answers_of_texts_have_places_too() -> None:
    assert [place.text for place in answer_places({"choices": [{"text": "a"}, {"message": None}, 3]})] == ["a"]


DELTAS: list[tuple[dict[str, Any], str]] = [
    ({"content": "x"}, "content"),
    ({"function_call": {"name": "f", "arguments": "x"}}, "function_call"),
    ({"audio": {"id": "a", "transcript": "x"}}, "transcript"),
    ({"tool_calls": [{"index": 2, "id": "c", "function": {"name": "f", "arguments": "x"}}]}, "arguments"),
    ({"tool_calls": [{"index": 2, "id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]}, "custom"),
]


@pytest.mark.parametrize(("delta", "name"), DELTAS, ids=[name for _, name in DELTAS])
def test_every_text_of_an_event_is_read_written_and_left_out(delta: dict[str, Any], name: str) -> None:
    [(found, index)] = text_fields(delta)
    rest = without_texts(delta)
    put_text(delta, name, index, "y")

    assert found == name
    assert get_text(delta, name, index) == "y"
    assert text_fields(rest) == []
    put_text(delta, name, index, "z", is_rest=True)
    assert get_text(delta, name, index) == "z"
    assert b'"f"' not in orjson.dumps(delta)


def test_nothing_is_left_of_a_delta_that_is_all_text() -> None:
    assert without_texts({"function_call": {"arguments": "x"}, "tool_calls": [{"function": {"arguments": "x"}}]}) == {}


async def test_legacy_calls_and_transcripts_are_masked_on_the_way() -> None:
    screen = await read(chat("hi"), make_policy(output={"pii": "mask"}))
    deltas = [{"function_call": {"arguments": f'{{"to":"{MAIL}"}}'}}, {"audio": {"transcript": f"{MAIL} "}}]
    events = [
        Chunk(orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}), other_text="x")
        for delta in deltas
    ]

    sent = screen.filter([*events, Chunk(b"", usage=Usage(1, 1)), Chunk(orjson.dumps({"id": "x", "choices": []}))])
    sent += screen.flush()

    assert b"ada" not in b"".join(chunk.data for chunk in sent)
    assert Usage(1, 1) in [chunk.usage for chunk in sent]


def test_marks_that_overlap_are_one_under_the_longest_name() -> None:
    def mark(start: int, end: int, kind: str) -> Mark:
        return Mark(start, end, "pii", kind, GuardMode.MASK)

    assert merge_marks([mark(5, 9, "b"), mark(0, 8, "a"), mark(1, 2, "c"), mark(20, 21, "d")]) == [
        mark(0, 9, "a"),
        mark(20, 21, "d"),
    ]


async def test_moderation_masks_the_words_themselves() -> None:
    screen = await read(chat("Well, I will kill you now"), make_policy(input={"moderation": "mask"}))

    content = screen.request["messages"][0]["content"]
    assert content.startswith("Well, [")
    assert "kill" not in content


async def test_a_category_is_counted_once_in_a_stream_however_often_its_words_come() -> None:
    screen = await read(chat("hi"), make_policy(output={"moderation": "log"}))

    sent = [
        screen.filter([WRITER.write_text(text)]) for text in ("I will kill you now. ", "x" * 2000, " I will kill you.")
    ]

    assert b"".join(chunk.data for batch in [*sent, screen.flush()] for chunk in batch).count(b"kill") == 2
    assert set(counts(screen).values()) == {1}


def test_a_trial_says_whether_a_text_is_too_long() -> None:
    terms = compile_terms([make_policy(input={"lengths": "block"}, max_prompt_characters=5)])

    fits = try_policies(terms, "12345", direction=GuardDirection.INPUT)
    too_long = try_policies(terms, "123456", direction=GuardDirection.INPUT)

    assert (fits.findings, fits.text, fits.refusal) == ([], "12345", "")
    assert [found.kind for found, _ in too_long.findings] == ["prompt_too_long"]
    assert (too_long.text, "prompt_too_long" in too_long.refusal) == ("", True)


async def test_whole_answers_have_lengths_and_topics() -> None:
    for policy in (
        make_policy(output={"lengths": "block"}, max_answer_characters=3),
        make_policy(output={"topics": "block"}, topics_deny='"casino" in words'),
    ):
        screen = await read(chat("hi"), policy)
        with pytest.raises(ContentBlocked):
            await screen.filter_completion(completion(content="A casino"))


async def test_an_answer_nobody_looks_at_goes_through() -> None:
    screen = await read(chat("hi"), make_policy(input={"pii": "mask"}))
    answer = completion(content=MAIL)

    assert await screen.filter_completion(answer) is answer
    assert screen.filter([]) == []
    assert screen.flush() == []
    assert screen.fingerprint == "f"
    screen.note()
    assert counts(screen) == {}


def test_a_long_stream_forgets_what_it_has_let_go() -> None:
    text_filter = TextFilter(
        rules=Rules([make_policy(output={"pii": "mask"})], GuardDirection.OUTPUT), findings=Findings(), vault=Vault()
    )

    released = "".join(text_filter.feed(f"sentence {number} is fine. ").text for number in range(200))

    assert released == "".join(f"sentence {number} is fine. " for number in range(200))
    assert text_filter.pending == 0
    assert len(text_filter._raw) < 1_200


def test_a_placeholder_is_not_torn_where_another_find_may_begin_in_it() -> None:
    vault = Vault()
    vault.put("word", "falcon", around="", is_reversible=True)
    rules = Rules([make_policy(output={"own": "mask"}, own_words=("WORD_1] and more",))], GuardDirection.OUTPUT)
    text_filter = TextFilter(rules=rules, findings=Findings(), vault=vault)

    first = text_filter.feed("The [WORD_1] and").text
    second = text_filter.feed(" so on.").text

    assert first + second == "The falcon and so on."
