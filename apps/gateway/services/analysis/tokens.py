"""Words, sentences and languages, without a model."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import orjson

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Characters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Kana and Han."""
UNSPACED_CONTENT = re.compile(
    r"(?:(?![的了是在和不有我你他她这那就也都与及而着被把很说要会能对为以从到个们之])[\u3400-\u4dbf\u4e00-\u9fff])+|[\u30a1-\u30ff]{2,}"
)
"""Runs of Han without Chinese function words, and of Katakana: what carries content in Chinese and Japanese."""
CHARACTERS_A_WORD = 2
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
    """Return the words of a text, in lower case; of a script without spaces, each two characters that stand together."""
    words: list[str] = []
    for word in WORD.findall(text.lower()):
        if UNSPACED.search(word) and len(word) > CHARACTERS_A_WORD:
            words.extend(word[start : start + CHARACTERS_A_WORD] for start in range(len(word) - 1))
        else:
            words.append(word.replace("’", "'"))
    return words


def count_words(text: str) -> int:
    """Return how many words a text has; two characters of a script without spaces count as one."""
    unspaced, count = UNSPACED.subn(" ", text)
    return len(unspaced.split()) + math.ceil(count / CHARACTERS_A_WORD)


def cut_words(text: str, most: int) -> str:
    """Return the beginning of a text, on one line, of at most `most` words as `count_words` counts them."""
    kept: list[str] = []
    room = most
    for word in text.split():
        length = count_words(word)
        if length > room:
            kept.append(word[: room * CHARACTERS_A_WORD])
            break
        kept.append(word)
        room -= length
    return " ".join(kept).rstrip()


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
