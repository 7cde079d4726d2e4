"""What would be decided about a call, without making it: nobody is asked, nothing is counted, taken or written.

The steps are those of `prepare_call`, in its order; the first refusal is the one that the call would get, and the rest is
told all the same. What only a call finds out is left out: moderation models are not asked, nor cached questions compared by
their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from apps.billing.errors import BudgetExceeded
from apps.billing.services.leases import PeriodKey
from apps.core.errors import AppError, PermissionRefused
from apps.core.ids import encode_id
from apps.core.money import from_micros
from apps.gateway.choices import Capability
from apps.gateway.dialects.anthropic.request import fit_request
from apps.gateway.providers.anthropic_origin import ORIGIN
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.budgets import concern, refuse
from apps.gateway.runtime.lease_book import Period
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.selectors import Caller
from apps.gateway.selectors.budgets import BudgetTerms
from apps.gateway.selectors.standings import Standing, find_standings
from apps.gateway.services.caching import CacheControl, find_cached
from apps.gateway.services.facts import CallFacts, bound_answer, gather_facts
from apps.gateway.services.guarding.screening import Screen
from apps.gateway.services.routing import Choice, choose_model, take_wishes
from apps.gateway.services.spending import answer_bound, bound_prompt, check_priced, worst_case

Told = dict[str, Any]


@dataclass(slots=True)
class _Inquiry:
    """One dry run: what is known so far, and the first refusal."""

    runtime: Runtime
    caller: Caller
    request: Told
    kind: str
    told: Told
    error: AppError | None = None
    fingerprint: str = field(default="")

    def refused(self, error: AppError) -> None:
        """Keep the first refusal."""
        self.error = self.error or error


async def explain_call(
    *,
    runtime: Runtime,
    caller: Caller,
    request: Told,
    kind: str,
    request_id: UUID,
    tags: tuple[str, ...] = (),
    disables_fallbacks: bool = False,
    cache_control: CacheControl | None = None,
) -> Told:
    """Return what would be decided about a call; a refusal is part of it. Raise only what keeps us from finding out.

    The request names a model: every entrance has seen to that.
    """
    inquiry = _Inquiry(runtime, caller, request, kind, {"id": encode_id("req", request_id), "object": "dry_run"})
    try:
        choice, facts = await _explain_model(inquiry, tags=tags, disables_fallbacks=disables_fallbacks)
    except AppError as error:
        inquiry.refused(error)
    else:
        await _explain_guard(inquiry, facts, request_id)
        is_hit = await _explain_cache(inquiry, choice, cache_control)
        await _explain_limits(inquiry, choice, facts)
        await _explain_budgets(inquiry, choice, facts, is_hit=is_hit)
    refusal = inquiry.error
    return {
        **inquiry.told,
        "decision": "refuse" if refusal is not None else "allow",
        "error": None
        if refusal is None
        else {
            "status": refusal.status,
            "code": refusal.code,
            "message": refusal.message,
            "retry_after": refusal.retry_after_seconds,
        },
    }


async def _explain_model(
    inquiry: _Inquiry, *, tags: tuple[str, ...], disables_fallbacks: bool
) -> tuple[Choice, CallFacts]:
    runtime, request = inquiry.runtime, inquiry.request
    snapshot = runtime.catalogue.snapshot or await runtime.catalogue.ready()
    name: str = request["model"]
    inquiry.told["model"] = {"asked": name, "chosen": None, "rule": None, "candidates": [], "fallbacks": []}
    wishes = take_wishes(request, None, disables_fallbacks=disables_fallbacks)
    facts = gather_facts(request, model=name, tags=tags)
    inquiry.told["prompt_tokens"] = facts.prompt_tokens
    choice = choose_model(snapshot, inquiry.caller, request, facts=facts, kind=inquiry.kind, wishes=wishes)
    if inquiry.caller.actor.organization_id is None:
        raise PermissionRefused("Calls are made on account of an organization, and the caller belongs to none.")
    if ORIGIN in request:
        info = choice.entry.info
        fit_request(
            request,
            max_output_tokens=info.max_output_tokens,
            can_reason=Capability.REASONING in info.capabilities,
        )
        facts = replace(facts, answer_tokens=bound_answer(request))
    inquiry.told["answer_tokens"] = answer_bound(facts, choice.entry, request, inquiry.kind)
    inquiry.told["model"] |= {
        "chosen": choice.entry.info.name,
        "rule": choice.rule.name if choice.rule is not None else None,
        "candidates": [
            {
                "deployment": route.deployment_id,
                "provider": route.target.provider,
                "upstream_model": route.target.upstream_model,
                "priority": route.priority,
                "weight": route.weight,
                "state": runtime.health.standing(route.deployment_id).value,
            }
            for route in sorted(choice.entry.routes, key=lambda route: route.priority)
        ],
        "fallbacks": [entry.info.name for entry in choice.stand_ins()],
    }
    return choice, facts


async def _explain_guard(inquiry: _Inquiry, facts: CallFacts, request_id: UUID) -> None:
    terms = inquiry.caller.terms.guard
    inquiry.told["guardrails"] = None
    if terms is None:
        return
    # Without a runtime a screen asks no model and hands nothing over to those who count.
    screen = Screen(
        terms=terms, caller=inquiry.caller, facts=facts, request=inquiry.request, runtime=None, request_id=request_id
    )
    try:
        await screen.read_prompt()
    except AppError as error:
        inquiry.refused(error)
    inquiry.request, inquiry.fingerprint = screen.request, screen.fingerprint
    inquiry.told["guardrails"] = {
        "changes_prompt": screen.has_changed,
        "filters_answer": screen.filters_answers,
        "findings": [
            {"detector": found.detector, "kind": found.kind, "mode": found.mode, "count": count}
            for found, count in sorted(screen.findings.items())
        ],
        "models_not_asked": sorted(terms.input.moderation_models),
    }


async def _explain_cache(inquiry: _Inquiry, choice: Choice, control: CacheControl | None) -> bool:
    terms = inquiry.caller.terms
    inquiry.told["cache"] = None
    if terms.cache is None and control is None:
        return False
    # To compare meanings a model would have to be asked.
    exact = replace(terms.cache, is_semantic=False) if terms.cache is not None else None
    try:
        found = await find_cached(
            runtime=inquiry.runtime,
            caller=replace(inquiry.caller, terms=replace(terms, cache=exact)),
            entry=choice.entry,
            request=inquiry.request,
            kind=inquiry.kind,
            guard=inquiry.fingerprint,
            embed=_embed_nothing,
            control=control,
        )
    except AppError as error:
        inquiry.refused(error)
        return False
    assert found is not None
    is_semantic = terms.cache is not None and terms.cache.is_semantic
    inquiry.told["cache"] = {
        "state": found.state.value,
        "age_seconds": found.age_seconds if found.route is not None else None,
        "meaning_not_compared": is_semantic and found.route is None,
    }
    if found.route is None:
        return False
    choice.use_only(found.route)
    return True


async def _embed_nothing(model: str, text: str) -> list[float]:
    raise AssertionError("a dry run asks no model")


async def _explain_limits(inquiry: _Inquiry, choice: Choice, facts: CallFacts) -> None:
    inquiry.told["limits"] = []
    if not inquiry.caller.terms.limits:
        return
    try:
        measures, refusal = await inquiry.runtime.limiter.explain(
            inquiry.caller.terms.limits, facts, model=choice.entry.info.name
        )
    except AppError as error:
        inquiry.refused(error)
        return
    inquiry.told["limits"] = [
        {"whose": it.label, "of": it.kind, "limit": it.limit, "used": it.used, "left": it.left} for it in measures
    ]
    if refusal is not None:
        inquiry.refused(refusal)


async def _explain_budgets(inquiry: _Inquiry, choice: Choice, facts: CallFacts, *, is_hit: bool) -> None:
    entry, terms = choice.entry, inquiry.caller.terms.budgets
    answer_tokens = inquiry.told["answer_tokens"]
    prompt = await bound_prompt(inquiry.runtime, facts, inquiry.request, entry.routes)
    cost = max((worst_case(way, prompt.tight(way), answer_tokens, inquiry.request) for way in entry.routes), default=0)
    inquiry.told |= {"worst_case_cost": str(from_micros(cost)), "budgets": []}
    try:
        if not is_hit:
            check_priced(entry.info.name, entry.routes, is_bound=bool(terms))
        wanted = concern(terms, facts, (entry.info.name,))
        if not wanted:
            return
        read = partial(find_standings, [(budget.budget_id, subject) for budget, subject in wanted])
        standings = await inquiry.runtime.loader.load(read)
    except AppError as error:
        inquiry.refused(error)
        return
    except UNREACHABLE:
        inquiry.told["budgets"] = None
        return
    by_id = {(budget.budget_id, subject): budget for budget, subject in wanted}
    for standing in standings:
        budget = by_id[standing.budget_id, standing.subject]
        inquiry.told["budgets"].append(_tell_budget(budget, standing))
        if standing.spent + cost > standing.limit:
            inquiry.refused(_refusal_of(budget, standing, cost))


def _tell_budget(budget: BudgetTerms, standing: Standing) -> Told:
    return {
        "name": budget.name,
        "scope": budget.scope,
        "limit": str(from_micros(standing.limit)),
        "spent": str(from_micros(standing.spent)),
        "reserved": str(from_micros(standing.reserved)),
        "left": str(from_micros(standing.left)),
        "resets_at": standing.resets_at.isoformat() if standing.resets_at else None,
    }


def _refusal_of(budget: BudgetTerms, standing: Standing, cost: int) -> BudgetExceeded:
    key = PeriodKey(standing.budget_id, standing.subject, standing.starts_at, standing.resets_at)
    period = Period(budget, key)
    period.limit, period.spent, period.leased = standing.limit, standing.spent, standing.reserved
    return refuse(period, cost)
