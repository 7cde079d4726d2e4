"""Sentiment from word lists of six languages, without a model."""

from __future__ import annotations

import math

from apps.gateway.choices import SentimentLabel
from apps.gateway.services.analysis.tokens import (
    ENGLISH,
    guess_language,
    sentiment_words,
    split_words,
)

CERTAINTY = 6.0
"""Judging words from which on a text's score is near its direction: score = sum / sqrt(sum² + CERTAINTY)."""
CLEAR = 0.2
MIXED_SHARE = 0.35
REACH = 3
"""Words before a judging word in which a negation turns it."""
NEGATED = -0.75
INTENSIFIED = 1.5
FACES = {
    "positive": (":)", ":-)", ":D", "😀", "😃", "😄", "😊", "😍", "🥰", "👍", "🎉", "❤", "🙏"),
    "negative": (":(", ":-(", "😞", "😠", "😡", "😢", "😭", "👎", "💔", "🤬"),
}


def score_sentiment(text: str) -> tuple[SentimentLabel, float]:
    """Return how a text judges what it is about, and a score from -1 to 1."""
    words = split_words(text)
    language = guess_language(words)
    lists = sentiment_words()
    positive = lists[language]["positive"] | lists[ENGLISH]["positive"]
    negative = lists[language]["negative"] | lists[ENGLISH]["negative"]
    good = float(sum(text.count(face) for face in FACES["positive"]))
    bad = float(sum(text.count(face) for face in FACES["negative"]))
    for index, word in enumerate(words):
        if word in positive or word in negative:
            weight = _weigh(words[max(0, index - REACH) : index], 1.0 if word in positive else -1.0)
            good += max(weight, 0.0)
            bad += max(-weight, 0.0)
    balance = good - bad
    score = round(balance / math.sqrt(balance * balance + CERTAINTY), 3)
    return _label(good, bad, score), score


def _weigh(before: list[str], weight: float) -> float:
    lists = sentiment_words()["any"]
    if before and before[-1] in lists["intensifiers"]:
        weight *= INTENSIFIED
    return weight * NEGATED if any(word in lists["negations"] for word in before) else weight


def _label(good: float, bad: float, score: float) -> SentimentLabel:
    if good and bad and min(good, bad) / (good + bad) >= MIXED_SHARE:
        return SentimentLabel.MIXED
    if score >= CLEAR:
        return SentimentLabel.POSITIVE
    if score <= -CLEAR:
        return SentimentLabel.NEGATIVE
    return SentimentLabel.NEUTRAL
