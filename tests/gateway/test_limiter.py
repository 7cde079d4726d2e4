"""Rate limits: exact, over any number of processes, with or without Redis; a refused call takes nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass

import openai
import orjson
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.core.errors import AppError
from apps.core.redis import get_redis
from apps.core.redis_line import Answered
from apps.gateway.errors import LimitsUnreachable, ParallelLimitReached, RequestLimitReached, TokenLimitReached
from apps.gateway.runtime.binding import PREFIX
from apps.gateway.runtime.limiter import RENEW_SECONDS, SCRIPT, Limiter
from apps.gateway.runtime.window import (
    FITS,
    KIND_BUCKET,
    KIND_SLOTS,
    KIND_WINDOW,
    LEASE_SECONDS,
    LOCAL,
    WINDOW_SECONDS,
    LocalWindow,
    ask_counters,
)
from apps.gateway.selectors.limits import LimitTerms
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import run_in_database

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Facts:
    """What a limit sees of a call."""

    model: str = "small"
    end_user: str = ""
    tags: tuple[str, ...] = ()
    prompt_tokens: int = 1
    answer_tokens: int | None = None


def limit(id: str = "one", scope: str = "key", **terms) -> LimitTerms:
    return LimitTerms(id=id, scope=scope, label=terms.pop("label", f'{scope} "{id}"'), **terms)


def bucket(**terms) -> LimitTerms:
    return limit(is_bucket=True, **terms)


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


async def admit_many(limiter: Limiter, limits: tuple[LimitTerms, ...], count: int, facts: Facts = Facts()) -> int:
    """Return how many of `count` simultaneous calls got in."""
    results = await asyncio.gather(*(limiter.admit(limits, facts) for _ in range(count)), return_exceptions=True)
    assert all(isinstance(result, AppError) for result in results if isinstance(result, BaseException))
    return sum(not isinstance(result, Exception) for result in results)


def trips() -> int:
    return get_redis().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)


def counters() -> dict[str, str]:
    """Return everything that is counted anywhere."""
    redis = get_redis()
    found = {}
    for key in redis.scan_iter(f"{PREFIX}*"):
        is_set = redis.type(key) == b"zset"
        found[key.decode()] = repr(redis.zrange(key, 0, -1, withscores=True) if is_set else redis.hgetall(key))
    return found


async def test_a_call_without_limits_makes_no_trip_to_redis(limiter: Limiter) -> None:
    before = trips()
    assert await limiter.admit((), Facts()) is None
    assert await limiter.admit((limit(requests=5, model="other"),), Facts()) is None
    assert await limiter.admit((limit(scope="end_user", requests=5), limit(scope="tag", requests=5)), Facts()) is None
    assert trips() == before


async def test_simultaneous_calls_share_one_trip_and_an_exact_limit(limiter: Limiter) -> None:
    before = trips()
    assert await admit_many(limiter, (limit(requests=20),), 100) == 20
    assert trips() - before <= 2


async def test_room_comes_back_as_calls_leave_the_window(limiter: Limiter, clock: Clock) -> None:
    limits = (limit(requests=2),)
    await limiter.admit(limits, Facts())
    clock.now += 30
    admission = await limiter.admit(limits, Facts())
    assert dict(admission.headers())[b"x-ratelimit-remaining-requests"] == b"0"
    with pytest.raises(RequestLimitReached) as refused:
        await limiter.admit(limits, Facts())
    assert refused.value.retry_after_seconds == 31.0
    assert refused.value.message == (
        'The limit of 2 requests per minute of key "one" is reached: 2 are used; the next one may be sent in 31 s.'
    )
    clock.now += 30.9
    assert await admit_many(limiter, limits, 1) == 0
    clock.now += 0.1
    assert await admit_many(limiter, limits, 3) == 1
    clock.now += 1000
    assert await admit_many(limiter, limits, 3) == 2


async def test_a_bucket_lets_a_burst_through_and_then_its_rate(limiter: Limiter, clock: Clock) -> None:
    limits = (bucket(requests=60, burst_requests=10),)
    assert await admit_many(limiter, limits, 30) == 10
    with pytest.raises(RequestLimitReached) as refused:
        await limiter.admit(limits, Facts())
    assert refused.value.retry_after_seconds == 1.0
    assert "60 requests per minute (at most 10 at once)" in refused.value.message
    clock.now += 0.9
    assert await admit_many(limiter, limits, 5) == 0
    clock.now += 2.1
    assert await admit_many(limiter, limits, 5) == 3
    clock.now += 3600
    assert await admit_many(limiter, limits, 30) == 10


async def test_tokens_of_a_bucket_are_settled_as_they_leak(limiter: Limiter, clock: Clock) -> None:
    limits = (bucket(tokens=60, burst_tokens=100),)
    admission = await limiter.admit(limits, Facts(prompt_tokens=20, answer_tokens=500))
    assert admission.reserved_tokens == 100
    assert dict(admission.headers()) == {
        b"x-ratelimit-limit-tokens": b"100",
        b"x-ratelimit-remaining-tokens": b"0",
        b"x-ratelimit-reset-tokens": b"100s",
    }
    limiter.settle(admission, tokens=30)
    clock.now += 10
    again = await limiter.admit(limits, Facts(prompt_tokens=80))
    assert dict(again.headers())[b"x-ratelimit-remaining-tokens"] == b"0"
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit(limits, Facts(prompt_tokens=100))
    assert refused.value.retry_after_seconds == 100.0
    get_redis().flushdb()
    limiter.settle(again, tokens=10)
    assert await admit_many(limiter, limits, 1, Facts(prompt_tokens=100)) == 1


async def test_a_wait_beyond_what_programs_heed_is_told_as_the_longest(limiter: Limiter) -> None:
    limits = (bucket(tokens=10, burst_tokens=100),)
    await limiter.admit(limits, Facts(prompt_tokens=100))
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit(limits, Facts(prompt_tokens=100))
    assert refused.value.retry_after_seconds == 120.0


async def test_tokens_are_reserved_and_then_settled(limiter: Limiter) -> None:
    limits = (limit(tokens=100),)
    admission = await limiter.admit(limits, Facts(prompt_tokens=20, answer_tokens=60))
    assert admission.reserved_tokens == 80
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit(limits, Facts(prompt_tokens=21))
    assert refused.value.headers["x-ratelimit-remaining-tokens"] == "20"
    assert "80 are used or reserved, this call needs 21" in refused.value.message
    limiter.settle(admission, tokens=30)
    limiter.settle(admission, tokens=0)
    second = await limiter.admit(limits, Facts(prompt_tokens=70))
    assert dict(second.headers())[b"x-ratelimit-remaining-tokens"] == b"0"
    limiter.settle(second, tokens=170)
    with pytest.raises(TokenLimitReached):
        await limiter.admit(limits, Facts())


async def test_an_answer_may_ask_for_more_than_the_limit_but_a_prompt_may_not(limiter: Limiter) -> None:
    admission = await limiter.admit((limit(tokens=100),), Facts(prompt_tokens=20, answer_tokens=32_000))
    assert admission.reserved_tokens == 100
    with pytest.raises(TokenLimitReached) as refused:
        await limiter.admit((limit("two", tokens=100),), Facts(prompt_tokens=101))
    assert refused.value.headers == {"x-should-retry": "false"}
    assert refused.value.retry_after_seconds is None


async def test_calls_at_a_time_are_freed_as_they_end(limiter: Limiter) -> None:
    limits = (limit(parallel=2),)
    first, _ = [await limiter.admit(limits, Facts()) for _ in range(2)]
    with pytest.raises(ParallelLimitReached) as refused:
        await limiter.admit(limits, Facts())
    assert refused.value.retry_after_seconds == 1.0
    assert refused.value.message == (
        'The limit of 2 calls at a time of key "one" is reached: 2 are running. Try again when one has ended.'
    )
    limiter.settle(first, tokens=5)
    assert await admit_many(limiter, limits, 5) == 1


async def test_a_killed_process_frees_its_slots_and_a_living_one_keeps_them(limiter: Limiter, clock: Clock) -> None:
    limits, killed = (limit(parallel=2),), Limiter(clock=clock)
    await limiter.admit(limits, Facts())
    await killed.admit(limits, Facts())
    for _ in range(4):
        clock.now += RENEW_SECONDS
        limiter.tick(asyncio.get_running_loop().time() + clock.now)
        await limiter._idle.wait()
    assert 4 * RENEW_SECONDS > LEASE_SECONDS
    assert LEASE_SECONDS < 60
    assert await admit_many(limiter, limits, 5) == 1


async def test_slots_are_not_renewed_before_it_is_time(limiter: Limiter) -> None:
    admission = await limiter.admit((limit(parallel=1),), Facts())
    limiter.tick(asyncio.get_running_loop().time())
    assert limiter._idle.is_set()
    limiter.settle(admission, tokens=0)
    await limiter._idle.wait()
    assert counters() == {}


async def test_who_leaves_while_it_is_decided_takes_nothing(limiter: Limiter) -> None:
    limits = (limit(tokens=100), limit("two", parallel=1))
    asking = asyncio.create_task(limiter.admit(limits, Facts(prompt_tokens=100)))
    await asyncio.sleep(0)
    asking.cancel()
    await limiter.close()
    assert await admit_many(limiter, limits, 3, Facts(prompt_tokens=100)) == 1


class TestSeveralLimits:
    async def test_a_refusal_takes_nothing_anywhere(self, limiter: Limiter) -> None:
        wide = (
            limit("org", "organization", requests=100, tokens=1000, parallel=10),
            bucket(id="team", scope="team", requests=100, burst_requests=100),
            limit("user", "user", parallel=10),
        )
        await limiter.admit(wide, Facts())
        full = (limit("full", requests=1),)
        await limiter.admit(full, Facts())
        before = counters()
        assert await admit_many(limiter, (*wide, *full), 20) == 0
        assert counters() == before

    async def test_the_one_that_refuses_longest_is_named(self, limiter: Limiter, clock: Clock) -> None:
        quick = bucket(id="quick", scope="team", requests=60, burst_requests=1)
        slow = limit("slow", "user", requests=1)
        await limiter.admit((quick, slow), Facts())
        with pytest.raises(RequestLimitReached, match='of user "slow" is reached'):
            await limiter.admit((quick, slow), Facts())
        with pytest.raises(RequestLimitReached, match='of user "slow" is reached'):
            await limiter.admit((slow, quick), Facts())

    async def test_headers_tell_the_tightest(self, limiter: Limiter) -> None:
        limits = (
            limit("org", "organization", requests=100, tokens=50),
            limit("key", requests=5, tokens=1000),
            limit("user", "user", parallel=3),
        )
        headers = dict((await limiter.admit(limits, Facts(prompt_tokens=10))).headers())
        assert headers == {
            b"x-ratelimit-limit-requests": b"5",
            b"x-ratelimit-remaining-requests": b"4",
            b"x-ratelimit-reset-requests": b"61s",
            b"x-ratelimit-limit-tokens": b"50",
            b"x-ratelimit-remaining-tokens": b"40",
            b"x-ratelimit-reset-tokens": b"61s",
        }

    async def test_asking_takes_nothing(self, limiter: Limiter) -> None:
        limits = (limit(requests=5, tokens=100, parallel=2), bucket(id="b", requests=60, burst_requests=10))
        assert await limiter.explain((), Facts()) == ([], None)
        before = counters()
        fresh, refusal = await limiter.explain(limits, Facts())
        assert refusal is None
        assert [(m.kind, m.limit, m.used, m.left) for m in fresh] == [
            ("requests", 5, 0, 5),
            ("tokens", 100, 0, 100),
            ("parallel_calls", 2, 0, 2),
            ("requests", 10, 0, 10),
        ]
        assert counters() == before == {}
        await limiter.admit(limits, Facts(prompt_tokens=30))
        taken, refusal = await limiter.explain(limits, Facts(prompt_tokens=90))
        assert [(m.used, m.left) for m in taken] == [(1, 4), (30, 70), (1, 1), (1, 9)]
        assert isinstance(refusal, TokenLimitReached)


class TestScopesOfTheCall:
    async def test_each_end_user_and_tag_counts_by_itself(self, limiter: Limiter) -> None:
        limits = (limit("users", "end_user", requests=2, label="end user"),)
        assert await admit_many(limiter, limits, 5, Facts(end_user="grace")) == 2
        assert await admit_many(limiter, limits, 5, Facts(end_user="bob")) == 2
        with pytest.raises(RequestLimitReached, match='of end user "grace" is reached'):
            await limiter.admit(limits, Facts(end_user="grace"))
        assert not any("grace" in key for key in counters())
        tags = (limit("tags", "tag", requests=3),)
        assert await admit_many(limiter, tags, 5, Facts(tags=("a", "b"))) == 3
        assert await admit_many(limiter, tags, 5, Facts(tags=("b",))) == 0
        assert await admit_many(limiter, tags, 5, Facts(tags=("c",))) == 3

    async def test_the_same_name_elsewhere_is_somebody_else(self, limiter: Limiter) -> None:
        here, there = (limit("users", "end_user", requests=1, within=org) for org in ("org-1", "org-2"))
        assert await admit_many(limiter, (here,), 3, Facts(end_user="grace")) == 1
        assert await admit_many(limiter, (there,), 3, Facts(end_user="grace")) == 1

    async def test_one_subject_binds_nobody_else(self, limiter: Limiter) -> None:
        limits = (
            limit("grace", "end_user", subject="grace", requests=1),
            limit("m", "model", subject="large", requests=2),
        )
        assert await admit_many(limiter, limits, 5, Facts(end_user="bob")) == 5
        assert await admit_many(limiter, limits, 5, Facts(end_user="grace")) == 1
        assert await admit_many(limiter, limits, 5, Facts(model="large")) == 2

    async def test_another_name_is_no_way_round_a_models_limit(self, limiter: Limiter) -> None:
        limits = (limit("m", "model", subject="large", requests=1), limit("k", requests=9, model="large"))
        await limiter.admit(limits, Facts(model="nickname"), model="large")
        with pytest.raises(RequestLimitReached):
            await limiter.admit(limits, Facts(model="nickname"), model="large")
        by_nickname = (limit("n", "model", subject="nickname", requests=1),)
        await limiter.admit(by_nickname, Facts(model="nickname"), model="large")
        with pytest.raises(RequestLimitReached):
            await limiter.admit(by_nickname, Facts(model="nickname"), model="large")


class TestDefects:
    """What can only go wrong by a mistake of ours concerns the calls that it hits, and no later ones."""

    async def test_what_cannot_be_sent_fails_and_the_next_call_gets_in(
        self, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def raise_it(*_: object) -> None:
            raise OverflowError("too large a number")

        with monkeypatch.context() as patched:
            patched.setattr(limiter._line, "run", raise_it)
            with pytest.raises(OverflowError):
                await limiter.admit((limit(requests=5),), Facts())
        assert await admit_many(limiter, (limit(requests=5),), 1) == 1

    async def test_an_answer_that_cannot_be_read_fails_and_the_next_call_gets_in(
        self, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def answer(_: list[str], __: list[bytes], answered: Answered) -> None:
            asyncio.get_running_loop().call_soon(answered, b"[]")

        with monkeypatch.context() as patched:
            patched.setattr(limiter._line, "run", answer)
            with pytest.raises(ValueError, match="shorter"):
                await limiter.admit((limit(requests=5),), Facts())
        assert await admit_many(limiter, (limit(requests=5),), 1) == 1


async def test_who_leaves_at_the_moment_of_admission_takes_nothing(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (limit(tokens=100, parallel=1),)
    waiting = asyncio.create_task(limiter.admit(limits, Facts(prompt_tokens=100)))
    hand_out = limiter._hand_out

    def hand_out_and_cancel(*arguments: object) -> None:
        hand_out(*arguments)
        waiting.cancel()  # it has the answer, and not had its turn

    with monkeypatch.context() as patched:
        patched.setattr(limiter, "_hand_out", hand_out_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await limiter._idle.wait()
    assert await limiter.admit(limits, Facts(prompt_tokens=100)) is not None


class TestRedisForgets:
    async def test_settling_what_redis_forgot_does_no_harm(self, limiter: Limiter) -> None:
        limits = (limit(tokens=100),)
        admission = await limiter.admit(limits, Facts(prompt_tokens=100))
        get_redis().flushdb()
        limiter.settle(admission, tokens=1)
        again = await limiter.admit(limits, Facts(prompt_tokens=100))
        assert dict(again.headers())[b"x-ratelimit-remaining-tokens"] == b"0"

    async def test_a_script_that_redis_forgot_is_sent_again(self, limiter: Limiter) -> None:
        await admit_many(limiter, (limit(requests=5),), 1)
        get_redis().script_flush()
        assert await admit_many(limiter, (limit(requests=5),), 10) == 4

    async def test_a_running_call_takes_its_slot_again(self, limiter: Limiter, clock: Clock) -> None:
        limits = (limit(parallel=1),)
        await limiter.admit(limits, Facts())
        get_redis().flushdb()
        limiter.tick(asyncio.get_running_loop().time() + 100)
        assert await admit_many(limiter, limits, 1) == 0


class TestRedisDown:
    @pytest.fixture(autouse=True)
    def down(self, limiter: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limiter._line, "run", refuse)

    async def test_each_process_enforces_its_share(self, limiter: Limiter, settings: Settings) -> None:
        settings.WEB_CONCURRENCY = 4
        assert await admit_many(limiter, (limit(requests=20),), 30) == 5
        assert await admit_many(limiter, (limit("small", requests=3),), 30) == 1
        assert await admit_many(limiter, (bucket(id="b", requests=60, burst_requests=8),), 30) == 2
        assert await admit_many(limiter, (limit("p", parallel=8),), 30) == 2
        with pytest.raises(RequestLimitReached, match="this process's share while Redis does not answer"):
            await limiter.admit((limit(requests=20),), Facts())

    async def test_tokens_and_slots_are_settled_there_too(self, limiter: Limiter, settings: Settings) -> None:
        settings.WEB_CONCURRENCY = 4
        limits = (limit(tokens=400, parallel=4), bucket(id="b", tokens=400, burst_tokens=800))
        admission = await limiter.admit(limits, Facts(prompt_tokens=90, answer_tokens=50))
        assert (admission.is_local, [bind.counter[5] for bind in admission.binds]) == (True, [100, 0, 140])
        assert await admit_many(limiter, limits, 1) == 0
        limiter.settle(admission, tokens=10)
        again = await limiter.admit(limits, Facts(prompt_tokens=90))
        assert [measure.used for measure in again.measures] == [100, 1, 100]

    async def test_forgotten_counters_are_settled_without_harm(
        self, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.gateway.runtime.limiter.MAX_COUNTERS", 1)
        first = await limiter.admit((limit(tokens=100),), Facts(prompt_tokens=50))
        await limiter.admit((limit("two", tokens=100),), Facts(prompt_tokens=50))
        limiter.settle(first, tokens=1)
        assert len(limiter._counters) == 1

    async def test_all_who_wait_hear_of_it_at_once(
        self, limiter: Limiter, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def refuse_after_all(keys: list[str], arguments: list[bytes], answered: Answered) -> None:
            asked.append(len(keys))
            refuse(keys, arguments, answered)

        settings.WEB_CONCURRENCY = 1
        monkeypatch.setattr(limiter._line, "run", refuse_after_all)
        monkeypatch.setattr("apps.gateway.runtime.limiter.MAX_BATCH", 10)
        assert await admit_many(limiter, (limit(requests=100),), 100) == 100
        assert asked == [10]

    async def test_limited_calls_are_refused_by_setting(self, limiter: Limiter, settings: Settings) -> None:
        settings.GATEWAY_LIMITS_WITHOUT_REDIS = "refuse"
        with pytest.raises(LimitsUnreachable) as refused:
            await limiter.admit((limit(requests=20),), Facts())
        assert refused.value.status == 503
        assert await limiter.admit((), Facts()) is None

    async def test_it_recovers_by_itself(self, limiter: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
        limits = (limit(requests=2),)
        local = await limiter.admit(limits, Facts())
        monkeypatch.undo()
        limiter._redis_due = float("-inf")
        admission = await limiter.admit(limits, Facts())
        assert (local.is_local, admission.is_local) == (True, False)


def refuse(keys: list[str], arguments: list[bytes], answered: Answered) -> None:
    asyncio.get_running_loop().call_soon(answered, RedisConnectionError("Redis is gone"))


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "ask", "settle"]), st.integers(0, 40_000), st.integers(-20, 60)),
    min_size=1,
    max_size=20,
)
TWINS = {
    "window": (KIND_WINDOW, 5, 100, -1, -1),
    "bucket": (KIND_BUCKET, 5, 100, 8, 150),
    "slots": (KIND_SLOTS, 3, -1, -1, -1),
}


@pytest.mark.parametrize("name", TWINS)
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_counting_in_memory_is_counting_in_redis(name: str, steps: list[tuple[str, int, int]]) -> None:
    key, terms = f"{PREFIX}twin-{name}", TWINS[name]
    get_redis().delete(key)
    script = get_redis().register_script(SCRIPT)
    twin, micros, seconds = LOCAL[terms[0]](), int(NOW * 1_000_000), [int(NOW)]
    for at, (verb, pause, amount) in enumerate(steps):
        # Slots in memory need no lease: the steps of theirs lie within one.
        micros += pause * (1000 if terms[0] != KIND_SLOTS else 1)
        number = ("ask", "admit", "settle").index(verb)
        counter = (*terms, amount if verb == "settle" else abs(amount))
        slot = f"slot-{at - 2 if verb == 'settle' else at}"
        sent = orjson.dumps([(number, slot, seconds[-1], [counter])])
        [answer] = orjson.loads(script(keys=[key], args=[micros, sent]))
        if verb == "settle":
            twin.settle(micros, counter, slot, seconds[-1])
            continue
        assert answer == ask_counters([(twin, counter)], micros=micros, slot=slot, takes=verb == "admit")
        seconds.append(answer[3])


@given(gaps=st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_no_minute_ever_sees_more_than_the_limit(gaps: list[float]) -> None:
    window, now, admitted, counter = LocalWindow(), NOW, [], (KIND_WINDOW, 3, -1, -1, -1, 0)
    for gap in gaps:
        now += gap
        answer = ask_counters([(window, counter)], micros=int(now * 1_000_000), slot="", takes=True)
        if answer[1] == FITS:
            admitted.append(now)
    assert all(later - first >= 60 for first, later in zip(admitted, admitted[3:], strict=False))
    assert WINDOW_SECONDS > 60


WORKER = """
import asyncio, django
django.setup()
from apps.gateway.runtime.limiter import Limiter
from apps.gateway.selectors.limits import LimitTerms
from apps.gateway.services.facts import CallFacts
async def main():
    limits = (
        LimitTerms(id="shared", scope="organization", label="organization", requests=50),
        LimitTerms(id="shared-slots", scope="team", label="team", parallel=45),
    )
    facts = CallFacts(model="small", end_user="", tags=(), prompt_tokens=1, answer_tokens=None)
    limiter = Limiter()
    async def one():
        try:
            await limiter.admit(limits, facts)
        except Exception:
            return 0
        return 1
    print(sum(await asyncio.gather(*(one() for _ in range(60)))))
