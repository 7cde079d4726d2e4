"""Summaries, titles and keywords from a text's own words, without a model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from apps.gateway.services.analysis.tokens import (
    ENGLISH,
    UNSPACED_CONTENT,
    content_words,
    count_words,
    cut_words,
    guess_language,
    shorten,
    split_sentences,
    split_words,
    stop_words,
)

MOST_SENTENCES = 400
SHORTEST_SENTENCE = 4
"""Words: what is shorter tells little on its own."""
LONGEST_PHRASE = 3
SHORTEST_UNSPACED, LONGEST_UNSPACED = 2, 4
"""Characters of a phrase in a script without spaces."""
_BREAK = re.compile(r"[^\w\s'’-]+|\n+")
_GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|hallo|guten (?:tag|morgen|abend)|bonjour|salut|hola|buenos días|ciao|buongiorno|olá|bom dia)"
    r"(?: there| zusammen| all| everyone| tous)?[\s,!.:–-]+)+",
    re.I,
)


def extract_summary(text: str, *, max_words: int) -> str:
    """Return the most telling sentences of a text, in their order, within a number of words.

    SumBasic (Nenkova and Vanderwende, 2005): the sentence whose words are the likeliest in the text comes first; what
    has been said makes its words less likely, so that the next sentence says something else.
    """
    sentences = split_sentences(text)[:MOST_SENTENCES]
    split = [content_words(split_words(sentence)) for sentence in sentences]
    counts = Counter(word for words in split for word in words)
    total = sum(counts.values()) or 1
    chances = {word: times / total for word, times in counts.items()}
    left = {index for index, words in enumerate(split) if words and len(words) >= min(SHORTEST_SENTENCE, len(counts))}
    chosen: list[int] = []
    room = max_words
    while left:
        best = max(left, key=lambda index: (_mean(split[index], chances), -index))
        left.discard(best)
        length = count_words(sentences[best])
        if length > room:
            continue
        room -= length
        chosen.append(best)
        for word in set(split[best]):
            chances[word] **= 2
    if not chosen:
        return cut_words(text, max_words)
    return " ".join(sentences[index] for index in sorted(chosen))


def extract_title(text: str, *, length: int) -> str:
    """Return the beginning of a text as a title: its first sentence that says something, without greetings."""
    sentences = [_GREETING.sub("", sentence) for sentence in split_sentences(text)[:5]]
    telling = [sentence for sentence in sentences if content_words(split_words(sentence))]
    first = next(iter(telling or sentences), "").strip("#*_`>-–•\"“”' ").rstrip(".:,;!")
    return shorten(first[:1].upper() + first[1:], length)


def extract_keywords(text: str, *, limit: int) -> list[tuple[str, float]]:
    """Return the key phrases of a text, the weightiest first, with weights that sum to 1.

    Candidates are, as in RAKE (Rose et al., 2010), the runs of words between small words and punctuation, and their
    parts of up to three words. A phrase that occurs more than once weighs its occurrences times its length; one that
    occurs once, the root of its length: what is only said once is rarely what a text is about.
    """
    words = split_words(text)
    small = stop_words()[guess_language(words)] | stop_words()[ENGLISH]
    counts = Counter(phrase for part in _BREAK.split(text) for phrase in _phrases(split_words(part), small))
    weighed = [
        (" ".join(phrase), times * len(phrase) if times > 1 else math.sqrt(len(phrase)))
        for phrase, times in counts.items()
    ]
    ranked = sorted([*weighed, *_unspaced_phrases(text)], key=lambda pair: -pair[1])
    kept: list[tuple[str, float]] = []
    for phrase, score in ranked:
        if len(kept) == limit:
            break
        if not any(_parts(phrase) & _parts(other) for other, _ in kept):
            kept.append((phrase, score))
    total = sum(score for _, score in kept) or 1.0
    return [(phrase, round(score / total, 4)) for phrase, score in kept]


def _phrases(words: list[str], small: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of words with content and their parts, whole runs first."""
    for is_content, group in groupby(words, key=lambda word: len(word) > 2 and word not in small):
        run = tuple(group) if is_content else ()
        for length in range(min(len(run), LONGEST_PHRASE), 0, -1):
            for start in range(len(run) - length + 1):
                yield run[start : start + length]


def _unspaced_phrases(text: str) -> list[tuple[str, float]]:
    """Return the phrases of scripts that put no spaces between words: sequences of characters that come again.

    Where none does, the longest run between small words stands for the text.
    """
    runs = UNSPACED_CONTENT.findall(text)
    counts = Counter(
        run[start : start + length]
        for run in runs
        for length in range(SHORTEST_UNSPACED, LONGEST_UNSPACED + 1)
        for start in range(len(run) - length + 1)
    )
    again = [(phrase, times * len(phrase) / SHORTEST_UNSPACED) for phrase, times in counts.items() if times > 1]
    longest = max(runs, key=len, default="")[:LONGEST_UNSPACED]
    return again or ([(longest, 1.0)] if len(longest) >= SHORTEST_UNSPACED else [])


def _parts(phrase: str) -> set[str]:
    """Return the words of a phrase; of one without spaces, its characters."""
    return set(phrase) if UNSPACED_CONTENT.match(phrase) else set(phrase.split())


def _mean(words: list[str], chances: dict[str, float]) -> float:
    return sum(chances[word] for word in words) / len(words)
