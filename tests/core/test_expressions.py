"""Conditions in CEL: what may be said, what is refused and where, and what a call does to them."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import ExpressionInvalid
from apps.core.expressions import MAX_LENGTH, ExpressionFailed, Kind, Vocabulary

WORDS = Vocabulary(
    {
        "model": Kind.TEXT,
        "tokens": Kind.NUMBER,
        "share": Kind.DECIMAL,
        "stream": Kind.TRUTH,
        "tags": Kind.TEXTS,
        "metadata": Kind.FIELDS,
    }
)
VALUES: dict[str, Any] = {
    "model": "gpt-4o",
    "tokens": 1200,
    "share": 0.25,
    "stream": False,
    "tags": ["batch", "team/red"],
    "metadata": {"customer": "acme", "pattern": "("},
}


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("true", True),
        ("model == 'gpt-4o' && tokens > 1000", True),
        ("model.startsWith('claude') || stream", False),
        ("'batch' in tags", True),
        ("tags.exists(tag, tag.startsWith('team/'))", True),
        ("share < 0.1", False),
        ("metadata.customer == 'acme'", True),
        ("has(metadata.customer) && metadata.customer == 'other'", False),
        ("has(metadata.absent) && metadata.absent == 'x'", False),
        (r"model.matches(r'^gpt-\d')", True),
        ("model.matches('(?i)^GPT')", True),
        ("tokens in [1, 2, 3]", False),
        ("tokens * 2 == 2400 ? !stream : stream", True),
        ("tags[7] == 'x' || model == 'gpt-4o'", True),
    ],
)
def test_a_condition_is_true_or_false_of_facts(source: str, holds: bool) -> None:
    assert WORDS.compile(source).holds(WORDS.bind(VALUES)) is holds


@pytest.mark.parametrize(
    ("source", "line", "column", "says"),
    [
        ("", 1, 1, "Syntax error"),
        ("model ==", 1, 9, "Syntax error"),
        ("model == 'a' &&\n  unknown", 2, 3, "undeclared reference to 'unknown'"),
        ("tokens > 'a'", 1, 8, "no matching overload"),
        ("model", 1, 1, "has to be true or false"),
        ("tokens + 1", 1, 1, "has to be true or false"),
        ("model.matches('(')", 1, 15, "missing )"),
        ('stream ||\nmodel.matches(r"a{1,9999}")', 2, 15, "invalid repetition size"),
        ("model + model == 'x'", 1, 7, "no matching overload"),
        ("[1] + [2] == [3]", 1, 5, "no matching overload"),
        ("model == 'x\ud800'", 1, 12, "lone surrogate"),
        ("(" * 300 + "true" + ")" * 300, 1, 1, "recursion limit"),
        ("true" + " || true" * 300, 1, 1, f"at most {MAX_LENGTH}"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(source: str, line: int, column: int, says: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        WORDS.compile(source)

    error = refused.value
    assert (error.line, error.column) == (line, column)
    assert says in error.reason
    assert error.message == f"Line {line}, column {column}: {error.reason}"
    assert error.extra == {"line": line, "column": column}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("metadata.absent == 'x'", "Key not found"),
        ("tags[7] == 'x'", "index=7"),
        ("tokens / 0 == 1", "divide by zero"),
        ("'x'.matches(metadata.pattern)", "invalid regular expression"),
    ],
)
def test_a_condition_that_cannot_be_answered_says_so(source: str, says: str) -> None:
    with pytest.raises(ExpressionFailed, match=says):
        WORDS.compile(source).holds(WORDS.bind(VALUES))


@pytest.mark.parametrize(
    "values",
    [{}, {**VALUES, "model": 1}, {**VALUES, "model": None}, {**VALUES, "model": "\ud800"}],
    ids=["missing", "number", "null", "surrogate"],
)
def test_facts_of_another_kind_fail_the_condition_that_uses_them_and_no_other(values: dict[str, Any]) -> None:
    facts = WORDS.bind(values)

    with pytest.raises(ExpressionFailed):
        WORDS.compile("model == 'gpt-4o'").holds(facts)
    assert WORDS.compile("true").holds(facts) is True


def test_nested_loops_end_at_a_bound() -> None:
    digits = "[0,1,2,3,4,5,6,7,8,9]"
    source = "true"
    for name in "abcdef":
        source = f"{digits}.all({name}, {source})"

    with pytest.raises(ExpressionFailed, match="budget"):
        WORDS.compile(source).holds(WORDS.bind(VALUES))


def test_a_condition_keeps_its_text() -> None:
    assert WORDS.compile("stream").source == "stream"
    assert WORDS.variables["tags"] is Kind.TEXTS
