"""Routing as clients meet it: through the edge, against servers that fail in the providers' ways."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pytest_django import Settings

from apps.gateway.choices import Breaker
from apps.gateway.models import Alias, Deployment, Model, RoutingRule
from apps.gateway.runtime import Runtime
from apps.users.models import ApiKey
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.gateway.conftest import CREDENTIAL, deploy_upstream, run_in_database
from tests.support.upstreams import OpenAIDialect, Scenario, Upstream, run_upstream
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio

Ask = Any


@pytest_asyncio.fixture
async def second(upstream: Upstream, settings: Settings, runtime: Runtime):
    """Return a second server behind the same models, asked after the first."""
    async with run_upstream(OpenAIDialect()) as server:
        await run_in_database(lambda: deploy_upstream(server, settings, slug="spare", priority=1))
        await runtime.catalogue.reload()
        yield server


@pytest_asyncio.fixture
async def long(upstream: Upstream, settings: Settings, runtime: Runtime):
    """Return a server behind the model `long-model`, which stands in for `upstream-model`."""
    async with run_upstream(OpenAIDialect()) as server:

        def deploy() -> None:
            named = {"name": "Long", "base_url": f"{server.origin}/v1", "credential": CREDENTIAL}
            settings.GATEWAY_PROVIDERS = {**settings.GATEWAY_PROVIDERS, "long": named}
            model = ModelFactory(name="long-model", context_window=None)
            DeploymentFactory(model=model, provider=ProviderFactory(slug="long", kind="openai", from_environment=True))
            Model.objects.filter(name="upstream-model").update(
                fallbacks=["long-model"], context_fallbacks=["long-model"], content_fallbacks=["long-model"]
            )
            Deployment.objects.update(max_attempts=1)

        await run_in_database(deploy)
        await runtime.catalogue.reload()
        yield server


@pytest.fixture
def ask(http: httpx.AsyncClient, secret: str, upstream: Upstream):
    """Return a coroutine function that asks `upstream-model` and returns the answer with its body read."""

    async def post(*, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"model": "upstream-model", "messages": [{"role": "user", "content": "hi"}], **fields}
        headers = {"authorization": f"Bearer {secret}", **(headers or {})}
        return await http.post("/v1/chat/completions", json=body, headers=headers)

    return post


def told(answer: httpx.Response) -> tuple[str, str, str, str]:
    """Return what the headers say: provider, model, attempts, fallback."""
    names = ("x-portico-provider", "x-portico-model", "x-portico-attempts", "x-portico-fallback")
    provider, model, attempts, fallback = (answer.headers[name] for name in names)
    return provider, model, attempts, fallback


async def test_a_rate_limited_deployment_is_waited_for_when_it_is_the_only_one(
    upstream: Upstream, runtime: Runtime, ask: Ask
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(status=429, headers={"Retry-After": "1"}), Scenario())
    begun = runtime.loop.time()
    answer = await ask()
    assert runtime.loop.time() - begun >= 1.0
    assert answer.status_code == 200
    assert told(answer) == ("openai", "upstream-model", "2", "false")


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    "failure",
    [Scenario(status=500), Scenario(frames_before_cut=0), Scenario(status=429, headers={"Retry-After": "30"})],
    ids=["500", "cut", "429"],
)
async def test_before_the_first_byte_another_deployment_is_asked(
    upstream: Upstream, second: Upstream, ask: Ask, failure: Scenario, is_stream: bool
) -> None:
    if failure.frames_before_cut == 0 and not is_stream:
        failure = Scenario(raw_body=b'{"choices": [')
    upstream.play(failure)
    answer = await ask(stream=is_stream)
    assert answer.status_code == 200
    assert told(answer) == ("spare", "upstream-model", "2", "false")
    assert (len(upstream.received), len(second.received)) == (1, 1)


async def test_after_the_first_byte_nobody_else_is_asked(upstream: Upstream, second: Upstream, ask: Ask) -> None:
    upstream.play(Scenario(frames_before_cut=2))
    answer = await ask(stream=True)
    assert (answer.status_code, len(second.received)) == (200, 0)
    assert b'"error"' in answer.content
    assert b"[DONE]" not in answer.content


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Scenario(status=400, error_code="context_length_exceeded"), "context_window"),
        (Scenario(status=400, error_code="content_policy_violation"), "content_policy"),
        (Scenario(status=503), "error"),
    ],
    ids=["context", "content", "error"],
)
async def test_another_model_stands_in_and_is_paid(
    upstream: Upstream, long: Upstream, ask: Ask, records: Any, failure: Scenario, reason: str, is_stream: bool
) -> None:
    upstream.play(failure)
    answer = await ask(stream=is_stream)
    assert answer.status_code == 200
    assert told(answer) == ("long", "long-model", "2", "true")
    assert answer.headers["x-portico-fallback-reason"] == reason
    assert (len(upstream.received), len(long.received)) == (1, 1)
    [record] = await records()
    assert (record.model, record.provider, record.attempts, record.status) == ("long-model", "long", 2, "ok")


@pytest.mark.parametrize(
    "said", [{"disable_fallbacks": True}, {"headers": {"x-portico-disable-fallbacks": "true"}}], ids=["body", "header"]
)
async def test_a_client_that_wants_no_other_model_gets_the_error(
    upstream: Upstream, long: Upstream, ask: Ask, said: dict[str, Any]
) -> None:
    upstream.play(Scenario(status=503))
    answer = await ask(**said)
    assert (answer.status_code, len(long.received)) == (503, 0)


async def test_a_client_names_its_own_fallbacks_and_providers_never_see_them(
    upstream: Upstream, long: Upstream, ask: Ask, secret: str, runtime: Runtime
) -> None:
    await run_in_database(lambda: Model.objects.update(fallbacks=[]))
    await runtime.catalogue.reload()
    upstream.play(Scenario(status=500))
    answer = await ask(fallbacks=[{"model": "long-model"}], disable_fallbacks=False)
    assert told(answer) == ("long", "long-model", "2", "true")
    for server in (upstream, long):
        assert not {"fallbacks", "disable_fallbacks"} & server.received[0].body.keys()


async def test_a_client_names_no_model_that_its_key_may_not_use(
    upstream: Upstream, long: Upstream, ask: Ask, key: tuple[ApiKey, str], runtime: Runtime
) -> None:
    await run_in_database(lambda: ApiKey.objects.update(allowed_models=["upstream-model"]))
    upstream.play(Scenario(status=500))
    refused = await ask(fallbacks=["long-model"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "fallbacks[0]")
    configured = await ask()
    assert configured.status_code == 503
    assert long.received == []


async def test_an_alias_is_answered_under_its_own_name(
    upstream: Upstream, runtime: Runtime, ask: Ask, http, secret
) -> None:
    await run_in_database(lambda: Alias.objects.create(name="house", model=Model.objects.get(name="upstream-model")))
    await runtime.catalogue.reload()
    answer = await ask(model="house")
    assert (answer.json()["model"], told(answer)[1]) == ("house", "upstream-model")
    assert upstream.received[0].body["model"] == "upstream-model"
    listed = await http.get("/v1/models", headers={"authorization": f"Bearer {secret}"})
    assert "house" in {row["id"] for row in listed.json()["data"]}
    one = await http.get("/v1/models/house", headers={"authorization": f"Bearer {secret}"})
    assert one.json()["id"] == "house"


async def test_a_rule_sends_a_call_elsewhere_and_another_refuses_it(
    upstream: Upstream, long: Upstream, runtime: Runtime, ask: Ask
) -> None:
    def make() -> None:
        RoutingRule.objects.create(name="batch", condition="'batch' in tags", target="long-model", position=1)
        RoutingRule.objects.create(
            name="closed", condition="stream", action="refuse", message="No streams today.", position=2
        )

    await run_in_database(make)
    await runtime.catalogue.reload()
    assert told(await ask(metadata={"tags": "batch"}))[1] == "long-model"
    refused = await ask(stream=True)
    assert (refused.status_code, refused.json()["error"]["message"]) == (403, "No streams today.")
    assert told(await ask())[1] == "upstream-model"


async def test_a_cooled_down_deployment_is_tried_by_exactly_one_of_many_calls(
    upstream: Upstream, second: Upstream, runtime: Runtime, ask: Ask
) -> None:
    [tried] = [
        route
        for route in runtime.catalogue.snapshot.models["upstream-model"].routes  # type: ignore[union-attr]
        if route.target.provider == "openai"
    ]
    for _ in range(tried.cool_down_failures):
        runtime.health.failed(tried, reason="server_error")
    assert runtime.health.standing(tried.deployment_id) is Breaker.OPEN
    await asyncio.gather(*[ask() for _ in range(5)])
    assert upstream.received == []

    runtime.health.states[tried.deployment_id].opened_until = 0.0
    upstream.play(Scenario(status=500))
    answers = await asyncio.gather(*[ask() for _ in range(10)])
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(upstream.received) == 1
    assert runtime.health.standing(tried.deployment_id) is Breaker.OPEN

    await runtime.sharing.close()  # the others have been told
    runtime.health.states[tried.deployment_id].opened_until = 0.0
    upstream.play(Scenario())
    await ask()
    assert runtime.health.standing(tried.deployment_id) is Breaker.CLOSED


async def test_places_are_held_until_the_answer_ends(upstream: Upstream, runtime: Runtime, ask: Ask) -> None:
    await run_in_database(lambda: Deployment.objects.update(max_parallel=1))
    await runtime.catalogue.reload()
    upstream.play(Scenario(is_silent=True), Scenario())
    slow = asyncio.create_task(ask())
    await until(lambda: upstream.received)
    refused = await ask()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "as many calls as it may have" in refused.json()["error"]["message"]
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await runtime.sharing.close()  # the place is free for all
    assert (await ask()).status_code == 200
