"""The health of providers over /api/v3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.test import APIClient

from apps.core.redis import get_redis
from apps.gateway.models import HealthCheck, HealthState, Provider
from apps.gateway.runtime.sharing import BREAKERS_KEY
from tests.factories.gateway import DeploymentFactory

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PERIOD = {"since": "2026-11-21T12:00:00Z", "until": "2026-11-21T14:00:00Z"}


@pytest.fixture
def provider(db: None) -> Provider:
    """Return a provider that is down, with one model and two probes."""
    deployment = DeploymentFactory(provider__slug="ours", model__name="m")
    HealthState.objects.create(provider=deployment.provider, status="down", since=NOON, checked_at=NOON, failures=2)
    for minutes, is_up in ((0, True), (61, False)):
        HealthCheck.objects.create(
            provider_id=deployment.provider_id,
            checked_at=NOON + timedelta(minutes=minutes),
            kind="models",
            is_up=is_up,
            latency_ms=20,
        )
    found: Provider = deployment.provider
    return found


def test_lists_tell_the_status(api: APIClient, provider: Provider) -> None:
    [listed] = api.get("/api/v3/providers").json()["items"]
    assert (listed["slug"], listed["status"]) == ("ours", "down")
    [model] = api.get("/api/v3/models").json()["items"]
    assert (model["name"], model["health"]) == ("m", "down")
    assert api.get("/api/v3/models/m").json()["health"] == "down"
    HealthState.objects.all().delete()
    assert api.get("/api/v3/providers").json()["items"][0]["status"] == "unknown"
    assert api.get("/api/v3/models/m").json()["health"] == "unknown"


def test_the_health_of_now(api: APIClient, provider: Provider) -> None:
    deployment = provider.deployments.get().public_id
    get_redis().hset(BREAKERS_KEY, deployment, b'{"kind":"open","subject":"%s","until":9e9}' % deployment.encode())
    [health] = api.get("/api/v3/providers/health").json()["items"]
    assert (health["slug"], health["status"], health["since"]) == ("ours", "down", "2026-11-21T12:00:00Z")
    [told] = health["deployments"]
    assert (told["id"], told["model"], told["status"], told["breaker"]) == (deployment, "m", "down", "open")
    assert 299 < told["retry_after_seconds"] <= 300
    get_redis().delete(BREAKERS_KEY)
    [health] = api.get("/api/v3/providers/health").json()["items"]
    assert (health["deployments"][0]["breaker"], health["deployments"][0]["retry_after_seconds"]) == ("closed", None)


@pytest.mark.parametrize("by", ["slug", "public_id"])
def test_the_history_of_one_provider(api: APIClient, provider: Provider, by: str) -> None:
    DeploymentFactory(provider__slug="other")
    query = {**PERIOD, "bucket": "1h", "provider": getattr(provider, by)}
    answer = api.get("/api/v3/providers/health/history", query).json()
    assert (answer["since"], answer["until"], answer["bucket"]) == (*PERIOD.values(), "1h")
    assert [(row["begins_at"], row["checks"], row["failures"], row["uptime"]) for row in answer["items"]] == [
        ("2026-11-21T12:00:00Z", 1, 0, 1.0),
        ("2026-11-21T13:00:00Z", 1, 1, 0.0),
    ]


@pytest.mark.parametrize(
    ("days", "bucket"), [(0.1, "1m"), (1, "5m"), (10, "1h"), (366, "1d")], ids=["hours", "day", "days", "year"]
)
def test_the_spans_fit_the_period(api: APIClient, db: None, days: float, bucket: str) -> None:
    query = {"until": NOON.isoformat(), "since": (NOON - timedelta(days=days)).isoformat()}
    assert api.get("/api/v3/providers/health/history", query).json()["bucket"] == bucket


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"provider": "absent"}, 404, "gateway.provider_unknown"),
        ({"provider": "prov_00000000000000000000000000"}, 404, "gateway.provider_unknown"),
        ({"since": "2026-11-21T12:00:00Z", "until": "2026-11-21T12:00:00Z"}, 400, "invalid_input"),
        ({"since": "2020-11-21T12:00:00Z", "until": "2026-11-21T12:00:00Z"}, 400, "invalid_input"),
        ({"until": "0001-01-01T00:00:00Z"}, 400, "invalid_input"),
        ({"since": "2026-01-21T12:00:00Z", "until": "2026-11-21T12:00:00Z", "bucket": "1m"}, 400, "invalid_input"),
        ({"bucket": "7m"}, 400, "invalid_input"),
        ({"since": "x"}, 400, "invalid_input"),
    ],
)
def test_what_cannot_be_answered(api: APIClient, db: None, query: dict[str, str], status: int, code: str) -> None:
    answer = api.get("/api/v3/providers/health/history", query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["providers/health", "providers/health/history"])
def test_strangers_are_refused(db: None, path: str) -> None:
    assert APIClient().get(f"/api/v3/{path}").status_code == 401
