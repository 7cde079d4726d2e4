"""The gateway's endpoints of /api/v3."""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest
from django.test import AsyncClient
from rest_framework.test import APIClient

from apps.billing.models import UsageRecord
from apps.core.ids import encode_id
from project.asgi import application
from tests.factories.gateway import DeploymentFactory, ProviderFactory
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import run_in_database

HELLO = [{"role": "user", "content": "[echo:good day]"}]


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


def test_models_are_listed_with_prices(api: APIClient, sandbox) -> None:
    answer = api.get("/api/v3/models").json()
    assert [item["name"] for item in answer["items"]] == ["sandbox-embedding", "sandbox-small"]
    model = answer["items"][1]
    assert model["prices"]["input"] == "1.000000"
    assert model["prices"]["reasoning"] == "1.000000"
    assert (model["provider"], model["tier"], model["context_window"]) == ("sandbox", "T1", 8192)
    assert answer["items"][0]["prices"] is None


def test_a_model_is_found_by_id_and_by_name(api: APIClient, sandbox) -> None:
    by_name = api.get("/api/v3/models/sandbox-small").json()
    by_id = api.get(f"/api/v3/models/{by_name['id']}").json()
    assert by_id == by_name
    missing = api.get("/api/v3/models/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "gateway.model_unknown")


def test_the_usage_of_a_model(api: APIClient, sandbox) -> None:
    answer = api.get(
        "/api/v3/models/sandbox-small/usage", {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"}
    )
    assert answer.json()["totals"]["requests"] == 0
    assert answer.json()["model"] == "sandbox-small"
    backwards = api.get(
        "/api/v3/models/sandbox-small/usage", {"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}
    )
    assert backwards.status_code == 400


def test_providers_are_listed_without_addresses(api: APIClient, sandbox) -> None:
    ProviderFactory(
        slug="ours", kind="openai", base_url="https://secret.example.com", credential="sk-secret", name="Ours"
    )
    answer = api.get("/api/v3/providers").json()
    assert {(item["slug"], item["model_count"]) for item in answer["items"]} == {("ours", 0), ("sandbox", 2)}
    assert "secret" not in orjson.dumps(answer).decode()


@pytest.mark.parametrize("path", ["models", "models/x", "models/x/usage", "providers"])
@pytest.mark.django_db
def test_strangers_are_refused(anonymous: APIClient, path: str) -> None:
    assert anonymous.get(f"/api/v3/{path}").status_code == 401
    assert anonymous.post("/api/v3/chat/completions", {}, format="json").status_code == 401


async def post(secret: str, body: object):
    """Return the answer to a raw completion, asked for with a key."""
    return await AsyncClient().post(
        "/api/v3/chat/completions",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )


async def test_a_raw_completion_is_answered_and_recorded(runtime, secret: str, records) -> None:
    answer = await post(secret, {"model": "sandbox-small", "messages": HELLO})
    assert answer.json()["choices"][0]["message"]["content"] == "good day"
    [record] = await records()
    assert answer["X-Portico-Request-Id"] == encode_id(UsageRecord.ID_PREFIX, record.id)
    assert answer["X-Portico-Cost"] == f"{record.cost_micros / 1_000_000:.6f}"
    assert record.status == "ok"


@pytest.mark.parametrize(
    ("path", "size", "status", "code"),
    [
        ("/api/v3/chat/completions", 3_000_000, 200, None),
        ("/api/v3/chat/completions", 20 * 1024 * 1024, 413, "too_large"),
        ("/api/v3/chat", 3_000_000, 413, "too_large"),
    ],
)
async def test_raw_completions_may_be_as_large_as_those_of_v1(
    runtime, secret: str, path: str, size: int, status: int, code: str | None
) -> None:
    body = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[echo:hi]" + " " * size}]}
    client = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://testserver")
    async with client:
        answer = await client.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json().get("code")) == (status, code)


async def test_a_raw_completion_streams(runtime, secret: str, records) -> None:
    answer = await post(
        secret, {"model": "sandbox-small", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert answer["Content-Type"] == "text/event-stream"
    body = b"".join([part async for part in answer.streaming_content])
    assert body.endswith(b"data: [DONE]\n\n")
    assert b'"usage":{"prompt_tokens"' in body
    assert [(record.status, record.is_stream) for record in await records()] == [("ok", True)]


async def test_a_failure_on_the_way_is_a_problem_event(runtime, secret: str, records) -> None:
    asked = [{"role": "user", "content": "[cut:3][long:20]"}]
    answer = await post(secret, {"model": "sandbox-small", "messages": asked, "stream": True})
    body = b"".join([part async for part in answer.streaming_content])
    problem = orjson.loads(body.strip().split(b"\n\n")[-1].removeprefix(b"data: "))["error"]
    assert (problem["status"], problem["code"]) == (502, "gateway.upstream_broken")


async def test_a_stream_that_is_left_is_cancelled(runtime, secret: str, records, monkeypatch) -> None:
    monkeypatch.setattr("apps.gateway.api.completions.PING_SECONDS", 0.05)
    asked = [{"role": "user", "content": "[long:500][slow:200]"}]
    answer = await post(secret, {"model": "sandbox-small", "messages": asked, "stream": True})
    seen: list[bytes] = []
    has_pinged = asyncio.Event()

    async def read() -> None:
        async for part in answer.streaming_content:
            seen.append(part)
            if part == b": ping\n\n":
                has_pinged.set()

    # A server cancels the task that writes the answer when its client leaves.
    reader = asyncio.create_task(read())
    await asyncio.wait_for(has_pinged.wait(), timeout=5)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert seen[0].startswith(b"data: ")
    assert [record.status for record in await records()] == ["cancelled"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "sandbox-small", "messages": []}, 400, "gateway.parameter_invalid"),
        ({"model": "nothing", "messages": HELLO}, 404, "gateway.model_unknown"),
        ([1], 400, "gateway.body_malformed"),
    ],
)
async def test_refusals_are_problems(runtime, secret: str, body, status: int, code: str) -> None:
    answer = await post(secret, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"


async def test_a_key_without_the_scope_completes_nothing(runtime) -> None:
    _, weak = await run_in_database(lambda: ApiKeyFactory.with_secret(scopes=["models:read"]))
    answer = await post(weak, {})
    assert (answer.status_code, answer.json()["code"]) == (403, "users.scope_missing")


@pytest.mark.django_db
def test_a_key_sees_its_own_models_only(api_as, member) -> None:
    DeploymentFactory(model__name="one")
    DeploymentFactory(model__name="two")
    _, bound = ApiKeyFactory.with_secret(membership=member, allowed_models=["two"])
    client = APIClient(headers={"Authorization": f"Bearer {bound}"})
    assert [item["name"] for item in client.get("/api/v3/models").json()["items"]] == ["two"]
