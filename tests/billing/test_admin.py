"""What staff see of prices, usage and the books, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from apps.billing.admin import books as pages
from apps.billing.models import LedgerAccount, LedgerTransaction, Posting, Price, UsageRecord
from apps.billing.services.recording import record_usage
from apps.core import admin as bases
from apps.core.ids import encode_id, uuid7
from apps.core.money import show_money
from apps.events.models import Event
from apps.users.models import Membership
from tests.factories.billing import PriceFactory, make_entry
from tests.factories.users import ApiKeyFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def record(member: Membership) -> UsageRecord:
    key = ApiKeyFactory(membership=member, name="the key")
    record_usage(
        [
            make_entry(organization_id=member.organization_id, user_id=member.user_id, api_key_id=key.id),
            make_entry(
                model="another", provider="anthropic", status="error", user_id=None, api_key_id=None, is_estimated=True
            ),
        ]
    )
    return UsageRecord.objects.get(organization_id=member.organization_id)


def page(client: Client, name: str, *args: object, **query: object) -> str:
    answer = client.get(reverse(f"admin:{name}", args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("model", ["usagerecord", "ledgeraccount", "ledgertransaction", "posting", "price"])
def test_every_list_opens(staff: Client, record: UsageRecord, model: str) -> None:
    PriceFactory()
    assert "result_list" in page(staff, f"billing_{model}_changelist")


@pytest.mark.parametrize("model", [UsageRecord, LedgerAccount, LedgerTransaction, Posting])
def test_usage_and_books_are_for_reading(staff: Client, record: UsageRecord, model: type) -> None:
    name, pk = f"billing_{model._meta.model_name}", model.objects.order_by("pk").first().pk
    assert 'name="_save"' not in page(staff, f"{name}_change", pk)
    assert staff.post(reverse(f"admin:{name}_change", args=[pk]), {}).status_code == 403
    assert staff.get(reverse(f"admin:{name}_add")).status_code == 403
    assert staff.post(reverse(f"admin:{name}_delete", args=[pk]), {"post": "yes"}).status_code == 403


def test_a_call_is_shown_with_whom_it_belongs_to_and_its_debit(
    staff: Client, record: UsageRecord, member: Membership
) -> None:
    shown = page(staff, "billing_usagerecord_change", record.pk)
    for text in (
        record.public_id,
        member.organization.name,
        member.user.email,
        "the key",
        "$0.000027",
        "gpt-4o-mini",
    ):
        assert text in shown
    assert reverse("admin:billing_ledgertransaction_change", args=[record.pk]) in shown


def test_a_call_outlives_whom_it_belonged_to(staff: Client, record: UsageRecord, member: Membership) -> None:
    member.organization.delete()
    member.user.delete()
    assert "deleted" in page(staff, "billing_usagerecord_change", record.pk)


@pytest.mark.parametrize("part", ["id", "organization_id", "user_id", "api_key_id"])
def test_calls_are_found_by_public_ids(staff: Client, record: UsageRecord, part: str) -> None:
    prefix = {"id": "req", "organization_id": "org", "user_id": "user", "api_key_id": "key"}[part]
    shown = page(staff, "billing_usagerecord_changelist", q=encode_id(prefix, getattr(record, part)))
    assert record.public_id in shown
    assert "anthropic" not in shown.split("result_list")[1]


@pytest.mark.parametrize("term", ["hello", "conv_01h455vb4pex5vsknk084sn02q", "req_nonsense"])
def test_what_is_no_id_finds_nothing_and_says_so(staff: Client, record: UsageRecord, term: str) -> None:
    shown = page(staff, "billing_usagerecord_changelist", q=term)
    assert "is not the id of a request" in shown
    assert record.public_id not in shown


@pytest.mark.parametrize(
    ("query", "own", "other"),
    [
        ({"model": "gpt-4o-mini"}, True, False),
        ({"status__exact": "error"}, False, True),
        ({"organization": "Organization"}, True, False),
        ({"organization": "Nobody"}, False, False),
        ({"created_at_from_0": "2026-11-21", "created_at_from_1": "00:00:00"}, False, False),
        ({}, True, True),
    ],
)
def test_calls_are_filtered(staff: Client, record: UsageRecord, query: dict[str, str], own: bool, other: bool) -> None:
    rows = page(staff, "billing_usagerecord_changelist", **query).rpartition("</thead>")[2]
    assert (record.public_id in rows, "another (anthropic)" in rows, "≈ 100 + 20" in rows) == (own, other, other)


def test_calls_are_filtered_by_the_id_of_an_organization(
    staff: Client, record: UsageRecord, member: Membership
) -> None:
    shown = page(staff, "billing_usagerecord_changelist", organization=member.organization.public_id)
    assert record.public_id in shown
    other = page(staff, "billing_usagerecord_changelist", organization=encode_id("org", uuid7()))
    assert record.public_id not in other


def test_selected_calls_are_exported_as_csv(staff: Client, record: UsageRecord) -> None:
    answer = staff.post(
        reverse("admin:billing_usagerecord_changelist"), {"action": "export_csv", "_selected_action": [str(record.pk)]}
    )
    lines = answer.content.decode().splitlines()
    assert (answer["Content-Type"], len(lines)) == ("text/csv; charset=utf-8", 2)
    assert lines[1].startswith(record.public_id)


def test_too_many_calls_are_not_exported_from_a_page(
    staff: Client, record: UsageRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_EXPORTED", 0)
    form = {"action": "export_csv", "_selected_action": [str(record.pk)]}
    answer = staff.post(reverse("admin:billing_usagerecord_changelist"), form, follow=True)
    assert "use manage.py usage_export" in answer.content.decode()


def test_the_books_link_accounts_postings_and_calls(staff: Client, record: UsageRecord, member: Membership) -> None:
    booked = page(staff, "billing_ledgertransaction_change", record.pk)
    usage = LedgerAccount.objects.get(organization_id=member.organization_id)
    revenue = LedgerAccount.objects.get(kind="revenue")
    for account in (usage, revenue):
        assert reverse("admin:billing_ledgeraccount_change", args=[account.pk]) in booked
    assert reverse("admin:billing_usagerecord_change", args=[record.pk]) in booked
    assert "−$0.000027" in booked
    shown = page(staff, "billing_ledgeraccount_change", usage.pk)
    assert f"{reverse('admin:billing_posting_changelist')}?account__id__exact={usage.pk}" in shown
    assert "Platform" in page(staff, "billing_ledgeraccount_change", revenue.pk)
    postings = page(staff, "billing_posting_changelist", account__id__exact=usage.pk).rpartition("</thead>")[2]
    assert (postings.count("Show the transaction"), "−$0.000027" in postings) == (1, False)


@pytest.mark.parametrize(
    ("micros", "currency", "shown"),
    [
        (27, "USD", "$0.000027"),
        (10_000_000, "USD", "$10.00"),
        (-1_234_567_500_000, "USD", "−$1,234,567.50"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_amounts_are_exact_and_short(micros: int, currency: str, shown: str) -> None:
    assert show_money(micros, currency) == shown


def test_a_price_is_changed_and_announced(staff: Client) -> None:
    price = PriceFactory(input_micros=1)
    form = {
        "provider": price.provider, "model": price.model, "service_tier": "standard", "valid_from_0": "2026-01-01", "valid_from_1": "00:00:00",
        "valid_until_0": "2026-06-01", "valid_until_1": "00:00:00", "input_micros": "0.25", "output_micros": "3",
        "cached_micros": "1", "cache_write_micros": "1", "reasoning_micros": "",
    }  # fmt: skip
    assert staff.post(reverse("admin:billing_price_change", args=[price.pk]), form).status_code == 302
    price.refresh_from_db()
    assert (price.input_micros, price.output_micros, price.valid_until) == (
        250_000,
        3_000_000,
        datetime(2026, 6, 1, tzinfo=UTC),
    )
    event = Event.objects.get(type="price.changed")
    assert (event.payload["input_micros"], event.actor["kind"]) == (250_000, "user")


def test_a_price_that_ends_before_it_begins_is_refused_with_a_sentence(staff: Client) -> None:
    form = {
        "provider": "p", "model": "m", "service_tier": "standard", "valid_from_0": "2026-06-01", "valid_from_1": "00:00:00",
        "valid_until_0": "2026-01-01", "valid_until_1": "00:00:00", "input_micros": "2", "output_micros": "3",
        "cached_micros": "1", "cache_write_micros": "1",
    }  # fmt: skip
    answer = staff.post(reverse("admin:billing_price_add"), form)
    assert "A price ends after it begins." in answer.content.decode()
    assert not Price.objects.exists()


def test_prices_are_never_deleted(staff: Client) -> None:
    price = PriceFactory()
    assert staff.post(reverse("admin:billing_price_delete", args=[price.pk]), {"post": "yes"}).status_code == 403


def test_a_list_of_calls_takes_the_same_statements_for_any_number(
    staff: Client, member: Membership, django_assert_max_num_queries: Callable
) -> None:
    record_usage([make_entry(organization_id=member.organization_id, user_id=member.user_id) for _ in range(40)])
    with django_assert_max_num_queries(15):  # session, user, actor; count, page; the filters' and the sidebar's own
        page(staff, "billing_usagerecord_changelist")


def test_counting_ends_early(staff: Client, record: UsageRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bases.CappedPaginator(UsageRecord.objects.order_by("id"), 1).count == 2
    monkeypatch.setattr(bases, "MOST_COUNTED", 1)
    assert bases.CappedPaginator(UsageRecord.objects.order_by("id"), 1).count == 1


def test_the_public_are_sent_to_log_in(client: Client) -> None:
    assert client.get(reverse("admin:billing_usagerecord_changelist")).status_code == 302
