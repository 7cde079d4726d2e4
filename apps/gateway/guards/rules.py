"""Policies, put together: what is looked for in one direction, and what is done about it.

Every policy that applies is applied as it is, with its own kinds, thresholds and conditions; where several have an opinion
on the same thing, the strictest holds: block before mask before log. Nothing that one policy asks for is undone by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from apps.gateway.choices import GUARD_STRICTNESS, GuardDirection, GuardMode
from apps.gateway.guards.base import Beginning, Detector, Hit, Text
from apps.gateway.guards.beginnings import HoldFinder
from apps.gateway.guards.moderation import score_hits
from apps.gateway.guards.own import OwnDetector
from apps.gateway.guards.phrases import combine
from apps.gateway.guards.registry import DETECTORS
from apps.gateway.guards.topics import Topics, compile_topics


@dataclass(frozen=True, slots=True)
class PolicyTerms:
    """One policy as data. `modes` are by detector: what is done in prompts, and in answers."""

    id: UUID
    modes: Mapping[str, tuple[GuardMode, GuardMode]]
    pii_kinds: frozenset[str]
    secret_kinds: frozenset[str]
    injection_threshold: float = 0.5
    moderation_thresholds: Mapping[str, float] = field(default_factory=dict)
    moderation_model: str = ""
    topics_allow: str = ""
    topics_deny: str = ""
    max_prompt_characters: int | None = None
    max_answer_characters: int | None = None
    is_reversible: bool = False
    own_patterns: Mapping[str, str] = field(default_factory=dict)
    own_words: tuple[str, ...] = ()

    def mode(self, detector: str, direction: GuardDirection) -> GuardMode:
        """Return what is done about the finds of a detector in one direction."""
        return self.modes[detector][0 if direction is GuardDirection.INPUT else 1]


@dataclass(frozen=True, slots=True)
class Action:
    """What is done, and which policy wants it."""

    mode: GuardMode
    policy_id: UUID


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on something is done about the signs of a detector; by kind for moderation."""

    action: Action
    lowest: float
    by_kind: Mapping[str, float]
    model: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """The longest text that a policy lets through, in characters."""

    action: Action
    characters: int


