"""Attempts to take a model over: phrases, characters that nobody sees, payloads that nobody can read.

Heuristics with a score, not a proof. They catch what is written down in circulation and what hides in a document;
whoever has a hundred tries finds words that they do not know. What a model may do must never hang on them alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from apps.gateway.guards.base import Beginning, Hit, Text
from apps.gateway.guards.injection_phrases import PHRASES
from apps.gateway.guards.phrases import PhraseBook

KINDS = ("override", "jailbreak", "prompt_leak", "role_spoofing", "exfiltration", "encoded_payload", "invisible_text")

TAGS = r"[\U000e0001\U000e0020-\U000e007f]{1,400}"
"""The tags block: an ASCII alphabet without glyphs. Flags of England, Scotland and Wales are the one honest use."""
ZERO_WIDTH = r"[\u200b-\u200d\u2060-\u2064\ufeff\u00ad\u180e\u034f\u115f\u1160\u3164\uffa0]{2,400}"
"""Characters without width. A single joiner belongs to emoji and to some scripts; a row of them does not."""
BIDI = r"[\u202a-\u202e\u2066-\u2069]"
"""Controls that turn the direction of writing, so that what is shown is not what is read."""
SELECTORS = r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,400}"
"""Variation selectors: one chooses the form of a character, a row of them carries bytes."""
ENCODED = r"(?<![0-9A-Za-z+/=])(?:[0-9A-Za-z+/]{4}){6,150}(?:[0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?(?![0-9A-Za-z+/=])"

_INVISIBLE = (
    (0.95, TAGS, re.compile(TAGS)),
    (0.6, ZERO_WIDTH, re.compile(ZERO_WIDTH)),
    (0.5, BIDI, re.compile(BIDI)),
    (0.8, SELECTORS, re.compile(SELECTORS)),
)
_ANY_INVISIBLE = re.compile("|".join(source for _, source, _ in _INVISIBLE))
_FLAG = "\U0001f3f4"
_ENCODED = re.compile(ENCODED)
_LOWER_AND_UPPER = re.compile(r"[a-z][A-Z]|[A-Z][a-z]")
_BOOK = PhraseBook("injection", PHRASES)
_ALL = frozenset(KINDS)


class InjectionDetector:
    """Finds signs of an injection; how much they come to together is for `phrases.combine`."""

    name: ClassVar[str] = "injection"
    kinds: ClassVar[tuple[str, ...]] = KINDS

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return the signs of some kinds."""
        hits = list(_BOOK.find(text, kinds))
        if "invisible_text" in kinds and not text.is_ascii and _ANY_INVISIBLE.search(text.raw, text.begin):
            hits += _find_invisible(text)
        if "encoded_payload" in kinds and len(text.tail) >= 24:
            hits += _find_payloads(text)
        return hits

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns of some kinds."""
        found = _BOOK.beginnings(kinds)
        if "invisible_text" in kinds:
            found += [Beginning(source) for _, source, _ in _INVISIBLE]
        if "encoded_payload" in kinds:
            found.append(Beginning(ENCODED))
        return found


def _find_invisible(text: Text) -> Iterator[Hit]:
    raw = text.raw
    for weight, source, pattern in _INVISIBLE:
        for match in pattern.finditer(raw, text.begin):
            if source == TAGS and raw[match.start() - 1 : match.start()] == _FLAG and len(match[0]) <= 6:
                continue
            if source == BIDI and not _turns_latin(raw, match.start()):
                continue
            yield Hit(match.start(), match.end(), "injection", "invisible_text", weight)


def _turns_latin(raw: str, at: int) -> bool:
    """Tell whether a direction is turned where nothing is written from right to left: there it only hides something."""
    near = raw[max(0, at - 60) : at + 60]
    return not any("\u0590" <= character <= "\u08ff" for character in near)


def _find_payloads(text: Text) -> Iterator[Hit]:
    for match in _ENCODED.finditer(text.raw, text.begin):
        if _LOWER_AND_UPPER.search(match[0]) is None:
            continue
        hidden = _decode(match[0])
        # What is readable and injects something in its turn: harmless Base64 is all over the place.
        if hidden and any(_BOOK.find(Text(hidden), _ALL)):
            yield Hit(match.start(), match.end(), "injection", "encoded_payload", 0.9)


def _decode(found: str) -> str:
    try:
        return base64.b64decode(found, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
