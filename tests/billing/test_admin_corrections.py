"""Staff see what was corrected and compared, and what a call would cost."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from apps.billing.models import Adjustment, Price, Reconciliation, ReconciliationLine, Repricing, UsageRecord
from apps.billing.services.reconciling import reconcile_bill
from apps.billing.services.recording import record_usage
from apps.billing.services.repricing import Scope, reprice_usage
from apps.core.actor import system_actor
from tests.factories.billing import PriceFactory, make_entry
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db
BILL = "date,model,input_tokens,output_tokens,cost\n2026-11-20,gpt-4o-mini,100,20,9\n2026-11-20,o3,1,1,0.1\n"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def adjusted() -> Adjustment:
    """A call of 0.000027 dollars that costs 0.000026 by its price, and a bill that says otherwise."""
    PriceFactory(provider="openai", model="gpt-4o-mini-2024-07-18")
    record_usage([make_entry(tags=("nightly",), service_tier="flex")])
    start = datetime(2026, 11, 20, tzinfo=UTC)
    reprice_usage(scope=Scope(since=start, until=start.replace(day=21)), actor=system_actor())
    reconcile_bill(provider="openai", file_name="bill.csv", text=io.StringIO(BILL), actor=system_actor())
    return Adjustment.objects.get()


def page(client: Client, name: str, *args: object, **query: object) -> str:
    answer = client.get(reverse(f"admin:{name}", args=args), query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize("model", [Adjustment, Repricing, Reconciliation, ReconciliationLine])
def test_corrections_and_comparisons_are_for_reading(staff: Client, adjusted: Adjustment, model: type) -> None:
    name, pk = f"billing_{model._meta.model_name}", model.objects.order_by("pk").first().pk
    assert "result_list" in page(staff, f"{name}_changelist")
    assert 'name="_save"' not in page(staff, f"{name}_change", pk)
    assert staff.get(reverse(f"admin:{name}_add")).status_code == 403
    assert staff.post(reverse(f"admin:{name}_delete", args=[pk]), {"post": "yes"}).status_code == 403


def test_a_call_its_adjustment_and_their_bookings_are_linked(staff: Client, adjusted: Adjustment) -> None:
    call = page(staff, "billing_usagerecord_change", adjusted.record_id)
    assert "$0.000026 (was $0.000027)" in call
    assert reverse("admin:billing_adjustment_change", args=[adjusted.pk]) in call
    assert ("nightly" in call, "Flex" in call) == (True, True)
    shown = page(staff, "billing_adjustment_change", adjusted.pk)
    for name, pk in (
        ("usagerecord", adjusted.record_id), ("price", adjusted.price_id), ("repricing", adjusted.repricing_id),
        ("ledgertransaction", adjusted.pk),
    ):  # fmt: skip
        assert reverse(f"admin:billing_{name}_change", args=[pk]) in shown
    assert "−$0.000001" in shown
    booked = page(staff, "billing_ledgertransaction_change", adjusted.pk)
    assert reverse("admin:billing_adjustment_change", args=[adjusted.pk]) in booked


def test_a_call_without_adjustments_says_so(staff: Client) -> None:
    record_usage([make_entry()])
    call = page(staff, "billing_usagerecord_change", UsageRecord.objects.get().pk)
    assert ("$0.000027" in call, "(was" in call) == (True, False)


def test_a_run_leads_to_what_it_adjusted_and_tells_whether_it_is_over(staff: Client, adjusted: Adjustment) -> None:
    shown = page(staff, "billing_repricing_change", adjusted.repricing_id)
    url = f"{reverse('admin:billing_adjustment_changelist')}?repricing_id__exact={adjusted.repricing_id}"
    assert (url in shown, "Not finished" in shown) == (True, False)
    assert adjusted.public_id in page(staff, "billing_adjustment_changelist", repricing_id__exact=adjusted.repricing_id)
    Repricing.objects.update(finished_at=None)
    assert "Not finished" in page(staff, "billing_repricing_changelist")


def test_a_comparison_leads_to_its_lines(staff: Client, adjusted: Adjustment) -> None:
    found = Reconciliation.objects.get()
    shown = page(staff, "billing_reconciliation_change", found.pk)
    assert ("Show the lines; 2 differ" in shown, "$9.10" in shown, "$0.000026" in shown) == (True, True, True)
    lines = page(staff, "billing_reconciliationline_changelist", reconciliation__id__exact=found.pk)
    for text in ("On the bill, not recorded", "100 / 100", "$9.00 / $0.000026"):
        assert text in lines
    Reconciliation.objects.update(bill_cost_micros=None, differences=0)
    ReconciliationLine.objects.update(bill_cost_micros=None, bill_prompt_tokens=None)
    assert "Agrees" in page(staff, "billing_reconciliation_changelist")
    assert "– / $0.000026" in page(staff, "billing_reconciliationline_changelist")


def test_prices_show_tier_and_long_prompts_and_are_found_by_validity(staff: Client) -> None:
    PriceFactory(model="usual", service_tier="priority", long_after_tokens=200_000, long_input_micros=300_000)
    PriceFactory(model="old", valid_until=datetime(2026, 2, 1, tzinfo=UTC))
    PriceFactory(model="coming", valid_from=datetime(2099, 1, 1, tzinfo=UTC))
    shown = page(staff, "billing_price_changelist")
    assert ("Priority" in shown, "above 200,000: $0.30 / $0.60" in shown) == (True, True)
    for validity, name in (("now", "usual"), ("later", "coming"), ("ended", "old")):
        rows = page(staff, "billing_price_changelist", validity=validity).rpartition("</thead>")[2]
        assert [model for model in ("usual", "coming", "old") if f">{model}<" in rows] == [name]


def cost(client: Client, **changes: object) -> str:
    asked = {
        "provider": "openai", "model": "m", "service_tier": "standard", "prompt_tokens": 1000, "completion_tokens": 0, **changes,
    }  # fmt: skip
    return page(client, "billing_price_cost", **asked)


def test_what_a_call_would_cost_is_told_with_its_price(staff: Client) -> None:
    price = PriceFactory(model="m", input_micros=1_000_000, long_after_tokens=2000, long_input_micros=2_000_000)
    PriceFactory(model="m", input_micros=500_000, service_tier="batch")
    usual = cost(staff)
    assert ("<dd>$0.001</dd>" in usual, reverse("admin:billing_price_change", args=[price.pk]) in usual) == (True, True)
    assert "<dd>$0.0005</dd>" in cost(staff, service_tier="batch")
    long = cost(staff, prompt_tokens=3000)
    assert ("<dd>$0.006</dd>" in long, "long: more than 2,000 tokens" in long) == (True, True)
    assert "no price at that moment" in cost(staff, at="2020-01-01T00:00")
    assert Price.objects.count() == 2


def test_a_call_that_is_none_is_explained(staff: Client) -> None:
    assert 'role="alert"' in cost(staff, prompt_tokens=-1)
    empty = page(staff, "billing_price_cost")
    assert ("This call costs" in empty, "Calculate" in empty) == (False, True)


def test_only_staff_who_may_see_prices_ask(client: Client) -> None:
    client.force_login(UserFactory(is_staff=True))
    assert client.get(reverse("admin:billing_price_cost")).status_code == 403
