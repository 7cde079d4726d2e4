"""What every detector takes, gives and promises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

CONTEXT_CHARACTERS = 64
"""How much of the text before a match detectors may look at; a stream keeps that much of what it has released."""
LONGEST_MATCH = 640
"""Characters of the longest match, those of `LONG_MARKS` aside."""
LONGEST_MARKED_MATCH = 15_000
LONG_MARKS = ("-----BEGIN", "eyJ")
"""What private keys and JSON web tokens begin with: nothing else is allowed to be long."""

HEAD = 3
"""Characters by which patterns are told apart before they are tried."""

_WORD = re.compile(r"\w+")


class Text:
    """A text with what several detectors want to know of it, found out once.

    Hits begin at `begin` or later; what stands before is there to be looked back at.
    """

    def __init__(self, raw: str, begin: int = 0) -> None:
        self.raw = raw
        self.begin = begin
        self.tail = raw[begin:] if begin else raw

    @cached_property
    def folded(self) -> str:
        """Return the text in lower case, its positions unchanged."""
        return fold(self.raw)

    @cached_property
    def words(self) -> frozenset[str]:
        """Return the words that occur, in lower case."""
        return frozenset(_WORD.findall(self.folded, self.begin))

    @cached_property
    def word_starts(self) -> dict[str, list[int]]:
        """Return where words begin, by their first HEAD characters in lower case (and what follows shorter ones)."""
        starts: dict[str, list[int]] = {}
        folded = self.folded
        for match in _WORD.finditer(folded, self.begin):
            start = match.start()
            starts.setdefault(folded[start : start + HEAD], []).append(start)
        return starts

    @cached_property
    def is_ascii(self) -> bool:
        """Tell whether there is nothing but ASCII."""
        return self.tail.isascii()

    @cached_property
    def has_digit(self) -> bool:
        """Tell whether there is a digit: without one, most of what is structured cannot be there."""
        return _DIGIT.search(self.raw, self.begin) is not None


_DIGIT = re.compile(r"[0-9]")


def fold(raw: str) -> str:
    """Return a text in lower case, of the same length: what would become longer stays as it is."""
    folded = raw.lower()
    if len(folded) == len(raw):
        return folded
    return "".join(low if len(low := character.lower()) == 1 else character for character in raw)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: characters `start` up to `end` of a text."""

    start: int
    end: int
    detector: str
    kind: str
    score: float = 1.0
    """How sure the detector is, 0 to 1; kinds that are structured are simply there."""
    rank: int = 0
    """Of two hits that overlap, the one of the higher rank stays; then the longer one."""
    anchor: int = -1
    """Where the words begin that make it one, if before `start`: `password` of a password."""

    @property
    def origin(self) -> int:
        """Return from where on a text has to be there to see this."""
        return self.start if self.anchor < 0 else self.anchor


@dataclass(frozen=True, slots=True)
class Beginning:
    """A pattern whose matches a stream must not release before they are complete."""

    source: str
    is_folded: bool = False
    """The pattern is for `Text.folded`."""


@runtime_checkable
class Detector(Protocol):
    """Finds kinds of things in a text. Implementations hold no state, so that one instance serves a whole process."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return what is there of the kinds asked for, in any order; hits of one detector may overlap."""
        ...

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return patterns that match at least wherever `find` does, without what it checks beside them."""
        ...
