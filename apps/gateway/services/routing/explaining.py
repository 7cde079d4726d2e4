"""Explain a route: which rule a call meets, who would be asked in which order, and why others would not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.errors import AppError
from apps.core.money import from_micros
from apps.gateway.choices import Breaker
from apps.gateway.providers.failures import Failure
from apps.gateway.runtime.health import Health
from apps.gateway.selectors import Caller, ModelEntry, Snapshot
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.routing.asking import NO_WISHES, Wishes
from apps.gateway.services.routing.choosing import Choice, choose_model, may_follow
from apps.gateway.services.routing.naming import find_named, resolve_name
from apps.gateway.services.routing.ordering import expected_cost, order_routes
from apps.gateway.services.routing.rules import RuleFacts, judge_rule


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule and what became of it."""

    id: str
    name: str
    outcome: str
    is_decisive: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that the call may go to; `left_out` says why it would not be asked now, empty when it would."""

    deployment: str
    model: str
    provider: str
    reason: str
    """Why it stands in for another model: error, context_window, content_policy; empty for the model that was meant."""
    priority: int
    weight: int
    breaker: str
    latency_ms: int | None
    cost: str
    """Expected, in dollars."""
    left_out: str


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """What routing would do with a call."""

    asked: str
    model: str
    """The model that it is for; empty when there is none."""
    strategy: str
    rules: tuple[ExplainedRule, ...]
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]
    refusal: str
    """What the caller would be told at once; empty when the call is let through."""


def explain_route(
    snapshot: Snapshot,
    caller: Caller,
    request: dict[str, Any],
    *,
    facts: CallFacts,
    kind: str,
    health: Health,
    wishes: Wishes = NO_WISHES,
    now: datetime | None = None,
) -> RouteExplanation:
    """Return what would become of a call, without making it; `facts.model` is the name asked for."""
    rules: tuple[ExplainedRule, ...] = ()
    try:
        find_named(snapshot, caller, facts.model)
        rules = _explain_rules(snapshot, caller, request, facts, now)
        choice = choose_model(snapshot, caller, request, facts=facts, kind=kind, wishes=wishes, now=now)
    except AppError as error:
        return RouteExplanation(facts.model, "", "", rules, (), (), error.message)
    is_stream = bool(request.get("stream"))
    stages = _stages(choice)
    candidates = [
        candidate
        for entry, reason in stages
        for candidate in _candidates(entry, reason, choice=choice, health=health, is_stream=is_stream)
    ]
    return RouteExplanation(
        asked=facts.model,
        model=choice.entry.info.name,
        strategy=choice.entry.strategy,
        rules=rules,
        # Whoever would not be asked now comes after those who would.
        candidates=tuple(sorted(candidates, key=lambda candidate: bool(candidate.left_out))),
        notes=tuple(_notes(choice)),
        refusal="",
    )


def _explain_rules(
    snapshot: Snapshot, caller: Caller, request: dict[str, Any], facts: CallFacts, now: datetime | None
) -> tuple[ExplainedRule, ...]:
    seen = RuleFacts(facts, caller, request, now=now)
    found: list[ExplainedRule] = []
    is_decided = False
    for rule in snapshot.routing.rules_of(caller.actor.organization_id):
        if is_decided:
            found.append(ExplainedRule(rule.id, rule.name, "not asked: an earlier rule decided", is_decisive=False))
            continue
        verdict = judge_rule(rule, seen, may_follow=lambda entry: may_follow(entry, snapshot, caller))
        if verdict.failure:
            outcome = f"passed over: {verdict.failure}"
        elif verdict.is_withheld:
            outcome = f"holds, but the key may not use {rule.target}"
        else:
            outcome = "holds" if verdict.holds else "does not hold"
        is_decided = verdict.holds and not verdict.is_withheld
        found.append(ExplainedRule(rule.id, rule.name, outcome, is_decisive=is_decided))
    return tuple(found)


def _stages(choice: Choice) -> list[tuple[ModelEntry, str]]:
    """Return the models in the order in which they may be asked, each with the reason why it would be."""
    is_diverted = choice.is_too_long and bool(choice.stand_ins(Failure.CONTEXT))
    stages: list[tuple[ModelEntry, str]] = [] if is_diverted else [(choice.entry, "")]
    for failure, reason in ((None, "error"), (Failure.CONTEXT, "context_window"), (Failure.CONTENT, "content_policy")):
        if is_diverted and failure is not Failure.CONTEXT:
            continue
        stages += [(entry, reason) for entry in choice.stand_ins(failure)]
    return stages


def _candidates(entry: ModelEntry, reason: str, *, choice: Choice, health: Health, is_stream: bool) -> list[Candidate]:
    down = choice.snapshot.routing.down
    routes = order_routes(
        entry.routes, strategy=entry.strategy, health=health, facts=choice.facts, is_stream=is_stream, down=down
    )
    found = []
    for route in routes:
        name = route.deployment_id
        standing = health.standing(name)
        seconds = health.latency(name, is_stream=is_stream)
        left_out = ""
        if standing is Breaker.OPEN:
            why = (
                "its provider limits the rate of calls" if health.is_rate_limited(name) else "it failed again and again"
            )
            left_out = f"left alone for {health.blocked_for(name):.0f} s: {why}"
        elif health.is_down(route, down):
            left_out = "down according to the last probes: asked when nobody else is left"
        found.append(
            Candidate(
                deployment=name,
                model=entry.info.name,
                provider=route.target.provider,
                reason=reason,
                priority=route.priority,
                weight=route.weight,
                breaker=standing.value,
                latency_ms=round(seconds * 1000) if seconds else None,
                cost=str(from_micros(expected_cost(route, choice.facts))),
                left_out=left_out,
            )
        )
    return found


def _notes(choice: Choice) -> list[str]:
    notes = []
    if choice.entry.info.name != choice.asked and choice.rule is None:
        notes.append(f"{choice.asked} is another name for {choice.entry.info.name}.")
    if choice.is_too_long:
        window = choice.entry.info.context_window
        notes.append(f"The prompt is longer than the context window of {choice.entry.info.name} ({window} tokens).")
    lists = choice.named.fallbacks
    for name in dict.fromkeys((*choice.wishes.fallbacks, *lists.general, *lists.context, *lists.content)):
        if choice.wishes.disables_fallbacks:
            notes.append(f"{name} is no fallback: the client wants none.")
        elif choice.stand_in(name) is None:
            notes.append(f"{name} is left out: {_why_not(choice, name)}.")
    return notes


def _why_not(choice: Choice, name: str) -> str:
    found = resolve_name(choice.snapshot, choice.trusting(name), name)
    if found is None:
        return "it is not offered, or the key may not use it"
    if choice.kind not in found.entry.info.capabilities:
        return f"it cannot be used for {choice.kind}"
    if found.entry.routes == choice.entry.routes:
        return "it is the model itself"
    return "the prompt is too long for it as well"
