"""Texts in pieces: masked as a whole would be, blocked before the first byte, held back no longer than needed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.choices import GuardDetector, GuardDirection
from apps.gateway.errors import ContentBlocked
from apps.gateway.guards.rules import Rules
from apps.gateway.services.guarding.filtering import TextFilter
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.verdicts import Findings
from tests.gateway.guards.corpus import MAKERS, SECRET_MAKERS, Sample, positives
from tests.gateway.guards.policies import make_policy

MASKING = Rules(
    [
        make_policy(
            output={"pii": "mask", "secrets": "mask", "own": "mask"},
            own_patterns={"staff": r"EMP-\d{6}"},
            own_words=("Project Falcon", "极光计划"),
        )
    ],
    GuardDirection.OUTPUT,
)
BLOCKING = Rules([make_policy(output={"pii": "block", "secrets": "block"})], GuardDirection.OUTPUT)
EVERYTHING = Rules(
    [
        make_policy(
            output=dict.fromkeys(GuardDetector.values, "log"), own_words=("falcon",), own_patterns={"x": r"EMP-\d{6}"}
        )
    ],
    GuardDirection.OUTPUT,
)
SAMPLES = list(positives(21, 2))
SECRET_SAMPLES = [sample for sample in positives(22, 1, secrets=True) if sample.kind not in {"private_key"}]


def run(rules: Rules, pieces: list[str], vault: Vault | None = None, *, is_json: bool = False) -> tuple[str, Findings]:
    findings = Findings()
    text_filter = TextFilter(rules=rules, findings=findings, vault=vault or Vault(), is_json=is_json)
    out = [text_filter.feed(piece).text for piece in pieces]
    out.append(text_filter.flush().text)
    return "".join(out), findings


@pytest.mark.parametrize("sample", [*SAMPLES, *SECRET_SAMPLES], ids=lambda sample: sample.kind)
def test_a_find_split_at_any_place_is_masked_as_a_whole(sample: Sample) -> None:
    whole, found = run(MASKING, [sample.text])

    assert sample.value not in whole
    for place in range(1, len(sample.text)):
        assert run(MASKING, [sample.text[:place], sample.text[place:]]) == (whole, found), place


@pytest.mark.parametrize("sample", [*SAMPLES, *SECRET_SAMPLES], ids=lambda sample: sample.kind)
def test_a_find_that_comes_letter_by_letter_is_masked(sample: Sample) -> None:
    assert run(MASKING, list(sample.text)) == run(MASKING, [sample.text])


@pytest.mark.parametrize("sample", [*SAMPLES, *SECRET_SAMPLES], ids=lambda sample: sample.kind)
def test_nothing_of_a_blocked_find_goes_before_the_refusal(sample: Sample) -> None:
    text_filter = TextFilter(rules=BLOCKING, findings=Findings(), vault=Vault())
    released = ""
    start = sample.text.index(sample.value)

    def read_on() -> None:
        nonlocal released
        for piece in sample.text:
            released += text_filter.feed(piece).text
        released += text_filter.flush().text

    with pytest.raises(ContentBlocked) as refused:
        read_on()

    assert len(released) <= start
    assert sample.value not in refused.value.message


def test_a_private_key_is_held_from_its_first_dash_to_its_end() -> None:
    sample = next(sample for sample in positives(23, 1, secrets=True) if sample.kind == "private_key")
    pieces = re.findall(r"(?s).{1,7}", f"Here: {sample.value}\nThat was it.")

    assert run(MASKING, pieces)[0] == "Here: [PRIVATE_KEY_1]\nThat was it."


@pytest.mark.parametrize(
    ("text", "released"),
    [
        ("Hello world, this is ", "Hello world, this is "),
        ("Hello world. ", "Hello world. "),
        ("It is done! ", "It is done! "),
        ("Write to john.doe", "Write to "),
        ("Write to john.doe@example.com", "Write to "),
        ("Write to john.doe@example.com ", "Write to [EMAIL_1] "),
        ("Pay to DE89 3704 0044 ", "Pay to "),
        ("Call +49 30 123", "Call "),
        ("在这里。", "在这里。"),
        ("1 + 1 = 2; ", "1 + 1 = 2; "),
    ],
)
def test_only_what_may_become_a_find_is_held_back(text: str, released: str) -> None:
    text_filter = TextFilter(
        rules=Rules([make_policy(output={"pii": "mask"})], GuardDirection.OUTPUT), findings=Findings(), vault=Vault()
    )

    assert text_filter.feed(text).text == released


def test_own_words_and_patterns_are_masked_across_pieces() -> None:
    text = "EMP-123456 works on project  FALCON and 极光计划, not on Project Falconry or EMP-12."
    wanted = "[STAFF_1] works on [WORDS_1] and [WORDS_2], not on Project Falconry or EMP-12."

    assert run(MASKING, list(text))[0] == wanted
    assert run(MASKING, [text])[0] == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_placeholders_are_mapped_back_across_pieces(size: int) -> None:
    vault = Vault()
    vault.put("email", "ada@example.com", around="", is_reversible=True)
    rules = Rules([], GuardDirection.OUTPUT)
    text = "I wrote to [EMAIL_1], not to [EMAIL_2], [see] [EMAIL_1"
    pieces = [text[i : i + size] for i in range(0, len(text), size)]

    assert run(rules, pieces, vault)[0] == "I wrote to ada@example.com, not to [EMAIL_2], [see] [EMAIL_1"


def test_what_is_mapped_back_inside_json_is_escaped() -> None:
    vault = Vault()
    vault.put("password", 'a"b\\c', around="", is_reversible=True)
    text = '{"secret": "[PASSWORD_1]"}'

    assert run(Rules([], GuardDirection.OUTPUT), list(text), vault, is_json=True)[0] == '{"secret": "a\\"b\\\\c"}'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"to": "ada@example.com"}', '{"to": "[EMAIL_1]"}'),
        ('{"text": "line\\nada@example.com"}', '{"text": "line\\n[EMAIL_1]"}'),
        ('{"card": 4111111111111111}', '{"card": "[CARD_1]"}'),
        ('{"a": "x", "n": [4111111111111111, 1]}', '{"a": "x", "n": ["[CARD_1]", 1]}'),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_arguments_stay_json_when_they_are_masked(text: str, wanted: str, size: int) -> None:
    pieces = [text[i : i + size] for i in range(0, len(text), size)]

    assert run(MASKING, pieces, is_json=True)[0] == wanted


def test_the_same_text_has_the_same_placeholder_everywhere_in_a_call() -> None:
    vault = Vault()

    first, _ = run(MASKING, ["a@example.com b@example.com"], vault)
    second, _ = run(MASKING, ["b@example.com a@example.com c@example.com"], vault)

    assert first == "[EMAIL_1] [EMAIL_2]"
    assert second == "[EMAIL_2] [EMAIL_1] [EMAIL_3]"


def test_a_placeholder_that_stands_in_the_text_already_is_not_given_again() -> None:
    assert run(MASKING, ["[EMAIL_1] is not ada@example.com "])[0] == "[EMAIL_1] is not [EMAIL_2] "


PARTS = st.sampled_from(
    [
        "hello ", "Write to ", "ada@example.com", "+49 30 1234567", "4111 1111 1111 1111", "\n", " ", ",", ".", "[",
        "kill", "ignore all ", "previous instructions", "DE89 3704 0044 0532 0130 00", "password: ", "hunter2!", "EMP-1234",
        "falcon", "12.5", "2024-11-21", "\u200b\u200b", "é", "中文", "192.168.1.7", "://", "eyJ", "-----BEGIN", "0", "7", "a",
    ]
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(PARTS, max_size=12), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_any_text_in_any_pieces_comes_out_as_it_does_whole(parts: list[str], sizes: list[int]) -> None:
    text, pieces, position, turn = "".join(parts), [], 0, 0
    while position < len(text):
        pieces.append(text[position : position + sizes[turn % len(sizes)]])
        position += sizes[turn % len(sizes)]
        turn += 1

    assert run(MASKING, pieces) == run(MASKING, [text])
    assert run(EVERYTHING, pieces) == (text, run(EVERYTHING, [text])[1])


def test_every_maker_of_the_corpus_is_tried_here() -> None:
    assert {sample.kind for sample in SAMPLES} == set(MAKERS)
    assert {sample.kind for sample in SECRET_SAMPLES} == set(SECRET_MAKERS) - {"private_key"}
