"""An organization's own patterns and words. Its patterns are regular expressions of which none can be slow.

Allowed is what RE2 allows, and less, because Python's `re` backtracks: no back references, no look-around but word
boundaries, every repeat bounded, no repeat of something that repeats, and no two repeats one after the other that could
share characters beyond a small product.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from apps.gateway.guards.base import Beginning, Hit, Text
from apps.gateway.guards.beginnings import Unsupported, codes, compile_beginning, parse, write
from apps.gateway.guards.phrases import is_word

LONGEST = 256
"""Characters of the longest possible match of an own pattern."""
MOST_STEPS = 1_000
"""Ways in which one place of a text may be tried at most: up to 80 ms for 4,096 characters made for it."""
NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
_PROBES = frozenset(map(chr, range(32, 127))) | {"\n", "\t", "é", "ß", "я", "中", "\u00a0"}
"""Characters by which sets are compared: two that share none of these are taken as apart."""


class PatternUnsafe(ValueError):
    """A pattern that is refused; the message says why."""


class OwnDetector:
    """Finds the patterns and words of one policy. Unlike the other detectors it belongs to a policy."""

    name: ClassVar[str] = "own"
    kinds: ClassVar[tuple[str, ...]] = ("words",)

    def __init__(self, patterns: Mapping[str, str], words: Iterable[str]) -> None:
        self.named = (*patterns, *self.kinds)
        self._sources = {name: f"(?:{source})" for name, source in patterns.items()}
        self._patterns = {name: re.compile(source) for name, source in self._sources.items()}
        self._words = {word.strip().lower() for word in words if word.strip()}
        # Longest first: of two words that begin alike, the longer one is found.
        ordered = sorted(self._words, key=lambda word: (-len(word), word))
        self._word_sources = [bound_word(word) for word in ordered]
        self._first_words = frozenset(re.findall(r"\w+", word)[0] for word in ordered if is_word(word[0]))
        self._is_all_words = all(is_word(word[0]) for word in ordered)
        self._any_word = re.compile("|".join(self._word_sources)) if ordered else None

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return what is there of the patterns asked for by name, and of `words`."""
        hits = [
            Hit(match.start(), match.end(), self.name, name, rank=6)
            for name, pattern in self._patterns.items()
            if name in kinds
            for match in pattern.finditer(text.raw, text.begin)
            if match.end() > match.start()
        ]
        if self._any_word is not None and (not self._is_all_words or self._first_words & text.words):
            hits += [
                Hit(m.start(), m.end(), self.name, "words", rank=3)
                for m in self._any_word.finditer(text.folded, text.begin)
            ]
        return hits

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns and words."""
        found = [Beginning(source) for name, source in self._sources.items() if name in kinds]
        return found + [Beginning(source, is_folded=True) for source in self._word_sources]


def bound_word(word: str) -> str:
    """Return the pattern of a word or phrase: whole words where its script has spaces, any white space for a space."""
    body = r"\s{1,3}".join(re.escape(part) for part in word.split())
    before = r"(?<!\w)" if is_word(word[0]) else ""
    return f"{before}{body}" + (r"(?!\w)" if is_word(word[-1]) else "")


def check_pattern(source: str) -> int:
    """Return in how many ways a place is tried. Raise PatternUnsafe when an expression is broken, or could be slow."""
    try:
        items = parse(source)
        re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternUnsafe(f"not a regular expression: {error}") from None
    if source and re.compile(source).match("") is not None:
        raise PatternUnsafe("it matches the empty text")
    # With the characters that the pattern itself names, two sets that share any share one of these.
    steps = _steps(list(items), _PROBES | _named(items), is_repeated=False)
    if steps > MOST_STEPS:
        raise PatternUnsafe("repeats that can take the same characters stand one after the other; use smaller bounds")
    low, high = items.getwidth()  # type: ignore[attr-defined]
    if low == 0:
        raise PatternUnsafe("it can match the empty text")
    if high > LONGEST:
        raise PatternUnsafe(f"a match can be longer than {LONGEST} characters; bound every repeat, as in {{1,20}}")
    try:
        compile_beginning(f"(?:{source})", is_folded=False)
    except (Unsupported, re.error) as error:
        raise PatternUnsafe(f"not possible here: {error}") from None
    return steps


def _steps(items: Sequence[Any], probes: frozenset[str], *, is_repeated: bool) -> int:
    """Return how many ways there are to try a sequence at one place.

    Neighbours that vary multiply for as long as they can take each other's characters. Something of a fixed length whose
    characters none of them can take ends that: only one way leads past it.
    """
    worst = ways = 1
    taken: frozenset[str] = frozenset()
    for operation, argument in items:
        own, characters, may_vary = _weigh(operation, argument, probes, is_repeated=is_repeated)
        if not may_vary and characters and not characters & taken:
            worst, ways, taken = max(worst, ways), 1, frozenset()
        ways *= own
        if may_vary:
            taken |= characters
    return max(worst, ways)


def _weigh(
    operation: Any, argument: Any, probes: frozenset[str], *, is_repeated: bool
) -> tuple[int, frozenset[str], bool]:
    if operation in {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}:
        return 1, _probe(operation, argument, probes), False
    if operation in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
        low, high, item = argument
        if high is codes.MAXREPEAT:
            raise PatternUnsafe("a repeat without bound; write {0,40} for * and {1,40} for +")
        if is_repeated and high > 1 and low != high:
            raise PatternUnsafe("a repeat inside a repeat")
        inner = _steps(list(item), probes, is_repeated=is_repeated or high > 1)
        spread = high - low + 1
        # A repeated alternative is chosen again each time.
        ways = spread * (inner ** min(high, 16) if inner > 1 and high > 1 else inner)
        return ways, _characters(item, probes), low != high
    if operation is codes.BRANCH:
        branches = argument[1]
        ways = sum(_steps(list(branch), probes, is_repeated=is_repeated) for branch in branches)
        return ways, frozenset().union(*(_characters(branch, probes) for branch in branches)), True
    if operation is codes.SUBPATTERN:
        return _steps(list(argument[3]), probes, is_repeated=is_repeated), _characters(argument[3], probes), True
    if operation is codes.AT:
        return 1, frozenset(), False
    raise PatternUnsafe(f"{str(operation).lower().replace('_', ' ')} is not possible here")


def _characters(items: Iterable[Any], probes: frozenset[str]) -> frozenset[str]:
    found: list[frozenset[str]] = []
    for operation, argument in items:
        if operation in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
            found.append(_characters(argument[2], probes))
        elif operation is codes.BRANCH:
            found += [_characters(branch, probes) for branch in argument[1]]
        elif operation is codes.SUBPATTERN:
            found.append(_characters(argument[3], probes))
        elif operation is not codes.AT:
            found.append(_probe(operation, argument, probes))
    return frozenset().union(*found)


def _probe(operation: Any, argument: Any, probes: frozenset[str]) -> frozenset[str]:
    if operation is codes.LITERAL:
        return frozenset({chr(argument)})
    pattern = re.compile(write(operation, argument))
    return frozenset(character for character in probes if pattern.match(character))


def _named(items: Any) -> frozenset[str]:
    """Return the characters that a parsed pattern names, ends of ranges among them."""
    found: set[str] = set()
    for operation, argument in items:
        if operation in {codes.LITERAL, codes.NOT_LITERAL}:
            found.add(chr(argument))
        elif operation is codes.RANGE:
            found.update(map(chr, argument))
        elif operation is codes.IN:
            found |= _named(argument)
        elif operation is codes.BRANCH:
            found.update(*map(_named, argument[1]))
        elif operation in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
            found |= _named(argument[2])
        elif operation is codes.SUBPATTERN:
            found |= _named(argument[3])
    return frozenset(found)
