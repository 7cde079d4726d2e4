"""Providers are asked how they are; who goes down or comes back is an event, and known everywhere at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from apps.core.redis import get_async_redis, get_redis
from apps.events.models import Event
from apps.gateway.choices import Breaker
from apps.gateway.models import Deployment, HealthCheck, HealthState, Provider
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.sharing import BREAKERS_KEY, LATENCY_KEY, Sharing, shared_health
from apps.gateway.selectors.health import health_history, model_healths, provider_healths
from apps.gateway.services import probing
from apps.gateway.services.probing import find_due, probe_providers
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.gateway.conftest import run_in_database
from tests.support.routing import route
from tests.support.upstreams import Scenario, Upstream

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _every_minute(settings: Settings) -> None:
    settings.GATEWAY_PROBE_SECONDS = 60.0


async def probe(at: int = 0) -> int:
    """Run a round of probes, so many seconds after NOW, as the relay does; return how many changed their state."""
    found: int = await run_in_database(lambda: probe_providers(now=NOW + timedelta(seconds=at)))
    return found


def state_of(slug: str, deployment: Deployment | None = None) -> HealthState:
    return HealthState.objects.get(provider__slug=slug, deployment=deployment)


def facts() -> list[tuple[str, dict[str, Any]]]:
    return [
        (event.type, event.payload)
        for event in Event.objects.filter(type__in=["provider.went_down", "provider.came_back"]).order_by("id")
    ]


async def test_a_provider_goes_down_after_two_failed_probes_and_comes_back_after_one(upstream: Upstream) -> None:
    assert await probe() == 0
    upstream.play(Scenario(status=503))
    assert [await probe(60), await probe(65)] == [0, 1]
    state = await run_in_database(lambda: state_of("openai"))
    assert (state.status, state.failures, state.since) == ("down", 2, NOW + timedelta(seconds=65))
    assert await run_in_database(model_healths) == {
        "alias": "down",
        "sandbox-embedding": "up",
        "sandbox-small": "up",
        "upstream-model": "down",
    }
    upstream.play(Scenario())
    assert await probe(160) == 1
    assert [kind for kind, _ in await run_in_database(facts)] == ["provider.went_down", "provider.came_back"]
    went, came = [payload for _, payload in await run_in_database(facts)]
    assert went == {"slug": "openai", "deployment": "", "model": "", "error_code": "gateway.upstream_unavailable"}
    assert came == {"slug": "openai", "deployment": "", "model": "", "down_seconds": 95}
    state = await run_in_database(lambda: state_of("openai"))
    assert (state.status, state.failures, state.error) == ("up", 0, "")


async def test_a_failure_between_answers_changes_nothing(upstream: Upstream) -> None:
    await probe()
    upstream.play(Scenario(status=500), Scenario())
    assert [await probe(60), await probe(65)] == [0, 0]
    assert await run_in_database(facts) == []


@pytest.mark.parametrize("status", [404, 405, 429, 400])
async def test_whoever_refuses_answers(upstream: Upstream, status: int) -> None:
    upstream.play(Scenario(status=status))
    await probe()
    assert (await run_in_database(lambda: state_of("openai"))).status == "up"


async def test_whoever_says_nothing_is_down(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.05)
    upstream.play(Scenario(is_silent=True))
    await probe()
    [check] = await run_in_database(lambda: list(HealthCheck.objects.filter(is_up=False)))
    assert (check.kind, check.error_code) == ("models", "gateway.upstream_timed_out")
    state = await run_in_database(lambda: state_of("openai"))
    assert (state.status, state.error) == ("unknown", "No answer within 0.05 s.")


async def test_a_deployment_may_be_asked_for_an_answer(upstream: Upstream) -> None:
    def want() -> Deployment:
        Deployment.objects.filter(model__name="upstream-model").update(probe_completion=True)
        DeploymentFactory(
            model=ModelFactory(name="vectors", capabilities=["embeddings"]),
            provider=Provider.objects.get(slug="openai"),
            probe_completion=True,
        )
        return Deployment.objects.get(model__name="upstream-model")

    deployment = await run_in_database(want)
    upstream.play(Scenario())
    await probe()
    [asked] = [received.body for received in upstream.received if received.method == "POST"]
    assert (asked["model"], asked["max_tokens"]) == ("upstream-model", 1)
    assert (await run_in_database(lambda: state_of("openai", deployment))).status == "up"
    assert await run_in_database(lambda: find_due(now=NOW + timedelta(seconds=30))) == []
    upstream.play(Scenario(status=400))
    assert [await probe(60), await probe(65)] == [0, 1]
    [(kind, payload)] = await run_in_database(facts)
    assert (kind, payload["deployment"], payload["model"]) == (
        "provider.went_down",
        deployment.public_id,
        "upstream-model",
    )
    assert (await run_in_database(model_healths))["upstream-model"] == "down"
    assert (await run_in_database(model_healths))["alias"] == "up"


def test_whoever_is_down_is_asked_more_often(db: None, settings: Settings) -> None:
    def due(seconds: int) -> list[str]:
        return [found.provider.slug for found in find_due(now=NOW + timedelta(seconds=seconds))]

    up, down, shaky = (ProviderFactory(slug=slug) for slug in ("up", "down", "shaky"))
    ProviderFactory(slug="off", is_active=False)
    ProviderFactory(slug="refused", kind="openai", base_url="http://10.0.0.1/v1")
    for provider, status, failures in ((up, "up", 0), (down, "down", 4), (shaky, "up", 1)):
        HealthState.objects.create(provider=provider, status=status, failures=failures, since=NOW, checked_at=NOW)
    assert [due(3), due(4), due(9), due(59)] == [[], ["shaky"], ["down", "shaky"], ["down", "shaky", "up"]]
    settings.GATEWAY_PROBE_SECONDS = 0.0
    assert due(3600) == []
    assert probe_providers() == 0


async def test_running_processes_know_within_two_seconds(
    upstream: Upstream, runtime: Runtime, http: httpx.AsyncClient, secret: str
) -> None:
    snapshot = await runtime.catalogue.reload()
    [way] = snapshot.models["upstream-model"].routes
    for _ in range(way.cool_down_failures):
        runtime.health.failed(way, reason="server_error")
    async with asyncio.timeout(5):
        while not runtime._listener._hears:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def know(*, is_down: bool) -> None:
        async with asyncio.timeout(2):
            while runtime.health.is_down(way, ()) is not is_down:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    upstream.play(Scenario(status=503))
    await probe()
    await probe(5)
    await know(is_down=True)
    upstream.play(Scenario())
    await probe(15)
    await know(is_down=False)
    assert runtime.health.standing(way.deployment_id) is Breaker.HALF_OPEN, "it may be tried at once"
    body = {"model": "upstream-model", "messages": [{"role": "user", "content": "hi"}]}
    answer = await http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    assert runtime.health.standing(way.deployment_id) is Breaker.CLOSED


# What is told


def test_providers_and_their_deployments_are_described(db: None) -> None:
    deployment = DeploymentFactory(provider__slug="b")
    own = DeploymentFactory(provider=deployment.provider)
    ProviderFactory(slug="a")
    for about, status in ((None, "up"), (own, "down")):
        HealthState.objects.create(
            provider=own.provider, deployment=about, status=status, since=NOW, checked_at=NOW, latency_ms=7
        )
    for minutes, is_up in ((1, True), (2, True), (3, True), (4, False), (60 * 25, False)):
        HealthCheck.objects.create(
            provider_id=own.provider_id, checked_at=NOW - timedelta(minutes=minutes), kind="models", is_up=is_up
        )
    unknown, known = provider_healths(now=NOW)
    assert (unknown.provider.slug, unknown.status, unknown.uptime, unknown.deployments) == ("a", "unknown", None, ())
    assert (known.status, known.since, known.latency_ms, known.uptime) == ("up", NOW, 7, 0.75)
    assert {row.deployment: row.status for row in known.deployments} == {deployment: "up", own: "down"}


def test_history_comes_in_spans(db: None) -> None:
    first, second = ProviderFactory(slug="a"), ProviderFactory(slug="b")
    for provider, minutes, is_up, latency in (
        (first, 0, True, 10),
        (first, 1, True, 30),
        (first, 2, False, 5000),
        (first, 61, False, 5000),
        (second, 0, True, 7),
        (second, 120, True, 7),
    ):
        HealthCheck.objects.create(
            provider_id=provider.id,
            checked_at=NOW + timedelta(minutes=minutes),
            kind="models",
            is_up=is_up,
            latency_ms=latency,
        )
    HealthCheck.objects.create(
        provider_id=first.id, deployment_id=first.id, checked_at=NOW, kind="completion", is_up=False
    )
    span = {"since": NOW, "until": NOW + timedelta(hours=2), "bucket": timedelta(hours=1)}
    found = [
        (
            row.provider,
            row.begins_at.hour,
            row.checks,
            row.failures,
            round(row.uptime, 3),
            row.latency_ms,
            row.slowest_ms,
        )
        for row in health_history(**span)
    ]
    assert found == [
        ("a", 12, 3, 1, 0.667, 20.0, 30),
        ("b", 12, 1, 0, 1.0, 7.0, 7),
        ("a", 13, 1, 1, 0.0, None, None),
    ]
    assert [row.provider for row in health_history(**span, provider=second)] == ["b"]


# Between processes


async def settle(*processes: Sharing) -> None:
    for process in processes:
        await process.close()


async def test_processes_tell_each_other_and_those_who_come_later() -> None:
    one, late = Sharing(), Sharing()
    way = route("dep", cool_down_failures=1)
    one.health.answered(way, 0.5, is_stream=True)
    one.tick(1e9)
    one.health.failed(way, reason="server_error")
    await settle(one)
    late.catch_up()
    await settle(late)
    assert late.health.standing("dep") is Breaker.OPEN
    assert late.health.latency("dep", is_stream=True) == pytest.approx(0.5, rel=0.1)
    assert (await asyncio.to_thread(shared_health)).standing("dep") is Breaker.OPEN
    one.health.answered(way, 0.5, is_stream=True)
    await settle(one)
    assert await get_async_redis().hlen(BREAKERS_KEY) == 0
    assert await get_async_redis().hlen(LATENCY_KEY) == 1


async def test_news_that_cannot_be_read_or_are_ones_own_change_nothing() -> None:
    process = Sharing()
    for data in (
        b"{",
        b"1",
        b"[]",
        b"{}",
        b'{"kind":"open","subject":"dep","until":9e99,"from":"%s"}' % process.name.encode(),
    ):
        process.hear(data)
    assert process.health.states == {}
    process.hear(b'{"kind":"probe","subject":"dep","is_down":true}')
    assert process.health.is_down(route("dep"), ())


async def test_one_trial_over_all_processes() -> None:
    processes = [Sharing() for _ in range(4)]
    way = route("dep", cool_down_failures=1, cool_down_seconds=0.0)
    for process in processes:
        process.health.failed(way, reason="server_error")
    assert sorted(await asyncio.gather(*[process.take_trial("dep") for process in processes])) == [False] * 3 + [True]
    for process in processes:
        process.health.give_trial_back("dep")
    processes[0].end_trial("dep")
    await settle(*processes)
    assert await processes[3].take_trial("dep")
    assert not await processes[3].take_trial("dep")


async def test_places_are_exact_over_all_processes_and_free_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = [Sharing() for _ in range(3)]
    way = route("dep", max_parallel=4)
    names = [(process, f"{at}.{number}") for at, process in enumerate(processes) for number in range(5)]
    taken = await asyncio.gather(*[process.take_place(way, name) for process, name in names])
    assert sum(taken) == 4
    held = [pair for pair, has_place in zip(names, taken, strict=True) if has_place]
    for process in processes:
        process.tick(1e9)
    await settle(*processes)
    assert await get_async_redis().zcard("portico:health:places:dep") == 4
    for process, name in held:
        process.give_place_back(way, name)
    await settle(*processes)
    assert await get_async_redis().exists("portico:health:places:dep") == 0
    assert [await processes[0].take_place(way, f"again.{at}") for at in range(5)] == [True] * 4 + [False]


async def test_without_redis_each_process_has_its_share(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WEB_CONCURRENCY = 2
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("apps.core.redis._by_loop", {})
    process = Sharing()
    way = route("dep", max_parallel=5, cool_down_failures=1, cool_down_seconds=0.0)
    assert [await process.take_place(way, str(at)) for at in range(3)] == [True, True, False]
    process.health.failed(way, reason="server_error")
    assert [await process.take_trial("dep"), await process.take_trial("dep")] == [True, False]
    process.catch_up()
    await settle(process)
    assert shared_health().states == {}


@pytest.mark.parametrize("breaks", ["take_trial", "take_place"])
async def test_whoever_leaves_while_asking_redis_holds_nothing(breaks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        async def set(self, *_: Any, **__: Any) -> None:
            raise asyncio.CancelledError

        eval = set

        async def zrem(self, *_: Any) -> None:
            return None

    monkeypatch.setattr("apps.gateway.runtime.sharing.get_async_redis", Hanging)
    process = Sharing()
    way = route("dep", max_parallel=1, cool_down_failures=1, cool_down_seconds=0.0)
    process.health.failed(way, reason="server_error")
    arguments = ("dep",) if breaks == "take_trial" else (way, "name")
    with pytest.raises(asyncio.CancelledError):
        await getattr(process, breaks)(*arguments)
    monkeypatch.undo()
    assert await getattr(process, breaks)(*arguments)


def test_a_change_is_kept_while_redis_is_down(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    probing._send({"kind": "probe", "subject": "openai", "is_down": True})
    assert get_redis() is not None
