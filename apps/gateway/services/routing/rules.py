"""Which routing rule a call meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.core.expressions import ExpressionFailed, Facts
from apps.core.ids import encode_id
from apps.gateway.runtime.rule_failures import note_failure
from apps.gateway.selectors import Caller
from apps.gateway.selectors.routing import RULE_VOCABULARY, RuleEntry
from apps.gateway.services.facts import CallFacts

Follow = Callable[[RuleEntry], bool]
IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule: it holds or not, could not be asked (`failure`), or could not be followed for this key."""

    rule: RuleEntry
    holds: bool
    failure: str = ""
    is_withheld: bool = False


class RuleFacts:
    """One call as rules see it; worked out when the first rule asks, once for each time zone."""

    def __init__(
        self, facts: CallFacts, caller: Caller, request: dict[str, Any], *, now: datetime | None = None
    ) -> None:
        self._facts = facts
        self._caller = caller
        self._request = request
        self._now = now
        self._values: dict[str, Any] | None = None
        self._bound: dict[str, Facts] = {}

    def in_zone(self, zone: ZoneInfo) -> Facts:
        """Return the facts with the time of day in a time zone."""
        found = self._bound.get(zone.key)
        if found is None:
            if self._values is None:
                self._values = self._gather()
            now = (self._now or datetime.now(UTC)).astimezone(zone)
            self._values |= {"hour": now.hour, "minute": now.minute, "weekday": now.isoweekday()}
            found = self._bound[zone.key] = RULE_VOCABULARY.bind(self._values)
        return found

    def _gather(self) -> dict[str, Any]:
        facts, actor, request = self._facts, self._caller.actor, self._request
        metadata = request.get("metadata")
        return {
            "model": facts.model,
            "tags": list(facts.tags),
            "team": _public("team", self._caller.terms.team_id),
            "user": _public("user", actor.user_id),
            "key": _public("key", actor.api_key_id),
            "organization": _public("org", actor.organization_id),
            "end_user": facts.end_user,
            "prompt_tokens": facts.prompt_tokens,
            "answer_tokens": facts.answer_tokens or 0,
            "stream": bool(request.get("stream")),
            "has_tools": bool(request.get("tools")),
            "has_images": has_images(request),
            "metadata": {name: value for name, value in metadata.items() if isinstance(value, str)}
            if isinstance(metadata, dict)
            else {},
        }


def find_rule(rules: tuple[RuleEntry, ...], facts: RuleFacts, *, may_follow: Follow) -> RuleEntry | None:
    """Return the first rule that holds and may be followed. One that cannot be asked is counted and passed over."""
    for rule in rules:
        verdict = judge_rule(rule, facts, may_follow=may_follow)
        if verdict.failure:
            note_failure(rule.id, verdict.failure)
        if verdict.holds and not verdict.is_withheld:
            return rule
    return None


def judge_rule(rule: RuleEntry, facts: RuleFacts, *, may_follow: Follow) -> Verdict:
    """Return what becomes of one rule."""
    try:
        holds = rule.condition.holds(facts.in_zone(rule.zone))
    except ExpressionFailed as error:
        return Verdict(rule, holds=False, failure=str(error))
    return Verdict(rule, holds=holds, is_withheld=holds and not may_follow(rule))


def has_images(request: dict[str, Any]) -> bool:
    """Tell whether a canonical request shows the model pictures."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        return False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list) and any(
            isinstance(part, dict) and part.get("type") in IMAGE_PARTS for part in content
        ):
            return True
    return False


@lru_cache(maxsize=8192)
def _public(prefix: str, value: UUID | None) -> str:
    return encode_id(prefix, value) if value is not None else ""
