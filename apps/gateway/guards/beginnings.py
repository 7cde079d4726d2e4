"""From a pattern, the pattern of everything that its matches begin with.

A stream may release a text up to the first place from which what has come could still grow into a match. Python's `re`
knows no partial matches, so they are spelled out: every beginning of `ab{2,3}` is matched by `(?:a(?:b{0,3}))?`. Anchored
at the end of the text, the derived pattern finds that place. Conditions on what follows are left out: nothing has
followed yet.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from apps.gateway.guards.base import Beginning

sre: Any = importlib.import_module("re._parser")
codes: Any = importlib.import_module("re._constants")

_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}
_PLACES = {
    codes.AT_BOUNDARY: r"\b",
    codes.AT_NON_BOUNDARY: r"\B",
    codes.AT_BEGINNING: r"^",
    codes.AT_BEGINNING_STRING: r"\A",
}
MOST_NAMED = 1024
"""Wider ranges of characters count as any."""
_SINGLE = {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}
_REPEATS = {codes.MAX_REPEAT: "", codes.MIN_REPEAT: "?", codes.POSSESSIVE_REPEAT: "+"}


class Unsupported(ValueError):
    """The pattern uses something of which no beginning can be told, such as a back reference."""


def parse(source: str) -> Sequence[Any]:
    """Return the parsed pattern. Raise re.error."""
    parsed: Sequence[Any] = sre.parse(source)
    return parsed


def longest(source: str) -> int:
    """Return how many characters a match can have at most."""
    return int(sre.parse(source).getwidth()[1])


class HoldFinder:
    """Finds from where on a text has to be held back. Patterns are tried only where their first character occurs."""

    __slots__ = ("_any", "_any_word", "_by_character", "_by_word_character", "is_empty")

    def __init__(self, beginnings: Iterable[Beginning]) -> None:
        self._by_character: dict[str, tuple[_Compiled, ...]] = {}
        self._by_word_character: dict[str, tuple[_Compiled, ...]] = {}
        wanted = [compile_beginning(b.source, b.is_folded) for b in sorted(set(beginnings), key=lambda b: b.source)]
        self.is_empty = not wanted
        self._any = _fill(self._by_character, [c for c in wanted if not c.begins_word])
        self._any_word = _fill(self._by_word_character, [c for c in wanted if c.begins_word])

    def find(self, raw: str, folded: str, start: int) -> int:
        """Return the first position, from `start` on, with which a match may begin that has not ended; else the length."""
        by_character, by_word_character = self._by_character, self._by_word_character
        is_inside = start > 0 and (raw[start - 1].isalnum() or raw[start - 1] == "_")
        for position in range(start, len(raw)):
            character = folded[position]
            for compiled in by_character.get(character, self._any):
                if compiled.pattern.match(folded if compiled.is_folded else raw, position):
                    return position
            if not is_inside:
                for compiled in by_word_character.get(character, self._any_word):
                    if compiled.pattern.match(folded if compiled.is_folded else raw, position):
                        return position
            is_inside = character.isalnum() or character == "_"
        return len(raw)


@dataclass(frozen=True, slots=True)
class _Compiled:
    pattern: re.Pattern[str]
    is_folded: bool
    first: frozenset[str] | None
    """The characters that it can begin with, in lower case; None for too many to name."""
    begins_word: bool


@lru_cache(maxsize=4096)
def compile_beginning(source: str, is_folded: bool) -> _Compiled:
    """Return the pattern for the beginnings of another, anchored at the end of the text. Raise Unsupported, re.error."""
    condition, body = _split_condition(list(parse(source)))
    pattern = re.compile(rf"{condition}{begin_sequence(body)}\Z")
    first, _ = first_characters(body)
    folded = None if first is None else frozenset(character.lower() for character in first)
    return _Compiled(pattern, is_folded, folded, begins_word=r"(?<!\w)" in condition or r"(?<![\w]" in condition)


def first_characters(items: Iterable[Any]) -> tuple[set[str] | None, bool]:
    """Return the characters that a sequence can begin with (None for too many), and whether it can be empty."""
    found: set[str] = set()
    for operation, argument in items:
        first, may_be_empty = _first_of(operation, argument)
        if first is None:
            return None, False
        found |= first
        if not may_be_empty:
            return found, False
    return found, True


def _first_of(operation: Any, argument: Any) -> tuple[set[str] | None, bool]:
    if operation is codes.LITERAL:
        return {chr(argument)}, False
    if operation is codes.IN:
        return _first_of_set(argument), False
    if operation in _REPEATS:
        first, may_be_empty = first_characters(argument[2])
        return first, may_be_empty or argument[0] == 0
    if operation is codes.BRANCH:
        parts = [first_characters(branch) for branch in argument[1]]
        if any(first is None for first, _ in parts):
            return None, False
        return set().union(*(first for first, _ in parts if first)), any(may_be_empty for _, may_be_empty in parts)
    if operation is codes.SUBPATTERN:
        return first_characters(argument[3])
    if operation is codes.ATOMIC_GROUP:
        return first_characters(argument)
    if operation in {codes.AT, codes.ASSERT, codes.ASSERT_NOT}:
        return set(), True
    return None, False


def _first_of_set(items: Iterable[Any]) -> set[str] | None:
    found: set[str] = set()
    for operation, argument in items:
        if operation is codes.LITERAL:
            found.add(chr(argument))
        elif operation is codes.RANGE and argument[1] - argument[0] <= MOST_NAMED:
            found.update(map(chr, range(argument[0], argument[1] + 1)))
        else:
            return None
    return found


def _fill(table: dict[str, tuple[_Compiled, ...]], wanted: list[_Compiled]) -> tuple[_Compiled, ...]:
    anywhere = tuple(compiled for compiled in wanted if compiled.first is None)
    for character in {character for compiled in wanted for character in compiled.first or ()}:
        table[character] = tuple(c for c in wanted if c.first is None or character in c.first)
    return anywhere


def begin_sequence(items: Sequence[Any]) -> str:
    """Return a pattern for every beginning of a sequence, the empty one included."""
    result = ""
    for index in range(len(items) - 1, -1, -1):
        operation, argument = items[index]
        if operation in {codes.AT, codes.ASSERT, codes.ASSERT_NOT}:
            continue
        whole = write(operation, argument)
        if operation in _SINGLE:
            result = f"(?:{whole}{result})?"
            continue
        partly = _begin_item(operation, argument)
        result = f"(?:{whole}{result}|{partly})" if result else f"(?:{whole}|{partly})"
    return result


def write(operation: Any, argument: Any) -> str:  # noqa: PLR0912 - one line per kind of node
    """Return the source of one node."""
    if operation is codes.LITERAL:
        return re.escape(chr(argument))
    if operation is codes.NOT_LITERAL:
        return f"[^{re.escape(chr(argument))}]"
    if operation is codes.ANY:
        return "."
    if operation is codes.IN:
        return _write_set(argument)
    if operation in _REPEATS:
        low, high, item = argument
        limit = "" if high is codes.MAXREPEAT else high
        return f"(?:{write_sequence(item)}){{{low},{limit}}}{_REPEATS[operation]}"
    if operation is codes.BRANCH:
        return f"(?:{'|'.join(write_sequence(branch) for branch in argument[1])})"
    if operation is codes.SUBPATTERN:
        _, add_flags, del_flags, item = argument
        if add_flags or del_flags:
            raise Unsupported("flags inside the pattern")
        return f"(?:{write_sequence(item)})"
    if operation is codes.ATOMIC_GROUP:
        return f"(?:{write_sequence(argument)})"
    if operation is codes.AT and argument in _PLACES:
        return _PLACES[argument]
    if operation in {codes.ASSERT, codes.ASSERT_NOT}:
        direction, item = argument
        sign = "=" if operation is codes.ASSERT else "!"
        return f"(?{'<' if direction < 0 else ''}{sign}{write_sequence(item)})"
    raise Unsupported(str(operation).lower().replace("_", " "))


def write_sequence(items: Sequence[Any]) -> str:
    """Return the source of a sequence of nodes, conditions on what follows left out."""
    return "".join(write(operation, argument) for operation, argument in items if not _looks_ahead(operation, argument))


def _begin_item(operation: Any, argument: Any) -> str:
    if operation in _REPEATS:
        low, high, item = argument
        limit = "" if high is codes.MAXREPEAT else max(high - 1, 0)
        return f"(?:{write_sequence(item)}){{0,{limit}}}{begin_sequence(list(item))}"
    if operation is codes.BRANCH:
        return f"(?:{'|'.join(begin_sequence(list(branch)) for branch in argument[1])})"
    if operation is codes.SUBPATTERN:
        return begin_sequence(list(argument[3]))
    if operation is codes.ATOMIC_GROUP:
        return begin_sequence(list(argument))
    raise Unsupported(str(operation).lower().replace("_", " "))


def _split_condition(items: list[Any]) -> tuple[str, list[Any]]:
    """Return what a pattern wants of the text before it, and the rest."""
    conditions = []
    while items and (items[0][0] is codes.AT or (items[0][0] in {codes.ASSERT, codes.ASSERT_NOT})):
        operation, argument = items.pop(0)
        if not _looks_ahead(operation, argument):
            conditions.append(write(operation, argument))
    return "".join(conditions), items


def _looks_ahead(operation: Any, argument: Any) -> bool:
    if operation is codes.AT:
        return argument not in {codes.AT_BEGINNING, codes.AT_BEGINNING_STRING}
    return operation in {codes.ASSERT, codes.ASSERT_NOT} and argument[0] >= 0


def _write_set(items: Iterable[Any]) -> str:
    parts = []
    for operation, argument in items:
        if operation is codes.NEGATE:
            parts.append("^")
        elif operation is codes.LITERAL:
            parts.append(re.escape(chr(argument)))
        elif operation is codes.RANGE:
            parts.append(f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}")
        else:
            parts.append(_CATEGORIES[argument])
    return f"[{''.join(parts)}]"
