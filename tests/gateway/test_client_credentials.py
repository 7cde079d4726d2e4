"""An OAuth2 client gets a token at /oauth/token and calls models with it, on both surfaces."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from django.test import Client

from apps.billing.models import UsageRecord
from apps.users.models import OAuthClient
from tests.factories.users import OAuthClientFactory

HELLO = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[slow:0] Hello"}]}


@pytest.fixture
def machine(transactional_db: None) -> tuple[OAuthClient, str]:
    return OAuthClientFactory.with_secret(machine=True)


def ask_for_token(client: OAuthClient, secret: str, scope: str) -> str:
    basic = base64.b64encode(f"{client.client_id}:{secret}".encode()).decode()
    body = {"grant_type": "client_credentials", "scope": scope}
    answer = Client().post("/oauth/token", body, headers={"Authorization": f"Basic {basic}"})
    assert answer.status_code == 200
    return str(answer.json()["access_token"])


async def test_a_token_with_the_scope_calls_and_is_metered_to_its_organization(
    machine: tuple[OAuthClient, str],
    http: httpx.AsyncClient,
    in_database: Callable[..., Awaitable[Any]],
    records: Callable[[], Awaitable[list[UsageRecord]]],
) -> None:
    token = await in_database(lambda: ask_for_token(*machine, "gateway:use models:read"))
    answer = await http.post("/v1/chat/completions", json=HELLO, headers={"Authorization": f"Bearer {token}"})
    models = await http.get("/v1/models", headers={"Authorization": f"Bearer {token}"})
    listed = await in_database(lambda: Client().get("/api/v3/models", headers={"Authorization": f"Bearer {token}"}))
    assert answer.status_code == 200
    assert "sandbox-small" in [model["id"] for model in models.json()["data"]]
    assert "sandbox-small" in [model["name"] for model in listed.json()["items"]]
    assert [(row.organization_id, row.api_key_id, row.status) for row in await records()] == [
        (machine[0].organization_id, None, "ok")
    ]


async def test_a_token_without_the_scope_calls_nothing(
    machine: tuple[OAuthClient, str],
    http: httpx.AsyncClient,
    in_database: Callable[..., Awaitable[Any]],
    records: Callable[[], Awaitable[list[UsageRecord]]],
) -> None:
    token = await in_database(lambda: ask_for_token(*machine, "users:read"))
    answer = await http.post("/v1/chat/completions", json=HELLO, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert "gateway:use" in answer.json()["error"]["message"]
    assert await records() == []
