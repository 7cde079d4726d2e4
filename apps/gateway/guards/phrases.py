"""Phrases in many languages, looked for only where one of their words occurs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from apps.gateway.guards.base import HEAD, Beginning, Hit, Text
from apps.gateway.guards.beginnings import heads_of

WORD_BEGINS = r"(?<!\w)"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A pattern over text in lower case. `triggers` are words of which one is in every match.

    A trigger that is no run of letters, or is of a script without spaces, is looked for as a piece of text.
    """

    kind: str
    weight: float
    """How much of the whole certainty one occurrence is worth."""
    source: str
    triggers: tuple[str, ...]


class _Compiled:
    """A phrase that is tried only where a word begins as it does."""

    __slots__ = ("_heads", "_pattern", "phrase")

    def __init__(self, phrase: Phrase) -> None:
        source = bounded(phrase)
        self.phrase = phrase
        self._pattern = re.compile(source)
        heads = heads_of(source) if source.startswith(WORD_BEGINS) else None
        # A match shorter than a head, which what follows it would complete, is looked for the slow way.
        self._heads = heads if heads and all(len(head) == HEAD for head in heads) else None

    def find(self, text: Text) -> Iterator[tuple[int, int]]:
        """Yield where the phrase is, one occurrence after the other."""
        if self._heads is None:
            for match in self._pattern.finditer(text.folded, text.begin):
                yield match.span()
            return
        starts = text.word_starts
        end = 0
        for start in sorted(at for head in self._heads & starts.keys() for at in starts[head]):
            if start >= end:
                found = self._pattern.match(text.folded, start)
                if found is not None:
                    end = found.end()
                    yield start, end


class PhraseBook:
    """The phrases of one detector."""

    def __init__(self, detector: str, phrases: Sequence[Phrase]) -> None:
        self._detector = detector
        self._all = tuple(phrases)
        self._phrases = [_Compiled(phrase) for phrase in phrases]
        self._by_word: dict[str, list[int]] = {}
        self._by_piece: dict[str, list[int]] = {}
        for index, phrase in enumerate(phrases):
            for trigger in phrase.triggers:
                where = self._by_word if is_word(trigger) else self._by_piece
                where.setdefault(trigger, []).append(index)
        self._words = frozenset(self._by_word)
        pieces = [re.escape(piece) for piece in self._by_piece if piece.isascii()]
        self._ascii_pieces = re.compile("|".join(pieces)) if pieces else None

    def find(self, text: Text, kinds: frozenset[str]) -> Iterator[Hit]:
        """Yield the occurrences of phrases of some kinds, each with its weight as score."""
        wanted: set[int] = set()
        for word in self._words & text.words:
            wanted.update(self._by_word[word])
        if not text.is_ascii or (self._ascii_pieces and self._ascii_pieces.search(text.folded, text.begin)):
            for piece, indexes in self._by_piece.items():
                if text.folded.find(piece, text.begin) >= 0:
                    wanted.update(indexes)
        for index in sorted(wanted):
            compiled = self._phrases[index]
            if compiled.phrase.kind in kinds:
                for start, end in compiled.find(text):
                    yield Hit(start, end, self._detector, compiled.phrase.kind, compiled.phrase.weight)

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns of some kinds."""
        return [Beginning(bounded(phrase), is_folded=True) for phrase in self._all if phrase.kind in kinds]


def is_word(trigger: str) -> bool:
    """Tell whether a trigger stands between spaces where it occurs, as in scripts that have them."""
    return re.fullmatch(r"\w+", trigger) is not None and all(ord(character) < 0x0E00 for character in trigger)


def bounded(phrase: Phrase) -> str:
    """Return the pattern of a phrase, which begins and ends where words do, in scripts that have spaces."""
    if not all(is_word(trigger) for trigger in phrase.triggers):
        return f"(?:{phrase.source})"
    return rf"{WORD_BEGINS}(?:{phrase.source})(?!\w)"


def combine(weights: Iterable[float]) -> float:
    """Return how sure several signs make us that are taken as independent: 1 - (1 - a)(1 - b)…, at most 0.999."""
    doubt = 1.0
    for weight in weights:
        doubt *= 1.0 - weight
    return min(1.0 - doubt, 0.999)
