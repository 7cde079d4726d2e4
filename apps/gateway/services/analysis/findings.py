"""What an analysis finds."""

from __future__ import annotations

from dataclasses import dataclass

from apps.core.errors import AppError
from apps.gateway.choices import AnalysisMethod, AnalysisReason, EntityKind, SentimentLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How something was found.

    `model` and `cost_micros` (micro-USD) are those of the calls that were made for it: of a fallback, too, when a model
    was asked in vain. `reason` says why a fallback was needed, None when a model answered; of a call that was refused or
    failed `error` says how: whoever has to know about a spent budget or a limit looks there.
    """

    method: AnalysisMethod = AnalysisMethod.FALLBACK
    model: str = ""
    cost_micros: int = 0
    reason: AnalysisReason | None = None
    error: AppError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Finding):
    """What a text says, in few words."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Title(Finding):
    """A text's name."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags(Finding):
    """Words under which a text would be looked for, the best first; lower case, without spaces at their ends."""

    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentiment(Finding):
    """How a text judges what it is about; `score` is from -1 (bad) to 1 (good)."""

    label: SentimentLabel
    score: float


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that a text is about; the weights of a text's topics sum to 1."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics(Finding):
    """What a text is about, the weightiest first."""

    topics: tuple[Topic, ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing that a text names, as it is written there."""

    kind: EntityKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities(Finding):
    """What a text names, each thing once."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moderation(Finding):
    """Whether a text is objectionable: `scores` holds 0 to 1 for each of OpenAI's categories, `categories` those that flag it."""

    is_flagged: bool
    categories: tuple[str, ...]
    scores: dict[str, float]
