"""GET /api/v3/billing/usage."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from apps.billing.services.recording import record_usage
from apps.core.ids import uuid7
from apps.users.choices import Role
from apps.users.models import ApiKey, Membership
from tests.factories.billing import make_entry
from tests.factories.users import MembershipFactory

pytestmark = pytest.mark.django_db
URL = "/api/v3/billing/usage"


@pytest.fixture(autouse=True)
def usage(member: Membership) -> None:
    """Two calls of the member, one of a colleague, one of somebody else."""
    own = {"organization_id": member.organization_id, "user_id": member.user_id}
    record_usage(
        [make_entry(**own), make_entry(**own, model="other"), make_entry(**{**own, "user_id": uuid7()}), make_entry()]
    )


@time_machine.travel("2026-11-21T09:20:00Z", tick=False)
def test_a_member_sees_their_own_of_this_month(api: APIClient) -> None:
    answer = api.get(URL, {"group": "model"})
    totals = {
        "requests": 1, "errors": 0, "prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 10, "total_tokens": 120,
        "cost": "0.000027", "cost_micros": 27, "latency_ms": 800, "first_token_ms": 200,
    }  # fmt: skip
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "since": "2026-11-01T00:00:00Z",
            "until": "2026-11-21T10:00:00Z",
            "currency": "USD",
            "totals": {
                **totals, "requests": 2, "prompt_tokens": 200, "completion_tokens": 40, "cached_tokens": 20,
                "total_tokens": 240, "cost": "0.000054", "cost_micros": 54,
            },
            "group": "model",
            "group_by": ["model"],
            "items": [
                {"key": name, "label": name, "groups": [{"by": "model", "key": name, "label": name}], "totals": totals}
                for name in ("gpt-4o-mini", "other")
            ],
            "is_cut": False,
        },
    )  # fmt: skip


def test_an_administrator_sees_the_whole_organization(member: Membership, api_as: Callable) -> None:
    boss = MembershipFactory(organization=member.organization, role=Role.ADMIN)
    answer = api_as(boss).get(URL, {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"})
    assert (answer.json()["totals"]["requests"], answer.json()["group"], answer.json()["items"]) == (3, None, [])


def test_a_stranger_sees_nothing(api_as: Callable) -> None:
    owner = MembershipFactory(role=Role.OWNER)
    answer = api_as(owner).get(URL, {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"})
    assert answer.json()["totals"]["requests"] == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-02T00:00:00Z"}, "billing.period_invalid"),
        ({"since": "2025-11-01T00:00:00Z", "until": "2026-11-03T00:00:00Z"}, "billing.period_invalid"),
        ({"since": "9999-12-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}, "billing.period_invalid"),
        ({"since": "0001-01-01T00:00:00+23:00"}, "invalid_input"),
        ({"group": "model\0"}, "invalid_input"),
        ({"since": "yesterday"}, "invalid_input"),
        ({"group": "colour"}, "invalid_input"),
        ({"currency": "dollars"}, "invalid_input"),
        ({"group_by": "model,colour"}, "invalid_input"),
        ({"group_by": "model,model"}, "invalid_input"),
        ({"group_by": "model,key,user,day"}, "invalid_input"),
        ({"key": "org_01h455vb4pex5vsknk084sn02q"}, "invalid_input"),
        ({"status": "ok,fine"}, "invalid_input"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z", "tag": "a"}, "billing.period_invalid"),
    ],
)
def test_nonsense_is_refused(api: APIClient, query: dict[str, str], code: str) -> None:
    answer = api.get(URL, query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@time_machine.travel("2026-11-21T09:20:00Z", tick=False)
def test_an_end_before_this_month_alone_names_no_period(api: APIClient) -> None:
    assert api.get(URL, {"until": "2026-10-01T00:00:00Z"}).json()["code"] == "billing.period_invalid"


def test_the_anonymous_are_asked_who_they_are() -> None:
    assert APIClient().get(URL).status_code == 401


def test_a_key_without_the_scope_is_refused(api: APIClient) -> None:
    ApiKey.objects.update(scopes=["models:read"])
    assert (api.get(URL).status_code, api.get(URL).json()["code"]) == (403, "users.scope_missing")


NOVEMBER = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}


def test_usage_is_grouped_by_several_and_filtered(api: APIClient, member: Membership) -> None:
    own = {"organization_id": member.organization_id, "user_id": member.user_id}
    record_usage([make_entry(**own, tags=("nightly",), end_user="anna", cost_micros=5)])
    items = api.get(URL, {**NOVEMBER, "group_by": "model, status", "model": "gpt-4o-mini,none"}).json()["items"]
    assert [([value["key"] for value in item["groups"]], item["totals"]["requests"]) for item in items] == [
        (["gpt-4o-mini", "ok"], 2)
    ]
    for query in ({"tag": "nightly"}, {"end_user": "anna"}, {"user": member.user.public_id, "tag": "nightly"}):
        assert api.get(URL, {**NOVEMBER, **query}).json()["totals"]["cost_micros"] == 5


def read(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))


@pytest.mark.parametrize(
    ("query", "headers"), [({"format": "csv"}, {}), ({}, {"accept": "text/csv"})], ids=["query", "header"]
)
def test_usage_comes_as_csv(api: APIClient, member: Membership, query: dict[str, str], headers: dict[str, str]) -> None:
    answer = api.get(URL, {**NOVEMBER, **query, "group_by": "user,model"}, headers=headers)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer["Content-Disposition"] == 'attachment; filename="usage-2026-11-01-2026-12-01.csv"'
    totals = ["1", "0", "100", "20", "10", "120", "0.000027", "27", "800", "200"]
    assert read(answer) == [
        ["user", "user_name", "model", "requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens",
         "total_tokens", "cost", "cost_micros", "latency_ms", "first_token_ms"],
        [member.user.public_id, member.user.email, "gpt-4o-mini", *totals],
        [member.user.public_id, member.user.email, "other", *totals],
    ]  # fmt: skip


def test_csv_without_groups_is_one_line_and_names_are_no_formulas(api: APIClient, member: Membership) -> None:
    own = {"organization_id": member.organization_id, "user_id": member.user_id}
    record_usage([make_entry(**own, model="=1+1", end_user="=2")])
    assert [row[0] for row in read(api.get(URL, {**NOVEMBER, "format": "csv"}))] == ["requests", "3"]
    grouped = read(api.get(URL, {**NOVEMBER, "format": "csv", "group_by": "end_user", "model": "=1+1"}))
    assert grouped[1][0] == "'=2"


def test_a_problem_is_told_to_who_asks_for_csv_too(api: APIClient) -> None:
    answer = api.get(URL, {"format": "csv", "group": "colour"})
    assert (answer.status_code, b"invalid_input" in answer.content) == (400, True)
