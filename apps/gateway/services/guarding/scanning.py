"""Texts of any length, looked through piece by piece: no piece holds up the event loop for more than a few milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from apps.gateway.guards.base import CONTEXT_CHARACTERS, LONG_MARKS, LONGEST_MARKED_MATCH, LONGEST_MATCH, Hit, Text
from apps.gateway.guards.rules import Rules
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.verdicts import Mark

PIECE_CHARACTERS = 4_096
BREATH_CHARACTERS = PIECE_CHARACTERS
"""After so many characters other calls get their turn."""


def find_in_pieces(rules: Rules, raw: str) -> Iterator[tuple[int, list[Hit]]]:
    """Yield the finds of one piece after the other, with the position up to which has been looked."""
    if len(raw) <= PIECE_CHARACTERS:
        yield len(raw), rules.find(Text(raw))
        return
    for begin in range(0, len(raw), PIECE_CHARACTERS):
        end = min(begin + PIECE_CHARACTERS, len(raw))
        is_long = any(raw.find(mark, begin, end + 16) >= 0 for mark in LONG_MARKS)
        reach = LONGEST_MARKED_MATCH if is_long else LONGEST_MATCH
        first = max(0, begin - CONTEXT_CHARACTERS)
        hits = rules.find(Text(raw[first : end + reach], begin - first))
        yield end, [_move(hit, first) for hit in hits if hit.origin + first < end]


async def find_politely(rules: Rules, raw: str) -> list[Hit]:
    """Return all finds in a text; while it is long, other calls get their turn.

    A thread would not help: patterns are matched under the interpreter's lock, which a thread gives up every 5 ms only.
    """
    hits: list[Hit] = []
    breath = BREATH_CHARACTERS
    for position, found in find_in_pieces(rules, raw):
        hits += found
        if position >= breath:
            breath = position + BREATH_CHARACTERS
            await asyncio.sleep(0)
    return hits


def replace_marks(
    raw: str, marks: list[Mark], put: Callable[[Mark, str], str], *, begin: int = 0, end: int | None = None
) -> str:
    """Return a text, or the part from `begin` to `end`, with marked pieces replaced."""
    parts: list[str] = []
    position = begin
    for mark in marks:
        parts += (raw[position : mark.start], put(mark, raw[mark.start : mark.end]))
        position = mark.end
    parts.append(raw[position:end])
    return "".join(parts)


def masking(vault: Vault, around: str, *, is_reversible: bool) -> Callable[[Mark, str], str]:
    """Return what gives the placeholder of a marked piece."""
    return lambda mark, found: vault.put(mark.kind, found, around=around, is_reversible=is_reversible)


def _move(hit: Hit, by: int) -> Hit:
    return Hit(hit.start + by, hit.end + by, hit.detector, hit.kind, hit.score, hit.rank, hit.origin + by)
