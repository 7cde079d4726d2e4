"""The admin's front page and every list behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.admin_panel.selectors import read_dashboard
from apps.admin_panel.views import SECTIONS
from apps.billing.services.recording import record_usage
from apps.core.admin import ModelAdmin
from apps.events.choices import DeliveryState
from apps.events.models import Delivery
from tests.factories.billing import make_entry
from tests.factories.users import UserFactory

OUR_MODELS = [model for model, page in admin.site._registry.items() if isinstance(page, ModelAdmin)]
NOW = datetime(2030, 5, 17, 12, 30, tzinfo=UTC)


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def call(**fields: Any) -> Any:
    return make_entry(prompt_tokens=100, completion_tokens=50, cost_micros=1_500_000, **fields)


def test_the_figures_are_those_of_the_last_24_hours(db: None) -> None:
    user = UserFactory().id
    record_usage(
        [
            call(created_at=NOW - timedelta(hours=1), status="ok", latency_ms=100, user_id=user),
            call(created_at=NOW - timedelta(hours=2), status="ok", latency_ms=200, user_id=user),
            call(created_at=NOW - timedelta(hours=3), status="error", latency_ms=9000, user_id=UserFactory().id),
            call(created_at=NOW - timedelta(hours=30), status="ok", latency_ms=100),
            call(created_at=NOW - timedelta(days=10), status="ok", latency_ms=100),
        ]
    )
    found = read_dashboard(NOW)
    assert (found.today.requests, found.today.errors, found.today.total_tokens) == (3, 1, 450)
    assert (found.today.cost_micros, found.yesterday.requests) == (4_500_000, 1)
    assert (found.p95_ms, found.active_users) == (195, 2)
    assert (len(found.hours), len(found.days)) == (24, 30)
    assert sum(point.totals.requests for point in found.days) == 5


def test_an_idle_platform_has_no_percentile(db: None) -> None:
    found = read_dashboard(NOW)
    assert (found.p95_ms, found.today.requests, found.active_users) == (None, 0, 0)


def test_the_front_page_shows_figures_and_charts(staff: Client) -> None:
    record_usage([call(created_at=datetime.now(UTC) - timedelta(minutes=1), status="ok", latency_ms=120)])
    page = BeautifulSoup(staff.get("/admin/").content, "html.parser")
    text = page.get_text(" ", strip=True)
    assert all(figure in text for figure in ("Requests", "150", "$1.50", "120 ms", "0.0 % of requests"))
    assert len(page.find_all("canvas")) == 8
    assert "dead letters" not in text


def test_dead_letters_are_shouted_about(staff: Client) -> None:
    now = datetime.now(UTC)
    Delivery.objects.create(
        subscriber="s", event_id="01890a5d-ac96-774b-bcce-b302099a8057", event_type="t", event_occurred_at=now,
        aggregate_type="a", aggregate_id="01890a5d-ac96-774b-bcce-b302099a8057", aggregate_version=1,
        state=DeliveryState.DEAD,
    )  # fmt: skip
    assert b"1 event could not be delivered" in staff.get("/admin/").content


def test_the_front_page_costs_a_constant_number_of_statements(staff: Client) -> None:
    staff.get("/admin/")  # what is cached per process is read once
    with CaptureQueriesContext(connection) as empty:
        staff.get("/admin/")
    record_usage([call(created_at=datetime.now(UTC) - timedelta(hours=n)) for n in range(20)])
    with CaptureQueriesContext(connection) as full:
        staff.get("/admin/")
    assert len(full) == len(empty)


def test_every_model_of_ours_is_in_the_navigation() -> None:
    listed = {label for _, entries in SECTIONS for label, _, _ in entries}
    registered = {model._meta.label for model in admin.site._registry}
    ours = {model._meta.label for model in admin.site._registry if model.__module__.startswith("apps.")}
    assert ours - listed == set()
    assert listed - registered == set()


def pages() -> list[str]:
    return [f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist" for model in admin.site._registry]


@pytest.mark.parametrize("name", pages())
def test_every_list_opens_for_staff_and_for_nobody_else(staff: Client, name: str) -> None:
    assert staff.get(reverse(name)).status_code == 200
    anonymous = Client().get(reverse(name))
    assert (anonymous.status_code, anonymous["Location"].startswith("/admin/login/")) == (302, True)
    powerless = Client()
    powerless.force_login(UserFactory(is_staff=True))
    assert powerless.get(reverse(name)).status_code == 403


@pytest.mark.parametrize("name", pages())
def test_every_list_can_be_searched(staff: Client, name: str) -> None:
    assert staff.get(reverse(name), {"q": "nothing-like-this"}).status_code in {200, 302}


def test_admin_pages_run_no_inline_scripts(staff: Client) -> None:
    answer = staff.get("/admin/")
    assert "script-src 'self' 'nonce-" in answer["Content-Security-Policy"]
    assert "'unsafe-inline'" not in answer["Content-Security-Policy"].split("style-src")[0]
    page = BeautifulSoup(answer.content, "html.parser")
    assert [
        script
        for script in page.find_all("script")
        if not script.get("src") and script.get("type") != "application/json"
    ] == []


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model._meta.label)
def test_a_selection_that_cannot_be_read_changes_nothing(staff: Client, model: Any) -> None:
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    before = set(model._base_manager.values_list("pk", flat=True))
    body = {"action": "delete_selected", "post": "yes"}
    answers = [staff.post(address, {**body, "_selected_action": text}) for text in ("zzz", "9" * 40, "a\x00b", "")]
    # Pages without actions show the list again.
    assert {answer.status_code for answer in answers} <= {200, 302}
    assert before - set(model._base_manager.values_list("pk", flat=True)) == set()


def test_who_ticked_what_is_no_row_reads_why_nothing_happened(staff: Client) -> None:
    body = {"action": "delete_selected", "_selected_action": "zzz"}
    page = staff.post(reverse("admin:users_user_changelist"), body, follow=True)
    assert "The selection cannot be read" in page.content.decode()
