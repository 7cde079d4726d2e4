"""One text of a streamed answer: what has come is let through up to where a find may be beginning."""

from __future__ import annotations

from typing import NamedTuple

from apps.gateway.choices import GuardDirection
from apps.gateway.guards.base import CONTEXT_CHARACTERS, Text, fold
from apps.gateway.guards.beginnings import compile_beginning
from apps.gateway.guards.rules import Rules
from apps.gateway.services.guarding.json_texts import JsonText
from apps.gateway.services.guarding.placeholders import BEGINNING, PLACEHOLDER, Vault
from apps.gateway.services.guarding.scanning import replace_marks
from apps.gateway.services.guarding.verdicts import Findings, Judge, Mark

MOST_KEPT = 1_024
"""Characters of released text after which the memory of them is cut back to CONTEXT_CHARACTERS."""
LONGEST_PLACEHOLDER = 60
_PLACEHOLDER_BEGINNING = compile_beginning(BEGINNING.source, is_folded=False).pattern


class Released(NamedTuple):
    """So many characters of what came are through, and this goes in their place."""

    length: int
    text: str
    has_changed: bool


NOTHING = Released(0, "", False)


class TextFilter:
    """Takes a text in pieces of any size and gives it back, later by as little as possible, with what is masked replaced."""

    __slots__ = ("_done", "_folded", "_json", "_judge", "_length", "_raw", "_rules", "_vault")

    def __init__(self, *, rules: Rules, findings: Findings, vault: Vault, is_json: bool = False) -> None:
        self._rules = rules
        self._vault = vault
        self._judge = Judge(rules, GuardDirection.OUTPUT, findings)
        self._json = JsonText() if is_json else None
        self._raw = ""
        """What has come and is remembered; of JSON, what it says."""
        self._folded = ""
        self._done = 0
        self._length = 0

    @property
    def pending(self) -> int:
        """Return how many characters are held back."""
        return len(self._raw) - self._done

    def feed(self, piece: str) -> Released:
        """Take a piece; return what can go now.

        Raise ContentBlocked before the first character of what is blocked has gone.
        """
        if self._json is not None:
            piece = self._json.read(piece, len(self._raw))
        self._add(piece)
        hold = self._rules.hold_from(self._raw, self._folded, self._done)
        return self._release(self._before_placeholder(hold), is_end=False)

    def flush(self) -> Released:
        """Return what is left, at the end of the text. Raise ContentBlocked."""
        if self._json is not None:
            self._add(self._json.read_rest())
        return self._release(len(self._raw), is_end=True)

    def _add(self, piece: str) -> None:
        self._raw += piece
        self._folded += fold(piece)
        self._check_length(len(piece))

    def _release(self, hold: int, *, is_end: bool) -> Released:
        done = self._done
        if hold <= done:
            return NOTHING
        text = Text(self._raw, done)
        text.folded = self._folded
        hits = [hit for hit in self._rules.find(text) if hit.origin < hold]
        if hits and not is_end:
            # What reaches into the part that is held is not decided yet, nor what overlaps it.
            while undecided := [hit.origin for hit in hits if hit.origin < hold < hit.end]:
                hold = min(undecided)
            hits = [hit for hit in hits if hit.origin < hold]
        marks = self._judge.take(hits)
        length = hold - done
        if self._json is not None:
            length = self._json.locate(hold) - self._json.locate(done)
            released = self._json.replace(self._raw, marks, self._put, done, hold)
        elif marks:
            released = replace_marks(self._raw, marks, self._put, begin=done, end=hold)
        else:
            released = self._raw[done:hold]
        has_changed = bool(marks)
        if self._vault.originals:
            restored = self._vault.restore(released, is_json=self._json is not None)
            has_changed = has_changed or restored != released
            released = restored
        self._done = hold
        if hold > MOST_KEPT:
            cut = hold - CONTEXT_CHARACTERS
            if self._json is not None:
                self._json.forget(cut)
            self._raw, self._folded = self._raw[cut:], self._folded[cut:]
            self._done = CONTEXT_CHARACTERS
        return Released(length, released, has_changed)

    def _put(self, mark: Mark, found: str) -> str:
        return self._vault.put(mark.kind, found, around=self._raw, is_reversible=False)

    def _before_placeholder(self, hold: int) -> int:
        """Return where to hold so that a placeholder that is to be mapped back is not torn."""
        if self._vault.originals:
            start = self._raw.rfind("[", max(self._done, hold - LONGEST_PLACEHOLDER))
            if start >= 0 and _PLACEHOLDER_BEGINNING.match(self._raw, start) and not self._raw.endswith("]"):
                hold = min(hold, start)
            for match in PLACEHOLDER.finditer(self._raw, self._done):
                if match.start() < hold < match.end():
                    return match.start()
        return hold

    def _check_length(self, more: int) -> None:
        before, self._length = self._length, self._length + more
        for bound in self._rules.bounds:
            if before <= bound.characters < self._length:
                self._judge.note(bound.action, "lengths", "answer_too_long")
