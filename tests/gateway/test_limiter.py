"""Limits of keys: exact, over any number of processes, with or without Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import openai
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from pytest_django import Settings

from apps.core.actor import Actor, ActorKind
from apps.core.redis import get_redis
from apps.gateway.errors import LimitsUnreachable, RequestLimitReached, TokenLimitReached
from apps.gateway.runtime.limiter import PREFIX, SCRIPT, Limiter
from apps.gateway.runtime.window import WINDOW_SECONDS, LocalWindow
from apps.gateway.selectors import Caller
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import run_in_database

NOW = 1_800_000_000.0


def limited(requests: int | None = None, tokens: int | None = None, key: str = "key-1") -> Caller:
    actor = Actor(kind=ActorKind.API_KEY)
    return Caller(actor=actor, requests_per_minute=requests, tokens_per_minute=tokens, limit_key=key)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def limiter(clock: Clock):
    found = Limiter(clock=clock)
    yield found
    await found.close()


async def admit_many(limiter: Limiter, caller: Caller, count: int) -> int:
    """Return how many of `count` simultaneous calls got in."""
    calls = [limiter.admit(caller, prompt_tokens=1, answer_tokens=0) for _ in range(count)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    return sum(not isinstance(result, Exception) for result in results)


async def test_a_caller_without_limits_makes_no_trip_to_redis(limiter: Limiter, settings: Settings) -> None:
    before = get_redis().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    assert await limiter.admit(limited(), prompt_tokens=10, answer_tokens=10) is None
    assert get_redis().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) == before


async def test_simultaneous_calls_share_one_trip_and_an_exact_limit(limiter: Limiter) -> None:
    before = get_redis().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    assert await admit_many(limiter, limited(requests=20), 100) == 20
    assert get_redis().info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 2


async def test_room_comes_back_as_calls_leave_the_window(limiter: Limiter, clock: Clock) -> None:
    caller = limited(requests=2)
    await limiter.admit(caller, prompt_tokens=1, answer_tokens=0)
    clock.now += 30
    admission = await limiter.admit(caller, prompt_tokens=1, answer_tokens=0)
    assert admission.requests_left == 0
    with pytest.raises(RequestLimitReached) as refused:
        await limiter.admit(caller, prompt_tokens=1, answer_tokens=0)
    assert refused.value.retry_after_seconds == 31.0
    clock.now += 30.9
    assert await admit_many(limiter, caller, 1) == 0
    clock.now += 0.1
    assert await admit_many(limiter, caller, 3) == 1
    clock.now += 1000
    assert await admit_many(limiter, caller, 3) == 2


async def test_tokens_are_reserved_and_then_settled(limiter: Limiter, clock: Clock) -> None:
    caller = limited(tokens=100)
    admission = await limiter.admit(caller, prompt_tokens=20, answer_tokens=60)
    assert (admission.reserved_tokens, admission.tokens_left) == (80, 20)
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit(caller, prompt_tokens=21, answer_tokens=0)
    assert refused.value.headers["x-ratelimit-remaining-tokens"] == "20"
    limiter.settle(admission, tokens=30)
    second = await limiter.admit(caller, prompt_tokens=70, answer_tokens=0)
    assert second.tokens_left == 0
    limiter.settle(second, tokens=170)
    with pytest.raises(TokenLimitReached):
        await limiter.admit(caller, prompt_tokens=1, answer_tokens=0)


async def test_an_answer_may_ask_for_more_than_the_limit_but_a_prompt_may_not(limiter: Limiter) -> None:
    caller = limited(tokens=100)
    admission = await limiter.admit(caller, prompt_tokens=20, answer_tokens=32_000)
    assert admission.reserved_tokens == 100
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit(limited(tokens=100, key="key-2"), prompt_tokens=101, answer_tokens=0)
    assert refused.value.headers == {"x-should-retry": "false"}
    assert refused.value.retry_after_seconds is None


async def test_settling_what_redis_forgot_does_no_harm(limiter: Limiter) -> None:
    caller = limited(tokens=100)
    admission = await limiter.admit(caller, prompt_tokens=100, answer_tokens=0)
    get_redis().flushdb()
    limiter.settle(admission, tokens=1)
    again = await limiter.admit(caller, prompt_tokens=100, answer_tokens=0)
    assert again.tokens_left == 0


async def test_a_script_that_redis_forgot_is_sent_again(limiter: Limiter) -> None:
    await admit_many(limiter, limited(requests=5), 1)
    get_redis().script_flush()
    assert await admit_many(limiter, limited(requests=5), 10) == 4


async def test_redis_down_leaves_each_process_its_share(
    limiter: Limiter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEB_CONCURRENCY = 4
    monkeypatch.setattr(limiter, "_script", refuse)
    assert await admit_many(limiter, limited(requests=20), 30) == 5
    admission = await limiter.admit(limited(tokens=400, key="key-2"), prompt_tokens=90, answer_tokens=50)
    assert (admission.is_local, admission.reserved_tokens) == (True, 100)
    limiter.settle(admission, tokens=10)
    again = await limiter.admit(limited(tokens=400, key="key-2"), prompt_tokens=90, answer_tokens=0)
    assert again.is_local


async def test_redis_down_refuses_limited_calls_by_setting(
    limiter: Limiter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATEWAY_LIMITS_WITHOUT_REDIS = "refuse"
    monkeypatch.setattr(limiter, "_script", refuse)
    with pytest.raises(LimitsUnreachable) as refused:
        await limiter.admit(limited(requests=20), prompt_tokens=1, answer_tokens=0)
    assert refused.value.status == 503
    assert await limiter.admit(limited(), prompt_tokens=1, answer_tokens=0) is None


async def refuse(**_: object) -> None:
    raise ConnectionError("Redis is gone")


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "settle"]), st.integers(0, 40), st.integers(-20, 60)), min_size=1, max_size=25
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_window_in_memory_is_the_one_in_redis(steps: list[tuple[str, int, int]]) -> None:
    get_redis().delete(f"{PREFIX}twin")
    script = get_redis().register_script(SCRIPT)
    window, now, seconds = LocalWindow(), NOW, [int(NOW)]
    for verb, pause, amount in steps:
        now += pause
        if verb == "admit":
            tokens = abs(amount)
            arguments = [int(now * 1_000_000), 5, 100, tokens, 0]
            expected = window.admit(now=now, requests_limit=5, tokens_limit=100, tokens=tokens)
            [found] = script(keys=[f"{PREFIX}twin"], args=arguments)
            assert tuple(found) == expected
            seconds.append(int(now))
        else:
            window.settle(now=now, second=seconds[-1], tokens=amount)
            script(keys=[f"{PREFIX}twin"], args=[int(now * 1_000_000), -1, -1, amount, seconds[-1]])


@given(gaps=st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_no_minute_ever_sees_more_than_the_limit(gaps: list[float]) -> None:
    window, now, admitted = LocalWindow(), NOW, []
    for gap in gaps:
        now += gap
        if window.admit(now=now, requests_limit=3, tokens_limit=-1, tokens=0)[0] == 1:
            admitted.append(now)
    assert all(later - first >= 60 for first, later in zip(admitted, admitted[3:], strict=False))
    assert WINDOW_SECONDS > 60


WORKER = """
import asyncio, django
django.setup()
from apps.core.actor import Actor, ActorKind
from apps.gateway.runtime.limiter import Limiter
from apps.gateway.selectors import Caller
async def main():
    caller = Caller(actor=Actor(kind=ActorKind.API_KEY), requests_per_minute=50, limit_key="shared")
    limiter = Limiter()
    async def one():
        try:
            await limiter.admit(caller, prompt_tokens=1, answer_tokens=0)
        except Exception:
            return 0
        return 1
    print(sum(await asyncio.gather(*(one() for _ in range(60)))))
asyncio.run(main())
"""


def test_the_limit_holds_over_several_processes() -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    admitted = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(admitted) == 50


async def test_the_sdk_sees_limits_and_refusals(runtime, http, records) -> None:
    _, secret = await run_in_database(lambda: ApiKeyFactory.with_secret(requests_per_minute=2, tokens_per_minute=1000))
    sdk = AsyncOpenAI(base_url="http://portico/v1", api_key=secret, http_client=http, max_retries=0)
    asked = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[echo:x]"}]}
    first = await sdk.chat.completions.with_raw_response.create(**asked, max_tokens=100)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert 0 < int(first.headers["x-ratelimit-remaining-tokens"]) < 1000
    assert first.headers["x-ratelimit-reset-requests"] == "61s"
    await sdk.chat.completions.create(**asked)
    with pytest.raises(openai.RateLimitError) as refused:
        await sdk.chat.completions.create(**asked)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.type == "requests"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 62
    assert "limit of 2 requests per minute" in refused.value.message
    assert len(await records()) == 2
