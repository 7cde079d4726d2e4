"""What a call may cost at most, before it is made, and its place in the budgets."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings

from apps.billing.errors import BudgetExceeded, ModelUnpriced
from apps.billing.services.pricing import PriceCard
from apps.gateway.choices import CallStatus
from apps.gateway.providers.base import CAPABILITY_EMBEDDINGS
from apps.gateway.providers.failures import Failure
from apps.gateway.providers.tokens import count_prompt, known_encoding
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.lease_book import Reservation
from apps.gateway.selectors import ModelEntry, Route
from apps.gateway.selectors.catalogue import UNPRICED
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.meter import Meter
from apps.gateway.services.routing import Choice, Wishes

TOKENS_PER_PRICE = 1_000_000
ANSWER_TOKENS = 4096
"""The bound of an answer where neither the caller nor the catalogue gives one."""
MARGIN, MARGIN_TOKENS = 1.25, 8
"""By how much an ordinary prompt's estimate may fall short. It leans upwards already."""
DENSEST = 4
"""Most tokens of a text for each estimated one: no text has more tokens than bytes, nor more than four bytes per estimated token."""
FOREIGN_MARGIN = 1.35
"""By how much a count may fall short where the model's vocabulary is not public."""
AT_ONCE_TOKENS = 20_000
"""Estimate up to which a prompt is counted on the event loop; that takes some two milliseconds."""
MAX_RATIOS = 1000
STANDARD_TIERS = frozenset({None, "", "default", "standard", "standard_only", "flex", "batch"})

_ratios: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
"""Per provider and model the prompt that had most tokens for its estimate so far: its tokens, and the estimate."""


async def reserve_cost(
    *, runtime: Runtime, choice: Choice, facts: CallFacts, request: dict[str, Any]
) -> Reservation | None:
    """Reserve what a call may cost on every hard budget that it concerns; None when there is none.

    That is the estimated prompt and the longest possible answer, at the price of the dearest way that it may go. Where only
    what may stand in for the model does not fit, the call is made without it. Raise ModelUnpriced, BudgetExceeded, or
    BudgetsUnreachable.
    """
    entries = [choice.entry, *_stand_ins(choice)]
    try:
        return await _reserve(runtime, choice, entries, facts, request)
    except (BudgetExceeded, ModelUnpriced):
        if len(entries) == 1:
            raise
    choice.wishes = Wishes(disables_fallbacks=True)
    return await _reserve(runtime, choice, entries[:1], facts, request)


def learn_prompt(meter: Meter) -> None:
    """Learn of an ended call how many tokens its provider counted for the estimate of its prompt."""
    if meter.status is CallStatus.OK and not meter.is_estimated and meter.route is not None and meter.usage is not None:
        observe_prompt(meter.route, estimate=meter.prompt_estimate, tokens=meter.usage.prompt_tokens)


async def _reserve(
    runtime: Runtime,
    choice: Choice,
    entries: Sequence[ModelEntry],
    facts: CallFacts,
    request: dict[str, Any],
) -> Reservation | None:
    budgets = choice.caller.terms.budgets
    ways: list[tuple[Route, int]] = []
    for entry in entries:
        check_priced(entry.info.name, entry.routes, is_bound=bool(budgets))
        answer = answer_bound(facts, entry, request, choice.kind)
        ways += [(route, answer) for route in entry.routes]
    if not budgets:
        return None
    prompt = await bound_prompt(runtime, facts, request, [route for route, _ in ways])

    def dearest(tokens: Callable[[Route], int]) -> int:
        return max((worst_case(route, tokens(route), answer, request) for route, answer in ways), default=0)

    models = tuple(dict.fromkeys(entry.info.name for entry in entries))
    return await runtime.budgets.reserve(
        budgets, facts, models=models, micros=dearest(prompt.loose), least=lambda: dearest(prompt.tight)
    )


def _stand_ins(choice: Choice) -> list[ModelEntry]:
    """Return every other model that may come to answer."""
    if choice.wishes.disables_fallbacks or not (choice.named.fallbacks or choice.wishes.fallbacks):
        return []
    found = [entry for kind in (None, Failure.CONTEXT, Failure.CONTENT) for entry in choice.stand_ins(kind)]
    return list({entry.info.name: entry for entry in found}.values())


def check_priced(model: str, routes: Sequence[Route], *, is_bound: bool) -> None:
    """Raise ModelUnpriced when a way that a call may go has no price, and the settings do not let it."""
    mode = settings.GATEWAY_UNPRICED_MODELS
    if mode == "deny" or (is_bound and mode == "budgeted"):
        for route in routes:
            if route.price is UNPRICED:
                raise ModelUnpriced(
                    f"Model {model!r} has no price at provider {route.target.provider!r}, so that its calls cannot be held "
                    "to a budget. Ask an administrator to set one; 0 for a model that costs nothing.",
                    param="model",
                    headers={"x-should-retry": "false"},
                )


