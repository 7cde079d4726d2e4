"""Words, sentences and languages, without a model."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import orjson

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")
_ABBREVIATION = re.compile(
    r"(?:^|\s)(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|z\.b|d\.h|bzw|ca|nr|sra?|mme|[a-z])\.$", re.I
)
_DIRECTORY = Path(__file__).resolve().parent / "words"
ENGLISH = "en"
LANGUAGE_WORDS = 400


@lru_cache(maxsize=1)
def stop_words() -> dict[str, frozenset[str]]:
    """Return the words without content, by language."""
    lists = orjson.loads((_DIRECTORY / "stopwords.json").read_bytes())
    return {language: frozenset(words.split()) for language, words in lists.items()}


@lru_cache(maxsize=1)
def sentiment_words() -> dict[str, dict[str, frozenset[str]]]:
    """Return the words that judge, by language; `any` has negations and intensifiers of all of them."""
    lists = orjson.loads((_DIRECTORY / "sentiment.json").read_bytes())
    shared = {name: frozenset(lists.pop(name).split()) for name in ("negations", "intensifiers")}
    found = {
        language: {name: frozenset(words.split()) for name, words in judged.items()}
        for language, judged in lists.items()
    }
    return {**found, "any": shared}


def split_words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; a line's end ends a sentence, an abbreviation's full stop does not."""
    found: list[str] = []
    for part in _SENTENCE_END.split(text):
        piece = part.strip() if part else ""
        if not piece:
            continue
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return found


def guess_language(words: list[str]) -> str:
    """Return the language (ISO 639-1) whose small words are most frequent at the beginning; English when none is."""
    counts = Counter(words[:LANGUAGE_WORDS])
    scores = {
        language: sum(times for word, times in counts.items() if word in small)
        for language, small in stop_words().items()
    }
    best = max(scores, key=lambda language: (scores[language], language == ENGLISH))
    return best if scores[best] else ENGLISH


def content_words(words: list[str]) -> list[str]:
    """Return the words that carry content."""
    small = stop_words()[guess_language(words)] | stop_words()[ENGLISH]
    return [word for word in words if len(word) > 1 and word not in small]


def shorten(text: str, length: int) -> str:
    """Return a text on one line, cut at a word's end to at most `length` characters."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    head = line[:length]
    cut = head.rfind(" ", length // 2)
    return (head[:cut] if cut > 0 else head[: length - 1]).rstrip(" ,;:–-") + "…"
