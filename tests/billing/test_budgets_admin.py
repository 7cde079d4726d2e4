"""What staff see of budgets and what they may do with them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.billing.admin.budgets import _about
from apps.billing.models import Budget, BudgetPeriod
from apps.billing.services.recording import record_usage
from apps.events.models import Event
from apps.users.models import Organization
from tests.factories.billing import BudgetFactory, make_entry
from tests.factories.users import ApiKeyFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:billing_budget_changelist")
ADD = reverse("admin:billing_budget_add")


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def organization() -> Organization:
    return OrganizationFactory(name="Acme")


def filled(organization: Organization, **changes: object) -> dict[str, object]:
    return {
        "organization": organization.pk, "name": "Month", "scope": "organization", "subject": "", "model": "",
        "window": "month", "hard_micros": "1", "soft_micros": "", "boost_micros": 0, "currency": "USD",
        "is_active": "on",
    } | changes  # fmt: skip


def page_of(budget: Budget) -> str:
    return reverse("admin:billing_budget_change", args=[budget.pk])


def test_the_list_draws_what_is_spent(staff: Client, organization: Organization) -> None:
    soon = timezone.now() + timedelta(days=1)
    BudgetFactory(
        organization_id=organization.id, hard_micros=1_000_000, boost_micros=500_000, boost_until=soon, model="gpt-5"
    )
    BudgetFactory(organization_id=organization.id, hard_micros=None, soft_micros=1_000_000)
    BudgetFactory(organization_id=organization.id, scope="end_user")
    BudgetFactory(organization_id=organization.id, scope="key")
    record_usage([make_entry(organization_id=organization.id, cost_micros=900_000, created_at=timezone.now())])
    content = staff.get(LIST).content.decode()
    assert "<strong>90 %</strong> · $0.90 spent" in content
    assert "<strong>0 %</strong> · $0.00 spent" in content
    assert [text in content for text in ("Organization, gpt-5 only", "Each end user", "Each API key")] == [
        True,
        True,
        True,
    ]
    assert ("+$0.50 until" in content, "$1.00 (soft)" in content, "nothing yet" in content) == (True, True, True)


def test_a_budget_is_made_through_the_service(staff: Client, organization: Organization) -> None:
    record_usage([make_entry(organization_id=organization.id, cost_micros=5, created_at=timezone.now())])
    key = ApiKeyFactory(membership__organization=organization)
    assert staff.post(ADD, filled(organization)).status_code == 302
    assert staff.post(ADD, filled(organization, scope="key", subject=key.public_id)).status_code == 302
    whole, of_key = Budget.objects.order_by("id")
    assert (whole.organization_id, whole.hard_micros, whole.periods.get().spent_micros) == (
        organization.id,
        1_000_000,
        5,
    )
    assert of_key.subject == str(key.id)
    assert Event.objects.filter(type="budget.created").count() == 2
    assert key.public_id in staff.get(page_of(of_key)).content.decode()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"organization": ""}, "Choose whose budget it is."),
        ({"hard_micros": ""}, "A budget has a soft or a hard limit, or both."),
        ({"scope": "key", "subject": "nonsense"}, "nonsense"),
        ({"hard_micros": "0.0000001"}, "Ensure that there are no more than 6 decimal places."),
        ({"hard_micros": "-1"}, "Ensure this value is greater than or equal to 0."),
    ],
    ids=["whose", "no limit", "no id", "too fine", "negative"],
)
def test_what_makes_no_budget_is_told_on_the_page(
    staff: Client, organization: Organization, changes: dict, sentence: str
) -> None:
    answer = staff.post(ADD, filled(organization) | changes)
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not Budget.objects.exists()


def test_limits_change_and_what_is_counted_stays(staff: Client, organization: Organization) -> None:
    budget = BudgetFactory(organization_id=organization.id)
    until = timezone.now() + timedelta(days=2)
    changes = {
        "name": "More", "hard_micros": "0.005", "boost_micros": "0.000007", "boost_until_0": f"{until:%Y-%m-%d}",
        "boost_until_1": "10:00:00", "scope": "tag", "window": "day", "is_active": "on",
    }  # fmt: skip
    assert staff.post(page_of(budget), changes).status_code == 302
    changed = Budget.objects.get()
    assert (changed.name, changed.hard_micros, changed.boost_micros) == ("More", 5000, 7)
    assert (changed.scope, changed.window, changed.version) == ("organization", "month", 2)
    (event,) = Event.objects.filter(type="budget.changed")
    assert event.payload["hard_micros"] == 5000


def test_amounts_are_shown_as_they_are_typed(staff: Client, organization: Organization) -> None:
    budget = BudgetFactory(organization_id=organization.id, soft_micros=2_500_000, hard_micros=123_000_001)
    form = staff.get(page_of(budget)).context["adminform"].form
    shown = [form[name].value() for name in ("soft_micros", "hard_micros", "boost_micros")]
    assert shown == ["2.50", "123.000001", "0.00"]
    assert form.fields["hard_micros"].has_changed(123_000_001, "123.0000010") is False
    assert form.fields["hard_micros"].has_changed(123_000_001, "123") is True
    assert form.fields["soft_micros"].has_changed(None, "") is False


@pytest.mark.parametrize(
    ("micros", "rounded"), [(0, 0), (7, 7), (471, 470), (9_960, 10_000), (123_456, 120_000), (98_765_432, 98_770_000)]
)
def test_what_is_foreseen_is_rounded_but_never_to_nothing(micros: int, rounded: int) -> None:
    assert _about(micros) == rounded


def test_earlier_windows_are_listed(staff: Client, organization: Organization) -> None:
    budget = BudgetFactory(organization_id=organization.id, scope="tag", window="day")
    yesterday = timezone.now() - timedelta(days=1)
    BudgetPeriod.objects.create(
        budget=budget, subject="a", starts_at=yesterday - timedelta(days=1), ends_at=yesterday, spent_micros=420_000
    )
    content = staff.get(page_of(budget)).content.decode()
    assert "· $0.42 · a" in content


def test_budgets_are_deleted_one_by_one_and_together(staff: Client, organization: Organization) -> None:
    first, *others = [BudgetFactory(organization_id=organization.id) for _ in range(3)]
    staff.post(reverse("admin:billing_budget_delete", args=[first.pk]), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in others], "post": "yes"}
    staff.post(LIST, chosen)
    assert not Budget.objects.exists()
    assert Event.objects.filter(type="budget.deleted").count() == 3
