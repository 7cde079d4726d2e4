"""Liveness stays green, readiness is honest, components say why."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from celery import current_app
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.test import Client
from health_check.exceptions import ServiceUnavailable, ServiceWarning
from rest_framework.test import APIClient

from apps.core.ids import uuid7
from apps.events.choices import DeliveryState
from apps.events.models import Delivery
from apps.gateway.models import Provider
from apps.monitoring.choices import Health
from apps.monitoring.selectors import components, probes
from apps.monitoring.selectors.components import Component, check_components, overall
from apps.monitoring.selectors.gauges import PlatformCollector
from apps.users.models import Membership
from tests.factories.gateway import ProviderFactory

pytestmark = pytest.mark.django_db(transaction=True)


@dataclasses.dataclass
class Broken(probes.Probe):
    def run(self) -> None:
        raise ServiceUnavailable("It does not answer.")


@dataclasses.dataclass
class Weak(probes.Probe):
    def run(self) -> None:
        raise ServiceWarning("It is slow.")


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[probes.Probe]], None]:
    return lambda name, probe: monkeypatch.setitem(components.PROBES, name, probe)


@pytest.fixture
def staff(member: Membership, api: APIClient) -> APIClient:
    member.user.is_staff = True
    member.user.save()
    return api


def one(name: str) -> Component:
    return check_components((name,))[0]


def test_liveness_asks_nobody(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_well_platform_is_ready() -> None:
    answer = Client().get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "components": {"database": "ok", "disk": "ok", "cache": "ok"},
        "reasons": [],
    }


def test_without_the_database_it_is_not_ready_and_says_why(replace: Callable) -> None:
    replace("database", Broken)
    answer = Client().get("/ready")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert answer.json()["reasons"] == ["database: It does not answer."]
    assert Client().get("/health").status_code == 200


def test_without_the_cache_it_is_ready_but_degraded(replace: Callable) -> None:
    replace("cache", Broken)
    answer = Client().get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


def test_readiness_refuses_to_be_posted_to() -> None:
    assert Client().post("/ready").status_code == 405


def test_the_database_probe_names_version_and_migrations() -> None:
    found = one("database")
    assert (found.status, found.reason, found.details["unapplied_migrations"]) == (Health.OK, "", [])
    assert found.details["version"].split(".")[0].isdigit()


def test_unapplied_migrations_are_down() -> None:
    with patch.object(probes, "_unapplied_migrations", return_value=["users.0002_x"]):
        found = one("database")
    assert (found.status, found.details["unapplied_migrations"]) == (Health.DOWN, ["users.0002_x"])
    assert "manage.py migrate" in found.reason


@pytest.mark.parametrize("name", ["database", "queue", "providers"])
def test_a_silent_database_is_down_without_its_address(name: str) -> None:
    with patch.object(BaseDatabaseWrapper, "cursor", side_effect=OperationalError("10.0.0.1 refused")):
        found = one(name)
    assert found.status == Health.DOWN
    assert "10.0.0.1" not in found.reason


def test_a_silent_redis_is_down(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    found = one("cache")
    assert (found.status, found.reason) == (Health.DOWN, "Redis does not answer.")


@pytest.mark.parametrize(
    ("workers", "delivery", "status", "words"),
    [
        ([{"a": 1}], None, Health.OK, ""),
        ([], None, Health.DEGRADED, "No worker answers."),
        ([{"a": 1}], DeliveryState.DEAD, Health.DEGRADED, "dead letters"),
        ([{"a": 1}], DeliveryState.PENDING, Health.DEGRADED, "outbox is behind"),
    ],
)
def test_the_queue_probe(workers: list, delivery: str | None, status: Health, words: str) -> None:
    Delivery.objects.bulk_create(
        Delivery(
            subscriber="s", event_id=uuid7(), event_type="t", event_occurred_at=Now(), aggregate_type="a",
            aggregate_id=uuid7(), aggregate_version=1, state=state, due_at=Now() - timedelta(minutes=5),
            created_at=Now() - timedelta(minutes=5),
        )
        for state in [delivery] if state
    )  # fmt: skip
    with patch.object(current_app.control, "ping", return_value=workers):
        found = one("queue")
    assert (found.status, words in found.reason) == (status, True)
    assert found.details["workers"] == len(workers)


def test_a_silent_broker_is_down() -> None:
    with patch.object(current_app.control, "ping", side_effect=OSError):
        found = one("queue")
    assert (found.status, "broker" in found.reason) == (Health.DOWN, True)


def test_a_full_disk_is_down() -> None:
    usage = shutil.disk_usage("/")._replace(free=1024)
    with patch.object(shutil, "disk_usage", return_value=usage):
        assert one("disk").status == Health.DOWN
    with patch.object(shutil, "disk_usage", side_effect=OSError):
        assert "cannot be read" in one("disk").reason


def test_the_providers_probe_names_those_that_are_switched_on() -> None:
    ProviderFactory(slug="resting", is_active=False)
    found = one("providers")
    assert (found.status, found.details, "load_models" in found.reason) == (Health.DEGRADED, {"active": []}, True)
    ProviderFactory(slug="serving")
    found = one("providers")
    assert (found.status, found.details, found.reason) == (Health.OK, {"active": ["serving"]}, "")


def test_the_sum_is_the_worst_that_counts() -> None:
    well, weak = (Component("cache", status, "", 1.0, {}) for status in (Health.OK, Health.DEGRADED))
    assert [overall([well]), overall([well, weak])] == [Health.OK, Health.DEGRADED]
    assert overall([Component("cache", Health.DOWN, "", 1.0, {})]) == Health.DEGRADED
    assert overall([weak, Component("disk", Health.DOWN, "", 1.0, {})]) == Health.DOWN


def test_staff_sees_every_component(staff: APIClient, replace: Callable) -> None:
    replace("queue", Weak)
    body = staff.get("/api/v3/monitoring/health").json()
    assert body["status"] == "degraded"
    assert [component["name"] for component in body["components"]] == [
        "database",
        "cache",
        "queue",
        "providers",
        "disk",
    ]


@pytest.mark.parametrize("name", ["database", "cache", "queue", "providers"])
def test_staff_sees_one_component(staff: APIClient, name: str) -> None:
    with patch.object(current_app.control, "ping", return_value=[]):
        assert staff.get(f"/api/v3/monitoring/health/{name}").json()["name"] == name


@pytest.mark.parametrize("path", ["", "/database", "/cache", "/queue", "/providers"])
def test_nobody_else_does(api: APIClient, path: str) -> None:
    assert api.get(f"/api/v3/monitoring/health{path}").status_code == 403
    assert APIClient().get(f"/api/v3/monitoring/health{path}").status_code == 401


def test_metrics_name_the_outbox_and_the_gateway() -> None:
    text = Client().get("/metrics").content.decode()
    assert "portico_outbox_lag_seconds 0.0" in text
    assert "portico_outbox_dead 0.0" in text
    assert "portico_gateway_requests" in text


def test_metrics_leave_out_what_they_cannot_read() -> None:
    with patch.object(BaseDatabaseWrapper, "cursor", side_effect=OperationalError("gone")):
        answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert b"portico_outbox_lag_seconds" not in answer.content


def test_reading_the_figures_inside_a_transaction_does_not_end_it() -> None:
    with transaction.atomic():
        provider = ProviderFactory()
        assert [metric.name for metric in PlatformCollector().collect()][:1] == ["portico_outbox_lag_seconds"]
        assert Provider.objects.filter(id=provider.id).exists()


@pytest.mark.parametrize(
    ("token", "headers", "address", "status"),
    [
        ("", {}, "127.0.0.1", 200),
        ("", {}, "10.1.2.3", 401),
        ("", {"X-Forwarded-For": "10.1.2.3"}, "127.0.0.1", 401),
        ("", {}, "nonsense", 401),
        ("s3cret", {"Authorization": "Bearer s3cret"}, "10.1.2.3", 200),
        ("s3cret", {"Authorization": "Bearer s3creT"}, "127.0.0.1", 401),
    ],
)
def test_metrics_open_to_this_machine_or_to_the_token(
    settings: Any, token: str, headers: dict[str, str], address: str, status: int
) -> None:
    settings.METRICS_TOKEN = token
    assert Client().get("/metrics", headers=headers, REMOTE_ADDR=address).status_code == status
