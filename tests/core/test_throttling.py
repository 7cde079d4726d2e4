"""Requests of /api/v3 per address, person, key and route."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisDown
from rest_framework.test import APIClient

from apps.core.api import throttling
from apps.core.redis import get_redis
from apps.users.models import Membership
from project.settings.environment import Environment

pytestmark = pytest.mark.django_db

ME = "/api/v3/users/me"
SESSIONS = "/api/v3/users/me/sessions"
MINUTE = 30_000_000 * 60


def limit(settings: Settings, **limits: int) -> None:
    settings.API_RATE_LIMITS = {"ip": 0, "user": 0, "key": 0, "route": 0} | limits


def count(*limits: int, at: float, keys: str = "abc") -> list[int]:
    return get_redis().eval(throttling.SCRIPT, len(limits), *keys[: len(limits)], at, *limits)


class TestTheWindow:
    def test_the_limit_and_no_more(self) -> None:
        assert [count(3, at=MINUTE)[0] for _ in range(5)] == [0, 0, 0, 1, 1]
        assert count(3, at=MINUTE + 20) == [1, 60, 0]
        assert count(3, at=MINUTE + 79.5) == [1, 1, 0]
        assert count(3, at=MINUTE + 80.5) == [0, 0, 0]

    def test_the_minute_before_leaves_steadily(self) -> None:
        for _ in range(60):
            count(60, at=MINUTE + 59)
        assert count(60, at=MINUTE + 60) == [1, 1, 0]
        assert [count(60, at=MINUTE + 90)[0] for _ in range(31)] == [0] * 30 + [1]
        assert count(60, at=MINUTE + 180)[0] == 0
        assert get_redis().hlen("a") == 2

    def test_a_refusal_counts_nowhere(self) -> None:
        assert count(1, 5, at=MINUTE) == [0, 0, 0, 4]
        assert count(1, 5, at=MINUTE) == [1, 120, 0, 4]
        assert get_redis().hgetall("b") == {str(MINUTE // 60).encode(): b"1"}


class TestTheApi:
    def test_the_answer_tells_what_is_left(self, api: APIClient, settings: Settings) -> None:
        limit(settings, ip=10, user=3)
        answer = api.get(ME)
        assert answer.headers["RateLimit"] == '"user";r=2;t=60'
        assert answer.headers["RateLimit-Policy"] == '"user";q=3;w=60'

    @pytest.mark.parametrize(
        ("name", "whose"),
        [("ip", "this address"), ("user", "your account"), ("key", "this API key"), ("route", "this endpoint")],
    )
    def test_each_limit_refuses(self, api: APIClient, settings: Settings, name: str, whose: str) -> None:
        limit(settings, **{name: 2})
        assert [api.get(ME).status_code for _ in range(2)] == [200, 200]
        refused = api.get(ME)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (429, "requests_limited")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert f"2 requests per minute of {whose} is reached" in problem["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 120
        assert refused.headers["RateLimit"] == f'"{name}";r=0;t={refused.headers["Retry-After"]}'

    def test_others_are_not_held_to_it(
        self, api: APIClient, api_as: Any, member: Membership, settings: Settings
    ) -> None:
        limit(settings, key=1, route=1)
        assert api.get(ME).status_code == 200
        assert api.get(ME).status_code == 429
        other = api_as(member)
        assert other.get(ME).status_code == 200
        limit(settings, route=1)
        assert api.get(SESSIONS).status_code == 200

    def test_a_view_may_have_limits_of_its_own(
        self, api: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit(settings, route=100)
        monkeypatch.setattr("apps.users.api.user_views.MeView.rate_limits", {"PATCH": 1})
        assert [api.patch(ME, {}).status_code for _ in range(2)] == [200, 429]
        assert api.get(ME).status_code == 200

    def test_the_anonymous_count_by_address(self, settings: Settings) -> None:
        limit(settings, ip=1, user=1, key=1)
        assert Client().get("/api/v3/schema").status_code == 200
        assert Client().get("/api/v3/schema").status_code == 429
        assert Client(REMOTE_ADDR="203.0.113.9").get("/api/v3/schema").status_code == 200

    def test_without_redis_requests_go_through(
        self, api: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit(settings, key=1)
        asked: list[None] = []

        class Down:
            def eval(self, *_: Any) -> None:
                asked.append(None)
                raise RedisDown

        monkeypatch.setattr(throttling, "get_redis", Down)
        monkeypatch.setattr(throttling, "_rest", {"until": 0.0})
        assert [api.get(ME).status_code for _ in range(3)] == [200, 200, 200]
        assert len(asked) == 1, "a Redis that just failed is not waited for each time"

    def test_no_limit_asks_nobody(self, api: APIClient, settings: Settings) -> None:
        limit(settings)
        assert "RateLimit" not in api.get(ME).headers
        assert list(get_redis().scan_iter(f"{throttling.PREFIX}*")) == []


def test_limits_are_read_from_the_environment() -> None:
    assert Environment(api_limits="ip=5,route=0").api_rate_limits() == {"ip": 5, "route": 0}
    with pytest.raises(ValueError, match="api_limits"):
        Environment(api_limits="planet=5")
