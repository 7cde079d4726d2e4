"""JSON under guardrails: escapes hide nothing, in pieces of any size, and what is masked is JSON still."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.choices import GuardDirection
from apps.gateway.errors import ContentBlocked
from apps.gateway.guards.rules import Rules
from apps.gateway.providers.base import Chunk, Usage
from apps.gateway.services.guarding.filtering import TextFilter
from apps.gateway.services.guarding.json_texts import JsonText
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.screening import Screen
from apps.gateway.services.guarding.verdicts import Findings
from tests.gateway.guards.policies import make_policy
from tests.gateway.guards.test_streams import BLOCKING, MASKING, PARTS, run
from tests.gateway.test_guarding import chat, completion, read

MAIL = "ada@example.com"
ESCAPED_MAIL = r"ada\u0040example\u002ecom"
OUTPUT = make_policy(output={"pii": "mask"})


def in_pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def escape_all(text: str) -> str:
    """Return a JSON string in which every character is an escape."""
    return '"' + "".join(f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H")) + '"'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r'{"to": "ada\u0040example.com"}', '{"to": "[EMAIL_1]"}'),
        (r'{"to": "\u0061da@example\u002Ecom, \u00e9"}', r'{"to": "[EMAIL_1], \u00e9"}'),
        (r'{"text": "hi\n4111 1111 1111 1111"}', r'{"text": "hi\n[CARD_1]"}'),
        (r'{"text": "hi\tDE89 3704 0044 0532 0130 00"}', r'{"text": "hi\t[IBAN_1]"}'),
        (r'{"text": "hi\r\nAKIAIOSFODNN7EXAMPLE"}', r'{"text": "hi\r\n[AWS_KEY_1]"}'),
        (r'{"text": "Project\nFalcon"}', '{"text": "[WORDS_1]"}'),
        (r'{"text": "\u6781\u5149\u8ba1\u5212"}', '{"text": "[WORDS_1]"}'),
        (r'{"a": "{\"password\": \"hunter2!xyz\"}"}', r'{"a": "{\"password\": \"[PASSWORD_1]\"}"}'),
        (r'{"a": "\ud83d\ude00 \u00e9\/ \" \\", "n": 4111111111111111}', r'{"a": "\ud83d\ude00 \u00e9\/ \" \\", "n": "[CARD_1]"}'),
        (r'{"text": "C:\\new\\temp \ud83d \n"}', r'{"text": "C:\\new\\temp \ud83d \n"}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_escapes_hide_nothing_and_the_rest_stays_as_it_came(text: str, wanted: str, size: int) -> None:
    assert run(MASKING, in_pieces(text, size), is_json=True)[0] == wanted


@pytest.mark.parametrize("size", [1, 4, 100])
def test_nothing_of_a_blocked_find_goes_before_the_refusal(size: int) -> None:
    text_filter = TextFilter(rules=BLOCKING, findings=Findings(), vault=Vault(), is_json=True)
    released = ""

    def read_on() -> None:
        nonlocal released
        for piece in in_pieces('{"to": ' + escape_all(f"x {MAIL} "), size):
            released += text_filter.feed(piece).text

    with pytest.raises(ContentBlocked):
        read_on()

    assert r'{"to": "\u0078\u0020'.startswith(released)


@pytest.mark.parametrize("end", ["\\", "\\u00", "\\ud83d", "\\ud83d\\ud"])
def test_an_escape_that_never_ends_goes_at_the_end(end: str) -> None:
    text_filter = TextFilter(rules=MASKING, findings=Findings(), vault=Vault(), is_json=True)

    assert text_filter.feed(f'{{"a": "!{end}').text == '{"a": "!'
    assert text_filter.flush() == (len(end), end, False)


def test_what_reaches_over_several_strings_leaves_their_form() -> None:
    rules = Rules([make_policy(output={"own": "mask"}, own_patterns={"x": r"sec.{1,30}ret"})], GuardDirection.OUTPUT)
    text = r'{"a": "b sec\"x", "n": [1, true], "c": "ret d"}'

    masked, _ = run(rules, in_pieces(text, 3), is_json=True)

    assert masked == r'{"a": "b [X_1]", "": [null, null], "": " d"}'


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(PARTS, max_size=10), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans())
def test_any_json_in_any_pieces_is_masked_as_its_words_are(parts: list[str], sizes: list[int], is_all: bool) -> None:
    said = "".join(parts)
    source = f"[{escape_all(said) if is_all else json.dumps(said)}]"
    pieces: list[str] = []
    position = 0
    while position < len(source):
        pieces.append(source[position : position + sizes[len(pieces) % len(sizes)]])
        position += len(pieces[-1])

    masked, found = run(MASKING, pieces, is_json=True)

    assert (masked, found) == run(MASKING, [source], is_json=True)
    wanted, wanted_found = run(MASKING, [f'["{said}"]'])
    assert (json.loads(masked)[0], found) == (wanted[2:-2], wanted_found)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(st.sampled_from('\\u0d83Cf"n/a{'), max_size=40), st.integers(1, 5), st.integers(0, 40))
def test_every_place_is_found_again_whatever_comes(source: str, size: int, count: int) -> None:
    text = JsonText()
    said = ""
    for piece in in_pieces(source, size):
        said += text.read(piece, len(said))
    said += text.read_rest()
    whole = JsonText()
    places = [text.locate(position) for position in range(len(said) + 1)]

    assert text.source == source
    assert whole.read(source, 0) + whole.read_rest() == said
    assert places == sorted(set(places))
    assert places[-1] == len(source)
    cut = min(count, len(said))
    text.forget(cut)
    assert [text.locate(at) + places[cut] for at in range(len(said) - cut + 1)] == places[cut:]


def test_long_arguments_are_forgotten_as_they_go() -> None:
    text_filter = TextFilter(rules=MASKING, findings=Findings(), vault=Vault(), is_json=True)
    sentence = r"Line \u00e9 is fine.\n"

    released = "".join(text_filter.feed(sentence).text for _ in range(300)) + text_filter.feed(rf'\n{MAIL}"').text

    assert released == sentence * 300 + r'\n"[EMAIL_1]""'
    assert len(text_filter._raw) < 1_200


def event(arguments: str, **call: Any) -> Chunk:
    delta = {"tool_calls": [{"index": 0, **call, "function": {"arguments": arguments}}]}
    return Chunk(orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}), other_text=arguments)


def arguments_of(chunks: list[Chunk]) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in orjson.loads(chunk.data).get("choices", ())]
    return "".join(call["function"].get("arguments", "") for delta in deltas for call in delta.get("tool_calls", ()))


@pytest.mark.parametrize("size", [1, 4, 9, 200])
async def test_streamed_calls_are_masked_through_their_escapes(size: int) -> None:
    screen = await read(chat("hi"), OUTPUT)
    source = rf'{{"to": "{ESCAPED_MAIL}", "text": "Gr\u00fc\u00dfe\n4111 1111 1111 1111"}}'
    pieces = in_pieces(source, size)

    sent = screen.filter([event(pieces[0], id="c"), *(event(piece) for piece in pieces[1:])]) + screen.flush()

    assert arguments_of(sent) == r'{"to": "[EMAIL_1]", "text": "Gr\u00fc\u00dfe\n[CARD_1]"}'
    assert orjson.loads(sent[0].data)["choices"][0]["delta"]["tool_calls"][0]["id"] == "c"


async def test_events_of_harmless_escapes_go_byte_for_byte() -> None:
    screen = await read(chat("hi"), OUTPUT)
    events = [event(piece) for piece in in_pieces(r'{"text": "Gr\u00fc\u00dfe \ud83d\ude00\n\t!"}', 4)]

    sent = screen.filter(list(events)) + screen.flush()

    assert [chunk.data for chunk in sent] == [chunk.data for chunk in events]


async def test_whole_calls_are_masked_through_their_escapes() -> None:
    screen = await read(chat("hi"), OUTPUT)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": rf'{{"to": "{ESCAPED_MAIL}\n"}}'}}

    answer = await screen.filter_completion(completion(tool_calls=[call]))

    assert answer.payload is not None
    [sent] = answer.payload["choices"][0]["message"]["tool_calls"]
    assert sent["function"]["arguments"] == r'{"to": "[EMAIL_1]\n"}'


async def screen_of_json(kind: str = "json_object", **fields: Any) -> Screen:
    return await read({**chat("hi"), "response_format": {"type": kind}}, make_policy(output={"pii": "mask"}, **fields))


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
async def test_answers_that_are_to_be_json_are_read_as_json(kind: str) -> None:
    source, wanted = rf'{{"to": "\n{ESCAPED_MAIL}", "n": 4111111111111111}}', r'{"to": "\n[EMAIL_1]", "n": "[CARD_1]"}'
    streamed, whole = await screen_of_json(kind), await screen_of_json(kind)
    events = [
        Chunk(orjson.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}), text=piece)
        for piece in in_pieces(source, 3)
    ]

    sent = streamed.filter(events) + streamed.flush()
    answer = await whole.filter_completion(completion(content=source))

    assert "".join(chunk.text for chunk in sent) == wanted
    assert answer.payload is not None
    assert answer.payload["choices"][0]["message"]["content"] == wanted


async def test_topics_of_a_streamed_json_answer_are_what_it_says() -> None:
    policy = make_policy(output={"topics": "block"}, topics_deny='"casino" in words')
    screen = await read({**chat("hi"), "response_format": {"type": "json_object"}}, policy)
    source = r'{"a": "x\ncasino"}'
    screen.filter([Chunk(orjson.dumps({"choices": [{"index": 0, "delta": {"content": source}}]}), text=source)])

    with pytest.raises(ContentBlocked):
        screen.filter([Chunk(orjson.dumps({"choices": []}), usage=Usage(1, 1), is_usage_chunk=True)])