class Rules:
    """Everything that is looked for in one direction. Immutable, and shared by all calls that it applies to."""

    __slots__ = ("_detectors", "_holds", "_span_actions", "bounds", "is_empty", "is_reversible", "moderation_models", "thresholds", "topics")  # fmt: skip

    def __init__(self, policies: Sequence[PolicyTerms], direction: GuardDirection) -> None:
        kinds: dict[str, set[str]] = {}
        self._span_actions: dict[tuple[str, str], Action] = {}
        self.thresholds: dict[str, list[Threshold]] = {"injection": [], "moderation": []}
        self.topics: list[tuple[Topics, Action]] = []
        self.bounds: list[Bound] = []
        own: list[OwnDetector] = []
        for policy in policies:
            actions = {name: Action(policy.mode(name, direction), policy.id) for name in policy.modes}
            active = {name: action for name, action in actions.items() if action.mode is not GuardMode.OFF}
            for name, wanted in (("pii", policy.pii_kinds), ("secrets", policy.secret_kinds)):
                if name in active:
                    self._want(kinds, name, wanted, active[name])
            if "own" in active and (policy.own_patterns or policy.own_words):
                detector = OwnDetector(policy.own_patterns, policy.own_words)
                own.append(detector)
                self._want({}, "own", detector.named, active["own"])
            self._take_thresholds(policy, active, kinds)
            if "topics" in active and (policy.topics_allow or policy.topics_deny):
                self.topics.append((compile_topics(policy.topics_allow, policy.topics_deny), active["topics"]))
            most = policy.max_prompt_characters if direction is GuardDirection.INPUT else policy.max_answer_characters
            if "lengths" in active and most is not None:
                self.bounds.append(Bound(active["lengths"], most))
        self._detectors: list[tuple[Detector, frozenset[str]]] = [
            (DETECTORS[name], frozenset(wanted)) for name, wanted in kinds.items()
        ]
        self._detectors += [(detector, frozenset(detector.named)) for detector in own]
        self.moderation_models = {threshold.model for threshold in self.thresholds["moderation"] if threshold.model}
        self.is_reversible = _is_reversible(policies)
        self.is_empty = not (self._detectors or self.topics or self.bounds)
        self._holds = HoldFinder(self._beginnings()) if direction is GuardDirection.OUTPUT else HoldFinder(())

    def find(self, text: Text) -> list[Hit]:
        """Return everything that the detectors find."""
        return [hit for detector, kinds in self._detectors for hit in detector.find(text, kinds)]

    def hold_from(self, raw: str, folded: str, start: int) -> int:
        """Return from where on, not before `start`, a text may still become something to act upon."""
        return self._holds.find(raw, folded, start)

    def action_for(self, hit: Hit) -> Action:
        """Return what is done about something that is simply there. (Signs are added up and judged together.)"""
        return self._span_actions[hit.detector, hit.kind]

    def judge_injection(self, weights: Iterable[float]) -> Action | None:
        """Return what is done about signs of an injection in one text."""
        score = combine(weights)
        return strictest(t.action for t in self.thresholds["injection"] if score and score >= t.lowest)

    def judge_moderation(self, found: Iterable[tuple[str, float]]) -> dict[str, Action]:
        """Return what is done about phrases in one text, by category."""
        return self.judge_scores(score_hits(found))

    def judge_scores(self, scores: Mapping[str, float], *, model: str = "") -> dict[str, Action]:
        """Return what is done about a text with these scores, by category; those of a model bind who asks for it."""
        actions = {}
        for category, score in scores.items():
            action = strictest(
                t.action
                for t in self.thresholds["moderation"]
                if score >= t.by_kind.get(category, t.lowest) and model in ("", t.model)
            )
            if action is not None:
                actions[category] = action
        return actions

    @property
    def waits_for_whole(self) -> bool:
        """Tell whether an answer is judged as a whole, so that nothing of it may leave before its end."""
        return any(action.mode is GuardMode.BLOCK for _, action in self.topics)

    def _want(self, kinds: dict[str, set[str]], name: str, wanted: Iterable[str], action: Action) -> None:
        for kind in wanted:
            kinds.setdefault(name, set()).add(kind)
            known = self._span_actions.get((name, kind))
            found = strictest((known, action) if known else (action,))
            assert found is not None
            self._span_actions[name, kind] = found

    def _take_thresholds(self, policy: PolicyTerms, active: Mapping[str, Action], kinds: dict[str, set[str]]) -> None:
        if "injection" in active:
            kinds.setdefault("injection", set()).update(DETECTORS["injection"].kinds)
            self.thresholds["injection"].append(Threshold(active["injection"], policy.injection_threshold, {}))
        if "moderation" in active:
            kinds.setdefault("moderation", set()).update(DETECTORS["moderation"].kinds)
            self.thresholds["moderation"].append(
                Threshold(active["moderation"], 0.5, policy.moderation_thresholds, policy.moderation_model)
            )

    def _beginnings(self) -> list[Beginning]:
        return [found for detector, kinds in self._detectors for found in detector.beginnings(kinds)]


def strictest(actions: Iterable[Action]) -> Action | None:
    """Return the action that does most; of equals the first; None where there is none."""
    return max(actions, key=lambda action: GUARD_STRICTNESS[action.mode], default=None)


def _is_reversible(policies: Sequence[PolicyTerms]) -> bool:
    """Tell whether placeholders are mapped back: when every policy that masks something in prompts says so."""
    masking = [p for p in policies if any(mode[0] is GuardMode.MASK for mode in p.modes.values())]
    return bool(masking) and all(policy.is_reversible for policy in masking)
