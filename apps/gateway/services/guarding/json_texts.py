"""Texts that are JSON, as arguments of tool calls are: what they say, and where in the JSON they say it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from apps.gateway.services.guarding.verdicts import Mark

_HIGH, _LOW = r"[dD][89abAB][0-9a-fA-F]{2}", r"[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf'\\(?:u({_HIGH})\\u({_LOW})|u([0-9a-fA-F]{{4}})|(["\\/bfnrt]))')
_UNFINISHED = re.compile(rf"\\(?:u(?:{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?|[0-9a-fA-F]{{0,3}}))?\Z")
_LONGEST_ESCAPE = 12
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_STRING_PART = re.compile(r'\\.|"', re.DOTALL)
_FOUND_PART = re.compile(r'"|(?:[^"\\]|\\.)+|\\', re.DOTALL)
_LITERAL = re.compile(r"[^\s,:{}\[\]]+")


class JsonText:
    """JSON that comes in pieces of any size: `\\n` and `\\u0040` are one character each to whoever reads it.

    Detectors have to see these characters; what goes out is the JSON as it came, but for what is masked. So every position
    in what is read has one in `source`. What is no JSON is read as it stands.
    """

    __slots__ = ("_is_inside", "_saved", "_steps", "_unfinished", "source")

    def __init__(self) -> None:
        self.source = ""
        self._unfinished = ""
        self._steps: list[int] = []
        """Positions in what is read that follow an escape."""
        self._saved: list[int] = []
        """By how much the source is longer up to there."""
        self._is_inside = False
        """Whether what has been given out ended inside a string."""

    def read(self, piece: str, length: int) -> str:
        """Take a piece of the source; return what it says, but for an escape that has not ended yet.

        `length`: characters that have been read and not been forgotten.
        """
        if self._unfinished:
            piece, self._unfinished = self._unfinished + piece, ""
        position = piece.find("\\")
        if position < 0:
            self.source += piece
            return piece
        parts: list[str] = []
        begin = 0
        shift = self._saved[-1] if self._saved else 0
        while position >= 0:
            if position > len(piece) - _LONGEST_ESCAPE and _UNFINISHED.match(piece, position):
                piece, self._unfinished = piece[:position], piece[position:]
                break
            escape = _ESCAPE.match(piece, position)
            if escape is None:
                position = piece.find("\\", position + 2)
                continue
            parts += (piece[begin:position], _character(escape))
            length += position - begin + 1
            begin = escape.end()
            shift += begin - position - 1
            self._steps.append(length)
            self._saved.append(shift)
            position = piece.find("\\", begin)
        parts.append(piece[begin:])
        self.source += piece
        return "".join(parts)

    def read_rest(self) -> str:
        """Return what has been left of an escape, at the end."""
        rest, self._unfinished = self._unfinished, ""
        self.source += rest
        return rest

    def locate(self, position: int) -> int:
        """Return where in the source something stands that is read at a position."""
        if not self._steps:
            return position
        step = bisect_right(self._steps, position)
        return position + self._saved[step - 1] if step else position

    def forget(self, count: int) -> None:
        """Forget the first characters that were read."""
        cut = self.locate(count)
        self.source = self.source[cut:]
        if self._steps:
            step = bisect_right(self._steps, count)
            self._steps = [place - count for place in self._steps[step:]]
            self._saved = [shift - (cut - count) for shift in self._saved[step:]]

    def replace(self, said: str, marks: list[Mark], put: Callable[[Mark, str], str], begin: int, end: int) -> str:
        """Return the source of what is read from `begin` to `end`, with marked pieces replaced; it stays JSON.

        To be asked for one stretch after the other: whether a place is inside a string depends on all before it.
        """
        parts: list[str] = []
        position = self.locate(begin)
        for mark in marks:
            start, stop = self.locate(mark.start), self.locate(mark.end)
            parts.append(self._pass(self.source[position:start]))
            parts.append(self._hide(self.source[start:stop], put(mark, said[mark.start : mark.end])))
            position = stop
        parts.append(self._pass(self.source[position : self.locate(end)]))
        return "".join(parts)

    def _pass(self, text: str) -> str:
        if '"' in text and _STRING_PART.findall(text).count('"') % 2:
            self._is_inside = not self._is_inside
        return text

    def _hide(self, found: str, masked: str) -> str:
        """Return what goes in the place of a find; of one that reaches over several strings, their form stays."""
        if '"' not in found or '"' not in _STRING_PART.findall(found):
            return masked if self._is_inside else f'"{masked}"'
        parts = []
        for part in _FOUND_PART.findall(found):
            if part == '"':
                self._is_inside = not self._is_inside
                parts.append(part)
            elif self._is_inside:
                parts.append(masked)
                masked = ""
            else:
                parts.append(_LITERAL.sub("null", part))
        return "".join(parts)


def read_json(source: str) -> tuple[str, JsonText]:
    """Return what a whole JSON text says, and the way back from it."""
    text = JsonText()
    said = text.read(source, 0)
    return said + text.read_rest(), text


def _character(escape: re.Match[str]) -> str:
    high, low, other, short = escape.groups()
    if short:
        return _SHORT.get(short, short)
    if other:
        character = chr(int(other, 16))
        # Half a surrogate pair is no character, and could not be written down.
        return "\ufffd" if "\ud800" <= character <= "\udfff" else character
    return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
