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

from apps.gateway.guards.base import HEAD, Beginning

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
MOST_NAMED = 600
"""Heads of one pattern that are listed at most; with more of them it is tried everywhere."""
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
    """Finds from where on a text has to be held back. Patterns are tried only where they can begin, by three characters."""

    __slots__ = ("_anywhere", "_at_words", "is_empty")

    def __init__(self, beginnings: Iterable[Beginning]) -> None:
        wanted = [compile_beginning(b.source, b.is_folded) for b in sorted(set(beginnings), key=lambda b: b.source)]
        self.is_empty = not wanted
        self._anywhere = _Table([compiled for compiled in wanted if not compiled.begins_word])
        self._at_words = _Table([compiled for compiled in wanted if compiled.begins_word])

    def find(self, raw: str, folded: str, start: int) -> int:
        """Return the first position, from `start` on, with which a match may begin that has not ended; else the length."""
        anywhere, at_words = self._anywhere, self._at_words
        length = len(raw)
        is_inside = start > 0 and (raw[start - 1].isalnum() or raw[start - 1] == "_")
        for position in range(start, length):
            head = folded[position : position + HEAD]
            if anywhere.matches(raw, folded, position, head) or (
                not is_inside and at_words.matches(raw, folded, position, head)
            ):
                return position
            is_inside = head[0].isalnum() or head[0] == "_"
        return length


class _Table:
    """Patterns by what they can begin with."""

    __slots__ = ("_any", "_by_first", "_by_head", "_named_any", "_named_by_first")

    def __init__(self, wanted: list[_Compiled]) -> None:
        # Where fewer characters are left than a head has, all patterns are in question; else those of the head, and those
        # that can begin in too many ways to be listed.
        unnamed = [compiled for compiled in wanted if compiled.heads is None]
        self._by_first, self._any = _by_first(wanted)
        self._named_by_first, self._named_any = _by_first(unnamed)
        self._by_head: dict[str, list[_Compiled]] = {}
        for compiled in wanted:
            for head in compiled.heads or ():
                if len(head) == HEAD:
                    self._by_head.setdefault(head, []).append(compiled)

    def matches(self, raw: str, folded: str, position: int, head: str) -> bool:
        """Tell whether a text, from a position to its end, is the beginning of something."""
        if len(head) < HEAD:
            candidates = self._by_first.get(head[0], self._any)
        else:
            for compiled in self._by_head.get(head, ()):
                if compiled.pattern.match(folded if compiled.is_folded else raw, position):
                    return True
            candidates = self._named_by_first.get(head[0], self._named_any)
        return any(compiled.pattern.match(folded if compiled.is_folded else raw, position) for compiled in candidates)


@dataclass(frozen=True, slots=True)
class _Compiled:
    pattern: re.Pattern[str]
    is_folded: bool
    first: frozenset[str] | None
    """The characters that it can begin with, in lower case; None for too many to name."""
    heads: frozenset[str] | None
    """The same of its first HEAD characters; shorter ones are whole matches."""
    begins_word: bool


@lru_cache(maxsize=4096)
def compile_beginning(source: str, is_folded: bool) -> _Compiled:
    """Return the pattern for the beginnings of another, anchored at the end of the text. Raise Unsupported, re.error."""
    condition, body = _split_condition(list(parse(source)))
    pattern = re.compile(rf"{condition}(?:{begin_sequence(body)})\Z")
    return _Compiled(
        pattern,
        is_folded,
        _heads(body, 1),
        _heads(body, HEAD),
        begins_word=r"(?<!\w)" in condition or r"(?<![\w]" in condition,
    )


def heads_of(source: str) -> frozenset[str] | None:
    """Return the first HEAD characters that matches can have, in lower case; None when there are too many.

    Heads that are shorter are whole matches.
    """
    return _heads(_split_condition(list(parse(source)))[1], HEAD)


def _heads(items: Sequence[Any], length: int) -> frozenset[str] | None:
    """Return what a sequence can begin with, in lower case: `length` characters, or fewer where a match is shorter."""
    found = {""}
    for operation, argument in items:
        found = _extend(found, operation, argument, length)
        if len(found) > MOST_NAMED:
            return None
        if all(len(head) == length for head in found):
            break
    return frozenset(head.lower() for head in found)


_TOO_MANY = {str(number) for number in range(MOST_NAMED + 1)}
"""Stands for a set that nobody wants to list; longer than MOST_NAMED, which ends the listing."""


def _extend(heads: set[str], operation: Any, argument: Any, length: int) -> set[str]:
    short = {head for head in heads if len(head) < length}
    done = heads - short
    if not short or operation in {codes.AT, codes.ASSERT, codes.ASSERT_NOT}:
        return heads
    if operation is codes.LITERAL:
        return done | {head + chr(argument) for head in short}
    if operation is codes.IN:
        characters = _characters_of(argument)
        if characters is None or len(characters) * len(short) > MOST_NAMED:
            return _TOO_MANY
        return done | {head + character for head in short for character in characters}
    if operation in _REPEATS:
        low, high, item = argument
        found = set() if low else set(short)
        for count in range(1, min(int(high), max(int(low), length)) + 1):
            short = _extend_all(short, item, length)
            if count >= low:
                found |= short
            if len(found) + len(short) > MOST_NAMED:
                return _TOO_MANY
        return done | found
    if operation is codes.BRANCH:
        return done.union(*(_extend_all(short, branch, length) for branch in argument[1]))
    if operation is codes.SUBPATTERN:
        return done | _extend_all(short, argument[3], length)
    if operation is codes.ATOMIC_GROUP:
        return done | _extend_all(short, argument, length)
    return _TOO_MANY


def _extend_all(heads: set[str], items: Iterable[Any], length: int) -> set[str]:
    for operation, argument in items:
        heads = _extend(heads, operation, argument, length)
        if len(heads) > MOST_NAMED:
            return _TOO_MANY
    return heads


def _characters_of(items: Iterable[Any]) -> set[str] | None:
    found: set[str] = set()
    for operation, argument in items:
        if operation is codes.LITERAL:
            found.add(chr(argument))
        elif operation is codes.RANGE and argument[1] - argument[0] <= MOST_NAMED:
            found.update(map(chr, range(argument[0], argument[1] + 1)))
        else:
            return None
    return found


def _by_first(wanted: list[_Compiled]) -> tuple[dict[str, list[_Compiled]], list[_Compiled]]:
    """Return patterns by their first character, those that can begin with any among them, and these alone."""
    table: dict[str, list[_Compiled]] = {}
    for character in {head for compiled in wanted for head in compiled.first or ()}:
        table[character] = [c for c in wanted if c.first is None or character in c.first]
    return table, [compiled for compiled in wanted if compiled.first is None]


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


def write(operation: Any, argument: Any) -> str:
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
        _, high, item = argument
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
