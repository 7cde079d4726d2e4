"""GET /api/v3/billing/usage."""

from __future__ import annotations

from collections.abc import Callable

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
            "items": [
                {"key": "gpt-4o-mini", "label": "gpt-4o-mini", "totals": totals},
                {"key": "other", "label": "other", "totals": totals},
            ],
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
