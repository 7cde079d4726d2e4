"""The response cache end to end: who gets which answer again, what it costs, and what is never given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError

from apps.billing.models import Price, UsageRecord
from apps.core.actor import system_actor
from apps.core.redis import get_redis
from apps.gateway.choices import CacheScope
from apps.gateway.models import CachedAnswer, CacheDay, CachePolicy, GuardBinding, GuardPolicy, Model
from apps.gateway.runtime import Runtime
from apps.gateway.runtime import cache as cache_module
from apps.gateway.selectors import find_caller
from apps.gateway.services import open_chat
from apps.gateway.services.caching import finding, keeping
from apps.gateway.services.caching.policies import forget_person, purge_cache, save_cache_policy, sweep_cached_answers
from apps.users.models import ApiKey
from project.asgi import application
from tests.factories.gateway import CachePolicyFactory
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import run_in_database
from tests.support.upstreams import Scenario, ToolCall, Upstream

CHAT = "/v1/chat/completions"
Records = Callable[[], Awaitable[list[UsageRecord]]]


class Caller:
    """Sends chat requests with one key and waits until what they leave in the cache is there."""

    def __init__(self, http: httpx.AsyncClient, runtime: Runtime, secret: str) -> None:
        self.http = http
        self.runtime = runtime
        self.secret = secret

    async def ask(
        self, prompt: str = "Why is the sky blue?", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        body = {"model": "sandbox-small", "messages": [{"role": "user", "content": prompt}], **fields}
        answer = await self.http.post(
            CHAT, json=body, headers={"Authorization": f"Bearer {self.secret}", **(headers or {})}
        )
        await self.runtime.cache.settle()
        return answer

    async def state(
        self, prompt: str = "Why is the sky blue?", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> str:
        answer = await self.ask(prompt, headers=headers, **fields)
        assert answer.status_code == 200, answer.text
        return answer.headers.get("x-portico-cache", "")


@pytest.fixture
def policy(key: tuple[ApiKey, str]) -> CachePolicy:
    """Return the policy of the organization of `key`: exact, shared by everybody, free."""
    return CachePolicyFactory(organization=key[0].organization)


@pytest.fixture
def caller(policy: CachePolicy, http: httpx.AsyncClient, runtime: Runtime, secret: str) -> Caller:
    """Return a client with `key`."""
    return Caller(http, runtime, secret)


@pytest.fixture
def semantic(policy: CachePolicy) -> CachePolicy:
    """Return the policy, comparing questions by meaning as well."""
    policy.is_semantic, policy.embedding_model, policy.similarity = True, "sandbox-embedding", 0.8
    policy.save()
    return policy


async def test_a_repeated_request_is_answered_from_the_cache(caller: Caller, records: Records) -> None:
    first, second = await caller.ask(), await caller.ask()
    assert (first.headers["x-portico-cache"], second.headers["x-portico-cache"]) == ("miss", "hit")
    assert "x-portico-cache-age" not in first.headers
    assert int(second.headers["x-portico-cache-age"]) <= 5
    assert second.json() == first.json()
    made, replayed = await records()
    assert (made.provider, replayed.provider) == ("sandbox", "cache")
    assert made.cost_micros > 0
    assert replayed.cost_micros == 0
    assert (replayed.prompt_tokens, replayed.completion_tokens) == (made.prompt_tokens, made.completion_tokens)
    assert (replayed.upstream_model, replayed.status, replayed.is_estimated) == ("sandbox-small", "ok", False)


async def test_a_hit_costs_its_share(caller: Caller, policy: CachePolicy, records: Records) -> None:
    await run_in_database(lambda: CachePolicy.objects.update(hit_price_percent=50))
    await run_in_database(lambda: Price.objects.update(input_micros=8_000_000, output_micros=8_000_000))
    await caller.runtime.catalogue.reload()
    await caller.ask()
    hit = await caller.ask()
    made, replayed = await records()
    assert replayed.cost_micros * 2 == made.cost_micros
    assert Decimal(hit.headers["x-portico-cost"]) * 1_000_000 == replayed.cost_micros


async def test_without_a_policy_nothing_is_said_and_nothing_kept(http, runtime: Runtime, secret: str) -> None:
    plain = Caller(http, runtime, secret)
    assert [await plain.state(), await plain.state()] == ["", ""]
    assert await plain.state(headers={"x-portico-cache": "60"}) == "off"
    assert get_redis().keys("portico:cache:*") == []


async def test_a_stream_is_replayed_as_json_and_json_as_a_stream(caller: Caller, sdk: AsyncOpenAI) -> None:
    async def stream(prompt: str) -> tuple[str, Any]:
        events = await sdk.chat.completions.create(
            model="sandbox-small",
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in events]
        await caller.runtime.cache.settle()
        assert chunks[-2].choices[0].finish_reason == "stop"
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]), chunks[-1].usage

    streamed, usage = await stream("Tell me of the sea.")
    whole = await caller.ask("Tell me of the sea.")
    assert whole.headers["x-portico-cache"] == "hit"
    assert whole.json()["choices"][0]["message"]["content"] == streamed
    assert whole.json()["usage"]["total_tokens"] == usage.total_tokens
    made = await caller.ask("[long:600] Tell me of the land.")
    replayed, replayed_usage = await stream("[long:600] Tell me of the land.")
    assert made.json()["choices"][0]["message"]["content"] == replayed
    assert replayed_usage.completion_tokens == made.json()["usage"]["completion_tokens"]


async def test_a_streamed_hit_says_so_in_its_head(caller: Caller) -> None:
    await caller.ask()
    hit = await caller.ask(stream=True)
    assert hit.headers["x-portico-cache"] == "hit"
    assert hit.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in hit.text


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"user": "u-1"}, "hit"),
        ({"metadata": {"tags": ["x"]}, "store": False, "service_tier": "auto", "seed": None}, "hit"),
        ({"temperature": 0.5}, "miss"),
        ({"seed": 7}, "miss"),
        ({"max_tokens": 50}, "miss"),
        ({"messages": [{"role": "user", "content": "Why is the sky blue? "}]}, "miss"),
        ({"messages": [{"content": "Why is the sky blue?", "role": "user"}]}, "hit"),
        ({"web_search_options": {}}, "off"),
    ],
    ids=["user", "no effect", "temperature", "seed", "bound", "a space", "order of fields", "news"],
)
async def test_what_can_change_the_answer_makes_another_request(
    caller: Caller, fields: dict[str, Any], state: str
) -> None:
    await caller.ask()
    assert await caller.state(**fields) == state


async def test_other_organizations_get_their_own(caller: Caller) -> None:
    foreign, secret = await run_in_database(ApiKeyFactory.with_secret)
    await run_in_database(lambda: CachePolicyFactory(organization=foreign.organization))
    other = Caller(caller.http, caller.runtime, secret)
    await caller.ask()
    assert await other.state() == "miss"
    assert await other.state() == "hit"


async def test_a_model_that_the_key_may_not_use_is_not_given_from_the_cache(caller: Caller, key) -> None:
    await caller.ask()
    _, secret = await run_in_database(
        lambda: ApiKeyFactory.with_secret(user=key[0].user, organization=key[0].organization, allowed_models=["other"])
    )
    refused = await Caller(caller.http, caller.runtime, secret).ask()
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"


async def test_another_policy_does_not_share(caller: Caller, policy: CachePolicy, key) -> None:
    colleague, secret = await run_in_database(
        lambda: ApiKeyFactory.with_secret(user=key[0].user, organization=key[0].organization)
    )
    other = Caller(caller.http, caller.runtime, secret)
    await caller.ask()
    assert await other.state() == "hit"
    await run_in_database(
        lambda: save_cache_policy(
            policy=CachePolicy(organization=colleague.organization, api_key=colleague), actor=system_actor()
        )
    )
    caller.runtime.callers.forget(str(colleague.id))
    assert await other.state() == "miss"
    assert await caller.state() == "hit"


async def test_each_key_its_own(caller: Caller, key) -> None:
    await run_in_database(lambda: CachePolicy.objects.update(scope=CacheScope.API_KEY))
    _, secret = await run_in_database(
        lambda: ApiKeyFactory.with_secret(user=key[0].user, organization=key[0].organization)
    )
    await caller.ask()
    assert await Caller(caller.http, caller.runtime, secret).state() == "miss"
    assert await caller.state() == "hit"


async def test_a_changed_policy_forgets(caller: Caller, policy: CachePolicy) -> None:
    await caller.ask()
    policy.ttl_seconds = 60
    await run_in_database(lambda: save_cache_policy(policy=policy, actor=system_actor()))
    assert await run_in_database(lambda: get_redis().keys("portico:cache:*:*:*")) == []
    caller.runtime.callers.forget(str(policy.organization_id))
    assert await caller.state() == "miss"


async def test_a_purge_forgets_even_where_redis_did_not_hear_of_it(caller: Caller, policy: CachePolicy) -> None:
    await caller.ask()
    kept = {place: get_redis().get(place) for place in get_redis().keys("portico:cache:*:*:*")}
    await run_in_database(lambda: purge_cache(policy=policy, actor=system_actor()))
    get_redis().mset(kept)
    caller.runtime.callers.forget(str(policy.organization_id))
    assert len(kept) == 1
    assert await caller.state() == "miss"


async def test_a_person_who_left_is_forgotten(caller: Caller, semantic: CachePolicy, key) -> None:
    await caller.ask()
    assert await run_in_database(CachedAnswer.objects.count) == 1
    user_id, organization_id = key[0].user_id, key[0].organization_id
    await run_in_database(lambda: forget_person(user_id=user_id, organization_id=organization_id))
    await run_in_database(lambda: forget_person(user_id=user_id, organization_id=organization_id))
    assert await run_in_database(CachedAnswer.objects.count) == 0
    assert await caller.state() == "miss"


async def test_nothing_of_it_can_be_read_in_redis_or_the_database(caller: Caller, semantic: CachePolicy) -> None:
    said = (await caller.ask("Say [echo:marmalade]")).json()["choices"][0]["message"]["content"]
    assert "marmalade" in said
    [place] = get_redis().keys("portico:cache:*:*:*")
    [row] = await run_in_database(lambda: list(CachedAnswer.objects.all()))
    assert b"marmalade" not in get_redis().get(place)
    assert "marmalade" not in row.answer
    moved = place.decode()[:-1] + ("0" if place.decode()[-1] != "0" else "1")
    get_redis().copy(place, moved)
    assert await caller.runtime.cache.get(moved) is None
    assert await caller.runtime.cache.get(place.decode()) is not None


async def test_off_neither_reads_nor_keeps(caller: Caller) -> None:
    assert await caller.state(headers={"x-portico-cache": "off"}) == "off"
    assert await caller.state(headers={"Cache-Control": "no-store"}) == "off"
    assert await caller.state() == "miss"


async def test_refresh_asks_anew_and_keeps(caller: Caller, records: Records) -> None:
    await caller.ask()
    assert await caller.state(headers={"x-portico-cache": "refresh"}) == "miss"
    assert await caller.state(headers={"Cache-Control": "no-cache"}) == "miss"
    assert await caller.state() == "hit"
    assert [record.provider for record in await records()] == ["sandbox", "sandbox", "sandbox", "cache"]


async def test_only_takes_no_other_answer(caller: Caller, sdk: AsyncOpenAI, records: Records) -> None:
    with pytest.raises(NotFoundError, match="Nothing is cached"):
        await sdk.chat.completions.create(
            model="sandbox-small",
            messages=[{"role": "user", "content": "Why is the sky blue?"}],
            extra_headers={"x-portico-cache": "only"},
        )
    await caller.ask()
    assert await caller.state(headers={"x-portico-cache": "only"}) == "hit"
    assert len(await records()) == 2


async def test_only_without_a_policy_is_refused(http, runtime: Runtime, secret: str) -> None:
    refused = await Caller(http, runtime, secret).ask(headers={"x-portico-cache": "only"})
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "gateway.cache_missed"


async def test_a_hit_may_be_too_old_for_the_caller(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await caller.ask()
    in_a_while = time.time() + 90
    monkeypatch.setattr(finding, "time", SimpleNamespace(time=lambda: in_a_while))
    assert await caller.state(headers={"x-portico-cache": "1000"}) == "hit"
    assert await caller.state(headers={"Cache-Control": "max-age=60"}) == "miss"


async def test_a_word_that_nobody_knows_is_refused(caller: Caller) -> None:
    refused = await caller.ask(headers={"x-portico-cache": "sometimes"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-portico-cache"


async def test_too_much_temperature_is_not_cached(caller: Caller) -> None:
    await run_in_database(lambda: CachePolicy.objects.update(max_temperature=0.3))
    assert [await caller.state(temperature=0.9), await caller.state(temperature=0.9)] == ["off", "off"]
    assert [await caller.state(temperature=0.3), await caller.state(temperature=0.3)] == ["miss", "hit"]


async def test_cut_answers_and_tool_calls_are_not_kept(upstream: Upstream, caller: Caller) -> None:
    await caller.runtime.catalogue.reload()
    tool = Scenario(tool_calls=(ToolCall("call_1", "look", "{}"),), finish_reason="tool_calls")
    upstream.play(
        Scenario(finish_reason="length"), Scenario(finish_reason="length"), tool, tool, Scenario(), Scenario()
    )
    for stream in (False, True, False, True, False):
        assert await caller.state(model="upstream-model", stream=stream) == "miss"
    assert await caller.state(model="upstream-model") == "hit"


async def test_an_answer_that_failed_on_the_way_is_not_kept(upstream: Upstream, caller: Caller) -> None:
    await caller.runtime.catalogue.reload()
    upstream.play(Scenario(frames_before_error=2), Scenario())
    await caller.ask(model="upstream-model", stream=True)
    assert get_redis().keys("portico:cache:*") == []


async def test_an_answer_that_its_caller_left_is_not_kept(caller: Caller, secret: str) -> None:
    actor = (await run_in_database(lambda: find_caller(secret)))[0].actor
    request = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[long:50]"}], "stream": True}
    call = await open_chat(actor=actor, request=request, endpoint="x")
    batches = call.batches()
    await anext(batches)
    await batches.aclose()
    await caller.runtime.cache.settle()
    assert call.was_cancelled
    assert get_redis().keys("portico:cache:*") == []


async def test_a_redis_that_fails_is_a_miss(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await caller.ask()

    def refuse() -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(cache_module, "get_async_redis", refuse)
    assert await caller.state() == "miss"
    monkeypatch.undo()
    assert await caller.state() == "miss"  # left alone for a moment
    caller.runtime.cache._rests_until = 0.0
    assert await caller.state() == "hit"


async def test_a_broken_entry_is_a_miss(caller: Caller) -> None:
    await caller.ask()
    [place] = get_redis().keys("portico:cache:*:*:*")
    get_redis().set(place, "v1:k:AAAA")
    assert await caller.state() == "miss"


async def test_statistics_are_added_up_by_day(caller: Caller, policy: CachePolicy) -> None:
    await caller.ask()
    cost = (await caller.ask(headers={"x-portico-cache": "refresh"})).headers["x-portico-cost"]
    await caller.ask()
    await caller.ask()
    [day] = await run_in_database(lambda: list(CacheDay.objects.all()))
    assert (day.policy_id, day.hits, day.semantic_hits, day.misses) == (policy.id, 2, 0, 2)
    assert day.saved_micros == 2 * int(Decimal(cost) * 1_000_000)


async def test_statistics_wait_for_the_database(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(taken: object) -> None:
        raise OSError("no database")

    monkeypatch.setattr(cache_module, "_write", fail)
    await caller.ask()
    monkeypatch.undo()
    await caller.ask()
    [day] = await run_in_database(lambda: list(CacheDay.objects.all()))
    assert (day.hits, day.misses) == (1, 1)


async def test_a_question_of_the_same_meaning_gets_the_answer(
    caller: Caller, semantic: CachePolicy, records: Records
) -> None:
    first = await caller.ask("why is the sky blue today")
    second = await caller.ask("today why is the sky blue")
    assert (first.headers["x-portico-cache"], second.headers["x-portico-cache"]) == ("miss", "hit-semantic")
    assert second.json()["choices"] == first.json()["choices"]
    assert await caller.state("how do whales sleep at night") == "miss"
    assert await caller.state("why is the sky blue today") == "hit"
    endpoints = [(record.endpoint, record.provider) for record in await records()]
    assert endpoints.count(("cache.embedding", "sandbox")) == 3
    assert endpoints.count(("chat.completions", "cache")) == 2


async def test_meaning_is_compared_within_the_same_conversation_only(caller: Caller, semantic: CachePolicy) -> None:
    question = {"role": "user", "content": "why is the sky blue today"}
    assert await caller.state(messages=[{"role": "system", "content": "Be brief."}, question]) == "miss"
    assert await caller.state(messages=[question]) == "miss"
    assert await caller.state(messages=[question], temperature=0.1) == "miss"
    assert await caller.state(messages=[{"role": "user", "content": "today why is the sky blue"}]) == "hit-semantic"


async def test_meaning_is_not_compared_across_organizations(caller: Caller, semantic: CachePolicy) -> None:
    foreign, secret = await run_in_database(ApiKeyFactory.with_secret)
    await run_in_database(
        lambda: CachePolicyFactory(
            organization=foreign.organization, is_semantic=True, embedding_model="sandbox-embedding", similarity=0.8
        )
    )
    await caller.ask("why is the sky blue today")
    other = Caller(caller.http, caller.runtime, secret)
    assert await other.state("today why is the sky blue") == "miss"


async def test_an_embedding_that_fails_is_a_miss(caller: Caller, semantic: CachePolicy) -> None:
    await run_in_database(lambda: Model.objects.filter(name="sandbox-embedding").update(is_active=False))
    await caller.runtime.catalogue.reload()
    assert [await caller.state(), await caller.state()] == ["miss", "hit"]
    assert await run_in_database(CachedAnswer.objects.count) == 0


async def test_an_answer_found_by_meaning_may_be_unreadable(caller: Caller, semantic: CachePolicy) -> None:
    await caller.ask("why is the sky blue today")
    await run_in_database(lambda: CachedAnswer.objects.update(answer="v1:k:AAAA"))
    assert await caller.state("today why is the sky blue") == "miss"


async def test_a_refreshed_question_is_kept_by_meaning_too(caller: Caller, semantic: CachePolicy) -> None:
    assert await caller.state("why is the sky blue", headers={"x-portico-cache": "refresh"}) == "miss"
    assert await run_in_database(CachedAnswer.objects.count) == 1


async def test_expired_answers_are_swept(caller: Caller, semantic: CachePolicy) -> None:
    await caller.ask()
    assert await run_in_database(sweep_cached_answers) == 0
    await run_in_database(lambda: CachedAnswer.objects.update(expires_at="2026-01-01T00:00:00Z"))
    assert await run_in_database(sweep_cached_answers) == 1


async def test_embeddings_are_cached_word_for_word(caller: Caller, secret: str) -> None:
    async def embed(text: str) -> httpx.Response:
        answer = await caller.http.post(
            "/v1/embeddings",
            json={"model": "sandbox-embedding", "input": text},
            headers={"Authorization": f"Bearer {secret}"},
        )
        await caller.runtime.cache.settle()
        return answer

    first, second = await embed("x"), await embed("x")
    assert (first.headers["x-portico-cache"], second.headers["x-portico-cache"]) == ("miss", "hit")
    assert first.json()["data"] == second.json()["data"]


async def test_many_at_once_each_get_an_answer(caller: Caller, records: Records) -> None:
    answers = await asyncio.gather(*(caller.ask("all together") for _ in range(8)))
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {
        answers[0].json()["choices"][0]["message"]["content"]
    }
    assert len(await records()) == 8


async def test_a_conversation_that_ends_with_an_answer_has_no_question(caller: Caller, semantic: CachePolicy) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert [await caller.state(messages=messages), await caller.state(messages=messages)] == ["miss", "hit"]
    assert await run_in_database(CachedAnswer.objects.count) == 0


async def test_a_database_that_fails_is_a_miss(
    caller: Caller, semantic: CachePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no database")

    monkeypatch.setattr(finding, "_find_nearest", fail)
    monkeypatch.setattr(keeping, "_store_by_meaning", fail)
    assert await caller.state("why is the sky blue today") == "miss"
    caller.runtime.loader._failed_at = float("-inf")
    monkeypatch.setattr(finding, "_find_nearest", lambda *_: None)
    assert await caller.state("today why is the sky blue") == "miss"
    assert await run_in_database(CachedAnswer.objects.count) == 0


async def test_too_many_answers_at_once_are_not_kept(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MOST_WRITES", 0)
    answer = await caller.http.post(
        CHAT,
        json={"model": "sandbox-small", "messages": [{"role": "user", "content": "x"}]},
        headers={"Authorization": f"Bearer {caller.secret}"},
    )
    assert answer.headers["x-portico-cache"] == "miss"
    assert get_redis().keys("portico:cache:*") == []


async def test_an_answer_that_is_too_large_is_not_kept(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "MAX_BYTES", 100)
        assert await caller.state() == "miss"
        assert get_redis().keys("portico:cache:*") == []
    assert [await caller.state(), await caller.state()] == ["miss", "hit"]


async def test_a_cache_by_meaning_alone_keeps_nothing_word_for_word(caller: Caller, semantic: CachePolicy) -> None:
    await run_in_database(lambda: CachePolicy.objects.update(is_exact=False))
    assert [await caller.state(), await caller.state()] == ["miss", "hit-semantic"]
    assert get_redis().keys("portico:cache:*") == []
    assert await run_in_database(CachedAnswer.objects.count) == 1


async def test_a_defect_in_keeping_reaches_the_log(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(caller.runtime.cache, "put", fail)
    assert await caller.state() == "miss"
    assert "cache_write_failed" in caplog.text


async def test_what_guardrails_mask_is_shared_without_it(caller: Caller, policy: CachePolicy) -> None:
    def guard() -> None:
        rules = GuardPolicy.objects.create(
            organization=policy.organization, name="mask", pii_input="mask", is_reversible=True
        )
        GuardBinding.objects.create(policy=rules, organization=policy.organization)

    assert await caller.state("Write to ann@example.com please.") == "miss"
    await run_in_database(guard)
    caller.runtime.callers.forget(str(policy.organization_id))
    first = await caller.ask("Write to ann@example.com please.")
    second = await caller.ask("Write to bob@example.org please.")
    assert (first.headers["x-portico-cache"], second.headers["x-portico-cache"]) == ("miss", "hit")
    assert "ann@example.com" in first.text
    assert "bob@example.org" in second.text
    assert "ann@" not in second.text


async def test_what_guardrails_block_is_not_kept(caller: Caller, policy: CachePolicy) -> None:
    def guard() -> None:
        rules = GuardPolicy.objects.create(organization=policy.organization, name="block", pii_output="block")
        GuardBinding.objects.create(policy=rules, organization=policy.organization)

    await run_in_database(guard)
    blocked = await caller.ask("[echo:ann@example.com]")
    streamed = await caller.ask("[echo:ann@example.com]", stream=True)
    assert blocked.status_code == 400
    assert "gateway.content_blocked" in streamed.text
    assert get_redis().keys("portico:cache:*") == []


async def test_the_rest_interface_has_the_same_control(caller: Caller) -> None:
    transport = httpx.ASGITransport(app=application)
    headers = {"Authorization": f"Bearer {caller.secret}", "X-Portico-Cache": "only"}
    body = {"model": "sandbox-small", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    async with httpx.AsyncClient(transport=transport, base_url="http://portico", headers=headers) as rest:
        refused = await rest.post("/api/v3/chat/completions", json=body)
        await caller.ask()
        hit = await rest.post("/api/v3/chat/completions", json=body)
    assert (refused.status_code, refused.json()["code"]) == (404, "gateway.cache_missed")
    assert (hit.status_code, hit.headers["x-portico-cache"]) == (200, "hit")