asyncio.run(main())
"""


def test_limits_hold_over_several_processes() -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    admitted = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(admitted) == 45
    assert get_redis().hget(f"{PREFIX}shared", "requests") == b"45"


async def test_the_sdk_sees_limits_and_refusals(runtime, http, records) -> None:
    _, secret = await run_in_database(
        lambda: ApiKeyFactory.with_secret(requests_per_minute=2, tokens_per_minute=1000, parallel_calls=1)
    )
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
    assert 'limit of 2 requests per minute of key "test key"' in refused.value.message
    assert len(await records()) == 2


async def test_a_running_stream_holds_its_slot_until_it_ends(runtime, http) -> None:
    _, secret = await run_in_database(lambda: ApiKeyFactory.with_secret(parallel_calls=1))
    sdk = AsyncOpenAI(base_url="http://portico/v1", api_key=secret, http_client=http, max_retries=0)
    asked = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[echo:x]"}]}
    [caller] = [await runtime.callers.find(secret)]
    running = await runtime.limiter.admit(caller.terms.limits, Facts())
    with pytest.raises(openai.RateLimitError, match="1 calls at a time"):
        await sdk.chat.completions.create(**asked)
    runtime.limiter.settle(running, tokens=0)
    for _ in range(3):
        await sdk.chat.completions.create(**asked)
        async for _ in await sdk.chat.completions.create(**asked, stream=True):
            pass
