"""Titles and what may be stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.conversations.errors import TextInvalid, TextTooLong
from apps.conversations.services.texts import TITLE_GOAL, check_text, clean_delta, derive_title


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  ## A *heading* of `code`  \nmore", "A heading of code"),
        ("__init__ and snake_case", "init__ and snake_case"),
        ("- one\n- two", "one"),
        ("many   spaces\there", "many spaces here"),
        ("word " * 30, "word word word word word word word word word word word word…"),
        ("x" * 90, "x" * 59 + "…"),
        (
            "A sentence that ends exactly before its sixtieth letter, and goes on",
            "A sentence that ends exactly before its sixtieth letter…",
        ),
        ("***", "***"),
    ],
)
def test_a_title_is_the_first_line_in_words(content: str, title: str) -> None:
    assert derive_title(content) == title


@given(st.text(min_size=1).filter(str.strip))
def test_a_title_is_never_empty_nor_long(content: str) -> None:
    assert 0 < len(derive_title(content)) <= TITLE_GOAL + 1


@pytest.mark.parametrize(
    ("text", "error"),
    [("", TextInvalid), (" \n", TextInvalid), ("a\x00", TextInvalid), ("a\udfff", TextInvalid), ("abcd", TextTooLong)],
)
def test_what_cannot_be_stored_is_named(text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^note: "):
        check_text(text, field="note", limit=3)
    assert check_text("abc", field="note", limit=3) == "abc"


def test_a_models_nul_is_dropped() -> None:
    assert clean_delta("a\x00b") == "ab"
