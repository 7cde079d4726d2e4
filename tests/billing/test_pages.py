"""/usage: what a person used, as figures, chart and tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client

from apps.billing.forms import period_of
from apps.billing.models import Budget, BudgetPeriod
from apps.billing.services.recording import record_usage
from apps.billing.views import BudgetRow, show_cost, show_count
from apps.core.ids import uuid7
from apps.users.choices import Role
from apps.users.models import Membership
from tests.factories.billing import make_entry
from tests.factories.users import ApiKeyFactory, MembershipFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 9, 20, tzinfo=UTC)


@pytest.fixture
def member() -> Membership:
    """Somebody with two calls this month and one in the last, and a colleague with one."""
    found = MembershipFactory()
    key = ApiKeyFactory(membership=found, name="notebook")
    own = {"organization_id": found.organization_id, "user_id": found.user_id}
    record_usage(
        [
            make_entry(**own, api_key_id=key.id, model="dear-model", cost_micros=3_000_000),
            make_entry(**own, api_key_id=None, model="cheap-model", cost_micros=1_000_000, status="error"),
            make_entry(**own, model="old-model", created_at=datetime(2026, 10, 3, tzinfo=UTC)),
            make_entry(organization_id=found.organization_id, user_id=uuid7(), model="theirs"),
        ]
    )
    return found


def visit(member: Membership, **query: str) -> str:
    client = Client()
    client.force_login(member.user)
    answer = client.get("/usage", query)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    return " ".join(answer.content.decode().split())


@pytest.fixture(autouse=True)
def today() -> object:
    with time_machine.travel(NOW, tick=False):
        yield


def test_the_month_is_shown_with_cost_tokens_and_requests(member: Membership) -> None:
    page = visit(member)
    assert "1 November 2026 to 21 November 2026" in page
    for text in ("<dd>$4.00</dd>", "<dd>240<small>200 in (20 cached), 40 out</small>", "<dd>2<small>1 failed</small>"):
        assert text in page
    assert page.index("dear-model<svg") < page.index("cheap-model<svg")
    for text in ("75.0&nbsp;%", "notebook (", "Without a key", "<title>20 Nov, dear-model: $3.00</title>"):
        assert text in page
    assert "theirs" not in page
    assert "old-model" not in page


def test_the_chart_is_a_table_too(member: Membership) -> None:
    row = '<tr><th scope="row">2026-11-20</th><td class="number">$4.00</td><td class="number">240</td>'
    assert row in visit(member)


@pytest.mark.parametrize(
    ("measure", "title"), [("tokens", "dear-model: 120"), ("requests", "dear-model: 1"), ("x", "$3.00")]
)
def test_the_chart_shows_what_was_asked_for(member: Membership, measure: str, title: str) -> None:
    assert f"{title}</title>" in visit(member, show=measure)


@pytest.mark.parametrize(
    ("period", "shown"),
    [
        ("last-month", ["old-model"]),
        ("90", ["old-model", "dear-model"]),
        ("7", ["dear-model"]),
        ("never", ["dear-model"]),
    ],
)
def test_periods_are_picked(member: Membership, period: str, shown: list[str]) -> None:
    page = visit(member, period=period)
    assert [name for name in ("old-model", "dear-model") if name in page] == shown


def test_administrators_may_look_at_the_whole_organization(member: Membership) -> None:
    assert "theirs" not in visit(member, whose="all")
    boss = MembershipFactory(organization=member.organization, role=Role.ADMIN)
    mine, whole = visit(boss), visit(boss, whose="all")
    assert ("Nothing was used in this period." in mine, "theirs" in mine) == (True, False)
    assert ("theirs" in whole, "Whole organization" in whole) == (True, True)


def test_budgets_that_bind_one_are_shown_with_what_is_spent(member: Membership) -> None:
    make = {"organization_id": member.organization_id, "window": "month", "hard_micros": 5_000_000}
    own = Budget.objects.create(name="Mine", scope="user", subject=str(member.user_id), **make)
    Budget.objects.create(name="Theirs", scope="user", subject=str(uuid7()), **make)
    Budget.objects.create(name="Off", scope="user", subject=str(member.user_id), is_active=False, **make)
    BudgetPeriod.objects.create(
        budget=own, subject=own.subject, starts_at=datetime(2026, 11, 1, tzinfo=UTC),
        ends_at=datetime(2026, 12, 1, tzinfo=UTC), spent_micros=4_500_000,
    )  # fmt: skip
    page = visit(member)
    assert "<strong>Mine</strong>" in page
    assert '<span>$4.50 of $5.00 <span class="faint small">(90&nbsp;%)</span></span>' in page
    assert ('class="share warn"' in page, "until 1 December 2026, 00:00 UTC" in page) == (True, True)
    assert ("Theirs" in page, "Off" in page) == (False, False)


@pytest.mark.parametrize(("percent", "level"), [(79, ""), (80, "warn"), (100, "danger"), (140, "danger")])
def test_a_budget_warns_when_it_is_nearly_spent(percent: int, level: str) -> None:
    row = BudgetRow(name="b", subject="", spent="", limit="", percent=percent, ends_at=None)
    assert row.level == level


def test_the_export_has_the_same_period(member: Membership) -> None:
    export = "/api/v3/billing/usage?from=2026-11-01T00%3A00%3A00%2B00%3A00&amp;to=2026-11-22T00%3A00%3A00%2B00%3A00"
    assert f"{export}&amp;group_by=day%2Cmodel%2Ckey&amp;format=csv" in visit(member)


def test_the_page_takes_the_same_statements_for_any_traffic(
    member: Membership, django_assert_max_num_queries: Callable
) -> None:
    own = {"organization_id": member.organization_id, "user_id": member.user_id}
    record_usage([make_entry(**own, model=f"m{n}", api_key_id=uuid7()) for n in range(40)])
    client = Client()
    client.force_login(member.user)
    with django_assert_max_num_queries(22):  # ours are nine; the rest is who asks
        assert client.get("/usage").status_code == 200


def test_strangers_log_in_first(client: Client) -> None:
    assert client.get("/usage").status_code == 302


@pytest.mark.parametrize(
    ("name", "since", "until"),
    [
        ("month", "2026-11-01", "2026-11-22"),
        ("last-month", "2026-10-01", "2026-11-01"),
        ("7", "2026-11-15", "2026-11-22"),
        ("365", "2026-11-01", "2026-11-22"),
    ],
)
def test_periods_are_whole_days(name: str, since: str, until: str) -> None:
    found = period_of(name, NOW)
    assert (found.since.date().isoformat(), found.until.date().isoformat()) == (since, until)


def test_amounts_are_as_long_as_they_need_to_be() -> None:
    costs = [show_cost(micros) for micros in (0, 27, 12_345, 500_000, 1_234_567, 5_000_000_000)]
    assert costs == ["$0.00", "$0.000027", "$0.0123", "$0.50", "$1.23", "$5,000.00"]
    assert [show_count(n) for n in (0, 1200, 3_400_000, 2e9)] == ["0", "1,200", "3.4 M", "2 G"]
