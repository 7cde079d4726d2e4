"""What may be talked about: conditions in CEL over a text, its words and the call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from apps.core.expressions import Condition, ExpressionFailed, Facts, Kind, Vocabulary
from apps.gateway.guards.base import Text

MOST_CHARACTERS = 50_000
"""Longer texts are judged by their beginning: conditions search them several times."""

VOCABULARY = Vocabulary(
    {
        "text": Kind.TEXT,
        "words": Kind.TEXTS,
        "characters": Kind.NUMBER,
        "direction": Kind.TEXT,
        "model": Kind.TEXT,
        "tags": Kind.TEXTS,
    }
)
"""`text` and `words` are in lower case; `direction` is `input` or `output`."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Two conditions: `allow` has to hold, `deny` must not. None asks for nothing."""

    allow: Condition | None
    deny: Condition | None

    def judge(self, facts: Facts) -> str | None:
        """Return `denied`, `not_allowed`, or None. A condition that cannot be answered decides against the text."""
        if self.deny is not None and _holds(self.deny, facts, otherwise=True):
            return "denied"
        if self.allow is not None and not _holds(self.allow, facts, otherwise=False):
            return "not_allowed"
        return None


@lru_cache(maxsize=512)
def compile_topics(allow: str, deny: str) -> Topics:
    """Return the conditions of a policy. Raise ExpressionInvalid."""
    return Topics(VOCABULARY.compile(allow) if allow else None, VOCABULARY.compile(deny) if deny else None)


def bind_text(raw: str, *, direction: str, model: str, tags: tuple[str, ...]) -> Facts:
    """Return what the conditions ask about."""
    text = Text(raw[:MOST_CHARACTERS])
    return VOCABULARY.bind(
        {
            # Half a surrogate pair, which JSON may carry, is no text for CEL.
            "text": text.folded.encode("utf-8", "replace").decode(),
            "words": [word.encode("utf-8", "replace").decode() for word in sorted(text.words)],
            "characters": len(raw),
            "direction": direction,
            "model": model,
            "tags": list(tags),
        }
    )


def _holds(condition: Condition, facts: Facts, *, otherwise: bool) -> bool:
    try:
        return condition.holds(facts)
    except ExpressionFailed:
        return otherwise
