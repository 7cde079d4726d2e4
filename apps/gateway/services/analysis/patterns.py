"""Names, dates, amounts and addresses by their shape, without a model."""

from __future__ import annotations

import re

from apps.gateway.choices import EntityKind
from apps.gateway.services.analysis.tokens import guess_language, split_words, stop_words

MOST_ENTITIES = 200
_MONTHS = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|février|mar(?:ch|s|zo)?|märz|apr(?:il|ile)?|avril|abril|may|mai|mayo"
    r"|jun[ei]?|juin|junio|jul[yi]?|juillet|julio|aug(?:ust)?|août|agosto|sep(?:t(?:ember|embre)?)?|septiembre"
    r"|o[ck]t(?:ober|obre|ubre)?|nov(?:ember|embre|iembre)?|de[cz](?:ember|embre)?|décembre|diciembre)"
)
_PATTERNS: tuple[tuple[EntityKind, re.Pattern[str]], ...] = (
    (EntityKind.URL, re.compile(r"\bhttps?://[^\s<>\"')\]]+[^\s<>\"')\].,;:!?]", re.I)),
    (EntityKind.EMAIL, re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+\b")),
    (
        EntityKind.DATE,
        re.compile(
            r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
            rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?\s+(?:de\s+)?{_MONTHS}\.?(?:\s+(?:de\s+)?\d{{4}})?"
            rf"|{_MONTHS}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?)\b",
            re.I,
        ),
    ),
    (
        EntityKind.MONEY,
        re.compile(
            r"(?:[$€£¥]\s?\d[\d.,' ]{0,30}\d|[$€£¥]\s?\d|\b(?:USD|EUR|GBP|CHF|JPY)\s?\d[\d.,']{0,30}\d?"
            r"|\b\d[\d.,']{0,30}\s?(?:[€£¥]|USD|EUR|GBP|CHF|JPY|euros?|dollars?|Franken)(?!\w))"
            r"(?:\s?(?:million|billion|Mio|Mrd)\b\.?)?",
        ),
    ),
    (EntityKind.PERCENT, re.compile(r"(?<![\w.])\d{1,30}(?:[.,]\d{1,30})?\s?(?:%|percent\b|Prozent\b)")),
    (EntityKind.PHONE, re.compile(r"(?<![\w.])(?:\+\d{1,3}[\s./-]?)?(?:\(\d{1,5}\)[\s./-]?)?\d{2,5}(?:[\s./-]\d{2,5}){2,4}(?![\w])")),
)  # fmt: skip
_NAME = re.compile(
    r"\b[A-ZÀ-ÖØ-Þ][\w'’&-]*(?:\s+(?:(?:of|the|de|del|della|di|da|du|von|van|der|für|&)\s+){0,2}[A-ZÀ-ÖØ-Þ][\w'’&-]*){0,4}"
)
_JOIN = re.compile(r"\s+(?:(?:of|de|del|della|di|da|du|von|van)(?:\s+(?:the|der))?|der|für)\s+")
_ORGANIZATION = re.compile(
    r"\b(?:Inc|Ltd|LLC|PLC|Corp|Corporation|Company|GmbH|AG|KG|SE|SA|SARL|SAS|S\.A|SpA|SL|BV|NV|AB|Oy|Group|Bank"
    r"|University|Universität|Université|Universidad|Institute|Institut|Foundation|Stiftung|Association|Ministry"
    r"|Ministerium|Committee|Council|Agency)\b"
)
_TITLE = re.compile(r"^(?:Mr|Mrs|Ms|Dr|Prof|Herr|Frau|Monsieur|Madame|Señor|Señora|Signor|Signora|Sir|Lady)\b\.?\s*")
_SPACE = re.compile(r"\s+")
_BEFORE = 40
"""Characters before a name that are looked at."""
_PLACE_BEFORE = re.compile(r"\b(?:in|near|nach|à|dans|hacia)\s+$")


def find_patterns(text: str) -> list[tuple[EntityKind, str]]:
    """Return what a text names, each thing once, in the order of the text.

    Whatever the text is, the time grows with its length and not with the square of it: spaces are made one, and every
    pattern ends after so many characters.
    """
    text = _SPACE.sub(lambda space: "\n" if "\n" in space.group() else " ", text)
    # German writes every noun with a capital: one alone names nothing there.
    has_capital_nouns = guess_language(split_words(text)) == "de"
    taken = bytearray(len(text))
    found: list[tuple[int, EntityKind, str]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\x01" * (end - start)
                found.append((match.start(), kind, " ".join(match.group().split())))
    for match in _NAME.finditer(text):
        if taken.find(1, *match.span()) >= 0:
            continue
        for start, name in _split_name(match.start(), match.group()):
            if has_capital_nouns and (" " not in name or _JOIN.search(name)) and not _ORGANIZATION.search(name):
                continue
            kind_of_name = _judge_name(text, start, name)
            if kind_of_name is not None:
                found.append((start, kind_of_name, " ".join(name.split())))
    return list(dict.fromkeys((kind, name) for _, kind, name in sorted(found)))[:MOST_ENTITIES]


def _split_name(start: int, name: str) -> list[tuple[int, str]]:
    """Return `Anna Keller of Acme Ltd` as a person and a firm; `Bank of Ireland` stays whole."""
    join = _JOIN.search(name)
    if join is None or _ORGANIZATION.search(name[: join.start()]) or not _ORGANIZATION.search(name[join.end() :]):
        return [(start, name)]
    return [(start, name[: join.start()]), (start + join.end(), name[join.end() :])]


def _judge_name(text: str, start: int, name: str) -> EntityKind | None:
    """Return what a capitalised run is likely to name; None for a word that merely begins a sentence."""
    words = name.split()
    if _ORGANIZATION.search(name) and len(words) > 1:
        return EntityKind.ORGANIZATION
    if _TITLE.match(name) and len(words) > 1:
        return EntityKind.PERSON
    before = text[max(0, start - _BEFORE) : start].rstrip(" \"“'(")
    opens_sentence = not before or before[-1] in ".!?:\n•-–"
    lowered = words[0].lower()
    is_small = any(lowered in small for small in stop_words().values())
    if len(words) == 1:
        if opens_sentence or is_small or len(name) < 3:
            return None
        return EntityKind.PLACE if _PLACE_BEFORE.search(text[max(0, start - 12) : start]) else EntityKind.OTHER
    if is_small:
        return None if len(words) == 2 and opens_sentence else EntityKind.OTHER
    if _PLACE_BEFORE.search(text[max(0, start - 12) : start]):
        return EntityKind.PLACE
    return EntityKind.PERSON if len(words) in {2, 3} and all(word.isalpha() for word in words) else EntityKind.OTHER
