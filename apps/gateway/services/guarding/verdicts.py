"""From what detectors find to what is done: masks, blocks, and the counts that events speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from apps.gateway.choices import GUARD_STRICTNESS, GuardDirection, GuardMode
from apps.gateway.errors import ContentBlocked
from apps.gateway.guards.base import Hit
from apps.gateway.guards.moderation import categories_of
from apps.gateway.guards.rules import Action, Rules
from apps.gateway.guards.topics import bind_text
from apps.gateway.services.facts import CallFacts

WORDS = {GuardDirection.INPUT: "prompt", GuardDirection.OUTPUT: "answer"}


class Finding(NamedTuple):
    """What an event says of a find: never the text."""

    policy_id: UUID
    detector: str
    kind: str
    mode: str
    direction: str


Findings = Counter[Finding]


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of a text that something is done about."""

    start: int
    end: int
    detector: str
    kind: str
    mode: GuardMode


class Judge:
    """Decides about one text, as a whole or piece by piece: signs add up over its pieces."""

    __slots__ = ("_categories", "_direction", "_findings", "_rules", "_signs", "_weights")

    def __init__(self, rules: Rules, direction: GuardDirection, findings: Findings) -> None:
        self._rules = rules
        self._direction = direction
        self._findings = findings
        self._weights: list[float] = []
        self._signs: list[tuple[str, float]] = []
        self._categories: set[str] = set()

    def take(self, hits: list[Hit]) -> list[Mark]:
        """Return what is to be masked of new finds, in order and apart. Raise ContentBlocked when a policy says so."""
        if not hits:
            return []
        marks: list[Mark] = []
        plain: list[Hit] = []
        injections: list[Hit] = []
        phrases: list[Hit] = []
        for hit in hits:
            (injections if hit.detector == "injection" else phrases if hit.detector == "moderation" else plain).append(
                hit
            )
        for hit in drop_outranked(plain):
            action = self._rules.action_for(hit)
            self._note(action, hit.detector, hit.kind)
            marks.append(Mark(hit.start, hit.end, hit.detector, hit.kind, action.mode))
        marks += self._judge_injections(injections)
        marks += self._judge_phrases(phrases)
        self.refuse_blocked((mark.mode, mark.kind) for mark in marks)
        return merge_marks(mark for mark in marks if mark.mode is GuardMode.MASK)

    def note(self, action: Action, detector: str, kind: str) -> None:
        """Count a find that has no place in the text. Raise ContentBlocked when its policy says so."""
        self._note(action, detector, kind)
        self.refuse_blocked([(action.mode, kind)])

    def refuse_blocked(self, found: Iterable[tuple[GuardMode, str]]) -> None:
        """Raise ContentBlocked, naming kinds, if any of these is to be blocked."""
        kinds = sorted({kind for mode, kind in found if mode is GuardMode.BLOCK})
        if kinds:
            raise ContentBlocked(
                f"A guardrail does not let this {WORDS[self._direction]} through. Found: {', '.join(kinds)}."
            )

    def _judge_injections(self, hits: list[Hit]) -> list[Mark]:
        if not hits:
            return []
        self._weights += [hit.score for hit in hits]
        action = self._rules.judge_injection(self._weights)
        if action is None:
            return []
        for hit in hits:
            self._note(action, hit.detector, hit.kind)
        return [Mark(hit.start, hit.end, hit.detector, hit.kind, action.mode) for hit in hits]

    def _judge_phrases(self, hits: list[Hit]) -> list[Mark]:
        if not hits:
            return []
        self._signs += [(hit.kind, hit.score) for hit in hits]
        actions = self._rules.judge_moderation(self._signs)
        for category, action in actions.items():
            if category not in self._categories:
                self._categories.add(category)
                self._note(action, "moderation", category)
        marks = []
        for hit in hits:
            wanted = [(name, actions[name]) for name in categories_of(hit.kind) if name in actions]
            if wanted:
                name, action = max(wanted, key=lambda pair: GUARD_STRICTNESS[pair[1].mode])
                marks.append(Mark(hit.start, hit.end, "moderation", name, action.mode))
        return marks

    def _note(self, action: Action, detector: str, kind: str) -> None:
        self._findings[Finding(action.policy_id, detector, kind, action.mode.value, self._direction.value)] += 1


def drop_outranked(hits: list[Hit]) -> list[Hit]:
    """Return hits without those that overlap a better one of the same detector: part of a card is no telephone number."""
    if len(hits) < 2:
        return hits
    kept: list[Hit] = []
    ends: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.rank, -hit.end)):
        last = ends.get(hit.detector)
        if last is not None and hit.start < last.end:
            if (hit.rank, hit.end - hit.start) <= (last.rank, last.end - last.start):
                continue
            kept.remove(last)
        kept.append(hit)
        ends[hit.detector] = hit
    return kept


def merge_marks(marks: Iterable[Mark]) -> list[Mark]:
    """Return marks in order, those that overlap joined under the name of the longest."""
    merged: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start, -mark.end)):
        last = merged[-1] if merged else None
        if last is None or mark.start >= last.end:
            merged.append(mark)
        elif mark.end > last.end:
            named = max(last, mark, key=lambda one: one.end - one.start)
            merged[-1] = Mark(last.start, mark.end, named.detector, named.kind, GuardMode.MASK)
    return merged


def judge_topics(rules: Rules, judge: Judge, text: str, *, direction: GuardDirection, facts: CallFacts) -> None:
    """Ask the topic conditions about a whole text; one that says nothing is about nothing. Raise ContentBlocked."""
    if not text.strip():
        return
    bound = bind_text(text, direction=direction.value, model=facts.model, tags=facts.tags)
    for topics, action in rules.topics:
        kind = topics.judge(bound)
        if kind is not None:
            judge.note(action, "topics", f"topic_{kind}")
