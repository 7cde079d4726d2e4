"""The built-in moderation: a classifier of phrases, without a model and without a network.

It names what is said outright in the languages it knows and misses what is only meant: an organization that needs more
names a provider's moderation model in its policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from apps.gateway.guards.base import Beginning, Hit, Text
from apps.gateway.guards.moderation_phrases import PHRASES
from apps.gateway.guards.phrases import PhraseBook, combine

CATEGORIES: tuple[str, ...] = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
"""OpenAI's names, which clients know."""
THRESHOLD = 0.5
ALL = frozenset(CATEGORIES)
_PARENTS = {
    "harassment/threatening": (("harassment", 0.8), ("violence", 0.6)),
    "hate/threatening": (("hate", 0.9), ("violence", 0.6)),
    "illicit/violent": (("illicit", 0.9),),
    "self-harm/instructions": (("self-harm", 0.9),),
    "self-harm/intent": (("self-harm", 0.9),),
    "sexual/minors": (("sexual", 0.9),),
    "violence/graphic": (("violence", 0.8),),
}
"""What a narrower category says about wider ones, with how much of its score."""

_BOOK = PhraseBook("moderation", PHRASES)


@dataclass(frozen=True, slots=True)
class Classification:
    """What a text was found to be. Both mappings hold every category."""

    flagged: bool
    categories: Mapping[str, bool]
    scores: Mapping[str, float]


class ModerationDetector:
    """Finds the phrases; how much they come to together is for `score_hits`."""

    name: ClassVar[str] = "moderation"
    kinds: ClassVar[tuple[str, ...]] = CATEGORIES

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return the phrases of some categories, and of those that say something about them."""
        return _BOOK.find(text, _with_children(kinds))

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns of the phrases."""
        return _BOOK.beginnings(_with_children(kinds))


def classify(text: str) -> Classification:
    """Return how much of each category a text has: scores of 0 to 1, flagged from THRESHOLD on.

    Costs about a tenth of a millisecond per thousand tokens of harmless text.
    """
    scores = score_hits((hit.kind, hit.score) for hit in _BOOK.find(Text(text), ALL))
    complete = {category: round(scores.get(category, 0.0), 4) for category in CATEGORIES}
    return judge_scores(complete)


def judge_scores(scores: Mapping[str, float]) -> Classification:
    """Return the classification that scores amount to at the usual threshold."""
    categories = {category: score >= THRESHOLD for category, score in scores.items()}
    return Classification(flagged=any(categories.values()), categories=categories, scores=scores)


def score_hits(found: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the scores of categories from phrases found, each a category and a weight: independent signs add up.

    A narrower category lends a part of its score to the wider ones.
    """
    weights: dict[str, list[float]] = {}
    for kind, weight in found:
        weights.setdefault(kind, []).append(weight)
    scores = {kind: combine(values) for kind, values in weights.items()}
    for kind, score in tuple(scores.items()):
        for parent, share in _PARENTS.get(kind, ()):
            scores[parent] = max(scores.get(parent, 0.0), score * share)
    return scores


@lru_cache(maxsize=256)
def _with_children(kinds: frozenset[str]) -> frozenset[str]:
    children = {child for child, parents in _PARENTS.items() if any(parent in kinds for parent, _ in parents)}
    return kinds | children


def categories_of(kind: str) -> tuple[str, ...]:
    """Return the category of a phrase and those that it says something about."""
    return (kind, *(parent for parent, _ in _PARENTS.get(kind, ())))
