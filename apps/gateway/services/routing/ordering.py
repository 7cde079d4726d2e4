"""In which order the deployments of one model are asked."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from apps.billing.services.pricing import cost_micros
from apps.gateway.choices import Breaker, Strategy
from apps.gateway.runtime.health import Health
from apps.gateway.selectors import Route
from apps.gateway.services.facts import CallFacts

EXPLORING_SHARE = 0.05
"""So many calls go to a deployment that does not seem to be the quickest: it may have become it."""
USUAL_ANSWER_TOKENS = 500
"""Of an answer that the caller does not bound, for comparing costs."""

_STANDING_RANK = {Breaker.CLOSED: 0, Breaker.HALF_OPEN: 0, Breaker.RESTING: 1, Breaker.OPEN: 2}


def order_routes(
    routes: Sequence[Route],
    *,
    strategy: str,
    health: Health,
    facts: CallFacts,
    is_stream: bool,
    down: Collection[str] = (),
    chance: random.Random | None = None,
) -> list[Route]:
    """Return the routes, best first: those in use before those that failed a moment ago, then by priority, then as
    `strategy` says. `down` names what the last probes found down: it comes last.
    """
    if len(routes) == 1:
        return list(routes)
    dice = chance or _dice
    explored = ""
    if strategy == Strategy.LATENCY and dice.random() < EXPLORING_SHARE:
        explored = dice.choice(routes).deployment_id

    def rank(route: Route) -> tuple[bool, int, int, float, float]:
        name = route.deployment_id
        # The smallest of exponential samples with these rates is each one with the probability of its weight's share.
        sample = dice.expovariate(route.weight)
        if strategy == Strategy.COST:
            score = float(expected_cost(route, facts))
        elif strategy == Strategy.LATENCY:
            score = -1.0 if name == explored else health.latency(name, is_stream=is_stream)
        else:
            score = 0.0
        return health.is_down(route, down), _STANDING_RANK[health.standing(name)], route.priority, score, sample

    return sorted(routes, key=rank)


def expected_cost(route: Route, facts: CallFacts) -> int:
    """Return what the call would cost at a deployment, in micro-USD, with the longest answer that the caller allows."""
    answer_tokens = USUAL_ANSWER_TOKENS if facts.answer_tokens is None else facts.answer_tokens
    return cost_micros(route.price, prompt_tokens=facts.prompt_tokens, completion_tokens=answer_tokens)


_dice = random.Random()  # noqa: S311 - shares of calls are no secret
