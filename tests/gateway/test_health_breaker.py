"""Who is left alone after failures, for how long, and who tries first."""

from __future__ import annotations

from typing import Any

import pytest

from apps.gateway.choices import Breaker
from apps.gateway.runtime.health import (
    LONGEST_BAR_SECONDS,
    LONGEST_COOL_DOWN_SECONDS,
    REST_SECONDS,
    TRIAL_SECONDS,
    VERDICT_SECONDS,
    WINDOW_CALLS,
    WINDOW_SECONDS,
    Health,
    backoff_seconds,
)
from apps.gateway.runtime.sharing import take_over
from tests.support.routing import Clock, route

WAY = route("dep", provider="openai", cool_down_failures=3, cool_down_seconds=8.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def health(clock: Clock, told: list[dict[str, Any]]) -> Health:
    return Health(clock=clock, wall_clock=clock, share=told.append)


def fail(health: Health, times: int, **fields: Any) -> None:
    for _ in range(times):
        health.failed(WAY, reason="server_error", **fields)


def test_an_unknown_deployment_is_in_use(health: Health) -> None:
    assert health.standing("dep") is Breaker.CLOSED
    assert health.blocked_for("dep") == 0
    assert health.latency("dep", is_stream=True) == 0
    health.give_trial_back("dep")
    assert health.states == {}


def test_after_a_failure_others_are_preferred_for_a_while(health: Health, clock: Clock) -> None:
    fail(health, 1)
    assert health.standing("dep") is Breaker.RESTING
    assert health.blocked_for("dep") == 0
    clock.time += REST_SECONDS
    assert health.standing("dep") is Breaker.CLOSED


def test_failures_in_a_row_open_the_breaker_and_others_are_told(
    health: Health, clock: Clock, told: list[dict[str, Any]]
) -> None:
    fail(health, 2)
    health.answered(WAY, 0.1, is_stream=False)
    fail(health, 2)
    assert (health.standing("dep"), told) == (Breaker.RESTING, [])
    fail(health, 1)
    assert health.standing("dep") is Breaker.OPEN
    assert health.blocked_for("dep") == 8.0
    assert told == [
        {"kind": "open", "subject": "dep", "until": clock.time + 8.0, "openings": 1, "reason": "server_error"}
    ]
    fail(health, 5)
    assert len(told) == 1, "what began before says nothing new"
    clock.time += 8.0
    assert health.standing("dep") is Breaker.HALF_OPEN


def test_half_of_many_failing_opens_it_too(health: Health) -> None:
    for _ in range(WINDOW_CALLS // 2):
        health.answered(WAY, 0.1, is_stream=False)
    for _ in range(WINDOW_CALLS // 2 - 1):
        fail(health, 1)
        health.states["dep"].failures = 0
    assert health.standing("dep") is Breaker.RESTING
    fail(health, 1)
    assert health.standing("dep") is Breaker.OPEN


def test_old_failures_leave_the_window(health: Health, clock: Clock) -> None:
    for _ in range(WINDOW_CALLS - 1):
        fail(health, 1)
        health.states["dep"].failures = 0
    clock.time += WINDOW_SECONDS + 1
    fail(health, 1)
    assert health.standing("dep") is Breaker.RESTING


def test_one_trial_at_a_time_decides(health: Health, clock: Clock, told: list[dict[str, Any]]) -> None:
    fail(health, 3)
    clock.time += 8.0
    assert [health.take_trial("dep") for _ in range(3)] == [True, False, False]
    health.give_trial_back("dep")
    assert health.take_trial("dep")
    clock.time += TRIAL_SECONDS
    assert health.take_trial("dep"), "a trial that says nothing is given to another"
    health.answered(WAY, 0.2, is_stream=True)
    assert health.standing("dep") is Breaker.CLOSED
    assert told[-1] == {"kind": "closed", "subject": "dep"}
    fail(health, 2)
    assert health.standing("dep") is Breaker.RESTING, "it begins anew"


def test_each_failed_trial_doubles_the_while_up_to_a_bound(health: Health, clock: Clock) -> None:
    fail(health, 3)
    whiles = []
    for _ in range(7):
        whiles.append(health.blocked_for("dep"))
        clock.time += whiles[-1]
        assert health.take_trial("dep")
        fail(health, 1)
    assert whiles == [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, LONGEST_COOL_DOWN_SECONDS]


@pytest.mark.parametrize(("asked", "waits"), [(7.0, 7.0), (9999.0, LONGEST_BAR_SECONDS)])
def test_a_provider_that_says_when_is_asked_then(
    health: Health, clock: Clock, told: list[dict[str, Any]], asked: float, waits: float
) -> None:
    fail(health, 1, retry_after=asked, is_rate=True)
    assert health.standing("dep") is Breaker.OPEN
    assert health.is_rate_limited("dep")
    assert health.blocked_for("dep") == waits
    assert [(entry["kind"], entry["until"]) for entry in told] == [("barred", clock.time + waits)]
    clock.time += waits
    assert health.standing("dep") is Breaker.CLOSED
    assert not health.is_rate_limited("dep")


def test_a_rate_limit_without_a_time_is_a_failure_like_others(health: Health) -> None:
    fail(health, 1, is_rate=True)
    assert health.standing("dep") is Breaker.RESTING


# Others


def test_what_one_process_finds_holds_in_another(health: Health, clock: Clock, told: list[dict[str, Any]]) -> None:
    other = Health(clock=clock, wall_clock=clock)
    fail(health, 3)
    other.hear(told[-1])
    assert (other.standing("dep"), other.blocked_for("dep")) == (Breaker.OPEN, 8.0)
    clock.time += 8.0
    assert other.standing("dep") is Breaker.HALF_OPEN
    health.take_trial("dep")
    health.answered(WAY, 0.1, is_stream=False)
    other.hear(told[-1])
    assert other.standing("dep") is Breaker.CLOSED
    fail(health, 1, retry_after=30.0, is_rate=True)
    other.hear(told[-1])
    assert other.blocked_for("dep") == 30.0


@pytest.mark.parametrize("until", [999.0, float("nan"), float("inf"), float("-inf")])
def test_news_of_the_past_changes_nothing(health: Health, until: float) -> None:
    health.hear({"kind": "open", "subject": "dep", "until": until})
    assert health.standing("dep") is Breaker.CLOSED


@pytest.mark.parametrize("news", [{}, {"kind": "open"}, {"kind": "open", "subject": "d", "until": "x"}])
def test_news_that_make_no_sense_are_refused(health: Health, news: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        health.hear(news)


def test_a_probe_tells_of_a_provider_before_the_catalogue_does(health: Health, clock: Clock) -> None:
    assert not health.is_down(WAY, frozenset())
    assert health.is_down(WAY, frozenset({"openai"}))
    assert health.is_down(WAY, frozenset({"dep"}))
    health.hear({"kind": "probe", "subject": "openai", "is_down": True})
    assert health.is_down(WAY, frozenset())
    health.hear({"kind": "probe", "subject": "openai", "is_down": False})
    assert not health.is_down(WAY, frozenset({"openai"}))
    clock.time += VERDICT_SECONDS
    assert health.is_down(WAY, frozenset({"openai"})), "the catalogue has been read again by now"


def test_a_provider_that_is_back_is_tried_at_once(health: Health) -> None:
    fail(health, 3)
    health.hear({"kind": "probe", "subject": "openai", "is_down": False, "deployments": ["dep", "unknown"]})
    assert health.standing("dep") is Breaker.HALF_OPEN
    assert [health.take_trial("dep"), health.take_trial("dep")] == [True, False]


def test_what_redis_keeps_is_taken_over_as_far_as_it_can_be_read(health: Health, clock: Clock) -> None:
    take_over(
        health,
        {b"dep": b'{"kind":"open","subject":"dep","until":1005.0,"openings":2}', b"x": b"{", b"y": b"[]"},
        {
            b"old": b'{"latency":[1,1],"at":0}',
            b"odd": b'{"latency":1}',
            b"list": b"[]",
        },
    )
    assert health.blocked_for("dep") == 5.0
    assert set(health.states) == {"dep"}


# Speed


def test_latency_is_smoothed_for_each_way_of_answering(health: Health) -> None:
    for seconds in (1.0, 2.0):
        health.answered(WAY, seconds, is_stream=True)
    health.answered(WAY, 9.0, is_stream=False)
    assert health.latency("dep", is_stream=True) == pytest.approx(1.3)
    assert health.latency("dep", is_stream=False) == 9.0


def test_old_knowledge_fades(health: Health, clock: Clock) -> None:
    health.answered(WAY, 4.0, is_stream=True)
    clock.time += 120
    assert health.latency("dep", is_stream=True) == pytest.approx(1.0)


def test_measurements_are_told_once_and_do_not_replace_ones_own(health: Health, clock: Clock) -> None:
    health.answered(WAY, 4.0, is_stream=True)
    assert health.take_news() == {"dep": [0.0, 4.0]}
    assert health.take_news() == {}
    health.hear_latency("dep", [2.0, 2.0], age=0.0)
    assert health.latency("dep", is_stream=True) == 4.0
    assert health.latency("dep", is_stream=False) == 2.0
    assert health.take_news() == {}, "what is known from others is not passed on"


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"), [(1, 1.0, 0.25), (1, 0.0, 0.125), (3, 1.0, 1.0), (5, 1.0, 4.0), (50, 0.5, 3.0)]
)
def test_waits_double_up_to_four_seconds(attempt: int, chance: float, seconds: float) -> None:
    assert backoff_seconds(attempt, chance=lambda: chance) == seconds
