"""Which model a call is for, and which others may answer instead: names, rules, the client's wishes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from apps.gateway.choices import RuleAction
from apps.gateway.errors import CallRefusedByRule, ModelUnsuited, RuleTargetMissing
from apps.gateway.providers.failures import Failure
from apps.gateway.runtime.metrics import RULE_HITS
from apps.gateway.selectors import Caller, ModelEntry, Route, Snapshot
from apps.gateway.selectors.routing import RuleEntry
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.routing.asking import NO_WISHES, Wishes, check_wishes
from apps.gateway.services.routing.naming import Named, find_named, resolve_name
from apps.gateway.services.routing.rules import RuleFacts, find_rule


class Choice:
    """The model that a call is for, under the name asked for, and what may stand in for it."""

    __slots__ = ("asked", "caller", "entry", "facts", "kind", "named", "permitted_by", "rule", "snapshot", "wishes")

    def __init__(
        self,
        *,
        snapshot: Snapshot,
        caller: Caller,
        named: Named,
        facts: CallFacts,
        kind: str,
        wishes: Wishes = NO_WISHES,
        rule: RuleEntry | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.caller = caller
        self.asked = facts.model
        self.named = named
        self.entry = named.entry
        self.permitted_by = named.permitted_by
        self.facts = facts
        self.kind = kind
        self.wishes = wishes
        self.rule = rule

    @property
    def is_too_long(self) -> bool:
        """Tell whether the prompt is longer than the model's context window."""
        return does_not_fit(self.entry, self.facts)

    def use_only(self, route: Route) -> None:
        """Let nobody answer but this one: the cache, which has the answer."""
        self.entry = replace(self.entry, routes=(route,))
        self.wishes = Wishes(disables_fallbacks=True)

    def stand_ins(self, failure: Failure | None = None) -> list[ModelEntry]:
        """Return the models to ask after a failure, in order: those that the caller may use and that can do this.

        For prompts that are too long and content that is refused there are lists of their own; the client's wishes hold for
        every failure.
        """
        if self.wishes.disables_fallbacks:
            return []
        lists = self.named.fallbacks
        names = {Failure.CONTEXT: lists.context, Failure.CONTENT: lists.content}.get(
            failure or Failure.SERVER, () if self.wishes.fallbacks else lists.general
        )
        return [entry for name in (*names, *self.wishes.fallbacks) if (entry := self.stand_in(name)) is not None]

    def stand_in(self, name: str) -> ModelEntry | None:
        """Return a fallback by its name; None when it is not there, not permitted, unsuited, or too small."""
        found = resolve_name(self.snapshot, self.trusting(name), name)
        if found is None or self.kind not in found.entry.info.capabilities or does_not_fit(found.entry, self.facts):
            return None
        # The same model is another way only at other providers.
        return None if found.entry.routes == self.entry.routes else found.entry

    def trusting(self, name: str) -> Caller:
        """Return the caller as one that may use what the name it asked for permits along."""
        if self.caller.allowed_models is not None and name in self.named.trusted:
            return replace(self.caller, allowed_models=None)
        return self.caller


def choose_model(
    snapshot: Snapshot,
    caller: Caller,
    request: dict[str, Any],
    *,
    facts: CallFacts,
    kind: str,
    wishes: Wishes = NO_WISHES,
    now: datetime | None = None,
) -> Choice:
    """Return the model that a call goes to: by its name, unless a routing rule says otherwise.

    `facts.model` is the name asked for. Raise ModelUnknown, ModelUnsuited, CallRefusedByRule or RuleTargetMissing.
    """
    named = find_named(snapshot, caller, facts.model)
    if wishes.fallbacks:
        check_wishes(wishes, snapshot, caller)
    rule = None
    rules = snapshot.routing.rules_of(caller.actor.organization_id)
    if rules:
        rule = find_rule(
            rules,
            RuleFacts(facts, caller, request, now=now),
            may_follow=lambda rule: may_follow(rule, snapshot, caller),
        )
        if rule is not None:
            RULE_HITS.labels(rule.id).inc()
            named = follow_rule(rule, named, snapshot, caller)
    if kind not in named.entry.info.capabilities:
        raise ModelUnsuited(f"Model {facts.model[:200]!r} cannot be used for {kind}.", param="model")
    return Choice(snapshot=snapshot, caller=caller, named=named, facts=facts, kind=kind, wishes=wishes, rule=rule)


def may_follow(rule: RuleEntry, snapshot: Snapshot, caller: Caller) -> bool:
    """Tell whether a rule may send a caller's calls where it says; a key's own list of models goes before it, unless the
    rule overrides keys.
    """
    if rule.action is RuleAction.REFUSE or rule.overrides_keys or not rule.target or caller.allowed_models is None:
        return True
    everyone = replace(caller, allowed_models=None)
    is_there = resolve_name(snapshot, everyone, rule.target) is not None
    return not is_there or resolve_name(snapshot, caller, rule.target) is not None


def follow_rule(rule: RuleEntry, named: Named, snapshot: Snapshot, caller: Caller) -> Named:
    """Return what a rule makes of a name. Raise CallRefusedByRule or RuleTargetMissing."""
    if rule.action is RuleAction.REFUSE:
        raise CallRefusedByRule(rule.message or f"The routing rule {rule.name!r} does not let this call through.")
    trusting = replace(caller, allowed_models=None) if rule.overrides_keys else caller
    found: Named | None = named
    if rule.target:
        found = resolve_name(snapshot, trusting, rule.target)
    if found is not None and rule.deployments:
        routes = tuple(route for route in found.entry.routes if route.deployment_id in rule.deployments)
        found = replace(found, entry=replace(found.entry, routes=routes)) if routes else None
    if found is None:
        raise RuleTargetMissing(
            f"The routing rule {rule.name!r} sends this call where nothing is offered at the moment."
        )
    own = rule.fallbacks
    trusted = frozenset(own.general + own.context + own.content) if rule.overrides_keys else frozenset()
    # What was asked for is what the key's list permits; a rule changes where that goes, not what it is.
    return replace(
        found,
        permitted_by=named.permitted_by,
        fallbacks=own.over(found.fallbacks),
        trusted=found.trusted | trusted,
    )


def does_not_fit(entry: ModelEntry, facts: CallFacts) -> bool:
    """Tell whether the prompt alone is longer than a model's context window."""
    window = entry.info.context_window
    return window is not None and facts.prompt_tokens > window
