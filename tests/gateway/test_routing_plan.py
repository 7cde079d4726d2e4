"""The ways of a call, one attempt after the other."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from apps.gateway.choices import Strategy
from apps.gateway.errors import DeploymentsBusy, DeploymentsResting
from apps.gateway.providers.base import (
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
)
from apps.gateway.selectors import ModelEntry, Route
from apps.gateway.selectors.routing import Fallbacks
from apps.gateway.services.routing import Plan, Wishes, choose_model
from apps.gateway.services.routing import plan as plan_module
from apps.gateway.services.routing.ordering import EXPLORING_SHARE, expected_cost, order_routes
from tests.support.routing import Alone, caller, facts, model, route, snapshot

SERVER = UpstreamUnavailable("down", upstream_status=500)
STALE = UpstreamUnavailable("closed without an answer", status=502)
TIMEOUT = UpstreamTimedOut("late")
ACCOUNT = UpstreamUnauthenticated("no", upstream_status=401)
REJECTED = UpstreamRejected("no", upstream_status=400)
TOO_LONG = UpstreamRejected("no", upstream_status=400, upstream_code="context_length_exceeded")
UNWANTED = UpstreamRejected("no", upstream_status=400, upstream_code="content_policy_violation")


def limited(seconds: float | None) -> UpstreamRateLimited:
    return UpstreamRateLimited("slow down", upstream_status=429, retry_after_seconds=seconds)


def plan_of(alone: Alone, *models: ModelEntry, down: tuple[str, ...] = (), **fields: Any) -> Plan:
    """Return the plan of a call to the first of these models."""
    wishes = fields.pop("wishes", Wishes())
    name = models[0].info.name
    choice = choose_model(
        snapshot(*models, down=down), caller(), {}, facts=facts(name, **fields), kind="chat", wishes=wishes
    )
    return Plan(choice, sharing=alone, name="call", is_stream=False, sleep=alone.clock.sleep)  # type: ignore[arg-type]


async def walk(plan: Plan, *failures: UpstreamError) -> list[str]:
    """Return the deployments that are asked while these failures come, and the one after."""
    asked = [(await plan.next()).route.deployment_id]
    for failure in failures:
        plan.failed(failure)
        asked.append((await plan.next()).route.deployment_id)
    return asked


TWO = model("m", route("a"), route("b", priority=1))


@pytest.mark.parametrize("failure", [SERVER, TIMEOUT, ACCOUNT, limited(None), limited(1.0), limited(60.0)], ids=repr)
async def test_a_failure_is_passed_over_at_once(failure: UpstreamError) -> None:
    alone = Alone()
    assert await walk(plan_of(alone, TWO), failure) == ["a", "b"]
    assert alone.clock.time == 1000.0


async def test_nobody_else_is_asked_what_is_wrong_with_the_request() -> None:
    alone = Alone()
    plan = plan_of(alone, TWO, model("other"), wishes=Wishes(("other",)))
    await plan.next()
    plan.failed(REJECTED)
    with pytest.raises(UpstreamRejected):
        await plan.next()
    assert alone.health.states == {}, "it says nothing about the deployment"


async def test_a_stale_connection_is_tried_again_at_once_and_counts_only_then() -> None:
    alone = Alone()
    plan = plan_of(alone, TWO)
    assert await walk(plan, STALE) == ["a", "a"]
    assert (alone.clock.time, alone.health.states) == (1000.0, {})
    plan.failed(STALE)
    assert (await plan.next()).route.deployment_id == "b"
    assert alone.health.states["a"].failures == 1


@pytest.mark.parametrize(("attempts", "asked"), [(1, 1), (2, 2), (4, 4)])
async def test_the_only_deployment_is_asked_again_after_a_while(attempts: int, asked: int) -> None:
    alone = Alone()
    plan = plan_of(alone, model("m", route("a", max_attempts=attempts, cool_down_failures=99)))
    assert await walk(plan, *[SERVER] * (asked - 1)) == ["a"] * asked
    plan.failed(SERVER)
    with pytest.raises(UpstreamUnavailable):
        await plan.next()
    longest = sum(min(0.25 * 2**at, 4.0) + 0.005 for at in range(asked - 1))
    assert longest / 2 <= alone.clock.time - 1000.0 <= longest


@pytest.mark.parametrize("failure", [TIMEOUT, ACCOUNT, limited(3.5), limited(60.0)], ids=repr)
async def test_what_waiting_does_not_mend_is_told_at_once(failure: UpstreamError) -> None:
    alone = Alone()
    plan = plan_of(alone, model("m", route("a")))
    await plan.next()
    plan.failed(failure)
    with pytest.raises(type(failure)):
        await plan.next()
    assert alone.clock.time == 1000.0


async def test_a_short_retry_after_is_waited_for() -> None:
    alone = Alone()
    assert await walk(plan_of(alone, model("m", route("a"))), limited(2.0)) == ["a", "a"]
    assert alone.clock.time == pytest.approx(1002.005)


async def test_attempts_and_time_are_bounded(settings) -> None:
    settings.GATEWAY_ROUTING_ATTEMPTS = 3
    many = model("m", *(route(f"d{at}", priority=at) for at in range(9)))
    plan = plan_of(Alone(), many)
    assert await walk(plan, SERVER, SERVER) == ["d0", "d1", "d2"]
    plan.failed(SERVER)
    with pytest.raises(UpstreamUnavailable):
        await plan.next()

    settings.GATEWAY_ROUTING_SECONDS = 0.01
    late = plan_of(Alone(), model("m", route("a")))
    await late.next()
    late.failed(SERVER)
    with pytest.raises(UpstreamUnavailable):
        await late.next()
    assert late.attempts == 1


# Other models


LISTS = Fallbacks(general=("general",), context=("long",), content=("lax",))
MEANT = model("m", route("a", max_attempts=1), window=100, fallbacks=LISTS)
OTHERS = (model("general"), model("long", window=10_000), model("lax"))


@pytest.mark.parametrize(
    ("failure", "model_name", "reason"),
    [(SERVER, "general", "error"), (TOO_LONG, "long", "context_window"), (UNWANTED, "lax", "content_policy")],
    ids=["error", "context", "content"],
)
async def test_another_model_stands_in(failure: UpstreamError, model_name: str, reason: str) -> None:
    plan = plan_of(Alone(), MEANT, *OTHERS)
    way = await plan.next()
    assert (way.reason, plan.is_fallback) == ("", False)
    plan.failed(failure)
    way = await plan.next()
    assert (way.entry.info.name, way.reason, plan.is_fallback) == (model_name, reason, True)
    assert plan.attempts == 2


async def test_nobody_is_asked_again_under_another_reason() -> None:
    lists = Fallbacks(general=("general",), context=("general", "long"))
    plan = plan_of(Alone(), model("m", route("a", max_attempts=1), fallbacks=lists), *OTHERS)
    assert await walk(plan, SERVER, TOO_LONG) == ["a", "general-1", "long-1"]


@pytest.mark.parametrize("failure", [TOO_LONG, UNWANTED], ids=["context", "content"])
async def test_without_a_list_of_its_own_such_a_refusal_is_told(failure: UpstreamError) -> None:
    plan = plan_of(Alone(), model("m", route("a"), route("b"), fallbacks=Fallbacks(general=("general",))), *OTHERS)
    await plan.next()
    plan.failed(failure)
    with pytest.raises(UpstreamRejected):
        await plan.next()
    assert plan.attempts == 1


async def test_a_long_prompt_goes_straight_to_a_long_model() -> None:
    plan = plan_of(Alone(), MEANT, *OTHERS, prompt_tokens=101)
    way = await plan.next()
    assert (way.entry.info.name, way.reason, plan.attempts) == ("long", "context_window", 1)


@pytest.mark.parametrize("fields", [{"wishes": Wishes(disables_fallbacks=True)}, {"prompt_tokens": 99_999}])
async def test_a_long_prompt_without_such_a_way_is_left_to_the_provider(fields: dict[str, Any]) -> None:
    plan = plan_of(Alone(), MEANT, *OTHERS, **{"prompt_tokens": 101, **fields})
    assert (await plan.next()).entry is MEANT


async def test_without_fallbacks_other_deployments_are_still_asked() -> None:
    plan = plan_of(
        Alone(),
        model("m", route("a"), route("b", priority=1), fallbacks=LISTS),
        *OTHERS,
        wishes=Wishes(disables_fallbacks=True),
    )
    assert await walk(plan, SERVER) == ["a", "b"]
    plan.failed(SERVER)
    with pytest.raises(UpstreamUnavailable):
        await plan.next()


async def test_who_is_known_to_be_down_is_asked_last() -> None:
    meant = model("m", route("a"), route("b", priority=1), fallbacks=Fallbacks(general=("general",)))
    plan = plan_of(Alone(), meant, *OTHERS, down=("a",))
    assert await walk(plan, TIMEOUT, TIMEOUT) == ["b", "general-1", "a"]
    assert plan.is_fallback is False
    alone = plan_of(Alone(), meant, *OTHERS, down=("a", "b"))
    way = await alone.next()
    assert (way.entry.info.name, way.reason) == ("general", "down")


async def test_a_stand_in_that_fails_makes_way_for_the_next() -> None:
    meant = model("m", route("a", max_attempts=1), fallbacks=Fallbacks(general=("x", "y")))
    plan = plan_of(Alone(), meant, model("x"), model("y"))
    assert await walk(plan, SERVER, SERVER) == ["a", "x-1", "y-1"]
    plan.failed(SERVER)
    with pytest.raises(UpstreamUnavailable):
        await plan.next()


# Breakers and places


async def test_who_is_left_alone_is_not_asked() -> None:
    alone = Alone()
    for _ in range(5):
        alone.health.failed(TWO.routes[0], reason="server_error")
    assert await walk(plan_of(alone, TWO)) == ["b"]
    plan = plan_of(alone, model("m", TWO.routes[0]))
    with pytest.raises(DeploymentsResting) as refused:
        await plan.next()
    assert (refused.value.status, refused.value.retry_after_seconds) == (503, 10.0)
    assert "'m' (a)" in refused.value.message
    assert plan.attempts == 0


async def test_only_one_call_is_the_trial() -> None:
    alone = Alone()
    for _ in range(5):
        alone.health.failed(TWO.routes[0], reason="server_error")
    alone.clock.time += 10.0
    first, second, third = (plan_of(alone, TWO) for _ in range(3))
    assert [(await plan.next()).route.deployment_id for plan in (first, second)] == ["a", "b"]
    first.answered(0.1)
    assert alone.ended_trials == ["a"]
    assert (await third.next()).route.deployment_id == "a"


async def test_a_trial_that_ends_without_a_word_is_given_back() -> None:
    alone = Alone()
    for _ in range(5):
        alone.health.failed(TWO.routes[0], reason="server_error")
    alone.clock.time += 10.0
    left = plan_of(alone, TWO)
    await left.next()
    left.release()
    left.release()
    assert alone.ended_trials == ["a"]
    assert (await plan_of(alone, TWO).next()).route.deployment_id == "a"


async def test_a_short_rate_limit_of_another_call_is_waited_for() -> None:
    alone = Alone()
    alone.health.failed(TWO.routes[0], reason="rate_limit", retry_after=2.0, is_rate=True)
    only = model("m", TWO.routes[0])
    assert (await plan_of(alone, only).next()).route.deployment_id == "a"
    assert alone.clock.time == pytest.approx(1002.005)
    alone.health.failed(TWO.routes[0], reason="rate_limit", retry_after=20.0, is_rate=True)
    with pytest.raises(DeploymentsBusy) as refused:
        await plan_of(alone, only).next()
    assert (refused.value.status, refused.value.retry_after_seconds) == (429, 20.0)


async def test_a_full_deployment_makes_way_and_all_full_is_told() -> None:
    alone = Alone()
    narrow = model("m", route("a", max_parallel=1), route("b", priority=1, max_parallel=1))
    first, second, third = (plan_of(alone, narrow) for _ in range(3))
    assert [(await plan.next()).route.deployment_id for plan in (first, second)] == ["a", "b"]
    with pytest.raises(DeploymentsBusy) as refused:
        await third.next()
    assert (refused.value.status, refused.value.retry_after_seconds) == (429, 1.0)
    first.release()
    first.release()
    assert alone.places == {"a": 0, "b": 1}
    assert (await plan_of(alone, narrow).next()).route.deployment_id == "a"


async def test_a_failed_attempt_frees_its_place() -> None:
    alone = Alone()
    narrow = model("m", route("a", max_parallel=1), route("b", priority=1, max_parallel=1))
    assert await walk(plan_of(alone, narrow), SERVER) == ["a", "b"]
    assert alone.places == {"a": 0, "b": 1}


@pytest.mark.parametrize("breaks_at", ["take_trial", "take_place"])
async def test_a_call_that_is_cancelled_while_it_enters_leaves_nothing_behind(breaks_at: str, monkeypatch) -> None:
    class Left(BaseException):
        pass

    async def leave(*_: Any) -> bool:
        raise Left

    alone = Alone()
    way = route("a", max_parallel=1)
    for _ in range(5):
        alone.health.failed(way, reason="server_error")
    alone.clock.time += 10.0
    monkeypatch.setattr(alone, breaks_at, leave)
    with pytest.raises(Left):
        await plan_of(alone, model("m", way)).next()
    monkeypatch.undo()
    assert (await plan_of(alone, model("m", way)).next()).route is way


async def test_a_break_after_the_beginning_counts_too() -> None:
    alone = Alone()
    plan = plan_of(alone, TWO)
    plan.blame(SERVER)
    assert alone.health.states == {}
    await plan.next()
    plan.answered(0.1)
    plan.blame(SERVER)
    plan.blame(REJECTED)
    assert alone.health.states["a"].failures == 1


def test_the_short_wait_is_shorter_than_what_clients_wait_for() -> None:
    assert plan_module.SHORT_WAIT_SECONDS <= 5


# Order


def order(
    alone: Alone, routes: tuple[Route, ...], strategy: str = "weighted", seed: int = 7, **fields: Any
) -> list[str]:
    found = order_routes(
        routes,
        strategy=strategy,
        health=alone.health,
        facts=facts("m", **fields),
        is_stream=True,
        chance=random.Random(seed),
    )
    return [way.deployment_id for way in found]


def test_equals_share_calls_by_weight() -> None:
    routes = (route("a", weight=1), route("b", weight=3), route("c", priority=1, weight=100))
    alone, dice, drawn = Alone(), random.Random(20261121), Counter()
    for _ in range(4000):
        found = order_routes(
            routes, strategy="weighted", health=alone.health, facts=facts("m"), is_stream=True, chance=dice
        )
        drawn[found[0].deployment_id] += 1
        assert found[2].deployment_id == "c"
    # Binomial with p = 3/4: a deviation of more than five standard deviations (27.4 each) has a chance below one in a million.
    assert abs(drawn["b"] - 3000) < 137
    assert drawn["a"] + drawn["b"] == 4000


def test_the_quickest_comes_first_and_the_unknown_before_it() -> None:
    alone = Alone()
    routes = (route("a"), route("b"), route("c"))
    for way, seconds in zip(routes[:2], (2.0, 1.0), strict=True):
        alone.health.answered(way, seconds, is_stream=True)
    assert order(alone, routes, Strategy.LATENCY) == ["c", "b", "a"]


def test_sometimes_another_than_the_quickest_is_asked() -> None:
    alone, dice = Alone(), random.Random(20261121)
    routes = (route("a"), route("b"))
    for way, seconds in zip(routes, (2.0, 1.0), strict=True):
        alone.health.answered(way, seconds, is_stream=True)
    slow = sum(
        order_routes(
            routes, strategy=Strategy.LATENCY, health=alone.health, facts=facts("m"), is_stream=True, chance=dice
        )[0].deployment_id
        == "a"
        for _ in range(4000)
    )
    # Half of the exploring calls: binomial with p = 0.025, five standard deviations are 49.4.
    assert abs(slow - 4000 * EXPLORING_SHARE / 2) < 50


def test_the_cheapest_for_this_prompt_comes_first() -> None:
    dear, cheap = route("a", cost=2_000_000), route("b", cost=1_000_000)
    assert order(Alone(), (dear, cheap), Strategy.COST) == ["b", "a"]
    assert expected_cost(dear, facts("m", prompt_tokens=100, answer_tokens=50)) == 300
    assert expected_cost(cheap, facts("m", prompt_tokens=100)) == 600


def test_priority_goes_before_price_and_failure_before_priority() -> None:
    alone = Alone()
    dear, cheap = route("a", cost=2_000_000), route("b", cost=1_000_000, priority=1)
    assert order(alone, (cheap, dear), Strategy.COST) == ["a", "b"]
    alone.health.failed(dear, reason="server_error")
    assert order(alone, (cheap, dear), Strategy.COST) == ["b", "a"]
