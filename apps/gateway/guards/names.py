"""Names of people, where something says that they are names: a title before them, or a sentence that introduces them.

A heuristic, and off unless a policy asks for it: a capital letter alone is no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apps.gateway.guards.base import Text

_PART = r"[A-ZÀ-ÞŁŠŽČĆŐŰ][a-zß-ÿąćčęłńőśšűźżž]{1,20}(?:[-'’][A-ZÀ-Þ][a-zß-ÿ]{1,20})?"
_NAME = rf"{_PART}(?: (?:[A-Z]\.|van|von|der|de|del|della|da|dos|bin|al|le|la|{_PART})){{0,3}}"
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir|Herrn?|Frau|Monsieur|Madame|Mme|Mlle|Señor|Señora|Sr|Sra|Signor|Signora|Sig|Dhr|Mevr"
    r"|Pan|Pani|Senhor|Senhora)"
)
_INTRODUCTION = (
    r"(?:[Mm]y name is|[Nn]ame is|[Nn]ame:|I am called|[Mm]ein Name ist|[Ii]ch heiße|[Jj]e m['’]appelle|[Mm]on nom est"
    r"|[Mm]e llamo|[Mm]i nombre es|[Mm]i chiamo|[Mm]eu nome é|[Mm]ijn naam is|[Nn]azywam się|[Jj]ag heter)"
)
TITLED = rf"(?<!\w){_TITLE}\.? {_NAME}(?!\w)"
INTRODUCED = rf"(?<!\w){_INTRODUCTION} {_NAME}(?!\w)"
NAME_BEGINNINGS = (TITLED, INTRODUCED)
_TITLED = re.compile(rf"(?<!\w){_TITLE}\.? ({_NAME})(?!\w)")
_INTRODUCED = re.compile(rf"(?<!\w){_INTRODUCTION} ({_NAME})(?!\w)")
_TITLE_WORDS_LISTED = (
    "mr mrs ms miss dr prof sir herr herrn frau monsieur madame mme mlle señor señora sr sra signor signora sig dhr mevr pan "
    "pani senhor senhora"
)
_TITLE_WORDS = frozenset(_TITLE_WORDS_LISTED.split())
_INTRODUCING_WORDS = frozenset(
    ("name", "called", "heiße", "appelle", "nom", "llamo", "nombre", "chiamo", "nome", "naam", "nazywam", "heter")
)


def find_names(text: Text) -> Iterator[tuple[int, int, int]]:
    """Yield where the title or introduction begins, and where the name begins and ends."""
    if _TITLE_WORDS & text.words:
        yield from ((match.start(), *match.span(1)) for match in _TITLED.finditer(text.raw, text.begin))
    if _INTRODUCING_WORDS & text.words:
        yield from ((match.start(), *match.span(1)) for match in _INTRODUCED.finditer(text.raw, text.begin))
