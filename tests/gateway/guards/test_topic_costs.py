"""Conditions that could hold up a process are refused when they are typed, with the place; what people write is taken."""

from __future__ import annotations

import pytest

from apps.core.errors import ExpressionInvalid
from apps.gateway.guards.topic_costs import check_costs
from apps.gateway.guards.topics import VOCABULARY


@pytest.mark.parametrize(
    "source",
    [
        '"casino" in words || text.matches("\\\\bbet(ting|s)?\\\\b")',
        'words.exists(w, w.matches("^bet(s|ting)?$")) && text.contains("text")',
        '["casino", "poker"].exists(term, text.contains(term))',
        'tags.exists(tag, text.contains(tag) && tag.matches("^t-[a-z]{1,20}$"))',
        'text.matches(r"[({)]{20}(?:a|b){1,50}\\d{4}") // text in words.exists(w, text)',
        "size(text) > 100 && (text.startsWith('a') ? words.size() > 3 : true)",
        'words.all(w, w.matches("a")) && text.matches("b")',
        "text.matches('''a{400}''')",
    ],
)
def test_what_is_quick_is_taken(source: str) -> None:
    VOCABULARY.compile(source)
    check_costs(source)


@pytest.mark.parametrize(
    ("source", "column", "why"),
    [
        ('words.exists(w, text.matches("(a|b){1,50}c"))', 17, "in loops over words"),
        ("words.all(a, words.exists(b, a == b) || text.contains(a))", 41, "in loops over words"),
        ("words.exists(w, .text.contains(w))", 18, "in loops over words"),
        ('words.filter(w, w != "a").exists(w, text.contains(w))', 37, "in loops over words"),
        ('["a", words[0]].exists(w, text.contains(w))', 27, "in loops over words"),
        ('[["a"]][0].exists(w, text.contains(w))', 22, "in loops over words"),
        ('[text].exists(t, words.exists(w, t.contains("a")))', 2, "nor list it"),
        ("{text: 1}.exists(t, t.contains('a'))", 2, "nor list it"),
        ("words.exists(w, w.matches(w))", 19, "write the pattern out"),
        ('matches(text, "a")', 1, "write the pattern out"),
        ('text.matches("a" + "b")', 6, "write the pattern out"),
        ('text.matches("(a|b){1,500}c")', 6, "too big"),
        ('text.matches("(?:[ab].{0,400}){2}c")', 6, "too big"),
        ('text.matches("a{300}") &&\n text.matches("b{300}")', 7, "too big"),
        (r'text.matches("(a{9}){9}{9}\\b")', 6, "too big"),
        (r'text.matches(b"\xff{999}")', 6, "too big"),
    ],
)
def test_what_could_be_slow_is_refused_where_it_stands(source: str, column: int, why: str) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        check_costs(source)

    assert why in refused.value.message
    assert refused.value.column == column