def answer_bound(facts: CallFacts, entry: ModelEntry, request: dict[str, Any], kind: str) -> int:
    """Return how many tokens an answer can have at most, over all its choices."""
    if kind == CAPABILITY_EMBEDDINGS:
        return 0
    if facts.answer_tokens is not None:
        return facts.answer_tokens
    return (entry.info.max_output_tokens or ANSWER_TOKENS) * int(request.get("n") or 1)


class PromptBound:
    """How many tokens one prompt can have. It is counted when that is first asked for, as few calls need to know."""

    __slots__ = ("_counts", "_facts", "_request")

    def __init__(self, facts: CallFacts, request: dict[str, Any]) -> None:
        self._facts = facts
        self._request = request
        self._counts: dict[str | None, int] = {}

    def loose(self, route: Route) -> int:
        """Return what no text passes, however dense; that needs no counting."""
        return self._facts.prompt_tokens * DENSEST + MARGIN_TOKENS

    def tight(self, route: Route) -> int:
        """Return the prompt's tokens by count, and not fewer than if they are to their estimate as in the worst case seen."""
        observed = _observed(route, self._facts)
        if observed is None:
            observed = math.ceil(self._facts.prompt_tokens * MARGIN) + MARGIN_TOKENS
        return max(observed, self.count(route))

    def count(self, route: Route) -> int:
        """Return the prompt's tokens by the model's vocabulary, or by a like one with a margin."""
        model = route.target.upstream_model
        encoding = known_encoding(model)
        if encoding not in self._counts:
            found = count_prompt(self._request, model)
            self._counts[encoding] = found if encoding is not None else math.ceil(found * FOREIGN_MARGIN)
        return self._counts[encoding]


async def bound_prompt(
    runtime: Runtime, facts: CallFacts, request: dict[str, Any], routes: Sequence[Route]
) -> PromptBound:
    """Return the bound of a prompt; a long one is counted already, in a thread, where it holds up nobody."""
    bound = PromptBound(facts, request)
    if facts.prompt_tokens > AT_ONCE_TOKENS:
        await runtime.loop.run_in_executor(None, lambda: [bound.count(route) for route in routes])
    return bound


def observe_prompt(route: Route, *, estimate: int, tokens: int) -> None:
    """Learn how many tokens a provider counted for an estimate.

    What no text can have came from elsewhere (a file, a search of the provider's), and says nothing of other prompts.
    """
    tokens = min(tokens, DENSEST * estimate)
    key = (route.target.provider, route.target.upstream_model)
    held = _ratios.get(key)
    if estimate > 0 and (held is None or tokens * held[1] > held[0] * estimate):
        _ratios[key] = (tokens, estimate)
        while len(_ratios) > MAX_RATIOS:
            _ratios.popitem(last=False)


def worst_case(route: Route, prompt_tokens: int, answer_tokens: int, request: dict[str, Any]) -> int:
    """Return the most that so many tokens can cost on a route, in micro-units, rounded up."""
    worst = _worst_of(route.price, prompt_tokens, answer_tokens)
    if route.tier_prices and request.get("service_tier") not in STANDARD_TIERS:
        worst = max(worst, *(_worst_of(card, prompt_tokens, answer_tokens) for card in route.tier_prices.values()))
    return worst


def _worst_of(card: PriceCard, prompt_tokens: int, answer_tokens: int) -> int:
    is_long = card.long_after_tokens is not None and prompt_tokens > card.long_after_tokens
    dearest_in, dearest_out = _dearest_prices(card, is_long)
    return -(-(prompt_tokens * dearest_in + answer_tokens * dearest_out) // TOKENS_PER_PRICE)


@lru_cache(maxsize=4096)
def _dearest_prices(card: PriceCard, is_long: bool) -> tuple[int, int]:
    ins = [card.input_micros, card.cached_micros, card.cache_write_micros, card.cache_write_1h_micros]
    outs = [card.output_micros, card.reasoning_micros]
    if is_long:
        ins += [
            card.long_input_micros, card.long_cached_micros, card.long_cache_write_micros, card.long_cache_write_1h_micros,
        ]  # fmt: skip
        outs.append(card.long_output_micros)
    return max(price or 0 for price in ins), max(price or 0 for price in outs)


def _observed(route: Route, facts: CallFacts) -> int | None:
    held = _ratios.get((route.target.provider, route.target.upstream_model))
    return None if held is None else -(-facts.prompt_tokens * held[0] // held[1])
