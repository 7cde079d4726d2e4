"""A policy tried out on a text, without a call."""

from __future__ import annotations

from dataclasses import dataclass

from apps.gateway.choices import GuardDirection
from apps.gateway.errors import ContentBlocked
from apps.gateway.guards.rules import Rules
from apps.gateway.selectors.guardrails import GuardTerms
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.scanning import find_in_pieces, masking, replace_marks
from apps.gateway.services.guarding.verdicts import Finding, Findings, Judge, judge_topics


@dataclass(frozen=True, slots=True)
class Trial:
    """What a policy would do: what it finds, how often, and what would be passed on; `refusal` when nothing would."""

    findings: list[tuple[Finding, int]]
    text: str
    refusal: str


def try_policies(terms: GuardTerms, text: str, *, direction: GuardDirection, model: str = "") -> Trial:
    """Return what policies make of a text. Neither counted nor written down; no provider is asked."""
    rules = terms.input if direction is GuardDirection.INPUT else terms.output
    findings = Findings()
    refusal, passed = "", text
    judge = Judge(rules, direction, findings)
    hits = [hit for _, found in find_in_pieces(rules, text) for hit in found]
    try:
        _judge_whole(rules, judge, text, direction, model)
    except ContentBlocked as error:
        refusal = error.message
    try:
        marks = judge.take(hits)
        passed = replace_marks(text, marks, masking(Vault(), text, is_reversible=False))
    except ContentBlocked as error:
        refusal = refusal or error.message
    return Trial(sorted(findings.items()), "" if refusal else passed, refusal)


def _judge_whole(rules: Rules, judge: Judge, text: str, direction: GuardDirection, model: str) -> None:
    for bound in rules.bounds:
        if len(text) > bound.characters:
            kind = "prompt_too_long" if direction is GuardDirection.INPUT else "answer_too_long"
            judge.note(bound.action, "lengths", kind)
    if rules.topics:
        facts = CallFacts(model=model, end_user="", tags=(), prompt_tokens=0, answer_tokens=None)
        judge_topics(rules, judge, text, direction=direction, facts=facts)
