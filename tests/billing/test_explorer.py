"""Staff explore usage: two respects, filters, a chart, a table with totals, CSV."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from apps.billing.services.recording import record_usage
from apps.core.ids import encode_id, uuid7
from tests.factories.billing import make_entry
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db
ORGANIZATION = uuid7()


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def calls() -> object:
    """Two calls of one organization yesterday, one of another three weeks ago."""
    record_usage(
        [
            make_entry(organization_id=ORGANIZATION, model="dear-model", cost_micros=3_000_000, tags=("a", "b")),
            make_entry(organization_id=ORGANIZATION, model="cheap-model", status="error", endpoint="messages"),
            make_entry(model="old-model", created_at=datetime(2026, 11, 1, tzinfo=UTC)),
        ]
    )
    with time_machine.travel("2026-11-21T09:20:00Z", tick=False):
        yield


def explore(client: Client, **query: str) -> str:
    answer = client.get(reverse("admin:billing_usagehour_changelist"), query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def table(page: str) -> str:
    return page.partition("<tbody>")[2].partition("</tbody>")[0]


def test_the_last_30_days_by_model_come_first(staff: Client) -> None:
    page = explore(staff)
    rows = table(page)
    assert rows.index("dear-model") < rows.index("cheap-model") < rows.index("old-model")
    assert "<dd>$3.000054</dd>" in page
    assert "<title>20 Nov, dear-model: $3.00</title>" in page
    assert "Cost per day and model" in page


def test_two_respects_and_a_period_of_ones_own(staff: Client) -> None:
    page = explore(
        staff, by="status", then="endpoint", period="custom", since="2026-11-20", until="2026-11-20", show="tokens"
    )
    rows = table(page)
    assert "<td>ok</td><td>chat.completions</td>" in rows
    assert "<td>error</td><td>messages</td>" in rows
    assert rows.count("<tr>") == 2
    assert "Tokens per hour and status" in page


def test_tags_are_explained_and_time_alone_has_one_series(staff: Client) -> None:
    page = explore(staff, by="tag")
    assert ("<td>a</td>" in table(page), "A call with several tags" in page) == (True, True)
    assert "20 Nov, All: $3.00" in explore(staff, by="day", period="month")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"organization": encode_id("org", ORGANIZATION)}, 2),
        ({"organization": encode_id("org", ORGANIZATION), "model": "dear-model"}, 1),
        ({"tag": "b"}, 1),
        ({"status": "error", "endpoint": "messages"}, 1),
        ({"key": "key_01h455vb4pex5vsknk084sn02q"}, 0),
    ],
    ids=["organization", "and model", "tag", "status and endpoint", "key"],
)
def test_filters_narrow(staff: Client, query: dict[str, str], shown: int) -> None:
    page = explore(staff, **query)
    assert table(page).count('<td class="number">') == shown * 8
    assert ("Nothing was used in this period, or nothing" in page) == (shown == 0)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"user": "key_01h455vb4pex5vsknk084sn02q"}, "user_"),
        ({"team": "nonsense"}, "team_"),
        ({"period": "custom", "since": "2026-11-20", "until": "2026-11-19"}, "ends before it begins"),
        ({"period": "custom", "since": "2026-01-01", "until": "2026-11-19", "by": "tag"}, "At most 366 days"),
        ({"by": "colour"}, "colour"),
    ],
    ids=["other kind of id", "no id", "backwards", "too long", "unknown respect"],
)
def test_what_cannot_be_answered_is_explained(staff: Client, query: dict[str, str], said: str) -> None:
    page = explore(staff, **query)
    assert said in page.partition('role="alert"')[2].partition("</")[0]
    assert "<tfoot>" not in page


def test_the_table_is_exported(staff: Client) -> None:
    answer = staff.get(
        reverse("admin:billing_usagehour_changelist"), {"by": "model", "then": "status", "format": "csv"}
    )
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert answer["Content-Disposition"] == 'attachment; filename="usage-2026-10-23-model-status.csv"'
    assert (lines[0][:21], lines[1][:15], len(lines)) == ("model,status,requests", "dear-model,ok,1", 4)


def test_more_groups_than_are_shown_are_counted(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.billing.admin.usage.MOST_LINES", 1)
    page = explore(staff)
    assert ("Only the first 1 groups" in page, "cheap-model" in table(page)) == (True, False)


def test_the_page_takes_the_same_statements_for_any_traffic(
    staff: Client, django_assert_max_num_queries: Callable
) -> None:
    record_usage([make_entry(model=f"m{n}", api_key_id=uuid7()) for n in range(30)])
    with django_assert_max_num_queries(20):  # ours are four; the rest is who asks, and the sidebar
        explore(staff, by="key", then="model")


def test_only_staff_who_may_see_usage_explore_it(client: Client) -> None:
    client.force_login(UserFactory(is_staff=True))
    assert client.get(reverse("admin:billing_usagehour_changelist")).status_code == 403
